/*
 * arena.h - memory that dies together: one request's, one snapshot's, one call's.
 *
 * Allocations are pointer bumps inside chunks; nothing is freed alone. A cap makes
 * "too much" a normal error: arena_alloc returns NULL beyond it (and only then), so the
 * caller answers 413, 431 or 503. A cap of 0 means none; arena_alloc then never fails.
 * Under a sanitizer every allocation is a heap block of its own, so overflows show.
 * Threads: one at a time.
 */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include "common/str.h"

struct arena_chunk;

struct arena {
    char *at, *end;            /* free part of the newest chunk */
    struct arena_chunk *chunk; /* newest first */
    size_t used_bytes;         /* taken from the heap so far */
    size_t cap_bytes;          /* 0: none */
    size_t chunk_bytes;        /* size of the next chunk */
    void *embedded;            /* first piece that is not ours to free, or NULL */
    size_t embedded_bytes;
};

/* chunk_bytes 0 means 4096. Takes nothing from the heap before the first allocation. */
void arena_init(struct arena *a, size_t chunk_bytes, size_t cap_bytes);

/* As arena_init, but the first size bytes come from mem, which outlives the arena. */
void arena_init_in(struct arena *a, void *mem, size_t size, size_t cap_bytes);

/* Frees everything. The arena is empty and usable again. */
void arena_reset(struct arena *a);
#define arena_fini arena_reset

void *arena_alloc_slow(struct arena *a, size_t size);

/* size bytes, aligned for anything, not cleared. NULL only when the cap is reached. */
static inline void *arena_alloc(struct arena *a, size_t size)
{
#if !defined(__SANITIZE_ADDRESS__)
    size_t need = (size + 15u) & ~(size_t)15u;

    if (likely(need >= size && (size_t)(a->end - a->at) >= need)) {
        void *p = a->at;
        a->at += need;
        return p;
    }
#endif
    return arena_alloc_slow(a, size);
}

void *arena_zalloc(struct arena *a, size_t size);
void *arena_dup(struct arena *a, const void *p, size_t len);
char *arena_strdup(struct arena *a, struct str s);          /* NUL-terminated */
struct str arena_str(struct arena *a, struct str s);        /* p == NULL at the cap */
struct str arena_printf(struct arena *a, const char *fmt, ...) WEIR_PRINTF(2, 3);

#endif
