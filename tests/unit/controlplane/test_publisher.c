/*
 * The publisher over real TLS sockets, against data planes played by the test: who is let
 * in, what each is sent, and that one peer's trouble is not another's.
 */
#include "test_store_fixture.h"

#include "common/clock.h"
#include "common/pki.h"
#include "controlplane/publisher.h"
#include "proto/link.h"

#define LONG_MS 60000u

static char certs[] = "/tmp/weir-pub-XXXXXX";
/* Long enough that a busy machine under a sanitizer is not taken for a dead peer. */
#if defined(__SANITIZE_THREAD__)
#define HEARTBEAT_MS 6000
#else
#define HEARTBEAT_MS 1500
#endif

static const struct link_limits limits = {.heartbeat_ms = HEARTBEAT_MS,
                                          .first_frame_ms = 20000,
                                          .send_ms = 20000,
                                          .frame_max = FRAME_MAX_TO_DP,
                                          .max_links = 10};

static const char *cert_path(const char *sub, const char *name)
{
    static char bufs[6][256];
    static unsigned at;
    char *b = bufs[at++ % 6];

    snprintf(b, sizeof(bufs[0]), "%s/%s%s", certs, sub, name);
    return b;
}

static int make_certs(void **state)
{
    struct pki_request req = {0};
    struct err e = {0};

    (void)state;
    return mkdtemp(certs) && pki_make_cluster(cert_path("ours", ""), &req, &e) == 0 &&
                   pki_make_cluster(cert_path("theirs", ""), &req, &e) == 0
               ? 0
               : -1;
}

static int remove_certs(void **state)
{
    char cmd[128];

    (void)state;
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", certs);
    return system(cmd);
}

static struct nodes *nodes;
static struct publisher *pub;

static void publish(struct fixture *f)
{
    struct publisher_options o = {.listen = "tls+tcp://127.0.0.1:0",
                                  .ca_file = cert_path("ours", "/ca.crt"),
                                  .cert_file = cert_path("ours", "/cp.crt"),
                                  .key_file = cert_path("ours", "/cp.key"),
                                  .peers = "tls+tcp://10.0.0.1:8005",
                                  .heartbeat_ms = HEARTBEAT_MS,
                                  .first_frame_ms = 20000}; /* the test itself plays all its peers in turn */
    struct err e = {0};

    if (publisher_start(&o, f->s, nodes, &pub, &e) != 0)
        fail_msg("%s", err_text(&e));
}

static int setup(void **state)
{
    nodes = nodes_new();
    fixture_setup(state);
    publish(*state);
    return 0;
}

static int teardown(void **state)
{
    publisher_stop(&pub);
    nodes_free(&nodes);
    return fixture_teardown(state);
}

/* ---- a data plane ---- */

struct item {
    struct uuid key;
    uint8_t type;
    struct str body; /* malloc */
};

struct dp {
    struct uuid id;
    struct link_hub *hub;
    struct link *link;
    bool closed, welcomed, refuses;
    Weir__Mode mode;
    unsigned fulls, deltas, frames;
    struct uuid cluster;
    uint64_t epoch, version;
    struct item *items;
    size_t n;
    struct state_hash hash;
};

static void dp_forget(struct dp *d)
{
    for (size_t i = 0; i < d->n; i++)
        free((void *)(uintptr_t)d->items[i].body.p);
    free(d->items);
    d->items = NULL;
    d->n = 0;
    d->hash = (struct state_hash){{0}};
}

static void dp_take(struct dp *d, struct str list)
{
    struct record r;
    struct err e = {0};

    while (record_next(&list, &r, &e) == 1) {
        size_t i = 0;

        while (i < d->n && !(d->items[i].type == r.type && uuid_eq(&d->items[i].key, &r.key)))
            i++;
        if (i < d->n) {
            state_hash_sub(&d->hash, r.type, &r.key, d->items[i].body);
            free((void *)(uintptr_t)d->items[i].body.p);
            d->items[i] = d->items[--d->n];
        }
        if (r.op == REC_DELETE)
            continue;
        d->items = xrealloc(d->items, (d->n + 1) * sizeof(*d->items));
        d->items[d->n++] =
            (struct item){r.key, r.type, str_n(str_dup(r.body), r.body.len)};
        state_hash_add(&d->hash, r.type, &r.key, r.body);
    }
    assert_int_equal(e.code, ERR_NONE);
}

