"""vcrpy with a cassette that is recorded, replayed, or refuses: `… URL CASSETTE MODE [before]`.

With `before` the first call is made before the cassette is put in; the last follows it.
"""

import sys

import vcr

import calls

url, cassette, mode = sys.argv[1:4]
before = calls.outcome(calls.status, url, "before") if "before" in sys.argv else None

with vcr.use_cassette(cassette, record_mode=mode) as tape:
    outcomes = calls.outcomes(url)

after = calls.outcome(calls.status, url, "after")
recorded = [[request.method, request.path] for request in tape.requests]
calls.report(outcomes=outcomes, before=before, after=after, recorded=recorded)
