"""Connections: how long they are kept on both sides, pipelining, HTTP/1.0, upgrades, timeouts."""
from rfc9112.words import (BAD_GATEWAY, BAD_REQUEST, BODY, CLOSE, CLOSED, EOF, GET, GO, GONE, HALF_CLOSE, HOST, NEW, OK,
                           OK_ANSWER, POST, RESET, SAME, WAIT, Case, Last, Reached, Recv, answer, answer_of, asked, get,
                           got, lines, page, passed, post)


def old(*fields, line="GET /a HTTP/1.0"):
    return lines(line, HOST, *fields)


LAST = got(200, "Connection: close", body=b"ok", framing="length")

TO_CLIENTS = [
    Case("9112-9.3", "HTTP/1.1 is kept", client=[get(), got(200, "Connection: keep-alive", body=b"ok")],
         origin=[asked(GET)]),
    Case("9112-9.6", "Connection: close is kept to", client=[get("Connection: close"), LAST], origin=[asked(GET)],
         end=CLOSED),
    Case("9112-9.6", "close in any case", client=[get("Connection: Close"), LAST], origin=[asked(GET)], end=CLOSED),
    Case("9112-9.6", "close among other options", client=[get("Connection: X-A, close ,X-B"), LAST],
         origin=[asked(GET)], end=CLOSED),
    Case("9112-9.6", "close in a second field", client=[get("Connection: X-A", "Connection: close"), LAST],
         origin=[asked(GET)], end=CLOSED),
    Case("9112-9.6", "close beats keep-alive", client=[get("Connection: keep-alive, close"), LAST],
         origin=[asked(GET)], end=CLOSED),
    Case("9112-9.6", "a word that begins with close", client=[get("Connection: closed"), OK], origin=[asked(GET)]),
    Case("9112-9.6", "behind close nothing is served", client=[get("Connection: close") + get(to="/b"), LAST],
         origin=[asked(GET)], end=CLOSED),
    Case("9112-9.6", "close with a body", client=[post("Connection: close", "Content-Length: 5", body=b"hello"), LAST],
         origin=[asked(POST, body=b"hello")], end=CLOSED),
    Case("9112-9.6", "our own answer keeps to close",
         client=[get("Connection: close", to="/own"), got(403, "Connection: close")],
         end=CLOSED),
    Case("9112-9.3", "our own answer is kept",
         client=[get(to="/own"), got(403, "Connection: keep-alive", framing="length")]),
    Case("9112-9.3", "HTTP/1.0 is not kept", client=[old(), LAST], origin=[asked(GET)], end=CLOSED),
    Case("9112-9.3", "HTTP/1.0 with keep-alive is kept",
         client=[old("Connection: keep-alive"), got(200, "Connection: keep-alive", body=b"ok", framing="length")],
         origin=[asked(GET)]),
    Case("9112-9.3", "keep-alive in any case", client=[old("Connection: Keep-Alive"), OK], origin=[asked(GET)]),
    Case("9112-9.3", "HTTP/1.0 with keep-alive and close", client=[old("Connection: keep-alive, close"), LAST],
         origin=[asked(GET)], end=CLOSED),
    Case("9112-9.3", "behind HTTP/1.0 nothing is served", client=[old() + get(to="/b"), LAST], origin=[asked(GET)],
         end=CLOSED),
    Case("9112-2.3", "the answer to HTTP/1.0 says HTTP/1.1", client=[old(), LAST], origin=[asked(GET)], end=CLOSED),
    Case("9112-9.3", "our own answer to HTTP/1.0",
         client=[old(line="GET /own HTTP/1.0"), got(403, "Connection: close", framing="length")],
         end=CLOSED),
    Case("9112-9.3", "as many requests as may be on one connection", small=True,
         origin=[asked(GET), asked(GET), asked(GET)],
         client=[get(), OK, get(), OK, get(), LAST], end=CLOSED),
    Case("9112-9.3.1", "requests one after the other go on one connection", origin=[asked(GET, on=0)] * 5,
         client=[get(), OK] * 5, next_on=SAME),
]


def numbered(n):
    return answer_of(b"%d" % n)


