"""Trailer sections: passed on to those who can take them, without the fields that may not be there."""
from rfc9112.words import (CLOSED, GET, HOST, KEPT, OK, SAME, Case, Reached, answer, asked, chunked, get, got, lines,
                           post)

TE = ("Connection: TE", "TE: trailers")

# RFC 9110 section 6.5.1: framing, routing, authentication, and what a head alone can say
FORBIDDEN = (
    "Content-Length: 5", "Transfer-Encoding: chunked", "Host: b.test", "Connection: close", "Keep-Alive: 5",
    "Proxy-Connection: close",
    "Upgrade: cow", "TE: trailers", "Trailer: X-A", "Authorization: Basic YTpi", "Proxy-Authorization: Basic YTpi",
    "Cookie: a=b",
    "Set-Cookie: a=b", "Expect: 100-continue", "Content-Encoding: gzip", "Content-Type: text/html",
    "Content-Range: bytes 0-1/2",
    "Cache-Control: no-store", "Via: 1.1 cow", "X-Forwarded-For: 1.2.3.4")


def section(*fields):
    """The last chunk with these trailers."""
    return lines("0", *fields)


def response(name, *fields, sends=None, trailers=None, framing="chunked", rfc="9112-7.1.2", pending=False, end=KEPT,
             says=None):
    """A chunked answer with trailers; trailers is what the client gets of them."""
    says = says or answer("Transfer-Encoding: chunked", f"Trailer: {', '.join(f.partition(':')[0] for f in fields)}",
                          body=b"2\r\nok\r\n" + section(*fields))
    return Case(rfc, name,
                client=[sends or get(*TE),
                        got(200, framing=framing, body=b"ok", trailers=fields if trailers is None else trailers)],
                origin=[asked(GET, says=says)], pending=pending, end=end, next_on=SAME if end == KEPT else None)


def request(name, *fields, trailers=None, rfc="9112-7.1.2", pending=False):
    """A body that goes up in chunks, with trailers behind it."""
    to = "POST /stream HTTP/1.1"
    return Case(rfc, name, client=[chunked(b"5\r\nhello\r\n", to="/stream"), Reached(b"hello"), section(*fields), OK],
                pending=pending,
                origin=[asked(to, framing="chunked", body=b"hello", trailers=fields if trailers is None else trailers)])


RESPONSES = [
    response("answer: one trailer", "X-A: b"),
    response("answer: several, in order, of one name", "X-A: 1", "X-B: x", "X-A: 2"),
    response("answer: a checksum", "Digest: sha-256=abc", "Server-Timing: a;dur=1"),
    response("answer: bytes above 127", "X-A: \xe9"),
    response("answer: 8000 bytes", "X-A: " + "b" * 8000),
    response("answer: TE among codings", "X-A: b", sends=get("Connection: TE", "TE: gzip;q=0.5, trailers"),
             rfc="9110-10.1.4"),
    response("answer: not to those who did not ask", "X-A: b", sends=get(), trailers=(), rfc="9110-6.5.1"),
    response("answer: not to those who asked for a coding", "X-A: b", sends=get("Connection: TE", "TE: gzip"),
             trailers=(), rfc="9110-6.5.1"),
    response("answer: not to HTTP/1.0", "X-A: b", sends=lines("GET /a HTTP/1.0", HOST, *TE), trailers=(),
             framing="close", end=CLOSED),
    response("answer: none stays none", says=answer("Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n")),
    *(response(f"answer: {f.partition(':')[0]} has no place there", f, "X-A: b", trailers=("X-A: b",),
               rfc="9110-6.5.1")
      for f in FORBIDDEN),
    Case("9110-6.5.1", "answer: only forbidden ones",
         client=[get(*TE), got(200, framing="chunked", body=b"ok", trailers=())],
         origin=[asked(GET,
                       says=answer("Transfer-Encoding: chunked",
                                   body=b"2\r\nok\r\n" + section("Content-Length: 1", "Set-Cookie: a=b")))]),
    Case("9110-6.5.1", "answer: a trailer does not become a field",
         client=[get(*TE), got(200, lacks=("X-A",), body=b"ok")],
         origin=[asked(GET, says=answer("Transfer-Encoding: chunked", body=b"2\r\nok\r\n" + section("X-A: b")))]),
]

REQUESTS = [
    request("request: one trailer", "X-A: b"),
    request("request: several, in order, of one name", "X-A: 1", "X-B: x", "X-A: 2"),
    request("request: bytes above 127", "X-A: \xe9"),
    request("request: 8000 bytes", "X-A: " + "b" * 8000),
    request("request: none stays none"),
    *(request(f"request: {f.partition(':')[0]} has no place there", f, "X-A: b", trailers=("X-A: b",),
              rfc="9110-6.5.1")
      for f in FORBIDDEN),
    request("request: only forbidden ones", "Content-Length: 1", "Host: b.test", trailers=(), rfc="9110-6.5.1"),
    Case("9110-6.5.1", "request: a body that is whole goes chunked where it has some",
         client=[chunked(b"5\r\nhello\r\n" + section("X-A: b")), OK],
         origin=[asked("POST /a HTTP/1.1", framing="chunked", body=b"hello", trailers=("X-A: b",))]),
    Case("9110-6.5.1", "request: a trailer takes nobody's identity",
         client=[chunked(b"5\r\nhello\r\n", to="/stream"), Reached(b"hello"),
                 section("X-Real-IP: 1.2.3.4", "X-Consumer-Username: bob"), OK],
         origin=[asked("POST /stream HTTP/1.1", "X-Real-IP: 127.0.0.1", body=b"hello",
                       lacks=("X-Consumer-Username",))]),
    Case("9112-7.1.2", "request: the next request comes behind the trailers",
         client=[post("Transfer-Encoding: chunked", "Trailer: X-A",
                      body=b"5\r\nhello\r\n" + section("X-A: b")) + get(), OK, OK],
         origin=[asked("POST /a HTTP/1.1", body=b"hello"), asked(GET)]),
]

CASES = [*RESPONSES, *REQUESTS]
