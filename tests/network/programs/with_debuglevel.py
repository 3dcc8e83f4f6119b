"""http.client's own debugging, which prints the conversation."""

import contextlib
import http.client
import io
import sys

import calls

http.client.HTTPConnection.debuglevel = 1
with contextlib.redirect_stdout(io.StringIO()) as printed:
    outcomes = calls.outcomes(sys.argv[1])
calls.report(outcomes=outcomes, printed=printed.getvalue())
