/* obj.c - see obj.h. */
#include "dataplane/config/obj.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static uint64_t in_use;

void *mem_alloc(size_t size)
{
    void *p = xmalloc(size);

    in_use += malloc_usable_size(p);
    return p;
}

void *mem_realloc(void *p, size_t size)
{
    in_use -= malloc_usable_size(p);
    p = xrealloc(p, size);
    in_use += malloc_usable_size(p);
    return p;
}

void mem_free(void *p)
{
    in_use -= malloc_usable_size(p);
    free(p);
}

void mem_note(int64_t more)
{
    in_use += (uint64_t)more;
}

uint64_t mem_bytes(void)
{
    return in_use;
}

void *obj_new(const struct obj_type *type, size_t size)
{
    struct obj *o = mem_alloc(size);

    memset(o, 0, size);
    o->type = type;
    o->refs = 1;
    return o;
}

void obj_unref(struct obj *o)
{
    if (!o || --o->refs)
        return;
    if (o->type->fini)
        o->type->fini(o);
    mem_free(o);
}
