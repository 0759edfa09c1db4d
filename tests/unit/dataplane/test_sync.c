/*
 * The data plane's end of gwsync/1 against a control plane played by the test, and its cache
 * on disk: nothing damaged, foreign or refused ever takes the place of a good configuration.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/rand.h"
#include "dataplane/sync/cache.h"
#include "dataplane/sync/records.h"
#include "dataplane/sync/sync.h"
#include "proto/link.h"

#define LONG_MS 60000u

/* ---- a configuration as both sides see it ---- */

static struct uuid id_of(unsigned n)
{
    struct uuid u = {{0}};

    memcpy(u.b, &n, sizeof(n));
    u.b[15] = 7;
    return u;
}

/* Appends a record and follows the hash; old: the body it replaces, or NULL. */
static void put(struct sbuf *list, struct state_hash *h, unsigned n, const char *old,
                const char *body)
{
    struct record r = {.op = body ? REC_PUT : REC_DELETE, .type = 1, .key = id_of(n)};

    if (old)
        state_hash_sub(h, 1, &r.key, str_of(old));
    if (body) {
        r.body = str_of(body);
        state_hash_add(h, 1, &r.key, r.body);
    }
    record_append(list, &r);
}

/* ---- the compiler, played ---- */

struct sink {
    pthread_mutex_t lock;
    struct sync *sync;
    unsigned fulls, deltas;
    uint64_t version;
    size_t bytes;
    bool refuse;
};

static int apply(void *arg, bool full, struct str records, uint64_t version, struct err *e)
{
    struct sink *k = arg;
    int rc = 0;

    pthread_mutex_lock(&k->lock);
    if (k->refuse) {
        rc = err_set(e, ERR_INVALID, "expected a path");
        err_in(e, "services.01000000-0000-0000-0000-000000000007");
    } else {
        k->fulls += full;
        k->deltas += !full;
        k->version = version;
        k->bytes = records.len;
    }
    pthread_mutex_unlock(&k->lock);
    return rc;
}

static struct sink sink_now(struct sink *k)
{
    struct sink copy;

    pthread_mutex_lock(&k->lock);
    copy = *k;
    pthread_mutex_unlock(&k->lock);
    return copy;
}

static void set_refuse(struct sink *k, bool refuse)
{
    pthread_mutex_lock(&k->lock);
    k->refuse = refuse;
    pthread_mutex_unlock(&k->lock);
}

/* ---- the control plane, played ---- */

struct fixture {
    char dir[64], url[128];
    struct link_hub *cp;
    struct link *link; /* to the data plane */
    struct uuid cluster;
    struct sink sink;
    struct sync *sync;
    Weir__Frame *frame; /* the last one awaited */
};

static bool is_kind(const Weir__Frame *f, Weir__Frame__KindCase kind)
{
    return f->kind_case == kind;
}

/* The next frame of a kind; others are passed over. NULL when none comes. */
static Weir__Frame *await(struct fixture *x, Weir__Frame__KindCase kind)
{
    uint64_t until = clock_mono_us() + LONG_MS * 1000ull;
    struct link_event ev;

    frame_free(&x->frame);
    while (clock_mono_us() < until) {
        if (!link_hub_wait(x->cp, until, &ev))
            continue;
        if (ev.kind == LINK_CLOSED) {
            if (ev.link == x->link)
                x->link = NULL;
            link_free(&ev.link);
        } else if (is_kind(ev.frame, kind)) {
            x->link = ev.link;
            return x->frame = ev.frame;
        } else {
            frame_free(&ev.frame);
        }
    }
    return NULL;
}

static const Weir__Hello *await_hello(struct fixture *x)
{
    Weir__Frame *f = await(x, WEIR__FRAME__KIND_HELLO);

    assert_non_null(f);
    return f->hello;
}

static const Weir__Nack *await_nack(struct fixture *x)
{
    Weir__Frame *f = await(x, WEIR__FRAME__KIND_NACK);

    assert_non_null(f);
    return f->nack;
}

