"""A serverless function: the copied file lies beside it. The client is made once, on a cold
start."""

import jamsocket_lite

jamsocket = jamsocket_lite.Jamsocket.from_env()
invocations = 0


def handle(event, context):
    global invocations
    invocations += 1

    def left():
        """What is left of this invocation, but for a moment to answer in."""
        return context.get_remaining_time_in_millis() / 1000.0 - 0.3

    connected = jamsocket.connect(event["request"], timeout=left())
    jamsocket.wait_until_ready(connected, timeout=left())
    return {"statusCode": 302, "headers": {"Location": connected.url}, "invocations": invocations}
