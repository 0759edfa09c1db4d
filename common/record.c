/*
 * record.c - documents to protobuf and back to C structs, driven by the field tables
 * (schema.h has the mapping). Encoding checks nothing but sizes: the document is valid.
 * Decoding trusts nothing: its bytes come from disk or from a peer.
 *
 * Source: protobuf encoding, https://protobuf.dev/programming-guides/encoding/
 */
#include <math.h>
#include <stdlib.h>

#include "common/checks.h"
#include "common/schema_priv.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static bool on_wire(const struct field *f)
{
    return !(f->flags & (FF_KEY | FF_TRANSIENT | FF_RETIRED));
}

/* ---- encoding ---- */

static void put_tag(struct sbuf *out, unsigned num, enum wire wire)
{
    sbuf_add_varint(out, (uint64_t)num << 3 | wire);
}

static void put_bytes(struct sbuf *out, unsigned num, struct str s)
{
    put_tag(out, num, WIRE_BYTES);
    sbuf_add_varint(out, s.len);
    sbuf_addstr(out, s);
}

static uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static void put_double(struct sbuf *out, double d)
{
    uint64_t bits;
    char buf[8];

    memcpy(&bits, &d, sizeof(bits));
    for (size_t i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(bits >> 8 * i);
    sbuf_add(out, buf, sizeof(buf));
}

/* A message of its own: its length is known when it is done, so it is built beside. */
static int put_message(struct sbuf *out, const struct field *f, unsigned num,
                       const struct val *value, struct err *e)
{
    struct sbuf body = {0};
    struct frame inner;
    int rc;

    inner.t = shape_of_record(f);
    if (value->kind != VAL_MAP || !value->source->frame(value, &inner))
        return err_set(e, ERR_INTERNAL, "%s: expected a record", f->name ? f->name : "element");
    rc = pack_frame(&inner, &body, e);
    if (rc == 0)
        put_bytes(out, num, sbuf_str(&body));
    sbuf_free(&body);
    return rc;
}

static int put_foreign(struct sbuf *out, const struct field *f, const struct val *value,
                       struct err *e)
{
    struct uuid id;

    if (value->kind == VAL_ID)
        id = *(const struct uuid *)value->from;
    else if (!uuid_parse(json_str(json_object_get(val_json(value), "id")), &id))
        return err_set(e, ERR_INTERNAL, "%s: expected a resolved id", f->name);
    put_bytes(out, f->num, str_n((const char *)id.b, sizeof(id.b)));
    return 0;
}

static int put_value(struct sbuf *out, const struct field *f, unsigned num,
                     const struct val *value, struct err *e);

static int64_t integer_of(const struct val *value)
{
    return value->kind == VAL_INTEGER ? value->integer : 0;
}

static bool is_true(const struct val *value)
{
    return value->kind == VAL_BOOLEAN && value->yes;
}

/* Numbers of a list share one field (packed), all else repeats the tag. */
static int put_list(struct sbuf *out, const struct field *f, unsigned num, const struct val *list,
                    struct err *e)
{
    struct val_walk it = val_walk(list, f->elem);
    struct sbuf packed = {0};
    struct str none;
    struct val item;

    while (val_next(&it, &none, &item)) {
        switch (f->elem->type) {
        case FT_INTEGER: sbuf_add_varint(&packed, zigzag(integer_of(&item))); break;
        case FT_NUMBER: put_double(&packed, val_number(&item)); break;
        case FT_BOOLEAN: sbuf_add_varint(&packed, is_true(&item)); break;
        default:
            if (put_value(out, f->elem, num, &item, e) != 0)
                return -1;
        }
    }
    if (packed.len)
        put_bytes(out, num, sbuf_str(&packed));
    sbuf_free(&packed);
    return 0;
}

static int put_map(struct sbuf *out, const struct field *f, const struct val *map, struct err *e)
{
    struct val_walk it = val_walk(map, f->elem);
    struct sbuf entry = {0};
    struct val value;
    struct str key;
    int rc = 0;

    while (rc == 0 && val_next(&it, &key, &value)) {
        sbuf_clear(&entry);
        put_bytes(&entry, 1, key);
        rc = put_value(&entry, f->elem, 2, &value, e);
        if (rc == 0)
            put_bytes(out, f->num, sbuf_str(&entry));
    }
    sbuf_free(&entry);
    return rc;
}

static int put_value(struct sbuf *out, const struct field *f, unsigned num,
                     const struct val *value, struct err *e)
{
    switch (f->type) {
    case FT_STRING: put_bytes(out, num, val_text(value)); return 0;
    case FT_INTEGER:
        put_tag(out, num, WIRE_VARINT);
        sbuf_add_varint(out, zigzag(integer_of(value)));
        return 0;
    case FT_NUMBER:
        put_tag(out, num, WIRE_FIXED64);
        put_double(out, val_number(value));
        return 0;
    case FT_BOOLEAN:
        put_tag(out, num, WIRE_VARINT);
        sbuf_add_varint(out, is_true(value));
        return 0;
    case FT_ARRAY:
    case FT_SET: return put_list(out, f, num, value, e);
    case FT_MAP: return put_map(out, f, value, e);
    case FT_RECORD:
    case FT_SUBRECORD: return put_message(out, f, num, value, e);
    case FT_FOREIGN: return put_foreign(out, f, value, e);
    }
    WEIR_UNREACHABLE("field type");
}

int pack_value(const struct field *f, const struct val *value, struct sbuf *out, struct err *e)
{
    if (val_is_null(value) || !on_wire(f))
        return 0;
    if (f->type == FT_SUBRECORD && !f->fields)
        return err_set(e, ERR_INTERNAL, "%s: expected a known table", f->name);
    return put_value(out, f, f->num, value, e);
}

int pack_frame(const struct frame *r, struct sbuf *out, struct err *e)
{
    const struct table *t = r->t.table;

    for (size_t i = 0; i < t->n; i++) {
        if (r->v[i].is_default)
            sbuf_addstr(out, t->packed[i]);
        else if (pack_value(t->fields[i], &r->v[i], out, e) != 0)
            return -1;
    }
    return 0;
}

int record_encode(const struct entity *ent, const json_t *doc, struct sbuf *out, struct err *e)
{
    struct frame r;

    if (!shape_of(ent, doc, &r.t, e))
        return -1;
    frame_of_json(doc, &r);
    return pack_frame(&r, out, e);
}

/* ---- reading the wire ---- */

struct reader {
    const unsigned char *p, *end;
    struct err *e;
};

struct item {
    unsigned num;
    enum wire wire;
    uint64_t number;  /* varint, fixed */
    struct str bytes; /* WIRE_BYTES */
};

static struct reader reader_of(struct str bytes, struct err *e)
{
    const unsigned char *p = (const unsigned char *)(bytes.p ? bytes.p : "");

    return (struct reader){p, p + bytes.len, e};
}

static int bad(struct err *e, const char *what)
{
    err_set(e, ERR_INVALID, "record: %s", what);
    return -1;
}

static int get_varint(struct reader *r, uint64_t *out)
{
    uint64_t v = 0;

    if (likely(r->p < r->end && *r->p < 0x80)) {
        *out = *r->p++;
        return 0;
    }
    for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
        unsigned char byte = *r->p++;

        if (shift == 63 && byte > 1)
            return bad(r->e, "expected a varint of 64 bits");
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = v;
            return 0;
        }
    }
    return bad(r->e, "expected a whole varint");
}

