/* tickets.c - see tickets.h. */
#include "controlplane/tickets.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/tickets.h"

#define RETRY_S 60
#define LOOK_S  3600 /* so often at least: the wall clock may be set */

struct tickets {
    struct store *store;
    int64_t rotation_s;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
};

/* One look at the keys; wait_s comes out of it. */
struct rotation {
    struct store_job job;
    int64_t rotation_s, wait_s;
};

static int64_t serial_of(const json_t *row)
{
    return json_integer_value(json_object_get(row, "serial"));
}

static int64_t made_at(const json_t *row)
{
    return json_integer_value(json_object_get(row, "created_at"));
}

static const json_t *extreme(const json_t *rows, bool newest)
{
    const json_t *found = NULL, *row;
    size_t i;

    json_array_foreach(rows, i, row)
        if (!found || (serial_of(row) > serial_of(found)) == newest)
            found = row;
    return found;
}

static int drop_oldest(struct txn *t, json_t *rows, struct problem *p)
{
    const json_t *oldest = extreme(rows, false), *row;
    struct uuid id;
    size_t i;

    WEIR_ASSERT(uuid_parse(json_str(json_object_get(oldest, "id")), &id));
    if (txn_delete(t, &entity_tls_ticket_keys, &id, p) < 0)
        return -1;
    json_array_foreach(rows, i, row)
        if (row == oldest)
            break;
    json_array_remove(rows, i);
    return 0;
}

static int run(struct store_job *job, struct txn *t, struct problem *p)
{
    struct rotation *r = CONTAINER_OF(job, struct rotation, job);
    const struct page_query all = {.size = 1000};
    int64_t now = (int64_t)(clock_wall_us() / 1000000), serial;
    struct ticket_plan plan;
    char *offset = NULL;
    json_t *rows = NULL;
    int rc = txn_page(t, &entity_tls_ticket_keys, &all, &rows, &offset, p);

    free(offset);
    if (rc < 0)
        return -1;
    plan = ticket_plan(json_array_size(rows), made_at(extreme(rows, true)), now, r->rotation_s);
    serial = serial_of(extreme(rows, true));
    rc = 0;
    for (unsigned i = 0; i < plan.drop && rc == 0; i++)
        rc = drop_oldest(t, rows, p);
    for (unsigned i = 0; i < plan.add && rc == 0; i++) {
        json_t *doc = ticket_key_new(++serial);

        rc = txn_insert(t, &entity_tls_ticket_keys, doc, p);
        json_array_append_new(rows, doc);
    }
    if (rc == 0)
        r->wait_s = ticket_wait_s(json_array_size(rows), made_at(extreme(rows, true)), now, r->rotation_s);
    json_decref(rows);
    return rc;
}

/* -1 with r->job.problem. */
static int rotate(struct tickets *t, struct rotation *r)
{
    *r = (struct rotation){.job = {.run = run}, .rotation_s = t->rotation_s};
    return store_run(t->store, &r->job);
}

static int64_t look(struct tickets *t)
{
    struct rotation r;

    if (rotate(t, &r) == 0)
        return r.wait_s < LOOK_S ? r.wait_s : LOOK_S;
    LOG(LOG_ERROR, "ticket_keys_not_rotated", "cause=\"%s\"", r.job.problem.message);
    problem_free(&r.job.problem);
    return RETRY_S;
}

static void *loop(void *arg)
{
    struct tickets *t = arg;

    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        struct timespec until;
        int64_t wait_s;

        pthread_mutex_unlock(&t->lock);
        wait_s = look(t);
        pthread_mutex_lock(&t->lock);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += wait_s > 0 ? wait_s : 1;
        while (!t->stop && pthread_cond_timedwait(&t->wake, &t->lock, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int tickets_start(struct store *s, int64_t rotation_s, struct tickets **out, struct err *e)
{
    struct tickets *t = xcalloc(1, sizeof(*t));
    pthread_condattr_t attr;
    struct rotation first;
    int rc;

    *out = NULL;
    t->store = s;
    t->rotation_s = rotation_s;
    if (rotate(t, &first) != 0) {
        err_set(e, ERR_IO, "keys of session tickets: %s", first.job.problem.message);
        problem_free(&first.job.problem);
        free(t);
        return -1;
    }
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);
    rc = pthread_create(&t->thread, NULL, loop, t);
    if (rc != 0) {
        pthread_cond_destroy(&t->wake);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return err_set(e, ERR_IO, "the thread of session tickets did not start: %s", strerror(rc));
    }
    pthread_setname_np(t->thread, "weir-tickets");
    *out = t;
    return 0;
}

void tickets_stop(struct tickets **tp)
{
    struct tickets *t = *tp;

    if (!t)
        return;
    *tp = NULL;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
