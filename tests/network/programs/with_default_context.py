"""Another function in the place of ssl._create_default_https_context: `… URL CA_FILE`."""

import ssl
import sys

import calls

url, ca_file = sys.argv[1:]
ssl._create_default_https_context = lambda *_, **__: ssl.create_default_context(cafile=ca_file)
calls.report(outcomes=calls.outcomes(url))
