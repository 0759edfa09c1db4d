/*
 * tickets.h - makes the keys of TLS session tickets and changes them in time (common/tickets.h).
 * They are rows like others, so that data planes get them with the configuration; the Admin API
 * does not know of them.
 */
#ifndef CONTROLPLANE_TICKETS_H
#define CONTROLPLANE_TICKETS_H

#include "controlplane/store.h"

struct tickets;

/*
 * Makes what is due at once, waiting for the disk, and starts a thread that goes on every
 * rotation_s. A rotation that fails is logged and tried again a minute later.
 */
int tickets_start(struct store *s, int64_t rotation_s, struct tickets **out, struct err *e) WEIR_MUSTCHECK;
void tickets_stop(struct tickets **t); /* before the store closes */

#endif
