"""An HTTP/2 origin (RFC 9113) made of frames, so that it can also say what no library would."""
import socket
import ssl
import struct
import threading

import hpack
import weir

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Closed(Exception):
    """The other side has closed the connection."""


class Request:
    def __init__(self, stream, fields):
        self.stream, self.fields = stream, fields
        self.body, self.trailers, self.ended, self.reset = b"", [], False, None

    def __getitem__(self, name):
        return dict(self.fields).get(name)


class Peer:
    """One connection, seen from the origin."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.requests = {}
        self.settings = {}
        self.goaway = None
        self.acknowledged = 0   # settings of ours
        self.pongs = 0
        self.window = 65535     # of the connection, for what we send
        self.windows = {}       # of streams
        self.opens_windows = True

    # ---- frames ----

    def read(self, n):
        while len(self.buffer) < n:
            part = self.sock.recv(65536)
            if not part:
                raise Closed
            self.buffer += part
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def send(self, kind, flags, stream, payload=b""):
        self.sock.sendall(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) +
                          struct.pack(">I", stream) + payload)

    def begin(self, settings=()):
        assert self.read(len(PREFACE)) == PREFACE
        self.send(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in settings))

    def step(self):
        """Takes the next frame and notes what it says. (kind, stream)"""
        head = self.read(9)
        length, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
        payload = self.read(length)
        if kind == SETTINGS:
            if flags & ACK:
                self.acknowledged += 1
            else:
                self.settings.update(struct.unpack(">HI", payload[i:i + 6]) for i in range(0, length, 6))
                self.send(SETTINGS, ACK, 0)
        elif kind == PING and flags & ACK:
            self.pongs += 1
        elif kind == PING:
            self.send(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream:
                self.windows[stream] = self.windows.get(stream, 0) + more
            else:
                self.window += more
        elif kind == HEADERS:
            assert flags & END_HEADERS and not flags & PADDED
            fields = self.decoder.decode(payload[5:] if flags & 0x20 else payload)
            if stream in self.requests:
                self.requests[stream].trailers = fields
            else:
                self.requests[stream] = Request(stream, fields)
            self.requests[stream].ended = bool(flags & END_STREAM)
        elif kind == DATA:
            if payload and self.opens_windows:
                for window in (0, stream):
                    self.send(WINDOW_UPDATE, 0, window, struct.pack(">I", length))
            self.requests[stream].body += payload
            self.requests[stream].ended = bool(flags & END_STREAM)
        elif kind == RST_STREAM and stream in self.requests:
            self.requests[stream].reset = int.from_bytes(payload, "big")
        return kind, stream

    # ---- messages ----

    def next_request(self, ended=True):
        """The next one; with its body, when ended."""
        while True:
            kind, stream = self.step()
            if kind == HEADERS and not ended:
                return self.requests[stream]
            if kind in (HEADERS, DATA) and self.requests[stream].ended:
                return self.requests[stream]

    def until(self, condition):
        while not condition():
            self.step()

    def headers(self, stream, fields, end=False):
        self.send(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self.encoder.encode(fields))

    def data(self, stream, body=b"", end=False):
        self.send(DATA, END_STREAM if end else 0, stream, body)

    def answer(self, request, body=b"ok", fields=(), status="200", trailers=()):
        self.headers(request.stream, [(":status", status), *fields], end=not body and not trailers)
        for at in range(0, len(body), 16384):
            self.data(request.stream, body[at:at + 16384], end=at + 16384 >= len(body) and not trailers)
        if trailers:
            self.headers(request.stream, trailers, end=True)

    def reset(self, stream, code):
        self.send(RST_STREAM, 0, stream, struct.pack(">I", code))

    def go_away(self, last, code=NO_ERROR):
        self.send(GOAWAY, 0, 0, struct.pack(">II", last, code))


class Http2Origin:
    """Accepts; for every connection calls script(peer) in a thread of its own."""

    def __init__(self, tls=None, protocols=("h2",)):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
            self.context.set_alpn_protocols(list(protocols))
        self.script = self.serve_all
        self.requests = []
        self.connections = 0
        self.failures = []      # of scripts
        self.open = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def serve_all(self, peer):
        peer.begin()
        while True:
            request = peer.next_request()
            self.requests.append(request)
            peer.answer(request)

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with s:
            s.settimeout(weir.PATIENCE)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                if self.context:
                    s = self.context.wrap_socket(s, server_side=True)
                self.open.add(s)
                self.script(Peer(s))
            except (Closed, OSError):
                pass
            except Exception as error:  # noqa: BLE001: whatever a script finds wrong
                self.failures.append(error)
            finally:
                self.open.discard(s)
                s.close()

    def hang_up(self):
        for s in list(self.open):
            try:
                socket.socket.shutdown(s, socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.hang_up()
        self.listener.close()