static void dp_ack(struct dp *d, uint32_t pieces, bool active)
{
    Weir__Ack a = WEIR__ACK__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    unsigned char hash[32];

    a.version = d->version;
    a.pieces = pieces;
    if (active) {
        state_hash_bytes(&d->hash, hash);
        a.active = d->version;
        a.active_hash = frame_bytes(hash, 32);
        a.compile_us = 55;
    }
    f.kind_case = WEIR__FRAME__KIND_ACK;
    f.ack = &a;
    link_send_frame(d->link, &f);
}

static void dp_nack(struct dp *d, uint64_t version, bool again, bool want_full)
{
    Weir__Nack n;
    Weir__Frame f = WEIR__FRAME__INIT;
    char reason[] = "routes: expected better";

    weir__nack__init(&n);
    n.version = version;
    n.have_version = d->version;
    n.again = again;
    n.want_full = want_full;
    n.reason = reason;
    f.kind_case = WEIR__FRAME__KIND_NACK;
    f.nack = &n;
    link_send_frame(d->link, &f);
}

static void dp_hello(struct dp *d)
{
    Weir__Hello h;
    Weir__Frame f = WEIR__FRAME__INIT;
    unsigned char hash[32];
    char host[] = "edge", label[] = "zone:a", *labels[] = {label};

    weir__hello__init(&h);
    h.protocol = 1;
    h.node_id = frame_bytes(d->id.b, 16);
    h.hostname = host;
    h.labels = labels;
    h.n_labels = 1;
    if (!uuid_is_nil(&d->cluster)) {
        h.cluster = frame_bytes(d->cluster.b, 16);
        h.epoch = d->epoch;
        h.have_version = d->version;
        state_hash_bytes(&d->hash, hash);
        h.state_hash = frame_bytes(hash, 32);
    }
    f.kind_case = WEIR__FRAME__KIND_HELLO;
    f.hello = &h;
    link_send_frame(d->link, &f);
}

static void dp_applied(struct dp *d, uint64_t version, uint32_t pieces,
                       const ProtobufCBinaryData *hash_bytes)
{
    struct state_hash told = frame_hash(hash_bytes);

    d->version = version;
    assert_true(state_hash_eq(&told, &d->hash));
    dp_ack(d, pieces, false);
    dp_ack(d, 0, true);
}

static void dp_frame(struct dp *d, const Weir__Frame *f)
{
    d->frames++;
    switch (f->kind_case) {
    case WEIR__FRAME__KIND_WELCOME:
        d->welcomed = true;
        d->mode = f->welcome->mode;
        d->cluster = frame_uuid(&f->welcome->cluster);
        d->epoch = f->welcome->epoch;
        assert_int_equal(f->welcome->n_peers, 1);
        break;
    case WEIR__FRAME__KIND_CHUNK:
        if (f->chunk->seq == 0) {
            dp_forget(d);
            d->fulls++;
        }
        dp_take(d, str_n((const char *)f->chunk->records.data, f->chunk->records.len));
        if (f->chunk->last)
            dp_applied(d, f->chunk->version, f->chunk->seq + 1, &f->chunk->state_hash);
        else
            dp_ack(d, f->chunk->seq + 1, false);
        break;
    case WEIR__FRAME__KIND_DELTA:
        if (d->refuses) {
            dp_nack(d, f->delta->to, false, false);
            break;
        }
        assert_int_equal(f->delta->from, d->version);
        d->deltas += f->delta->seq == 0;
        dp_take(d, str_n((const char *)f->delta->records.data, f->delta->records.len));
        if (f->delta->last)
            dp_applied(d, f->delta->to, f->delta->seq + 1, &f->delta->state_hash);
        else
            dp_ack(d, f->delta->seq + 1, false);
        break;
    default: break;
    }
}

