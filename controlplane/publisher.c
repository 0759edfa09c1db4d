#include "controlplane/publisher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "controlplane/transfer.h"
#include "proto/link.h"

#define PROTOCOL       1u
#define WINDOW         8u     /* frames of one transfer on their way to a peer */
#define APPLY_MS       120000u /* from the last piece to applied */
#define SNAPSHOT_LAG   1000u  /* versions a kept snapshot may be behind and still be handed out */
#define KEEP_MS        10000u /* a snapshot nobody needs any more: nodes often come in crowds */
#define RETRY_MS       1000u  /* after the store failed us */
#define AGAIN_MAX_MS   30000u /* longest pause before a peer that refuses all is sent more */

enum peer_state {
    PEER_IDLE,    /* nothing under way; cursor says what it has */
    PEER_QUEUED,  /* waits for its turn at a full snapshot */
    PEER_SENDING, /* xfer's pieces are on their way */
    PEER_APPLYING /* all pieces have arrived, target not applied yet */
};

struct peer {
    struct peer *prev, *next;
    struct peer *queue_next;
    struct link *link;
    struct uuid node;
    uint64_t session;
    enum peer_state state;
    uint64_t cursor;  /* version it has applied */
    bool want_full;   /* what it has is no base for a delta */
    uint64_t refused; /* not again before there is a newer one */
    unsigned again;      /* times in a row that it wanted the same once more */
    uint64_t not_before; /* mono: it gets nothing until then */
    struct transfer *xfer;
    size_t sent, acked;
    uint64_t target;      /* version under way */
    uint64_t progress_us; /* mono: the last sign of it */
};

struct publisher {
    struct publisher_options opt;
    struct store *store;
    struct nodes *nodes;
    struct tls_identity *identity;
    struct link_hub *hub;
    pthread_t push_thread, build_thread;
    _Atomic bool stop;
    _Atomic uint64_t committed;

    /* the push thread's */
    struct peer *peers, *queue, **queue_tail;
    size_t n_sending_full;
    uint64_t head, pushed_us, next_session, retry_us, checked_us;
    struct transfer *deltas;   /* of this head, by from */
    struct transfer *snapshot; /* kept while someone needs it, and a little longer */
    uint64_t snapshot_used_us;

    /* the builder's */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool wanted, building, built;
    struct transfer *result; /* NULL: it failed */

    _Atomic uint64_t stat_version, stat_deltas, stat_fulls, stat_frames, stat_bytes, stat_refused;
    _Atomic size_t stat_peers;
};

static void feed(struct publisher *p, struct peer *peer);

/* ---- peers ---- */

static const char *node_text(const struct peer *peer, char out[UUID_TEXT_LEN + 1])
{
    uuid_format(&peer->node, out);
    return out;
}

static void queue_remove(struct publisher *p, struct peer *peer)
{
    for (struct peer **at = &p->queue; *at; at = &(*at)->queue_next)
        if (*at == peer) {
            *at = peer->queue_next;
            if (!*at)
                p->queue_tail = at;
            return;
        }
}

/* Lets go of the transfer, whatever has become of it. */
static void drop_transfer(struct publisher *p, struct peer *peer)
{
    if (peer->state == PEER_QUEUED)
        queue_remove(p, peer);
    if (peer->xfer && peer->xfer->full)
        p->n_sending_full--;
    transfer_unref(&peer->xfer);
    peer->state = PEER_IDLE;
}

static void peer_free(struct publisher *p, struct peer *peer)
{
    drop_transfer(p, peer);
    if (peer->prev)
        peer->prev->next = peer->next;
    else
        p->peers = peer->next;
    if (peer->next)
        peer->next->prev = peer->prev;
    atomic_fetch_sub(&p->stat_peers, 1);
    free(peer);
}

/* ---- sending ---- */

static void fill_window(struct publisher *p, struct peer *peer)
{
    struct transfer *t = peer->xfer;

    while (peer->sent < t->n && peer->sent - peer->acked < WINDOW) {
        atomic_fetch_add_explicit(&p->stat_frames, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->stat_bytes, t->frames[peer->sent]->len, memory_order_relaxed);
        if (link_send(peer->link, t->frames[peer->sent]) != 0) {
            link_close(peer->link, "its send queue is full");
            return;
        }
        peer->sent++;
    }
}

