"""Request lines, targets, Host, field lines, limits: what a request's head may be."""
from rfc9112.words import (BAD_REQUEST, CLOSED, GET, HOST, OK, SMUGGLED, TOO_LARGE_HEAD, Case, asked, get, got, lines,
                           page, passed, refused)


def line(text):
    return lines(text, HOST)


def to(target):
    return line(f"GET {target} HTTP/1.1")


def host(value):
    return lines(GET, f"Host: {value}")


METHODS = [
    *(passed("9110-9.1", f"method {m}", line(f"{m} /a HTTP/1.1"), asked(f"{m} /a HTTP/1.1", lacks=("Content-Length",)))
      for m in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH", "X_Y")),
    passed("9110-9.3.2", "method HEAD", line("HEAD /a HTTP/1.1"), asked("HEAD /a HTTP/1.1"),
           says=got(200, "Content-Length: 2", to_head=True)),
    refused("9110-9.1", "method in lower case is another method", line("get /a HTTP/1.1")),
    refused("9110-9.1", "byte outside of token in the method", line("GE(T /a HTTP/1.1")),
    refused("9110-9.1", "NUL in the method", line("GE\0T /a HTTP/1.1")),
    refused("9110-9.1", "byte above 127 in the method", line("G\xc9T /a HTTP/1.1")),
    refused("9112-3", "empty method", line(" /a HTTP/1.1")),
    refused("9112-3", "a method longer than any", line("A" * 100 + " /a HTTP/1.1"), page(501, "Not implemented")),
    refused("9110-9.3.6", "CONNECT is not for gateways", lines("CONNECT a.test:443 HTTP/1.1", "Host: a.test:443"),
            page(405, "Method not allowed")),
    refused("9110-9.3.8", "TRACE would tell credentials", line("TRACE /a HTTP/1.1"), page(405, "Method not allowed")),
    Case("9110-7.6.2", "OPTIONS with Max-Forwards 0 ends here",
         client=[lines("OPTIONS /a HTTP/1.1", HOST, "Max-Forwards: 0"), got(200, body=b"", lacks=("Via",))]),
    passed("9110-7.6.2", "OPTIONS with Max-Forwards is counted down",
           lines("OPTIONS /a HTTP/1.1", HOST, "Max-Forwards: 5"),
           asked("OPTIONS /a HTTP/1.1", "Max-Forwards: 4")),
    passed("9110-7.6.2", "OPTIONS with Max-Forwards that is no number",
           lines("OPTIONS /a HTTP/1.1", HOST, "Max-Forwards: many"),
           asked("OPTIONS /a HTTP/1.1", "Max-Forwards: many")),
    passed("9110-7.6.2", "Max-Forwards is for OPTIONS only", get("Max-Forwards: 0"), asked(GET, "Max-Forwards: 0")),
]

REQUEST_LINE = [
    passed("9112-2.2", "one empty line in front", b"\r\n" + get(), asked(GET)),
    refused("9112-2.2", "two empty lines in front", b"\r\n\r\n" + get()),
    refused("9112-2.2", "empty line of LF in front", b"\n" + get()),
    refused("9112-2.2", "CR alone in front", b"\r" + get()),
    refused("9112-2.2", "lines ended by LF alone", b"GET /a HTTP/1.1\nHost: a.test\n\n"),
    refused("9112-2.2", "request line ended by LF alone", b"GET /a HTTP/1.1\nHost: a.test\r\n\r\n"),
    refused("9112-2.2", "CR inside of the request line", line("GET /a\rb HTTP/1.1")),
    refused("9112-2.2", "CR CR LF behind the request line", b"GET /a HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
    refused("9112-3", "two spaces behind the method", line("GET  /a HTTP/1.1")),
    refused("9112-3", "two spaces behind the target", line("GET /a  HTTP/1.1")),
    refused("9112-3", "space behind the version", line("GET /a HTTP/1.1 ")),
    refused("9112-3", "space in front of the method", line(" GET /a HTTP/1.1")),
    refused("9112-3", "tab behind the method", line("GET\t/a HTTP/1.1")),
    refused("9112-3", "tab behind the target", line("GET /a\tHTTP/1.1")),
    refused("9112-3", "vertical tab behind the target", line("GET /a\x0bHTTP/1.1")),
    refused("9112-3", "no version", line("GET /a")),
    refused("9112-3", "no target", line("GET HTTP/1.1")),
    refused("9112-3", "empty target", line("GET  HTTP/1.1")),
    refused("9112-3.2", "space in the target", line("GET /a b HTTP/1.1")),
    refused("9112-3.2", "control byte in the target", line("GET /a\x01b HTTP/1.1")),
    refused("9112-3.2", "NUL in the target", line("GET /a\0b HTTP/1.1")),
    refused("9112-3.2", "DEL in the target", line("GET /a\x7fb HTTP/1.1")),
    refused("9112-3.2", "fragment in the target", line("GET /a#b HTTP/1.1")),
    refused("9112-2.3", "protocol in lower case", line("GET /a http/1.1")),
    refused("9112-2.3", "another protocol", line("GET /a HTTQ/1.1")),
    refused("9112-2.3", "version of one digit", line("GET /a HTTP/1")),
    refused("9112-2.3", "version of three digits", line("GET /a HTTP/1.10")),
    refused("9112-2.3", "version with a letter", line("GET /a HTTP/1.x")),
    refused("9112-2.3", "version with a comma", line("GET /a HTTP/1,1")),
    refused("9112-2.3", "HTTP/0.9 without a version", b"GET /a\r\n"),
    refused("9110-15.6.6", "HTTP/2.0", line("GET /a HTTP/2.0"), page(505, "HTTP version not supported")),
    refused("9110-15.6.6", "HTTP/0.9 by name", line("GET /a HTTP/0.9"), page(505, "HTTP version not supported")),
    passed("9112-2.3", "HTTP/1.2 is answered as 1.1", line("GET /a HTTP/1.2"), asked(GET)),
]

TARGETS = [
    passed("9112-3.2.1", "origin-form", to("/a/b?c=d"), asked("GET /a/b?c=d HTTP/1.1", HOST)),
    passed("9112-3.2.1", "the root", to("/"), asked("GET / HTTP/1.1")),
    refused("9112-3.2.1", "no slash in front", to("a/b")),
    refused("9112-3.2.1", "a query only", to("?a=b")),
    passed("9112-3.2.2", "absolute-form becomes origin-form", to("http://a.test/a?b"),
           asked("GET /a?b HTTP/1.1", HOST)),
    passed("9112-3.2.2", "absolute-form replaces Host", to("http://b.test:81/a"), asked(GET, "Host: b.test:81")),
    passed("9112-3.2.2", "absolute-form with https", to("https://b.test/a"), asked(GET, "Host: b.test")),
    passed("9112-3.2.2", "scheme and host in any case", to("HTTP://B.Test/a"), asked(GET, "Host: ~(?i)b\\.test")),
    passed("9112-3.2.2", "absolute-form without a path", to("http://b.test"), asked("GET / HTTP/1.1", "Host: b.test")),
    passed("9112-3.2.2", "absolute-form with a query and no path", to("http://b.test?x=1"),
           asked("GET /?x=1 HTTP/1.1", "Host: b.test")),
    passed("9112-3.2.2", "absolute-form with HTTP/1.0 and no Host",
           lines("GET http://b.test/a HTTP/1.0", "Connection: keep-alive"), asked(GET, "Host: b.test")),
    refused("9112-3.2", "absolute-form with HTTP/1.1 and no Host", lines("GET http://b.test/a HTTP/1.1")),
    refused("9112-3.2", "absolute-form with a bad Host", lines("GET http://b.test/a HTTP/1.1", "Host: a b")),
    refused("9112-3.2", "absolute-form with two Hosts", lines("GET http://b.test/a HTTP/1.1", HOST, HOST)),
    refused("9110-4.2.1", "absolute-form with an empty host", to("http:///a")),
    refused("9110-4.2.1", "absolute-form with a port only", to("http://:80/a")),
    refused("9110-4.2.4", "absolute-form with a user", to("http://u:p@b.test/a")),
    refused("9110-4.2.1", "absolute-form with a bad port", to("http://b.test:99999/a")),
    refused("9112-3.2.2", "absolute-form with another scheme", to("ftp://b.test/a")),
    refused("9112-3.2.2", "absolute-form with one slash", to("http:/b.test/a")),
    refused("9112-3.2.2", "two absolute targets in one", to("http://b.test/http://[c.test/\0")),
    passed("9112-3.2.1", "a path that looks like an authority", to("//b.test/a"),
           asked("GET /b.test/a HTTP/1.1", HOST)),
    passed("9112-3.2.1", "a path that looks absolute", to("/http://b.test/a"),
           asked("GET /http:/b.test/a HTTP/1.1", HOST)),
    refused("9112-3.2.3", "authority-form is for CONNECT only", to("a.test:80")),
    refused("9112-3.2.4", "asterisk-form is for OPTIONS only", to("*")),
    # as the reference gateway: a server of its own would answer, but no route can mean all of them
    refused("9112-3.2.4", "OPTIONS of the whole server", line("OPTIONS * HTTP/1.1")),
    refused("9110-4.2.4", "escape that is none", to("/a%zz")),
    refused("9110-4.2.4", "escape cut off", to("/a%4")),
    refused("9110-4.2.4", "escaped NUL in the path", to("/a%00b")),
    refused("9110-4.2.4", "steps above the root", to("/../a")),
    refused("9110-4.2.4", "escaped steps above the root", to("/a/%2e%2e/%2E%2E/b")),
]

HOSTS = [
    refused("9112-3.2", "no Host", lines(GET)),
    refused("9112-3.2", "two Hosts", lines(GET, "Host: a.test", "Host: b.test")),
    refused("9112-3.2", "two equal Hosts", lines(GET, HOST, HOST)),
    refused("9112-3.2", "two Hosts with HTTP/1.0", lines("GET /a HTTP/1.0", HOST, HOST)),
    refused("9112-3.2", "a bad Host with HTTP/1.0", lines("GET /a HTTP/1.0", "Host: a b")),
    *(refused("9112-3.2", f"Host with {what}", host(value)) for what, value in (
        ("a space", "a b"), ("a path", "a.test/b"), ("a user", "u@a.test"), ("a scheme", "http://a.test"),
        ("a query", "a.test?b"), ("a port too large", "a.test:65536"), ("a port of letters", "a.test:8x"),
        ("a signed port", "a.test:+80"), ("two ports", "a.test:80:80"), ("a port only", ":80"),
        ("an open bracket", "[::1"), ("no address in brackets", "[a.test]"), ("bytes behind the bracket", "[::1]a"),
        ("a byte above 127", "\xe4.test"), ("a backslash", "a.test\\b"))),
    passed("9112-3.2", "empty Host", host(""), asked(GET, "Host: ~127\\.0\\.0\\.1:\\d+")),
    passed("9110-7.2", "Host with a port", host("a.test:8000"), asked(GET, "Host: a.test:8000")),
    passed("9110-7.2", "Host of digits in brackets", host("[::1]:80"), asked(GET, "Host: [::1]:80")),
    passed("9110-7.2", "Host keeps its case", host("A.Test"), asked(GET, "Host: A.Test")),
    passed("9110-7.2", "Host of the target where it is not preserved", to("/target"),
           asked("GET /target HTTP/1.1", "Host: ~127\\.0\\.0\\.1:\\d+")),
    passed("9112-3.2", "HTTP/1.0 without Host", lines("GET /a HTTP/1.0", "Connection: keep-alive"),
           asked(GET, "Host: ~127\\.0\\.0\\.1:\\d+")),
    passed("9112-3.2", "Host behind other fields", lines(GET, "X-A: b", HOST), asked(GET, HOST, "X-A: b")),
]

FIELDS = [
    refused("9112-5.1", "space in front of the colon", get("X-A : b")),
    refused("9112-5.1", "tab in front of the colon", get("X-A\t: b")),
    refused("9112-5.1", "space in front of the colon of Transfer-Encoding", get("Transfer-Encoding : chunked")),
    refused("9112-5.1", "space in front of the colon of Content-Length", get("Content-Length : 5")),
    refused("9112-5.1", "space in front of the colon of Host", lines(GET, "Host : a.test")),
    refused("9112-5", "no colon", get("X-A b")),
    refused("9112-5", "empty name", get(": b")),
    refused("9112-5.1", "space inside of a name", get("X A: b")),
    refused("9112-2.2", "space in front of the first field", lines(GET, " Host: a.test")),
    refused("9112-2.2", "line of blanks in front of the first field", lines(GET, " ", HOST)),
    refused("9112-5.2", "folded line", get("X-A: b", " c")),
    refused("9112-5.2", "line folded with a tab", get("X-A: b", "\tc")),
    refused("9112-5.2", "folded Transfer-Encoding", get("Transfer-Encoding:", " chunked")),
    refused("9112-5.2", "line of blanks behind a field", get("X-A: b", " ")),
    refused("9112-2.2", "CR in a value", get("X-A: b\rc")),
    refused("9112-2.2", "CR CR LF behind a value", get("X-A: b\r")),
    refused("9112-2.2", "LF alone behind a value", get(b"X-A: b\nX-C: d")),
    refused("9112-2.2", "LF CR behind a value", get(b"X-A: b\n\rX-C: d")),
    refused("9112-2.2", "LF alone at the head's end", lines(GET, HOST)[:-2] + b"\n"),
    refused("9110-5.5", "NUL in a value", get("X-A: b\0c")),
    refused("9110-5.5", "control byte in a value", get("X-A: b\x01c")),
    refused("9110-5.5", "DEL in a value", get("X-A: b\x7fc")),
    refused("9110-5.1", "byte above 127 in a name", get("X-\xc4: b")),
    refused("9110-5.1", "NUL in a name", get("X-A\0: b")),
    refused("9110-5.1", "delimiter in a name", get("X(A): b")),
    refused("9110-5.1", "control byte in front of a name", get("\x0bX-A: b")),
    refused("9110-5.5", "control byte behind a tab in a long value",
            get("X-A: 0123456789\t0123456789\x1fabcdefghijkl")),
    passed("9110-5.1", "names in any case", lines(GET, "hOST: a.test", "x-a: b"), asked(GET, HOST, "X-A: b")),
    passed("9110-5.1", "every byte of token in a name", get("!#$%&'*+-.^_`|~09AZaz: b"),
           asked(GET, "!#$%&'*+-.^_`|~09AZaz: b")),
    passed("9112-5.1", "blanks around a value", get("X-A: \t b c \t"), asked(GET, "X-A: b c")),
    passed("9112-5.1", "no blank in front of a value", get("X-A:b"), asked(GET, "X-A: b")),
    passed("9110-5.5", "empty value", get("X-A:"), asked(GET, "X-A: ")),
    passed("9110-5.5", "value of blanks", get("X-A: \t "), asked(GET, "X-A: ")),
    passed("9110-5.5", "bytes above 127 in a value", get("X-A: \xe9\xff\x80"), asked(GET, "X-A: \xe9\xff\x80")),
    passed("9110-5.5", "tab in a value", get("X-A: b\tc"), asked(GET, "X-A: b\tc")),
    passed("9110-5.5", "colons in a value", get("X-A: b: c:"), asked(GET, "X-A: b: c:")),
    passed("9110-5.3", "fields of one name stay apart and in order", get("X-A: 1", "X-B: x", "X-A: 2", "x-a: 3"),
           asked(GET, "X-A: 1", "X-A: 2", "X-A: 3", "X-B: x")),
    passed("9110-5.1", "names that differ by an underscore", get("X-A: 1", "X_A: 2"), asked(GET, "X-A: 1", "X_A: 2")),
    passed("9110-5.4", "a value of 8000 bytes", get("X-A: " + "b" * 8000), asked(GET, "X-A: " + "b" * 8000)),
]


def sized(n):
    """A head of n bytes."""
    return get("X-A: " + "b" * (n - len(get("X-A: "))))


def many(n):
    """A head of n fields."""
    return get(*(f"X-{i}: b" for i in range(n - 1)))


LIMITS = [
    passed("9110-5.4", "head as large as may be", sized(2048), asked(GET), small=True),
    refused("9110-5.4", "head too large", sized(2049), TOO_LARGE_HEAD, small=True),
    refused("9110-5.4", "head far too large", sized(60000), TOO_LARGE_HEAD, small=True),
    Case("9110-5.4", "a head that does not end", client=[get("X-A: " + "b" * 60000)[:-4], TOO_LARGE_HEAD], end=CLOSED,
         small=True),
    refused("9110-5.4", "head above the largest that may be set", sized(200000), TOO_LARGE_HEAD),
    passed("9110-5.4", "as many fields as may be", many(16), asked(GET, "X-14: b"), small=True),
    refused("9110-5.4", "too many fields", many(17), TOO_LARGE_HEAD, small=True),
    refused("9110-5.4", "far too many fields", many(5000), TOO_LARGE_HEAD),
    passed("9112-3", "target as long as may be", to("/" + "a" * 255), asked("GET /" + "a" * 255 + " HTTP/1.1"),
           small=True),
    refused("9112-3", "target too long", to("/" + "a" * 256), page(414, "URI too long"), small=True),
    Case("9112-3", "a target that does not end", client=[b"GET /" + b"a" * 100000, page(414, "URI too long")],
         end=CLOSED),
    passed("9112-3", "target of 8000 bytes", to("/" + "a" * 7999), asked("GET /" + "a" * 7999 + " HTTP/1.1")),
]

ONE_BY_ONE = [
    Case("9112-2.2", "a head in single bytes",
         client=[*(get("X-A: b")[i:i + 1] for i in range(len(get("X-A: b")))), OK],
         origin=[asked(GET, "X-A: b")]),
    Case("9112-2.2", "a bad head in single bytes",
         client=[*(get("X-A : b")[i:i + 1] for i in range(len(get("X-A : b")))), SMUGGLED, BAD_REQUEST], end=CLOSED),
]

CASES = [*METHODS, *REQUEST_LINE, *TARGETS, *HOSTS, *FIELDS, *LIMITS, *ONE_BY_ONE]
