#include "proto/frame.h"

#include <stdlib.h>

struct frame_buf *frame_encode(const Weir__Frame *f)
{
    size_t len = weir__frame__get_packed_size(f);
    struct frame_buf *b = xmalloc(sizeof(*b) + FRAME_HEAD_BYTES + len);

    WEIR_ASSERT(len > 0 && len <= FRAME_MAX_TO_DP);
    atomic_init(&b->refs, 1);
    b->len = FRAME_HEAD_BYTES + len;
    b->p[0] = (unsigned char)(len >> 24);
    b->p[1] = (unsigned char)(len >> 16);
    b->p[2] = (unsigned char)(len >> 8);
    b->p[3] = (unsigned char)len;
    weir__frame__pack(f, b->p + FRAME_HEAD_BYTES);
    return b;
}

struct frame_buf *frame_buf_ref(struct frame_buf *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void frame_buf_unref(struct frame_buf **b)
{
    if (*b && atomic_fetch_sub_explicit(&(*b)->refs, 1, memory_order_acq_rel) == 1)
        free(*b);
    *b = NULL;
}

int frame_cut(struct str in, size_t max, struct str *body_out, size_t *used_out, size_t *need_out,
              struct err *e)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t len;

    if (in.len < FRAME_HEAD_BYTES) {
        *need_out = FRAME_HEAD_BYTES;
        return 0;
    }
    len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (len == 0 || len > max)
        return err_set(e, ERR_PEER, "a frame of %zu bytes, expected 1 to %zu", len, max);
    if (in.len - FRAME_HEAD_BYTES < len) {
        *need_out = FRAME_HEAD_BYTES + len;
        return 0;
    }
    *body_out = str_n(in.p + FRAME_HEAD_BYTES, len);
    *used_out = FRAME_HEAD_BYTES + len;
    return 1;
}

static int check_len(const ProtobufCBinaryData *b, size_t len, bool may_miss, const char *name,
                     struct err *e)
{
    if (b->len == len || (may_miss && b->len == 0))
        return 0;
    return err_set(e, ERR_PEER, "%s of %zu bytes, expected %zu", name, b->len, len);
}

static int check_text(const char *s, const char *name, struct err *e)
{
    size_t len = strlen(s);

    if (len > FRAME_TEXT_MAX)
        return err_set(e, ERR_PEER, "%s of %zu bytes, expected at most %u", name, len,
                       FRAME_TEXT_MAX);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return err_set(e, ERR_PEER, "%s holds a control character", name);
    return 0;
}

static int check_hello(const Weir__Hello *h, struct err *e)
{
    if (check_len(&h->node_id, 16, false, "node_id", e) != 0 ||
        check_len(&h->cluster, 16, true, "cluster", e) != 0 ||
        check_len(&h->state_hash, 32, h->cluster.len == 0, "state_hash", e) != 0 ||
        check_text(h->hostname, "hostname", e) != 0 || check_text(h->version, "version", e) != 0 ||
        check_text(h->build, "build", e) != 0)
        return -1;
    if (h->n_labels > 64)
        return err_set(e, ERR_PEER, "%zu labels, expected at most 64", h->n_labels);
    for (size_t i = 0; i < h->n_labels; i++)
        if (check_text(h->labels[i], "label", e) != 0)
            return -1;
    return 0;
}

static int check_welcome(const Weir__Welcome *w, struct err *e)
{
    if (check_len(&w->cluster, 16, false, "cluster", e) != 0)
        return -1;
    if (w->n_peers > 64)
        return err_set(e, ERR_PEER, "%zu peers, expected at most 64", w->n_peers);
    for (size_t i = 0; i < w->n_peers; i++)
        if (check_text(w->peers[i], "peer", e) != 0)
            return -1;
    return 0;
}

static int check_nack(const Weir__Nack *n, struct err *e)
{
    if (n->entity_type > 63)
        return err_set(e, ERR_PEER, "entity type %u, expected at most 63", n->entity_type);
    if (check_len(&n->entity, 16, n->entity_type == 0, "entity", e) != 0)
        return -1;
    return check_text(n->reason, "reason", e);
}

static int check_frame(const Weir__Frame *f, struct err *e)
{
    switch (f->kind_case) {
    case WEIR__FRAME__KIND_HELLO: return check_hello(f->hello, e);
    case WEIR__FRAME__KIND_WELCOME: return check_welcome(f->welcome, e);
    case WEIR__FRAME__KIND_CHUNK:
        return check_len(&f->chunk->state_hash, 32, !f->chunk->last, "state_hash", e);
    case WEIR__FRAME__KIND_DELTA:
        return check_len(&f->delta->state_hash, 32, !f->delta->last, "state_hash", e);
    case WEIR__FRAME__KIND_ACK: return check_len(&f->ack->active_hash, 32, true, "active_hash", e);
    case WEIR__FRAME__KIND_NACK: return check_nack(f->nack, e);
    case WEIR__FRAME__KIND_STATUS:
        return check_len(&f->status->state_hash, 32, true, "state_hash", e);
    case WEIR__FRAME__KIND_DRAIN: return check_text(f->drain->reason, "reason", e);
    case WEIR__FRAME__KIND_PING: return 0;
    case WEIR__FRAME__KIND__NOT_SET:
    case _WEIR__FRAME__KIND__CASE_IS_INT_SIZE: break;
    }
    return err_set(e, ERR_PEER, "a frame of an unknown kind");
}

Weir__Frame *frame_decode(struct str body, struct err *e)
{
    Weir__Frame *f = weir__frame__unpack(NULL, body.len, (const uint8_t *)body.p);

    if (!f) {
        err_set(e, ERR_PEER, "%zu bytes that are no frame of gwsync/1", body.len);
        return NULL;
    }
    if (check_frame(f, e) != 0) {
        err_in(e, frame_kind_word(f));
        frame_free(&f);
    }
    return f;
}

void frame_free(Weir__Frame **f)
{
    if (*f)
        weir__frame__free_unpacked(*f, NULL);
    *f = NULL;
}

struct uuid frame_uuid(const ProtobufCBinaryData *b)
{
    struct uuid u = {{0}};

    if (b->len == sizeof(u.b))
        memcpy(u.b, b->data, sizeof(u.b));
    return u;
}

struct state_hash frame_hash(const ProtobufCBinaryData *b)
{
    struct state_hash h = {{0}};

    if (b->len == 32)
        state_hash_from_bytes(&h, b->data);
    return h;
}

ProtobufCBinaryData frame_bytes(const void *p, size_t len)
{
    union {
        const void *in;
        uint8_t *out; /* protobuf-c has no const view; packing only reads */
    } cast = {.in = p};

    return (ProtobufCBinaryData){.len = len, .data = cast.out};
}

const char *frame_kind_word(const Weir__Frame *f)
{
    static const char *const words[] = {
        [WEIR__FRAME__KIND_HELLO] = "hello", [WEIR__FRAME__KIND_WELCOME] = "welcome",
        [WEIR__FRAME__KIND_CHUNK] = "chunk", [WEIR__FRAME__KIND_DELTA] = "delta",
        [WEIR__FRAME__KIND_ACK] = "ack",     [WEIR__FRAME__KIND_NACK] = "nack",
        [WEIR__FRAME__KIND_PING] = "ping",   [WEIR__FRAME__KIND_STATUS] = "status",
        [WEIR__FRAME__KIND_DRAIN] = "drain",
    };
    size_t i = (size_t)f->kind_case;

    return i < ARRAY_LEN(words) && words[i] ? words[i] : "unknown";
}