/* Acknowledged as applied. */
static void await_version(struct fixture *x, uint64_t version)
{
    Weir__Frame *f;

    do {
        f = await(x, WEIR__FRAME__KIND_ACK);
        assert_non_null(f);
    } while (f->ack->version != version);
}

static void welcome(struct fixture *x, Weir__Mode mode, uint64_t epoch, uint64_t head)
{
    Weir__Welcome w = WEIR__WELCOME__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;

    w.cluster = frame_bytes(x->cluster.b, 16);
    w.epoch = epoch;
    w.head_version = head;
    w.mode = mode;
    w.heartbeat_ms = 100;
    f.kind_case = WEIR__FRAME__KIND_WELCOME;
    f.welcome = &w;
    assert_int_equal(link_send_frame(x->link, &f), 0);
}

static void chunk(struct fixture *x, uint64_t version, uint32_t seq, struct str list,
                  const struct state_hash *last)
{
    Weir__Chunk c = WEIR__CHUNK__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    unsigned char hash[32];

    c.version = version;
    c.seq = seq;
    c.records = frame_bytes(list.p, list.len);
    if (last) {
        c.last = true;
        state_hash_bytes(last, hash);
        c.state_hash = frame_bytes(hash, 32);
    }
    f.kind_case = WEIR__FRAME__KIND_CHUNK;
    f.chunk = &c;
    assert_int_equal(link_send_frame(x->link, &f), 0);
}

static void delta(struct fixture *x, uint64_t from, uint64_t to, struct str list,
                  const struct state_hash *h)
{
    Weir__Delta d = WEIR__DELTA__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    unsigned char hash[32];

    d.from = from;
    d.to = to;
    d.last = true;
    d.records = frame_bytes(list.p, list.len);
    state_hash_bytes(h, hash);
    d.state_hash = frame_bytes(hash, 32);
    f.kind_case = WEIR__FRAME__KIND_DELTA;
    f.delta = &d;
    assert_int_equal(link_send_frame(x->link, &f), 0);
}

static void start(struct fixture *x)
{
    struct sync_options opt = {.control_planes = x->url,
                               .node_id = id_of(4711),
                               .hostname = "here",
                               .data_dir = x->dir,
                               .heartbeat_ms = 200,
                               .backoff_min_ms = 5,
                               .backoff_max_ms = 50,
                               .cache_ms = 5};
    struct sync_sink sink = {.arg = &x->sink, .apply = apply};
    struct err e = {0};

    if (sync_start(&opt, &sink, &x->sync, &e) != 0)
        fail_msg("%s", err_text(&e));
}

static int setup(void **state)
{
    static const struct link_limits limits = {.heartbeat_ms = 100,
                                              .first_frame_ms = 2000,
                                              .send_ms = 2000,
                                              .frame_max = FRAME_MAX_TO_CP,
                                              .max_links = 10};
    struct fixture *x = xcalloc(1, sizeof(*x));
    struct err e = {0};

    snprintf(x->dir, sizeof(x->dir), "/tmp/weir-sync-XXXXXX");
    if (!mkdtemp(x->dir))
        return -1;
    snprintf(x->url, sizeof(x->url), "ipc://%s/cp", x->dir);
    x->cluster = id_of(99);
    pthread_mutex_init(&x->sink.lock, NULL);
    x->cp = link_hub_new(&limits);
    *state = x;
    return link_listen(x->cp, x->url, NULL, &e);
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    char cmd[128];

    sync_stop(&x->sync);
    link_hub_free(&x->cp);
    frame_free(&x->frame);
    pthread_mutex_destroy(&x->sink.lock);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", x->dir);
    free(x);
    return system(cmd);
}

/* The data plane at version 10 with entities 1 = "one" and 2 = "two". */
static struct state_hash bring_to_ten(struct fixture *x)
{
    struct state_hash h = {{0}};
    struct sbuf a = {0}, b = {0};

