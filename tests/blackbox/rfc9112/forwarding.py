"""What goes on to the other side: paths, fields of one hop, Via, Date."""
from rfc9112.words import GET, HOST, Case, answer_of, asked, get, got, lines, passed

WEIR = r"weir/\S+"


def path(rfc, name, sent, arrives=None, **more):
    return passed(rfc, name, get(to=sent), asked(f"GET {arrives or sent} HTTP/1.1"), **more)


PATHS = [
    path("9112-3.2.1", "query to the byte", "/a?x=%2f%41&&y=a+b%%?/;=%zz&"),
    path("9112-3.2.1", "empty query", "/a?"),
    path("9112-3.2.1", "two question marks", "/a??b?c"),
    path("9112-3.2.1", "absolute URL in a query", "/a?u=http://b.test/c?d"),
    path("9112-3.2.1", "slash at the end", "/a/b/"),
    path("9110-4.2.3", "escaped slash stays escaped", "/a%2Fb"),
    path("9110-4.2.3", "escaped question mark stays escaped", "/a%3Fb"),
    path("9110-4.2.3", "escaped percent sign stays escaped", "/a%252Fb"),
    path("9110-4.2.3", "escaped blank stays escaped", "/a%20b"),
    path("9110-4.2.3", "escaped line end stays escaped", "/a%0D%0Ab"),
    path("9110-4.2.3", "escaped number sign stays escaped", "/a%23b"),
    path("9110-4.2.3", "escaped bytes above 127 stay escaped", "/%E2%82%AC"),
    path("9110-4.2.3", "escapes in small letters", "/a%2fb", "/a%2Fb"),
    path("9110-4.2.3", "escaped letters are letters", "/%61%7Eb", "/a~b"),
    path("9110-4.2.3", "bytes above 127 are escaped", "/\xe4", "/%E4"),
    path("9110-4.2.3", "bytes that no path may hold are escaped", '/a"<>\\^`{|}b', "/a%22%3C%3E%5C%5E%60%7B%7C%7Db"),
    path("9110-4.2.3", "dot segments", "/a/./b/../c", "/a/c"),
    path("9110-4.2.3", "escaped dot segments", "/a/%2e/b/%2E%2e/c", "/a/c"),
    path("9110-4.2.3", "dot segment at the end", "/a/b/..", "/a/"),
    path("9110-4.2.3", "dot segments that end at the root", "/a/b/../..", "/"),
    path("9110-4.2.3", "dots between escaped slashes are none", "/a%2F..%2Fb"),
    path("9110-4.2.3", "empty segments", "/a//b///c/", "/a/b/c/"),
    path("9110-4.2.3", "names of dots are names", "/a/.../.b/b."),
    path("9110-4.2.3", "delimiters stand for themselves", "/a;b=c,d:e@f!$&'()*+"),
]


def gone(rfc, name, fields, *lacks, has=("Connection: keep-alive",), **more):
    """Fields that end here, among others that do not."""
    return passed(rfc, name, get("X-Stays: 1", *fields), asked(GET, "X-Stays: 1", *has, lacks=lacks), **more)


def back(rfc, name, fields, *lacks, has=("Connection: keep-alive",)):
    """The same of an answer."""
    return Case(rfc, name, client=[get(), got(200, "X-Stays: 1", *has, lacks=lacks, body=b"ok")],
                origin=[asked(GET, says=answer_of(b"ok", "X-Stays: 1", *fields))])


