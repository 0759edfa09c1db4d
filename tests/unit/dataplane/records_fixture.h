/*
 * records_fixture.h - for tests and benches of the configuration: entities as JSON text to
 * records, and requests without a connection.
 */
#ifndef TESTS_UNIT_DATAPLANE_RECORDS_FIXTURE_H
#define TESTS_UNIT_DATAPLANE_RECORDS_FIXTURE_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/uri.h"
#include "dataplane/config/config.h"
#include "dataplane/config/obj.h"
#include "proto/record.h"

/* Ends the test program with what is wrong: fixtures do not fail. */
#define FIX_CHECK(cond, ...)                                \
    do {                                                    \
        if (!(cond)) {                                      \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
            fprintf(stderr, __VA_ARGS__);                   \
            fputc('\n', stderr);                            \
            abort();                                        \
        }                                                   \
    } while (0)

/* The compiler of a test program, for its group's setup and teardown. */
static WEIR_UNUSED struct compiler *compiler;

static WEIR_UNUSED int fix_setup(void **state WEIR_UNUSED)
{
    compiler = compiler_new();
    return 0;
}

static WEIR_UNUSED int fix_teardown(void **state WEIR_UNUSED)
{
    compiler_free(&compiler);
    return mem_bytes() == 0 ? 0 : -1; /* every shared node went back */
}

static WEIR_UNUSED struct uuid fix_id(unsigned space, unsigned n)
{
    struct uuid id = {{0}};

    id.b[0] = (unsigned char)space;
    id.b[6] = 0x40;
    id.b[8] = 0x80;
    for (int i = 0; i < 4; i++)
        id.b[15 - i] = (unsigned char)(n >> (8 * i));
    return id;
}

static WEIR_UNUSED const char *fix_text(struct uuid id)
{
    static char text[8][UUID_TEXT_LEN + 1];
    static unsigned next;
    char *out = text[next++ % 8];

    uuid_format(&id, out);
    return out;
}

/* doc is taken, as it is: for what cannot be written by the Admin API, and for benches. */
static WEIR_UNUSED void fix_put_raw(struct sbuf *out, const char *entity, struct uuid id,
                                   json_t *doc)
{
    const struct entity *ent = entity_by_name(str_of(entity));
    struct sbuf body = {0};
    struct err e = {0};

    FIX_CHECK(ent && doc, "no entity %s or bad JSON", entity);
    FIX_CHECK(record_encode(ent, doc, &body, &e) == 0, "%s: %s", entity, err_text(&e));
    record_append(out, &(struct record){REC_PUT, ent->type, id, sbuf_str(&body)});
    sbuf_free(&body);
    json_decref(doc);
}

/* doc is taken. It is validated and completed as an Admin API body would be. */
static WEIR_UNUSED void fix_put(struct sbuf *out, const char *entity, struct uuid id, json_t *doc)
{
    const struct entity *ent = entity_by_name(str_of(entity));
    struct violations v = {0};
    json_t *whole = NULL;

    FIX_CHECK(ent && doc, "no entity %s or bad JSON", entity);
    json_object_set_new(doc, "id", json_string(fix_text(id)));
    if (schema_insert(ent, doc, &whole, &v) != 0)
        FIX_CHECK(false, "%s: %s", entity, violations_message(&v));
    fix_put_raw(out, entity, id, whole);
    json_decref(doc);
}

static WEIR_UNUSED void fix_putf(struct sbuf *out, const char *entity, struct uuid id,
                                const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static WEIR_UNUSED void fix_putf(struct sbuf *out, const char *entity, struct uuid id,
                                const char *fmt, ...)
{
    char *text = NULL;
    json_error_t je;
    json_t *doc;
    va_list ap;

    va_start(ap, fmt);
    FIX_CHECK(vasprintf(&text, fmt, ap) >= 0, "memory");
    va_end(ap);
    for (char *p = text; *p; p++) /* so that the texts in tests are easy to read */
        *p = *p == '\'' ? '"' : *p;
    doc = json_loads(text, 0, &je);
    FIX_CHECK(doc, "%s: %s", je.text, text);
    fix_put(out, entity, id, doc);
    free(text);
}

static WEIR_UNUSED void fix_delete(struct sbuf *out, const char *entity, struct uuid id)
{
    record_append(out, &(struct record){.op = REC_DELETE,
                                        .type = entity_by_name(str_of(entity))->type,
                                        .key = id});
}

/* ---- requests ---- */

struct fix_request {
    struct req_head head;
    struct header headers[16];
    struct route_query q;
    char host[300], path[1200];
};

/* target may have a query; host may have a port, and may be NULL. */
static WEIR_UNUSED void fix_request(struct fix_request *r, const char *method, const char *target,
                                   const char *host)
{
    static const char *const words[] = {
#define X(id, word) [id] = word,
        METHODS(X)
#undef X
    };
    struct str path = str_of(target);
    const char *colon;

    memset(r, 0, sizeof(*r));
    r->head.method = str_of(method);
    for (unsigned i = 1; i < ARRAY_LEN(words); i++)
        if (strcmp(words[i], method) == 0)
            r->head.method_id = i;
    path.len = str_find(path, '?');
    FIX_CHECK(path.len < sizeof(r->path), "long path");
    r->head.path = path_normalize(path, r->path);
    snprintf(r->host, sizeof(r->host), "%s", host ? host : "");
    for (char *p = r->host; *p; p++)
        *p = ascii_lower(*p);
    r->head.host = str_of(r->host);
    if ((colon = strchr(r->host, ':'))) {
        r->head.host_port = (uint16_t)atoi(colon + 1);
        r->head.host.len = (size_t)(colon - r->host);
    }
    r->head.headers.v = r->headers;
    r->q = (struct route_query){.req = &r->head, .port = 80, .sni = STR("")};
}

static WEIR_UNUSED void fix_header(struct fix_request *r, const char *name, const char *value)
{
    FIX_CHECK(r->head.headers.n < ARRAY_LEN(r->headers), "many headers");
    r->headers[r->head.headers.n++] = (struct header){str_of(name), str_trim(str_of(value)), 0};
}

#endif
