"""PySocks in the place of sockets: `… URL SOCKS_PORT [names] CALL…`.

With `names` its server looks them up; the calls are by name.
"""

import socket
import sys

import socks

import calls

url, port = sys.argv[1:3]
socks.set_default_proxy(socks.SOCKS5, "127.0.0.1", int(port))
socket.socket = socks.socksocket
if "names" in sys.argv:
    socket.getaddrinfo = lambda host, port, *_, **__: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

wanted = [name for name in calls.CALLS if name in sys.argv]
calls.report(outcomes=calls.outcomes(url, wanted))
