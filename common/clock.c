/* clock.c - see clock.h. */
#include "common/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic uint64_t fake_mono_us, fake_wall_us;

static uint64_t read_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_mono_us(void)
{
    uint64_t fake = atomic_load_explicit(&fake_mono_us, memory_order_relaxed);
    return fake ? fake : read_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_us(void)
{
    uint64_t fake = atomic_load_explicit(&fake_wall_us, memory_order_relaxed);
    return fake ? fake : read_us(CLOCK_REALTIME);
}

void clock_fake(uint64_t mono_us, uint64_t wall_us)
{
    atomic_store(&fake_mono_us, mono_us);
    atomic_store(&fake_wall_us, wall_us);
}