    start(x);
    assert_int_equal(await_hello(x)->cluster.len, 0);
    welcome(x, WEIR__MODE__MODE_FULL, 3, 10);
    put(&a, &h, 1, NULL, "one");
    put(&b, &h, 2, NULL, "two");
    chunk(x, 10, 0, sbuf_str(&a), NULL);
    chunk(x, 10, 1, sbuf_str(&b), &h);
    await_version(x, 10);
    assert_int_equal(sink_now(&x->sink).version, 10);
    assert_int_equal(sink_now(&x->sink).bytes, a.len + b.len);
    sbuf_free(&a);
    sbuf_free(&b);
    return h;
}

static void full_then_delta_then_active(void **state)
{
    struct fixture *x = *state;
    struct state_hash h = bring_to_ten(x);
    struct sync_state st;
    struct sbuf d = {0};
    Weir__Frame *f;
    struct state_hash told;

    put(&d, &h, 1, "one", "eins");
    put(&d, &h, 2, "two", NULL);
    put(&d, &h, 3, NULL, "three");
    delta(x, 10, 14, sbuf_str(&d), &h);
    await_version(x, 14);
    assert_int_equal(sink_now(&x->sink).deltas, 1);
    sync_report_active(x->sync, 14, 321);
    do
        assert_non_null(f = await(x, WEIR__FRAME__KIND_ACK));
    while (f->ack->active != 14);
    told = frame_hash(&f->ack->active_hash);
    assert_true(state_hash_eq(&told, &h));
    assert_int_equal(f->ack->compile_us, 321);
    assert_int_equal(f->ack->pieces, 0);
    sync_state(x->sync, &st);
    assert_true(st.connected && st.version == 14 && st.active_version == 14 && st.epoch == 3);
    assert_true(state_hash_eq(&st.hash, &h));
    assert_non_null(await(x, WEIR__FRAME__KIND_STATUS));
    assert_int_equal(x->frame->status->active, 14);
    sbuf_free(&d);
}

static void damaged_delta_is_refused(void **state)
{
    struct fixture *x = *state;
    struct state_hash h = bring_to_ten(x), h2;
    struct sync_state st;
    struct sbuf d = {0}, full = {0};

    h2 = h;
    put(&d, &h2, 1, "one", "eins");
    for (size_t i = 0; i < d.len; i++) { /* each single bit-flipped byte */
        d.p[i] ^= 0x10;
        delta(x, 10, 11, sbuf_str(&d), &h2);
        d.p[i] ^= 0x10;
        assert_true(await_nack(x)->want_full);
        assert_int_equal(x->frame->nack->have_version, 10);
        assert_int_equal(x->frame->nack->version, 11);
    }
    assert_int_equal(sink_now(&x->sink).deltas, 0);
    sync_state(x->sync, &st);
    assert_int_equal(st.version, 10);
    assert_int_equal(st.rejected, d.len);
    assert_true(state_hash_eq(&st.hash, &h));
    /* a sound full snapshot heals it, and the same delta, unharmed, is taken after */
    h = (struct state_hash){{0}};
    put(&full, &h, 1, NULL, "one");
    put(&full, &h, 2, NULL, "two");
    chunk(x, 10, 0, sbuf_str(&full), &h);
    await_version(x, 10);
    delta(x, 10, 11, sbuf_str(&d), &h2);
    await_version(x, 11);
    sbuf_free(&d);
    sbuf_free(&full);
}

