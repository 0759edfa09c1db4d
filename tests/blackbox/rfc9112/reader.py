"""Messages off a socket, read by the letter: what is not exactly HTTP/1.1 is an error of the sender."""
import re
from dataclasses import dataclass, field

FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9]\d\d) ([\t -~\x80-\xff]*)")
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/1\.1")
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]+")


class Ended(Exception):
    """The other side closed in the middle; data is what had come."""

    def __init__(self, data):
        super().__init__(data)
        self.data = data


@dataclass
class Read:
    """A message as it was read."""
    start: bytes
    fields: list
    head: bytes
    framing: str = "none"
    body: bytes = b""
    trailers: list = field(default_factory=list)
    whole: bool = False
    connection: int = None

    def values(self, name, fields=None):
        name = name.encode("latin-1").lower()
        return [v for n, v in (self.fields if fields is None else fields) if n.lower() == name]

    def value(self, name):
        values = self.values(name)
        assert len(values) == 1, f"{len(values)} fields {name} in {self.head!r}"
        return values[0]


class Reader:
    def __init__(self, s):
        self.s, self.buffer, self.all = s, b"", b""

    def more(self):
        try:
            part = self.s.recv(65536)
        except ConnectionResetError:
            part = b""
        self.buffer += part
        self.all += part
        return bool(part)

    def take(self, n):
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def exactly(self, n):
        while len(self.buffer) < n:
            if not self.more():
                raise Ended(self.take(n))
        return self.take(n)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise Ended(self.take(len(self.buffer)))
        return self.take(self.buffer.index(mark) + len(mark))

    def rest(self):
        while self.more():
            pass
        return self.take(len(self.buffer))

    def fields(self):
        """Field lines up to the empty one: (fields, their bytes)."""
        fields, raw = [], b""
        while True:
            line = self.until(b"\r\n")
            raw += line
            if line == b"\r\n":
                return fields, raw
            match = FIELD.fullmatch(line[:-2])
            assert match, f"no field line: {line!r}"
            fields.append(match.groups())

    def head(self, pattern):
        """A start line and fields. None: the connection ended in front of it."""
        if not self.buffer and not self.more():
            return None
        try:
            start = self.until(b"\r\n")
            assert pattern.fullmatch(start[:-2]), f"no start line: {start!r}"
            fields, raw = self.fields()
        except Ended as ended:
            raise AssertionError(f"ended in a head: {ended.data!r}, all: {self.all!r}") from None
        return Read(start[:-2], fields, start + raw)

    def chunks(self, message):
        while True:
            line = self.until(b"\r\n")
            assert CHUNK_SIZE.fullmatch(line[:-2]), f"no chunk size: {line!r}"
            size = int(line, 16)
            if size == 0:
                message.trailers, _ = self.fields()
                return
            try:
                message.body += self.exactly(size)
            except Ended as ended:
                message.body += ended.data
                raise
            assert self.exactly(2) == b"\r\n", "no CRLF behind a chunk"

    def body(self, message, bodiless=False, close_ends=False):
        """What the head announces (RFC 9112 section 6.3); message.whole tells whether all of it came."""
        lengths, codings = message.values("Content-Length"), message.values("Transfer-Encoding")
        assert len(lengths) + len(codings) <= 1, f"framed twice: {message.head!r}"
        assert all(re.fullmatch(rb"\d+", n) for n in lengths), message.head
        assert all(c == b"chunked" for c in codings), message.head
        try:
            if bodiless:
                pass
            elif codings:
                message.framing = "chunked"
                self.chunks(message)
            elif lengths:
                message.framing = "length"
                try:
                    message.body = self.exactly(int(lengths[0]))
                except Ended as ended:
                    message.body = ended.data
                    raise
            elif close_ends:
                message.framing = "close"
                message.body = self.rest()
            message.whole = True
        except Ended:
            pass
