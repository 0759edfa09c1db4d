"""Plain sockets for tests of streams: servers that do one thing, and clients."""
import contextlib
import socket
import ssl
import threading

import weir


class Server:
    """Calls handle(socket) in a thread for each connection; tls: a server context."""

    def __init__(self, handle, tls=None):
        self.handle, self.tls = handle, tls
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]
        self.accepted = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.socket.accept()
                self.accepted += 1
                threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with contextlib.suppress(OSError), s:
            s.settimeout(weir.PATIENCE)
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
            with s:
                self.handle(s)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def finish(s):
    """Says that nothing more comes; with TLS as TLS says it."""
    if isinstance(s, ssl.SSLSocket):
        s = s.unwrap()
    s.shutdown(socket.SHUT_WR)


def echo(s):
    """Sends back all it gets, and ends when the other side has."""
    while data := s.recv(65536):
        s.sendall(data)
    if not isinstance(s, ssl.SSLSocket):
        s.shutdown(socket.SHUT_WR)


def read_all(s):
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while data := s.recv(65536):
            out += data
    return out


def read_exactly(s, n):
    out = b""
    while len(out) < n:
        data = s.recv(min(n - len(out), 1 << 20))
        if not data:
            raise AssertionError(f"closed after {len(out)} of {n} bytes: {out[-100:]!r}")
        out += data
    return out


def connect(port, timeout=None, address="127.0.0.1"):
    s = socket.create_connection((address, port), timeout=timeout or weir.PATIENCE)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def client_context(ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect_tls(port, name=None, raw=None):
    """A TLS client that asks for name; raw: an open socket to do it on."""
    return client_context().wrap_socket(raw or connect(port), server_hostname=name)


def server_context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def client_hello(name):
    """The first bytes of a TLS client that asks for name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def metric(page, name, **labels):
    """The value of a series on a metrics page; 0 when it is not there."""
    for line in page.splitlines():
        if not line.startswith(name) or line[len(name)] not in " {":
            continue
        if all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return 0
