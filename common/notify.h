/* notify.h - a word to the service manager (sd_notify(3)). */
#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

#include "common/err.h"

/*
 * Sends state ("READY=1", "STOPPING=1") as one datagram to $NOTIFY_SOCKET; does nothing where
 * no service manager has set it. Never blocks for longer than the manager's socket is full.
 */
int notify_manager(const char *state, struct err *e) WEIR_MUSTCHECK;

#endif
