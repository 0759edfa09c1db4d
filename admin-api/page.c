#include <stdio.h>
#include <stdlib.h>

#include "admin-api/admin.h"
#include "admin-api/body.h"
#include "admin-api/hooks.h"
#include "admin-api/rows.h"

#define PAGE_SIZE     100
#define PAGE_SIZE_MAX 1000
#define TAGS_MAX      5

static int bad_size(struct problem *p, const char *text)
{
    return problem_set(p, PROBLEM_SIZE, NULL, "%s", text);
}

/* A decimal number, perhaps with a sign, a fraction, an exponent. */
static bool number_parse(struct str text, double *out)
{
    char buf[32], *end;

    if (!text.len || text.len >= sizeof(buf) || strspn(text.p, "+-.0123456789eE") < text.len)
        return false;
    memcpy(buf, text.p, text.len);
    buf[text.len] = '\0';
    *out = strtod(buf, &end);
    return *end == '\0';
}

int page_span_parse(const struct call *c, bool any_size, struct page_span *out, struct problem *p)
{
    struct str size = call_arg(c, "size");
    double n = PAGE_SIZE;

    *out = (struct page_span){.offset = call_arg(c, "offset"), .tags = call_arg(c, "tags")};
    out->has_tags = out->tags.p != NULL;
    out->has_size = size.p != NULL;
    if (size.p && !number_parse(size, &n))
        return bad_size(p, "size must be a number");
    if (any_size && n == 0)
        return 0;
    if (!(n >= 1 && n <= PAGE_SIZE_MAX) || n != (double)(size_t)n)
        return bad_size(p, "size must be an integer between 1 and 1000");
    out->size = (size_t)n;
    return 0;
}

static int bad_tags(struct problem *p, const char *text)
{
    return problem_set(p, PROBLEM_OPTIONS, json_pack("{s:s}", "tags", text),
                       "invalid option (tags: %s)", text);
}

int page_tags_parse(struct call *c, struct page_query *q, struct problem *p)
{
    struct str text = call_arg(c, "tags"), rest = text, tag;
    bool any = str_find(text, '/') < text.len, all = str_find(text, ',') < text.len;
    struct str *tags;

    if (!text.p)
        return 0;
    if (!text.len)
        return bad_tags(p, "cannot be null");
    if (any && all)
        return bad_tags(p, "invalid filter syntax");
    tags = arena_alloc(&c->arena, TAGS_MAX * sizeof(*tags));
    while (str_next(&rest, any ? '/' : ',', &tag)) {
        if (q->n_tags == TAGS_MAX)
            return bad_tags(p, "cannot query more than 5 tags");
        tags[q->n_tags++] = tag;
    }
    q->tags = tags;
    q->tags_all = !any;
    return 0;
}

json_t *page_body(const struct call *c, json_t *rows, const char *offset,
                  const struct page_span *span, bool top_level)
{
    json_t *body = json_pack("{s:o}", "data", rows);
    struct str path = c->path;
    struct sbuf next = {0};

    if (!offset) {
        json_object_set_new(body, "next", json_null());
        return body;
    }
    if (str_ends(path, STR("/")))
        path.len--;
    sbuf_addstr(&next, path);
    sbuf_adds(&next, "?offset=");
    percent_encode(&next, str_of(offset));
    if (top_level && span->has_tags) {
        sbuf_adds(&next, "&tags=");
        percent_encode(&next, span->tags);
    }
    if (top_level && span->has_size)
        sbuf_addf(&next, "&size=%zu", span->size);
    json_object_set_new(body, "next", json_stringn(next.p, next.len));
    json_object_set_new(body, "offset", json_string(offset));
    sbuf_free(&next);
    return body;
}

enum outcome page_reply(struct call *c, json_t *rows, const char *offset,
                        const struct page_span *span, bool top_level)
{
    return reply_json(c, 200, page_body(c, rows, offset, span, top_level));
}

/* Rows as clients see them; NULL with p. Takes nothing. */
static json_t *show_all(struct call *c, const struct entity *ent, const json_t *rows,
                        struct problem *p)
{
    const struct source src = source_store(c->admin->store);
    json_t *out = json_array();
    size_t i;
    json_t *row;

    json_array_foreach(rows, i, row)
    {
        json_t *shown = row_answer(&src, ent, row, p);

        if (!shown) {
            json_decref(out);
            return NULL;
        }
        json_array_append_new(out, shown);
    }
    return out;
}

enum outcome page_rows(struct call *c, const struct entity *ent, const char *parent_field,
                       const struct uuid *parent, bool ordered_by_id)
{
    bool newest = hooks_of(ent)->newest_first && !ordered_by_id;
    struct problem p = {0};
    struct page_span span;
    struct page_query q;
    json_t *rows, *shown;
    char *offset = NULL;
    enum outcome done;

    if (page_span_parse(c, newest, &span, &p) != 0)
        return reply_problem(c, &p);
    if (span.size == 0) /* only collections by time allow it: nothing, from where it was asked */
        return page_reply(c, json_array(), span.offset.p ? span.offset.p : "0", &span, false);
    q = (struct page_query){
        .size = span.size,
        .offset = span.offset,
        .parent_field = parent_field,
        .newest_first = newest,
    };
    if (parent)
        q.parent = *parent;
    if (!parent_field && field_find(ent->fields, STR("tags")) && page_tags_parse(c, &q, &p) != 0)
        return reply_problem(c, &p);
    if (store_page(c->admin->store, ent, &q, &rows, &offset, &p) != 0)
        return reply_problem(c, &p);
    shown = show_all(c, ent, rows, &p);
    json_decref(rows);
    done = shown ? page_reply(c, shown, offset, &span, !parent_field) : reply_problem(c, &p);
    free(offset);
    return done;
}
