/* tickets.c - see tickets.h. */
#include "common/tickets.h"

#include <stdio.h>

#include "common/entities.h"
#include "common/rand.h"

#define KEYS_AT_START 2 /* one to encrypt with, and the next */

int64_t ticket_wait_s(size_t n, int64_t newest_s, int64_t now_s, int64_t rotation_s)
{
    if (n < KEYS_AT_START || now_s - newest_s >= rotation_s)
        return 0;
    return newest_s > now_s ? rotation_s : newest_s + rotation_s - now_s;
}

struct ticket_plan ticket_plan(size_t n, int64_t newest_s, int64_t now_s, int64_t rotation_s)
{
    struct ticket_plan plan = {0};

    if (n < KEYS_AT_START)
        plan.add = (unsigned)(KEYS_AT_START - n);
    else if (ticket_wait_s(n, newest_s, now_s, rotation_s) == 0 || newest_s > now_s + rotation_s)
        plan.add = 1;
    if (n + plan.add > TICKET_KEYS)
        plan.drop = (unsigned)(n + plan.add - TICKET_KEYS);
    return plan;
}

json_t *ticket_key_new(int64_t serial)
{
    unsigned char bytes[TICKET_KEY_HEX / 2];
    char hex[TICKET_KEY_HEX + 1];
    struct violations v = {0};
    json_t *in, *doc = NULL;

    rand_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    in = json_pack("{s:I, s:s}", "serial", (json_int_t)serial, "key", hex);
    if (schema_insert(&entity_tls_ticket_keys, in, &doc, &v) != 0)
        WEIR_UNREACHABLE("a document of ours");
    json_decref(in);
    explicit_bzero(bytes, sizeof(bytes));
    explicit_bzero(hex, sizeof(hex));
    return doc;
}
