"""Responses: what of an origin's answer reaches the client, and what is a 502."""
from rfc9112.words import (BAD_GATEWAY, BODY, CLOSE, CLOSED, GET, GO, HALF_CLOSE, HOST, NEW, OK, OK_ANSWER, RESET, SAME,
                           WAIT, Case, Seen, answer, answer_of, asked, bad_answer, cut, get, got, lines)

TE = "Transfer-Encoding: chunked"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def reaches(rfc, name, says, *has, request=GET, sends=None, close=False, **what):
    """An answer that reaches the client; with close, the origin closes behind it."""
    pending, next_on, status = what.pop("pending", False), what.pop("next_on", None), what.pop("status", 200)
    return Case(rfc, name, client=[sends or lines(request, HOST), got(status, *has, **what)], pending=pending,
                next_on=next_on,
                origin=[asked(request, does=(BODY, says, *([CLOSE] if close else [])))])


STATUS_LINES = [
    reaches("9112-4", "reason phrase", answer_of(b"ok", status="200 Very Good"), body=b"ok"),
    reaches("9112-4", "no reason phrase", answer_of(b"ok", status="200 "), body=b"ok"),
    reaches("9112-4", "no blank in front of no reason phrase", answer_of(b"ok", status="200"), body=b"ok"),
    reaches("9112-4", "reason phrase with a tab", answer_of(b"ok", status="200 Very\tGood"), body=b"ok"),
    reaches("9112-4", "reason phrase with bytes above 127", answer_of(b"ok", status="200 G\xfct"), body=b"ok"),
    *(reaches("9110-15", f"status {n}", answer_of(b"ok", status=f"{n} X"), status=n, body=b"ok", framing="length")
      for n in (201, 206, 299, 302, 404, 418, 429, 500, 502, 503, 599)),
    reaches("9112-2.3", "HTTP/1.0 origin", OK_ANSWER.replace(b"1.1", b"1.0"), body=b"ok", framing="length",
            next_on=NEW),
    reaches("9112-2.3", "HTTP/1.2 origin", OK_ANSWER.replace(b"1.1", b"1.2"), body=b"ok", framing="length"),
    *(bad_answer("9112-4", name, data) for name, data in (
        ("another protocol", b"SMTP ready\r\n\r\n"),
        ("protocol in lower case", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("bytes in front", b"x" + OK_ANSWER), ("an empty line in front", b"\r\n" + OK_ANSWER),
        ("a body without a head", b"hello, this is no HTTP\r\n"), ("HTTP/2.0", OK_ANSWER.replace(b"1.1", b"2.0")),
        ("version of one digit", OK_ANSWER.replace(b"1.1", b"1")),
        ("status of four digits", answer_of(b"", status="2000 OK")),
        ("status of two digits", answer_of(b"", status="20 OK")),
        ("status of letters", answer_of(b"", status="2xx OK")),
        ("status below 100", answer_of(b"", status="099 OK")), ("no status", answer_of(b"", status="OK")),
        ("two blanks in front of the status", answer_of(b"", status=" 200 OK")),
        ("tab in front of the status", OK_ANSWER.replace(b"1.1 200", b"1.1\t200")),
        ("reason without a blank", answer_of(b"", status="200OK")),
        ("NUL in the reason", answer_of(b"", status="200 O\0K")),
        ("CR in the reason", answer_of(b"", status="200 O\rK")),
        ("LF alone behind the status line", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
        ("a request", get()))),
]

FIELDS = [
    reaches("9110-5.3", "fields of one name stay apart and in order",
            answer_of(b"ok", "X-A: 1", "Set-Cookie: a=b", "X-A: 2", "Set-Cookie: c=d"),
            "X-A: 1", "X-A: 2", "Set-Cookie: a=b", "Set-Cookie: c=d", body=b"ok"),
    reaches("9110-5.5", "bytes above 127", answer_of(b"ok", "X-A: \xe9\xff"), "X-A: \xe9\xff", body=b"ok"),
    reaches("9110-5.5", "empty value", answer_of(b"ok", "X-A:"), "X-A: ", body=b"ok"),
    reaches("9112-5.1", "blanks around a value", answer_of(b"ok", "X-A: \t b \t"), "X-A: b", body=b"ok"),
    *(bad_answer(rfc, name, data) for rfc, name, data in (
        ("9112-5.1", "space in front of the colon", answer_of(b"", "X-A : b")),
        ("9112-5.1", "space in front of the colon of Content-Length", answer("Content-Length : 2", body=b"ok")),
        ("9112-5.2", "folded line", answer_of(b"", "X-A: b", " c")),
        ("9112-5", "no colon", answer_of(b"", "X-A b")), ("9112-5", "empty name", answer_of(b"", ": b")),
        ("9110-5.1", "space in a name", answer_of(b"", "X A: b")),
        ("9110-5.1", "byte above 127 in a name", answer_of(b"", "X\xe9: b")),
        ("9110-5.5", "NUL in a value", answer_of(b"", "X-A: b\0")),
        ("9110-5.5", "CR in a value", answer_of(b"", "X-A: b\rc")),
        ("9112-2.2", "LF alone behind a field", answer_of(b"", b"X-A: b\nX-B: c")),
        ("9112-2.2", "LF alone everywhere", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("9112-2.2", "space in front of the first field", answer(" X-A: b", "Content-Length: 0")),
        ("9110-5.4", "head far too large", answer_of(b"", "X-A: " + "b" * 200000)),
        ("9110-5.4", "far too many fields", answer_of(b"", *(["X-A: b"] * 1000))))),
    bad_answer("9110-5.4", "head above a small limit", answer_of(b"", "X-A: " + "b" * 3000), small=True),
    bad_answer("9110-5.4", "head above a small limit in two pieces", b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 30000,
               b"b" * 40000, small=True),
    *(bad_answer("9112-8", name, *does) for name, *does in (
        ("closed without an answer", CLOSE), ("half-closed without an answer", HALF_CLOSE),
        ("reset without an answer", RESET),
        ("closed in the status line", b"HTTP/1.1 20", CLOSE),
        ("closed in the head", b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE),
        ("closed in front of the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", CLOSE))),
    Case("9112-8", "closed behind an interim answer", client=[get(), got(100), BAD_GATEWAY], next_on=NEW,
         origin=[asked(GET, does=(BODY, b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE))]),
]


def bare(rfc, name, says, *has, **more):
    """An answer that has no body, and whose connection is as it was."""
    return reaches(rfc, name, says, *has, body=b"", framing="none", next_on=more.pop("next_on", SAME), **more)


HEAD = "HEAD /a HTTP/1.1"

BODILESS = [
    bare("9112-6.3", "HEAD with a length", answer("Content-Length: 1000"), "Content-Length: 1000", request=HEAD,
         to_head=True),
    bare("9112-6.3", "HEAD in chunks", answer(TE), request=HEAD, to_head=True, lacks=("Content-Length",)),
    bare("9112-6.3", "HEAD without framing", answer(), request=HEAD, to_head=True, lacks=("Content-Length",)),
    bare("9112-6.3", "HEAD with an error", answer("Content-Length: 5", status="404 Not Found"), "Content-Length: 5",
         request=HEAD, to_head=True, status=404),
    bare("9110-9.3.2", "HEAD with a body all the same", answer_of(b"hello"), "Content-Length: 5", request=HEAD,
         to_head=True, next_on=NEW),
    bare("9110-15.3.5", "204", answer(status="204 No Content"), status=204,
         lacks=("Content-Length", "Transfer-Encoding")),
    bare("9110-15.3.5", "204 with a length", answer("Content-Length: 0", status="204 No Content"), status=204),
    bare("9110-15.3.5", "204 with a length that is not 0", answer_of(b"hello", status="204 No Content"), status=204,
         next_on=NEW),
    bare("9110-15.3.5", "204 in chunks", answer(TE, status="204 No Content", body=b"0\r\n\r\n"), status=204,
         next_on=NEW),
    bare("9110-15.4.5", "304", answer("ETag: \"x\"", status="304 Not Modified"), "ETag: \"x\"", status=304),
    bare("9110-15.4.5", "304 with the length of what was not sent",
         answer("Content-Length: 1000", status="304 Not Modified"),
         "Content-Length: 1000", status=304),
    bare("9110-15.4.5", "304 with a body all the same", answer_of(b"hello", status="304 Not Modified"), status=304,
         next_on=NEW),
    Case("9112-6.3", "our own answer to HEAD",
         client=[lines("HEAD /own HTTP/1.1", HOST), got(403, "Content-Length: ~[1-9]\\d*", to_head=True)]),
    Case("9112-6.3", "our own failure to HEAD",
         client=[lines("HEAD /dead HTTP/1.1", HOST), got(502, "Content-Length: ~[1-9]\\d*", to_head=True)]),
    reaches("9112-6.3", "200 with length 0", answer("Content-Length: 0"), "Content-Length: 0", body=b"",
            framing="length", next_on=SAME),
]

FRAMED = [
    reaches("9112-6.2", "length", answer_of(b"hello"), "Content-Length: 5", framing="length", body=b"hello"),
    reaches("9112-7.1", "chunks", answer(TE, body=CHUNKS), framing="chunked", body=b"hello", lacks=("Content-Length",)),
    reaches("9112-7.1", "chunks with extensions", answer(TE, body=b"5;a=\"b\"\r\nhello\r\n0;c\r\n\r\n"),
            framing="chunked", body=b"hello"),
    reaches("9112-7.1", "no chunk but the last", answer(TE, body=b"0\r\n\r\n"), framing="chunked", body=b""),
    reaches("9110-10.1.4", "chunked in any case", answer("transfer-encoding: CHUNKED", body=CHUNKS),
            "Transfer-Encoding: chunked", body=b"hello"),
    reaches("9112-6.3", "ended by close becomes chunks", answer(body=b"hello"), framing="chunked", body=b"hello",
            close=True, next_on=NEW),
    reaches("9112-6.3", "ended by close, and empty", answer(), framing="chunked", body=b"", close=True, next_on=NEW),
    reaches("9112-6.3", "ended by close, of HTTP/1.0", answer(body=b"hello").replace(b"1.1", b"1.0"),
            framing="chunked", body=b"hello", close=True),
    reaches("9112-6.3", "ended by close, with 500", answer(status="500 Oops", body=b"hello"), status=500,
            framing="chunked", body=b"hello", close=True),
    reaches("9112-6.2", "300000 bytes with a length", answer_of(b"x" * 300000), framing="length", body=b"x" * 300000),
    reaches("9112-7.1", "300000 bytes in chunks", answer(TE, body=b"493e0\r\n" + b"x" * 300000 + b"\r\n0\r\n\r\n"),
            framing="chunked", body=b"x" * 300000),
    reaches("9112-6.3", "300000 bytes ended by close", answer(body=b"x" * 300000), framing="chunked",
            body=b"x" * 300000, close=True),
    reaches("9112-6.3", "ended by close, of HTTP/1.0 that says keep-alive",
            answer("Connection: keep-alive", body=b"hello").replace(b"1.1", b"1.0"), framing="chunked", body=b"hello",
            close=True),
    reaches("9110-8.6", "zeros in front of a length", answer("Content-Length: 005", body=b"hello"),
            "Content-Length: ~0*5", body=b"hello"),
    *(Case("9112-9.3", f"to HTTP/1.0 with keep-alive {name}", origin=[asked(f"{method} /a HTTP/1.1", says=says)],
           client=[lines(f"{method} /a HTTP/1.0", HOST, "Connection: keep-alive"),
                   got(status, framing="none", to_head=method == "HEAD")])
      for name, method, status, says in (
          ("the head of chunks", "HEAD", 200, answer(TE)), ("304", "GET", 304, answer(status="304 Not Modified")),
          ("204", "GET", 204, answer(status="204 No Content")))),
    *(Case("9112-6.1", f"to HTTP/1.0 {name}", origin=[asked(GET, does=(BODY, says, *steps))], end=CLOSED,
           client=[lines("GET /a HTTP/1.0", HOST, *fields),
                   got(200, "Connection: close", framing=framing, body=b"hello", lacks=("Transfer-Encoding",))])
      for name, fields, says, steps, framing in (
          ("a length", (), answer_of(b"hello"), (), "length"),
          ("chunks end by close", (), answer(TE, body=CHUNKS), (), "close"),
          ("chunks end by close, also with keep-alive", ("Connection: keep-alive",), answer(TE, body=CHUNKS), (),
           "close"),
          ("close ends by close", (), answer(body=b"hello"), (CLOSE,), "close"),
          ("close ends by close, also with keep-alive", ("Connection: keep-alive",), answer(body=b"hello"), (CLOSE,),
           "close"))),
]



def streams(rfc, name, head, first, rest, framing):
    """A piece reaches the client before the next one comes."""
    return Case(rfc, name,
                client=[get(to="/stream"), Seen(b"hello"), GO, got(200, framing=framing, body=b"helloworld")],
                origin=[asked("GET /stream HTTP/1.1", does=(BODY, head + first, WAIT, *rest))])


STREAMS = [
    streams("9112-7.1", "chunks stream", answer(TE), b"5\r\nhello\r\n", (b"5\r\nworld\r\n0\r\n\r\n",), "chunked"),
    streams("9112-7.1", "half a chunk streams", answer(TE), b"a\r\nhello", (b"world\r\n0\r\n\r\n",), "chunked"),
    streams("9112-6.2", "a body with a length streams", answer("Content-Length: 10"), b"hello", (b"world",), "length"),
    streams("9112-6.3", "a body ended by close streams", answer(), b"hello", (b"world", CLOSE), "chunked"),
]

BAD_FRAMING = [
    *(bad_answer(rfc, name, data) for rfc, name, data in (
        ("9112-6.3", "two lengths that differ", answer("Content-Length: 1", "Content-Length: 2", body=b"ok")),
        ("9112-6.3", "two equal lengths", answer("Content-Length: 2", "Content-Length: 2", body=b"ok")),
        ("9112-6.3", "two lengths in different letters", answer("content-length: 2", "CONTENT-LENGTH: 3", body=b"ok")),
        ("9112-6.3", "list of lengths", answer("Content-Length: 2, 2", body=b"ok")),
        ("9112-6.3", "negative length", answer("Content-Length: -1", body=b"ok")),
        ("9112-6.3", "signed length", answer("Content-Length: +2", body=b"ok")),
        ("9112-6.3", "hexadecimal length", answer("Content-Length: 0x2", body=b"ok")),
        ("9112-6.3", "empty length", answer("Content-Length:", body=b"ok")),
        ("9112-6.3", "length of 2^64 + 2", answer("Content-Length: 18446744073709551618", body=b"ok")),
        ("9112-6.3", "length and chunks", answer("Content-Length: 2", TE, body=b"0\r\n\r\n")),
        ("9112-6.3", "chunks and length", answer(TE, "Content-Length: 2", body=b"0\r\n\r\n")),
        ("9112-6.1", "gzip, chunked", answer("Transfer-Encoding: gzip, chunked", body=CHUNKS)),
        ("9112-6.1", "chunked, gzip", answer("Transfer-Encoding: chunked, gzip", body=CHUNKS)),
        ("9112-6.1", "gzip", answer("Transfer-Encoding: gzip", body=CHUNKS)),
        ("9112-6.1", "identity", answer("Transfer-Encoding: identity", body=CHUNKS)),
        ("9112-6.1", "chunked twice", answer("Transfer-Encoding: chunked, chunked", body=CHUNKS)),
        ("9112-6.1", "chunked in two fields", answer(TE, TE, body=CHUNKS)),
        ("9112-6.1", "xchunked", answer("Transfer-Encoding: xchunked", body=CHUNKS)),
        ("9112-6.1", "empty Transfer-Encoding", answer("Transfer-Encoding:", body=CHUNKS)),
        ("9112-6.1", "chunked of HTTP/1.0", answer(TE, body=CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0")))),
    cut("9112-8", "a length that is not reached", answer("Content-Length: 10", body=b"hello"), CLOSE, framing="length",
        body=b"hello"),
    cut("9112-8", "a length that is not reached, half-closed", answer("Content-Length: 10", body=b"hello"), HALF_CLOSE,
        framing="length", body=b"hello"),
    cut("9112-8", "a length of 2^63 - 1", answer("Content-Length: 9223372036854775807", body=b"hello"), CLOSE,
        framing="length", body=b"hello"),
    cut("9112-8", "a length and no body", answer("Content-Length: 10"), CLOSE, framing="length", body=b""),
    cut("9112-8", "chunks without the last", answer(TE, body=b"5\r\nhello\r\n"), CLOSE, framing="chunked"),
    cut("9112-8", "half a chunk", answer(TE, body=b"a\r\nhello"), CLOSE, framing="chunked"),
    cut("9112-8", "the last chunk without its end", answer(TE, body=b"5\r\nhello\r\n0\r\n"), CLOSE, framing="chunked"),
    cut("9112-8", "trailers without their end", answer(TE, body=b"5\r\nhello\r\n0\r\nX-A: b\r\n"), CLOSE,
        framing="chunked"),
    *(cut("9112-7.1", name, answer(TE, body=body), framing="chunked") for name, body in (
        ("no chunk size", b"hello"), ("a signed chunk size", b"+5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
        ("a chunk size of 2^64", b"10000000000000000\r\nhello\r\n0\r\n\r\n"),
        ("LF alone behind a chunk size", b"5\nhello\r\n0\r\n\r\n"),
        ("no CRLF behind a chunk", b"5\r\nhello0\r\n\r\n"),
        ("another byte instead of CR behind a chunk", b"5\r\nhelloX\n0\r\n\r\n"),
        ("a chunk longer than said", b"4\r\nhello\r\n0\r\n\r\n"),
        ("a chunk extension that does not end", b"5;" + b"a" * 5000),
        ("a trailer without a colon", b"0\r\nX-A\r\n\r\n"),
        ("a folded trailer", b"0\r\nX-A: b\r\n c\r\n\r\n"),
        ("trailers too long", b"0\r\n" + b"X-A: bbbb\r\n" * 10000 + b"\r\n"))),
    cut("9112-7.1", "what breaks behind a good chunk", answer(TE, body=b"5\r\nhello\r\n"), b"5\r\nworldXX",
        framing="chunked"),
    *(Case("9112-8", f"a reset inside of a body {name}", end=CLOSED,
           client=[get(to="/stream"), Seen(b"hello"), GO, got(200, framing=framing, body=b"hello", cut=True)],
           origin=[asked("GET /stream HTTP/1.1", does=(BODY, head + b"hello", WAIT, RESET))])
      for name, head, framing in (("with a length", answer("Content-Length: 10"), "length"),
                                  ("in chunks", answer(TE) + b"a\r\n", "chunked"),
                                  ("that ends by close", answer(), "chunked"))),
    Case("9112-8", "a cut answer is not followed by another",
         client=[get() + get(to="/b"), got(200, cut=True, body=b"hello")], end=CLOSED,
         origin=[asked(GET, does=(BODY, answer("Content-Length: 10", body=b"hello"), CLOSE))]),
]

HINTS = answer("Link: </a.css>", status="103 Early Hints")
GOT_HINTS = got(103, "Link: </a.css>", lacks=("Connection",))


def interim(name, *says, gets=(), rfc="9110-15.2", sends=None, **more):
    return Case(rfc, name, client=[sends or get(), *gets, OK], origin=[asked(GET, does=(BODY, *says))], **more)


INTERIM = [
    interim("103 goes on", HINTS + OK_ANSWER, gets=(GOT_HINTS,), next_on=SAME),
    interim("102 goes on", answer(status="102 Processing") + OK_ANSWER, gets=(got(102),)),
    interim("an unknown one goes on", answer("X-A: b", status="199 Cow") + OK_ANSWER, gets=(got(199, "X-A: b"),)),
    interim("two of them in one piece", HINTS + HINTS + OK_ANSWER, gets=(GOT_HINTS, GOT_HINTS)),
    interim("twenty of them in one piece", HINTS * 20 + OK_ANSWER, gets=(GOT_HINTS,) * 20),
    interim("its reason phrase goes on", answer(status="199 Cow") + OK_ANSWER,
            gets=(got(199, exact=b"HTTP/1.1 199 Cow\r\n\r\n"),)),
    Case("9110-15.2", "two of them, one after the other",
         origin=[asked(GET,
                       does=(BODY, HINTS, WAIT, HINTS, WAIT, OK_ANSWER))],
         client=[get(), GOT_HINTS, GO, GOT_HINTS, GO, OK]),
    interim("none goes to HTTP/1.0", HINTS + OK_ANSWER, sends=lines("GET /a HTTP/1.0", HOST, "Connection: keep-alive")),
    interim("100 of the origin that nobody expected goes on", answer(status="100 Continue") + OK_ANSWER,
            gets=(got(100),)),
    Case("9110-15.2.1", "100 of the origin is not a second one",
         client=[lines("POST /a HTTP/1.1", HOST, "Content-Length: 5", "Expect: 100-continue"), got(100), b"hello", OK],
         origin=[asked("POST /a HTTP/1.1", body=b"hello", says=answer(status="100 Continue") + OK_ANSWER)]),
    interim("its hop-by-hop fields do not",
            answer("X-A: b", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Connection: close",
                   "Upgrade: cow", status="103 Early Hints") + OK_ANSWER,
            rfc="9110-7.6.1",
            gets=(got(103, "X-A: b", lacks=("Connection", "X-Hop", "Keep-Alive", "Proxy-Connection", "Upgrade")),)),
    interim("a length in it is none", answer("Content-Length: 5", status="103 Early Hints") + OK_ANSWER, rfc="9112-6.3",
            gets=(got(103, lacks=("Content-Length",)),)),
    Case("9112-6.3", "a body behind it is a bad answer", client=[get(), got(103), BAD_GATEWAY], next_on=NEW,
         origin=[asked(GET, does=(BODY, HINTS + b"hello" + OK_ANSWER))]),
    Case("9110-15.2", "it goes on behind HEAD too",
         client=[lines(HEAD, HOST), GOT_HINTS, got(200, "Content-Length: 2", to_head=True)],
         origin=[asked(HEAD, says=HINTS + answer("Content-Length: 2"))]),
]

CASES = [*STATUS_LINES, *FIELDS, *BODILESS, *FRAMED, *STREAMS, *BAD_FRAMING, *INTERIM]
