/* Names: one that nobody answers for holds up itself alone, also when the gateway stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dataplane/upstream/upstream.h"
#include "dataplane/xio.h"

/* ---- the system's resolver, as these tests need it ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned asked_silent, asked_others, left_silent;
static bool answer_silent;

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict out)
{
    bool silent = strncmp(node, "silent", 6) == 0;
    struct sockaddr_in *addr;

    (void)service;
    pthread_mutex_lock(&lock);
    *(silent ? &asked_silent : &asked_others) += 1;
    pthread_cond_broadcast(&changed);
    while (silent && !answer_silent)
        pthread_cond_wait(&changed, &lock);
    left_silent += silent;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (silent || strncmp(node, "none", 4) == 0 || hints->ai_family != AF_INET)
        return EAI_NONAME;
    *out = calloc(1, sizeof(**out) + sizeof(*addr));
    addr = (struct sockaddr_in *)(void *)(*out + 1);
    addr->sin_family = AF_INET;
    addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (*out)->ai_family = AF_INET;
    (*out)->ai_addrlen = sizeof(*addr);
    (*out)->ai_addr = (struct sockaddr *)addr;
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    free(list);
}

static void wait_for(const unsigned *count, unsigned n)
{
    pthread_mutex_lock(&lock);
    while (*count < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

/* ---- a worker without a loop ---- */

static void begin(struct worker *w, struct resolver *r)
{
    memset(w, 0, sizeof(*w));
    w->resolver = r;
    w->ready_end = &w->ready;
    w->wake_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&w->mail_lock, NULL);
}

static void end(struct worker *w)
{
    names_fini(w);
    close(w->wake_fd);
    pthread_mutex_destroy(&w->mail_lock);
}

/* Until something has been mailed: the descriptor blocks. */
static void take_mail(struct worker *w)
{
    uint64_t n;

    assert_int_equal(read(w->wake_fd, &n, sizeof(n)), sizeof(n));
    names_arrived(w);
}

static enum lookup look(struct worker *w, const char *host, struct xio *io)
{
    const struct address *a = NULL;
    enum lookup rc = name_lookup(w, str_of(host), io, &a);

    if (rc == LOOKUP_OK)
        assert_string_equal(a->text, "127.0.0.1");
    return rc;
}

static void silent_names_hold_up_nobody(void **state)
{
    struct xio *ios = calloc(13, sizeof(*ios));
    struct worker w[2];
    struct resolver *r;
    struct err e;

    (void)state;
    answer_silent = false;
    assert_int_equal(resolver_start(&r, &e), 0);
    begin(&w[0], r);
    begin(&w[1], r);
    /* both workers, often: still one thread for each of the names */
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(look(&w[i % 2], i < 6 ? "silent" : "silent.too", &ios[i]), LOOKUP_WAIT);
    wait_for(&asked_silent, 2);
    assert_int_equal(look(&w[0], "fine", &ios[10]), LOOKUP_WAIT);
    assert_int_equal(look(&w[1], "none", &ios[11]), LOOKUP_WAIT);
    while (!w[0].ready)
        take_mail(&w[0]);
    while (!w[1].ready)
        take_mail(&w[1]);
    assert_ptr_equal(w[0].ready, &ios[10]);
    assert_ptr_equal(w[1].ready, &ios[11]);
    assert_int_equal(look(&w[0], "fine", &ios[12]), LOOKUP_OK);
    assert_int_equal(look(&w[1], "none", &ios[12]), LOOKUP_NONE);
    assert_int_equal(look(&w[0], "127.0.0.1", &ios[12]), LOOKUP_OK);
    assert_int_equal(asked_silent, 2);

    /* the end does not wait for an answer; the threads that do clean up behind themselves */
    for (unsigned i = 0; i < 10; i++)
        names_forget(&ios[i]);
    resolver_stop(&r);
    assert_null(r);
    end(&w[0]);
    end(&w[1]);
    pthread_mutex_lock(&lock);
    answer_silent = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    wait_for(&left_silent, 4); /* two families each */
    free(ios);
}

static void one_answer_serves_all_who_asked(void **state)
{
    struct xio *ios = calloc(2, sizeof(*ios));
    struct worker w[2];
    struct resolver *r;
    struct err e;

    (void)state;
    answer_silent = false;
    asked_silent = 0;
    assert_int_equal(resolver_start(&r, &e), 0);
    begin(&w[0], r);
    begin(&w[1], r);
    assert_int_equal(look(&w[0], "silent", &ios[0]), LOOKUP_WAIT);
    assert_int_equal(look(&w[1], "silent", &ios[1]), LOOKUP_WAIT);
    wait_for(&asked_silent, 1);
    pthread_mutex_lock(&lock);
    answer_silent = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 2; i++) {
        while (!w[i].ready)
            take_mail(&w[i]);
        assert_ptr_equal(w[i].ready, &ios[i]);
        assert_null(ios[i].waiting_name);
    }
    resolver_stop(&r);
    end(&w[0]);
    end(&w[1]);
    free(ios);
}

static void a_full_table_forgets_what_nobody_waits_for(void **state)
{
    struct xio *io = calloc(1, sizeof(*io));
    struct worker w;
    struct resolver *r;
    struct err e;

    (void)state;
    assert_int_equal(resolver_start(&r, &e), 0);
    begin(&w, r);
    for (unsigned i = 0; i < 25000; i++) {
        char text[32];

        snprintf(text, sizeof(text), "127.0.%u.%u", i / 256 % 256, i % 256);
        (void)name_lookup(&w, str_of(text), io, &(const struct address *){NULL});
        assert_true(w.n_names <= 10000);
    }
    resolver_stop(&r);
    end(&w);
    free(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_names_hold_up_nobody),
        cmocka_unit_test(one_answer_serves_all_who_asked),
        cmocka_unit_test(a_full_table_forgets_what_nobody_waits_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
