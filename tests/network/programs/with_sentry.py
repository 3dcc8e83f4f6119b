"""Sentry's SDK with its integration of the standard library, set up after the first call."""

import sys
from urllib.parse import urlsplit

import sentry_sdk
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.transport import Transport

import calls

url = sys.argv[1]
before = calls.outcome(calls.status, url, "before")


class Kept(Transport):
    """Keeps what would be sent."""

    transactions = []

    def capture_envelope(self, envelope):
        transaction = envelope.get_transaction_event()
        if transaction is not None:
            self.transactions.append(transaction)


sentry_sdk.init("http://key@127.0.0.1:1/1", transport=Kept, traces_sample_rate=1.0,
                default_integrations=False, integrations=[StdlibIntegration()])

with sentry_sdk.start_transaction(name="job"):
    outcomes = calls.outcomes(url)

(job,) = Kept.transactions
spans = [span["data"] for span in job["spans"] if span["op"] == "http.client"]
seen = [[span["http.method"], urlsplit(span["url"]).path, span["http.response.status_code"]]
        for span in spans]
calls.report(outcomes=outcomes, before=before, seen=seen)
