/* regex.c - see regex.h. */
#include "dataplane/route/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/log.h"

#define GROUPS          10
#define MATCH_LIMIT     100000u /* steps of backtracking: some milliseconds at the worst */
#define HEAP_LIMIT_KB   256u    /* when the JIT is not there */
#define JIT_STACK_BYTES (512u * 1024u)

struct regex {
    pcre2_code *code;
    struct str names[GROUPS];
};

/* One per thread that ever matched. */
struct scratch {
    pcre2_match_data *data;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static _Thread_local struct scratch *scratch_mine;

static void scratch_free(void *arg)
{
    struct scratch *s = arg;

    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->limits);
    pcre2_jit_stack_free(s->stack);
    free(s);
    scratch_mine = NULL;
}

static void scratch_key_make(void)
{
    WEIR_ASSERT(pthread_key_create(&scratch_key, scratch_free) == 0);
}

static struct scratch *scratch_get(void)
{
    struct scratch *s = scratch_mine;

    if (likely(s != NULL))
        return s;
    pthread_once(&scratch_once, scratch_key_make);
    s = xcalloc(1, sizeof(*s));
    s->data = pcre2_match_data_create(GROUPS, NULL);
    s->limits = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(32 * 1024, JIT_STACK_BYTES, NULL);
    WEIR_ASSERT(s->data && s->limits);
    pcre2_set_match_limit(s->limits, MATCH_LIMIT);
    pcre2_set_heap_limit(s->limits, HEAP_LIMIT_KB);
    pcre2_jit_stack_assign(s->limits, NULL, s->stack);
    pthread_setspecific(scratch_key, s);
    return scratch_mine = s;
}

/* The name table: per entry two bytes of group number, then the name. */
static void read_names(struct regex *r)
{
    uint32_t count = 0, size = 0;
    PCRE2_SPTR table = NULL;

    for (unsigned i = 0; i < GROUPS; i++)
        r->names[i] = STR("");
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMECOUNT, &count);
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMETABLE, &table);
    for (uint32_t i = 0; i < count; i++, table += size) {
        unsigned group = (unsigned)table[0] << 8 | table[1];

        if (group < GROUPS)
            r->names[group] = str_of((const char *)table + 2);
    }
}

struct regex *regex_new(struct str pattern, bool anchored, bool caseless, struct err *e)
{
    uint32_t options =
        PCRE2_DOLLAR_ENDONLY | (anchored ? PCRE2_ANCHORED : 0) | (caseless ? PCRE2_CASELESS : 0);
    PCRE2_UCHAR text[160];
    PCRE2_SIZE at = 0;
    struct regex *r;
    pcre2_code *code;
    int code_err = 0;

    code = pcre2_compile((PCRE2_SPTR)(pattern.p ? pattern.p : ""), pattern.len, options, &code_err,
                         &at, NULL);
    if (!code) {
        pcre2_get_error_message(code_err, text, sizeof(text));
        err_set(e, ERR_INVALID, "not a regular expression: %s at offset %zu", (char *)text,
                (size_t)at);
        return NULL;
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without it the interpreter matches */
    r = xmalloc(sizeof(*r));
    r->code = code;
    read_names(r);
    return r;
}

void regex_free(struct regex **r)
{
    if (!*r)
        return;
    pcre2_code_free((*r)->code);
    free(*r);
    *r = NULL;
}

size_t regex_bytes(const struct regex *r)
{
    size_t code = 0, jit = 0;

    pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &code);
    pcre2_pattern_info(r->code, PCRE2_INFO_JITSIZE, &jit);
    return sizeof(*r) + code + jit;
}

uint32_t regex_match(const struct regex *r, struct str text, struct str *captures, uint32_t max)
{
    struct scratch *s = scratch_get();
    const PCRE2_SIZE *at;
    uint32_t n;
    int rc = pcre2_match(r->code, (PCRE2_SPTR)(text.p ? text.p : ""), text.len, 0, 0, s->data,
                         s->limits);

    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0) {
        LOG_LIMITED(LOG_WARN, "route_regex_failed", "pcre=%d", rc);
        return 0;
    }
    at = pcre2_get_ovector_pointer(s->data);
    n = rc == 0 ? GROUPS : (uint32_t)rc; /* 0: more groups than we keep */
    n = n < max ? n : max;
    for (uint32_t i = 0; i < n; i++)
        captures[i] = at[2 * i] == PCRE2_UNSET || at[2 * i + 1] < at[2 * i]
                          ? STR_NONE
                          : str_n(text.p + at[2 * i], at[2 * i + 1] - at[2 * i]);
    return n;
}

const struct str *regex_names(const struct regex *r)
{
    return r->names;
}

/* Whether an alternative may begin outside of all groups; when in doubt, yes. */
static bool may_alternate(struct str p)
{
    size_t depth = 0;

    for (size_t i = 0; i < p.len; i++) {
        switch (p.p[i]) {
        case '\\':
            if (++i < p.len && p.p[i] == 'Q')
                return true;
            break;
        case '[':
            i += i + 1 < p.len && p.p[i + 1] == '^';
            i += i + 1 < p.len && p.p[i + 1] == ']';
            while (++i < p.len && p.p[i] != ']')
                i += p.p[i] == '\\';
            break;
        case '(':
            if (i + 2 < p.len && (p.p[i + 1] == '*' || (p.p[i + 1] == '?' && p.p[i + 2] == '#')))
                return true;
            depth++;
            break;
        case ')': depth -= depth > 0; break;
        case '|':
            if (depth == 0)
                return true;
            break;
        default: break;
        }
    }
    return false;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

static bool is_one_of(char c, struct str set)
{
    return str_find(set, c) < set.len;
}

struct str regex_literal_prefix(struct str pattern, char *out)
{
    size_t n = 0, i = 0;

    if (may_alternate(pattern))
        return STR("");
    while (i < pattern.len) {
        char c = pattern.p[i];
        size_t width = 1;

        if (c == '\\') { /* of an escaped sign we know that it stands for itself */
            if (i + 1 >= pattern.len || is_alnum(pattern.p[i + 1]) ||
                (unsigned char)pattern.p[i + 1] >= 0x80)
                break;
            c = pattern.p[i + 1];
            width = 2;
        } else if (is_one_of(c, STR(".[](){}*+?^$|#")) || (unsigned char)c <= ' ') {
            break;
        }
        if (i + width < pattern.len && is_one_of(pattern.p[i + width], STR("*?{")))
            break; /* perhaps it is not there at all */
        out[n++] = c;
        i += width;
    }
    return str_n(out, n);
}
