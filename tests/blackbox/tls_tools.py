"""Authorities and certificates for tests, made with openssl, and what s_client sees."""
import os
import re
import socket
import ssl
import subprocess

import weir


def openssl(*args, **more):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, **more).stdout


class Authority:
    """Signs certificates; every pair is two files and their texts."""

    def __init__(self, folder, name="ca", parent=None):
        self.folder, self.name, self.parent = str(folder), name, parent
        os.makedirs(self.folder, exist_ok=True)
        self.pair = self.issue(f"/CN={name}", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,cRLSign",
                               file=name, by=parent or self)

    def path(self, file):
        return os.path.join(self.folder, file)

    def issue(self, subject, extensions="", file=None, kind="ec", by=None, days=30):
        file = file or re.sub(r"\W", "_", subject) + "-" + kind
        by = by or self
        cert, key, request, ext = (self.path(file + e) for e in (".crt", ".key", ".csr", ".ext"))
        with open(ext, "w") as f:
            f.write(extensions + "\n")
        algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("req", "-new", "-newkey", *algorithm, "-nodes", "-keyout", key, "-out", request, "-subj", subject)
        signer = ["-key", key] if by is self and file == self.name else ["-CA", by.path(by.name + ".crt"), "-CAkey",
                                                                        by.path(by.name + ".key")]
        openssl("x509", "-req", "-in", request, *signer, "-out", cert, "-days", str(days), "-extfile", ext,
                "-set_serial", str(int.from_bytes(os.urandom(8), "big") >> 1))
        return Pair(cert, key)

    def server(self, name, kind="ec", file=None):
        return self.issue(f"/CN={name}", f"subjectAltName=DNS:{name}", file=file, kind=kind)

    def client(self, name, **more):
        return self.issue(f"/O=test/CN={name}", "extendedKeyUsage=clientAuth", **more)


class Pair:
    def __init__(self, cert, key):
        self.cert_file, self.key_file = cert, key
        self.cert, self.key = (open(f).read() for f in (cert, key))

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.cert)


def context(pair=None, version=None):
    """Trusts anybody; shows pair."""
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if version:
        c.minimum_version = c.maximum_version = version
    if pair:
        c.load_cert_chain(pair.cert_file, pair.key_file)
    return c


def dial(port, name=None, pair=None, version=None, session=None, ctx=None):
    plain = socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE)
    return (ctx or context(pair, version)).wrap_socket(plain, server_hostname=name, session=session)


def shown(port, name=None, **more):
    """The certificate for that name, DER."""
    with dial(port, name, **more) as s:
        return s.getpeercert(binary_form=True)


def ask(s, path="/", host="a", keep=True):
    """Status and body over an open connection."""
    s.sendall(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n"
              % (path.encode(), host.encode(), b"keep-alive" if keep else b"close"))
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536) or (_ for _ in ()).throw(AssertionError(f"cut short: {data!r}"))
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    while len(body) < length:
        body += s.recv(65536) or (_ for _ in ()).throw(AssertionError(f"cut short: {data!r}"))
    return int(head.split()[1]), body


def s_client(port, *args, send=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
    """What `openssl s_client` prints; it speaks until the server closes."""
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-ign_eof", *args], input=send,
                         capture_output=True, timeout=weir.PATIENCE)
    return out.stdout.decode(errors="replace") + out.stderr.decode(errors="replace")
