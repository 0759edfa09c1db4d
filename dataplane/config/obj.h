/*
 * obj.h - what the versions of a configuration share: blocks with a reference count.
 *
 * Counts are plain integers, because only the config thread takes and gives references;
 * workers read what a version reaches and never touch a count. Everything here is counted
 * in bytes for config_stats.
 */
#ifndef DATAPLANE_CONFIG_OBJ_H
#define DATAPLANE_CONFIG_OBJ_H

#include "common/base.h"

struct obj;

struct obj_type {
    const char *name;
    void (*fini)(struct obj *o); /* gives back what it holds; the block itself is freed after */
};

/* First member of every shared thing. */
struct obj {
    const struct obj_type *type;
    uint32_t refs;
};

/* size zeroed bytes that begin with a struct obj of one reference. */
void *obj_new(const struct obj_type *type, size_t size);

/* Frees o when this was the last reference. NULL is ignored. */
void obj_unref(struct obj *o);

static inline void obj_ref(struct obj *o)
{
    if (o)
        o->refs++;
}

/* As xmalloc and friends, counted. */
void *mem_alloc(size_t size);
void *mem_realloc(void *p, size_t size);
void mem_free(void *p);

/* For memory that others allocate on our behalf: regular expressions, arenas. */
void mem_note(int64_t more);

/* Bytes that all versions together hold now. */
uint64_t mem_bytes(void);

#endif
