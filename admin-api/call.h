/*
 * call.h - one request to the Admin API and its answer, without a word about sockets.
 *
 *     server.c  fills method, path, headers, body         (MHD thread)
 *     router.c  finds the place the path names, and its handler
 *     handler   answers at once (CALL_DONE), or describes a write and leaves it to the
 *               store's writer thread (CALL_WAIT); the server answers when it is done
 *
 * Everything a call needs lives in its arena or is freed with it. Threads: a call belongs to
 * one thread at a time; between call_write() and the end of its job that is the writer's.
 */
#ifndef ADMIN_API_CALL_H
#define ADMIN_API_CALL_H

#include "admin-api/router.h"
#include "admin-api/source.h"
#include "controlplane/store.h"

struct admin;
struct call;

enum outcome { CALL_DONE, CALL_WAIT };

/* One part of the path between slashes: as it was sent, and percent-decoded. */
struct seg {
    struct str raw, text;
};
#define CALL_SEGS 8 /* deeper paths name nothing */

enum body_kind { BODY_NONE, BODY_JSON, BODY_ARGS };

struct body {
    enum body_kind kind;
    json_t *json;          /* BODY_JSON: an object */
    struct form_arg *args; /* BODY_ARGS: decoded, in the arena */
    size_t n_args;
};

#define RESPONSE_HEADERS 4
struct response {
    int status; /* 0: none yet */
    char *text; /* malloc; the body, NULL: none */
    size_t len;
    const char *type; /* Content-Type, NULL without a body */
    struct {
        const char *name, *value; /* the value lies in the call's arena */
    } header[RESPONSE_HEADERS];
    size_t n_headers;
    bool close; /* the connection ends after this */
};

/*
 * A write, run inside one transaction on the writer's thread. Returns 0 when the response is
 * set and the transaction is to be committed; -1 undoes it, and the answer is the problem,
 * or the response when the writer has set one.
 */
typedef int write_fn(struct call *c, struct txn *t, struct problem *p);

struct call {
    struct admin *admin;
    struct arena arena;
    uint64_t began_us; /* mono */

    enum method method;
    struct str path, query; /* as sent */
    struct seg seg[CALL_SEGS];
    size_t n_seg;
    struct form_arg *args; /* of the query, decoded */
    size_t n_args;
    struct str content_type, origin, cors_headers; /* p == NULL: not sent */
    struct sbuf raw_body;

    struct match at;
    struct body body;
    struct response res;

    /* what the handlers of rows (crud.c) pass to their writers */
    struct row_ref ref;
    struct uuid parent;
    json_t *given; /* what the client wrote */
    json_t *doc;   /* what is to be written */

    struct store_job job;
    write_fn *write;
    bool answered;                   /* the writer undid its work and has said why */
    void (*written)(struct call *c); /* the server's: wakes the connection; any thread */
};

/* Cuts path and query up and decodes them. False: they hold a NUL or are not UTF-8. */
bool call_parse_target(struct call *c, struct str target);

/* Frees what the call owns beside its own bytes. */
void call_fini(struct call *c);

/* Value of a query argument, the first of that name; p == NULL: not there. */
struct str call_arg(const struct call *c, const char *name);

/* Hands fn to the writer's thread. Returns CALL_WAIT. */
enum outcome call_write(struct call *c, write_fn *fn);

/* ---- answers; each replaces what was set before ---- */

enum outcome reply_json(struct call *c, int status, json_t *body); /* takes body */
enum outcome reply_message(struct call *c, int status, const char *fmt, ...) WEIR_PRINTF(3, 4);
enum outcome reply_empty(struct call *c, int status);
enum outcome reply_text(struct call *c, int status, const char *type, struct str text);
enum outcome reply_page(struct call *c, int status, const char *title); /* a page for people */
enum outcome reply_problem(struct call *c, struct problem *p);          /* empties p */
enum outcome reply_not_found(struct call *c); /* {"message":"Not found"} */

/* 500; what went wrong goes to the log alone. */
enum outcome reply_failure(struct call *c, const char *what);

/* Added to the answer that is set; name is a literal. */
void reply_header(struct call *c, const char *name, const char *fmt, ...) WEIR_PRINTF(3, 4);

#endif
