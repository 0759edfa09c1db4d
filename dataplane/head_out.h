/* head_out.h - writing heads: a cursor that never leaves its buffer. */
#ifndef DATAPLANE_HEAD_OUT_H
#define DATAPLANE_HEAD_OUT_H

#include "dataplane/msg.h"

struct head_out {
    char *p, *end;
    bool full; /* something did not fit: the head is not usable */
};

static inline bool out_room(struct head_out *o, size_t len)
{
    if (likely((size_t)(o->end - o->p) >= len))
        return true;
    o->full = true;
    return false;
}

/* There is room. */
static inline void out_put(struct head_out *o, struct str s)
{
    if (s.len)
        memcpy(o->p, s.p, s.len);
    o->p += s.len;
}

static inline void out_str(struct head_out *o, struct str s)
{
    if (out_room(o, s.len))
        out_put(o, s);
}

#define OUT_LITERAL(o, text) out_str((o), STR(text))

/* before is the name with colon and space: known lengths make one check and few stores. */
static inline void out_line(struct head_out *o, struct str before, struct str value)
{
    if (!out_room(o, before.len + value.len + 2))
        return;
    out_put(o, before);
    out_put(o, value);
    out_put(o, STR("\r\n"));
}

/* A field as it came: one copy when name and value still lie side by side. */
static inline void out_header(struct head_out *o, const struct header *h)
{
    if (likely(h->value.p == h->name.p + h->name.len + 2 && h->name.p[h->name.len] == ':' &&
               h->name.p[h->name.len + 1] == ' ')) {
        out_line(o, str_n(h->name.p, h->name.len + 2 + h->value.len), STR(""));
    } else if (out_room(o, h->name.len + h->value.len + 4)) {
        out_put(o, h->name);
        out_put(o, STR(": "));
        out_put(o, h->value);
        out_put(o, STR("\r\n"));
    }
}

static inline void out_number(struct head_out *o, uint64_t n)
{
    char digits[20], *end = digits + sizeof(digits), *at = str_u64(n, end);

    out_str(o, str_n(at, (size_t)(end - at)));
}

static inline void out_number_line(struct head_out *o, struct str before, uint64_t n)
{
    out_str(o, before);
    out_number(o, n);
    OUT_LITERAL(o, "\r\n");
}

/* A list field: the values that are there already, joined, then one more. */
static inline void out_appended(struct head_out *o, struct str before, const struct headers *hs, enum header_id id,
                                struct str more)
{
    out_str(o, before);
    if (unlikely(headers_may_have(hs, id))) {
        HEADERS_EACH(h, hs) {
            if (h->id == id && h->value.len) {
                out_str(o, h->value);
                OUT_LITERAL(o, ", ");
            }
        }
    }
    out_line(o, more, STR(""));
}

#endif
