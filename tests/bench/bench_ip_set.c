/*
 * bench_ip_set.c - what asking a set of networks costs (dataplane/plugins/ip_set.h), and what the
 * set takes in memory and time to make, from 10 to 100 000 networks (or the sizes given).
 *
 *     bench_ip_set [NETWORKS ...]
 *
 * For instructions, which do not depend on the machine's load, divide what this collects by the
 * number of lookups that it prints:
 *
 *     valgrind --tool=callgrind --toggle-collect=ip_set_has bench_ip_set 100000
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dataplane/plugins/ip_set.h"

#define LOOKUPS   2000000u
#define ADDRESSES (1u << 16)

/* CPU time of this thread: what others do on the machine does not count. */
static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t seed = 1;

static uint32_t random_word(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 32);
}

/* IPv4: /24; IPv6: /48. */
static struct ip_network random_network(bool v4)
{
    static const unsigned char mapped[16] = {[10] = 0xff, [11] = 0xff};
    struct ip_network net = {.v4 = v4, .bits = v4 ? 96 + 24 : 48};
    uint32_t word[2] = {random_word(), random_word()};

    memcpy(net.addr, mapped, v4 ? 16 : 0);
    memcpy(net.addr + (v4 ? 12 : 2), word, v4 ? 3 : 4);
    if (!v4)
        net.addr[0] = 0x20;
    return net;
}

static void bench(size_t n, bool v4)
{
    struct ip_network *nets = xcalloc(n, sizeof(*nets));
    unsigned char(*addrs)[16] = xcalloc(ADDRESSES, sizeof(*addrs));
    size_t before, inside = 0;
    struct ip_set *s;
    double make_ms, bytes;
    uint64_t start;

    for (size_t i = 0; i < n; i++)
        nets[i] = random_network(v4);
    for (size_t i = 0; i < ADDRESSES; i++) { /* one half is inside */
        struct ip_network near = i % 2 ? nets[random_word() % n] : random_network(v4);

        memcpy(addrs[i], near.addr, 16);
        addrs[i][15] = (unsigned char)i;
    }
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    start = now_ns();
    s = ip_set_new(nets, n);
    make_ms = (double)(now_ns() - start) / 1e6;
    bytes = (double)(mallinfo2().uordblks + mallinfo2().hblkhd - before);

    start = now_ns();
    for (size_t i = 0; i < LOOKUPS; i++)
        inside += ip_set_has(s, addrs[i % ADDRESSES]);
    start = now_ns() - start;
    printf("%s %8zu networks  make %7.2f ms  %5.1f B/network  %u lookups, %2.0f%% inside: %6.1f ns each\n",
           v4 ? "IPv4" : "IPv6", n, make_ms, bytes / (double)n, LOOKUPS, 100.0 * (double)inside / LOOKUPS,
           (double)start / LOOKUPS);
    ip_set_free(&s);
    free(addrs);
    free(nets);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {10, 1000, 100000};

    for (int v4 = 1; v4 >= 0; v4--)
        for (size_t i = 0; i < (argc > 1 ? (size_t)(argc - 1) : ARRAY_LEN(sizes)); i++) {
            size_t n = argc > 1 ? strtoull(argv[i + 1], NULL, 10) : sizes[i];

            if (n > 0)
                bench(n, v4);
        }
    return 0;
}
