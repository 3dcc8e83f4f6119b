"""eventlet in the place of sockets and threads: three calls at once, each in its own greenlet."""

import eventlet

eventlet.monkey_patch()

import sys

import calls

greenlets = {name: eventlet.spawn(calls.outcome, call, sys.argv[1])
             for name, call in calls.CALLS.items()}
calls.report(outcomes={name: greenlet.wait() for name, greenlet in greenlets.items()})
