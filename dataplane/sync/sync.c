#include "dataplane/sync/sync.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/checks.h"
#include "common/clock.h"
#include "common/entities.h"
#include "common/log.h"
#include "common/rand.h"
#include "dataplane/sync/cache.h"
#include "dataplane/sync/records.h"
#include "proto/link.h"

#define PROTOCOL      1u
#define URLS_MAX      16u
#define FIRST_MS      5000u
#define SEND_MS       20000u
#define WAIT_MS       5000u /* on a control plane that is older than we are, if there are others */
#define ACK_EVERY     4u    /* pieces; the control plane's window is 8 */
#define TRANSFER_MAX  (4ull << 30)
#define SAVE_MS       5000u /* between two attempts to get on disk what is not there */
#define RECENT        64u   /* applied versions whose hash a late report may need */

enum transfer_kind { NO_TRANSFER, FULL, DELTA };

/* Pieces of a transfer until the last has come. */
struct incoming {
    enum transfer_kind kind;
    uint64_t from, to;
    uint32_t pieces;
    struct sbuf list;
};

struct sync {
    struct sync_options opt;
    struct sync_sink sink;
    char *urls[URLS_MAX];
    size_t n_urls, url; /* url: the one in use, or to be tried next */
    struct tls_identity *identity;
    struct link_hub *hub;
    struct cache *cache;
    pthread_t thread;
    _Atomic bool stop;

    /* the sync thread's */
    struct link *link;
    bool welcomed, told_why; /* told_why: last_error says more than how the link ended */
    unsigned attempts;
    unsigned beat_ms; /* agreed on with the control plane */
    uint64_t redial_us, status_us, leave_us, save_us; /* mono; 0: none */
    struct records *records;
    bool have, in_doubt; /* in_doubt: our state did not lead where a delta should */
    struct cache_state held;       /* what records hold */
    struct uuid their_cluster;     /* of the welcome */
    uint64_t their_epoch;
    struct incoming in;
    unsigned full_failures;
    struct {
        uint64_t version;
        struct state_hash hash;
    } recent[RECENT];
    unsigned recent_at;

    pthread_mutex_t lock;
    struct sync_state state; /* what sync_state shows */
    bool reported;           /* a report waits to be sent */
    uint64_t report_version;
    uint32_t report_us;
};

/* ---- what is told to the outside ---- */

static void note_error(struct sync *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    snprintf(s->state.last_error, sizeof(s->state.last_error), "%.511s", text);
    /* cut to fit, it may end within a character */
    s->state.last_error[utf8_invalid_at(str_of(s->state.last_error))] = '\0';
    pthread_mutex_unlock(&s->lock);
}

static void note_applied(struct sync *s, bool full, bool from_cache)
{
    s->recent[s->recent_at % RECENT].version = s->held.version;
    s->recent[s->recent_at++ % RECENT].hash = s->held.hash;
    pthread_mutex_lock(&s->lock);
    s->state.cluster = s->held.cluster;
    s->state.epoch = s->held.epoch;
    s->state.version = s->held.version;
    s->state.hash = s->held.hash;
    s->state.from_cache = from_cache;
    if (!from_cache) {
        s->state.fulls += full;
        s->state.deltas += !full;
        s->state.last_error[0] = '\0';
    }
    if (s->state.head_version < s->held.version)
        s->state.head_version = s->held.version;
    pthread_mutex_unlock(&s->lock);
}

static void note_failure(struct sync *s)
{
    pthread_mutex_lock(&s->lock);
    s->state.failed_attempts++;
    pthread_mutex_unlock(&s->lock);
}

static void note_contact(struct sync *s, bool connected)
{
    pthread_mutex_lock(&s->lock);
    s->state.reconnects += connected && !s->state.connected;
    s->state.connected = connected;
    snprintf(s->state.control_plane, sizeof(s->state.control_plane), "%s", s->urls[s->url]);
    pthread_mutex_unlock(&s->lock);
}

void sync_state(struct sync *s, struct sync_state *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->state;
    pthread_mutex_unlock(&s->lock);
    out->saved_version = s->cache ? cache_saved_version(s->cache) : 0;
}

void sync_report_active(struct sync *s, uint64_t version, uint32_t compile_us)
{
    pthread_mutex_lock(&s->lock);
    s->reported = true;
    s->report_version = s->state.active_version = version;
    s->report_us = compile_us;
    pthread_mutex_unlock(&s->lock);
    link_hub_wake(s->hub);
}

/* ---- what is said to the control plane ---- */

