"""httpretty serves the calls under a name that does not exist: `with_httpretty.py URL REAL_URL`."""

import sys

import httpretty

import calls
import documents

url, real = sys.argv[1:]
before = calls.outcome(calls.status, real, "before")

with httpretty.enabled(allow_net_connect=False):
    for method, address, body, kind in documents.served(url):
        httpretty.register_uri(method, address, body=body, content_type=kind)
    outcomes = calls.outcomes(url)
    seen = [[request.method, request.path, 200] for request in httpretty.latest_requests()]

after = calls.outcome(calls.status, real, "after")
calls.report(outcomes=outcomes, before=before, after=after, seen=seen)