/* One event, if it comes in time. */
static void dp_step(struct dp *d, uint64_t until)
{
    struct link_event ev;

    if (!link_hub_wait(d->hub, until, &ev))
        return;
    if (ev.kind == LINK_OPEN)
        dp_hello(d);
    if (ev.kind == LINK_FRAME) {
        dp_frame(d, ev.frame);
        frame_free(&ev.frame);
    }
    if (ev.kind == LINK_CLOSED) {
        d->closed = true;
        d->link = NULL;
        link_free(&ev.link);
    }
}

#define DP_UNTIL(d, cond)                                                                          \
    do {                                                                                           \
        uint64_t until_ = clock_mono_us() + LONG_MS * 1000ull;                                     \
        while (!(cond) && clock_mono_us() < until_)                                                \
            dp_step(d, clock_mono_us() + 20000);                                                   \
        assert_true(cond);                                                                         \
    } while (0)

static void dp_dial(struct dp *d, const char *cluster, const char *node)
{
    char url[64], crt[64], key[64];
    struct tls_identity *id;
    struct err e = {0};

    snprintf(crt, sizeof(crt), "/%s.crt", node);
    snprintf(key, sizeof(key), "/%s.key", node);
    if (tls_identity_load(cert_path(cluster, "/ca.crt"), cert_path(cluster, crt),
                          cert_path(cluster, key), &id, &e) != 0)
        fail_msg("%s", err_text(&e));
    if (!d->hub)
        d->hub = link_hub_new(&limits);
    d->closed = d->welcomed = false;
    snprintf(url, sizeof(url), "tls+tcp://127.0.0.1:%u", publisher_port(pub));
    assert_int_equal(link_dial(d->hub, url, id, &d->link, &e), 0);
    tls_identity_free(&id);
}

static struct dp dp_new(unsigned n)
{
    struct dp d = {.id = uuid_n(77, n)};

    dp_dial(&d, "ours", "dp");
    return d;
}

static void dp_close(struct dp *d)
{
    link_hub_free(&d->hub);
    d->link = NULL;
}

static void dp_fini(struct dp *d)
{
    dp_close(d);
    dp_forget(d);
}

static uint64_t write_maker(struct fixture *f, unsigned n, const char *name)
{
    return must(f->s, OP_INSERT, &makers,
                json_pack("{s:s, s:s}", "id", id_n(1, n), "name", name));
}

static uint64_t write_many(struct fixture *f, unsigned from, unsigned count)
{
    uint64_t version = 0;
    char name[32];

    for (unsigned i = from; i < from + count; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        version = write_maker(f, i, name);
    }
    return version;
}

static void agrees(struct fixture *f, const struct dp *d)
{
    struct store_info info = store_info(f->s);

    assert_int_equal(d->version, info.version);
    assert_true(state_hash_eq(&d->hash, &info.hash));
}

static json_int_t row_int(const struct dp *d, const char *key)
{
    json_t *row = nodes_get(nodes, &d->id);
    json_int_t v = json_integer_value(json_object_get(row, key));

    assert_non_null(row);
    json_decref(row);
    return v;
}

static bool row_is(const struct dp *d, const char *key, json_type type)
{
    json_t *row = nodes_get(nodes, &d->id);
    bool is = json_typeof(json_object_get(row, key)) == type;

    json_decref(row);
    return is;
}

/* ---- what is sent ---- */

static void full_then_every_change(void **state)
{
    struct fixture *f = *state;
    struct dp d;
    json_t *rows;
    uint64_t v = write_many(f, 1, 3);

    d = dp_new(1);
    DP_UNTIL(&d, d.version == v);
    assert_int_equal(d.mode, WEIR__MODE__MODE_FULL);
    assert_int_equal(d.fulls, 1);
    agrees(f, &d);
    v = write_maker(f, 9, "nine");
    DP_UNTIL(&d, d.version == v);
    v = must_delete(f->s, &makers, uuid_n(1, 2));
    DP_UNTIL(&d, d.version == v);
    assert_int_equal(d.deltas, 2);
    assert_int_equal(d.fulls, 1);
    agrees(f, &d);
    DP_UNTIL(&d, row_int(&d, "applied_version") == (json_int_t)v);
    assert_int_equal(row_int(&d, "behind"), 0);
    assert_int_equal(row_int(&d, "compile_us"), 55);
    assert_true(row_is(&d, "connected", JSON_TRUE) && row_is(&d, "last_error", JSON_NULL));
    rows = nodes_list(nodes);
    assert_int_equal(json_array_size(rows), 1);
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(json_array_get(rows, 0), "labels"), "zone")),
                        "a");
    json_decref(rows);
    dp_close(&d);
    for (unsigned i = 0; i < 500 && row_is(&d, "connected", JSON_TRUE); i++)
        usleep(10000);
    assert_true(row_is(&d, "connected", JSON_FALSE)); /* gone, and still listed */
    dp_fini(&d);
}

