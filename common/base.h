/*
 * base.h - what every file of Weir may use: attributes, assertions, small arithmetic.
 */
#ifndef COMMON_BASE_H
#define COMMON_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_VERSION      "0.1.0"
#define WEIR_KONG_VERSION "3.9.1" /* the Admin API that clients find here */

#define WEIR_MUSTCHECK      __attribute__((warn_unused_result))
#define WEIR_PRINTF(f, a)   __attribute__((format(printf, f, a)))
#define WEIR_NORETURN       __attribute__((noreturn))
#define WEIR_UNUSED         __attribute__((unused))
#define likely(x)           __builtin_expect(!!(x), 1)
#define unlikely(x)         __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)        (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))

/* Our own invariants, checked in release builds too. Bytes from outside never assert. */
#define WEIR_ASSERT(cond)                                                                         \
    do {                                                                                           \
        if (unlikely(!(cond)))                                                                     \
            weir_panic(__FILE__, __LINE__, #cond);                                                 \
    } while (0)
#define WEIR_UNREACHABLE(why) weir_panic(__FILE__, __LINE__, "unreachable: " why)

/* Prints where and what on stderr, then aborts. */
void weir_panic(const char *file, int line, const char *what) WEIR_NORETURN;

/* malloc and friends that end the process when memory is out: never NULL. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