PIPELINES = [
    Case("9112-9.3.2", "answers in the order of the requests",
         client=[b"".join(get(to=f"/{i}") for i in range(50)), *(got(200, body=b"%d" % i) for i in range(50))],
         origin=[asked(f"GET /{i} HTTP/1.1", says=numbered(i)) for i in range(50)]),
    Case("9112-9.3.2", "many of our own answers", client=[get(to="/own") * 50, *[got(403, framing="length")] * 50]),
    Case("9112-9.3.2", "bodies among pipelined requests",
         client=[post("Content-Length: 3", body=b"one") + get(to="/b") +
                 post("Transfer-Encoding: chunked", body=b"3\r\ntwo\r\n0\r\n\r\n") + get(to="/c"),
                 *(got(200, body=b"%d" % i) for i in range(4))],
         origin=[asked(POST, body=b"one", says=numbered(0)), asked("GET /b HTTP/1.1", says=numbered(1)),
                 asked(POST, body=b"two", says=numbered(2)), asked("GET /c HTTP/1.1", says=numbered(3))]),
    Case("9112-9.3.2", "HEAD among pipelined requests", origin=[asked("HEAD /a HTTP/1.1"), asked(GET)],
         client=[lines("HEAD /a HTTP/1.1", HOST) + get(), got(200, "Content-Length: 2", to_head=True), OK]),
    Case("9112-9.3.2", "our own answer among others",
         client=[get() + get(to="/own") + get(to="/b"), OK, got(403, framing="length"), OK],
         origin=[asked(GET), asked("GET /b HTTP/1.1")]),
    Case("9112-9.3.2", "our own answer to a body among others", origin=[asked(GET), asked("GET /b HTTP/1.1")],
         client=[get() + post("Content-Length: 5", to="/own", body=b"hello") + get(to="/b"), OK,
                 got(403, framing="length"), OK]),
    Case("9112-9.3.2", "a failure of the origin among others",
         origin=[asked(GET, does=(BODY, CLOSE)), asked("GET /b HTTP/1.1", on=1)],
         client=[get() + get(to="/b"), BAD_GATEWAY, OK]),
    Case("9112-9.3.2", "a bad request behind good ones",
         client=[get() + get(to="/b") + get("X-A : b") + get(to="/c"), OK, OK, BAD_REQUEST],
         origin=[asked(GET), asked("GET /b HTTP/1.1")], end=CLOSED),
    Case("9112-9.3.2", "bad chunks behind good requests", origin=[asked(GET)], end=CLOSED,
         client=[get() + post("Transfer-Encoding: chunked", body=b"x\r\n") + get(to="/c"), OK, BAD_REQUEST]),
    Case("9112-9.3.2", "the second is not asked before the first is answered", origin=[
        asked(GET, does=(BODY, WAIT, numbered(0)), on=0), asked("GET /b HTTP/1.1", says=numbered(1), on=0)],
         client=[get() + get(to="/b"), Reached(b"GET /a"), GO, got(200, body=b"0"), got(200, body=b"1")]),
    Case("9112-9.3.2", "a close in the middle ends the rest",
         client=[get() + get("Connection: close") + get(), OK, LAST], origin=[asked(GET), asked(GET)], end=CLOSED),
    Case("9112-9.3.2", "an answer that ends by close does not end the rest", origin=[
        asked(GET, does=(BODY, answer(body=b"one"), CLOSE)), asked("GET /b HTTP/1.1", on=1)],
         client=[get() + get(to="/b"), got(200, body=b"one", framing="chunked"), OK]),
    Case("9112-9.3.2", "interim answers stay in order", origin=[
        asked(GET, says=answer(status="103 Early Hints") + numbered(0)), asked("GET /b HTTP/1.1", says=numbered(1))],
         client=[get() + get(to="/b"), got(103), got(200, body=b"0"), got(200, body=b"1")]),
]


def then(rfc, name, says, next_on, *steps, says_to=OK, **more):
    """How the origin's connection stands behind an answer; the client's is kept."""
    return Case(rfc, name, client=[get(), says_to], origin=[asked(GET, does=(BODY, says, *steps))], next_on=next_on,
                **more)


