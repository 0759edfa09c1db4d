/* addresses.c - see addresses.h. */
#include "dataplane/addresses.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base.h"

#define STRIPES 64u
#define SLOTS   1024u /* of a stripe: chains stay short up to some ten thousand addresses */

struct entry {
    struct entry *next;
    unsigned char key[16];
    unsigned count;
};

static struct stripe {
    pthread_mutex_t lock;
    struct entry *slots[SLOTS];
} stripes[STRIPES] = {[0 ... STRIPES - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static void make_key(const unsigned char addr[16], unsigned char key[16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

    memcpy(key, addr, 16);
    if (memcmp(addr, mapped, sizeof(mapped)) != 0)
        memset(key + 8, 0, 8);
}

/* The place of key's entry, or of the end of its chain. */
static struct entry **find(struct stripe **stripe, const unsigned char key[16])
{
    uint64_t a, b;
    struct entry **at;

    memcpy(&a, key, 8);
    memcpy(&b, key + 8, 8);
    a = (a ^ b * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    *stripe = &stripes[a >> 32 & (STRIPES - 1)];
    pthread_mutex_lock(&(*stripe)->lock);
    for (at = &(*stripe)->slots[a >> 48 & (SLOTS - 1)]; *at; at = &(*at)->next)
        if (memcmp((*at)->key, key, 16) == 0)
            break;
    return at;
}

bool address_enter(const unsigned char addr[16], unsigned max)
{
    unsigned char key[16];
    struct stripe *stripe;
    struct entry **at;
    bool ok;

    make_key(addr, key);
    at = find(&stripe, key);
    if (!*at) {
        *at = xcalloc(1, sizeof(**at));
        memcpy((*at)->key, key, sizeof(key));
    }
    ok = (*at)->count < max;
    (*at)->count += ok;
    pthread_mutex_unlock(&stripe->lock);
    return ok;
}

void address_leave(const unsigned char addr[16])
{
    unsigned char key[16];
    struct stripe *stripe;
    struct entry **at, *gone = NULL;

    make_key(addr, key);
    at = find(&stripe, key);
    WEIR_ASSERT(*at && (*at)->count > 0);
    if (--(*at)->count == 0) {
        gone = *at;
        *at = gone->next;
    }
    pthread_mutex_unlock(&stripe->lock);
    free(gone);
}

