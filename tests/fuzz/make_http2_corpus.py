#!/usr/bin/python3
"""
make_http2_corpus.py - writes the seeds of tests/fuzz/corpus/http2/, what a client sends on a
connection, from the preface on, and of http2_up/, what an upstream says to a GET and a POST. The
last byte of a seed says how it is played (fuzz_http2.c, fuzz_http2_up.c). Run it after a change; the
seeds are kept in git, so that fuzzing needs no Python. Needs python3-hpack and python3-hyperframe
of Debian.

A name that begins with "bad-" ends with a connection or stream error (RFC 9113); "flood-" is legal
but for how much it is; the others are requests to answer or frames to pass over.
"""
import os
import struct
import sys

import hpack
from hyperframe import frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/a?b=c"), (":authority", "a.test")]
POST = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a.test")]


def settings(**values):
    return frame.SettingsFrame(0, {getattr(frame.SettingsFrame, k): v for k, v in values.items()}).serialize()


ACK = frame.SettingsFrame(0, flags=["ACK"]).serialize()
START = PREFACE + settings(INITIAL_WINDOW_SIZE=65535, MAX_CONCURRENT_STREAMS=100)


def raw(kind, flags, stream, payload):
    """A frame whose type, flags and payload need not fit each other."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(fields):
    return hpack.Encoder().encode(fields)


def headers(stream, data, *flags):
    return frame.HeadersFrame(stream, data, flags=flags).serialize()


def get(stream, fields=None):
    return headers(stream, block(fields or GET), "END_HEADERS", "END_STREAM")


def data(stream, body, *flags, pad=0):
    return frame.DataFrame(stream, body, flags=flags, pad_length=pad).serialize()


def rst(stream, code=8):
    return frame.RstStreamFrame(stream, code).serialize()


def window(stream, n):
    return raw(8, 0, stream, struct.pack(">I", n))


def cut(fields, pieces):
    """HEADERS and pieces - 1 CONTINUATION frames with one block."""
    whole = block(fields)
    size = -(-len(whole) // pieces)
    parts = [whole[i:i + size] for i in range(0, len(whole), size)]
    out = headers(1, parts[0], "END_STREAM")
    for i, part in enumerate(parts[1:], 2):
        out += frame.ContinuationFrame(1, part, flags=["END_HEADERS"] if i == len(parts) else []).serialize()
    return out


def shared_table():
    """Two requests by one encoder: the second is made of the dynamic table."""
    encoder = hpack.Encoder()
    fields = GET + [("x-long-enough-to-be-kept", "value"), ("cookie", "a=b"), ("cookie", "c=d")]
    return b"".join(headers(s, encoder.encode(fields), "END_HEADERS", "END_STREAM") for s in (1, 3))


POST_HEAD = headers(1, block(POST + [("content-length", "5")]), "END_HEADERS")

SEEDS = {
    "get": START + ACK + get(1),
    "three-streams": START + get(1) + get(3) + get(5),
    "dynamic-table": START + shared_table(),
    "table-size": START + settings(HEADER_TABLE_SIZE=0)
                  + headers(1, b"\x20" + block(GET), "END_HEADERS", "END_STREAM"),
    "continuation": START + cut(GET + [("x-%d" % i, "v" * 20) for i in range(8)], 5),
    "post": START + POST_HEAD + data(1, b"he") + data(1, b"llo", "END_STREAM"),
    "post-padded": START + POST_HEAD + data(1, b"he", "PADDED", pad=9) + data(1, b"llo", "PADDED", "END_STREAM", pad=255),
    "post-padding-only": START + POST_HEAD + data(1, b"", "PADDED", pad=255) + data(1, b"hello", "END_STREAM"),
    "headers-padded": START + frame.HeadersFrame(1, block(GET), pad_length=7, flags=[
        "PADDED", "PRIORITY", "END_HEADERS", "END_STREAM"], depends_on=0, stream_weight=15, exclusive=True).serialize(),
    "trailers": START + headers(1, block(POST + [("te", "trailers")]), "END_HEADERS") + data(1, b"hello")
                + headers(1, block([("x-sum", "1")]), "END_HEADERS", "END_STREAM"),
    "window-update": START + window(0, 1000) + POST_HEAD + window(1, 1) + data(1, b"hello", "END_STREAM"),
    "small-window": PREFACE + settings(INITIAL_WINDOW_SIZE=1) + get(1) + window(1, 1) * 3,
    "priority": START + frame.PriorityFrame(3, depends_on=1, stream_weight=200, exclusive=False).serialize()
                + get(1) + frame.PriorityFrame(1, depends_on=0, stream_weight=1, exclusive=True).serialize(),
    "ping": START + frame.PingFrame(0, b"12345678").serialize() + get(1)
            + frame.PingFrame(0, b"12345678", flags=["ACK"]).serialize(),
    "goaway": START + get(1) + frame.GoAwayFrame(0, 0, 0, b"bye").serialize(),
    "unknown-frame": START + raw(0xfa, 0xff, 1, b"ignored") + get(1),
    "unknown-setting": PREFACE + raw(4, 0, 0, struct.pack(">HI", 0xfafa, 1)) + get(1),
    "reset": START + POST_HEAD + rst(1) + data(1, b"late"),
    "part": (START + get(1))[:-5],

    # floods: legal frames whose number is the attack
    "flood-rapid-reset": START + b"".join(get(s) + rst(s) for s in range(1, 241, 2)),
    "flood-ping": START + frame.PingFrame(0, b"12345678").serialize() * 300,
    "flood-settings": START + settings(INITIAL_WINDOW_SIZE=1) * 300,
    "flood-priority": START + b"".join(
        frame.PriorityFrame(s, depends_on=0, stream_weight=1).serialize() for s in range(1, 601, 2)),
    "flood-empty-data": START + POST_HEAD + data(1, b"") * 300,
    "flood-window-update": START + get(1) + window(0, 1) * 300,
    "flood-continuation": START + headers(1, block(GET)) + frame.ContinuationFrame(1, b"").serialize() * 300,
    "flood-hpack-bomb": START + headers(1, block(GET) + b"\x40\x01x\x7f\x81\x1e" + b"v" * 256 + b"\xbe" * 4000,
                                        "END_HEADERS", "END_STREAM"),

    "bad-preface": PREFACE[:-4] + b"XX\r\n" + settings() + get(1),
    "bad-no-settings": PREFACE + get(1),
    "bad-window-overflow": START + window(0, 0x7fffffff) + window(0, 0x7fffffff),
    "bad-stream-window-overflow": START + POST_HEAD + window(1, 0x7fffffff),
    "bad-window-zero": START + POST_HEAD + window(1, 0) + window(0, 0),
    "bad-window-setting": PREFACE + settings(INITIAL_WINDOW_SIZE=0x80000000),
    "bad-frame-size-setting": PREFACE + settings(MAX_FRAME_SIZE=16383),
    "bad-frame-too-long": START + raw(0, 0, 1, b"x" * 16385),
    "bad-settings-length": PREFACE + raw(4, 0, 0, b"12345"),
    "bad-settings-ack": START + raw(4, 1, 0, b"123456"),
    "bad-ping-length": START + raw(6, 0, 0, b"1234567"),
    "bad-stream-zero": START + raw(1, 5, 0, block(GET)),
    "bad-stream-even": START + get(2),
    "bad-stream-lower": START + get(5) + get(3),
    "bad-data-idle": START + data(1, b"x"),
    "bad-padding": START + POST_HEAD + raw(0, 8, 1, b"\x05abcd"),
    "bad-headers-padding": START + raw(1, 0x0d, 1, b"\xff" + block(GET)),
    "bad-priority-itself": START + raw(2, 0, 1, struct.pack(">IB", 1, 0)),
    "bad-continuation-alone": START + frame.ContinuationFrame(1, block(GET), flags=["END_HEADERS"]).serialize(),
    "bad-continuation-other": START + headers(1, block(GET)[:3]) + frame.PingFrame(0, b"12345678").serialize(),
    "bad-push-promise": START + get(1) + raw(5, 4, 1, struct.pack(">I", 2) + block(GET)),
    "bad-length": START + POST_HEAD + data(1, b"hello and more", "END_STREAM"),
    "bad-rst-idle": START + rst(1),

    "bad-hpack-index": START + headers(1, block(GET) + b"\xff\xff\xff\xff\x0f", "END_HEADERS", "END_STREAM"),
    "bad-hpack-zero": START + headers(1, b"\x80", "END_HEADERS", "END_STREAM"),
    "bad-hpack-integer": START + headers(1, b"\x7f" + b"\xff" * 12, "END_HEADERS", "END_STREAM"),
    "bad-hpack-cut": START + headers(1, block(GET)[:-2], "END_HEADERS", "END_STREAM"),
    "bad-hpack-huffman": START + headers(1, b"\x00\x82\xff\xff\x01a", "END_HEADERS", "END_STREAM"),
    "bad-hpack-size": START + headers(1, b"\x3f\xff\xff\x03" + block(GET), "END_HEADERS", "END_STREAM"),
    "bad-hpack-late-size": START + headers(1, block(GET) + b"\x20", "END_HEADERS", "END_STREAM"),

    # requests that are malformed (RFC 9113 section 8.1.1 and on)
    "bad-no-method": START + get(1, GET[1:]),
    "bad-two-paths": START + get(1, GET + [(":path", "/b")]),
    "bad-late-pseudo": START + get(1, [("a", "b")] + GET),
    "bad-pseudo": START + get(1, GET + [(":status", "200")]),
    "bad-capitals": START + get(1, GET + [("X-Capital", "b")]),
    "bad-connection": START + get(1, GET + [("connection", "close")]),
    "bad-transfer-encoding": START + get(1, POST + [("transfer-encoding", "chunked")]),
    "bad-te": START + get(1, GET + [("te", "gzip")]),
    "bad-line-feed": START + get(1, GET + [("a", "b\r\nc: d")]),
    "bad-nul": START + get(1, GET + [("a", "b\0c")]),
    "bad-space": START + get(1, GET + [("a b", "c")]),
    "bad-path": START + get(1, GET[:2] + [(":path", "a b"), (":authority", "a.test")]),
    "bad-host": START + get(1, GET + [("host", "other.test")]),
    "bad-trailer-pseudo": START + POST_HEAD + data(1, b"hello")
                          + headers(1, block([(":path", "/")]), "END_HEADERS", "END_STREAM"),
    "connect": START + headers(1, block([(":method", "CONNECT"), (":authority", "a.test:80")]), "END_HEADERS"),
    "options-asterisk": START + get(1, [(":method", "OPTIONS")] + GET[1:2] + [(":path", "*"), (":authority", "a.test")]),
}


def head(stream, fields, *flags):
    return headers(stream, block(fields), "END_HEADERS", *flags)


def goaway(last, code=0):
    return frame.GoAwayFrame(0, last, code).serialize()


OK = [(":status", "200")]
SERVER = settings(MAX_CONCURRENT_STREAMS=100) + ACK
BOTH = head(1, OK, "END_STREAM") + head(3, OK) + data(3, b"hello", "END_STREAM")

UP_SEEDS = {
    "both": SERVER + BOTH,
    "other-order": SERVER + head(3, OK) + head(1, OK) + data(1, b"a") + data(3, b"b", "END_STREAM") + data(1, b"", "END_STREAM"),
    "lengths": SERVER + head(1, OK + [("content-length", "5")]) + data(1, b"hello", "END_STREAM")
               + head(3, [(":status", "204")], "END_STREAM"),
    "interim": SERVER + head(1, [(":status", "103"), ("link", "x")]) * 3 + BOTH,
    "trailers": SERVER + head(1, OK) + data(1, b"a") + head(1, [("x-sum", "1")], "END_STREAM") + head(3, OK, "END_STREAM"),
    "refused": SERVER + rst(1, 7) + rst(3, 7) + BOTH,
    "reset-in-body": SERVER + head(1, OK) + data(1, b"abc") + rst(1) + head(3, OK, "END_STREAM"),
    "no-error-early": SERVER + head(3, OK) + data(3, b"abc", "END_STREAM") + rst(3, 0) + head(1, OK, "END_STREAM"),
    "goaway": SERVER + goaway(1) + head(1, OK, "END_STREAM"),
    "goaway-twice": SERVER + goaway(0x7fffffff) + goaway(0),
    "one-stream": settings(MAX_CONCURRENT_STREAMS=1) + ACK + BOTH,
    "no-window": settings(INITIAL_WINDOW_SIZE=0) + ACK + head(1, OK, "END_STREAM") + window(3, 3) + window(3, 3) + head(3, OK, "END_STREAM"),
    "ping": SERVER + frame.PingFrame(0, b"12345678").serialize() * 9 + BOTH,
    "padding": SERVER + head(1, OK) + data(1, b"abc", "PADDED", "END_STREAM", pad=200) + head(3, OK, "END_STREAM"),
    "many-fields": SERVER + head(1, OK + [("x-%d" % i, "v" * 20) for i in range(100)], "END_STREAM"),
    "part": SERVER + BOTH[:-9],

    "flood-ping": SERVER + frame.PingFrame(0, b"12345678").serialize() * 1200,
    "flood-interim": SERVER + head(1, [(":status", "103"), ("link", "x" * 100)]) * 300,
    "flood-continuation": SERVER + headers(1, block(OK)) + frame.ContinuationFrame(1, b"").serialize() * 300,
    "flood-empty-data": SERVER + head(1, OK) + data(1, b"") * 1200,

    "bad-no-status": SERVER + head(1, [("x-a", "b")], "END_STREAM"),
    "bad-status": SERVER + head(1, [(":status", "000")], "END_STREAM"),
    "bad-status-101": SERVER + head(1, [(":status", "101")]),
    "bad-line-break": SERVER + head(1, OK + [("x-a", "b\r\nc: d")], "END_STREAM"),
    "bad-connection": SERVER + head(1, OK + [("connection", "close")], "END_STREAM"),
    "bad-trailer-pseudo": SERVER + head(1, OK) + data(1, b"a") + head(1, OK, "END_STREAM"),
    "bad-short": SERVER + head(1, OK + [("content-length", "9")]) + data(1, b"hello", "END_STREAM"),
    "bad-long": SERVER + head(1, OK + [("content-length", "1")]) + data(1, b"hello", "END_STREAM"),
    "bad-data-first": SERVER + data(1, b"x"),
    "bad-promise": SERVER + raw(5, 4, 1, struct.pack(">I", 2) + block(GET)),
    "bad-http1": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
}


def write(folder, seeds):
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", folder)
    os.makedirs(folder, exist_ok=True)
    for name in set(os.listdir(folder)) - set(seeds):
        os.remove(os.path.join(folder, name))
    for i, (name, content) in enumerate(sorted(seeds.items())):
        with open(os.path.join(folder, name), "wb") as out:
            out.write(content + bytes([i]))
    print("%d seeds in %s" % (len(seeds), folder))


def main():
    write("http2", SEEDS)
    write("http2_up", UP_SEEDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