TO_ORIGINS = [
    then("9112-9.3", "an answer with a length leaves it", OK_ANSWER, SAME),
    then("9112-9.3", "an answer in chunks leaves it",
         answer("Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n"), SAME,
         says_to=got(200, body=b"ok", framing="chunked")),
    then("9112-9.3", "204 leaves it", answer(status="204 No Content"), SAME, says_to=got(204)),
    then("9112-9.3", "304 leaves it", answer("Content-Length: 10", status="304 Not Modified"), SAME, says_to=got(304)),
    then("9112-9.3", "an answer of HTTP/1.0 ends it", OK_ANSWER.replace(b"1.1", b"1.0"), NEW),
    then("9112-9.3", "an answer of HTTP/1.0 with keep-alive leaves it",
         answer_of(b"ok", "Connection: keep-alive").replace(b"1.1", b"1.0"), SAME),
    then("9112-9.6", "Connection: close of the origin ends it", answer_of(b"ok", "Connection: close"), NEW),
    then("9112-9.6", "Connection: close with chunks ends it",
         answer("Connection: close", "Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n"), NEW,
         says_to=got(200, body=b"ok", framing="chunked")),
    then("9112-9.6", "close in any case and company", answer_of(b"ok", "Connection: X-A, CLOSE"), NEW),
    then("9112-9.6", "bytes behind the answer end it", OK_ANSWER + b"x", NEW),
    then("9112-9.6", "a second answer is nobody's", OK_ANSWER + answer_of(b"no"), NEW),
    then("9112-9.6", "an answer behind 204 is nobody's", answer(status="204 No Content") + answer_of(b"no"), NEW,
         says_to=got(204)),
    then("9112-9.6", "an answer behind 304 is nobody's", answer(status="304 Not Modified") + answer_of(b"no"), NEW,
         says_to=got(304)),
    then("9112-9.5", "an origin that half-closes with its answer", Last(OK_ANSWER), NEW),
    then("9112-9.5", "an origin that closes behind its answer", OK_ANSWER, NEW, CLOSE),
    Case("9110-15.5.9", "what an origin says on a kept connection is nobody's", next_on=NEW,
         client=[get(), OK, GO, WAIT],
         origin=[asked(GET, does=(BODY, OK_ANSWER, WAIT, answer_of(b"no", status="408 Request Timeout"), EOF, GO))]),
    Case("9112-9.5", "a kept connection that the origin closes is let go", client=[get(), OK, GO, WAIT], next_on=NEW,
         origin=[asked(GET, does=(BODY, OK_ANSWER, WAIT, HALF_CLOSE, EOF, GO))]),
    Case("9112-9.3", "Connection: close of the client is not the origin's",
         origin=[asked(GET, "Connection: keep-alive")],
         client=[get("Connection: close"), LAST], end=CLOSED),
    Case("9112-9.3", "a new client gets the kept connection", origin=[asked(GET, on=0), asked("GET /b HTTP/1.1", on=0)],
         client=[get() + get("Connection: close", to="/b"), OK, LAST], end=CLOSED),
    Case("9110-9.2.2", "closed before an answer: GET is asked again where that may be", origin=[
        asked("GET /again HTTP/1.1", does=(BODY, CLOSE), on=0), asked("GET /again HTTP/1.1", on=1)],
         client=[get(to="/again"), OK]),
    Case("9110-9.2.2", "closed before an answer: PUT is asked again, with its body", origin=[
        asked("PUT /again HTTP/1.1", body=b"hello", does=(BODY, CLOSE)),
        asked("PUT /again HTTP/1.1", body=b"hello", on=1)],
         client=[lines("PUT /again HTTP/1.1", HOST, "Content-Length: 5", body=b"hello"), OK]),
    Case("9110-9.2.2", "closed before an answer: POST is not asked again",
         client=[post("Content-Length: 5", to="/again", body=b"hello"), BAD_GATEWAY],
         origin=[asked("POST /again HTTP/1.1", body=b"hello", does=(BODY, CLOSE))]),
    Case("9110-9.2.2", "closed inside of an answer: GET is not asked again", client=[get(to="/again"), BAD_GATEWAY],
         origin=[asked("GET /again HTTP/1.1", does=(BODY, b"HTTP/1.1 200 OK\r\n", CLOSE))]),
]

WS = ("Connection: Upgrade", "Upgrade: websocket")
SWITCHED = answer(*WS, status="101 Switching Protocols")
SWITCH = got(101, "Connection: ~(?i)upgrade", "Upgrade: websocket")
WS_ASKED = ("Connection: ~(?i)keep-alive, Upgrade", "Upgrade: websocket")

