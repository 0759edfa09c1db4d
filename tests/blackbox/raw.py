"""Bytes on both sides of a data plane: a client that sends what it is told, an origin that
answers what it is told and remembers what it received."""
import contextlib
import re
import socket
import threading

import weir

# ends a chunked body, trailers included (RFC 9112 section 7.1)
LAST_CHUNK = re.compile(rb"(?:\A|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n")


def talk(port, data, pieces=None, half_close=False):
    """Sends data (or pieces, one write each); everything that came back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces or [data]:
                s.sendall(piece)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        out = b""
        try:
            while part := s.recv(65536):
                out += part
        except ConnectionResetError:
            pass
        return out


def read_head(s):
    """The bytes up to and with the empty line, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        if not part:
            return data, b""
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def read_response(s, buffered=b"", head_only=False):
    """One response with Content-Length or chunks: (head, body, what is left)."""
    data = buffered
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        if not part:
            raise AssertionError(f"closed in the head: {data!r}")
        data += part
    head, _, data = data.partition(b"\r\n\r\n")
    fields = {line.split(b":")[0].lower(): line.split(b":", 1)[1].strip() for line in head.split(b"\r\n")[1:]}

    def fill(n):
        nonlocal data
        while len(data) < n:
            part = s.recv(65536)
            if not part:
                raise AssertionError(f"closed in the body: {head!r} {data!r}")
            data += part

    if head_only or head.split()[1] in (b"204", b"304") or head.split()[1].startswith(b"1"):
        return head, b"", data
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = b""
        while True:
            while b"\r\n" not in data:
                fill(len(data) + 1)
            line, _, data = data.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while not (data.startswith(b"\r\n") or b"\r\n\r\n" in data):
                    fill(len(data) + 1)
                data = data[2:] if data.startswith(b"\r\n") else data.partition(b"\r\n\r\n")[2]
                return head, body, data
            fill(size + 2)
            body, data = body + data[:size], data[size + 2:]
    n = int(fields.get(b"content-length", b"0"))
    fill(n)
    return head, data[:n], data[n:]


class Origin:
    """Accepts; for every connection calls script(connection, origin) in a thread."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.heads = []       # request heads as received
        self.connections = 0
        self.open = set()
        self.script = self.answer_ok
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(s)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with s:
            s.settimeout(weir.PATIENCE)
            try:
                self.script(s)
            except (OSError, AssertionError):
                pass
            finally:
                self.open.discard(s)

    def hang_up(self):
        """Ends every connection, so that the next one runs the script that is set now."""
        def ended():  # also those that come meanwhile: requests whose clients have left may be under way
            for s in list(self.open):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)
            return not self.open

        weir.wait_until(ended, "the connections to end")

    def answer_ok(self, s):
        """Reads requests with their bodies one after the other, answers each with self.answer."""
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                part = s.recv(65536)
                if not part:
                    return
                rest += part
            head, _, rest = rest.partition(b"\r\n\r\n")
            self.heads.append(head + b"\r\n\r\n")
            lower = head.lower()
            if b"transfer-encoding: chunked" in lower:
                while not (end := LAST_CHUNK.search(rest)):
                    rest += s.recv(65536)
                rest = rest[end.end():]
            elif b"content-length:" in lower:
                n = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
                while len(rest) < n:
                    part = s.recv(65536)
                    if not part:
                        return
                    rest += part
                rest = rest[n:]
            s.sendall(self.answer)

    def close(self):
        self.listener.close()