static void empty_store_is_a_configuration(void **state)
{
    struct dp d = dp_new(1);

    DP_UNTIL(&d, d.fulls == 1);
    agrees(*state, &d);
    dp_fini(&d);
}

static void restart_resumes_without_a_full(void **state)
{
    struct fixture *f = *state;
    struct dp d = dp_new(1);
    uint64_t v = write_many(f, 1, 5);

    DP_UNTIL(&d, d.version == v);
    publisher_stop(&pub);
    DP_UNTIL(&d, d.closed);
    publish(f);
    d.fulls = d.deltas = 0;
    dp_dial(&d, "ours", "dp");
    DP_UNTIL(&d, d.welcomed);
    assert_int_equal(d.mode, WEIR__MODE__MODE_RESUME);
    v = write_maker(f, 20, "later");
    DP_UNTIL(&d, d.version == v);
    link_close(d.link, "away");
    DP_UNTIL(&d, d.closed);
    v = write_many(f, 30, 7);
    dp_dial(&d, "ours", "dp");
    DP_UNTIL(&d, d.version == v);
    assert_int_equal(d.mode, WEIR__MODE__MODE_DELTA);
    agrees(f, &d);
    assert_int_equal(d.fulls, 0);
    assert_int_equal(d.deltas, 2);
    assert_int_equal(publisher_status(pub).fulls_built, 0);
    dp_fini(&d);
}

static void a_log_that_ends_too_soon_means_full(void **state)
{
    struct fixture *f = *state;
    struct dp d = dp_new(1);
    uint64_t v = write_maker(f, 1, "one");

    DP_UNTIL(&d, d.version == v);
    dp_close(&d);
    publisher_stop(&pub);
    store_close(&f->s);
    f->log_rows_max = 4;
    fixture_open(f);
    publish(f);
    v = write_many(f, 10, 300); /* beyond the slack in trimming */
    d.fulls = d.deltas = 0;
    dp_dial(&d, "ours", "dp");
    DP_UNTIL(&d, d.version == v);
    assert_int_equal(d.fulls, 1);
    agrees(f, &d);
    dp_fini(&d);
}

static void wrong_hash_at_the_head_means_full(void **state)
{
    struct fixture *f = *state;
    struct dp d = dp_new(1);
    uint64_t v = write_many(f, 1, 2);

    DP_UNTIL(&d, d.version == v);
    link_close(d.link, "away");
    DP_UNTIL(&d, d.closed);
    d.hash.word[0] ^= 1;
    d.fulls = 0;
    dp_dial(&d, "ours", "dp");
    DP_UNTIL(&d, d.fulls == 1 && d.version == v);
    agrees(f, &d);
    dp_fini(&d);
}

static void many_share_one_delta(void **state)
{
    enum { N = 20 };
    struct fixture *f = *state;
    struct dp d[N];
    uint64_t v = write_maker(f, 1, "one"), built;

    for (unsigned i = 0; i < N; i++)
        d[i] = dp_new(i + 1);
    for (unsigned i = 0; i < N; i++)
        DP_UNTIL(&d[i], d[i].version == v);
    assert_int_equal(publisher_status(pub).fulls_built <= 2, 1);
    built = publisher_status(pub).deltas_built;
    v = write_maker(f, 2, "two");
    for (unsigned i = 0; i < N; i++)
        DP_UNTIL(&d[i], d[i].version == v);
    assert_int_equal(publisher_status(pub).deltas_built, built + 1);
    for (unsigned i = 0; i < N; i++)
        dp_fini(&d[i]);
}

