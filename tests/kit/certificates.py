"""Certificates for the tests' TLS servers, made by the openssl command (1.1.1 or later) when the
tests run, so that none is in the repository and none expires there.

| which       | what is wrong with it                                          |
| ----------- | -------------------------------------------------------------- |
| good        | nothing: localhost, 127.0.0.1, ::1 and api.example.test        |
| expired     | it ended in 2021                                               |
| wrong-host  | it is for other.example.test                                   |
| self-signed | it is its own authority                                        |
| unknown-ca  | an authority signed it that the client's context does not know |
"""

import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import List, Tuple, Union

__all__ = ["Certificates", "WHICH"]

WHICH = ("good", "expired", "wrong-host", "self-signed", "unknown-ca")

# Key identifiers and usages: VERIFY_X509_STRICT, on by default since Python 3.13, wants them (RFC
# 5280). `openssl ca` is the one command that sets both dates on 1.1.1 and on 3.x.
CONFIG = """\
[req]
prompt = no
distinguished_name = name
string_mask = utf8only

[name]
O = jamsocket_lite tests

[ca]
default_ca = default

[default]
database = index.txt
serial = serial.txt
new_certs_dir = .
default_md = sha256
policy = policy
unique_subject = no
email_in_dn = no

[policy]
organizationName = optional
commonName = supplied

[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always

[self-signed]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = @names

[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = @names

[wrong-host]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = DNS:other.example.test

[names]
DNS.1 = localhost
DNS.2 = api.example.test
IP.1 = 127.0.0.1
IP.2 = ::1
"""

LONG_AGO = ("20200101000000Z", "20210101000000Z")
ALWAYS = ("20200101000000Z", "20491231235959Z")


class Certificates:
    """Makes all of them in a directory, in a fraction of a second."""

    def __init__(self, directory: Union[str, "os.PathLike[str]"]) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "openssl.cnf").write_text(CONFIG)
        (self.directory / "index.txt").write_text("")
        (self.directory / "index.txt.attr").write_text("unique_subject = no\n")
        (self.directory / "serial.txt").write_text("1000\n")
        for key in ("ca", "other-ca", "server"):  # one serves every server
            self._make_key(key)
        self._make_own("ca", "ca", "authority")
        self._make_own("other-ca", "other-ca", "authority")
        self._make_own("self-signed", "server", "self-signed")
        self._request()
        self._sign("good", "ca", "server", ALWAYS)
        self._sign("expired", "ca", "server", LONG_AGO)
        self._sign("wrong-host", "ca", "wrong-host", ALWAYS)
        self._sign("unknown-ca", "other-ca", "server", ALWAYS)

    @property
    def ca_file(self) -> str:
        """The authority that a client is to trust."""
        return str(self.directory / "ca.pem")

    def server_context(self, which: str = "good") -> ssl.SSLContext:
        if which not in WHICH:
            raise ValueError("a certificate is one of " + ", ".join(WHICH))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(self.directory / (which + ".pem")),
                                str(self.directory / "server.key"))
        return context

    def client_context(self) -> ssl.SSLContext:
        """A client's default context that trusts the authority and nothing else."""
        return ssl.create_default_context(cafile=self.ca_file)

    def _make_key(self, name: str) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name + ".key")

    def _make_own(self, name: str, key: str, extensions: str) -> None:
        self._openssl("req", "-x509", "-new", "-key", key + ".key", "-sha256", "-days", "3650",
                      "-config", "openssl.cnf", "-subj", "/O=jamsocket_lite tests/CN=" + name,
                      "-extensions", extensions, "-out", name + ".pem")

    def _request(self) -> None:
        self._openssl("req", "-new", "-key", "server.key", "-sha256", "-config", "openssl.cnf",
                      "-subj", "/O=jamsocket_lite tests/CN=server", "-out", "server.csr")

    def _sign(self, name: str, authority: str, extensions: str, dates: Tuple[str, str]) -> None:
        self._openssl("ca", "-batch", "-notext", "-config", "openssl.cnf", "-cert",
                      authority + ".pem", "-keyfile", authority + ".key", "-in", "server.csr",
                      "-extensions", extensions, "-startdate", dates[0], "-enddate", dates[1],
                      "-out", name + ".pem")

    def _openssl(self, *arguments: str) -> None:
        command: List[str] = [_find_openssl(), *arguments]
        # The paths in the configuration are relative; the system's own must not be read.
        environment = dict(os.environ, OPENSSL_CONF="openssl.cnf")
        done = subprocess.run(command, cwd=str(self.directory), env=environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        if done.returncode != 0:
            raise RuntimeError("openssl %s failed:\n%s" % (" ".join(arguments),
                                                           done.stdout.decode("utf-8", "replace")))


def _find_openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        raise RuntimeError(
            "the TLS tests need the openssl command, which is not on the PATH: install OpenSSL, "
            "1.1.1 or later (apt install openssl, apk add openssl, brew install openssl)"
        )
    return found
