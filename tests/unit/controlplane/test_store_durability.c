/* What the store promises when things go wrong: crashes, full disks, other files, other forms. */
#include "test_store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "common/rand.h"

static json_t *maker(unsigned n, const char *name)
{
    return json_pack("{s:s, s:s}", "id", id_n(1, n), "name", name);
}

static json_t *numbered_maker(unsigned n)
{
    char name[16];

    snprintf(name, sizeof(name), "m%u", n);
    return maker(n, name);
}

static bool is_there(struct store *s, const struct entity *ent, struct uuid id)
{
    struct row_ref ref = {.id = id};
    struct problem p = {0};
    json_t *doc;
    int rc = store_get(s, ent, &ref, &doc, &p);

    assert_int_not_equal(rc, -1);
    json_decref(doc);
    return rc == 1;
}

static void reopen(struct fixture *f)
{
    store_close(&f->s);
    fixture_open(f);
}

/* The file as SQLite sees it: sound, and no row without its parent. */
static void must_be_sound(const char *file)
{
    sqlite3_stmt *st;
    struct err e = {0};
    struct db db;

    assert_int_equal(db_open(&db, file, DB_READER, &e), 0);
    st = db_stmt(&db, "PRAGMA integrity_check", &e);
    assert_int_equal(db_step(&db, st, &e), 1);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    db_done(st);
    st = db_stmt(&db, "PRAGMA foreign_key_check", &e);
    assert_int_equal(db_step(&db, st, &e), 0);
    db_done(st);
    db_close(&db);
}

/* ---- kill -9 ---- */

struct ack {
    uint32_t n;
    uint32_t op;
    uint64_t version;
};

struct victim_job {
    struct op_job op;
    uint32_t n;
    int pipe;
    sem_t *ended;
};

static void tell(struct store_job *job, bool ok, uint64_t version)
{
    struct victim_job *v = CONTAINER_OF(job, struct victim_job, op.job);
    struct ack a = {v->n, v->op.op, version};

    if (!ok || write(v->pipe, &a, sizeof(a)) != (ssize_t)sizeof(a))
        _exit(3);
    sem_post(v->ended);
}

struct victim {
    struct store *s;
    int pipe;
    uint32_t first;
};

/* Inserts its own numbers for ever, and deletes every third again. */
static void *victim_thread(void *arg)
{
    struct victim *v = arg;
    sem_t ended;

    sem_init(&ended, 0, 0);
    for (uint32_t n = v->first;; n++) {
        for (enum op op = OP_INSERT; op <= (n % 3 ? OP_INSERT : OP_DELETE); op += OP_DELETE) {
            struct victim_job j = {.op = {.job = {.run = op_run, .done = tell},
                                          .op = op,
                                          .ent = &makers,
                                          .id = uuid_n(1, n)},
                                   .n = n,
                                   .pipe = v->pipe,
                                   .ended = &ended};

            j.op.doc = numbered_maker(n);
            store_submit(v->s, &j.op.job);
            while (sem_wait(&ended) != 0)
                ;
            json_decref(j.op.doc);
        }
    }
    return NULL;
}

static void be_victim(const char *file, int pipe, uint32_t first)
{
    struct store_options o = {test_entities, 1000};
    struct victim v[4];
    pthread_t t[4];
    struct store *s;
    struct err e = {0};

    if (store_open_with(file, &o, &s, &e) != 0)
        _exit(2);
    for (unsigned i = 0; i < 4; i++) {
        v[i] = (struct victim){s, pipe, first + i * 100000};
        pthread_create(&t[i], NULL, victim_thread, &v[i]);
    }
    pthread_join(t[0], NULL);
}

#define ROUNDS   10
#define ACKS_MAX 200000

