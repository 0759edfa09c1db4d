/* http2_common.c - see http2_common.h. */
#include "dataplane/codec/http2_common.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/codec/http2.h"

/* ---- memory ---- */

/* Sizes that a session asks for: items and fields, streams, hash tables, one frame of 16 KB. */
static const uint32_t sizes[] = {48, 112, 240, 496, 1008, 2032, 4080, 8176, 17392};
#define CLASSES    ARRAY_LEN(sizes)
#define NO_CLASS   UINT32_MAX
#define KEEP_BYTES (4u * 1024u * 1024u) /* at rest in one list */

/* In front of every block; a free one's next is behind it. */
struct block {
    _Alignas(16) uint32_t class;
    uint32_t size;
};

struct http2_heap {
    nghttp2_mem mem;
    struct block *free[CLASSES];
    uint32_t n_free[CLASSES];
};

static struct block **link_of(struct block *b)
{
    return (struct block **)(void *)(b + 1);
}

static uint32_t class_of(size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
    (void)size; /* blocks of their own, so that overflows show */
#else
    for (uint32_t class = 0; class < CLASSES; class ++)
        if (size <= sizes[class])
            return class;
#endif
    return NO_CLASS;
}

static void *heap_malloc(size_t size, void *user)
{
    struct http2_heap *heap = user;
    uint32_t class = class_of(size);
    struct block *b;

    if (class != NO_CLASS && (b = heap->free[class])) {
        heap->free[class] = *link_of(b);
        heap->n_free[class]--;
        return b + 1;
    }
    if (size > UINT32_MAX)
        return NULL;
    b = xmalloc(sizeof(*b) + (class != NO_CLASS ? sizes[class] : size));
    b->class = class;
    b->size = class != NO_CLASS ? sizes[class] : (uint32_t)size;
    return b + 1;
}

static void heap_free(void *p, void *user)
{
    struct http2_heap *heap = user;
    struct block *b;

    if (!p)
        return;
    b = (struct block *)p - 1;
    if (b->class == NO_CLASS || (uint64_t)heap->n_free[b->class] * b->size >= KEEP_BYTES) {
        free(b);
        return;
    }
    *link_of(b) = heap->free[b->class];
    heap->free[b->class] = b;
    heap->n_free[b->class]++;
}

static void *heap_calloc(size_t n, size_t size, void *user)
{
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(n, size, &bytes))
        return NULL;
    p = heap_malloc(bytes, user);
    return p ? memset(p, 0, bytes) : NULL;
}

static void *heap_realloc(void *p, size_t size, void *user)
{
    size_t had = p ? ((struct block *)p - 1)->size : 0;
    void *larger;

    if (p && size <= had)
        return p;
    larger = heap_malloc(size, user);
    if (p && larger)
        memcpy(larger, p, had);
    if (larger)
        heap_free(p, user);
    return larger;
}

nghttp2_mem *http2_mem(struct worker *w)
{
    struct http2_heap *heap = w->h2_heap;

    if (unlikely(!heap)) {
        heap = w->h2_heap = xcalloc(1, sizeof(*heap));
        heap->mem = (nghttp2_mem){heap, heap_malloc, heap_free, heap_calloc, heap_realloc};
    }
    return &heap->mem;
}

void *http2_alloc(struct worker *w, size_t size)
{
    return heap_calloc(1, size, http2_mem(w)->mem_user_data);
}

void http2_free(struct worker *w, void *p)
{
    heap_free(p, w->h2_heap);
}

void http2_fini(struct worker *w)
{
    if (!w->h2_heap)
        return;
    for (size_t class = 0; class < CLASSES; class ++) {
        struct block *b, *next;

        for (b = w->h2_heap->free[class]; b; b = next) {
            next = *link_of(b);
            free(b);
        }
    }
    free(w->h2_heap);
    w->h2_heap = NULL;
}

/* ---- the way out ---- */

void http2_wire_init(struct http2_wire *wire, const struct http2_wire_ops *ops, struct worker *w, struct io *io)
{
    *wire = (struct http2_wire){.ops = ops, .w = w, .io = io};
}

static void not_dirty(struct http2_wire *wire)
{
    if (!wire->prev)
        return;
    *wire->prev = wire->next;
    if (wire->next)
        wire->next->prev = wire->prev;
    wire->prev = NULL;
}

void http2_wire_fini(struct http2_wire *wire)
{
    WEIR_ASSERT(!wire->inside);
    not_dirty(wire);
    buf_give(&wire->w->bufs, &wire->out);
    nghttp2_session_del(wire->session);
    wire->session = NULL;
}

