/*
 * resolve.c - names to addresses; see upstream.h.
 *
 * Every worker keeps what it knows in a table of its own. What is missing or old is asked of
 * a few threads, which call getaddrinfo (so /etc/hosts and nsswitch.conf count) and mail the
 * answer back. No two threads ask for one name, so a name that nobody answers for holds up
 * itself alone. An old answer goes on being used while a new one is fetched, for up to an
 * hour when nobody answers.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "dataplane/upstream/upstream.h"
#include "dataplane/xio.h"

#define FRESH_US   30000000u
#define ABSENT_US  3000000u
#define STALE_US   3600000000u
#define NAMES_MAX  10000u
#define RESOLVER_THREADS 8

struct name {
    struct name *next, *all_next;
    uint64_t hash;
    uint64_t fresh_until_us, stale_until_us; /* UINT64_MAX: an address literal */
    struct address *v;
    unsigned n, turn;
    bool asked;              /* a job is under way */
    struct xio *waiting;
    size_t len;
    char text[];
};

struct name_job {
    struct name_job *next;
    struct worker *w;
    struct name *name; /* of w: stays while asked */
    struct address *v;
    unsigned n;
    char text[];
};

/* Owned by resolver_start's caller until resolver_stop, then by the last thread that is busy. */
struct resolver {
    pthread_mutex_t lock;
    pthread_cond_t more, left;
    struct name_job *jobs, **jobs_end;
    struct name_job *busy[RESOLVER_THREADS]; /* what each thread is asking for, or NULL */
    unsigned threads, n_busy;
    bool stop;
};

/* ---- the threads ---- */

static bool address_of(const struct addrinfo *ai, struct address *out)
{
    memset(out, 0, sizeof(*out));
    if (ai->ai_family == AF_INET && ai->ai_addrlen == sizeof(out->u.v4)) {
        memcpy(&out->u.v4, ai->ai_addr, sizeof(out->u.v4));
        inet_ntop(AF_INET, &out->u.v4.sin_addr, out->text, sizeof(out->text));
    } else if (ai->ai_family == AF_INET6 && ai->ai_addrlen == sizeof(out->u.v6)) {
        memcpy(&out->u.v6, ai->ai_addr, sizeof(out->u.v6));
        inet_ntop(AF_INET6, &out->u.v6.sin6_addr, out->text, sizeof(out->text));
    } else {
        return false;
    }
    out->len = ai->ai_addrlen;
    return true;
}

/* IPv4 addresses when there are any, else IPv6: the reference's order. */
static void ask(struct name_job *job)
{
    static const int families[] = {AF_INET, AF_INET6};

    job->v = xcalloc(ADDRESSES_MAX, sizeof(*job->v));
    for (size_t i = 0; i < ARRAY_LEN(families) && job->n == 0; i++) {
        struct addrinfo hints = {.ai_family = families[i], .ai_socktype = SOCK_STREAM}, *list, *ai;
        int rc = getaddrinfo(job->text, NULL, &hints, &list);

        if (rc != 0)
            continue;
        for (ai = list; ai && job->n < ADDRESSES_MAX; ai = ai->ai_next)
            job->n += address_of(ai, &job->v[job->n]);
        freeaddrinfo(list);
    }
    if (job->n == 0)
        LOG_LIMITED(LOG_WARN, "name_not_found", "name=%s", job->text);
}

static void mail_back(struct name_job *job)
{
    struct worker *w = job->w;

    pthread_mutex_lock(&w->mail_lock);
    job->next = w->mail;
    w->mail = job;
    pthread_mutex_unlock(&w->mail_lock);
    worker_wake(w);
}

static bool is_busy(const struct resolver *r, const char *text)
{
    for (unsigned i = 0; i < RESOLVER_THREADS; i++)
        if (r->busy[i] && strcmp(r->busy[i]->text, text) == 0)
            return true;
    return false;
}

static struct name_job *unlink_job(struct resolver *r, struct name_job **at)
{
    struct name_job *job = *at;

    *at = job->next;
    if (!job->next)
        r->jobs_end = at;
    return job;
}

/* The oldest job whose name no thread is asking for, or NULL. */
static struct name_job *take_job(struct resolver *r)
{
    for (struct name_job **at = &r->jobs; *at; at = &(*at)->next)
        if (!is_busy(r, (*at)->text))
            return unlink_job(r, at);
    return NULL;
}

