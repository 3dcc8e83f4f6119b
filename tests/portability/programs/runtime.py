"""A serverless runtime loop: asks the Runtime API for invocations, runs the handler, answers, and
logs what failed.

As AWS Lambda's own (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html), with two
differences: it logs and posts a failure's whole traceback, with its causes, as other hosts do; and
it ends when told that there is no more.
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback


class Context:
    def __init__(self, request_id, deadline):
        self.aws_request_id = request_id
        self._deadline = deadline

    def get_remaining_time_in_millis(self):
        return max(int(self._deadline - time.time() * 1000), 0)


def call(method, path, document=None, headers=()):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=60)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, "/2018-06-01/runtime/" + path, body, dict(headers))
        with connection.getresponse() as response:
            return response.status, response.headers, response.read()
    finally:
        connection.close()


def failed(path, error):
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    print("[ERROR] %s: %s\n%s" % (type(error).__name__, error, "".join(lines)), flush=True)
    kind = "Runtime." + type(error).__name__
    call("POST", path, {"errorMessage": str(error), "errorType": type(error).__name__,
                        "stackTrace": lines},
         {"Lambda-Runtime-Function-Error-Type": kind})


def main():
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    try:
        handle = getattr(importlib.import_module(module), name)
    except Exception as error:
        failed("init/error", error)
        return 1
    print("INIT_START %s" % module, flush=True)
    while True:
        status, headers, body = call("GET", "invocation/next")
        if status == 410:
            return 0
        request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        print("START RequestId: %s" % request_id, flush=True)
        try:
            answer = handle(json.loads(body.decode("utf-8")),
                            Context(request_id, int(headers["Lambda-Runtime-Deadline-Ms"])))
        except Exception as error:
            failed("invocation/%s/error" % request_id, error)
        else:
            call("POST", "invocation/%s/response" % request_id, answer)
        print("END RequestId: %s" % request_id, flush=True)


if __name__ == "__main__":
    sys.exit(main())