static void lost_deletion_and_gap_are_noticed(void **state)
{
    struct fixture *x = *state;
    struct state_hash h = bring_to_ten(x), h2 = h;
    struct sbuf lost = {0}, d = {0};

    put(&lost, &h2, 2, "two", NULL); /* never sent */
    put(&d, &h2, 3, NULL, "three");
    delta(x, 10, 12, sbuf_str(&d), &h2);
    assert_true(await_nack(x)->want_full);
    delta(x, 11, 12, sbuf_str(&d), &h2);
    assert_true(await_nack(x)->again);
    assert_int_equal(x->frame->nack->have_version, 10);
    assert_int_equal(sink_now(&x->sink).deltas, 0);
    sbuf_free(&lost);
    sbuf_free(&d);
}

static void damaged_full_keeps_the_old_one_and_backs_off(void **state)
{
    struct fixture *x = *state;
    struct state_hash h = bring_to_ten(x), bad = h;
    struct sync_state st;
    struct sbuf full = {0};

    bad.word[2] ^= 1;
    put(&full, &h, 1, NULL, "uno");
    for (int i = 0; i < 2; i++) {
        chunk(x, 11, 0, sbuf_str(&full), &bad);
        assert_int_equal(await_nack(x)->have_version, 10);
        assert_true(x->frame->nack->want_full);
        assert_int_equal(x->frame->nack->again, i == 0);
    }
    /* it hangs up, comes back, and still has version 10 */
    assert_int_equal(await_hello(x)->have_version, 10);
    assert_int_equal(sink_now(&x->sink).fulls, 1);
    sync_state(x->sync, &st);
    assert_int_equal(st.version, 10);
    sbuf_free(&full);
}

static void what_does_not_compile_is_named(void **state)
{
    struct fixture *x = *state;
    struct state_hash h = bring_to_ten(x), h11 = h, h12;
    struct sbuf d = {0}, d2 = {0};
    struct uuid id = id_of(1), named;

    set_refuse(&x->sink, true);
    put(&d, &h11, 1, "one", "broken");
    delta(x, 10, 11, sbuf_str(&d), &h11);
    assert_false(await_nack(x)->again);
    assert_false(x->frame->nack->want_full);
    assert_non_null(strstr(x->frame->nack->reason, "expected a path"));
    named = frame_uuid(&x->frame->nack->entity);
    assert_true(x->frame->nack->entity_type == 0 || uuid_eq(&named, &id));
    /* a later version, from the one it kept */
    set_refuse(&x->sink, false);
    h12 = h;
    put(&d2, &h12, 1, "one", "mended");
    delta(x, 10, 12, sbuf_str(&d2), &h12);
    await_version(x, 12);
    sbuf_free(&d);
    sbuf_free(&d2);
}

static void pieces_out_of_order_end_the_connection(void **state)
{
    struct fixture *x = *state;
    struct state_hash h = bring_to_ten(x);

    chunk(x, 11, 0, STR(""), NULL);
    chunk(x, 11, 2, STR(""), &h);
    assert_int_equal(await_hello(x)->have_version, 10);
}

static void foreign_and_older_control_planes_are_refused(void **state)
{
    struct fixture *x = *state;
    struct sync_state st;
    struct uuid ours = x->cluster;

    bring_to_ten(x);
    link_close(x->link, "restart");
    assert_int_equal(await_hello(x)->epoch, 3);
    x->cluster = id_of(100);
    welcome(x, WEIR__MODE__MODE_FULL, 3, 50);
    await_hello(x);
    sync_state(x->sync, &st);
    assert_non_null(strstr(st.last_error, "another cluster"));
    x->cluster = ours;
    welcome(x, WEIR__MODE__MODE_FULL, 2, 50);
    await_hello(x);
    sync_state(x->sync, &st);
    assert_non_null(strstr(st.last_error, "epoch"));
    welcome(x, WEIR__MODE__MODE_RESUME, 3, 10);
    assert_non_null(await(x, WEIR__FRAME__KIND_STATUS));
    assert_int_equal(sink_now(&x->sink).fulls, 1);
}

