/* head_out.h - writing heads: a cursor that never leaves its buffer. */
#ifndef DATAPLANE_HEAD_OUT_H
#define DATAPLANE_HEAD_OUT_H

#include "dataplane/msg.h"

struct head_out {
    char *p, *end;
    bool full; /* something did not fit: the head is not usable */
};

static inline void out_bytes(struct head_out *o, const char *p, size_t len)
{
    if (unlikely((size_t)(o->end - o->p) < len)) {
        o->full = true;
        return;
    }
    memcpy(o->p, p, len);
    o->p += len;
}

#define OUT_LITERAL(o, text) out_bytes((o), "" text, sizeof(text) - 1)

static inline void out_str(struct head_out *o, struct str s)
{
    if (s.len)
        out_bytes(o, s.p, s.len);
}

static inline void out_field(struct head_out *o, struct str name, struct str value)
{
    out_str(o, name);
    OUT_LITERAL(o, ": ");
    out_str(o, value);
    OUT_LITERAL(o, "\r\n");
}

/* A field as it came: one copy when name and value still lie side by side. */
static inline void out_header(struct head_out *o, const struct header *h)
{
    if (likely(h->value.p == h->name.p + h->name.len + 2 && h->name.p[h->name.len] == ':' &&
               h->name.p[h->name.len + 1] == ' ')) {
        out_bytes(o, h->name.p, h->name.len + 2 + h->value.len);
        OUT_LITERAL(o, "\r\n");
    } else {
        out_field(o, h->name, h->value);
    }
}

static inline void out_number(struct head_out *o, uint64_t n)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    out_bytes(o, digits + at, sizeof(digits) - at);
}

#endif
