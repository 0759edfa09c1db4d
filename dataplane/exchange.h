/*
 * exchange.h - one request and its response, from the first byte of the head to the log.
 *
 *   head -> rewrite (global plugins) -> route -> access (plugins; may answer, may wait)
 *     -> pick target -> connection from pool -> send head, stream body
 *     -> response head -> header filters -> body filters -> client -> log
 *
 * An exchange lives its whole life on one worker, in one arena, on one configuration. The
 * codecs (codec/) and the upstream side fill it; plugins read it and change it through plugin.h
 * only. A stream (x->stream) is an exchange, too. Nothing here blocks. Threads: the worker's own.
 *
 * Strings of req and resp borrow from the buffers they came in or from the arena; both stay until
 * the log has been written.
 */
#ifndef DATAPLANE_EXCHANGE_H
#define DATAPLANE_EXCHANGE_H

#include "dataplane/live.h"
#include "dataplane/msg.h"

struct worker;
struct plugin_timer;
struct xio; /* the engine's side (xio.h): client, upstream, body, queues */

enum verdict {
    V_NEXT,   /* go on with the next plugin, the next step */
    V_ANSWER, /* the gateway answers itself: the response is in x->resp and x->answer */
    V_WAIT,   /* something will call plugin_resume() (or the exchange is aborted) */
};

/* Where the chain of plugins stands: plugin_chain.c alone writes it. Starts as zeros. */
struct chain_state;
struct chain_run {
    const struct chain *chain;      /* merged; with the consumer's plugins once one is known */
    enum phase phase;
    uint32_t next;                  /* index of the plugin to call next in this phase */
    const struct c_plugin *current; /* being called, or NULL */
    const struct c_plugin *waiting; /* it said V_WAIT, or NULL */
    bool resumed;                   /* plugin_resume came for the current wait */
    bool consumer_changed;          /* merge before the next plugin */
    bool memory_told;               /* the cap has been met before: counted once */
    bool no_memory;                 /* a setter met the arena's cap: 500 after this callback */
    struct chain_state *state;      /* scratch and the like: made when first needed */
};

/* Times of one exchange, mono_us; 0: did not happen. */
struct xtimes {
    uint64_t start;          /* first byte of the head */
    uint64_t upstream_sent;  /* head sent to the last target tried */
    uint64_t upstream_head;  /* first byte of the response's head */
    uint64_t head_out;       /* response head handed to the client side */
    uint64_t end;
};

struct exchange {
    struct worker *worker;
    struct config_pin *pin;
    const struct config *config; /* pin->config */
    struct arena arena;
    struct xio *io;

    /* who asks, over what */
    struct str client_ip;        /* text; the direct peer, or the real one behind a trusted proxy */
    unsigned char client_addr[16]; /* its bytes; IPv4 mapped */
    struct str peer_ip;          /* the direct peer */
    uint16_t client_port, local_port; /* the first: a PROXY header's, else the direct peer's */
    struct str local_ip;         /* the address the client reached */
    uint64_t connection;         /* number of the client's connection since the start */
    uint32_t connection_requests; /* this request is the n-th on it, from 1 */
    bool tls;                    /* the client's connection */
    bool stream;                 /* a connection of the stream proxy, no request: req and resp are empty */
    bool peer_trusted;           /* in trusted_ips */
    struct str sni;

    char request_id[33];         /* 32 hexadecimal digits */
    struct req_head req;         /* what the client sent; edits by plugins go upstream */
    struct route_match match;    /* .route NULL before routing and when none was found */
    struct str upstream_path;    /* with query; empty: derived from the match */

    const struct c_consumer *consumer; /* set by authentication */
    const struct c_credential *credential;
    bool authenticated;

    struct resp_head resp;       /* the upstream's, or ours */
    bool answered;               /* ours */
    struct str answer;           /* body of ours */

    struct chain_run run;
    struct xtimes times;
    uint64_t bytes_in, bytes_out; /* from and to the client, heads included */
    struct str target;           /* "ip:port" of the last attempt */
    uint16_t upstream_status;    /* 0: none answered */
    uint16_t tries;
};

/* ---- the steps, in order; the engine (exchange.c) calls them ---- */

/* Routes x->req; fills x->match. False: x carries the 404 (or redirect, 426 ...) answer. */
bool exchange_route(struct exchange *x);

/* Whether the client's certificate is as the matched route demands. False: x carries the 400. */
bool exchange_client_cert(struct exchange *x);

/*
 * Makes the gateway's own error answer in the type the client accepts (proxying.md section
 * 3), message NULL: the status text. Fills x->resp, x->answer, x->answered.
 */
void exchange_error(struct exchange *x, unsigned status, const char *message);

/* By its content type. */
bool exchange_is_grpc(const struct exchange *x);

/* Any answer: body may be empty, content_type NULL for none. Both live in the arena. */
void exchange_answer(struct exchange *x, unsigned status, const char *content_type, struct str body);

/* Plugins of a phase, from where the run stands. plugin_chain.c */
enum verdict chain_start(struct exchange *x, enum phase phase);
enum verdict chain_go_on(struct exchange *x);
/* The exchange ends early: tells a waiting plugin. */
void chain_abort(struct exchange *x);
/* Phases that cannot wait or answer. */
void chain_header_filter(struct exchange *x);
/* piece may be replaced; last: the body's end. */
void chain_body_filter(struct exchange *x, struct str *piece, bool last);
void chain_log(struct exchange *x);

/* A waiting plugin is ready: the engine goes on with chain_go_on at a quiet point. */
void exchange_resume(struct exchange *x);

/* ---- what plugin_api.c asks of the engine ---- */

/*
 * The whole request body for plugin_body. V_NEXT: *body_out is it, kept in memory and sent
 * upstream from there. V_WAIT: the engine reads on and calls plugin_resume(x) once when the
 * body is complete or broken. V_ANSWER: it is larger than max; 413 has been made.
 */
enum verdict exchange_body(struct exchange *x, size_t max, struct str *body_out);
/* What goes upstream instead (arena memory); Content-Length follows. */
void exchange_body_set(struct exchange *x, struct str body);

unsigned exchange_worker(const struct exchange *x); /* 0 .. n_workers - 1 */

/* Calls plugin_resume(x) after us, unless cancelled; ends with the exchange. NULL: no memory. */
struct plugin_timer *exchange_timer(struct exchange *x, uint64_t us);
void exchange_timer_cancel(struct plugin_timer *t);

#endif