static void drain_comes_back(void **state)
{
    struct fixture *x = *state;
    Weir__Drain d;
    Weir__Frame f = WEIR__FRAME__INIT;

    bring_to_ten(x);
    weir__drain__init(&d);
    d.within_ms = 20;
    f.kind_case = WEIR__FRAME__KIND_DRAIN;
    f.drain = &d;
    link_send_frame(x->link, &f);
    assert_int_equal(await_hello(x)->have_version, 10);
}

/* ---- the cache ---- */

static void starts_from_disk_without_a_control_plane(void **state)
{
    struct fixture *x = *state;
    struct state_hash h = bring_to_ten(x);
    struct sync_state st;
    struct sbuf d = {0};

    put(&d, &h, 3, NULL, "three");
    delta(x, 10, 11, sbuf_str(&d), &h);
    await_version(x, 11);
    sync_stop(&x->sync);
    memset(&x->sink.fulls, 0, sizeof(x->sink.fulls));
    x->sink.version = 0;
    start(x); /* applied before it returns */
    assert_int_equal(sink_now(&x->sink).version, 11);
    sync_state(x->sync, &st);
    assert_true(st.from_cache && st.version == 11 && state_hash_eq(&st.hash, &h));
    assert_int_equal(await_hello(x)->have_version, 11);
    sbuf_free(&d);
}

static size_t read_all(const char *path, char **out)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    assert_non_null(f);
    *out = malloc(1 << 20);
    n = fread(*out, 1, 1 << 20, f);
    fclose(f);
    return n;
}

