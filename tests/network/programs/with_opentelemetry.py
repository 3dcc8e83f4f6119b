"""OpenTelemetry's instrumentation of urllib, turned on after the process's first call."""

import sys
from urllib.parse import urlsplit

from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import calls

url = sys.argv[1]
before = calls.outcome(calls.status, url, "before")

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
URLLibInstrumentor().instrument(tracer_provider=provider)

outcomes = calls.outcomes(url)
spans = [span.attributes for span in exporter.get_finished_spans()]
seen = [[span["http.method"], urlsplit(span["http.url"]).path, span["http.status_code"]]
        for span in spans]
calls.report(outcomes=outcomes, before=before, seen=seen)
