"""The words that the tables are written in.

    Case("9112-3.2.2", "absolute-form replaces Host",
         client=[lines("GET http://b.test/a HTTP/1.1", "Host: a.test"), OK],
         origin=[asked("GET /a HTTP/1.1", "Host: b.test")])

`client` is what the client does and has to get, in order; `origin` is what the origin has to
be asked, in order, and what it does then. A case that says nothing else ends with a
connection that is kept and in step: the runner sends one more request on it. `end=CLOSED`
says that the data plane closes it and sends nothing more. An origin without turns must not
be asked anything. The paths that requests go to are routes of the file in test_rfc9112.py.
"""
import re
from dataclasses import dataclass, field

# ---- bytes ----


def lines(*text, body=b""):
    """A head of these lines, and what follows it. Text is one byte for each character."""
    return b"".join((t if isinstance(t, bytes) else t.encode("latin-1")) + b"\r\n" for t in (*text, "")) + body


def get(*fields, to="/a"):
    return lines(f"GET {to} HTTP/1.1", "Host: a.test", *fields)


def post(*fields, to="/a", body=b""):
    return lines(f"POST {to} HTTP/1.1", "Host: a.test", *fields, body=body)


def chunked(body, to="/a"):
    """A request whose body is chunked; body is as on the wire."""
    return post("Transfer-Encoding: chunked", to=to, body=body)


def answer(*fields, status="200 OK", body=b""):
    return lines(f"HTTP/1.1 {status}", *fields, body=body)


def answer_of(body, *fields, status="200 OK"):
    return answer(f"Content-Length: {len(body)}", *fields, status=status, body=body)


GET = "GET /a HTTP/1.1"
POST = "POST /a HTTP/1.1"
HOST = "Host: a.test"

# ---- what either side may do besides sending bytes ----


@dataclass(frozen=True)
class Step:
    name: str


HALF_CLOSE = Step("half-close")  # no more bytes from here; the other direction goes on
CLOSE = Step("close")
RESET = Step("reset")
EOF = Step("eof")                # the other side has to have closed, with nothing in front
GO = Step("go")                  # the other side may go on behind its WAIT
WAIT = Step("wait")
BODY = Step("body")              # the origin reads the request's body here, not at once


@dataclass(frozen=True)
class Recv:
    """Exactly these bytes, behind a 101."""
    data: bytes


@dataclass(frozen=True)
class Last:
    """These bytes, and in the same segment that no more will come."""
    data: bytes


@dataclass(frozen=True)
class Reached:
    """The client goes on when the origin has received these bytes."""
    data: bytes


@dataclass(frozen=True)
class Seen:
    """The client goes on when it has received these bytes, which are still to be read."""
    data: bytes


# ---- what either side gets ----


@dataclass(frozen=True)
class Message:
    """
    has      "Name: value": these are all the fields of that name, in this order; "Name: ~regex"
    lacks    names of fields that must not be there
    body     bytes, or a compiled pattern; None: any
    framing  "none", "length", "chunked" or "close"; None: any that is right
    trailers as has, of the trailer section, which has nothing else; None: any
    cut      the connection ends before the message does; body is what came of it
    """
    has: tuple = ()
    lacks: tuple = ()
    body: object = None
    framing: str = None
    trailers: tuple = None
    cut: bool = False


@dataclass(frozen=True)
class Got(Message):
    status: int = 200
    exact: bytes = None    # the whole head
    to_head: bool = False  # it answers HEAD


@dataclass(frozen=True)
class Asked(Message):
    line: str = None
    does: tuple = ()
    on: int = None  # on which of the connections to the origin, counted from 0


def got(status, *has, **more):
    return Got(status=status, has=has, **more)


OK_ANSWER = answer_of(b"ok")


def asked(line, *has, does=None, says=OK_ANSWER, **more):
    """says: the answer, behind the request's body; does: steps instead."""
    return Asked(line=line, has=has, does=tuple(does if does is not None else (BODY, says)), **more)


OK = got(200, body=b"ok", framing="length", trailers=())


def page(status, message, *has, **more):
    """An answer of the gateway's own."""
    return got(status, "Content-Type: text/plain; charset=utf-8", *has, framing="length",
               body=re.compile(rb"%s\nrequest_id: [0-9a-f]{32}\n" % re.escape(message).encode()), **more)


BAD_REQUEST = page(400, "Bad request", "Connection: close")
TOO_LARGE_HEAD = page(400, "Request header or cookie too large", "Connection: close")
BAD_GATEWAY = page(502, "An invalid response was received from the upstream server")

# ---- cases ----

KEPT, CLOSED, GONE = "kept", "closed", "gone"  # GONE: the client has left by itself
NEW, SAME = "new", "same"


@dataclass(frozen=True)
class Case:
    """
    rfc      the section that asks for it: "9112-6.3"
    end      how the client's connection stands at the end
    next_on  a kept connection's next request reaches the origin on a NEW or the SAME connection
    small    against the data plane with small limits and short timeouts
    pending  not so yet: the case may fail
    """
    rfc: str
    name: str
    client: list
    origin: list = field(default_factory=list)
    end: str = KEPT
    next_on: str = None
    small: bool = False
    pending: bool = False


SMUGGLED = get(to="/smuggled")


def refused(rfc, name, data, says=BAD_REQUEST, **more):
    """What may be read in two ways is answered and closed, and reaches no origin; nor does what follows."""
    return Case(rfc, name, client=[data + SMUGGLED, says], end=CLOSED, **more)


def passed(rfc, name, data, *turns, says=OK, **more):
    """A request that arrives as asked() says."""
    return Case(rfc, name, client=[data, says], origin=list(turns), **more)


def bad_answer(rfc, name, *does, **more):
    """What no origin may say is a 502, and its connection is not used again."""
    return Case(rfc, name, client=[get(to="/a"), BAD_GATEWAY], origin=[asked(GET, does=(BODY, *does))],
                next_on=NEW, **more)


def cut(rfc, name, *does, to="/a", pending=False, **what_came):
    """A response that breaks behind its head ends the client's connection before the response ends."""
    return Case(rfc, name, client=[get(to=to), got(200, cut=True, **what_came)],
                origin=[asked(f"GET {to} HTTP/1.1", does=(BODY, *does))], end=CLOSED, pending=pending)
