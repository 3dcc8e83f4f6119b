"""A real nginx in front of a server on this machine.

    with Nginx(platform.port, location="proxy_buffering off;") as nginx:
        ...                             # call nginx.url
"""

import os
from typing import List, Optional

import pytest

from kit.certificates import Certificates
from kit.process import ServerProcess, find

__all__ = ["NGINX", "Nginx", "needs_nginx"]

NGINX = find("nginx")

needs_nginx = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed (apt install nginx-light)")

CONFIGURATION = """\
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
%(user)s
events {}
http {
    access_log access.log;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    %(http)s
    server {
        listen 127.0.0.1:%(port)d%(tls)s;
        %(server)s
        location / {
            proxy_pass http://127.0.0.1:%(upstream)d;
            %(location)s
        }
    }
}
"""


class Nginx(ServerProcess):
    """As it comes, a `location` with nothing but `proxy_pass`. `location`, `server` and `http` are
    directives to add at those places; with `certificates` it speaks TLS."""

    def __init__(self, upstream: int, *, location: str = "", server: str = "", http: str = "",
                 certificates: Optional[Certificates] = None) -> None:
        super().__init__()
        # Where root runs it, its workers would be somebody else, who may not look into our folder.
        user = "user root;" if os.geteuid() == 0 else ""
        self._tls = certificates is not None
        if certificates is not None:
            server += "\nssl_certificate %s/good.pem; ssl_certificate_key %s/server.key;" % (
                (certificates.directory,) * 2)
        configuration = CONFIGURATION % {
            "user": user, "port": self.port, "upstream": upstream, "location": location,
            "tls": " ssl" if certificates else "", "server": server, "http": http}
        (self.folder / "nginx.conf").write_text(configuration, encoding="utf-8")

    @property
    def url(self) -> str:
        return "https://localhost:%d" % self.port if self._tls else super().url

    def command(self) -> List[str]:
        return [NGINX or "nginx", "-p", str(self.folder), "-c", "nginx.conf"]

    def log(self) -> str:
        """A line for each request that it has answered, by its default format."""
        return (self.folder / "access.log").read_text(encoding="utf-8", errors="replace")