HOPS = [
    gone("9110-7.6.1", "a field that Connection names", ("Connection: X-Hop", "X-Hop: 1"), "X-Hop"),
    gone("9110-7.6.1", "names in any case", ("Connection: x-HOP", "X-hop: 1"), "X-Hop"),
    gone("9110-7.6.1", "several names", ("Connection: X-B ,X-A,, X-C", "X-A: 1", "X-B: 2", "X-C: 3"), "X-A", "X-B",
         "X-C"),
    gone("9110-7.6.1", "names in two fields", ("Connection: X-A", "X-A: 1", "X-B: 2", "Connection: X-B"), "X-A", "X-B"),
    gone("9110-7.6.1", "a name in front of Connection", ("X-Hop: 1", "Connection: X-Hop"), "X-Hop"),
    gone("9110-7.6.1", "all the fields of a name", ("X-Hop: 1", "Connection: X-Hop", "X-Hop: 2"), "X-Hop"),
    gone("9110-7.6.1", "a name that no field has", ("Connection: X-Hop",), "X-Hop"),
    gone("9110-7.6.1", "a part of a name is not the name", ("Connection: X, Stays, X-Stays-Too",), "X-Stays-Too"),
    gone("9110-7.6.1", "Keep-Alive", ("Connection: keep-alive", "Keep-Alive: timeout=5"), "Keep-Alive"),
    gone("9110-7.6.1", "Keep-Alive that Connection does not name", ("Keep-Alive: timeout=5",), "Keep-Alive"),
    gone("9110-7.6.1", "Proxy-Connection", ("Proxy-Connection: close",), "Proxy-Connection"),
    gone("9110-7.6.1", "Upgrade", ("Connection: Upgrade", "Upgrade: cow"), "Upgrade"),
    gone("9110-7.6.1", "codings in TE", ("Connection: TE", "TE: gzip;q=0.5"), "TE"),
    gone("9110-10.1.4", "an empty TE", ("Connection: TE", "TE:"), "TE"),
    # 10.1.4 asks for TE in Connection; the reference gateway does not name it, and upstreams see what they are used to
    gone("9110-10.1.4", "TE: trailers goes on without its name in Connection", ("Connection: TE", "TE: trailers"),
         has=("TE: trailers", "Connection: keep-alive")),
    gone("9110-10.1.4", "trailers among codings", ("Connection: TE", "TE: gzip, trailers"), has=("TE: trailers",)),
    gone("9110-7.6.1", "Connection cannot take Host away", ("Connection: Host",), has=("Host: a.test",)),
    gone("9110-7.6.1", "Connection cannot take Via away", ("Connection: Via",), has=(f"Via: ~1\\.1 {WEIR}",)),
    gone("9110-7.6.1", "Connection cannot take X-Forwarded-For away", ("Connection: X-Forwarded-For, X-Real-IP",),
         has=("X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1")),
    gone("9110-7.6.1", "Proxy, which becomes a variable elsewhere", ("Proxy: http://b.test",), "Proxy"),
    passed("9110-11.6.2", "Authorization and Cookie go on as they are",
           get("Authorization: Basic YTpi", "Cookie: a=b", "Cookie: c=d"),
           asked(GET, "Authorization: Basic YTpi", "Cookie: a=b", "Cookie: c=d")),
    back("9110-7.6.1", "answer: a field that Connection names", ("Connection: X-Hop", "X-Hop: 1"), "X-Hop"),
    back("9110-7.6.1", "answer: names in any case and company", ("X-A: 1", "Connection: X-b ,x-a", "X-B: 2"), "X-A",
         "X-B"),
    back("9110-7.6.1", "answer: names in two fields", ("Connection: X-A", "X-A: 1", "Connection: X-B", "X-B: 1"),
         "X-A", "X-B"),
    back("9110-7.6.1", "answer: close is the origin's", ("Connection: close",)),
    back("9110-7.6.1", "answer: Keep-Alive", ("Connection: keep-alive", "Keep-Alive: timeout=5"), "Keep-Alive"),
    back("9110-7.6.1", "answer: Proxy-Connection", ("Proxy-Connection: close",), "Proxy-Connection"),
    back("9110-7.6.1", "answer: Upgrade", ("Connection: Upgrade", "Upgrade: cow"), "Upgrade"),
    back("9110-7.6.1", "answer: Connection cannot take our fields away", ("Connection: Via, Date, X-Kong-Request-Id",),
         has=(f"Via: ~1\\.1 {WEIR}", "X-Kong-Request-Id: ~[0-9a-f]{32}")),
    back("9110-7.6.1", "answer: Connection cannot take the length away", ("Connection: Content-Length",),
         has=("Content-Length: 2",)),
]

LONG_AGO = "Sun, 06 Nov 1994 08:49:37 GMT"

ADDED = [
    passed("9110-7.6.3", "Via", get(), asked(GET, f"Via: ~1\\.1 {WEIR}")),
    passed("9110-7.6.3", "Via behind others", get("Via: 1.0 one", "Via: 1.1 two, 1.1 three"),
           asked(GET, f"Via: ~1\\.0 one, 1\\.1 two, 1\\.1 three, 1\\.1 {WEIR}")),
    # "1.0" by 7.6.3; the reference gateway writes "1", and those who read its Via go on reading ours
    passed("9110-7.6.3", "Via tells HTTP/1.0 as 1", lines("GET /a HTTP/1.0", HOST, "Connection: keep-alive"),
           asked(GET, f"Via: ~1 {WEIR}")),
    back("9110-7.6.3", "answer: Via", (), has=(f"Via: ~1\\.1 {WEIR}",)),
    back("9110-7.6.3", "answer: Via behind others", ("Via: 1.0 one", "Via: 1.1 two"),
         has=(f"Via: ~1\\.0 one, 1\\.1 two, 1\\.1 {WEIR}",)),
    # the same for an origin of HTTP/1.0: the reference gateway writes its own version
    Case("9110-7.6.3", "answer: Via of HTTP/1.0 tells 1.1", client=[get(), got(200, f"Via: ~1\\.1 {WEIR}", body=b"ok")],
         origin=[asked(GET, says=answer_of(b"ok").replace(b"HTTP/1.1", b"HTTP/1.0"))]),
    back("9110-6.6.1", "answer: Date stays", (f"Date: {LONG_AGO}",), has=(f"Date: {LONG_AGO}",)),
    back("9110-6.6.1", "answer: Date is added", (), has=("Date: ~.*GMT",)),
    Case("9110-6.6.1", "our own answer has a Date and no Via",
         client=[get(to="/own"), got(403, "Date: ~.*GMT", lacks=("Via",), framing="length")]),
    back("9110-10.2.4", "answer: Server stays", ("Server: cow/1",), has=("Server: cow/1",)),
    passed("9110-5.3", "the address of the client is added",
           get("X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8"),
           asked(GET, "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1")),
    passed("9110-12.5", "what clients prefer goes on",
           get("Accept: text/*;q=0.5", "Accept-Encoding: gzip, br", "Range: bytes=0-1",
               "If-None-Match: \"x\", W/\"y\"", "Cache-Control: no-store"),
           asked(GET, "Accept: text/*;q=0.5", "Accept-Encoding: gzip, br", "Range: bytes=0-1",
                 "If-None-Match: \"x\", W/\"y\"",
                 "Cache-Control: no-store")),
]

CASES = [*PATHS, *HOPS, *ADDED]
