"""gevent in the place of sockets and threads: three calls at once, each in its own greenlet."""

import gevent.monkey

gevent.monkey.patch_all()

import sys

import gevent

import calls

greenlets = {name: gevent.spawn(calls.outcome, call, sys.argv[1])
             for name, call in calls.CALLS.items()}
gevent.joinall(list(greenlets.values()))
calls.report(outcomes={name: greenlet.get() for name, greenlet in greenlets.items()})