static int get_fixed(struct reader *r, size_t size, uint64_t *out)
{
    uint64_t v = 0;

    if ((size_t)(r->end - r->p) < size)
        return bad(r->e, "expected a whole fixed number");
    for (size_t i = 0; i < size; i++)
        v |= (uint64_t)r->p[i] << 8 * i;
    r->p += size;
    *out = v;
    return 0;
}

static int get_length(struct reader *r, struct str *out)
{
    uint64_t len;

    if (get_varint(r, &len) != 0)
        return -1;
    if (len > (uint64_t)(r->end - r->p))
        return bad(r->e, "length beyond the end");
    *out = str_n((const char *)r->p, (size_t)len);
    r->p += len;
    return 0;
}

/* 1, 0 at the end, -1. */
static int get_item(struct reader *r, struct item *it)
{
    uint64_t tag;

    if (r->p == r->end)
        return 0;
    if (get_varint(r, &tag) != 0)
        return -1;
    if (tag >> 3 == 0 || tag >> 3 > UINT16_MAX)
        return bad(r->e, "field number out of range");
    it->num = (unsigned)(tag >> 3);
    it->wire = (enum wire)(tag & 7);
    switch (it->wire) {
    case WIRE_VARINT: return get_varint(r, &it->number) == 0 ? 1 : -1;
    case WIRE_FIXED64: return get_fixed(r, 8, &it->number) == 0 ? 1 : -1;
    case WIRE_FIXED32: return get_fixed(r, 4, &it->number) == 0 ? 1 : -1;
    case WIRE_BYTES: return get_length(r, &it->bytes) == 0 ? 1 : -1;
    }
    return bad(r->e, "unknown wire type");
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (~(v & 1) + 1));
}