static void large_snapshot_goes_in_pieces(void **state)
{
    struct fixture *f = *state;
    char *motto = xmalloc(60001), name[32];
    struct dp d;
    uint64_t v = 0;

    memset(motto, 'x', 60000);
    motto[60000] = '\0';
    for (unsigned i = 0; i < 45; i++) { /* 2.7 MB: more pieces than the window holds */
        snprintf(name, sizeof(name), "m%u", i);
        v = must(f->s, OP_INSERT, &makers,
                 json_pack("{s:s, s:s, s:[s]}", "id", id_n(1, i + 1), "name", name, "tags", motto));
    }
    d = dp_new(1);
    DP_UNTIL(&d, d.version == v);
    assert_true(d.frames > 9);
    agrees(f, &d);
    link_close(d.link, "away");
    DP_UNTIL(&d, d.closed);
    for (unsigned i = 0; i < 45; i++) { /* and a delta as large */
        snprintf(name, sizeof(name), "n%u", i);
        v = must(f->s, OP_INSERT, &makers,
                 json_pack("{s:s, s:s, s:[s]}", "id", id_n(1, i + 100), "name", name, "tags",
                           motto));
    }
    d.fulls = 0;
    dp_dial(&d, "ours", "dp");
    DP_UNTIL(&d, d.version == v);
    assert_int_equal(d.fulls, 0);
    agrees(f, &d);
    dp_fini(&d);
    free(motto);
}

/* ---- trouble ---- */

static void stuck_peer_costs_its_cursor(void **state)
{
    struct fixture *f = *state;
    struct dp good = dp_new(1), stuck = dp_new(2);
    uint64_t v = write_maker(f, 1, "one"), frames;
    unsigned taken;

    DP_UNTIL(&good, good.version == v);
    DP_UNTIL(&stuck, stuck.version == v);
    frames = publisher_status(pub).frames_sent;
    taken = good.deltas;
    for (unsigned i = 0; i < 100; i++) { /* stuck is not pumped: it acknowledges nothing */
        char name[16];

        snprintf(name, sizeof(name), "s%u", i);
        v = write_maker(f, 10 + i, name);
        DP_UNTIL(&good, good.version == v);
    }
    assert_int_equal(good.deltas - taken, 100);
    /* one delta in flight to the stuck one, no queue behind it */
    assert_in_range(publisher_status(pub).frames_sent - frames, 100, 101);
    taken = stuck.deltas;
    DP_UNTIL(&stuck, stuck.version == v);
    assert_in_range(stuck.deltas - taken, 1, 2); /* the rest came as one */
    agrees(f, &stuck);
    dp_fini(&good);
    dp_fini(&stuck);
}

static void refusal_is_shown_and_the_next_version_tried(void **state)
{
    struct fixture *f = *state;
    struct dp d = dp_new(1);
    uint64_t v = write_maker(f, 1, "one"), kept = v, refused;
    unsigned frames;

    DP_UNTIL(&d, d.version == v);
    d.refuses = true;
    refused = write_maker(f, 2, "two");
    DP_UNTIL(&d, row_is(&d, "last_error", JSON_OBJECT));
    assert_int_equal(row_int(&d, "behind"), refused - kept);
    frames = d.frames;
    for (int i = 0; i < 10; i++) /* and not again and again */
        dp_step(&d, clock_mono_us() + 10000);
    assert_int_equal(d.frames, frames);
    d.refuses = false;
    v = write_maker(f, 3, "three");
    DP_UNTIL(&d, d.version == v);
    agrees(f, &d);
    DP_UNTIL(&d, row_is(&d, "last_error", JSON_NULL));
    /* in doubt about itself it is given everything */
    d.fulls = 0;
    dp_nack(&d, v, true, true);
    DP_UNTIL(&d, d.fulls == 1 && d.version == v);
    agrees(f, &d);
    dp_fini(&d);
}

/* ---- who is let in ---- */