static void kill_nine(void **state)
{
    struct fixture *f = *state;
    struct ack *acks = xcalloc(ACKS_MAX, sizeof(*acks));
    size_t n = 0, checked = 0;
    uint64_t newest = 0;

    store_close(&f->s);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t want = n + 20 + (size_t)rand_below(150);
        int fd[2], status;
        bool shot = false;
        pid_t child;

        assert_int_equal(pipe(fd), 0);
        child = fork();
        assert_int_not_equal(child, -1);
        if (child == 0) {
            close(fd[0]);
            be_victim(f->file, fd[1], 1 + round * 400000);
            _exit(1);
        }
        close(fd[1]);
        while (n < ACKS_MAX && read(fd[0], &acks[n], sizeof(*acks)) == (ssize_t)sizeof(*acks)) {
            n++;
            if (n >= want && !shot) {
                kill(child, SIGKILL);
                shot = true;
            }
        }
        close(fd[0]);
        if (!shot)
            kill(child, SIGKILL);
        waitpid(child, &status, 0);
        assert_true(shot && WIFSIGNALED(status));

        fixture_open(f);
        for (; checked < n; checked++) {
            struct uuid id = uuid_n(1, acks[checked].n);

            if (acks[checked].version > newest)
                newest = acks[checked].version;
            /* of an id that is deleted, the last thing acknowledged counts */
            if (acks[checked].op == OP_DELETE)
                assert_false(is_there(f->s, &makers, id));
            else if (acks[checked].n % 3)
                assert_true(is_there(f->s, &makers, id));
        }
        assert_true(store_info(f->s).version >= newest);
        must_agree(f->s);
        must_be_sound(f->file);
        store_close(&f->s);
    }
    assert_true(n >= ROUNDS * 20);
    free(acks);
    fixture_open(f);
}

/* ---- group commit ---- */

#define THREADS    4
#define PER_THREAD 250

struct crowd {
    struct store *s;
    struct op_job jobs[PER_THREAD];
    unsigned first;
};

static void *submit_all(void *arg)
{
    struct crowd *c = arg;

    for (unsigned i = 0; i < PER_THREAD; i++) {
        c->jobs[i] = (struct op_job){.job = {.run = op_run, .done = op_done},
                                     .op = OP_INSERT,
                                     .ent = &makers,
                                     .doc = numbered_maker(c->first + i)};
        store_submit(c->s, &c->jobs[i].job);
    }
    return NULL;
}

struct watcher {
    struct store *s;
    _Atomic bool stop, wrong;
};

static int watch_piece(void *arg, struct str records, bool last)
{
    struct state_hash *h = arg;
    struct record r;

    (void)last;
    while (record_next(&records, &r, NULL) == 1)
        state_hash_add(h, r.type, &r.key, r.body);
    return 0;
}

/* Every snapshot taken meanwhile is one version, whole. */
static void *watch(void *arg)
{
    struct watcher *w = arg;
    uint64_t version, before = 0;

    while (!atomic_load(&w->stop)) {
        struct state_hash seen = {{0}}, hash;
        struct sbuf out = {0};

        if (store_snapshot(w->s, 4096, watch_piece, &seen, &version, &hash, NULL) != 0 ||
            !state_hash_eq(&seen, &hash) || version < before ||
            store_delta(w->s, before, &out, &version, &hash, NULL) != 1)
            atomic_store(&w->wrong, true);
        before = version;
        sbuf_free(&out);
    }
    return NULL;
}

