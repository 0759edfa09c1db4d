/*
 * count_calls.c - a library for LD_PRELOAD: counts, for every thread of a program, the allocations
 * and the locks. count_calls.py loads it into weir-dp and reads the counters while it runs.
 *
 * WEIR_COUNTS names a file of COUNT_BYTES bytes; it is mapped, and holds one line of eight 64-bit
 * numbers for each thread in the order of their first call: thread id, mallocs (calloc, realloc and
 * aligned ones too), frees, locks (mutexes, and both kinds of rwlock). Only the thread itself
 * writes its line. Threads beyond COUNT_THREADS are not counted.
 *
 * The C library's own names (__libc_malloc) are called for the allocator, since dlsym() allocates.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT_THREADS 64
#define COUNT_BYTES (COUNT_THREADS * sizeof(struct line))

struct line {
    uint64_t thread, mallocs, frees, locks, unused[4];
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *p);

static struct line *lines;
static atomic_uint lines_used;
static _Thread_local struct line *mine __attribute__((tls_model("initial-exec")));
static struct line nobody; /* what is counted for no one: before the file is mapped, and threads too many */

static int (*real_mutex_lock)(pthread_mutex_t *);
static int (*real_mutex_trylock)(pthread_mutex_t *);
static int (*real_rdlock)(pthread_rwlock_t *);
static int (*real_wrlock)(pthread_rwlock_t *);

static struct line *line(void)
{
    if (!mine && lines) {
        unsigned i = atomic_fetch_add(&lines_used, 1);

        mine = i < COUNT_THREADS ? &lines[i] : &nobody;
        mine->thread = (uint64_t)syscall(SYS_gettid);
    }
    return mine ? mine : &nobody;
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("WEIR_COUNTS");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *at;

    if (fd < 0)
        return;
    at = mmap(NULL, COUNT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        lines = at;
}

void *malloc(size_t size)
{
    line()->mallocs++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    line()->mallocs++;
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    line()->mallocs++;
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    line()->mallocs++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    line()->mallocs++;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}

void free(void *p)
{
    if (p)
        line()->frees++;
    __libc_free(p);
}

/* Looked up at the first lock: other libraries lock in their constructors, before ours has run. */
#define NEXT(real, name)                                                                                              \
    do {                                                                                                               \
        if (!(real))                                                                                                   \
            *(void **)&(real) = dlsym(RTLD_NEXT, name);                                                                \
    } while (0)

int pthread_mutex_lock(pthread_mutex_t *m)
{
    NEXT(real_mutex_lock, "pthread_mutex_lock");
    line()->locks++;
    return real_mutex_lock(m);
}

int pthread_mutex_trylock(pthread_mutex_t *m)
{
    NEXT(real_mutex_trylock, "pthread_mutex_trylock");
    line()->locks++;
    return real_mutex_trylock(m);
}

int pthread_rwlock_rdlock(pthread_rwlock_t *l)
{
    NEXT(real_rdlock, "pthread_rwlock_rdlock");
    line()->locks++;
    return real_rdlock(l);
}

int pthread_rwlock_wrlock(pthread_rwlock_t *l)
{
    NEXT(real_wrlock, "pthread_rwlock_wrlock");
    line()->locks++;
    return real_wrlock(l);
}
