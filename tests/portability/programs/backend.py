"""A session backend that starts in a moment. With DELAY in its environment it listens so many
seconds later."""

import os
import socket
import time

time.sleep(float(os.environ.get("DELAY", "0")))
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ["PORT"])))
    listener.listen(16)
    said = ("Hello from %s" % os.environ.get("SESSION_BACKEND_KEY")).encode("utf-8")
    while True:
        connection, _ = listener.accept()
        with connection:
            # The platform looks whether anyone listens, and leaves again; everyone else sends a
            # request.
            if connection.recv(65536):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
                                   % (len(said), said))
