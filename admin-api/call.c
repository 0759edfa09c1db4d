#include "admin-api/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin-api/admin.h"
#include "admin-api/body.h"
#include "common/checks.h"
#include "common/log.h"
#include "common/uri.h"

#define QUERY_ARGS_MAX 100

/* ---- what was asked ---- */

static bool cut_path(struct call *c)
{
    struct str rest = c->path, part;

    if (rest.len && rest.p[0] == '/')
        rest = str_n(rest.p + 1, rest.len - 1);
    if (str_ends(rest, STR("/")))
        rest.len--; /* /services/ is /services */
    while (c->path.len > 1 && str_next(&rest, '/', &part)) {
        struct seg seg = {part, percent_decode(part, false, arena_alloc(&c->arena, part.len + 1))};

        if (!text_ok(seg.text))
            return false;
        if (c->n_seg < CALL_SEGS)
            c->seg[c->n_seg] = seg;
        c->n_seg++;
    }
    return true;
}

bool call_parse_target(struct call *c, struct str target)
{
    size_t q = str_find(target, '?');

    c->path = str_n(target.p, q);
    c->query = q < target.len ? str_n(target.p + q + 1, target.len - q - 1) : STR("");
    if (!cut_path(c))
        return false;
    c->n_args = args_decode(&c->arena, c->query, QUERY_ARGS_MAX, &c->args);
    if (c->n_args == (size_t)-1) {
        c->n_args = 0;
        return false;
    }
    for (size_t i = 0; i < c->n_args; i++)
        if (!text_ok(c->args[i].name) || !text_ok(c->args[i].value))
            return false;
    return true;
}

struct str call_arg(const struct call *c, const char *name)
{
    struct str want = str_of(name);

    for (size_t i = 0; i < c->n_args; i++)
        if (str_eq(c->args[i].name, want))
            return c->args[i].value;
    return STR_NONE;
}

void call_fini(struct call *c)
{
    body_free(&c->body);
    json_decref(c->given);
    json_decref(c->doc);
    problem_free(&c->job.problem);
    free(c->res.text);
    sbuf_free(&c->raw_body);
    arena_fini(&c->arena);
}

/* ---- writes ---- */

static int job_run(struct store_job *job, struct txn *t, struct problem *p)
{
    struct call *c = CONTAINER_OF(job, struct call, job);

    int rc = c->write(c, t, p);

    c->answered = rc != 0 && p->kind == PROBLEM_NONE && c->res.status != 0;
    return rc;
}

static void job_done(struct store_job *job, bool ok, uint64_t version)
{
    struct call *c = CONTAINER_OF(job, struct call, job);

    if (ok && !version) /* nothing was to be changed */
        version = store_info(c->admin->store).version;
    if (ok)
        reply_header(c, "X-Weir-Config-Version", "%llu", (unsigned long long)version);
    else if (!c->answered)
        reply_problem(c, &job->problem);
    c->written(c);
}

enum outcome call_write(struct call *c, write_fn *fn)
{
    c->write = fn;
    c->job = (struct store_job){.run = job_run, .done = job_done};
    store_submit(c->admin->store, &c->job);
    return CALL_WAIT;
}

/* ---- what is answered ---- */

static enum outcome reply(struct call *c, int status, char *text, size_t len, const char *type)
{
    free(c->res.text);
    c->res.text = text;
    c->res.len = len;
    c->res.type = type;
    c->res.status = status;
    c->res.n_headers = 0;
    return CALL_DONE;
}

enum outcome reply_json(struct call *c, int status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(16));

    json_decref(body);
    if (!text)
        return reply_failure(c, "an answer that is not JSON");
    return reply(c, status, text, strlen(text), "application/json; charset=utf-8");
}

enum outcome reply_message(struct call *c, int status, const char *fmt, ...)
{
    enum outcome done;
    struct str text;
    char *all;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&all, fmt, ap) < 0)
        WEIR_UNREACHABLE("memory is out");
    va_end(ap);
    text = str_of(all);
    text.len = utf8_invalid_at(text); /* a text that was cut to fit may end within a character */
    done = reply_json(c, status, json_pack("{s:s%}", "message", text.p, text.len));
    free(all);
    return done;
}

enum outcome reply_empty(struct call *c, int status)
{
    return reply(c, status, NULL, 0, NULL);
}

enum outcome reply_text(struct call *c, int status, const char *type, struct str text)
{
    return reply(c, status, str_dup(text), text.len, type);
}

enum outcome reply_page(struct call *c, int status, const char *title)
{
    struct str page = arena_printf(&c->arena,
                                   "<html>\n<head><title>%s</title></head>\n"
                                   "<body>\n<center><h1>%s</h1></center>\n</body>\n</html>\n",
                                   title, title);

    return reply_text(c, status, "text/html; charset=UTF-8", page);
}

enum outcome reply_not_found(struct call *c)
{
    return reply_message(c, 404, "Not found");
}

enum outcome reply_failure(struct call *c, const char *what)
{
    LOG(LOG_ERROR, "admin_failure", "path=\"" STR_FMT "\" cause=\"%s\"", STR_ARG(c->path), what);
    return reply_message(c, 500, "An unexpected error occurred");
}

enum outcome reply_problem(struct call *c, struct problem *p)
{
    int status = p->kind == PROBLEM_NONE ? 500 : problem_status(p);

    if (status >= 500)
        reply_failure(c, p->message ? p->message : "a problem without a message");
    else
        reply_json(c, status, problem_body(p));
    problem_free(p);
    return CALL_DONE;
}

void reply_header(struct call *c, const char *name, const char *fmt, ...)
{
    va_list ap;
    char *text;

    WEIR_ASSERT(c->res.n_headers < RESPONSE_HEADERS);
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        WEIR_UNREACHABLE("memory is out");
    va_end(ap);
    c->res.header[c->res.n_headers].name = name;
    c->res.header[c->res.n_headers].value = arena_strdup(&c->arena, str_of(text));
    c->res.n_headers++;
    free(text);
}