static void write_file(const char *path, const char *p, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Loads DIR; the version found, 0 for none. */
static uint64_t load_version(const char *dir)
{
    struct cache *c = cache_open(dir, 1);
    struct cache_state st = {0};
    struct records *r = NULL;
    int rc = cache_load(c, &st, &r);

    if (rc == 1)
        assert_true(state_hash_eq(records_hash(r), &st.hash));
    records_free(&r);
    cache_close(&c);
    return rc == 1 ? st.version : 0;
}

static void damaged_files_are_put_aside(void **state)
{
    struct fixture *x = *state;
    char snap[128], bad[128], journal[128], *good, *tail;
    struct cache_state st = {.cluster = x->cluster, .epoch = 1, .version = 5};
    struct cache *c = cache_open(x->dir, 1);
    struct sbuf list = {0}, d = {0};
    struct stat info;
    size_t n, nj;

    snprintf(snap, sizeof(snap), "%s/snapshot.weir", x->dir);
    snprintf(bad, sizeof(bad), "%s/snapshot.weir.bad", x->dir);
    snprintf(journal, sizeof(journal), "%s/snapshot.journal", x->dir);
    put(&list, &st.hash, 1, NULL, "one");
    cache_put_full(c, &st, &list);
    cache_flush(c);
    for (st.version = 6; st.version < 9; st.version++) {
        char before[8], after[8];

        snprintf(before, sizeof(before), "v%u", (unsigned)st.version - 1);
        snprintf(after, sizeof(after), "v%u", (unsigned)st.version);
        put(&d, &st.hash, 1, st.version == 6 ? "one" : before, after);
        cache_put_delta(c, &st, st.version - 1, sbuf_str(&d));
        sbuf_clear(&d);
        cache_flush(c);
    }
    cache_close(&c);
    assert_int_equal(stat(snap, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(load_version(x->dir), 8);

    /* a journal cut anywhere counts up to its last whole entry, and never harms the rest */
    nj = read_all(journal, &tail);
    for (size_t cut = 0; cut <= nj; cut++) {
        uint64_t v;

        write_file(journal, tail, cut);
        v = load_version(x->dir);
        assert_in_range(v, 5, 8);
        assert_true((v == 8) == (cut == nj));
    }
    for (size_t i = 0; i < nj; i++) { /* a flipped bit ends it there */
        tail[i] ^= 4;
        write_file(journal, tail, nj);
        tail[i] ^= 4;
        assert_in_range(load_version(x->dir), 5, 7);
    }
    write_file(journal, tail, nj);

    n = read_all(snap, &good);
    for (size_t i = 0; i < n; i++) {
        good[i] ^= 1;
        write_file(snap, good, n);
        good[i] ^= 1;
        assert_int_equal(load_version(x->dir), 0);
        assert_int_equal(access(bad, F_OK), 0);
        assert_int_not_equal(access(snap, F_OK), 0);
        unlink(bad);
    }
    for (size_t cut = 0; cut < n; cut += 7) {
        write_file(snap, good, cut);
        assert_int_equal(load_version(x->dir), 0);
    }
    write_file(snap, good, n);
    assert_int_equal(load_version(x->dir), 8);
    free(good);
    free(tail);
    sbuf_free(&d);
}

static void journal_becomes_a_snapshot(void **state)
{
    struct fixture *x = *state;
    struct cache_state st = {.cluster = x->cluster, .epoch = 1, .version = 1};
    struct cache *c = cache_open(x->dir, 1);
    struct records *r = records_new();
    struct records_undo undo;
    struct sbuf list = {0};
    struct err e = {0};
    unsigned rewrites = 0;
    char *body = xmalloc(20001), *old = NULL;

    cache_put_full(c, &st, &list);
    cache_flush(c);
    for (st.version = 2; st.version < 60; st.version++) {
        memset(body, 'a' + (int)(st.version % 26), 20000);
        body[20000] = '\0';
        sbuf_clear(&list);
        put(&list, &st.hash, 1, old, body);
        assert_int_equal(records_try(r, sbuf_str(&list), &undo, &e), 0);
        records_keep(&undo);
        cache_put_delta(c, &st, st.version - 1, sbuf_str(&list));
        cache_flush(c);
        free(old);
        old = xstrdup(body);
        if (cache_wants_full(c)) {
            struct sbuf all = {0};

            records_write(r, &all);
            cache_put_full(c, &st, &all);
            rewrites++;
        }
    }
    cache_close(&c);
    assert_in_range(rewrites, 1, 10);
    assert_int_equal(load_version(x->dir), 59);
    records_free(&r);
    sbuf_free(&list);
    free(body);
    free(old);
}

/* The map against a plain array, with every change tried, half of them taken back. */
static void records_follow_a_model(void **state)
{
    enum { N = 300 };
    char *model[N] = {0};
    struct records *r = records_new();
    struct state_hash h = {{0}};
    size_t live = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        unsigned n = (unsigned)rand_below(N);
        struct state_hash before = h;
        struct records_undo undo;
        struct sbuf list = {0};
        struct err e = {0};
        char body[32];
        bool del = rand_below(3) == 0, keep = rand_below(2);

        snprintf(body, sizeof(body), "%d", round);
        put(&list, &h, n, model[n], del ? NULL : body);
        assert_int_equal(records_try(r, sbuf_str(&list), &undo, &e), 0);
        assert_true(state_hash_eq(records_hash(r), &h));
        if (keep) {
            records_keep(&undo);
            live += !del && !model[n];
            live -= del && model[n];
            free(model[n]);
            model[n] = del ? NULL : xstrdup(body);
        } else {
            records_undo(r, &undo);
            h = before;
        }
        assert_true(state_hash_eq(records_hash(r), &h));
        assert_int_equal(records_count(r), live);
        sbuf_free(&list);
    }
    for (int i = 0; i < N; i++)
        free(model[i]);
    records_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(full_then_delta_then_active, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_delta_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_deletion_and_gap_are_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_full_keeps_the_old_one_and_backs_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_does_not_compile_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_out_of_order_end_the_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_and_older_control_planes_are_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(drain_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(starts_from_disk_without_a_control_plane, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_files_are_put_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(journal_becomes_a_snapshot, setup, teardown),
        cmocka_unit_test(records_follow_a_model),
    };

    return cmocka_run_group_tests_name("sync", tests, NULL, NULL);
}