static double to_double(uint64_t bits)
{
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

/* The wire type of one value. */
static enum wire wire_of(const struct field *f)
{
    switch (f->type) {
    case FT_INTEGER:
    case FT_BOOLEAN: return WIRE_VARINT;
    case FT_NUMBER: return WIRE_FIXED64;
    case FT_STRING:
    case FT_ARRAY:
    case FT_SET:
    case FT_MAP:
    case FT_RECORD:
    case FT_FOREIGN:
    case FT_SUBRECORD: return WIRE_BYTES;
    }
    WEIR_UNREACHABLE("field type");
}

static bool is_text_ok(struct str s)
{
    return utf8_invalid_at(s) == s.len && (s.len == 0 || !memchr(s.p, '\0', s.len));
}

/* Tables number their fields from 1 upwards, so the first guess is nearly always right. */
static const struct field *field_by_num(const struct field *fields, size_t n, unsigned num)
{
    if (likely(num <= n && fields[num - 1].num == num))
        return &fields[num - 1];
    for (size_t i = 0; i < n; i++) {
        if (fields[i].num == num)
            return &fields[i];
    }
    return NULL;
}

/* ---- decoding to structs ---- */

struct decoder {
    struct arena *a;
    struct err *e;
};

static int decode_fields(struct decoder *d, const struct field *fields, struct str body, char *out);

static size_t elem_size(const struct field *elem)
{
    switch (elem->type) {
    case FT_STRING: return sizeof(struct str);
    case FT_INTEGER: return sizeof(int64_t);
    case FT_NUMBER: return sizeof(double);
    case FT_BOOLEAN: return sizeof(bool);
    case FT_RECORD: return elem->size;
    case FT_ARRAY:
    case FT_SET:
    case FT_MAP:
    case FT_FOREIGN:
    case FT_SUBRECORD: break;
    }
    WEIR_UNREACHABLE("type of an element");
}

static void set_nulls(const struct field *fields, char *out)
{
    for (const struct field *f = fields; f->name; f++) {
        char *at = out + f->off;

        if (f->flags & (FF_KEY | FF_RETIRED))
            continue;
        switch (f->type) {
        case FT_STRING:
            if (f->is_enum)
                *(int *)(void *)at = -1;
            else
                *(struct str *)(void *)at = STR_NONE;
            break;
        case FT_INTEGER: *(int64_t *)(void *)at = INT_NULL; break;
        case FT_NUMBER: *(double *)(void *)at = NAN; break;
        case FT_BOOLEAN: *(int8_t *)at = f->is_tri ? -1 : 0; break;
        case FT_ARRAY:
        case FT_SET:
        case FT_MAP: *(struct list *)(void *)at = (struct list){0}; break;
        case FT_RECORD: set_nulls(f->fields, at); break;
        case FT_FOREIGN: memset(at, 0, sizeof(struct uuid)); break;
        case FT_SUBRECORD: *(struct str *)(void *)at = STR_NONE; break;
        }
    }
}

static int decode_word(struct decoder *d, const struct field *f, struct str s, char *at)
{
    for (int i = 0; f->one_of[i]; i++) {
        if (str_eq(s, str_of(f->one_of[i]))) {
            *(int *)(void *)at = i;
            return 0;
        }
    }
    return err_set(d->e, ERR_INVALID, "%s: unknown word", f->name);
}

/* One value that is not a list. */
static int decode_value(struct decoder *d, const struct field *f, const struct item *it, char *at)
{
    if (it->wire != wire_of(f))
        return err_set(d->e, ERR_INVALID, "%s: unexpected wire type",
                       f->name ? f->name : "element");
    switch (f->type) {
    case FT_STRING:
        if (f->is_enum)
            return decode_word(d, f, it->bytes, at);
        if (!is_text_ok(it->bytes))
            return err_set(d->e, ERR_INVALID, "%s: expected UTF-8", f->name ? f->name : "element");
        *(struct str *)(void *)at = it->bytes;
        return 0;
    case FT_INTEGER: *(int64_t *)(void *)at = unzigzag(it->number); return 0;
    case FT_NUMBER: *(double *)(void *)at = to_double(it->number); return 0;
    case FT_BOOLEAN: *(int8_t *)at = it->number != 0; return 0;
    case FT_RECORD: return decode_fields(d, f->fields, it->bytes, at);
    case FT_FOREIGN:
        if (it->bytes.len != sizeof(struct uuid))
            return err_set(d->e, ERR_INVALID, "%s: expected 16 bytes", f->name);
        memcpy(at, it->bytes.p, sizeof(struct uuid));
        return 0;
    case FT_SUBRECORD: *(struct str *)(void *)at = it->bytes; return 0;
    case FT_ARRAY:
    case FT_SET:
    case FT_MAP: break;
    }
    WEIR_UNREACHABLE("a list as one value");
}

/* At least n, and the same for all n that it is the answer to: what a list has room for. */
static size_t list_room(size_t n)
{
    size_t room = 1;

    while (room < n)
        room *= 2;
    return room;
}

/* Room for n more elements at the end of the list; NULL when the arena is full. */
static char *list_grow(struct decoder *d, struct list *list, size_t size, size_t n)
{
    size_t old = list->n;

    if (!list->v || old + n > list_room(old)) {
        void *v = arena_alloc(d->a, list_room(old + n) * size);

        if (!v) {
            err_set(d->e, ERR_LIMIT, "record: out of memory");
            return NULL;
        }
        if (list->v)
            memcpy(v, list->v, old * size);
        list->v = v;
    }
    list->n = old + n;
    return (char *)list->v + old * size;
}

/* How often the tag just read repeats at once; at least the one read. */
static size_t count_run(const struct reader *r, unsigned num)
{
    struct reader ahead = *r;
    struct item it;
    size_t n = 1;

    ahead.e = NULL;
    while (get_item(&ahead, &it) == 1 && it.num == num && it.wire == WIRE_BYTES)
        n++;
    return n;
}

static int decode_packed(struct decoder *d, const struct field *f, struct str bytes,
                         struct list *list)
{
    struct reader r = reader_of(bytes, d->e);
    struct item it = {.wire = wire_of(f->elem)};
    size_t size = elem_size(f->elem), n = 0;
    char *at;

    if (it.wire == WIRE_FIXED64) {
        n = bytes.len / 8;
    } else {
        for (size_t i = 0; i < bytes.len; i++)
            n += (unsigned char)bytes.p[i] < 0x80;
    }
    if (n == 0)
        return bytes.len ? bad(d->e, "expected packed numbers") : 0;
    at = list_grow(d, list, size, n);
    if (!at)
        return -1;
    for (; n > 0; n--, at += size) {
        int rc =
            it.wire == WIRE_FIXED64 ? get_fixed(&r, 8, &it.number) : get_varint(&r, &it.number);

        if (rc != 0 || decode_value(d, f->elem, &it, at) != 0)
            return -1;
    }
    return r.p == r.end ? 0 : bad(d->e, "expected packed numbers");
}

static bool is_packable(const struct field *elem)
{
    return elem->type == FT_INTEGER || elem->type == FT_NUMBER || elem->type == FT_BOOLEAN;
}

/* The elements of a list from the one in it on: all that follow with its number. */
static int decode_run(struct decoder *d, const struct field *f, unsigned num, struct reader *r,
                      struct item *it, struct list *list)
{
    size_t size = elem_size(f->elem), n;
    char *at;

    if (is_packable(f->elem)) {
        if (it->wire == WIRE_BYTES)
            return decode_packed(d, f, it->bytes, list);
        at = list_grow(d, list, size, 1);
        return at ? decode_value(d, f->elem, it, at) : -1;
    }
    if (it->wire != WIRE_BYTES)
        return bad(d->e, "unexpected wire type of an element");
    n = count_run(r, num);
    at = list_grow(d, list, size, n);
    if (!at)
        return -1;
    for (;; at += size) {
        if (decode_value(d, f->elem, it, at) != 0)
            return -1;
        if (--n == 0)
            return 0;
        if (get_item(r, it) != 1)
            return -1;
    }
}

static int decode_entry(struct decoder *d, const struct field *f, struct str bytes,
                        struct map_entry *entry)
{
    struct reader r = reader_of(bytes, d->e);
    struct item it = {0};
    int got;

    *entry = (struct map_entry){0};
    while ((got = get_item(&r, &it)) == 1) {
        int rc = 0;

        if (it.num == 1)
            rc = decode_value(d, f->key, &it, (char *)&entry->key);
        else if (it.num == 2 && f->elem->type == FT_ARRAY)
            rc = decode_run(d, f->elem, 2, &r, &it, &entry->values);
        else if (it.num == 2)
            rc = decode_value(d, f->elem, &it, (char *)&entry->value);
        if (rc != 0)
            return -1;
    }
    if (got == 0 && !entry->key.p)
        return bad(d->e, "map entry without a key");
    return got;
}

static int decode_map(struct decoder *d, const struct field *f, struct reader *r, struct item *it,
                      struct list *list)
{
    struct map_entry *at;
    size_t n;

    if (it->wire != WIRE_BYTES)
        return bad(d->e, "unexpected wire type of a map entry");
    n = count_run(r, f->num);
    at = (struct map_entry *)(void *)list_grow(d, list, sizeof(*at), n);
    if (!at)
        return -1;
    for (;; at++) {
        if (decode_entry(d, f, it->bytes, at) != 0)
            return -1;
        if (--n == 0)
            return 0;
        if (get_item(r, it) != 1)
            return -1;
    }
}

/* Nesting is that of the tables, which is finite: the bytes cannot make it deeper. */
static int decode_fields(struct decoder *d, const struct field *fields, struct str body, char *out)
{
    struct reader r = reader_of(body, d->e);
    struct item it = {0};
    size_t n = 0;
    int got;

    while (fields[n].name)
        n++;
    set_nulls(fields, out);
    while ((got = get_item(&r, &it)) == 1) {
        const struct field *f = field_by_num(fields, n, it.num);
        int rc;

        if (!f || !on_wire(f))
            continue;
        if (f->type == FT_ARRAY || f->type == FT_SET)
            rc = decode_run(d, f, f->num, &r, &it, (struct list *)(void *)(out + f->off));
        else if (f->type == FT_MAP)
            rc = decode_map(d, f, &r, &it, (struct list *)(void *)(out + f->off));
        else
            rc = decode_value(d, f, &it, out + f->off);
        if (rc != 0)
            return f->name[0] ? err_in(d->e, f->name) : -1;
    }
    return got;
}

int fields_decode(const struct field *fields, struct str body, struct arena *a, void *out,
                  struct err *e)
{
    struct decoder d = {a, e};

    return decode_fields(&d, fields, body, out);
}

int record_decode(const struct entity *ent, struct str body, struct arena *a, void *out,
                  struct err *e)
{
    return fields_decode(ent->fields, body, a, out, e);
}
