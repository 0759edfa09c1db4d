/*
 * own_tickets.h - keys of session tickets for a data plane without a control plane: the same
 * rows, made and changed here (common/tickets.h), and forgotten with the process. One thread.
 */
#ifndef DATAPLANE_TLS_OWN_TICKETS_H
#define DATAPLANE_TLS_OWN_TICKETS_H

#include "common/tickets.h"

struct own_tickets {
    int64_t rotation_s;
    json_t *keys[TICKET_KEYS + 1]; /* oldest first */
    size_t n;
};

/* Does what is due. Appends the records of the change to out; true: there are some. */
bool own_tickets_rotate(struct own_tickets *o, int64_t now_s, struct sbuf *out);

/* Appends all keys, for a configuration from nothing. */
void own_tickets_all(const struct own_tickets *o, struct sbuf *out);

int64_t own_tickets_wait_s(const struct own_tickets *o, int64_t now_s);
void own_tickets_fini(struct own_tickets *o);

#endif
