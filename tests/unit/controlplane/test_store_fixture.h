/*
 * test_store_fixture.h - a store in a folder of its own, with entities made for the tests:
 *
 *     makers   name unique, a column of every kind
 *     things   of a maker, who cannot go while it has some
 *     parts    of a thing, of a maker or of nobody; go with either; key (name, thing, maker)
 *     bits     of a part
 *     tokens   of a maker, may expire
 */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/store/store_priv.h"

#define KEY(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct field text_elem = {.type = FT_STRING};

struct maker {
    struct uuid id;
    struct str name, motto;
    int64_t weight;
    double ratio, created_at;
    bool enabled;
    struct list tags, labels;
    struct {
        int64_t x, y;
    } place;
    struct list snis; /* transient */
};
static const struct field place_fields[] = {
    {.name = "x", .num = 1, .type = FT_INTEGER, .off = 0},
    {.name = "y", .num = 2, .type = FT_INTEGER, .off = sizeof(int64_t)},
    F_END,
};
#define ID(S)                                                              \
    {                                                                      \
        .name = "id", .num = 1, .type = FT_STRING, .off = offsetof(S, id), \
        .flags = FF_AUTO | FF_UUID                                         \
    }
#define MAKER_FIELDS                                                                        \
    ID(struct maker), F_STR(struct maker, name, 2, .flags = FF_UNIQUE),                     \
        F_INT(struct maker, weight, 3), F_NUM(struct maker, ratio, 4),                      \
        F_BOOL(struct maker, enabled, 5), F_SET(struct maker, tags, 6, .elem = &text_elem), \
        F_MAP(struct maker, labels, 7, .key = &text_elem, .elem = &text_elem),              \
        F_RECORD(struct maker, place, 8, .fields = place_fields),                           \
        F_NUM(struct maker, created_at, 9),                                                 \
        F_ARRAY(struct maker, snis, 10, .flags = FF_TRANSIENT, .elem = &text_elem)
static const struct field maker_fields[] = {MAKER_FIELDS, F_END};
static const struct entity makers = {
    .name = "makers", .type = 1, .fields = maker_fields, .struct_size = sizeof(struct maker)};

struct thing {
    struct uuid id, maker;
    struct str name;
    struct list tags;
};
static const struct field thing_fields[] = {
    ID(struct thing),
    F_STR(struct thing, name, 2, .flags = FF_UNIQUE),
    F_FOREIGN(struct thing, maker, 3, .reference = "makers", .on_delete = FK_RESTRICT),
    F_SET(struct thing, tags, 4, .elem = &text_elem),
    F_END,
};
static const struct entity things = {
    .name = "things", .type = 2, .fields = thing_fields, .struct_size = sizeof(struct thing)};

struct part {
    struct uuid id, thing, maker;
    struct str name;
};
static const struct field part_fields[] = {
    ID(struct part),
    F_STR(struct part, name, 2),
    F_FOREIGN(struct part, thing, 3, .reference = "things", .on_delete = FK_CASCADE),
    F_FOREIGN(struct part, maker, 4, .reference = "makers", .on_delete = FK_CASCADE),
    F_END,
};
static const struct entity parts = {.name = "parts",
                                    .type = 3,
                                    .fields = part_fields,
                                    .cache_key = KEY("name", "thing", "maker"),
                                    .struct_size = sizeof(struct part)};

struct bit {
    struct uuid id, part;
};
static const struct field bit_fields[] = {
    ID(struct bit),
    F_FOREIGN(struct bit, part, 2, .reference = "parts", .on_delete = FK_CASCADE),
    F_END,
};
static const struct entity bits = {
    .name = "bits", .type = 4, .fields = bit_fields, .struct_size = sizeof(struct bit)};

struct token {
    struct uuid id, maker;
    struct str key;
    struct list tags;
    int64_t expires_at;
};
static const struct field token_fields[] = {
    ID(struct token),
    F_STR(struct token, key, 2, .flags = FF_UNIQUE),
    F_FOREIGN(struct token, maker, 3, .reference = "makers", .on_delete = FK_CASCADE),
    F_SET(struct token, tags, 4, .elem = &text_elem),
    F_INT(struct token, expires_at, 5),
    F_END,
};
static const struct entity tokens = {.name = "tokens",
                                     .type = 5,
                                     .fields = token_fields,
                                     .struct_size = sizeof(struct token),
                                     .has_ttl = true};

static const struct entity *const test_entities[] = {&makers, &things, &parts,
                                                     &bits,   &tokens, NULL};

/* ---- a folder, a store in it ---- */

struct fixture {
    char dir[64], file[96];
    struct store *s;
    uint64_t log_rows_max;
};