MANY = bytes(range(256)) * 800

UPGRADES = [
    Case("9110-7.8", "bytes both ways behind 101", end=CLOSED,
         client=[get(*WS, "Sec-WebSocket-Key: x"), SWITCH, b"ping", Recv(b"pong"), b"\0\xff\r\n\r\n", Recv(b"\xff\0")],
         origin=[asked(GET, *WS_ASKED, "Sec-WebSocket-Key: x",
                       does=(BODY, SWITCHED, Recv(b"ping"), b"pong", Recv(b"\0\xff\r\n\r\n"), b"\xff\0", CLOSE))]),
    Case("9110-7.8", "many bytes both ways", end=CLOSED, client=[get(*WS), SWITCH, MANY, Recv(MANY)],
         origin=[asked(GET, does=(BODY, SWITCHED, Recv(MANY), MANY, CLOSE))]),
    Case("9110-7.8", "bytes that come with 101", end=CLOSED, client=[get(*WS), SWITCH, Recv(b"hello")],
         origin=[asked(GET, does=(BODY, SWITCHED + b"hello", CLOSE))]),
    Case("9110-7.8", "a request with a body", end=CLOSED,
         client=[get(*WS, "Content-Length: 5") + b"hello", SWITCH, b"ping", Recv(b"pong")],
         origin=[asked(GET, *WS_ASKED, body=b"hello", does=(BODY, SWITCHED, Recv(b"ping"), b"pong", CLOSE))]),
    Case("9110-7.8", "a request with chunks", end=CLOSED,
         client=[get(*WS, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\nping", SWITCH, Recv(b"pong")],
         origin=[asked(GET, *WS_ASKED, body=b"hello", does=(BODY, SWITCHED, Recv(b"ping"), b"pong", CLOSE))]),
    Case("9110-7.8", "100 comes in front of 101", end=CLOSED,
         client=[get(*WS, "Content-Length: 5", "Expect: 100-continue"), got(100), b"hello", SWITCH, Recv(b"pong")],
         origin=[asked(GET, *WS_ASKED, body=b"hello", does=(BODY, SWITCHED, b"pong", CLOSE))]),
    Case("9110-7.8", "an interim answer in front of 101", end=CLOSED,
         client=[get(*WS), got(103), SWITCH, Recv(b"pong")],
         origin=[asked(GET, *WS_ASKED, does=(BODY, answer(status="103 Early Hints") + SWITCHED + b"pong", CLOSE))]),
    Case("9110-7.8", "a length in 101 is none", end=CLOSED, client=[get(*WS), SWITCH, Recv(b"pong")],
         origin=[asked(GET, does=(BODY, answer(*WS, "Content-Length: 2", status="101 Switching Protocols") + b"pong",
                                  CLOSE))]),
    Case("9110-7.8", "a client that resets a tunnel", end=GONE,
         client=[get(*WS), SWITCH, b"ping", Reached(b"ping"), RESET],
         origin=[asked(GET, does=(BODY, SWITCHED, Recv(b"ping"), EOF))]),
    Case("9110-7.8", "an origin that resets a tunnel", end=GONE, client=[get(*WS), SWITCH, Recv(b"pong"), GO, EOF],
         origin=[asked(GET, does=(BODY, SWITCHED, b"pong", WAIT, RESET))]),
    Case("9110-7.8", "bytes that come with the request", end=CLOSED, client=[get(*WS) + b"hello", SWITCH, Recv(b"bye")],
         origin=[asked(GET, does=(BODY, SWITCHED, Recv(b"hello"), b"bye", CLOSE))]),
    Case("9110-7.8", "behind 101 a request is bytes", end=CLOSED, client=[get(*WS), SWITCH, get(to="/b"), Recv(b"ok")],
         origin=[asked(GET, does=(BODY, SWITCHED, Recv(get(to="/b")), b"ok", CLOSE))]),
    Case("9110-7.8", "a client that half-closes a tunnel still hears", end=CLOSED,
         client=[get(*WS), SWITCH, b"bye", HALF_CLOSE, Recv(b"late")],
         origin=[asked(GET, does=(BODY, SWITCHED, Recv(b"bye"), EOF, b"late", CLOSE))]),
    Case("9110-7.8", "an origin that half-closes a tunnel still hears", end=GONE,
         client=[get(*WS), SWITCH, Recv(b"bye"), EOF, b"late", HALF_CLOSE],
         origin=[asked(GET, does=(BODY, SWITCHED, b"bye", HALF_CLOSE, Recv(b"late"), EOF))]),
    Case("9110-7.8", "an origin that does not switch", client=[get(*WS), OK], origin=[asked(GET, *WS_ASKED)],
         next_on=SAME),
    Case("9110-7.8", "an upgrade that is refused leaves the next request whole",
         client=[get(*WS) + get(to="/b"), OK, OK],
         origin=[asked(GET, *WS_ASKED), asked("GET /b HTTP/1.1", lacks=("Upgrade",))]),
    passed("9110-7.8", "h2c is not asked for",
           get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
           asked(GET, "Connection: keep-alive", lacks=("Upgrade", "HTTP2-Settings"))),
    passed("9110-7.8", "an unknown protocol is not asked for", get("Connection: Upgrade", "Upgrade: cow/1"),
           asked(GET, "Connection: keep-alive", lacks=("Upgrade",))),
    passed("9110-7.8", "no upgrade with HTTP/1.0", old("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
           asked(GET, "Connection: keep-alive", lacks=("Upgrade",))),
    passed("9110-7.8", "no upgrade that Connection does not name", get("Upgrade: websocket"),
           asked(GET, "Connection: keep-alive", lacks=("Upgrade",))),
    Case("9110-15.2.2", "101 that nobody asked for", client=[get(), BAD_GATEWAY], origin=[asked(GET, says=SWITCHED)],
         next_on=NEW),
    Case("9110-15.2.2", "101 to HTTP/1.0", client=[old(*WS), BAD_GATEWAY], origin=[asked(GET, says=SWITCHED)],
         end=CLOSED),
    Case("9110-15.2.2", "101 to another protocol than asked for", client=[get(*WS), BAD_GATEWAY], next_on=NEW,
         origin=[asked(GET, says=answer("Connection: Upgrade", "Upgrade: cow/1", status="101 Switching Protocols"))]),
    Case("9110-7.8", "426 passes without its Upgrade", client=[get(), got(426, body=b"no", lacks=("Upgrade",))],
         origin=[asked(GET, says=answer_of(b"no", "Connection: Upgrade", "Upgrade: cow/1",
                                           status="426 Upgrade Required"))]),
]

TIMEOUTS = [
    Case("9112-9.5", "a head that stops coming", client=[b"GET /a HTTP/1.1\r\nHost:", page(408, "Request timeout")],
         end=CLOSED, small=True),
    Case("9112-9.5", "a head that stops behind another request", origin=[asked(GET)], end=CLOSED, small=True,
         client=[get() + b"GET /b HTTP/1.1\r\n", OK, page(408, "Request timeout")]),
    Case("9112-9.5", "an idle connection is closed without a word", client=[get(), OK, EOF], origin=[asked(GET)],
         end=GONE, small=True),
    Case("9112-9.5", "a connection without a request is closed without a word", client=[EOF], end=GONE, small=True),
    Case("9110-15.6.5", "an origin that does not answer",
         client=[get(to="/slow"), page(504, "The upstream server is timing out")],
         origin=[asked("GET /slow HTTP/1.1", does=(BODY, EOF))]),
    Case("9110-15.6.5", "an origin that stops inside of a head",
         client=[get(to="/slow"), page(504, "The upstream server is timing out")],
         origin=[asked("GET /slow HTTP/1.1", does=(BODY, b"HTTP/1.1 200 OK\r\nContent-Le", EOF))]),
    Case("9112-8", "an origin that stops inside of a body", client=[get(to="/slow"), got(200, body=b"hello", cut=True)],
         end=CLOSED,
         origin=[asked("GET /slow HTTP/1.1", does=(BODY, answer("Content-Length: 10", body=b"hello"), EOF))]),
    Case("9110-15.6.3", "an origin that is not there", client=[get(to="/dead"), BAD_GATEWAY]),
]

CASES = [*TO_CLIENTS, *PIPELINES, *TO_ORIGINS, *UPGRADES, *TIMEOUTS]
