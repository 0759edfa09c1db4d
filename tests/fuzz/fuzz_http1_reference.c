/*
 * The gateway's HTTP/1 parser against the reference, on a connection's whole input: heads, bodies,
 * the next request. They have to agree on what is a request, where it ends, and what it says.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/http/parse.h"
#include "tests/fuzz/reference_http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* bounds that no input reaches, except the number of fields */
static const struct parse_limits limits = {.head_bytes = 1 << 20, .uri_bytes = 1 << 20, .fields = REF_FIELDS};

static struct ref_request ref;
static const char *ref_why;
static struct arena arena;

static void disagree(const char *what, struct str in, struct str ours, struct str theirs)
{
    fprintf(stderr, "disagreement in %s at '" STR_FMT "'\n  gateway:   '" STR_FMT "'\n  reference: '" STR_FMT "' (%s)\n",
            what, STR_ARG(in), STR_ARG(ours), STR_ARG(theirs), ref_why ? ref_why : "");
    abort();
}

static void same_text(const char *what, struct str in, struct str ours, struct str theirs)
{
    if (!str_eq(ours, theirs))
        disagree(what, in, ours, theirs);
}

static void same_number(const char *what, struct str in, int64_t ours, int64_t theirs)
{
    char a[32], b[32];

    snprintf(a, sizeof(a), "%lld", (long long)ours);
    snprintf(b, sizeof(b), "%lld", (long long)theirs);
    same_text(what, in, str_of(a), str_of(b));
}

static struct str result_name(enum ref_result r)
{
    return r == REF_OK ? STR("taken") : r == REF_MORE ? STR("more") : STR("refused");
}

/* ---- both, with the same three results ---- */

typedef enum ref_result reader(struct str in, bool reference, size_t *used_out);

static struct req_head head;
static struct parse_error parse_why;

static enum ref_result read_head(struct str in, bool reference, size_t *used_out)
{
    enum parse_result r;

    if (reference) {
        enum ref_result result = ref_read_head(in, &ref, &ref_why);

        *used_out = ref.used;
        return result;
    }
    arena_reset(&arena);
    r = http_parse_request(in, &limits, &arena, &head, used_out, &parse_why);
    return r == PARSE_OK ? REF_OK : r == PARSE_MORE ? REF_MORE : REF_BAD;
}

static char *decoded[2]; /* gateway's, reference's: room for a whole input */
static size_t n_decoded[2];

static enum ref_result read_body(struct str in, bool reference, size_t *used_out)
{
    struct chunk_decoder d = {0};
    enum chunk_result r;

    if (reference)
        return ref_read_chunked(in, decoded[1], &n_decoded[1], used_out, &ref_why);
    r = chunk_decode(&d, in.p, in.len, decoded[0], used_out, &n_decoded[0]);
    return r == CHUNK_DONE ? REF_OK : r == CHUNK_MORE ? REF_MORE : REF_BAD;
}

/*
 * The verdict of both. One may see sooner than the other that nothing can come of it: then no way to
 * go on may be taken by the other.
 */
static enum ref_result agree(const char *what, struct str in, reader *read, size_t *used_out)
{
    static const char *const ways_on[] = {
        "\r\n\r\n",
        "\n\r\n",
        "\n",
        "\r\nHost: a\r\n\r\n",
        "\nHost: a\r\n\r\n",
        ":\r\n\r\n",
        ": a\r\nHost: a\r\n\r\n",
        "a\r\n\r\n",
        "a: a\r\nHost: a\r\n\r\n",
        " HTTP/1.1\r\nHost: a\r\n\r\n",
        "/ HTTP/1.1\r\nHost: a\r\n\r\n",
        " / HTTP/1.1\r\nHost: a\r\n\r\n",
        "://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "//a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "A / HTTP/1.1\r\nHost: a\r\n\r\n",
        "1.1\r\nHost: a\r\n\r\n",
        ".1\r\nHost: a\r\n\r\n",
        "1\r\n\r\n",
        "0\r\n\r\n",
        "\r\n0\r\n\r\n",
        "1\r\na\r\n0\r\n\r\n",
        "a\r\n0\r\n\r\n",
    };
    size_t used_ref = 0, used;
    enum ref_result ours = read(in, false, used_out), theirs = read(in, true, &used_ref);