static inline void fixture_open(struct fixture *f)
{
    struct store_options o = {test_entities, f->log_rows_max ? f->log_rows_max : 1000};
    struct err e = {0};

    if (store_open_with(f->file, &o, &f->s, &e) != 0)
        fail_msg("store_open: %s", err_text(&e));
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/weir-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->file, sizeof(f->file), "%s/weir.db", f->dir);
    fixture_open(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    struct fixture *f = *state;
    char name[128];

    store_close(&f->s);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        snprintf(name, sizeof(name), "%s%s", f->file, ends[i]);
        unlink(name);
    }
    rmdir(f->dir);
    free(f);
    return 0;
}

/* ---- ids ---- */

static inline struct uuid uuid_n(unsigned kind, unsigned n)
{
    struct uuid u = {{0}};

    u.b[0] = (unsigned char)kind;
    u.b[13] = (unsigned char)(n >> 16);
    u.b[14] = (unsigned char)(n >> 8);
    u.b[15] = (unsigned char)n;
    return u;
}

/* "01000000-0000-0000-0000-000000000007", in a buffer of a ring of 8 */
static inline const char *id_n(unsigned kind, unsigned n)
{
    static _Thread_local char ring[8][UUID_TEXT_LEN + 1];
    static _Thread_local unsigned at;
    struct uuid u = uuid_n(kind, n);
    char *text = ring[at++ % 8];

    uuid_format(&u, text);
    return text;
}

/* ---- one operation as one job ---- */

enum op { OP_INSERT, OP_REPLACE, OP_DELETE };

struct op_job {
    struct store_job job;
    enum op op;
    const struct entity *ent;
    json_t *doc;
    struct uuid id;
    bool ok;
    int rc;
    uint64_t version;
};

static inline int op_run(struct store_job *job, struct txn *t, struct problem *p)
{
    struct op_job *o = CONTAINER_OF(job, struct op_job, job);

    switch (o->op) {
    case OP_INSERT: o->rc = txn_insert(t, o->ent, o->doc, p); break;
    case OP_REPLACE: o->rc = txn_replace(t, o->ent, o->doc, p); break;
    case OP_DELETE: o->rc = txn_delete(t, o->ent, &o->id, p); break;
    }
    return o->rc < 0 ? -1 : 0;
}

static inline void op_done(struct store_job *job, bool ok, uint64_t version)
{
    struct op_job *o = CONTAINER_OF(job, struct op_job, job);

    o->ok = ok;
    o->version = version;
}

/* Takes doc. The version, or 0 with *p (to be freed) when it failed or changed nothing. */
static inline uint64_t do_op(struct store *s, enum op op, const struct entity *ent, json_t *doc,
                             struct uuid id, struct problem *p)
{
    struct op_job o = {
        .job = {.run = op_run, .done = op_done}, .op = op, .ent = ent, .doc = doc, .id = id};

    store_run(s, &o.job);
    json_decref(doc);
    *p = o.job.problem;
    return o.version;
}

/* Must work. */
static inline uint64_t must(struct store *s, enum op op, const struct entity *ent, json_t *doc)
{
    struct problem p;
    uint64_t version = do_op(s, op, ent, doc, (struct uuid){{0}}, &p);

    if (p.kind != PROBLEM_NONE)
        fail_msg("write failed: %s", p.message);
    return version;
}

static inline uint64_t must_delete(struct store *s, const struct entity *ent, struct uuid id)
{
    struct problem p;
    uint64_t version = do_op(s, OP_DELETE, ent, NULL, id, &p);

    if (p.kind != PROBLEM_NONE)
        fail_msg("deletion failed: %s", p.message);
    return version;
}

/* ---- what a data plane would hold, and does it agree with the hash? ---- */

struct seen {
    struct state_hash hash;
    size_t n, pieces, lasts;
    unsigned highest_type; /* grows only: parents first */
};

static inline int see_piece(void *arg, struct str records, bool last)
{
    struct seen *seen = arg;
    struct record r;
    struct err e = {0};
    int rc;

    while ((rc = record_next(&records, &r, &e)) == 1) {
        assert_int_equal(r.op, REC_PUT);
        assert_true(r.type >= seen->highest_type);
        seen->highest_type = r.type;
        state_hash_add(&seen->hash, r.type, &r.key, r.body);
        seen->n++;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(seen->lasts, 0);
    seen->pieces++;
    seen->lasts += last;
    return 0;
}

/* Reads everything; fails unless the hash of the rows is the stored one. */
static inline size_t must_agree(struct store *s)
{
    struct store_info info = store_info(s);
    struct seen seen = {.n = 0};
    struct state_hash hash;
    uint64_t version;
    struct err e = {0};

    if (store_snapshot(s, 4096, see_piece, &seen, &version, &hash, &e) != 0)
        fail_msg("store_snapshot: %s", err_text(&e));
    assert_int_equal(seen.lasts, 1);
    assert_int_equal(version, info.version);
    assert_true(state_hash_eq(&hash, &info.hash));
    assert_true(state_hash_eq(&hash, &seen.hash));
    return seen.n;
}

#endif