static void start_transfer(struct publisher *p, struct peer *peer, struct transfer *t)
{
    t->refs++;
    peer->xfer = t;
    peer->target = t->to;
    peer->sent = peer->acked = 0;
    peer->state = PEER_SENDING;
    peer->progress_us = clock_mono_us();
    if (t->full)
        p->n_sending_full++;
    fill_window(p, peer);
}

/* The delta of this head for peers that stand at from; NULL: e, or there is none. */
static int delta_from(struct publisher *p, uint64_t from, struct transfer **out)
{
    struct err e = {0};
    int rc;

    for (*out = p->deltas; *out; *out = (*out)->next)
        if ((*out)->from == from)
            return 1;
    rc = transfer_delta(p->store, from, out, &e);
    if (rc < 0) {
        LOG_LIMITED(LOG_ERROR, "push_delta_failed", "from=%llu error=\"%s\"",
                    (unsigned long long)from, err_text(&e));
        p->retry_us = clock_mono_us() + RETRY_MS * 1000ull;
    }
    if (rc == 1) {
        (*out)->next = p->deltas;
        p->deltas = *out;
        atomic_fetch_add_explicit(&p->stat_deltas, 1, memory_order_relaxed);
    }
    return rc;
}

static void drop_deltas(struct publisher *p)
{
    for (struct transfer *t = p->deltas, *next; t; t = next) {
        next = t->next;
        t->next = NULL;
        transfer_unref(&t);
    }
    p->deltas = NULL;
}

