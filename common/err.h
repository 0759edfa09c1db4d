/*
 * err.h - how a failure travels: made once where it is known, gains its path on the
 * way up, is logged or answered once by the layer that decides.
 *
 *     if (!found)
 *         return err_set(e, ERR_NOT_FOUND, "no route named '%s'", name);
 *     ...
 *     err_in(e, "routes.3");      // "paths.1: ..." becomes "routes.3.paths.1: ..."
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include "common/base.h"

/* code, word for logs */
#define ERR_CODES(X)                                                                               \
    X(ERR_NONE, "none")                                                                            \
    X(ERR_INVALID, "invalid")         /* what we were given is wrong */                            \
    X(ERR_LIMIT, "limit")             /* a stated bound was reached */                             \
    X(ERR_NOT_FOUND, "not found")                                                                  \
    X(ERR_CONFLICT, "conflict")       /* exists already, or is still referenced */                 \
    X(ERR_IO, "io")                   /* the system refused: disk, socket, permission */           \
    X(ERR_PEER, "peer")               /* the other side broke the protocol */                      \
    X(ERR_TIMEOUT, "timeout")                                                                      \
    X(ERR_CLOSED, "closed")                                                                        \
    X(ERR_INTERNAL, "internal")       /* a fault of ours */

enum err_code {
#define X(code, word) code,
    ERR_CODES(X)
#undef X
};

struct err {
    enum err_code code;
    char path[256];    /* where: "routes.3.paths.1", "" when the message says it all */
    char message[512]; /* one line, no full stop, says what was expected */
};

/* Fills e (may be NULL). Always returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) WEIR_PRINTF(3, 4);

/* As err_set, with strerror(errno) behind ": ". */
int err_sys(struct err *e, const char *fmt, ...) WEIR_PRINTF(2, 3);

/* Puts one more step in front of the path. Returns -1. */
int err_in(struct err *e, const char *step);

/* Forgets what was set. */
void err_clear(struct err *e);

/* "path: message" or "message", in a buffer of e's thread that the next call reuses. */
const char *err_text(const struct err *e);

const char *err_word(enum err_code code);

#endif