void http2_dirty(struct http2_wire *wire)
{
    struct worker *w = wire->w;

    if (wire->prev)
        return;
    wire->next = w->h2_dirty;
    wire->prev = &w->h2_dirty;
    if (wire->next)
        wire->next->prev = &wire->next;
    w->h2_dirty = wire;
}

/* Those that become dirty meanwhile wait for the next turn, that does not sleep then. */
void http2_flush(struct worker *w)
{
    struct http2_wire *list = w->h2_dirty, *wire;

    w->h2_dirty = NULL;
    if (list)
        list->prev = &list;
    while ((wire = list)) { /* one by one: any of them may leave the list meanwhile */
        not_dirty(wire);
        wire->ops->flush(wire);
    }
}

bool http2_write(struct http2_wire *wire)
{
    struct iovec v;
    ssize_t n;

    if (wire->broken || !wire->out)
        return !wire->broken;
    v = (struct iovec){wire->out->data + wire->at, wire->out->len - wire->at};
    n = wire->io->ops->writev(wire->io, &v, 1);
    if (n < 0 && n != IO_AGAIN) {
        wire->broken = true;
        return false;
    }
    if (n > 0)
        wire->at += (uint32_t)n;
    if (wire->at == wire->out->len) {
        buf_give(&wire->w->bufs, &wire->out);
        wire->at = 0;
    }
    if (wire->blocked != (wire->out != NULL)) {
        wire->blocked = wire->out != NULL;
        wire->ops->want_write(wire, wire->blocked);
    }
    return true;
}

char *http2_append(struct http2_wire *wire, size_t len)
{
    struct buf_pool *bufs = &wire->w->bufs;
    struct buf *old = wire->out, *larger;
    char *at;

    if (unlikely(old && old->cap - old->len < len)) {
        uint32_t waiting = old->len - wire->at;

        larger = buf_take_size(bufs, waiting + waiting / 2 + len); /* small frames do not copy it all each time */
        larger->len = waiting;
        memcpy(larger->data, old->data + wire->at, larger->len);
        buf_give(bufs, &old);
        wire->out = larger;
        wire->at = 0;
    } else if (!old) {
        wire->out = len <= 65536 ? buf_take(bufs, BUF_64K) : buf_take_size(bufs, len);
        wire->at = 0;
    }
    at = wire->out->data + wire->out->len;
    wire->out->len += (uint32_t)len;
    return at;
}

static size_t room(const struct http2_wire *wire)
{
    size_t len = wire->out ? wire->out->len : 0;

    return len + HTTP2_FRAME_HEAD < 65536 ? 65536 - len - HTTP2_FRAME_HEAD : 0;
}

size_t http2_room(struct http2_wire *wire, size_t want)
{
    size_t have = room(wire);

    if (unlikely(have < want) && !wire->blocked && http2_write(wire))
        have = room(wire);
    return wire->broken ? 0 : size_min(have, want);
}

bool http2_pump(struct http2_wire *wire)
{
    const uint8_t *bytes;
    ssize_t n;

    if (wire->broken || wire->inside)
        return !wire->broken;
    wire->inside = true;
    while ((n = nghttp2_session_mem_send(wire->session, &bytes)) > 0)
        memcpy(http2_append(wire, (size_t)n), bytes, (size_t)n);
    wire->inside = false;
    wire->broken |= n < 0;
    return !wire->broken;
}

/* ---- fields ---- */

size_t http2_fields_out(char *text, size_t len, nghttp2_nv *nv, size_t max, uint8_t flags)
{
    char *p = text, *end = text + len;
    size_t n = 0;

    while (p < end && n < max) {
        char *name = p, *value, *stop;

        for (; *p != ':'; p++)
            *p = ascii_lower(*p);
        value = p + 2; /* ": " is how they are written here */
        stop = memchr(value, '\r', (size_t)(end - value));
        nv[n++] = http2_nv(str_n(name, (size_t)(p - name)), str_trim(str_n(value, (size_t)(stop - value))), flags);
        p = stop + 2;
    }
    return n;
}

struct header *http2_field_in(struct headers *hs, struct arena *a, struct str name, struct str value)
{
    char *text = arena_alloc(a, name.len + 2 + value.len);

    if (!text)
        return NULL;
    memcpy(text, name.p, name.len); /* as a line, that is how it will leave again (head_out.h) */
    memcpy(text + name.len, ": ", 2);
    if (value.len)
        memcpy(text + name.len + 2, value.p, value.len);
    name = str_n(text, name.len);
    if (!headers_add_as(hs, a, header_id_of(name), name, str_n(text + name.len + 2, value.len)))
        return NULL;
    return &hs->v[hs->n - 1];
}
