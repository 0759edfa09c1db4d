"""Where a request ends: Content-Length, Transfer-Encoding, and requests smuggled between them."""
from rfc9112.words import (BAD_REQUEST, CLOSED, HOST, OK, POST, SMUGGLED, Case, asked, get, got, lines, page, passed,
                           post, refused)

CL5 = "Content-Length: 5"
TE = "Transfer-Encoding: chunked"
END = b"0\r\n\r\n"


def length(value):
    return post(f"Content-Length: {value}", body=b"hello")


def coding(*values):
    return post(*(f"Transfer-Encoding: {v}" for v in values), body=b"5\r\nhello\r\n" + END)


def body_of(n, framing="length"):
    return asked(POST, framing=framing, body=n)


LENGTHS = [
    passed("9112-6.2", "Content-Length", length("5"), asked(POST, CL5, body=b"hello", lacks=("Transfer-Encoding",))),
    passed("9112-6.2", "Content-Length 0", post("Content-Length: 0"), asked(POST, "Content-Length: 0", body=b"")),
    passed("9110-8.6", "zeros in front", length("005"), asked(POST, CL5, body=b"hello")),
    passed("9110-8.6", "blanks around the length", length(" \t5\t "), asked(POST, CL5, body=b"hello")),
    passed("9112-6.3", "no framing is no body", post(), asked(POST, framing="none", lacks=("Content-Length",))),
    passed("9110-9.3.1", "GET with a body", get(CL5) + b"hello", asked("GET /a HTTP/1.1", CL5, body=b"hello")),
    passed("9110-9.3.5", "DELETE with a body", lines("DELETE /a HTTP/1.1", HOST, CL5, body=b"hello"),
           asked("DELETE /a HTTP/1.1", CL5, body=b"hello")),
    passed("9112-6.2", "body that looks like a request", post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
           asked(POST, body=SMUGGLED)),
    passed("9112-6.2", "Content-Length with HTTP/1.0",
           lines("POST /a HTTP/1.0", HOST, "Connection: keep-alive", CL5, body=b"hello"),
           asked(POST, CL5, body=b"hello")),
    *(refused("9112-6.3", f"Content-Length {what}", length(value)) for what, value in (
        ("empty", ""), ("negative", "-5"), ("signed", "+5"), ("hexadecimal", "0x5"), ("with a fraction", "5.0"),
        ("with an exponent", "5e0"), ("with a letter", "5a"), ("in quotes", '"5"'), ("with a blank inside", "5 5"),
        ("with an underscore", "5_0"), ("of other digits", "\xb2"), ("with NUL", "5\0"), ("with vertical tab", "\x0b5"),
        ("with a comment", "5 (five)"), ("of 2^63", "9223372036854775808"), ("of 2^64 + 5", "18446744073709551621"),
        ("of a hundred digits", "9" * 100), ("as a list of equals", "5, 5"), ("as a list that differs", "5, 6"),
        ("as a list with an empty member", "5,"))),
    refused("9112-6.3", "two Content-Lengths that differ", post(CL5, "Content-Length: 6", body=b"hello")),
    refused("9112-6.3", "two Content-Lengths that differ, the other way",
            post("Content-Length: 0", CL5, body=b"hello")),
    refused("9112-6.3", "two Content-Lengths in different letters",
            post("content-length: 5", "CONTENT-LENGTH: 6", body=b"hello")),
    Case("9110-8.6", "Content-Length of 2^63 - 1 is one", end=CLOSED,
         client=[post("Content-Length: 9223372036854775807", to="/own"), got(403, framing="length")]),
    refused("9112-6.3", "two equal Content-Lengths", post(CL5, CL5, body=b"hello")),
    refused("9112-6.3", "two Content-Lengths on a GET", get("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}")),
]

CODINGS = [
    passed("9112-6.1", "chunked", coding("chunked"), body_of(b"hello", None)),
    passed("9110-10.1.4", "chunked in any case", coding("cHuNKeD"), body_of(b"hello", None)),
    passed("9112-6.1", "tab in front of chunked", coding("\tchunked"), body_of(b"hello", None)),
    passed("9110-5.6.1", "empty members beside chunked", coding(", chunked ,"), body_of(b"hello", None)),
    passed("9112-6.1", "GET with chunks", get(TE) + b"5\r\nhello\r\n" + END, asked("GET /a HTTP/1.1", body=b"hello")),
    *(refused("9112-6.1", f"Transfer-Encoding {what}", coding(*values)) for what, *values in (
        ("empty", ""), ("xchunked", "xchunked"), ("chunkedx", "chunkedx"), ("chunked in quotes", '"chunked"'),
        ("chunked with a parameter", "chunked;a=b"), ("chunked behind vertical tab", "\x0bchunked"),
        ("chunked before vertical tab", "chunked\x0b"), ("chunked behind NUL", "\0chunked"),
        ("chunked behind no-break space", "\xa0chunked"), ("chunked behind a control byte", "\x1fchunked"),
        ("chunk", "chunk"), ("chunked split by a blank", "chun ked"), ("chunked behind another word", "x chunked"),
        ("identity", "identity"), ("chunked, identity", "chunked, identity"),
        ("identity in a field of its own behind", "chunked", "identity"),
        ("chunked twice", "chunked, chunked"), ("chunked in two fields", "chunked", "chunked"),
        ("chunked, gzip", "chunked, gzip"), ("gzip only", "gzip"), ("chunked, then an unknown one", "chunked, cow"),
        ("an unknown one in a second field", "chunked", "cow"))),
    *(refused("9112-6.1", f"Transfer-Encoding {what} is not implemented", coding(*values), page(501, "Not implemented"))
      for what, *values in (("gzip, chunked", "gzip, chunked"), ("gzip and chunked in two fields", "gzip", "chunked"),
                            ("cow, chunked", "cow, chunked"), ("identity, chunked", "identity, chunked"))),
    refused("9112-6.1", "chunked with HTTP/1.0", lines("POST /a HTTP/1.0", HOST, TE, body=b"5\r\nhello\r\n" + END)),
    refused("9112-6.1", "chunked with HTTP/1.0 and keep-alive",
            lines("POST /a HTTP/1.0", HOST, "Connection: keep-alive", TE, body=b"5\r\nhello\r\n" + END)),
]