static void send_hello(struct sync *s)
{
    Weir__Hello h;
    Weir__Frame f = WEIR__FRAME__INIT;
    unsigned char hash[32];
    char *version = xstrdup(WEIR_VERSION), *host = xstrdup(s->opt.hostname ? s->opt.hostname : "");
    char *build = xstrdup(s->opt.build ? s->opt.build : "");
    char **labels = xcalloc(s->opt.n_labels + 1, sizeof(char *));

    weir__hello__init(&h);
    h.protocol = PROTOCOL;
    h.node_id = frame_bytes(s->opt.node_id.b, 16);
    h.heartbeat_ms = s->opt.heartbeat_ms;
    h.hostname = host;
    h.version = version;
    h.build = build;
    h.labels = labels;
    for (size_t i = 0; i < s->opt.n_labels; i++)
        labels[h.n_labels++] = xstrdup(s->opt.labels[i]);
    if (s->have) {
        state_hash_bytes(&s->held.hash, hash);
        h.cluster = frame_bytes(s->held.cluster.b, 16);
        h.epoch = s->held.epoch;
        h.have_version = s->held.version;
        h.state_hash = frame_bytes(hash, sizeof(hash));
    }
    f.kind_case = WEIR__FRAME__KIND_HELLO;
    f.hello = &h;
    link_send_frame(s->link, &f);
    for (size_t i = 0; i < s->opt.n_labels; i++)
        free(labels[i]);
    free(labels);
    free(version);
    free(host);
    free(build);
}

static bool recent_hash(const struct sync *s, uint64_t version, unsigned char out[32])
{
    for (unsigned i = 0; i < RECENT && i < s->recent_at; i++)
        if (s->recent[i].version == version) {
            state_hash_bytes(&s->recent[i].hash, out);
            return true;
        }
    return false;
}

/* pieces: of the transfer that is arriving or was just applied; 0: only what is active. */
static void send_ack(struct sync *s, uint32_t pieces, uint64_t active, uint32_t compile_us)
{
    Weir__Ack a = WEIR__ACK__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    unsigned char hash[32];
    struct rusage use;

    a.version = s->held.version;
    a.pieces = pieces;
    if (active && recent_hash(s, active, hash)) {
        a.active = active;
        a.active_hash = frame_bytes(hash, sizeof(hash));
        a.compile_us = compile_us;
    }
    if (getrusage(RUSAGE_SELF, &use) == 0)
        a.rss_bytes = (uint64_t)use.ru_maxrss * 1024;
    f.kind_case = WEIR__FRAME__KIND_ACK;
    f.ack = &a;
    link_send_frame(s->link, &f);
}

static void send_status(struct sync *s)
{
    Weir__Status st = WEIR__STATUS__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    unsigned char hash[32];

    pthread_mutex_lock(&s->lock);
    st.active = s->state.active_version;
    st.rejected = s->state.rejected;
    pthread_mutex_unlock(&s->lock);
    if (recent_hash(s, st.active, hash))
        st.state_hash = frame_bytes(hash, sizeof(hash));
    if (s->identity)
        st.cert_expiry_s = tls_identity_expiry_s(s->identity);
    f.kind_case = WEIR__FRAME__KIND_STATUS;
    f.status = &st;
    link_send_frame(s->link, &f);
}

/* Sends what sync_report_active left. */
static void send_report(struct sync *s)
{
    bool reported;
    uint64_t version;
    uint32_t us;

    if (!s->welcomed)
        return;
    pthread_mutex_lock(&s->lock);
    reported = s->reported;
    version = s->report_version;
    us = s->report_us;
    s->reported = false;
    pthread_mutex_unlock(&s->lock);
    if (reported)
        send_ack(s, 0, version, us);
}

/* "routes.6f0e...: message" names the entity at fault. */
static bool entity_of(const struct err *e, uint8_t *type_out, struct uuid *id_out)
{
    struct str rest = str_of(e->path), type, id;
    const struct entity *ent;

    if (!str_next(&rest, '.', &type) || !str_next(&rest, '.', &id) || !uuid_parse(id, id_out) ||
        !(ent = entity_by_name(type)))
        return false;
    *type_out = ent->type;
    return true;
}

