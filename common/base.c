/* base.c - panic and the allocators that cannot fail. */
#include "common/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void weir_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "panic at %s:%d: %s\n", file, line, what);
    abort();
}

static void *checked(void *p)
{
    if (unlikely(!p))
        weir_panic(__FILE__, __LINE__, "out of memory");
    return p;
}

void *xmalloc(size_t size)
{
    return checked(malloc(size ? size : 1));
}

void *xcalloc(size_t n, size_t size)
{
    return checked(calloc(n ? n : 1, size ? size : 1));
}

void *xrealloc(void *p, size_t size)
{
    return checked(realloc(p, size ? size : 1));
}

char *xstrdup(const char *s)
{
    return checked(strdup(s));
}