/* The answer goes to every worker that has asked meanwhile. */
static void answer(struct resolver *r, struct name_job *job)
{
    for (struct name_job **at = &r->jobs; *at;) {
        struct name_job *same;

        if (strcmp((*at)->text, job->text) != 0) {
            at = &(*at)->next;
            continue;
        }
        same = unlink_job(r, at);
        same->v = xcalloc(ADDRESSES_MAX, sizeof(*same->v));
        memcpy(same->v, job->v, job->n * sizeof(*job->v));
        same->n = job->n;
        mail_back(same);
    }
    mail_back(job);
}

static void job_free(struct name_job *job)
{
    free(job->v);
    free(job);
}

static void resolver_free(struct resolver *r)
{
    struct name_job *job;

    while ((job = r->jobs)) {
        r->jobs = job->next;
        job_free(job);
    }
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->more);
    pthread_cond_destroy(&r->left);
    free(r);
}

/* With the lock held: asks for one name without it. */
static void work_on(struct resolver *r, struct name_job *job)
{
    unsigned slot = 0;

    while (r->busy[slot])
        slot++;
    r->busy[slot] = job;
    r->n_busy++;
    pthread_mutex_unlock(&r->lock);
    ask(job);
    pthread_mutex_lock(&r->lock);
    r->busy[slot] = NULL;
    r->n_busy--;
    if (r->stop) /* the workers may be gone */
        job_free(job);
    else
        answer(r, job);
}

static void *work(void *arg)
{
    struct resolver *r = arg;
    struct name_job *job;
    bool last;

    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        job = take_job(r);
        if (job)
            work_on(r, job);
        else
            pthread_cond_wait(&r->more, &r->lock);
    }
    last = --r->threads == 0;
    pthread_cond_signal(&r->left);
    pthread_mutex_unlock(&r->lock);
    if (last)
        resolver_free(r);
    return NULL;
}

static int add_thread(struct resolver *r)
{
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, work, r);

    if (rc == 0) {
        pthread_detach(thread); /* one may be waiting for an answer that never comes */
        r->threads++;
    }
    return rc;
}

int resolver_start(struct resolver **out, struct err *e)
{
    struct resolver *r = xcalloc(1, sizeof(*r));
    int rc = 0;

    r->jobs_end = &r->jobs;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->more, NULL);
    pthread_cond_init(&r->left, NULL);
    pthread_mutex_lock(&r->lock);
    while (rc == 0 && r->threads < RESOLVER_THREADS)
        rc = add_thread(r);
    pthread_mutex_unlock(&r->lock);
    if (rc != 0) {
        resolver_stop(&r);
        return err_set(e, ERR_IO, "resolver thread: %s", strerror(rc));
    }
    *out = r;
    return 0;
}

void resolver_stop(struct resolver **r_)
{
    struct resolver *r = *r_;
    bool last;

    *r_ = NULL;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    r->threads++; /* this one: so that r stays as long as it is looked at */
    pthread_cond_broadcast(&r->more);
    while (r->threads - 1 > r->n_busy)
        pthread_cond_wait(&r->left, &r->lock);
    last = --r->threads == 0;
    pthread_mutex_unlock(&r->lock);
    if (last)
        resolver_free(r);
}

/* ---- a worker's table ---- */

static void request(struct worker *w, struct name *n)
{
    struct name_job *job = xcalloc(1, sizeof(*job) + n->len + 1);

    n->asked = true;
    job->w = w;
    job->name = n;
    memcpy(job->text, n->text, n->len);
    pthread_mutex_lock(&w->resolver->lock);
    *w->resolver->jobs_end = job;
    w->resolver->jobs_end = &job->next;
    pthread_cond_signal(&w->resolver->more);
    pthread_mutex_unlock(&w->resolver->lock);
}

static bool literal(struct name *n)
{
    struct address a = {0};

    if (inet_pton(AF_INET, n->text, &a.u.v4.sin_addr) == 1) {
        a.u.v4.sin_family = AF_INET;
        a.len = sizeof(a.u.v4);
        inet_ntop(AF_INET, &a.u.v4.sin_addr, a.text, sizeof(a.text));
    } else if (inet_pton(AF_INET6, n->text, &a.u.v6.sin6_addr) == 1) {
        a.u.v6.sin6_family = AF_INET6;
        a.len = sizeof(a.u.v6);
        inet_ntop(AF_INET6, &a.u.v6.sin6_addr, a.text, sizeof(a.text));
    } else {
        return false;
    }
    n->v = xmalloc(sizeof(a));
    *n->v = a;
    n->n = 1;
    n->fresh_until_us = n->stale_until_us = UINT64_MAX;
    return true;
}

