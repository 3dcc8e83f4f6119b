"""The cold job with jamsocket_lite."""

import sys

import jamsocket_lite

client = jamsocket_lite.Jamsocket("acme", "whiteboard", "secret", api_url=sys.argv[1])
connected = client.connect({"key": "board/42"})
if not client.wait_until_ready(connected, timeout=30).is_ready:
    raise SystemExit("not ready")