    if (ours == theirs) {
        if (ours == REF_OK)
            same_number("bytes used", in, (int64_t)*used_out, (int64_t)used_ref);
        return ours;
    }
    if (ours == REF_OK || theirs == REF_OK)
        disagree(what, in, result_name(ours), result_name(theirs));
    for (size_t i = 0; i < ARRAY_LEN(ways_on); i++) {
        struct sbuf more = {0};

        sbuf_addstr(&more, in);
        sbuf_adds(&more, ways_on[i]);
        if (read(sbuf_str(&more), ours == REF_BAD, &used) == REF_OK)
            disagree(what, sbuf_str(&more), ours == REF_BAD ? STR("refused at once") : STR("taken"),
                     ours == REF_BAD ? STR("taken") : STR("refused at once"));
        sbuf_free(&more);
    }
    return REF_BAD;
}

static void same_head(struct str in)
{
    same_text("method", in, head.method, ref.method);
    same_text("target", in, head.target, ref.target);
    same_text("path", in, head.raw_path, ref.path.len ? ref.path : STR("/")); /* RFC 9110 section 4.2.3 */
    same_number("query", in, head.query.p != NULL, ref.query.p != NULL);
    same_text("query", in, head.query, ref.query);
    same_text("authority", in, head.authority, ref.authority);
    if (!str_ieq(head.host, ref.host))
        disagree("host", in, head.host, ref.host);
    same_number("port", in, head.host_port, ref.port);
    same_number("version", in, head.version, ref.minor ? 11 : 10); /* RFC 9110 section 2.5 */
    same_number("chunked", in, head.chunked, ref.chunked);
    same_number("length", in, head.content_length, ref.content_length);
    same_number("keep-alive", in, head.keep_alive, ref.keep_alive);
    same_number("expectation", in, head.expect_continue, ref.expect_continue);
    same_number("number of fields", in, head.headers.n, (int64_t)ref.n_fields);
    for (size_t i = 0; i < ref.n_fields; i++) {
        same_text("name", in, head.headers.v[i].name, ref.fields[i].name);
        same_text("value", in, head.headers.v[i].value, ref.fields[i].value);
        if (!str_ieq(ref.fields[i].name, STR("close")) && !str_ieq(ref.fields[i].name, STR("keep-alive")))
            same_number("field for one hop", in, head.headers.v[i].hop, ref.fields[i].hop);
    }
}

static void read_connection(struct str rest)
{
    for (int requests = 0; requests < 16 && rest.len; requests++) {
        size_t used;

        if (agree("head", rest, read_head, &used) != REF_OK)
            return;
        same_head(str_n(rest.p, used));
        rest = str_n(rest.p + used, rest.len - used);
        if (head.chunked) {
            enum ref_result result = agree("body", rest, read_body, &used);

            if (result != REF_BAD)
                same_text("decoded body", rest, str_n(decoded[0], n_decoded[0]), str_n(decoded[1], n_decoded[1]));
            if (result != REF_OK)
                return;
        } else {
            used = head.content_length > 0 ? size_min((size_t)head.content_length, rest.len) : 0;
        }
        rest = str_n(rest.p + used, rest.len - used);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1); /* to its exact end, so that a step beyond shows */

    if (size)
        memcpy(copy, data, size);
    for (int i = 0; i < 2; i++)
        decoded[i] = malloc(size + 64); /* and the longest way on */
    arena_init(&arena, 0, 0);
    read_connection(str_n(copy, size));
    arena_fini(&arena);
    for (int i = 0; i < 2; i++)
        free(decoded[i]);
    free(copy);
    return 0;
}
