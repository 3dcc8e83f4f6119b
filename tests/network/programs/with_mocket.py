"""mocket serves the calls under a name that does not exist: `with_mocket.py URL REAL_URL`."""

import sys

from mocket import Mocket, Mocketizer
from mocket.mocks.mockhttp import Entry

import calls
import documents

url, real = sys.argv[1:]
before = calls.outcome(calls.status, real, "before")

with Mocketizer(strict_mode=True):
    for method, address, body, kind in documents.served(url):
        Entry.single_register(method, address, body=body, headers={"Content-Type": kind})
    outcomes = calls.outcomes(url)
    seen = [[request.method, request.path, 200] for request in Mocket.request_list()]

after = calls.outcome(calls.status, real, "after")
calls.report(outcomes=outcomes, before=before, after=after, seen=seen)
