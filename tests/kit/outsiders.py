"""Clients that are not ours, to look at the tests' own servers with."""

import http.client
import socket
import ssl
import urllib.request
from typing import Any, List, Optional, Tuple

from kit.deadlines import LONG
from kit.server import Server


def dial(server: Server, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), LONG)
    sock.sendall(request)
    return sock


def read_all(sock: socket.socket) -> bytes:
    parts = []
    while True:
        parts.append(sock.recv(65536))
        if not parts[-1]:
            return b"".join(parts)


def fetch(server: Server, method: str = "GET", target: str = "/", body: Optional[bytes] = None,
          context: Optional[ssl.SSLContext] = None) -> Tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LONG)
    if context is not None:
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=LONG,
                                                 context=context)
    try:
        connection.request(method, target, body)
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


def via(proxy_url: str, url: str, context: Optional[ssl.SSLContext] = None) -> bytes:
    handlers: List[Any] = [urllib.request.ProxyHandler({"http": proxy_url, "https": proxy_url})]
    if context is not None:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(url, timeout=LONG) as response:
        body: bytes = response.read()
        return body
