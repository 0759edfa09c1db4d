/* obj.c - see obj.h. */
#include "dataplane/config/obj.h"

#include <string.h>

#include "dataplane/config/slab.h"

static uint64_t in_use;

void *mem_alloc(size_t size)
{
    void *p = slab_alloc(size);

    in_use += slab_size(p);
    return p;
}

void *mem_realloc(void *p, size_t size)
{
    size_t room = slab_size(p);
    void *other;

    if (size <= room && size > room / 2)
        return p;
    other = mem_alloc(size);
    memcpy(other, p, size_min(size, room));
    mem_free(p);
    return other;
}

void mem_free(void *p)
{
    in_use -= slab_size(p);
    slab_free(p);
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
