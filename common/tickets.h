/*
 * tickets.h - keys of TLS session tickets: how many there are, and when they change.
 *
 * Keys are rows of tls_ticket_keys, ordered by their serial. The newest one is the next, the
 * one before it encrypts, all decrypt:
 *
 *      serial   7 next        8 next      a rotation: one key comes, the oldest goes
 *               6 in use  ->  7 in use
 *               5 previous    6 previous
 *
 * So every data plane knows a key before anybody encrypts with it, and a ticket lives on for
 * one rotation after its key was in use.
 */
#ifndef COMMON_TICKETS_H
#define COMMON_TICKETS_H

#include "common/schema.h"

#define TICKET_KEYS 3 /* next, in use, previous */

struct ticket_plan {
    unsigned add;  /* new keys, newer than all */
    unsigned drop; /* of the oldest, once those are added */
};

/*
 * What is due. n keys are there, the newest made at newest_s (wall clock). A clock that was set
 * back makes no key wait longer than a rotation.
 */
struct ticket_plan ticket_plan(size_t n, int64_t newest_s, int64_t now_s, int64_t rotation_s);

/* Seconds until something is due, 0 when it is. */
int64_t ticket_wait_s(size_t n, int64_t newest_s, int64_t now_s, int64_t rotation_s);

/* A new key as a document for the store or record_encode; the caller's. */
json_t *ticket_key_new(int64_t serial);

#endif
