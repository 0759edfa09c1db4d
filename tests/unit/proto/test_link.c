/*
 * Links on real sockets: who gets in, who is thrown out, and that nobody else notices. Each
 * test names the trap of the transport that it guards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/pki.h"
#include "proto/link.h"

static char dir[] = "/tmp/weir-link-XXXXXX";
static struct tls_identity *cp_id, *dp_id, *foreign_id;

static const char *path(const char *name)
{
    static char bufs[4][256];
    static unsigned at;
    char *b = bufs[at++ % 4];

    snprintf(b, sizeof(bufs[0]), "%s/%s", dir, name);
    return b;
}

static void load(const char *sub, const char *node, struct tls_identity **out)
{
    char ca[300], crt[300], key[300];
    struct err e = {0};

    snprintf(ca, sizeof(ca), "%s/ca.crt", path(sub));
    snprintf(crt, sizeof(crt), "%s/%s.crt", path(sub), node);
    snprintf(key, sizeof(key), "%s/%s.key", path(sub), node);
    if (tls_identity_load(ca, crt, key, out, &e) != 0)
        fail_msg("%s", err_text(&e));
}

static int setup(void **state)
{
    struct pki_request one = {.cluster = "one"}, two = {.cluster = "two"};
    struct err e = {0};

    (void)state;
    if (!mkdtemp(dir) || pki_make_cluster(path("one"), &one, &e) != 0 ||
        pki_make_cluster(path("two"), &two, &e) != 0) {
        fprintf(stderr, "%s\n", err_text(&e));
        return -1;
    }
    load("one", "cp", &cp_id);
    load("one", "dp", &dp_id);
    load("two", "dp", &foreign_id);
    return 0;
}

static int teardown(void **state)
{
    char cmd[300];

    (void)state;
    tls_identity_free(&cp_id);
    tls_identity_free(&dp_id);
    tls_identity_free(&foreign_id);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    return system(cmd);
}

/* ---- two hubs and what to expect of them ---- */

static const struct link_limits quick = {.heartbeat_ms = 100,
                                         .first_frame_ms = 400,
                                         .send_ms = 500,
                                         .frame_max = FRAME_MAX_TO_CP,
                                         .max_links = 200};
static const struct link_limits patient = {.heartbeat_ms = 5000,
                                           .first_frame_ms = 20000,
                                           .send_ms = 20000,
                                           .frame_max = FRAME_MAX_TO_DP,
                                           .max_links = 200};
static const struct link_limits narrow = {.heartbeat_ms = 5000,
                                          .first_frame_ms = 20000,
                                          .send_ms = 20000,
                                          .frame_max = FRAME_MAX_TO_CP,
                                          .max_links = 200};

static struct link *watched; /* NULL once it has been closed */
static char watched_reason[256];

/* The next event of one kind; frees what else comes by, closed links included. */
static bool await(struct link_hub *hub, enum link_event_kind kind, unsigned ms,
                  struct link_event *out)
{
    uint64_t until = clock_mono_us() + ms * 1000ull;

    while (clock_mono_us() < until) {
        if (!link_hub_wait(hub, until, out))
            continue;
        if (out->kind == kind)
            return true;
        if (out->kind == LINK_FRAME)
            frame_free(&out->frame);
        if (out->kind == LINK_CLOSED) {
            if (out->link == watched) {
                snprintf(watched_reason, sizeof(watched_reason), "%s", link_reason(watched));
                watched = NULL;
            }
            link_free(&out->link);
        }
    }
    return false;
}

static struct frame_buf *status_frame(uint64_t n)
{
    Weir__Status s = WEIR__STATUS__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;

    s.active = n;
    f.kind_case = WEIR__FRAME__KIND_STATUS;
    f.status = &s;
    return frame_encode(&f);
}

static struct frame_buf *chunk_frame(size_t size)
{
    Weir__Chunk c = WEIR__CHUNK__INIT;
    Weir__Frame f = WEIR__FRAME__INIT;
    struct frame_buf *b;
    char *records = calloc(1, size);

