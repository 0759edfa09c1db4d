/*
 * publisher.h - pushes every version of the store to every data plane (protocol gwsync/1,
 * proto/README.md).
 *
 *     publisher_start(&options, store, nodes, &p, &e);
 *     ...                       // from here on each commit is pushed within milliseconds
 *     publisher_stop(&p);       // tells the peers to go elsewhere, closes
 *
 * One thread owns a cursor per peer, never a queue: what a peer lacks is read from the
 * store's change log when the peer is ready for it, encoded once, and shared by all peers
 * that stand at the same version. A second thread builds full snapshots. Neither the admin
 * API's nor the store's threads ever wait for a peer.
 */
#ifndef CONTROLPLANE_PUBLISHER_H
#define CONTROLPLANE_PUBLISHER_H

#include "controlplane/nodes.h"
#include "controlplane/store.h"

struct publisher;

struct publisher_options {
    const char *listen;    /* "tls+tcp://0.0.0.0:8005" and "ipc:///path"; several with commas */
    const char *ca_file;   /* PEM, of the cluster; only needed with tls */
    const char *cert_file;
    const char *key_file;
    const char *peers;     /* other control planes' URLs for the data planes, commas; or NULL */

    /* 0 takes the default behind it */
    unsigned heartbeat_ms;   /* 5000; three missed mean dead */
    unsigned first_frame_ms; /* 5000; from accept to hello */
    unsigned send_ms;        /* 20000; for one frame to leave */
    unsigned batch_ms;       /* 2; how long a burst of commits is gathered */
    unsigned max_full;       /* 32; full snapshots under way at once, the rest wait in turn */
    size_t max_peers;        /* 4096; further connections are closed */
};

struct publisher_status {
    uint64_t version;        /* newest pushed */
    size_t peers;            /* past the hello */
    uint64_t deltas_built, fulls_built, frames_sent, bytes_sent;
    uint64_t refused;        /* connections closed before their hello was accepted */
};

/*
 * Binds the listeners and starts the threads. store and nodes are borrowed and outlive the
 * publisher, which takes the store's commit hook. Blocks on DNS and disk only.
 */
int publisher_start(const struct publisher_options *opt, struct store *store, struct nodes *nodes,
                    struct publisher **out, struct err *e) WEIR_MUSTCHECK;
void publisher_stop(struct publisher **p); /* a second at most */

/* Reads the certificate files again: new connections use them, old ones go on. */
int publisher_reload_certificates(struct publisher *p, struct err *e) WEIR_MUSTCHECK;

/* The port of the tls+tcp listener; that of the last one when there are several. */
unsigned publisher_port(const struct publisher *p);

struct publisher_status publisher_status(struct publisher *p); /* any thread */

#endif
