/*
 * store.c - opening and closing, the writer thread, connections for reading.
 *
 * The writer takes what has queued up, runs each job in a savepoint, commits once, and only
 * then reports. A commit that fails takes its whole batch with it: nobody is told that
 * something is saved which is not. The store goes on; the next batch may find room again.
 */
#include "controlplane/store/store_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define EXPIRY_LOOK_S  60 /* so often at least the writer looks at the wall clock: it may jump */
#define SWEEP_RETRY_US 1000000 /* after a sweep that failed */

int64_t wall_s(void)
{
    return (int64_t)(clock_wall_us() / 1000000);
}

int problem_db(struct problem *p, const struct err *e)
{
    return problem_set(p, PROBLEM_DATABASE, NULL, "%s", err_text(e));
}

/* ---- connections for reading ---- */

struct reader *reader_take(struct store *s, struct err *e)
{
    struct reader *r;

    pthread_mutex_lock(&s->readers_lock);
    while (!s->readers && s->n_readers == READERS_MAX)
        pthread_cond_wait(&s->reader_free, &s->readers_lock);
    r = s->readers;
    if (r)
        s->readers = r->next;
    else
        s->n_readers++;
    pthread_mutex_unlock(&s->readers_lock);
    if (r)
        return r;

    r = xcalloc(1, sizeof(*r));
    if (db_open(&r->db, s->path, DB_READER, e) == 0)
        return r;
    free(r);
    pthread_mutex_lock(&s->readers_lock);
    s->n_readers--;
    pthread_cond_signal(&s->reader_free);
    pthread_mutex_unlock(&s->readers_lock);
    return NULL;
}

void reader_give(struct store *s, struct reader *r)
{
    pthread_mutex_lock(&s->readers_lock);
    r->next = s->readers;
    s->readers = r;
    pthread_cond_signal(&s->reader_free);
    pthread_mutex_unlock(&s->readers_lock);
}

bool store_reachable(struct store *s)
{
    struct err e = {0};
    struct reader *r = reader_take(s, &e);
    int64_t version;
    bool ok;

    if (!r)
        return false;
    ok = db_int(&r->db, "SELECT version FROM meta", -1, &version, &e) == 0 && version >= 0;
    reader_give(s, r);
    return ok;
}

/* ---- a batch of jobs ---- */

struct outcome {
    struct store_job *job;
    bool ok;
    uint64_t version;
};

struct batch {
    struct outcome of[BATCH_MAX];
    size_t n;
    struct store_info info; /* as it will be after the commit */
    uint64_t changes;
    int64_t next_expiry;
};

/* Returns -1 when the transaction itself is lost; the job's own failure is its outcome. */
static int run_job(struct store *s, struct batch *b, struct outcome *o, struct err *e)
{
    struct txn t = {s, b->info.version + 1, b->info.hash, 0, b->next_expiry};
    struct problem *p = &o->job->problem;

    if (db_exec(&s->db, "SAVEPOINT job", e) != 0)
        return -1;
    o->ok = o->job->run(o->job, &t, p) == 0;
    if (sqlite3_get_autocommit(s->db.h)) /* SQLite gave up the transaction: disk full, I/O error */
        return err_set(e, ERR_IO, "%s", p->message ? p->message : "the transaction was lost");
    if (!o->ok) {
        if (p->kind == PROBLEM_NONE)
            problem_set(p, PROBLEM_DATABASE, NULL, "the job failed without a reason");
        return db_exec(&s->db, "ROLLBACK TO job; RELEASE job", e);
    }
    problem_free(p); /* one that the job overcame */
    if (db_exec(&s->db, "RELEASE job", e) != 0)
        return -1;
    b->next_expiry = t.next_expiry;
    if (t.n_changes) {
        o->version = b->info.version = t.version;
        b->info.hash = t.hash;
        b->changes += t.n_changes;
    }
    return 0;
}

/* Drops whole versions from the log's old end. */
static int trim_log(struct store *s, uint64_t rows, uint64_t *rows_out, struct err *e)
{
    struct db *db = &s->db;
    int64_t newest, cut;
    sqlite3_stmt *st;

    *rows_out = rows;
    if (rows <= s->log_rows_max + CHANGE_LOG_SLACK)
        return 0;
    if (db_int(db, "SELECT max(n) FROM change", 0, &newest, e) != 0)
        return -1;
    st = db_stmt(db,
                 "UPDATE meta SET log_start = (SELECT ver FROM change WHERE n <= ?1 "
                 "ORDER BY n DESC LIMIT 1) RETURNING log_start",
                 e);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, newest - (int64_t)s->log_rows_max);
    cut = db_step(db, st, e) == 1 ? sqlite3_column_int64(st, 0) : -1;
    db_done(st);
    if (cut < 0)
        return -1;
    st = db_stmt(db, "DELETE FROM change WHERE ver <= ?1", e);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, cut);
    if (db_run(db, st, e) != 0)
        return -1;
    *rows_out = rows - (uint64_t)sqlite3_changes64(db->h);
    return 0;
}