    c.records = frame_bytes(records, size);
    f.kind_case = WEIR__FRAME__KIND_CHUNK;
    f.chunk = &c;
    b = frame_encode(&f);
    free(records);
    return b;
}

static void send_status(struct link *l, uint64_t n)
{
    struct frame_buf *b = status_frame(n);

    assert_int_equal(link_send(l, b), 0);
    frame_buf_unref(&b);
}

static const char *listen_tls(struct link_hub *hub)
{
    static char url[64];
    struct err e = {0};

    if (link_listen(hub, "tls+tcp://127.0.0.1:0", cp_id, &e) != 0)
        fail_msg("%s", err_text(&e));
    assert_int_not_equal(link_listen_port(hub), 0);
    snprintf(url, sizeof(url), "tls+tcp://127.0.0.1:%u", link_listen_port(hub));
    return url;
}

static struct link *dial(struct link_hub *hub, const char *url, struct tls_identity *id)
{
    struct link_event ev;
    struct link *l;
    struct err e = {0};

    if (link_dial(hub, url, id, &l, &e) != 0)
        fail_msg("%s", err_text(&e));
    assert_true(await(hub, LINK_OPEN, 30000, &ev));
    assert_ptr_equal(ev.link, l);
    return l;
}

/* A message there and one back. */
static struct link *exchange(struct link_hub *server, struct link_hub *client, struct link *l,
                             uint64_t n)
{
    struct link_event ev;
    struct link *theirs;

    send_status(l, n);
    assert_true(await(server, LINK_FRAME, 30000, &ev));
    assert_int_equal(ev.frame->status->active, n);
    frame_free(&ev.frame);
    theirs = ev.link;
    send_status(theirs, n + 1);
    assert_true(await(client, LINK_FRAME, 30000, &ev));
    assert_int_equal(ev.frame->status->active, n + 1);
    frame_free(&ev.frame);
    return theirs;
}

static void tls_names_the_peer(void **state)
{
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    struct link *mine = dial(client, listen_tls(server), dp_id);
    struct link *theirs = exchange(server, client, mine, 1);
    struct tls_peer peer;
    struct err e = {0};

    (void)state;
    assert_int_equal(link_peer(theirs, &peer, &e), 0);
    assert_string_equal(peer.cluster, "one");
    assert_string_equal(peer.role, "dp");
    assert_string_equal(peer.node, "dp");
    assert_string_equal(peer.common_name, "dp");
    assert_true(peer.expiry_s * 1000000 > (int64_t)clock_wall_us());
    assert_string_equal(link_remote(theirs), "127.0.0.1");
    assert_int_equal(link_peer(mine, &peer, &e), 0);
    assert_string_equal(peer.role, "cp");
    link_hub_free(&client);
    link_hub_free(&server);
}

