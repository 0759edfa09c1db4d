/* arena.c - see arena.h. */
#include "common/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    _Alignas(16) char data[];
};

void arena_init(struct arena *a, size_t chunk_bytes, size_t cap_bytes)
{
    *a = (struct arena){.cap_bytes = cap_bytes, .chunk_bytes = chunk_bytes ? chunk_bytes : 4096};
}

/* Allocates from the embedded piece first, from its first aligned byte on. */
static void use_embedded(struct arena *a)
{
#if !defined(__SANITIZE_ADDRESS__)
    size_t skew = -(uintptr_t)a->embedded & 15u;

    if (a->embedded && skew <= a->embedded_bytes) {
        a->at = (char *)a->embedded + skew;
        a->end = (char *)a->embedded + a->embedded_bytes;
    }
#else
    (void)a;
#endif
}

void arena_init_in(struct arena *a, void *mem, size_t size, size_t cap_bytes)
{
    arena_init(a, 0, cap_bytes);
    a->embedded = mem;
    a->embedded_bytes = size;
    use_embedded(a);
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *c, *next;

    for (c = a->chunk; c; c = next) {
        next = c->next;
        free(c);
    }
    a->chunk = NULL;
    a->used_bytes = 0;
    a->at = a->end = NULL;
    use_embedded(a);
}

void *arena_alloc_slow(struct arena *a, size_t size)
{
    size_t need = (size + 15u) & ~(size_t)15u, room;
    struct arena_chunk *c;

    if (need < size)
        return NULL;
#if defined(__SANITIZE_ADDRESS__)
    room = size;
#else
    room = size_max(need, a->chunk_bytes);
#endif
    if (a->cap_bytes && (need > a->cap_bytes || a->used_bytes > a->cap_bytes - need))
        return NULL;
    if (a->cap_bytes && a->used_bytes + room > a->cap_bytes)
        room = need;
    c = xmalloc(sizeof(*c) + room);
    c->size = room;
    a->used_bytes += room;
#if !defined(__SANITIZE_ADDRESS__)
    /* a big block does not end the chunk that is in use */
    if (a->chunk && need > a->chunk_bytes / 4 && room == need) {
        c->next = a->chunk->next;
        a->chunk->next = c;
        return c->data;
    }
    a->at = c->data + need;
    a->end = c->data + room;
#endif
    c->next = a->chunk;
    a->chunk = c;
    return c->data;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);

    return p ? memset(p, 0, size) : NULL;
}

void *arena_dup(struct arena *a, const void *p, size_t len)
{
    void *copy = arena_alloc(a, len);

    if (copy && len)
        memcpy(copy, p, len);
    return copy;
}

char *arena_strdup(struct arena *a, struct str s)
{
    char *copy = arena_alloc(a, s.len + 1);

    if (!copy)
        return NULL;
    if (s.len)
        memcpy(copy, s.p, s.len);
    copy[s.len] = '\0';
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *copy = arena_strdup(a, s);

    return copy ? str_n(copy, s.len) : STR_NONE;
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *p = NULL;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && (p = arena_alloc(a, (size_t)n + 1)))
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p ? str_n(p, (size_t)n) : STR_NONE;
}