static void strangers_get_nothing(void **state)
{
    static const struct {
        const char *name, *cluster, *node;
        unsigned id;
        bool other_cluster, later_epoch;
        unsigned frames; /* the welcome that tells why */
    } cases[] = {
        {"foreign CA", "theirs", "dp", 1, false, false, 0},
        {"a control plane's certificate", "ours", "cp", 1, false, false, 0},
        {"a certificate of another node", "ours", "4d000000-0000-0000-0000-000000000063", 1, false,
         false, 0},
        {"other cluster", "ours", "dp", 1, true, false, 1},
        {"later epoch", "ours", "dp", 1, false, true, 1},
    };
    struct fixture *f = *state;
    struct dp good = dp_new(50);
    struct err e = {0};
    uint64_t v = write_maker(f, 1, "secret");

    assert_int_equal(pki_issue(cert_path("ours", ""), PKI_DP, cases[2].node, 0, &e), 0);
    DP_UNTIL(&good, good.version == v);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dp d = {.id = uuid_n(77, cases[i].id)};
        struct store_info info = store_info(f->s);
        uint64_t refused = publisher_status(pub).refused;

        if (cases[i].other_cluster || cases[i].later_epoch)
            d.cluster = cases[i].other_cluster ? uuid_n(1, 1) : info.cluster;
        d.epoch = info.epoch + cases[i].later_epoch;
        dp_dial(&d, cases[i].cluster, cases[i].node);
        DP_UNTIL(&d, d.closed);
        if (d.fulls + d.deltas > 0 || d.frames != cases[i].frames)
            fail_msg("%s: was sent %u frames", cases[i].name, d.frames);
        for (int t = 0; t < 500 && publisher_status(pub).refused == refused; t++)
            usleep(10000);
        if (publisher_status(pub).refused == refused)
            fail_msg("%s: not counted", cases[i].name);
        dp_fini(&d);
    }
    {
        struct dp named = {.id = uuid_n(0x4d, 0x63)}; /* the certificate's own */

        dp_dial(&named, "ours", cases[2].node);
        DP_UNTIL(&named, named.version == v);
        dp_fini(&named);
    }
    v = write_maker(f, 2, "two");
    DP_UNTIL(&good, good.version == v);
    dp_fini(&good);
}

static void younger_connection_of_a_node_wins(void **state)
{
    struct fixture *f = *state;
    struct dp old = dp_new(1), young;
    uint64_t v = write_maker(f, 1, "one");

    DP_UNTIL(&old, old.version == v);
    young = dp_new(1);
    DP_UNTIL(&young, young.version == v);
    DP_UNTIL(&old, old.closed);
    assert_true(row_is(&young, "connected", JSON_TRUE));
    v = write_maker(f, 2, "two");
    DP_UNTIL(&young, young.version == v);
    dp_fini(&old);
    dp_fini(&young);
}

static void bad_options_are_named(void **state)
{
    static const struct {
        const char *listen, *expected;
    } cases[] = {
        {"", "no address"},
        {"tcp://127.0.0.1:21060", "tls+tcp://HOST:PORT"},
        {"tls+tcp://127.0.0.1:0", "certificate"},
    };
    struct fixture *f = *state;
    struct publisher *p;
    struct err e = {0};

    publisher_stop(&pub);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct publisher_options o = {.listen = cases[i].listen};

        assert_int_equal(publisher_start(&o, f->s, nodes, &p, &e), -1);
        if (!strstr(err_text(&e), cases[i].expected))
            fail_msg("%s", err_text(&e));
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(full_then_every_change),
        T(empty_store_is_a_configuration),
        T(restart_resumes_without_a_full),
        T(a_log_that_ends_too_soon_means_full),
        T(wrong_hash_at_the_head_means_full),
        T(many_share_one_delta),
        T(large_snapshot_goes_in_pieces),
        T(stuck_peer_costs_its_cursor),
        T(refusal_is_shown_and_the_next_version_tried),
        T(strangers_get_nothing),
        T(younger_connection_of_a_node_wins),
        T(bad_options_are_named),
    };

    return cmocka_run_group_tests_name("publisher", tests, make_certs, remove_certs);
}
