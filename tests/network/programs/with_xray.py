"""AWS X-Ray's SDK, patching httplib after the process's first call."""

import json
import sys
from urllib.parse import urlsplit

from aws_xray_sdk.core import patch, xray_recorder

import calls

url = sys.argv[1]
before = calls.outcome(calls.status, url, "before")


class Emitter:
    """Keeps what would go to the daemon."""

    segments = []

    def send_entity(self, entity):
        self.segments.append(json.loads(entity.serialize()))

    def set_daemon_address(self, address):
        pass


xray_recorder.configure(emitter=Emitter(), sampling=False, plugins=())
xray_recorder.streaming_threshold = 10000
patch(["httplib"])

with xray_recorder.in_segment("job"):
    outcomes = calls.outcomes(url)

(job,) = Emitter.segments
# A reading of the body is noted as a request of its own, which is called READ.
http = [each["http"] for each in job["subsegments"]
        if "response" in each["http"] and each["http"]["request"]["method"] != "READ"]
seen = [[each["request"]["method"], urlsplit(each["request"]["url"]).path,
         each["response"]["status"]] for each in http]
calls.report(outcomes=outcomes, before=before, seen=seen)