static void ask_for_snapshot(struct publisher *p)
{
    pthread_mutex_lock(&p->lock);
    if (!p->building && !p->built) {
        p->wanted = true;
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
}

/* Takes what the builder made. */
static void collect_snapshot(struct publisher *p)
{
    struct transfer *t = NULL;
    bool built;

    pthread_mutex_lock(&p->lock);
    built = p->built;
    if (built) {
        t = p->result;
        p->result = NULL;
        p->built = false;
    }
    pthread_mutex_unlock(&p->lock);
    if (!built)
        return;
    if (!t) {
        p->retry_us = clock_mono_us() + RETRY_MS * 1000ull;
        return;
    }
    transfer_unref(&p->snapshot);
    p->snapshot = t;
    p->snapshot_used_us = clock_mono_us();
}

/* Whether the kept snapshot will do: it must not take the peer back to an older version. */
static bool fits(const struct publisher *p, const struct peer *peer)
{
    uint64_t to = p->snapshot ? p->snapshot->to : 0;

    return p->snapshot && to + SNAPSHOT_LAG >= p->head && !(peer->refused && to <= peer->refused) &&
           (to >= peer->cursor || to >= p->head);
}

/* Hands the snapshot to those whose turn has come; has one made when there is none. */
static void serve_queue(struct publisher *p)
{
    collect_snapshot(p);
    while (p->queue && p->n_sending_full < p->opt.max_full) {
        struct peer *peer = p->queue;

        if (!fits(p, peer)) {
            if (clock_mono_us() >= p->retry_us)
                ask_for_snapshot(p);
            return;
        }
        drop_transfer(p, peer);
        start_transfer(p, peer, p->snapshot);
    }
    if (p->queue || p->n_sending_full > 0)
        p->snapshot_used_us = clock_mono_us();
    else if (p->snapshot && clock_mono_us() > p->snapshot_used_us + KEEP_MS * 1000ull)
        transfer_unref(&p->snapshot);
}

static void queue_for_full(struct publisher *p, struct peer *peer)
{
    peer->state = PEER_QUEUED;
    peer->queue_next = NULL;
    *p->queue_tail = peer;
    p->queue_tail = &peer->queue_next;
}

/* Starts what the peer lacks, if it lacks something and nothing is under way. */
static void feed(struct publisher *p, struct peer *peer)
{
    struct transfer *t = NULL;
    int rc = 0;

    if (peer->state != PEER_IDLE || (peer->refused && p->head <= peer->refused) ||
        clock_mono_us() < peer->not_before)
        return; /* look_after comes back to those that wait */
    if (!peer->want_full && peer->cursor >= p->head)
        return;
    if (!peer->want_full)
        rc = delta_from(p, peer->cursor, &t);
    if (rc == 1)
        start_transfer(p, peer, t);
    else if (rc == 0)
        queue_for_full(p, peer);
    /* -1: the next round tries again */
}

static void feed_all(struct publisher *p)
{
    for (struct peer *peer = p->peers; peer; peer = peer->next)
        feed(p, peer);
    serve_queue(p);
}

/* ---- what peers say ---- */

static void send_welcome(struct publisher *p, struct link *l, const struct store_info *info,
                         Weir__Mode mode)
{
    Weir__Welcome w = WEIR__WELCOME__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    struct str rest = str_of(p->opt.peers), url;
    char *urls[16];

    w.cluster = frame_bytes(info->cluster.b, sizeof(info->cluster.b));
    w.epoch = info->epoch;
    w.head_version = info->version;
    w.mode = mode;
    w.heartbeat_ms = p->opt.heartbeat_ms;
    w.peers = urls;
    while (w.n_peers < ARRAY_LEN(urls) && str_next(&rest, ',', &url))
        if ((url = str_trim(url)).len > 0)
            urls[w.n_peers++] = str_dup(url);
    f.kind_case = WEIR__FRAME__KIND_WELCOME;
    f.welcome = &w;
    link_send_frame(l, &f);
    for (size_t i = 0; i < w.n_peers; i++)
        free(urls[i]);
}

/* Asks the peer to leave and to come back within a random time, and closes. reason: a literal. */
static void send_drain(struct peer *peer, unsigned within_ms, const char *reason)
{
    Weir__Drain d;
    Weir__Frame f = WEIR__FRAME__INIT;
    char *text = xstrdup(reason);

    weir__drain__init(&d);
    d.within_ms = within_ms;
    d.reason = text;
    f.kind_case = WEIR__FRAME__KIND_DRAIN;
    f.drain = &d;
    link_send_frame(peer->link, &f);
    link_close_after_send(peer->link, reason);
    free(text);
}

/* Who is it, and may it? */
static int check_hello(struct link *l, const Weir__Hello *h, struct tls_peer *cert, struct err *e)
{
    struct uuid node = frame_uuid(&h->node_id), named;

    if (h->protocol != PROTOCOL)
        return err_set(e, ERR_PEER, "it speaks gwsync/%u, expected gwsync/%u", h->protocol,
                       PROTOCOL);
    if (link_peer(l, cert, e) != 0)
        return -1;
    if (link_is_tls(l) && strcmp(cert->role, "dp") != 0)
        return err_set(e, ERR_PEER, "its certificate is for the role '%s', expected dp",
                       cert->role);
    if (uuid_is_nil(&node))
        return err_set(e, ERR_PEER, "its node id is nil, expected a UUID");
    if (uuid_parse(str_of(cert->node), &named) && !uuid_eq(&named, &node))
        return err_set(e, ERR_PEER, "its certificate belongs to node %s", cert->node);
    return 0;
}

static Weir__Mode mode_for(const struct store_info *info, const Weir__Hello *h)
{
    struct uuid cluster = frame_uuid(&h->cluster);
    struct state_hash hash = frame_hash(&h->state_hash);

    if (uuid_is_nil(&cluster) || h->epoch < info->epoch)
        return WEIR__MODE__MODE_FULL;
    if (h->have_version > info->version)
        return WEIR__MODE__MODE_WAIT;
    if (h->have_version < info->version)
        return WEIR__MODE__MODE_DELTA;
    return state_hash_eq(&hash, &info->hash) ? WEIR__MODE__MODE_RESUME : WEIR__MODE__MODE_FULL;
}

static void register_node(struct publisher *p, const struct peer *peer, const Weir__Hello *h,
                          const struct tls_peer *cert)
{
    struct str labels[64];
    struct node_hello hello = {.id = peer->node,
                               .hostname = str_of(h->hostname),
                               .ip = str_of(link_remote(peer->link)),
                               .version = str_of(h->version),
                               .build = str_of(h->build),
                               .labels = labels,
                               .n_labels = h->n_labels,
                               .cert_expiry_s = cert->expiry_s,
                               .applied_version = h->have_version,
                               .applied_hash = frame_hash(&h->state_hash)};

    for (size_t i = 0; i < h->n_labels; i++)
        labels[i] = str_of(h->labels[i]);
    nodes_connected(p->nodes, &hello, peer->session);
}

/*
 * One connection per node: a half-dead old one must not hold up its successor. If the old one
 * is alive, two data planes go by one id, and would take turns as fast as they can connect:
 * what it is told keeps that slow.
 */
static void close_former(struct publisher *p, const struct peer *peer)
{
    for (struct peer *old = p->peers; old; old = old->next)
        if (old != peer && uuid_eq(&old->node, &peer->node))
            send_drain(old, 6 * p->opt.heartbeat_ms,
                       "a data plane with the same node id has connected");
}

static struct peer *add_peer(struct publisher *p, struct link *l, const Weir__Hello *h)
{
    struct peer *peer = xcalloc(1, sizeof(*peer));

    peer->link = l;
    peer->node = frame_uuid(&h->node_id);
    peer->session = ++p->next_session;
    peer->cursor = h->have_version;
    peer->next = p->peers;
    if (peer->next)
        peer->next->prev = peer;
    p->peers = peer;
    link_set_data(l, peer);
    atomic_fetch_add(&p->stat_peers, 1);
    return peer;
}

static void refuse(struct publisher *p, struct link *l, const char *why)
{
    atomic_fetch_add(&p->stat_refused, 1);
    LOG_LIMITED(LOG_WARN, "node_refused", "remote=%s reason=\"%s\"", link_remote(l), why);
}

static void on_hello(struct publisher *p, struct link *l, const Weir__Hello *h)
{
    static const char *const words[] = {"unspecified", "resume", "delta", "full", "wait"};
    struct store_info info = store_info(p->store);
    struct uuid cluster = frame_uuid(&h->cluster);
    struct tls_peer cert;
    struct err e = {0};
    struct peer *peer;
    Weir__Mode mode;
    char id[UUID_TEXT_LEN + 1];

    if (check_hello(l, h, &cert, &e) != 0) {
        refuse(p, l, err_text(&e));
        link_close(l, "%s", err_text(&e));
        return;
    }
    if (!uuid_is_nil(&cluster) && (!uuid_eq(&cluster, &info.cluster) || h->epoch > info.epoch)) {
        refuse(p, l, uuid_eq(&cluster, &info.cluster) ? "its configuration is of a later epoch"
                                                      : "it belongs to another cluster");
        send_welcome(p, l, &info, WEIR__MODE__MODE_WAIT); /* the node sees for itself */
        link_close_after_send(l, "refused");
        return;
    }
    mode = mode_for(&info, h);
    peer = add_peer(p, l, h);
    peer->want_full = mode == WEIR__MODE__MODE_FULL;
    link_agree_heartbeat(l, h->heartbeat_ms);
    close_former(p, peer);
    register_node(p, peer, h, &cert);
    send_welcome(p, l, &info, mode);
    LOG(LOG_NOTICE, "node_connected", "node=%s host=\"%s\" remote=%s version=%llu head=%llu mode=%s",
        node_text(peer, id), h->hostname, link_remote(l), (unsigned long long)h->have_version,
        (unsigned long long)info.version, words[mode]);
    feed(p, peer);
}

static void on_ack(struct publisher *p, struct peer *peer, const Weir__Ack *a)
{
    struct state_hash hash = frame_hash(&a->active_hash);

    if (a->active_hash.len == 32)
        nodes_applied(p->nodes, &peer->node, peer->session, a->active, &hash, a->compile_us);
    if (peer->state == PEER_SENDING && a->pieces > peer->acked) {
        if (a->pieces > peer->sent) {
            link_close(peer->link, "it acknowledges pieces that were not sent");
            return;
        }
        peer->acked = a->pieces;
        peer->progress_us = clock_mono_us();
        fill_window(p, peer);
        if (peer->acked == peer->xfer->n) { /* room for the next in the queue */
            drop_transfer(p, peer);
            peer->state = PEER_APPLYING;
        }
    }
    /* before that it speaks of what it had; pieces 0 tells what is active */
    if (peer->state == PEER_APPLYING && a->version == peer->target && a->pieces > 0) {
        peer->cursor = peer->target;
        peer->refused = 0;
        peer->again = 0;
        peer->want_full = false;
        drop_transfer(p, peer);
        feed(p, peer);
    }
}

/* The first time it is served at once; then ever later, so that its trouble is not ours. */
static unsigned again_pause_ms(unsigned times)
{
    unsigned ms = times < 8 ? RETRY_MS << (times - 2) : AGAIN_MAX_MS;

    return ms < AGAIN_MAX_MS ? ms : AGAIN_MAX_MS;
}

static void on_nack(struct publisher *p, struct peer *peer, const Weir__Nack *n)
{
    struct node_error error = {.reason = str_of(n->reason),
                               .entity_type = (uint8_t)n->entity_type,
                               .entity = frame_uuid(&n->entity),
                               .version = n->version};
    char id[UUID_TEXT_LEN + 1];

    LOG_LIMITED(LOG_WARN, "node_refuses", "node=%s version=%llu have=%llu reason=\"%s\"",
                node_text(peer, id), (unsigned long long)n->version,
                (unsigned long long)n->have_version, n->reason);
    nodes_failed(p->nodes, &peer->node, peer->session, &error);
    drop_transfer(p, peer);
    peer->cursor = n->have_version;
    peer->want_full = n->want_full;
    peer->refused = n->again ? 0 : n->version;
    if (n->again && ++peer->again > 1)
        peer->not_before = clock_mono_us() + again_pause_ms(peer->again) * 1000ull;
    feed(p, peer);
}

/* A version number that two histories share, after a backup say, shows by its hash alone. */
static void on_status(struct publisher *p, struct peer *peer, uint64_t active,
                      const struct state_hash *hash)
{
    struct store_info info = store_info(p->store);

    nodes_applied(p->nodes, &peer->node, peer->session, active, hash, 0);
    if (peer->state != PEER_IDLE || active != info.version || peer->cursor != info.version ||
        state_hash_eq(hash, &info.hash))
        return;
    peer->want_full = true;
    feed(p, peer);
}

static void on_frame(struct publisher *p, struct link *l, const Weir__Frame *f)
{
    struct peer *peer = link_data(l);
    struct state_hash hash;

    if (!peer && f->kind_case == WEIR__FRAME__KIND_HELLO) {
        on_hello(p, l, f->hello);
        return;
    }
    if (!peer) {
        refuse(p, l, "its first frame is not a hello");
        link_close(l, "its first frame is not a hello");
        return;
    }
    nodes_seen(p->nodes, &peer->node, peer->session);
    switch (f->kind_case) {
    case WEIR__FRAME__KIND_ACK: on_ack(p, peer, f->ack); break;
    case WEIR__FRAME__KIND_NACK: on_nack(p, peer, f->nack); break;
    case WEIR__FRAME__KIND_STATUS:
        hash = frame_hash(&f->status->state_hash);
        if (f->status->state_hash.len == 32)
            on_status(p, peer, f->status->active, &hash);
        break;
    default: link_close(l, "a %s is not for a control plane", frame_kind_word(f));
    }
}

static void on_closed(struct publisher *p, struct link *l)
{
    struct peer *peer = link_data(l);
    char id[UUID_TEXT_LEN + 1];

    if (peer) {
        LOG(LOG_NOTICE, "node_disconnected", "node=%s reason=\"%s\"", node_text(peer, id),
            link_reason(l));
        nodes_disconnected(p->nodes, &peer->node, peer->session);
        peer_free(p, peer);
    } else if (!atomic_load(&p->stop)) {
        refuse(p, l, link_reason(l));
    }
    link_free(&l);
}

/* ---- the push thread ---- */

/* Once a second: peers whose transfer does not move, and what the store failed to give. */
static void look_after(struct publisher *p, uint64_t now)
{
    for (struct peer *peer = p->peers; peer; peer = peer->next) {
        uint64_t limit = peer->state == PEER_APPLYING ? APPLY_MS : p->opt.send_ms;

        if ((peer->state == PEER_SENDING || peer->state == PEER_APPLYING) &&
            now > peer->progress_us + limit * 1000ull)
            link_close(peer->link, "no acknowledgement within %llu ms", (unsigned long long)limit);
    }
    if (now >= p->retry_us)
        feed_all(p);
    p->checked_us = now;
}

/* A burst of commits becomes one delta: at once when idle, else after the batch window. */
static uint64_t push_commits(struct publisher *p, uint64_t now)
{
    uint64_t committed = atomic_load(&p->committed);
    uint64_t due = p->pushed_us + p->opt.batch_ms * 1000ull;

    if (committed <= p->head)
        return 0;
    if (now < due)
        return due;
    drop_deltas(p);
    p->head = committed;
    p->pushed_us = now;
    atomic_store(&p->stat_version, committed);
    feed_all(p);
    return 0;
}

static void handle(struct publisher *p, struct link_event *ev)
{
    if (ev->kind == LINK_FRAME) {
        on_frame(p, ev->link, ev->frame);
        frame_free(&ev->frame);
    } else if (ev->kind == LINK_CLOSED) {
        on_closed(p, ev->link);
    }
}

static void *push_main(void *arg)
{
    struct publisher *p = arg;
    struct link_event ev;
    uint64_t until;

    while (!atomic_load(&p->stop)) {
        uint64_t now = clock_mono_us(), due = push_commits(p, now);

        if (now >= p->checked_us + 1000000)
            look_after(p, now);
        serve_queue(p);
        if (link_hub_wait(p->hub, due ? due : now + 500000, &ev))
            handle(p, &ev);
    }
    for (struct peer *peer = p->peers; peer; peer = peer->next)
        send_drain(peer, 500 + 3 * (unsigned)atomic_load(&p->stat_peers),
                   "the control plane stops");
    until = clock_mono_us() + 1000000;
    while (p->peers && clock_mono_us() < until)
        if (link_hub_wait(p->hub, until, &ev))
            handle(p, &ev);
    for (struct peer *peer = p->peers, *next; peer; peer = next) {
        next = peer->next;
        nodes_disconnected(p->nodes, &peer->node, peer->session);
        peer_free(p, peer);
    }
    return NULL;
}

static void *build_main(void *arg)
{
    struct publisher *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!atomic_load(&p->stop)) {
        struct transfer *t = NULL;
        struct err e = {0};

        if (!p->wanted) {
            pthread_cond_wait(&p->wake, &p->lock);
            continue;
        }
        p->wanted = false;
        p->building = true;
        pthread_mutex_unlock(&p->lock);
        if (transfer_full(p->store, &t, &e) != 0)
            LOG_LIMITED(LOG_ERROR, "push_snapshot_failed", "error=\"%s\"", err_text(&e));
        else
            atomic_fetch_add(&p->stat_fulls, 1);
        pthread_mutex_lock(&p->lock);
        p->result = t;
        p->building = false;
        p->built = true;
        pthread_mutex_unlock(&p->lock);
        link_hub_wake(p->hub);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void on_commit(void *arg, uint64_t version)
{
    struct publisher *p = arg;

    nodes_head(p->nodes, version); /* before the write is acknowledged */
    atomic_store(&p->committed, version);
    link_hub_wake(p->hub);
}

static int do_nothing(struct store_job *job, struct txn *t, struct problem *problem)
{
    (void)job, (void)t, (void)problem;
    return 0;
}

/* Once a job of ours is through the writer's thread, no call of the old hook is under way. */
static void let_go_of_hook(struct store *s)
{
    struct store_job job = {.run = do_nothing};

    store_on_commit(s, NULL, NULL);
    store_run(s, &job);
    problem_free(&job.problem);
}

/* ---- life ---- */

static unsigned or_default(unsigned value, unsigned dflt)
{
    return value ? value : dflt;
}

static int listen_all(struct publisher *p, struct err *e)
{
    struct str rest = str_of(p->opt.listen), item;
    bool any = false, tls;

    while (str_next(&rest, ',', &item)) {
        char *url;
        int rc;

        if (str_trim(item).len == 0)
            continue;
        url = str_dup(str_trim(item));
        rc = link_url_check(url, &tls, e);
        if (rc == 0 && tls && !p->identity)
            rc = tls_identity_load(p->opt.ca_file, p->opt.cert_file, p->opt.key_file, &p->identity,
                                   e);
        if (rc == 0)
            rc = link_listen(p->hub, url, p->identity, e);
        free(url);
        if (rc != 0)
            return -1;
        any = true;
    }
    return any ? 0 : err_set(e, ERR_INVALID, "no address to listen on for data planes");
}

static void release(struct publisher *p)
{
    link_hub_free(&p->hub);
    tls_identity_free(&p->identity);
    drop_deltas(p);
    transfer_unref(&p->snapshot);
    transfer_unref(&p->result);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int publisher_start(const struct publisher_options *opt, struct store *store, struct nodes *nodes,
                    struct publisher **out, struct err *e)
{
    struct publisher *p = xcalloc(1, sizeof(*p));
    struct link_limits limits;

    *out = NULL;
    p->opt = *opt;
    p->opt.heartbeat_ms = or_default(opt->heartbeat_ms, 5000);
    p->opt.first_frame_ms = or_default(opt->first_frame_ms, 5000);
    p->opt.send_ms = or_default(opt->send_ms, 20000);
    p->opt.batch_ms = or_default(opt->batch_ms, 2);
    p->opt.max_full = or_default(opt->max_full, 32);
    p->opt.max_peers = opt->max_peers ? opt->max_peers : 4096;
    p->store = store;
    p->nodes = nodes;
    p->queue_tail = &p->queue;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    limits = (struct link_limits){.heartbeat_ms = p->opt.heartbeat_ms,
                                  .first_frame_ms = p->opt.first_frame_ms,
                                  .send_ms = p->opt.send_ms,
                                  .frame_max = FRAME_MAX_TO_CP,
                                  .max_links = p->opt.max_peers};
    p->hub = link_hub_new(&limits);
    store_on_commit(store, on_commit, p);
    p->head = store_info(store).version;
    atomic_store(&p->stat_version, p->head);
    nodes_head(nodes, p->head);
    if (listen_all(p, e) != 0) {
        let_go_of_hook(store);
        release(p);
        return -1;
    }
    if (pthread_create(&p->build_thread, NULL, build_main, p) != 0 ||
        pthread_create(&p->push_thread, NULL, push_main, p) != 0)
        WEIR_UNREACHABLE("no thread for the publisher");
    *out = p;
    return 0;
}

void publisher_stop(struct publisher **pp)
{
    struct publisher *p = *pp;

    *pp = NULL;
    if (!p)
        return;
    let_go_of_hook(p->store);
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    link_hub_wake(p->hub);
    pthread_join(p->push_thread, NULL);
    pthread_join(p->build_thread, NULL);
    release(p);
}

int publisher_reload_certificates(struct publisher *p, struct err *e)
{
    return p->identity ? tls_identity_reload(p->identity, e) : 0;
}

unsigned publisher_port(const struct publisher *p)
{
    return link_listen_port(p->hub);
}

struct publisher_status publisher_status(struct publisher *p)
{
    return (struct publisher_status){.version = atomic_load(&p->stat_version),
                                     .peers = atomic_load(&p->stat_peers),
                                     .deltas_built = atomic_load(&p->stat_deltas),
                                     .fulls_built = atomic_load(&p->stat_fulls),
                                     .frames_sent = atomic_load(&p->stat_frames),
                                     .bytes_sent = atomic_load(&p->stat_bytes),
                                     .refused = atomic_load(&p->stat_refused)};
}