TAIL = END + SMUGGLED

SMUGGLING = [
    refused("9112-11.2", "CL.TE", post(f"Content-Length: {len(TAIL)}", TE, body=TAIL)),
    refused("9112-11.2", "CL.TE, the other way round", post(TE, f"Content-Length: {len(TAIL)}", body=TAIL)),
    refused("9112-11.2", "TE.CL",
            post("Content-Length: 4", TE, body=b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n" + END)),
    refused("9112-11.2", "CL 0 and TE", post("Content-Length: 0", TE, body=TAIL)),
    refused("9112-11.2", "bad CL and TE", post("Content-Length: x", TE, body=TAIL)),
    refused("9112-11.2", "CL and TE of no coding", post(CL5, "Transfer-Encoding: identity", body=b"hello")),
    refused("9112-11.2", "CL and empty TE", post(CL5, "Transfer-Encoding:", body=b"hello")),
    refused("9112-11.2", "CL and TE with HTTP/1.0", lines("POST /a HTTP/1.0", HOST, CL5, TE, body=TAIL)),
    refused("9112-11.2", "CL and TE on a GET", get(CL5, TE) + TAIL),
    refused("9112-11.2", "CL and TE on HEAD", lines("HEAD /a HTTP/1.1", HOST, CL5, TE, body=TAIL),
            got(400, "Connection: close", to_head=True)),
    refused("9112-11.2", "CL and TE in small letters",
            post("content-length: 5", "transfer-encoding: chunked", body=TAIL)),
    refused("9112-11.2", "TE.TE, the second unknown", post(TE, "Transfer-Encoding: x", body=TAIL)),
    refused("9112-11.2", "TE.TE, the first unknown", post("Transfer-Encoding: x", TE, body=TAIL),
            page(501, "Not implemented")),
    refused("9112-11.2", "TE.TE, one with a space before its colon", post(TE, "Transfer-Encoding : x", body=TAIL)),
    refused("9112-11.2", "TE.TE, one folded", post(TE, "X-A: b", " Transfer-Encoding: x", body=TAIL)),
    refused("9112-11.2", "TE behind LF alone", post(CL5, b"X-A: b\nTransfer-Encoding: chunked", body=b"hello")),
    refused("9112-11.2", "TE behind CR alone", post(CL5, b"X-A: b\rTransfer-Encoding: chunked", body=b"hello")),
    refused("9112-11.2", "TE behind NUL", post(CL5, b"X-A: b\0Transfer-Encoding: chunked", body=b"hello")),
    refused("9112-11.2", "CL split over a folded line", post("Content-Length:", " 5", body=b"hello")),
    refused("9112-11.2", "CL behind a byte that is no token", post("\x0bContent-Length: 5", body=b"hello")),
    passed("9112-11.2", "names that only look like Transfer-Encoding",
           post(CL5, "Transfer_Encoding: chunked", "X-Transfer-Encoding: chunked", body=b"hello"),
           asked(POST, CL5, body=b"hello", lacks=("Transfer-Encoding",))),
    passed("9112-11.2", "Connection names Content-Length", post("Connection: Content-Length", CL5, body=b"hello"),
           asked(POST, CL5, body=b"hello")),
    passed("9112-11.2", "Connection names Transfer-Encoding",
           post("Connection: Transfer-Encoding, Host", TE, body=b"5\r\nhello\r\n" + END),
           asked(POST, HOST, body=b"hello")),
    passed("9112-11.2", "a request in the body of a GET", get(f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
           asked("GET /a HTTP/1.1", body=SMUGGLED)),
    Case("9112-11.1", "a response split by escapes stays one", client=[get(to="/a?x=%0d%0aSet-Cookie:%20a=b"), OK],
         origin=[asked("GET /a?x=%0d%0aSet-Cookie:%20a=b HTTP/1.1")]),
    Case("9112-11.2", "behind a refused request nothing is read",
         client=[get(to="/b") + post(CL5, TE, body=TAIL), OK, BAD_REQUEST], origin=[asked("GET /b HTTP/1.1")],
         end=CLOSED),
]

CASES = [*LENGTHS, *CODINGS, *SMUGGLING]
