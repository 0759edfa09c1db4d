/*
 * slab.c - see slab.h.
 *
 *   region  2 MB of address space, in huge pages where the system has them
 *   slab    64 KB of a region, aligned: a header, then blocks of one size. Where a block's slab
 *           is follows from the block's address
 *
 * Blocks too large for a slab are slabs of their own, from malloc. AddressSanitizer gets all blocks
 * from malloc, since it cannot see the edges of these.
 */
#include "dataplane/config/slab.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base.h"

#if !defined(__SANITIZE_ADDRESS__)

#define REGION_BYTES ((size_t)2 << 20)
#define SLAB_BYTES   ((size_t)64 << 10)
#define ALL_FREE     UINT32_MAX /* a bit per slab of a region */

/* Sizes: every 16 bytes, then every 512. */
#define FINE_MAX   1024u
#define COARSE_MAX 8192u
#define CLASSES    (FINE_MAX / 16 + COARSE_MAX / 512 + 1)

struct region {
    struct region *next, *prev; /* among those with a free slab */
    char *base;
    uint32_t free;
};

struct slab {
    struct slab *next, *prev; /* among those of its size with a free block */
    struct region *region;    /* NULL: one large block */
    void *free;               /* blocks given back: each holds the next */
    char *fresh, *end;        /* never given out */
    size_t size;
    uint32_t size_class, used;
    _Alignas(16) char mem[];
};

_Static_assert(REGION_BYTES / SLAB_BYTES == 32, "a bit for each slab");

static struct region *regions;
static size_t n_regions;
static struct slab *slabs[CLASSES];

static struct slab *slab_of(const void *p)
{
    return (struct slab *)((uintptr_t)p & ~(SLAB_BYTES - 1));
}

/* ---- regions ---- */

static void region_link(struct region *r)
{
    r->prev = NULL;
    r->next = regions;
    if (regions)
        regions->prev = r;
    regions = r;
}

static void region_unlink(struct region *r)
{
    *(r->prev ? &r->prev->next : &regions) = r->next;
    if (r->next)
        r->next->prev = r->prev;
}

/* Address space of that size and alignment: the ends of twice as much go back. */
static char *map_aligned(void)
{
    char *p = mmap(NULL, 2 * REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *at;
    size_t front;

    if (p == MAP_FAILED)
        weir_panic(__FILE__, __LINE__, "out of memory");
    at = (char *)(((uintptr_t)p + REGION_BYTES - 1) & ~(REGION_BYTES - 1));
    front = (size_t)(at - p);
    if (front)
        munmap(p, front);
    munmap(at + REGION_BYTES, REGION_BYTES - front);
    return at;
}

static void region_new(void)
{
    struct region *r = xcalloc(1, sizeof(*r));

    r->base = map_aligned();
    r->free = ALL_FREE;
    if (n_regions++ > 0) /* a small configuration does not take 2 MB */
        (void)madvise(r->base, REGION_BYTES, MADV_HUGEPAGE);
    region_link(r);
}

/* The last one stays: a change at its edge would map and unmap it each time. */
static void region_give_back(struct region *r)
{
    if (r->free != ALL_FREE || (!r->next && !r->prev))
        return;
    region_unlink(r);
    munmap(r->base, REGION_BYTES);
    free(r);
    n_regions--;
}

/* ---- slabs ---- */

static void slab_link(struct slab *s)
{
    struct slab **first = &slabs[s->size_class];

    s->prev = NULL;
    s->next = *first;
    if (*first)
        (*first)->prev = s;
    *first = s;
}

static void slab_unlink(struct slab *s)
{
    *(s->prev ? &s->prev->next : &slabs[s->size_class]) = s->next;
    if (s->next)
        s->next->prev = s->prev;
}

static struct slab *slab_new(unsigned size_class, size_t size)
{
    struct region *r;
    struct slab *s;
    unsigned i;

    if (!regions)
        region_new();
    r = regions;
    i = (unsigned)__builtin_ctz(r->free);
    r->free &= ~(1u << i);
    if (r->free == 0)
        region_unlink(r);
    s = (struct slab *)(void *)(r->base + i * SLAB_BYTES);
    *s = (struct slab){.region = r, .size = size, .size_class = size_class, .fresh = s->mem};
    s->end = s->mem + (SLAB_BYTES - sizeof(*s)) / size * size;
    slab_link(s);
    return s;
}

static void slab_give_back(struct slab *s)
{
    struct region *r = s->region;

    slab_unlink(s);
    if (r->free == 0)
        region_link(r);
    r->free |= 1u << ((char *)s - r->base) / SLAB_BYTES;
    region_give_back(r);
}

/* ---- blocks ---- */

static void *large_new(size_t size)
{
    struct slab *s = NULL;

    if (posix_memalign((void **)&s, SLAB_BYTES, sizeof(*s) + size) != 0)
        weir_panic(__FILE__, __LINE__, "out of memory");
    *s = (struct slab){.size = size};
    return s->mem;
}

static bool is_full(const struct slab *s)
{
    return !s->free && s->fresh == s->end;
}

void *slab_alloc(size_t size)
{
    unsigned c;
    struct slab *s;
    void *p;

    if (size > COARSE_MAX)
        return large_new(size);
    size = size_max(size, 16);
    if (size <= FINE_MAX) {
        c = (unsigned)(size + 15) / 16;
        size = c * 16;
    } else {
        c = FINE_MAX / 16 + (unsigned)(size + 511) / 512;
        size = (c - FINE_MAX / 16) * 512;
    }
    s = slabs[c] ? slabs[c] : slab_new(c, size);
    p = s->free;
    if (p) {
        memcpy(&s->free, p, sizeof(s->free));
    } else {
        p = s->fresh;
        s->fresh += size;
    }
    s->used++;
    if (is_full(s))
        slab_unlink(s);
    return p;
}

void slab_free(void *p)
{
    struct slab *s = slab_of(p);

    if (!s->region) {
        free(s);
        return;
    }
    if (is_full(s))
        slab_link(s);
    memcpy(p, &s->free, sizeof(s->free));
    s->free = p;
    if (--s->used == 0)
        slab_give_back(s);
}

size_t slab_size(const void *p)
{
    return slab_of(p)->size;
}

#else

void *slab_alloc(size_t size)
{
    return xmalloc(size);
}

void slab_free(void *p)
{
    free(p);
}

size_t slab_size(const void *p)
{
    return malloc_usable_size((void *)(uintptr_t)p);
}

#endif
