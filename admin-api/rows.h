/*
 * rows.h - what every handler does with rows: finding one by what a path says, resolving
 * foreign keys, and showing it.
 */
#ifndef ADMIN_API_ROWS_H
#define ADMIN_API_ROWS_H

#include "admin-api/call.h"

/*
 * What a path segment says about a row of ent. 1 with *ref_out (the row need not exist);
 * 0 when it cannot exist (then c is answered with 404); -1 with p (bad key).
 */
int row_ref_parse(struct call *c, const struct source *src, const struct entity *ent,
                  struct str segment, struct row_ref *ref_out, struct problem *p);

/* Refuses a value that a unique field's rules refuse: code 10. 0 or -1 with p. */
int row_key_check(const struct entity *ent, const char *field, struct str value, struct problem *p);

/* "could not find the entity with ..." of a reference. Returns -1. */
int row_missing(const struct row_ref *ref, struct problem *p);

/* The id inside {"id": "..."}; false when there is none. */
bool row_link(const json_t *doc, const char *field, struct uuid *out);
bool row_id(const json_t *doc, struct uuid *out);

/* {"id": "..."}; the caller's. */
json_t *row_link_json(const struct uuid *id);

/* Turns {"name": "foo"} in foreign fields into {"id": ...}; a name wins over an id. 0 or -1 with p
 * (code 13). */
int rows_resolve(const struct source *src, const struct entity *ent, json_t *doc,
                 struct problem *p);

/* The document as clients see it; the caller's. NULL with p. */
json_t *row_answer(const struct source *src, const struct entity *ent, const json_t *doc,
                   struct problem *p);

/* ---- generic handlers, by place ---- */

enum outcome crud_collection(struct call *c);
enum outcome crud_entity(struct call *c);
enum outcome crud_children(struct call *c);
enum outcome crud_child(struct call *c);
enum outcome crud_link(struct call *c);

/* ---- pages (page.c) ---- */

struct page_span {
    size_t size;
    struct str offset, tags;
    bool has_size, has_tags;
};

/* size and offset of the query; 0 or -1 with p (code 9). any_size: only that it is a number. */
int page_span_parse(const struct call *c, bool any_size, struct page_span *out, struct problem *p);

/* tags of the query into q (arrays in c's arena); 0 or -1 with p (code 11). */
int page_tags_parse(struct call *c, struct page_query *q, struct problem *p);

/* Rows of ent as a collection's answer. parent_field NULL: all. ordered_by_id: no hook order. */
enum outcome page_rows(struct call *c, const struct entity *ent, const char *parent_field,
                       const struct uuid *parent, bool ordered_by_id);

/*
 * {"data": rows, "next": ..., "offset": ...}. Takes rows; offset may be NULL. Top-level
 * collections carry tags and size over to the next page.
 */
json_t *page_body(const struct call *c, json_t *rows, const char *offset,
                  const struct page_span *span, bool top_level);
enum outcome page_reply(struct call *c, json_t *rows, const char *offset,
                        const struct page_span *span, bool top_level);

#endif
