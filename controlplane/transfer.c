#include "controlplane/transfer.h"

#include <stdlib.h>

void transfer_unref(struct transfer **tp)
{
    struct transfer *t = *tp;

    *tp = NULL;
    if (!t || --t->refs > 0)
        return;
    for (size_t i = 0; i < t->n; i++)
        frame_buf_unref(&t->frames[i]);
    free(t->frames);
    free(t);
}

static struct transfer *transfer_new(bool full)
{
    struct transfer *t = xcalloc(1, sizeof(*t));

    t->refs = 1;
    t->full = full;
    return t;
}

static void add_frame(struct transfer *t, const Weir__Frame *f)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 4;
        t->frames = xrealloc(t->frames, t->cap * sizeof(struct frame_buf *));
    }
    t->frames[t->n++] = frame_encode(f);
}

static void add_piece(struct transfer *t, struct str records, const unsigned char *hash)
{
    Weir__Chunk c = WEIR__CHUNK__INIT;
    Weir__Delta d = WEIR__DELTA__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;

    if (t->full) {
        c.version = t->to;
        c.seq = (uint32_t)t->n;
        c.last = hash != NULL;
        c.records = frame_bytes(records.p, records.len);
        c.state_hash = frame_bytes(hash, hash ? 32 : 0);
        f.kind_case = WEIR__FRAME__KIND_CHUNK;
        f.chunk = &c;
    } else {
        d.from = t->from;
        d.to = t->to;
        d.seq = (uint32_t)t->n;
        d.last = hash != NULL;
        d.records = frame_bytes(records.p, records.len);
        d.state_hash = frame_bytes(hash, hash ? 32 : 0);
        f.kind_case = WEIR__FRAME__KIND_DELTA;
        f.delta = &d;
    }
    add_frame(t, &f);
}

/* Cuts at record borders: a piece ends with the record that fills it. */
static int add_records(struct transfer *t, struct str records, const unsigned char *hash,
                       struct err *e)
{
    struct str rest = records;
    const char *start = records.p;
    struct record r;
    int rc;

    while ((rc = record_next(&rest, &r, e)) == 1) {
        if ((size_t)(rest.p - start) < FRAME_RECORD_BYTES || rest.len == 0)
            continue;
        add_piece(t, str_n(start, (size_t)(rest.p - start)), NULL);
        start = rest.p;
    }
    if (rc < 0)
        return -1;
    add_piece(t, str_n(start, (size_t)(records.p + records.len - start)), hash);
    return 0;
}

int transfer_delta(struct store *s, uint64_t from, struct transfer **out, struct err *e)
{
    struct sbuf records = {0};
    struct state_hash hash;
    struct transfer *t = transfer_new(false);
    unsigned char bytes[32];
    int rc;

    *out = NULL;
    t->from = from;
    rc = store_delta(s, from, &records, &t->to, &hash, e);
    if (rc == 1 && records.len > TRANSFER_DELTA_MAX)
        rc = 0;
    if (rc == 1) {
        state_hash_bytes(&hash, bytes);
        if (add_records(t, sbuf_str(&records), bytes, e) != 0)
            rc = -1;
    }
    sbuf_free(&records);
    if (rc == 1)
        *out = t;
    else
        transfer_unref(&t);
    return rc;
}

struct encoding {
    struct transfer *t;
    const struct state_hash *hash; /* the store sets it, and t->to, before the first piece */
};

static int encode_piece(void *arg, struct str records, bool last)
{
    struct encoding *enc = arg;
    unsigned char bytes[32];

    state_hash_bytes(enc->hash, bytes);
    if (records.len <= 2 * FRAME_RECORD_BYTES + RECORD_BODY_MAX / 2) {
        add_piece(enc->t, records, last ? bytes : NULL);
        return 0;
    }
    /* larger than asked for, and near what a frame may hold */
    return add_records(enc->t, records, last ? bytes : NULL, NULL);
}

int transfer_full(struct store *s, struct transfer **out, struct err *e)
{
    struct transfer *t = transfer_new(true);
    struct state_hash hash = {{0}};
    struct encoding enc = {.t = t, .hash = &hash};
    int rc = store_snapshot(s, FRAME_RECORD_BYTES, encode_piece, &enc, &t->to, &hash, e);

    *out = NULL;
    if (rc == 0)
        *out = t;
    else
        transfer_unref(&t);
    return rc;
}
