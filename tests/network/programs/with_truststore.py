"""truststore in the place of ssl's contexts."""

import sys

import truststore

wrapped = []
wrap_socket = truststore.SSLContext.wrap_socket


def counting(*arguments, **options):
    wrapped.append(options)
    return wrap_socket(*arguments, **options)


truststore.SSLContext.wrap_socket = counting
truststore.inject_into_ssl()

import calls

calls.report(outcomes=calls.outcomes(sys.argv[1]), wrapped=len(wrapped))
