/*
 * plugin.h - all that a plugin may see.
 *
 * The smallest plugin, whole:
 *
 *     static enum verdict on_access(struct exchange *x, const void *conf_)
 *     {
 *         const struct teapot_conf *conf = conf_;
 *
 *         if (str_ieq(plugin_header(x, STR("X-Drink")), STR("coffee")))
 *             return plugin_error(x, 418, conf->message.p);
 *         return V_NEXT;
 *     }
 *     const struct plugin_ops plugin_teapot = {.contract = &contract_teapot, .on_access = on_access};
 *
 * Its contract (name, priority, phases, table of config) is common/plugins/teapot.c; one line
 * in common/plugins/plugins.def makes both planes know it.
 *
 * Order of calls for one request: on_rewrite (global instances), on_access by priority until
 * one answers, then, whoever answered, on_header_filter, on_body_filter per piece, on_log for
 * every plugin that applied. conf is the struct of the table, decoded once per configuration.
 * Strings that a plugin hands in must live in the exchange's arena (plugin_str, plugin_printf)
 * or longer; strings it gets live as long as the exchange, on_log included.
 *
 * Callbacks run on the exchange's worker and must not block: what takes time returns V_WAIT. A row
 * whose protocols say so runs for streams, too: on_access and on_log then, with empty heads.
 */
#ifndef DATAPLANE_PLUGIN_H
#define DATAPLANE_PLUGIN_H

#include "common/arena.h"
#include "common/plugins/contract.h"
#include "dataplane/exchange.h"
#include "dataplane/observe/metrics.h"
#include "dataplane/tls/client_cert.h"

struct plugin_ops {
    const struct plugin_contract *contract;

    /*
     * Once per row and configuration, on the config thread: regexes, parsed lists... into
     * *prepared_out. May refuse the row (-1 with e). unprepare frees it.
     */
    int (*prepare)(const void *conf, void **prepared_out, struct err *e);
    void (*unprepare)(void *prepared);

    /* Once per process, before workers start / after they ended: state of the node. */
    int (*init)(unsigned n_workers, struct err *e);
    void (*fini)(void);

    enum verdict (*on_rewrite)(struct exchange *x, const void *conf);
    enum verdict (*on_access)(struct exchange *x, const void *conf);
    void (*on_header_filter)(struct exchange *x, const void *conf);
    void (*on_body_filter)(struct exchange *x, const void *conf, struct str *piece, bool last);
    void (*on_log)(struct exchange *x, const void *conf);

    /* Required of a plugin that returns V_WAIT: the exchange ends, nothing may call back. */
    void (*on_abort)(struct exchange *x, const void *conf);
};

/* The data plane's node id, text; "" before it is known. */
struct str plugin_node_id(void);

/* The row's prepared data, in any callback. */
void *plugin_prepared(struct exchange *x);
const struct c_plugin *plugin_self(struct exchange *x);
unsigned plugin_worker(struct exchange *x); /* 0 .. n_workers - 1 */

/* size zeroed bytes that the same plugin finds again in later phases of this exchange. */
void *plugin_scratch(struct exchange *x, size_t size);

/* ---- memory ---- */
void *plugin_alloc(struct exchange *x, size_t size); /* NULL at the cap: answer 500 */
struct str plugin_str(struct exchange *x, struct str s);
struct str plugin_printf(struct exchange *x, const char *fmt, ...) WEIR_PRINTF(2, 3);

/* ---- the request ---- */
struct str plugin_header(struct exchange *x, struct str name); /* first value; p NULL: none */
/* All of them: how many; the first one's value in *first_out when there is one. */
unsigned plugin_headers(struct exchange *x, struct str name, struct str *first_out);
/* Setting and adding: memory that runs out ends the request with 500 after the callback. */
void plugin_header_set(struct exchange *x, struct str name, struct str value);
void plugin_header_add(struct exchange *x, struct str name, struct str value);
void plugin_header_remove(struct exchange *x, struct str name);
/* Decoded query arguments of that name: how many; the first one in *first_out. */
unsigned plugin_query(struct exchange *x, struct str name, struct str *first_out);
void plugin_query_remove(struct exchange *x, struct str name);
/* The same for any form-encoded text (a query, a body): to read, and without that name. */
unsigned plugin_form(struct exchange *x, struct str form, struct str name, struct str *first_out);
struct str plugin_form_without(struct exchange *x, struct str form, struct str name);
struct str plugin_decoded(struct exchange *x, struct str encoded); /* one name or value of it */
const char *plugin_scheme(struct exchange *x);     /* "http", "https": forwarded if trusted */
struct str plugin_forwarded_host(struct exchange *x);
uint16_t plugin_forwarded_port(struct exchange *x);

/*
 * The whole request body, up to max bytes. V_NEXT: *body_out is it; V_WAIT: call again when
 * resumed; V_ANSWER: it is larger, 413 has been made.
 */
enum verdict plugin_body(struct exchange *x, size_t max, struct str *body_out);
/* Replaces the body read by plugin_body. */
void plugin_body_set(struct exchange *x, struct str body);

/*
 * ---- the response ----
 * In rewrite and access there is none yet: what is set there is kept and goes on whatever
 * response is made in the end, before the header filters see it.
 */
struct str plugin_resp_header(struct exchange *x, struct str name);
void plugin_resp_header_set(struct exchange *x, struct str name, struct str value);
void plugin_resp_header_add(struct exchange *x, struct str name, struct str value);
void plugin_resp_header_remove(struct exchange *x, struct str name);

/* ---- answering: each returns V_ANSWER ---- */
enum verdict plugin_error(struct exchange *x, unsigned status, const char *message);
enum verdict plugin_answer(struct exchange *x, unsigned status, const char *content_type, struct str body);
/* {"message": text} without request id, as the reference's exit with a table. */
enum verdict plugin_answer_message(struct exchange *x, unsigned status, struct str message);

enum verdict plugin_answer_json(struct exchange *x, unsigned status, const json_t *json); /* borrows json */

/* ---- who asks ---- */
/* Sets the consumer and credential and the X-Consumer-... headers for the upstream. */
void plugin_authenticated(struct exchange *x, const struct c_consumer *consumer,
                          const struct c_credential *credential, struct str credential_identifier);
/* Loads the anonymous consumer (id or username); false: there is none. */
bool plugin_anonymous(struct exchange *x, struct str consumer);

/* ---- the client's certificate ---- */
/* As the route's tls_verify_client and its authorities judge it. */
enum client_cert_state plugin_client_cert(struct exchange *x);
/* Subject, fingerprint...; p NULL: there is none. Made anew with each call. */
struct str plugin_client_cert_part(struct exchange *x, enum client_cert_part part);

/* ---- waiting ---- */
/*
 * Exactly once per V_WAIT, from the exchange's own worker; before V_WAIT is returned is fine
 * too. The callback that said V_WAIT is then called again: it finds in its scratch how far it
 * was. plugin_body and plugin_after do the resuming themselves.
 */
void plugin_resume(struct exchange *x);
struct plugin_timer;
/* Calls plugin_resume after us. The timer ends with the exchange. */
struct plugin_timer *plugin_after(struct exchange *x, uint64_t us);
void plugin_timer_cancel(struct plugin_timer *t);

#endif