static void ipc_works_and_survives_aborts(void **state)
{
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct tls_peer peer;
    struct err e = {0};
    struct stat st;
    char url[300];

    (void)state;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path("ipc"));
    snprintf(url, sizeof(url), "ipc://%s", addr.sun_path);
    assert_int_equal(link_listen(server, url, NULL, &e), 0);
    assert_int_equal(stat(addr.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (int i = 0; i < 30; i++) { /* one of these ends an ipc listener of nng's sockets */
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
        close(fd);
    }
    assert_int_equal(link_peer(exchange(server, client, dial(client, url, NULL), 5), &peer, &e), 0);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void foreign_certificate_gets_nothing(void **state)
{
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    uint64_t until = clock_mono_us() + 5000000;
    struct link_event ev = {.kind = LINK_OPEN};
    struct frame_buf *b = status_frame(1);
    struct err e = {0};
    struct link *l;

    (void)state;
    assert_int_equal(link_dial(client, listen_tls(server), foreign_id, &l, &e), 0);
    while (ev.kind == LINK_OPEN) { /* which does not come when the refusal is faster */
        assert_true(link_hub_wait(client, until, &ev));
        if (ev.kind == LINK_OPEN)
            link_send(l, b);
    }
    assert_int_equal(ev.kind, LINK_CLOSED); /* and no frame before it */
    link_free(&ev.link);
    assert_true(await(server, LINK_CLOSED, 30000, &ev));
    link_free(&ev.link);
    frame_buf_unref(&b);
    link_hub_free(&client);
    link_hub_free(&server);
}

static int raw_tcp(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static void silent_and_plain_clients_are_dropped(void **state)
{
    struct link_hub *server = link_hub_new(&quick), *client = link_hub_new(&quick);
    const char *url = listen_tls(server);
    struct link *good = dial(client, url, dp_id);
    struct link_event ev;
    uint64_t start;
    int silent, plain;
    char c;

    (void)state;
    exchange(server, client, good, 1);
    start = clock_mono_us();
    silent = raw_tcp(link_listen_port(server));
    plain = raw_tcp(link_listen_port(server));
    assert_int_equal(write(plain, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    for (int i = 0; i < 2; i++) {
        assert_true(await(server, LINK_CLOSED, 3000, &ev));
        if (strstr(link_reason(ev.link), "first frame"))
            assert_true(clock_mono_us() - start >= quick.first_frame_ms * 900ull);
        link_free(&ev.link);
    }
    while (read(plain, &c, 1) == 1) /* an alert may come first */
        ;
    assert_true(read(silent, &c, 1) <= 0); /* closed, else this would hang */
    exchange(server, client, good, 3);
    close(silent);
    close(plain);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void oversize_frames_close(void **state)
{
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    struct link *l;
    struct link_event ev;
    struct frame_buf *b = chunk_frame(FRAME_MAX_TO_DP - 100);

    (void)state;
    l = dial(client, listen_tls(server), dp_id);
    /* the patient hub takes large ones */
    assert_int_equal(link_send(l, b), 0);
    assert_true(await(server, LINK_FRAME, 30000, &ev));
    assert_int_equal(ev.frame->chunk->records.len, FRAME_MAX_TO_DP - 100);
    frame_free(&ev.frame);
    link_hub_free(&client);
    link_hub_free(&server);

    server = link_hub_new(&narrow);
    client = link_hub_new(&patient);
    l = dial(client, listen_tls(server), dp_id);
    assert_int_equal(link_send(l, b), 0);
    assert_true(await(server, LINK_CLOSED, 30000, &ev));
    assert_string_equal(link_reason(ev.link), "a frame of 1048484 bytes, expected 1 to 65536");
    link_free(&ev.link);
    assert_true(await(client, LINK_CLOSED, 30000, &ev));
    link_free(&ev.link);
    frame_buf_unref(&b);
    link_hub_free(&client);
    link_hub_free(&server);
}

/* The shorter one counts, whoever names it, but not below the least there is. */
static void heartbeats_are_agreed_on(void **state)
{
    static const struct {
        unsigned theirs, agreed;
    } cases[] = {{0, 5000}, {9000, 5000}, {700, 700}, {800, 700}, {1, LINK_HEARTBEAT_MIN_MS}};
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    struct frame_buf *b = status_frame(1);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct link_event ev;
    struct err e = {0};
    char url[300];
    int fd;

    (void)state;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path("agree"));
    snprintf(url, sizeof(url), "ipc://%s", addr.sun_path);
    assert_int_equal(link_listen(server, url, NULL, &e), 0);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(write(fd, b->p, b->len), b->len);
    assert_true(await(server, LINK_FRAME, 3000, &ev));
    frame_free(&ev.frame);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(link_agree_heartbeat(ev.link, cases[i].theirs), cases[i].agreed);
    /* the hub looks as often as the link now needs it to, once the tick under way is over */
    assert_true(await(server, LINK_CLOSED, 3000, &ev));
    assert_string_equal(link_reason(ev.link), "three heartbeats missed");
    link_free(&ev.link);
    close(fd);
    frame_buf_unref(&b);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void heartbeats_find_the_dead(void **state)
{
    struct link_hub *server = link_hub_new(&quick), *client = link_hub_new(&quick);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct frame_buf *b = status_frame(1);
    struct link_event ev;
    struct link *alive;
    uint64_t start;
    struct err e = {0};
    char url[300];
    int fd;

    (void)state;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path("beat"));
    snprintf(url, sizeof(url), "ipc://%s", addr.sun_path);
    assert_int_equal(link_listen(server, url, NULL, &e), 0);
    alive = dial(client, url, NULL);
    exchange(server, client, alive, 1);
    /* this one says hello, then nothing more */
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(write(fd, b->p, b->len), b->len);
    start = clock_mono_us();
    assert_true(await(server, LINK_CLOSED, 3000, &ev));
    assert_string_equal(link_reason(ev.link), "three heartbeats missed");
    assert_in_range(clock_mono_us() - start, 290000, 3000000);
    link_free(&ev.link);
    /* nobody waited on the client's hub meanwhile: pings do not need its owner */
    exchange(server, client, alive, 9);
    close(fd);
    frame_buf_unref(&b);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void stuck_reader_is_closed_others_go_on(void **state)
{
    struct link_limits limits = patient;
    struct link_hub *server, *client = link_hub_new(&patient), *stuck_hub = link_hub_new(&patient);
    const char *url;
    struct link *good, *to_stuck;
    struct frame_buf *big = chunk_frame(512 * 1024);
    uint64_t start = clock_mono_us();
    unsigned queued = 0, rounds = 0;

    (void)state;
    limits.send_ms = 500;
    server = link_hub_new(&limits);
    url = listen_tls(server);
    good = dial(client, url, dp_id);
    exchange(server, client, good, 1);
    to_stuck = watched = exchange(server, stuck_hub, dial(stuck_hub, url, dp_id), 1);
    /* stuck_hub's owner takes nothing from here on: its queue fills, then the kernel's */
    while (watched && clock_mono_us() - start < 10000000) {
        while (link_send(to_stuck, big) == 0)
            queued++;
        exchange(server, client, good, 100 + 2 * rounds++);
    }
    assert_null(watched);
    assert_string_equal(watched_reason, "the peer does not read");
    assert_true(rounds > 5);
    /* bounded: both queues and what the sockets hold */
    assert_in_range(queued, LINK_SEND_QUEUE, LINK_SEND_QUEUE + LINK_RECV_QUEUE + 40);
    exchange(server, client, good, 7);
    frame_buf_unref(&big);
    link_hub_free(&stuck_hub);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void pause_and_resume_lose_nothing(void **state)
{
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    struct link *l = dial(client, listen_tls(server), dp_id);
    struct link_event ev;
    uint64_t sent = 0, got = 0;

    (void)state;
    while (got < 3000) {
        struct frame_buf *b = status_frame(sent);

        if (sent < 3000 && link_send(l, b) == 0)
            sent++;
        else if (link_hub_wait(server, clock_mono_us() + 5000000, &ev)) {
            assert_int_equal(ev.kind, LINK_FRAME);
            assert_int_equal(ev.frame->status->active, got);
            frame_free(&ev.frame);
            got++;
        } else {
            fail_msg("stalled at %u of %u", (unsigned)got, (unsigned)sent);
        }
        frame_buf_unref(&b);
    }
    link_hub_free(&client);
    link_hub_free(&server);
}

static void aborted_handshakes_leave_the_listener_healthy(void **state)
{
    /* a ClientHello's first bytes: enough to begin a handshake, not to go on with it */
    static const unsigned char hello[] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc};
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    const char *url = listen_tls(server);

    (void)state;
    for (int i = 0; i < 50; i++) {
        int fd = raw_tcp(link_listen_port(server));
        struct linger reset = {.l_onoff = 1, .l_linger = 0};

        if (i % 3)
            assert_int_equal(write(fd, hello, sizeof(hello)), sizeof(hello));
        if (i % 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
    }
    for (int i = 0; i < 5; i++)
        exchange(server, client, dial(client, url, dp_id), 1);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void too_many_are_turned_away(void **state)
{
    struct link_limits two = patient;
    struct link_hub *server, *client = link_hub_new(&patient);
    struct link_event ev;
    const char *url;
    struct link *first, *third;
    struct err e = {0};

    (void)state;
    two.max_links = 2;
    server = link_hub_new(&two);
    url = listen_tls(server);
    first = dial(client, url, dp_id);
    exchange(server, client, first, 1);
    exchange(server, client, dial(client, url, dp_id), 1);
    assert_int_equal(link_dial(client, url, dp_id, &third, &e), 0);
    assert_true(await(client, LINK_CLOSED, 30000, &ev));
    assert_ptr_equal(ev.link, third);
    link_free(&ev.link);
    exchange(server, client, first, 3);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void certificates_rotate_under_a_listener(void **state)
{
    struct link_hub *server = link_hub_new(&patient), *client = link_hub_new(&patient);
    struct pki_request one = {.cluster = "rotated"};
    struct tls_identity *id, *peer_id;
    struct tls_peer peer;
    struct err e = {0};
    struct link *old;
    char url[64], cmd[1200];

    (void)state;
    snprintf(cmd, sizeof(cmd), "cp -r '%s' '%s'", path("one"), path("live"));
    assert_int_equal(system(cmd), 0);
    load("live", "cp", &id);
    assert_int_equal(link_listen(server, "tls+tcp://127.0.0.1:0", id, &e), 0);
    snprintf(url, sizeof(url), "tls+tcp://127.0.0.1:%u", link_listen_port(server));
    old = dial(client, url, dp_id);
    exchange(server, client, old, 1);
    assert_int_equal(pki_make_cluster(path("next"), &one, &e), 0);
    snprintf(cmd, sizeof(cmd), "cp '%s'/* '%s'/", path("next"), path("live"));
    assert_int_equal(system(cmd), 0);
    assert_int_equal(tls_identity_reload(id, &e), 0);
    load("live", "dp", &peer_id);
    assert_int_equal(link_peer(exchange(server, client, dial(client, url, peer_id), 3), &peer, &e),
                     0);
    assert_string_equal(peer.cluster, "rotated");
    exchange(server, client, old, 5); /* the old one goes on */
    snprintf(cmd, sizeof(cmd), "%s/cp.key", path("live"));
    assert_int_equal(unlink(cmd), 0);
    assert_int_equal(tls_identity_reload(id, &e), -1);
    assert_non_null(strstr(err_text(&e), "cp.key"));
    tls_identity_free(&id);
    tls_identity_free(&peer_id);
    link_hub_free(&client);
    link_hub_free(&server);
}

static void refused_dials_are_told(void **state)
{
    static const char *const bad[] = {"tcp://127.0.0.1:1", "tls+tcp://127.0.0.1", "http://x", "",
                                      "ipc:/x"};
    struct link_hub *client = link_hub_new(&patient);
    struct link_event ev;
    struct link *l;
    struct err e = {0};
    char url[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (link_dial(client, bad[i], dp_id, &l, &e) == 0)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(link_dial(client, "tls+tcp://127.0.0.1:21050", NULL, &l, &e), -1);
    assert_int_equal(link_dial(client, "tls+tcp://127.0.0.1:1", dp_id, &l, &e), 0);
    assert_true(await(client, LINK_CLOSED, 6000, &ev));
    assert_ptr_equal(ev.link, l);
    link_free(&ev.link);
    snprintf(url, sizeof(url), "ipc://%s", path("nobody"));
    assert_int_equal(link_dial(client, url, NULL, &l, &e), 0);
    assert_true(await(client, LINK_CLOSED, 6000, &ev));
    link_free(&ev.link);
    link_hub_free(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_names_the_peer),
        cmocka_unit_test(ipc_works_and_survives_aborts),
        cmocka_unit_test(foreign_certificate_gets_nothing),
        cmocka_unit_test(silent_and_plain_clients_are_dropped),
        cmocka_unit_test(oversize_frames_close),
        cmocka_unit_test(heartbeats_are_agreed_on),
        cmocka_unit_test(heartbeats_find_the_dead),
        cmocka_unit_test(stuck_reader_is_closed_others_go_on),
        cmocka_unit_test(pause_and_resume_lose_nothing),
        cmocka_unit_test(aborted_handshakes_leave_the_listener_healthy),
        cmocka_unit_test(too_many_are_turned_away),
        cmocka_unit_test(certificates_rotate_under_a_listener),
        cmocka_unit_test(refused_dials_are_told),
    };

    return cmocka_run_group_tests_name("link", tests, setup, teardown);
}