/* Runs the jobs of b up to the commit. On -1 nothing of it is in the database. */
static int commit_batch(struct store *s, struct batch *b, struct err *e)
{
    uint64_t rows = s->log_rows;

    if (db_exec(&s->db, "BEGIN IMMEDIATE", e) != 0)
        return -1;
    for (size_t i = 0; i < b->n; i++)
        if (run_job(s, b, &b->of[i], e) != 0)
            return -1;
    if (b->changes &&
        (meta_write(&s->db, &b->info, e) != 0 || trim_log(s, rows + b->changes, &rows, e) != 0))
        return -1;
    if (db_exec(&s->db, "COMMIT", e) != 0)
        return -1;
    s->log_rows = rows;
    s->next_expiry = b->next_expiry;
    return 0;
}

static void fail_batch(struct store *s, struct batch *b, const struct err *e)
{
    if (!sqlite3_get_autocommit(s->db.h))
        sqlite3_exec(s->db.h, "ROLLBACK", NULL, NULL, NULL);
    LOG_LIMITED(LOG_ERROR, "store_write_failed", "jobs=%zu error=\"%s\"", b->n, err_text(e));
    for (size_t i = 0; i < b->n; i++) {
        b->of[i].ok = false;
        b->of[i].version = 0;
        problem_set(&b->of[i].job->problem, PROBLEM_DATABASE, NULL, "nothing was saved: %s",
                    err_text(e));
    }
}

static void run_batch(struct store *s, struct batch *b)
{
    void (*on_commit)(void *arg, uint64_t version) = NULL;
    void *arg = NULL;
    struct err e = {0};

    b->info = s->info; /* the writer alone changes it */
    b->next_expiry = s->next_expiry;
    if (commit_batch(s, b, &e) != 0) {
        fail_batch(s, b, &e);
    } else if (b->changes) {
        pthread_mutex_lock(&s->lock);
        s->info = b->info;
        on_commit = s->on_commit;
        arg = s->on_commit_arg;
        pthread_mutex_unlock(&s->lock);
    }
    if (on_commit)
        on_commit(arg, b->info.version);
    for (size_t i = 0; i < b->n; i++)
        if (b->of[i].job->done)
            b->of[i].job->done(b->of[i].job, b->of[i].ok, b->of[i].version);
}

/* ---- rows with an end ---- */

static int run_sweep(struct store_job *job, struct txn *t, struct problem *p)
{
    (void)job;
    return txn_sweep(t, p);
}

/*
 * Expired rows go in a version of their own: data planes learn it like any deletion. When
 * that fails (a full disk) it is tried again after a while.
 */
static void sweep(struct store *s, struct batch *b)
{
    struct store_job job = {.run = run_sweep};

    if (s->next_expiry > wall_s() || clock_mono_us() < s->sweep_mono_us)
        return;
    *b = (struct batch){.of = {{.job = &job}}, .n = 1};
    run_batch(s, b);
    if (!b->of[0].ok)
        s->sweep_mono_us = clock_mono_us() + SWEEP_RETRY_US;
    problem_free(&job.problem);
}

/* ---- the writer ---- */

/* Waits for work, or until something may have expired. */
static void wait_for_work(struct store *s)
{
    int64_t left = s->next_expiry - wall_s();
    struct timespec until;
    int rc = 0;

    if (s->next_expiry == INT64_MAX) {
        while (!s->head && !s->stop)
            pthread_cond_wait(&s->work, &s->lock);
        return;
    }
    if (left <= 0)
        left = clock_mono_us() < s->sweep_mono_us ? 1 : 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += left > EXPIRY_LOOK_S ? EXPIRY_LOOK_S : left;
    while (!s->head && !s->stop && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->work, &s->lock, &until);
}

static void take_jobs(struct store *s, struct batch *b)
{
    *b = (struct batch){.n = 0};
    while (s->head && b->n < BATCH_MAX) {
        b->of[b->n++] = (struct outcome){.job = s->head};
        s->head = s->head->next;
    }
    if (!s->head)
        s->tail = &s->head;
}