static void refuse(struct sync *s, bool again, bool want_full, const struct err *e)
{
    Weir__Nack n;
    Weir__Frame f = WEIR__FRAME__INIT;
    char reason[800];
    struct uuid id;
    uint8_t type = 0;

    snprintf(reason, sizeof(reason), "%s", err_text(e));
    for (char *p = reason; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    LOG_LIMITED(LOG_ERROR, "sync_refused", "version=%llu serving=%llu error=\"%s\"",
                (unsigned long long)s->in.to, (unsigned long long)s->held.version, reason);
    note_error(s, reason);
    pthread_mutex_lock(&s->lock);
    s->state.rejected++;
    pthread_mutex_unlock(&s->lock);
    weir__nack__init(&n);
    n.version = s->in.to;
    n.have_version = s->held.version;
    n.want_full = want_full;
    n.again = again;
    n.reason = reason;
    if (entity_of(e, &type, &id)) {
        n.entity_type = type;
        n.entity = frame_bytes(id.b, sizeof(id.b));
    }
    f.kind_case = WEIR__FRAME__KIND_NACK;
    f.nack = &n;
    link_send_frame(s->link, &f);
}

/* ---- applying ---- */

static void incoming_reset(struct sync *s)
{
    sbuf_free(&s->in.list);
    s->in = (struct incoming){0};
}

static void keep_in_cache(struct sync *s)
{
    struct sbuf all = {0};

    if (!s->cache || !cache_wants_full(s->cache))
        return;
    records_write(s->records, &all);
    cache_put_full(s->cache, &s->held, &all);
}

static int hash_check(const struct records *r, const struct state_hash *expected, struct err *e)
{
    char have[65], want[65];

    if (state_hash_eq(records_hash(r), expected))
        return 0;
    state_hash_hex(records_hash(r), have);
    state_hash_hex(expected, want);
    return err_set(e, ERR_PEER, "the state hash is %.16s, expected %.16s", have, want);
}

/*
 * A whole configuration, checked beside the one in use, which stays until the compiler has
 * taken the new one. Damage twice in a row: keep what we have and wait long.
 */
static void apply_full(struct sync *s, const struct state_hash *expected)
{
    struct records *fresh = records_new();
    struct records_undo undo = {0};
    struct err e = {0};
    bool sound = records_try(fresh, sbuf_str(&s->in.list), &undo, &e) == 0 &&
                 hash_check(fresh, expected, &e) == 0;
    uint32_t pieces = s->in.pieces;

    records_keep(&undo);
    if (!sound || s->sink.apply(s->sink.arg, true, sbuf_str(&s->in.list), s->in.to, &e) != 0) {
        records_free(&fresh);
        if (++s->full_failures >= 2)
            LOG(LOG_CRIT, "sync_full_failed", "times=%u serving=%llu error=\"%s\"",
                s->full_failures, (unsigned long long)s->held.version, err_text(&e));
        refuse(s, sound ? false : s->full_failures < 2,
               !s->have || s->in_doubt || !sound || !uuid_eq(&s->held.cluster, &s->their_cluster) ||
                   s->held.epoch != s->their_epoch,
               &e);
        if (!sound && s->full_failures >= 2) {
            s->attempts = 10; /* the longest wait */
            link_close_after_send(s->link, "two damaged snapshots in a row");
        }
        incoming_reset(s);
        return;
    }
    records_free(&s->records);
    s->records = fresh;
    s->have = true;
    s->in_doubt = false;
    s->full_failures = 0;
    s->held = (struct cache_state){.cluster = s->their_cluster,
                                   .epoch = s->their_epoch,
                                   .version = s->in.to,
                                   .hash = *expected};
    note_applied(s, true, false);
    send_ack(s, pieces, 0, 0);
    if (s->cache)
        cache_put_full(s->cache, &s->held, &s->in.list);
    incoming_reset(s);
}

static void apply_delta(struct sync *s, const struct state_hash *expected)
{
    struct records_undo undo = {0};
    struct err e = {0};
    uint32_t pieces = s->in.pieces;
    uint64_t from = s->held.version;

    if (!s->have || s->in.from != s->held.version || s->held.epoch != s->their_epoch ||
        !uuid_eq(&s->held.cluster, &s->their_cluster)) {
        err_set(&e, ERR_PEER, "a delta from version %llu, expected from %llu",
                (unsigned long long)s->in.from, (unsigned long long)s->held.version);
        refuse(s, true, !s->have || s->held.epoch != s->their_epoch, &e);
    } else if (records_try(s->records, sbuf_str(&s->in.list), &undo, &e) != 0) {
        refuse(s, true, true, &e);
    } else if (hash_check(s->records, expected, &e) != 0) {
        records_undo(s->records, &undo);
        s->in_doubt = true;
        refuse(s, true, true, &e);
    } else if (s->sink.apply(s->sink.arg, false, sbuf_str(&s->in.list), s->in.to, &e) != 0) {
        records_undo(s->records, &undo);
        refuse(s, false, false, &e);
    } else {
        records_keep(&undo);
        s->held.version = s->in.to;
        s->held.hash = *expected;
        note_applied(s, false, false);
        send_ack(s, pieces, 0, 0);
        if (s->cache)
            cache_put_delta(s->cache, &s->held, from, sbuf_str(&s->in.list));
        keep_in_cache(s);
    }
    incoming_reset(s);
}

/* One piece; the last one applies the whole. */
static void on_piece(struct sync *s, enum transfer_kind kind, uint64_t from, uint64_t to,
                     uint32_t seq, bool last, const ProtobufCBinaryData *records,
                     const ProtobufCBinaryData *hash_bytes)
{
    struct incoming *in = &s->in;
    struct state_hash hash = frame_hash(hash_bytes);

    if (seq == 0) {
        incoming_reset(s);
        in->kind = kind;
        in->from = from;
        in->to = to;
    }
    if (in->kind != kind || in->from != from || in->to != to || in->pieces != seq ||
        in->list.len + records->len > TRANSFER_MAX) {
        link_close(s->link, "piece %u of version %llu is out of order", seq,
                   (unsigned long long)to);
        incoming_reset(s);
        return;
    }
    sbuf_add(&in->list, records->len ? (const void *)records->data : "", records->len);
    in->pieces++;
    pthread_mutex_lock(&s->lock);
    if (s->state.head_version < to)
        s->state.head_version = to;
    pthread_mutex_unlock(&s->lock);
    if (last ? in->pieces > 1 : in->pieces % ACK_EVERY == 0)
        send_ack(s, in->pieces, 0, 0);
    if (last && kind == FULL)
        apply_full(s, &hash);
    else if (last)
        apply_delta(s, &hash);
}

/* ---- the connection ---- */

static void schedule_redial(struct sync *s, uint64_t in_ms)
{
    s->redial_us = clock_mono_us() + in_ms * 1000;
}

/* Full jitter: anywhere between nothing and a bound that doubles. */
static uint64_t backoff_ms(struct sync *s)
{
    uint64_t bound = (uint64_t)s->opt.backoff_min_ms << (s->attempts < 16 ? s->attempts : 16);

    if (bound > s->opt.backoff_max_ms)
        bound = s->opt.backoff_max_ms;
    return rand_below(bound + 1);
}

static void dial(struct sync *s)
{
    struct err e = {0};

    s->redial_us = 0;
    s->welcomed = false;
    if (link_dial(s->hub, s->urls[s->url], s->identity, &s->link, &e) != 0) {
        note_error(s, err_text(&e));
        note_failure(s);
        s->attempts++;
        s->url = (s->url + 1) % s->n_urls;
        schedule_redial(s, backoff_ms(s));
    }
}

static int check_welcome(struct sync *s, const Weir__Welcome *w, struct err *e)
{
    struct tls_peer peer;

    s->their_cluster = frame_uuid(&w->cluster);
    s->their_epoch = w->epoch;
    if (link_peer(s->link, &peer, e) != 0)
        return -1;
    if (link_is_tls(s->link) && strcmp(peer.role, "cp") != 0)
        return err_set(e, ERR_PEER, "its certificate is for the role '%s', expected cp", peer.role);
    if (s->have && !uuid_eq(&s->held.cluster, &s->their_cluster))
        return err_set(e, ERR_PEER, "it belongs to another cluster than our configuration");
    if (s->have && s->their_epoch < s->held.epoch)
        return err_set(e, ERR_PEER, "its epoch is %llu, ours is %llu already",
                       (unsigned long long)s->their_epoch, (unsigned long long)s->held.epoch);
    return 0;
}

/* An empty control plane has nothing to send; that its configuration is empty is news all the same. */
static void begin_empty(struct sync *s)
{
    struct err e = {0};

    if (s->sink.apply(s->sink.arg, true, STR(""), 0, &e) != 0)
        note_error(s, err_text(&e));
}

static void on_welcome(struct sync *s, const Weir__Welcome *w)
{
    struct err e = {0};

    if (check_welcome(s, w, &e) != 0) {
        LOG_LIMITED(LOG_ERROR, "sync_control_plane_refused", "url=%s error=\"%s\"",
                    s->urls[s->url], err_text(&e));
        note_error(s, err_text(&e)); /* it may have hung up first */
        s->told_why = true;
        s->attempts = 10;
        link_close(s->link, "%s", err_text(&e));
        return;
    }
    s->beat_ms = link_agree_heartbeat(s->link, w->heartbeat_ms);
    s->welcomed = true;
    s->attempts = 0;
    s->status_us = clock_mono_us() + s->beat_ms * 1000ull;
    s->leave_us = w->mode == WEIR__MODE__MODE_WAIT && s->n_urls > 1
                      ? clock_mono_us() + WAIT_MS * 1000ull
                      : 0;
    pthread_mutex_lock(&s->lock);
    s->state.head_version = w->head_version;
    s->state.last_error[0] = '\0';
    s->state.failed_attempts = 0;
    s->reported |= s->state.active_version != 0; /* the control plane may have forgotten */
    s->report_version = s->state.active_version;
    pthread_mutex_unlock(&s->lock);
    note_contact(s, true);
    if (!s->have && w->head_version == 0)
        begin_empty(s);
    LOG(LOG_NOTICE, "sync_connected", "url=%s have=%llu head=%llu", s->urls[s->url],
        (unsigned long long)s->held.version, (unsigned long long)w->head_version);
}

static void on_drain(struct sync *s, const Weir__Drain *d)
{
    uint64_t within = d->within_ms < 600000 ? d->within_ms : 600000;

    LOG(LOG_NOTICE, "sync_drain", "url=%s within_ms=%llu reason=\"%s\"", s->urls[s->url],
        (unsigned long long)within, d->reason);
    if (s->n_urls > 1)
        s->url = (s->url + 1) % s->n_urls;
    schedule_redial(s, rand_below(within + 1));
    link_close(s->link, "the control plane asked us to leave: %s", d->reason);
}

static void on_frame(struct sync *s, const Weir__Frame *f)
{
    if (!s->welcomed) {
        if (f->kind_case == WEIR__FRAME__KIND_WELCOME)
            on_welcome(s, f->welcome);
        else
            link_close(s->link, "its first frame is a %s, expected a welcome", frame_kind_word(f));
        return;
    }
    switch (f->kind_case) {
    case WEIR__FRAME__KIND_CHUNK:
        on_piece(s, FULL, 0, f->chunk->version, f->chunk->seq, f->chunk->last, &f->chunk->records,
                 &f->chunk->state_hash);
        break;
    case WEIR__FRAME__KIND_DELTA:
        on_piece(s, DELTA, f->delta->from, f->delta->to, f->delta->seq, f->delta->last,
                 &f->delta->records, &f->delta->state_hash);
        break;
    case WEIR__FRAME__KIND_DRAIN: on_drain(s, f->drain); break;
    default: link_close(s->link, "a %s is not for a data plane", frame_kind_word(f));
    }
}

static void on_closed(struct sync *s)
{
    bool was_good = s->welcomed;

    note_contact(s, false);
    if (!s->told_why)
        note_error(s, link_reason(s->link));
    s->told_why = false;
    LOG_LIMITED(was_good ? LOG_WARN : LOG_NOTICE, "sync_disconnected", "url=%s reason=\"%s\"",
                s->urls[s->url], link_reason(s->link));
    link_free(&s->link);
    incoming_reset(s);
    s->welcomed = false;
    s->leave_us = 0;
    if (s->redial_us)
        return; /* drained: the time is set */
    if (!was_good) {
        note_failure(s);
        s->url = (s->url + 1) % s->n_urls; /* else the last good one first */
    }
    schedule_redial(s, backoff_ms(s));
    s->attempts++;
}

static uint64_t next_deadline(const struct sync *s)
{
    uint64_t at = clock_mono_us() + 1000000;

    if (!s->link && s->redial_us < at)
        at = s->redial_us;
    if (s->welcomed && s->status_us < at)
        at = s->status_us;
    return at;
}

static void *sync_main(void *arg)
{
    struct sync *s = arg;
    struct link_event ev;

    while (!atomic_load(&s->stop)) {
        uint64_t now = clock_mono_us();

        if (!s->link && now >= s->redial_us)
            dial(s);
        send_report(s);
        if (s->welcomed && now >= s->status_us) {
            send_status(s);
            note_contact(s, true);
            s->status_us = now + s->beat_ms * 1000ull;
        }
        if (s->have && now >= s->save_us) { /* the disk may have been full */
            keep_in_cache(s);
            s->save_us = now + SAVE_MS * 1000ull;
        }
        if (s->link && s->leave_us && now >= s->leave_us) {
            s->leave_us = 0;
            s->welcomed = false; /* on to the next one */
            link_close(s->link, "it is older than our configuration");
        }
        if (!link_hub_wait(s->hub, next_deadline(s), &ev))
            continue;
        switch (ev.kind) {
        case LINK_OPEN: send_hello(s); break;
        case LINK_FRAME:
            on_frame(s, ev.frame);
            frame_free(&ev.frame);
            break;
        case LINK_CLOSED: on_closed(s); break;
        }
    }
    return NULL;
}

/* ---- life ---- */

static void load_cache(struct sync *s)
{
    struct records *r = NULL;
    struct cache_state state;
    struct sbuf list = {0};
    struct err e = {0};

    if (!s->opt.data_dir)
        return;
    s->cache = cache_open(s->opt.data_dir, s->opt.cache_ms);
    if (cache_load(s->cache, &state, &r) != 1)
        return;
    records_write(r, &list);
    if (s->sink.apply(s->sink.arg, true, sbuf_str(&list), state.version, &e) == 0) {
        records_free(&s->records);
        s->records = r;
        s->held = state;
        s->have = true;
        note_applied(s, true, true);
        LOG(LOG_NOTICE, "sync_from_cache", "version=%llu entities=%zu",
            (unsigned long long)state.version, records_count(r));
    } else {
        LOG(LOG_ERROR, "sync_cache_refused", "version=%llu error=\"%s\"",
            (unsigned long long)state.version, err_text(&e));
        note_error(s, err_text(&e));
        records_free(&r);
    }
    sbuf_free(&list);
}

static int read_urls(struct sync *s, struct err *e)
{
    struct str rest = str_of(s->opt.control_planes), item;
    bool tls;

    while (str_next(&rest, ',', &item)) {
        if (s->n_urls == URLS_MAX)
            return err_set(e, ERR_LIMIT, "more than %u control planes", URLS_MAX);
        s->urls[s->n_urls++] = str_dup(str_trim(item));
        if (link_url_check(s->urls[s->n_urls - 1], &tls, e) != 0)
            return -1;
        if (tls && !s->identity &&
            tls_identity_load(s->opt.ca_file, s->opt.cert_file, s->opt.key_file, &s->identity,
                              e) != 0)
            return -1;
    }
    return s->n_urls ? 0 : err_set(e, ERR_INVALID, "no control plane is named, expected a URL");
}

static void release(struct sync *s)
{
    link_hub_free(&s->hub);
    cache_close(&s->cache);
    tls_identity_free(&s->identity);
    records_free(&s->records);
    incoming_reset(s);
    for (size_t i = 0; i < s->n_urls; i++)
        free(s->urls[i]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static unsigned or_default(unsigned value, unsigned dflt)
{
    return value ? value : dflt;
}

int sync_start(const struct sync_options *opt, const struct sync_sink *sink, struct sync **out,
               struct err *e)
{
    struct sync *s = xcalloc(1, sizeof(*s));
    struct link_limits limits;

    s->opt = *opt;
    s->opt.heartbeat_ms = or_default(opt->heartbeat_ms, 5000);
    s->opt.backoff_min_ms = or_default(opt->backoff_min_ms, 100);
    s->opt.backoff_max_ms = or_default(opt->backoff_max_ms, 10000);
    s->opt.cache_ms = or_default(opt->cache_ms, 1000);
    s->sink = *sink;
    s->records = records_new();
    pthread_mutex_init(&s->lock, NULL);
    limits = (struct link_limits){.heartbeat_ms = s->opt.heartbeat_ms,
                                  .first_frame_ms = FIRST_MS,
                                  .send_ms = SEND_MS,
                                  .frame_max = FRAME_MAX_TO_DP,
                                  .max_links = 1};
    s->hub = link_hub_new(&limits);
    if (read_urls(s, e) != 0) {
        release(s);
        return -1;
    }
    *out = s; /* the sink may report before we return */
    load_cache(s);
    if (pthread_create(&s->thread, NULL, sync_main, s) != 0)
        WEIR_UNREACHABLE("no thread for the sync");
    return 0;
}

void sync_stop(struct sync **sp)
{
    struct sync *s = *sp;

    *sp = NULL;
    if (!s)
        return;
    atomic_store(&s->stop, true);
    link_hub_wake(s->hub);
    pthread_join(s->thread, NULL);
    release(s);
}

int sync_reload_certificates(struct sync *s, struct err *e)
{
    return s->identity ? tls_identity_reload(s->identity, e) : 0;
}