static void count_commit(void *arg, uint64_t version)
{
    (void)version;
    atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static void group_commit(void **state)
{
    struct fixture *f = *state;
    struct crowd *crowds = xcalloc(THREADS, sizeof(*crowds));
    bool *seen = xcalloc(THREADS * PER_THREAD + 1, sizeof(*seen));
    struct watcher w = {.s = f->s};
    _Atomic unsigned commits = 0;
    pthread_t t[THREADS], wt;

    store_on_commit(f->s, count_commit, &commits);
    pthread_create(&wt, NULL, watch, &w);
    for (unsigned i = 0; i < THREADS; i++) {
        crowds[i].s = f->s;
        crowds[i].first = 1 + i * PER_THREAD;
        pthread_create(&t[i], NULL, submit_all, &crowds[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    atomic_store(&w.stop, true);
    pthread_join(wt, NULL);
    assert_false(atomic_load(&w.wrong));
    reopen(f); /* closing finishes what is queued */

    for (unsigned i = 0; i < THREADS; i++) {
        uint64_t before = 0;

        for (unsigned k = 0; k < PER_THREAD; k++) {
            const struct op_job *j = &crowds[i].jobs[k];

            assert_true(j->ok);
            assert_in_range(j->version, before + 1, THREADS * PER_THREAD); /* in the order queued */
            assert_false(seen[j->version]);
            seen[j->version] = true;
            before = j->version;
            json_decref(j->doc);
        }
    }
    assert_in_range(atomic_load(&commits), 4, THREADS * PER_THREAD / 2);
    assert_int_equal(must_agree(f->s), THREADS * PER_THREAD);
    assert_int_equal(store_info(f->s).version, THREADS * PER_THREAD);
    free(crowds);
    free(seen);
}

/* ---- a job that fails takes nothing with it ---- */

static int write_then_fail(struct store_job *job, struct txn *t, struct problem *p)
{
    json_t *doc = maker(77, "seventy-seven");
    int rc = txn_insert(t, &makers, doc, p);

    (void)job;
    json_decref(doc);
    assert_int_equal(rc, 0);
    return problem_set(p, PROBLEM_SCHEMA, NULL, "changed its mind");
}

static int fail_without_reason(struct store_job *job, struct txn *t, struct problem *p)
{
    (void)job;
    (void)t;
    (void)p;
    return -1;
}

static int look_and_overcome(struct store_job *job, struct txn *t, struct problem *p)
{
    struct uuid id = uuid_n(1, 1);
    json_t *doc = maker(1, "again");
    int rc = txn_insert(t, &makers, doc, p); /* refused: the id is taken */

    (void)job;
    json_decref(doc);
    assert_int_equal(rc, -1);
    return txn_delete(t, &makers, &id, p) == 1 ? 0 : -1;
}

static void jobs_fail_alone(void **state)
{
    struct fixture *f = *state;
    struct store_job bad = {.run = write_then_fail}, mute = {.run = fail_without_reason};
    struct store_job overcome = {.run = look_and_overcome};

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    assert_int_equal(store_run(f->s, &bad), -1);
    assert_string_equal(bad.problem.message, "changed its mind");
    problem_free(&bad.problem);
    assert_int_equal(store_run(f->s, &mute), -1);
    assert_int_equal(mute.problem.kind, PROBLEM_DATABASE);
    problem_free(&mute.problem);
    assert_int_equal(store_info(f->s).version, 1);
    assert_false(is_there(f->s, &makers, uuid_n(1, 77)));
    must(f->s, OP_INSERT, &makers, maker(2, "seventy-seven")); /* its name is free */
    assert_int_equal(store_run(f->s, &overcome), 0);
    assert_null(overcome.problem.message);
    assert_int_equal(must_agree(f->s), 1);
}

/* ---- full disks ---- */

static json_t *fat_maker(unsigned n)
{
    static char text[40000];
    json_t *doc = numbered_maker(n);

    memset(text, 'x', sizeof(text) - 1);
    json_object_set_new(doc, "labels", json_pack("{s:s}", "fat", text));
    return doc;
}

static int limit_pages(struct store_job *job, struct txn *t, struct problem *p)
{
    struct err e = {0};
    int64_t pages;
    char sql[64];

    (void)job;
    assert_int_equal(db_int(&t->s->db, "PRAGMA page_count", 0, &pages, &e), 0);
    snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %lld", (long long)pages + 40);
    (void)p;
    return db_exec(&t->s->db, sql, &e);
}

static int lift_limit(struct store_job *job, struct txn *t, struct problem *p)
{
    (void)job;
    (void)p;
    return db_exec(&t->s->db, "PRAGMA max_page_count = 1073741823", NULL);
}

/* Writes until it is refused. Returns how many were taken. */
static unsigned fill(struct store *s, unsigned limit)
{
    struct problem p;

    for (unsigned n = 1; n <= limit; n++) {
        if (do_op(s, OP_INSERT, &makers, fat_maker(n), (struct uuid){{0}}, &p) != 0)
            continue;
        assert_int_equal(p.kind, PROBLEM_DATABASE);
        assert_non_null(strstr(p.message, "full") ? strstr(p.message, "full")
                                                  : strstr(p.message, "I/O"));
        problem_free(&p);
        return n - 1;
    }
    fail_msg("the disk did not fill up");
    return 0;
}

static void pages_run_out(void **state)
{
    struct fixture *f = *state;
    struct store_job limit = {.run = limit_pages}, lift = {.run = lift_limit};
    unsigned taken;

    assert_int_equal(store_run(f->s, &limit), 0);
    taken = fill(f->s, 100);
    assert_int_equal(must_agree(f->s), taken);
    assert_int_equal(store_info(f->s).version, taken);
    assert_int_equal(store_run(f->s, &lift), 0);
    must(f->s, OP_INSERT, &makers, fat_maker(taken + 1));
    assert_int_equal(must_agree(f->s), taken + 1);
}

/* Here it is the commit that fails: the WAL cannot grow. */
static void commit_fails(void **state)
{
    struct fixture *f = *state;
    struct rlimit old, small;
    struct op_job jobs[3];
    unsigned taken;
    uint64_t version;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1 << 20;
    must(f->s, OP_INSERT, &makers, maker(999, "small")); /* so that the files are there */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    taken = fill(f->s, 100) + 1;
    version = store_info(f->s).version;
    assert_int_equal(version, taken);

    /* a batch that cannot be saved: none of it is acknowledged */
    for (unsigned i = 0; i < 3; i++) {
        jobs[i] = (struct op_job){.job = {.run = op_run, .done = op_done},
                                  .op = OP_INSERT,
                                  .ent = &makers,
                                  .doc = fat_maker(500 + i)};
        store_submit(f->s, &jobs[i].job);
    }
    struct problem p;
    assert_int_equal(do_op(f->s, OP_INSERT, &makers, fat_maker(600), (struct uuid){{0}}, &p), 0);
    problem_free(&p);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(jobs[i].ok);
        assert_int_equal(jobs[i].version, 0);
        assert_int_equal(jobs[i].job.problem.kind, PROBLEM_DATABASE);
        problem_free(&jobs[i].job.problem);
        json_decref(jobs[i].doc);
    }
    assert_int_equal(store_info(f->s).version, version);
    assert_int_equal(must_agree(f->s), taken); /* and reading goes on */

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    must(f->s, OP_INSERT, &makers, fat_maker(500));
    assert_int_equal(store_info(f->s).version, version + 1);
    reopen(f);
    assert_int_equal(must_agree(f->s), taken + 1);
    must_be_sound(f->file);
}

/* ---- opening ---- */

static void reopening_keeps_all(void **state)
{
    struct fixture *f = *state;
    struct store_info before, after;
    struct stat st;

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    must(f->s, OP_INSERT, &makers, maker(2, "two"));
    before = store_info(f->s);
    reopen(f);
    after = store_info(f->s);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_false(uuid_is_nil(&after.cluster));
    assert_int_equal(after.epoch, 1);
    assert_int_equal(after.version, 2);
    assert_true(store_reachable(f->s));
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600); /* private keys are in it */
    assert_int_equal(must(f->s, OP_INSERT, &makers, maker(3, "three")), 3);
}

/* Opens file with the given entities; must fail with a message that has both parts. */
static void must_refuse(const char *file, const struct entity *const *list, const char *part)
{
    struct store_options o = {list, 1000};
    struct err e = {0};
    struct store *s;

    if (store_open_with(file, &o, &s, &e) == 0)
        fail_msg("%s: was opened, expected \"%s\"", file, part);
    assert_null(s);
    if (!strstr(err_text(&e), file) || !strstr(err_text(&e), part))
        fail_msg("\"%s\" names not both %s and \"%s\"", err_text(&e), file, part);
}

static void exec_on(const char *file, const char *sql)
{
    struct db db;
    struct err e = {0};

    assert_int_equal(db_open(&db, file, DB_WRITER, &e), 0);
    assert_int_equal(db_exec(&db, sql, &e), 0);
    db_close(&db);
}

/* What the file holds may be damaged: an error, never an end of the process. */
static void damaged_body(void **state)
{
    struct fixture *f = *state;
    struct state_hash hash;
    struct sbuf out = {0};
    struct err e = {0};
    uint64_t to;

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    store_close(&f->s);
    exec_on(f->file, "UPDATE makers SET pb = zeroblob(600000)");
    reopen(f);
    assert_int_equal(store_delta(f->s, 0, &out, &to, &hash, &e), -1);
    assert_string_equal(e.message, "makers: damaged row");
    assert_int_equal(out.len, 0);
    sbuf_free(&out);
}

static void write_file(const char *file, const char *text)
{
    FILE *out = fopen(file, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void other_files(void **state)
{
    struct fixture *f = *state;
    char below[128];
    sqlite3 *h;

    must_refuse(f->file, test_entities, "in use by another process");
    store_close(&f->s);
    exec_on(f->file, "PRAGMA user_version = 99");
    must_refuse(f->file, test_entities, "written by a newer weir-cp");
    unlink(f->file);

    write_file(f->file, "this is not a database, but long enough to be looked at as one: "
                        "..........................................................");
    must_refuse(f->file, test_entities, "file is not a database");
    snprintf(below, sizeof(below), "%s/weir.db", f->file);
    must_refuse(below, test_entities, "Not a directory");
    unlink(f->file);

    assert_int_equal(sqlite3_open(f->file, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, "CREATE TABLE theirs(x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);
    must_refuse(f->file, test_entities, "database of another program");
    unlink(f->file);
    fixture_open(f);
}

/* In a child that is not root, whom no permission stops. */
static void read_only_places(void **state)
{
    struct fixture *f = *state;
    char below[128], lock[160];
    pid_t child;
    int status;

    store_close(&f->s);
    snprintf(below, sizeof(below), "%s/none.db", f->dir);
    snprintf(lock, sizeof(lock), "%s.lock", f->file);
    chmod(f->file, 0444);
    chmod(lock, 0666);
    chmod(f->dir, 0555);
    child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        must_refuse(below, test_entities, "Permission denied");
        must_refuse(f->file, test_entities, "read");
        _exit(0);
    }
    waitpid(child, &status, 0);
    chmod(f->dir, 0755);
    chmod(f->file, 0644);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    fixture_open(f);
}

/* ---- a newer program, and back ---- */

static const struct field maker_fields_2[] = {
    MAKER_FIELDS,
    F_STR(struct maker, motto, 11, .dflt = "\"none yet\""),
    F_END,
};
static const struct entity makers_2 = {
    .name = "makers", .type = 1, .fields = maker_fields_2, .struct_size = sizeof(struct maker)};
static const struct entity *const newer[] = {&makers_2, &things, &parts, &bits, &tokens, NULL};

static const struct field maker_fields_3[] = {MAKER_FIELDS, F_RETIRED(11), F_END};
static const struct entity makers_3 = {
    .name = "makers", .type = 1, .fields = maker_fields_3, .struct_size = sizeof(struct maker)};
static const struct entity *const newest[] = {&makers_3, &things, &parts, &bits, &tokens, NULL};
static const struct entity *const fewer[] = {&makers, &things, &parts, NULL};

#define MANY 1100 /* more than one page of the rewriting */

static int insert_many(struct store_job *job, struct txn *t, struct problem *p)
{
    int rc = 0;

    (void)job;
    for (unsigned i = 1; rc == 0 && i <= MANY; i++) {
        json_t *doc = numbered_maker(i);

        rc = txn_insert(t, &makers, doc, p);
        json_decref(doc);
    }
    return rc;
}

static void new_fields_and_entities(void **state)
{
    struct store_job many = {.run = insert_many};
    struct fixture *f = *state;
    struct store_options o = {fewer, 10000};
    struct row_ref ref = {.id = uuid_n(1, 1)};
    struct problem p = {0};
    struct sbuf out = {0};
    struct state_hash hash;
    struct err e = {0};
    uint64_t to;
    json_t *doc;

    store_close(&f->s);
    unlink(f->file);
    assert_int_equal(store_open_with(f->file, &o, &f->s, &e), 0);
    assert_int_equal(store_run(f->s, &many), 0);
    store_close(&f->s);

    o.entities = newer; /* bits and tokens are new, and a field of makers */
    assert_int_equal(store_open_with(f->file, &o, &f->s, &e), 0);
    assert_int_equal(store_info(f->s).version, 2); /* the default came as a version */
    assert_int_equal(must_agree(f->s), MANY);
    assert_int_equal(store_get(f->s, &makers_2, &ref, &doc, &p), 1);
    assert_string_equal(json_string_value(json_object_get(doc, "motto")), "none yet");
    json_decref(doc);
    assert_int_equal(store_delta(f->s, 1, &out, &to, &hash, &e), 1);
    assert_true(out.len > MANY * 17);
    sbuf_free(&out);
    must(f->s, OP_INSERT, &tokens,
         json_pack("{s:s, s:s, s:{s:s}}", "id", id_n(5, 1), "key", "k", "maker", "id", id_n(1, 1)));
    store_close(&f->s);
    must_refuse(f->file, fewer, "field bits.part (number 2)");
    must_refuse(f->file, test_entities, "field makers.motto (number 11)");

    o.entities = newest; /* where the field is retired */
    assert_int_equal(store_open_with(f->file, &o, &f->s, &e), 0);
    assert_int_equal(store_info(f->s).version, 3);
    store_close(&f->s);
    assert_int_equal(store_open_with(f->file, &o, &f->s, &e), 0);
}

/* ---- rows with an end ---- */

static json_t *token(unsigned n, const char *key, int64_t expires_at)
{
    return json_pack("{s:s, s:s, s:{s:s}, s:I, s:[s]}", "id", id_n(5, n), "key", key, "maker", "id",
                     id_n(1, 1), "expires_at", (json_int_t)expires_at, "tags", "t");
}

static void post(void *arg, uint64_t version)
{
    (void)version;
    sem_post(arg);
}

static void must_come(sem_t *sem)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    assert_int_equal(sem_timedwait(sem, &until), 0);
}

static void expiry(void **state)
{
    struct fixture *f = *state;
    struct page_query q = {.size = 10};
    struct problem p = {0};
    struct sbuf out = {0};
    struct state_hash hash;
    uint64_t to;
    char *offset;
    json_t *rows;
    sem_t commit;

    sem_init(&commit, 0, 0);
    clock_fake(1000000, 1000 * 1000000ull);
    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    must(f->s, OP_INSERT, &tokens, token(1, "short", 1010));
    must(f->s, OP_INSERT, &tokens, token(2, "too", 1010));
    must(f->s, OP_INSERT, &tokens, token(3, "long", 1020));
    assert_true(is_there(f->s, &tokens, uuid_n(5, 1)));

    clock_fake(1000000, 1010 * 1000000ull);
    assert_false(is_there(f->s, &tokens, uuid_n(5, 1))); /* before any sweep */
    assert_int_equal(store_page(f->s, &tokens, &q, &rows, &offset, &p), 0);
    assert_int_equal(json_array_size(rows), 1);
    json_decref(rows);
    store_on_commit(f->s, post, &commit);
    must(f->s, OP_INSERT, &tokens, token(4, "short", 1030)); /* the expired one is not in its way */
    must_come(&commit);
    must_come(&commit); /* the sweep's own version */
    assert_int_equal(store_info(f->s).version, 6);
    assert_int_equal(must_agree(f->s), 3);
    assert_int_equal(store_delta(f->s, 4, &out, &to, &hash, &(struct err){0}), 1);
    assert_int_equal(out.p[0], REC_DELETE << 6 | 5); /* data planes learn of it */
    sbuf_free(&out);

    store_on_commit(f->s, NULL, NULL);
    reopen(f); /* the next end is found again */
    assert_true(is_there(f->s, &tokens, uuid_n(5, 3)));
    store_close(&f->s);
    clock_fake(1000000, 1025 * 1000000ull);
    fixture_open(f);
    while (store_info(f->s).version < 7) /* nobody wrote: it went by itself */
        usleep(1000);
    assert_int_equal(must_agree(f->s), 2);
    clock_fake(0, 0);
    sem_destroy(&commit);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(kill_nine),     T(group_commit),     T(jobs_fail_alone),
        T(pages_run_out), T(commit_fails),     T(reopening_keeps_all),
        T(other_files),   T(read_only_places), T(new_fields_and_entities),
        T(expiry),        T(damaged_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