static void *writer(void *arg)
{
    struct store *s = arg;
    struct batch *b = xmalloc(sizeof(*b));

    pthread_mutex_lock(&s->lock);
    while (s->head || !s->stop) {
        wait_for_work(s);
        take_jobs(s, b);
        pthread_mutex_unlock(&s->lock);
        if (b->n)
            run_batch(s, b);
        sweep(s, b);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    free(b);
    return NULL;
}

void store_submit(struct store *s, struct store_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&s->lock);
    WEIR_ASSERT(!s->stop);
    *s->tail = job;
    s->tail = &job->next;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

/* ---- waiting for a job ---- */

struct waiting {
    struct store_job job;
    struct store_job *inner;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done, ok;
};

static int run_inner(struct store_job *job, struct txn *t, struct problem *p)
{
    struct waiting *w = CONTAINER_OF(job, struct waiting, job);

    return w->inner->run(w->inner, t, p);
}

static void inner_done(struct store_job *job, bool ok, uint64_t version)
{
    struct waiting *w = CONTAINER_OF(job, struct waiting, job);

    w->inner->problem = job->problem;
    if (w->inner->done)
        w->inner->done(w->inner, ok, version);
    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->ok = ok;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

int store_run(struct store *s, struct store_job *job)
{
    struct waiting w = {
        .job = {.run = run_inner, .done = inner_done},
        .inner = job,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .ended = PTHREAD_COND_INITIALIZER,
    };

    WEIR_ASSERT(!pthread_equal(pthread_self(), s->writer));
    problem_free(&job->problem);
    store_submit(s, &w.job);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.ended);
    return w.ok ? 0 : -1;
}

/* ---- life ---- */

struct store_info store_info(struct store *s)
{
    struct store_info info;

    pthread_mutex_lock(&s->lock);
    info = s->info;
    pthread_mutex_unlock(&s->lock);
    return info;
}

void store_on_commit(struct store *s, void (*fn)(void *arg, uint64_t version), void *arg)
{
    pthread_mutex_lock(&s->lock);
    s->on_commit = fn;
    s->on_commit_arg = arg;
    pthread_mutex_unlock(&s->lock);
}

/*
 * The version lives in the writer's memory, so two processes on one file would number their
 * writes alike. The lock is a file of its own: closing any descriptor of the database would
 * drop SQLite's locks (POSIX).
 */
static int lock_file(struct store *s, struct err *e)
{
    struct sbuf path = {0};
    int rc = 0;

    sbuf_addf(&path, "%s.lock", s->path);
    s->lock_fd = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        rc = err_sys(e, "cannot create '%s'", path.p);
    else if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK
                 ? err_set(e, ERR_CONFLICT, "the database is in use by another process")
                 : err_sys(e, "cannot lock '%s'", path.p);
    sbuf_free(&path);
    return rc;
}

/* SQLite would let the group and the world read it, private keys included. */
static int create_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return errno == EEXIST ? 0 : err_sys(e, "cannot create the database");
    close(fd);
    return 0;
}

static void init_sync(struct store *s)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, &attr);
    pthread_mutex_init(&s->readers_lock, NULL);
    pthread_cond_init(&s->reader_free, NULL);
    pthread_condattr_destroy(&attr);
}

static void store_free(struct store *s)
{
    while (s->readers) {
        struct reader *r = s->readers;

        s->readers = r->next;
        db_close(&r->db);
        free(r);
    }
    db_close(&s->db); /* last: it takes the WAL with it */
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->readers_lock);
    pthread_cond_destroy(&s->reader_free);
    layout_free(&s->layout);
    free(s->path);
    free(s);
}

int store_open_with(const char *path, const struct store_options *o, struct store **out,
                    struct err *e)
{
    struct store *s = xcalloc(1, sizeof(*s));

    *out = NULL;
    s->path = xstrdup(path);
    s->lock_fd = -1;
    s->tail = &s->head;
    s->next_expiry = INT64_MAX;
    s->log_rows_max = o->log_rows_max;
    s->layout = layout_new(o->entities);
    init_sync(s);
    if (lock_file(s, e) != 0 || create_file(path, e) != 0 ||
        db_open(&s->db, path, DB_WRITER, e) != 0 || migrate(s, e) != 0) {
        err_in(e, path);
        store_free(s);
        return -1;
    }
    WEIR_ASSERT(pthread_create(&s->writer, NULL, writer, s) == 0);
    *out = s;
    return 0;
}

int store_open(const char *path, struct store **out, struct err *e)
{
    struct store_options o = {entities, CHANGE_LOG_ROWS};

    return store_open_with(path, &o, out, e);
}

void store_close(struct store **sp)
{
    struct store *s = *sp;

    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->writer, NULL);
    store_free(s);
    *sp = NULL;
}