static void name_free(struct name *n)
{
    free(n->v);
    free(n);
}

/* Forgets names that nobody waits for: the table is full. */
static void forget_some(struct worker *w)
{
    struct name **at = &w->names_all;
    size_t dropped = 0;

    while (*at && dropped < NAMES_MAX / 10) {
        struct name *n = *at, **slot = &w->names[n->hash % NAME_SLOTS];

        if (n->asked || n->waiting) {
            at = &n->all_next;
            continue;
        }
        while (*slot != n)
            slot = &(*slot)->next;
        *slot = n->next;
        *at = n->all_next;
        name_free(n);
        w->n_names--;
        dropped++;
    }
}

static struct name *find(struct worker *w, struct str host)
{
    uint64_t hash = str_hash(host, 0);
    struct name *n;
    bool bracketed = host.len > 2 && host.p[0] == '[';

    for (n = w->names[hash % NAME_SLOTS]; n; n = n->next)
        if (n->hash == hash && n->len == host.len - (bracketed ? 2 : 0) &&
            memcmp(n->text, host.p + bracketed, n->len) == 0)
            return n;
    if (w->n_names >= NAMES_MAX)
        forget_some(w);
    n = xcalloc(1, sizeof(*n) + host.len + 1);
    n->hash = hash;
    n->len = host.len - (bracketed ? 2 : 0);
    memcpy(n->text, host.p + bracketed, n->len);
    n->next = w->names[hash % NAME_SLOTS];
    w->names[hash % NAME_SLOTS] = n;
    n->all_next = w->names_all;
    w->names_all = n;
    w->n_names++;
    literal(n);
    return n;
}

enum lookup name_lookup(struct worker *w, struct str host, struct xio *io, const struct address **out)
{
    struct name *n = find(w, host);
    uint64_t now;

    if (n->fresh_until_us != UINT64_MAX) {
        now = worker_now(w);
        if (now >= n->fresh_until_us && !n->asked)
            request(w, n);
        if (n->n == 0 || now >= n->stale_until_us) {
            if (!n->asked)
                return LOOKUP_NONE; /* asked a moment ago: there is none */
            io->name_next = n->waiting;
            n->waiting = io;
            io->waiting_name = n;
            return LOOKUP_WAIT;
        }
    }
    *out = &n->v[n->turn++ % n->n];
    return LOOKUP_OK;
}

void names_forget(struct xio *io)
{
    struct xio **at;

    if (!io->waiting_name)
        return;
    for (at = &io->waiting_name->waiting; *at != io;)
        at = &(*at)->name_next;
    *at = io->name_next;
    io->waiting_name = NULL;
}

static void arrived(struct worker *w, struct name_job *job)
{
    struct name *n = job->name;
    uint64_t now = worker_now(w);
    struct xio *io;

    n->asked = false;
    if (job->n) {
        free(n->v);
        n->v = job->v;
        n->n = job->n;
        job->v = NULL;
        n->fresh_until_us = now + FRESH_US;
        n->stale_until_us = n->fresh_until_us + STALE_US;
    } else {
        n->fresh_until_us = now + ABSENT_US; /* what was known goes on until it is too old */
    }
    free(job->v);
    free(job);
    while ((io = n->waiting)) {
        n->waiting = io->name_next;
        io->waiting_name = NULL;
        worker_ready(w, io);
    }
}

void names_arrived(struct worker *w)
{
    struct name_job *list, *next;

    pthread_mutex_lock(&w->mail_lock);
    list = w->mail;
    w->mail = NULL;
    pthread_mutex_unlock(&w->mail_lock);
    for (; list; list = next) {
        next = list->next;
        arrived(w, list);
    }
}

/* The resolver has stopped. */
void names_fini(struct worker *w)
{
    struct name *n;

    names_arrived(w);
    while ((n = w->names_all)) {
        w->names_all = n->all_next;
        name_free(n);
    }
}
