/* Rows, problems, pages, tags, deltas and snapshots of the store. */
#include "test_store_fixture.h"

static json_t *maker(unsigned n, const char *name)
{
    return json_pack("{s:s, s:s}", "id", id_n(1, n), "name", name);
}

static json_t *thing(unsigned n, const char *name, unsigned of)
{
    return json_pack("{s:s, s:s, s:{s:s}}", "id", id_n(2, n), "name", name, "maker", "id",
                     id_n(1, of));
}

/* thing, maker: 0 is null */
static json_t *part(unsigned n, const char *name, unsigned of_thing, unsigned of_maker)
{
    json_t *doc = json_pack("{s:s, s:s}", "id", id_n(3, n), "name", name);

    json_object_set_new(doc, "thing",
                        of_thing ? json_pack("{s:s}", "id", id_n(2, of_thing)) : json_null());
    if (of_maker)
        json_object_set_new(doc, "maker", json_pack("{s:s}", "id", id_n(1, of_maker)));
    return doc;
}

static json_t *get(struct store *s, const struct entity *ent, struct uuid id)
{
    struct row_ref ref = {.id = id};
    struct problem p = {0};
    json_t *doc;

    assert_int_not_equal(store_get(s, ent, &ref, &doc, &p), -1);
    return doc;
}

/* ---- rows ---- */

static void rows_come_back(void **state)
{
    struct fixture *f = *state;
    json_t *doc =
        json_pack("{s:s, s:s, s:I, s:f, s:b, s:[s,s], s:{s:s}, s:{s:i,s:i}, s:f, s:n}", "id",
                  id_n(1, 1), "name", "ünï", "weight", (json_int_t)-9007199254740993, "ratio", 0.25,
                  "enabled", 1, "tags", "a", "b", "labels", "k", "v", "place", "x", 3, "y", 4,
                  "created_at", 1700000000.123, "snis");
    struct row_ref by_name = {.by = "name", .value = STR("ünï")};
    struct problem p = {0};
    json_t *got;

    assert_int_equal(must(f->s, OP_INSERT, &makers, json_incref(doc)), 1);
    got = get(f->s, &makers, uuid_n(1, 1));
    json_object_del(doc, "snis"); /* null, and transient too */
    assert_true(json_equal(got, doc));
    json_decref(got);

    assert_int_equal(store_get(f->s, &makers, &by_name, &got, &p), 1);
    assert_true(json_equal(got, doc));
    json_decref(got);
    by_name.value = STR("ÜNÏ");
    assert_int_equal(store_get(f->s, &makers, &by_name, &got, &p), 0);
    assert_null(got);

    json_object_set_new(doc, "name", json_null());
    json_object_set_new(doc, "tags", json_array());
    assert_int_equal(must(f->s, OP_REPLACE, &makers, json_incref(doc)), 2);
    got = get(f->s, &makers, uuid_n(1, 1));
    json_object_del(doc, "name");
    assert_true(json_equal(got, doc));
    json_decref(got);
    json_decref(doc);

    assert_int_equal(must_agree(f->s), 1);
    assert_int_equal(must_delete(f->s, &makers, uuid_n(1, 1)), 3);
    assert_int_equal(must_delete(f->s, &makers, uuid_n(1, 1)), 0); /* nothing changed */
    assert_null(get(f->s, &makers, uuid_n(1, 1)));
    assert_int_equal(must_agree(f->s), 0);
    assert_int_equal(store_info(f->s).version, 3);
}

static void parent_narrows(void **state)
{
    struct fixture *f = *state;
    struct row_ref ref = {
        .by = "name", .value = STR("t"), .parent_field = "maker", .parent = uuid_n(1, 1)};
    struct problem p = {0};
    json_t *got;

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    must(f->s, OP_INSERT, &makers, maker(2, "two"));
    must(f->s, OP_INSERT, &things, thing(1, "t", 1));
    assert_int_equal(store_get(f->s, &things, &ref, &got, &p), 1);
    json_decref(got);
    ref.parent = uuid_n(1, 2);
    assert_int_equal(store_get(f->s, &things, &ref, &got, &p), 0);
}

/* ---- problems ---- */

static void body_is(const struct problem *p, const char *expected)
{
    json_t *body = problem_body(p), *want = json_loads(expected, 0, NULL);

    assert_non_null(want);
    if (!json_equal(body, want)) {
        char *text = json_dumps(body, JSON_SORT_KEYS);
        fail_msg("%s\nexpected %s", text, expected);
    }
    json_decref(body);
    json_decref(want);
}

#define M1 "01000000-0000-0000-0000-000000000001"
#define M9 "01000000-0000-0000-0000-000000000009"
#define T1 "02000000-0000-0000-0000-000000000001"

static void problems(void **state)
{
    struct fixture *f = *state;
    struct {
        const char *name;
        enum op op;
        const struct entity *ent;
        json_t *doc;
        struct uuid id;
        const char *body;
    } cases[] = {
        {"id taken",
         OP_INSERT,
         &makers,
         maker(1, "other"),
         {{0}},
         "{\"code\":3,\"name\":\"primary key violation\",\"fields\":{\"id\":\"" M1 "\"},"
         "\"message\":\"primary key violation on key '{id=\\\"" M1 "\\\"}'\"}"},
        {"no id",
         OP_INSERT,
         &makers,
         json_pack("{s:s}", "id", "zz"),
         {{0}},
         "{\"code\":1,\"name\":\"invalid primary key\",\"fields\":{\"id\":\"expected a valid "
         "UUID\"},"
         "\"message\":\"invalid primary key: '{id=\\\"expected a valid UUID\\\"}'\"}"},
        {"name taken",
         OP_INSERT,
         &makers,
         maker(3, "one"),
         {{0}},
         "{\"code\":5,\"name\":\"unique constraint violation\",\"fields\":{\"name\":\"one\"},"
         "\"message\":\"UNIQUE violation detected on '{name=\\\"one\\\"}'\"}"},
        {"name taken on replace",
         OP_REPLACE,
         &makers,
         maker(2, "one"),
         {{0}},
         "{\"code\":5,\"name\":\"unique constraint violation\",\"fields\":{\"name\":\"one\"},"
         "\"message\":\"UNIQUE violation detected on '{name=\\\"one\\\"}'\"}"},
        {"key taken, nulls",
         OP_INSERT,
         &parts,
         part(7, "global", 0, 0),
         {{0}},
         "{\"code\":5,\"name\":\"unique constraint violation\","
         "\"fields\":{\"name\":\"global\",\"thing\":null,\"maker\":null},"
         "\"message\":\"UNIQUE violation detected on "
         "'{maker=null,name=\\\"global\\\",thing=null}'\"}"},
        {"key taken, foreign",
         OP_INSERT,
         &parts,
         part(7, "p", 1, 0),
         {{0}},
         "{\"code\":5,\"name\":\"unique constraint violation\","
         "\"fields\":{\"name\":\"p\",\"thing\":{\"id\":\"" T1 "\"},\"maker\":null},"
         "\"message\":\"UNIQUE violation detected on "
         "'{maker=null,name=\\\"p\\\",thing={id=\\\"" T1 "\\\"}}'\"}"},
        {"parent missing",
         OP_INSERT,
         &things,
         thing(5, "t5", 9),
         {{0}},
         "{\"code\":4,\"name\":\"foreign key violation\",\"fields\":{\"maker\":{\"id\":\"" M9
         "\"}},"
         "\"message\":\"the foreign key '{id=\\\"" M9 "\\\"}' does not reference an existing "
         "'makers' entity.\"}"},
        {"parent missing on replace",
         OP_REPLACE,
         &things,
         thing(1, "t1", 9),
         {{0}},
         "{\"code\":4,\"name\":\"foreign key violation\",\"fields\":{\"maker\":{\"id\":\"" M9
         "\"}},"
         "\"message\":\"the foreign key '{id=\\\"" M9 "\\\"}' does not reference an existing "
         "'makers' entity.\"}"},
        {"still referenced", OP_DELETE, &makers, NULL, uuid_n(1, 1),
         "{\"code\":4,\"name\":\"foreign key "
         "violation\",\"fields\":{\"@referenced_by\":\"things\"},"
         "\"message\":\"an existing 'things' entity references this 'makers' entity\"}"},
        {"replace of nothing",
         OP_REPLACE,
         &makers,
         maker(9, "nine"),
         {{0}},
         "{\"code\":6,\"name\":\"not found\",\"fields\":{\"id\":\"" M9 "\"},"
         "\"message\":\"could not find the entity with primary key '{id=\\\"" M9 "\\\"}'\"}"},
    };
    uint64_t before;

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    must(f->s, OP_INSERT, &makers, maker(2, "two"));
    must(f->s, OP_INSERT, &things, thing(1, "t1", 1));
    must(f->s, OP_INSERT, &parts, part(1, "p", 1, 0));
    must(f->s, OP_INSERT, &parts, part(2, "global", 0, 0));
    must(f->s, OP_INSERT, &parts, part(3, "p", 1, 2)); /* alike but for the maker */
    must(f->s, OP_INSERT, &parts, part(5, "below one", 0, 1));
    before = store_info(f->s).version;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct problem p;

        if (do_op(f->s, cases[i].op, cases[i].ent, cases[i].doc, cases[i].id, &p) != 0 ||
            p.kind == PROBLEM_NONE)
            fail_msg("%s: was let through", cases[i].name);
        body_is(&p, cases[i].body);
        problem_free(&p);
    }
    assert_int_equal(store_info(f->s).version, before);
    assert_int_equal(must_agree(f->s), 7); /* the refused cascade took back its first part */
    must(f->s, OP_REPLACE, &makers, maker(1, "one")); /* a row is not in its own way */
    must(f->s, OP_REPLACE, &parts, part(1, "p", 1, 0));
}

static void problem_bodies(void **state)
{
    struct problem p = {0};

    (void)state;
    problem_set(&p, PROBLEM_OPTIONS, json_pack("{s:s}", "tags", "cannot be null"), "m");
    body_is(&p, "{\"code\":11,\"name\":\"invalid options\",\"message\":\"m\","
                "\"options\":{\"tags\":\"cannot be null\"}}");
    problem_set(&p, PROBLEM_UNIQUE_INVALID, json_pack("{s:s}", "name", "b@d"),
                "invalid value: b@d");
    body_is(&p,
            "{\"code\":10,\"name\":\"invalid unique name\",\"message\":\"invalid value: b@d\"}");
    problem_set(&p, PROBLEM_DATABASE, NULL, "disk is full");
    body_is(&p, "{\"message\":\"An unexpected error occurred\"}");
    assert_int_equal(problem_status(&p), 500);
    problem_not_found(&p, json_pack("{s:s}", "name", "foo"));
    assert_string_equal(p.message, "could not find the entity with '{name=\"foo\"}'");
    assert_int_equal(problem_status(&p), 404);
    problem_free(&p);
    assert_null(p.message);
}

/* The database itself refuses too, should a check be missing: the net holds. */
static void constraints_hold(void **state)
{
    static const char *const refused[] = {
        "UPDATE makers SET name = 'one'",
        "DELETE FROM makers WHERE name = 'one'",
        "INSERT INTO parts(id, name, pb) VALUES(x'77', 'global', x'')",
        "UPDATE things SET maker = x'00000000000000000000000000000000'",
    };
    struct fixture *f = *state;
    struct db db;
    struct err e = {0};

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    must(f->s, OP_INSERT, &makers, maker(2, "two"));
    must(f->s, OP_INSERT, &things, thing(1, "t1", 1));
    must(f->s, OP_INSERT, &parts, part(2, "global", 0, 0));
    assert_int_equal(db_open(&db, f->file, DB_WRITER, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        e = (struct err){0};
        assert_int_equal(db_exec(&db, refused[i], &e), -1);
        assert_int_equal(e.code, ERR_CONFLICT);
    }
    db_close(&db);
}

/* ---- cascades, deltas ---- */

/* What a data plane without a configuration makes of a delta. */
struct delta {
    struct sbuf bytes;
    uint64_t to;
    struct state_hash hash;
    int rc;
    char text[512]; /* "-3.1 -2.1 +1.4": operation, type, number of the id */
};

static void read_delta(struct store *s, uint64_t from, struct delta *d)
{
    struct err e = {0};
    struct record r;
    struct str rest;
    size_t at = 0;

    *d = (struct delta){.rc = 0};
    d->rc = store_delta(s, from, &d->bytes, &d->to, &d->hash, &e);
    rest = sbuf_str(&d->bytes);
    while (record_next(&rest, &r, &e) == 1)
        at += (size_t)snprintf(d->text + at, sizeof(d->text) - at, "%s%c%u.%u", at ? " " : "",
                               r.op == REC_PUT ? '+' : '-', r.type, r.key.b[15]);
    sbuf_free(&d->bytes);
}

static void cascade(void **state)
{
    struct fixture *f = *state;
    struct delta d;
    uint64_t v;

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    must(f->s, OP_INSERT, &makers, maker(2, "two"));
    must(f->s, OP_INSERT, &things, thing(1, "t1", 1));
    must(f->s, OP_INSERT, &parts, part(1, "p", 1, 0));
    must(f->s, OP_INSERT, &parts, part(2, "p", 1, 2)); /* reached by two ways */
    must(f->s, OP_INSERT, &parts, part(3, "p", 0, 2));
    must(f->s, OP_INSERT, &bits,
         json_pack("{s:s, s:{s:s}}", "id", id_n(4, 1), "part", "id", id_n(3, 2)));
    v = store_info(f->s).version;
    assert_int_equal(must_delete(f->s, &things, uuid_n(2, 1)), v + 1); /* one write, one version */
    read_delta(f->s, v, &d);
    assert_string_equal(d.text, "-4.1 -3.1 -3.2 -2.1");
    assert_int_equal(d.to, v + 1);
    assert_int_equal(must_agree(f->s), 3);
    must_delete(f->s, &makers, uuid_n(1, 2));
    assert_int_equal(must_agree(f->s), 1);
}

static void delta_coalesces(void **state)
{
    struct fixture *f = *state;
    struct store_info info;
    struct delta d;

    must(f->s, OP_INSERT, &makers, maker(1, "one"));    /* 1 */
    must(f->s, OP_INSERT, &things, thing(1, "t1", 1));  /* 2 */
    must(f->s, OP_REPLACE, &makers, maker(1, "uno"));   /* 3 */
    must(f->s, OP_INSERT, &makers, maker(2, "two"));    /* 4 */
    must(f->s, OP_REPLACE, &things, thing(1, "t1", 2)); /* 5 */
    must_delete(f->s, &makers, uuid_n(1, 1));           /* 6 */
    info = store_info(f->s);
    assert_int_equal(info.version, 6);

    static const struct {
        uint64_t from;
        const char *text;
    } cases[] = {
        {0, "-1.1 +1.2 +2.1"}, {2, "-1.1 +1.2 +2.1"}, {4, "-1.1 +2.1"}, {5, "-1.1"}, {6, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        read_delta(f->s, cases[i].from, &d);
        assert_int_equal(d.rc, 1);
        assert_string_equal(d.text, cases[i].text);
        assert_int_equal(d.to, 6);
        assert_true(state_hash_eq(&d.hash, &info.hash));
    }
    read_delta(f->s, 7, &d); /* of another life of this database */
    assert_int_equal(d.rc, 0);
}

/* A row deleted and made anew is there in the end. */
static void delta_delete_then_put(void **state)
{
    struct fixture *f = *state;
    struct delta d;

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    must_delete(f->s, &makers, uuid_n(1, 1));
    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    read_delta(f->s, 1, &d);
    assert_string_equal(d.text, "+1.1");
}

static int small_log(void **state)
{
    struct fixture *f;

    fixture_setup(state);
    f = *state;
    store_close(&f->s);
    f->log_rows_max = 10;
    fixture_open(f);
    return 0;
}

static void log_is_trimmed(void **state)
{
    struct fixture *f = *state;
    const uint64_t writes = 10 + CHANGE_LOG_SLACK + 5;
    uint64_t reaches = 0;
    struct delta d;

    for (unsigned i = 0; i < writes; i++)
        must(f->s, i ? OP_REPLACE : OP_INSERT, &makers, maker(1, i % 2 ? "a" : "b"));
    read_delta(f->s, 1, &d);
    assert_int_equal(d.rc, 0);
    assert_string_equal(d.text, "");
    read_delta(f->s, writes - 5, &d);
    assert_int_equal(d.rc, 1);
    assert_string_equal(d.text, "+1.1");
    while (d.rc == 1 && reaches < writes)
        read_delta(f->s, writes - ++reaches, &d);
    assert_in_range(reaches, 11, 10 + CHANGE_LOG_SLACK + 1); /* back to the limit at least */
}

static int refuse_second(void *arg, struct str records, bool last)
{
    unsigned *calls = arg;

    (void)records;
    (void)last;
    return ++*calls == 2 ? -1 : 0;
}

static void snapshot_pieces(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.n = 0};
    struct state_hash hash;
    struct err e = {0};
    unsigned calls = 0;
    uint64_t version;
    char name[16];

    assert_int_equal(must_agree(f->s), 0); /* an empty one has one piece, the last */
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        must(f->s, OP_INSERT, &makers, maker(i + 1, name));
    }
    must(f->s, OP_INSERT, &things, thing(1, "t", 50));
    assert_int_equal(store_snapshot(f->s, 500, see_piece, &seen, &version, &hash, &e), 0);
    assert_int_equal(seen.n, 101);
    assert_in_range(seen.pieces, 5, 20);
    assert_int_equal(store_snapshot(f->s, 500, refuse_second, &calls, &version, &hash, &e), -1);
    assert_int_equal(calls, 2);
    assert_int_equal(e.code, ERR_CLOSED);
}

/* ---- pages ---- */

static json_t *page(struct store *s, const struct entity *ent, const struct page_query *q,
                    char **offset)
{
    struct problem p = {0};
    json_t *rows;

    if (store_page(s, ent, q, &rows, offset, &p) != 0)
        fail_msg("page: %s", p.message);
    return rows;
}

/* The last digits of the ids, "1 2 3", over all pages. */
static void walk(struct store *s, const struct entity *ent, struct page_query q,
                 const char *expected)
{
    char text[256] = "", *offset = NULL;
    size_t at = 0;

    do {
        char *from = offset;
        json_t *rows, *row;
        size_t i;

        q.offset = str_of(from);
        rows = page(s, ent, &q, &offset);
        free(from);
        assert_true(json_array_size(rows) <= q.size);
        json_array_foreach(rows, i, row)
        {
            const char *id = json_string_value(json_object_get(row, "id"));

            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%lu", at ? " " : "",
                                   strtoul(id + 24, NULL, 16));
        }
        json_decref(rows);
    } while (offset);
    assert_string_equal(text, expected);
}

static void pages(void **state)
{
    static const struct str all[] = {{"all", 3}}, even_odd[] = {{"even", 4}, {"odd", 3}};
    static const struct str all_even[] = {{"all", 3}, {"even", 4}}, none[] = {{"none", 4}};
    struct fixture *f = *state;
    char *offset;
    json_t *rows;

    for (unsigned i = 7; i > 0; i--) { /* not in the order of ids */
        char name[8];
        json_t *doc;

        snprintf(name, sizeof(name), "m%u", i);
        doc = maker(i, name);
        json_object_set_new(doc, "tags", json_pack("[s, s]", "all", i % 2 ? "odd" : "even"));
        json_object_set_new(doc, "created_at", json_real(i == 3 ? 50 : 100 - i));
        must(f->s, OP_INSERT, &makers, doc);
        must(f->s, OP_INSERT, &things, thing(i, name, i < 4 ? i : 7));
    }
    walk(f->s, &makers, (struct page_query){.size = 3}, "1 2 3 4 5 6 7");
    walk(f->s, &makers, (struct page_query){.size = 7}, "1 2 3 4 5 6 7");
    walk(f->s, &makers, (struct page_query){.size = 2, .newest_first = true}, "1 2 4 5 6 7 3");
    walk(f->s, &makers, (struct page_query){.size = 2, .tags = all, .n_tags = 1}, "1 2 3 4 5 6 7");
    walk(f->s, &makers, (struct page_query){.size = 2, .tags = even_odd, .n_tags = 2},
         "1 2 3 4 5 6 7");
    walk(f->s, &makers,
         (struct page_query){.size = 2, .tags = even_odd, .n_tags = 2, .tags_all = true}, "");
    walk(f->s, &makers,
         (struct page_query){.size = 2, .tags = all_even, .n_tags = 2, .tags_all = true}, "2 4 6");
    walk(f->s, &makers, (struct page_query){.size = 2, .tags = none, .n_tags = 1}, "");
    walk(f->s, &things,
         (struct page_query){.size = 2, .parent_field = "maker", .parent = uuid_n(1, 7)},
         "4 5 6 7");

    rows = page(f->s, &makers, &(struct page_query){.size = 2}, &offset);
    assert_string_equal(offset, "WyIwMTAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDIiXQ");
    json_decref(rows);
    free(offset);
    rows = page(f->s, &makers, &(struct page_query){.size = 2, .newest_first = true}, &offset);
    assert_string_equal(offset, "2");
    json_decref(rows);
    free(offset);
    rows = page(f->s, &makers, &(struct page_query){.size = 0, .newest_first = true}, &offset);
    assert_int_equal(json_array_size(rows), 0);
    assert_string_equal(offset, "0");
    json_decref(rows);
    free(offset);
}

static void bad_offsets(void **state)
{
    static const struct {
        struct str offset;
        bool newest;
        const char *message;
    } cases[] = {
        {STR("bad!"), false, "'bad!' is not a valid offset: bad base64 encoding"},
        {STR("YWJj"), false, "'YWJj' is not a valid offset: bad json encoding"},
        {STR(""), false, "'' is not a valid offset: bad json encoding"},
        {STR("zzz"), false, "'zzz' is not a valid offset: bad json encoding"},
        {STR("WzVd"), false, "'WzVd' is not a valid offset: bad json encoding"}, /* [5] */
        {STR("W10"), false, "'W10' is not a valid offset: bad json encoding"},   /* [] */
        {STR("e30"), false, "'e30' is not a valid offset: bad json encoding"},   /* {} */
        {STR("a"), false, "'a' is not a valid offset: bad base64 encoding"},
        {STR("a\0b"), false, NULL},
        {STR("x"), true, "'x' is not a valid offset: expected a number"},
        {STR("-1"), true, "'-1' is not a valid offset: expected a number"},
        {STR("99999999999999999999"), true,
         "'99999999999999999999' is not a valid offset: expected a number"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct page_query q = {
            .size = 2, .offset = cases[i].offset, .newest_first = cases[i].newest};
        struct problem p = {0};
        char *offset;
        json_t *rows;

        assert_int_equal(store_page(f->s, &makers, &q, &rows, &offset, &p), -1);
        assert_null(rows);
        assert_int_equal(p.kind, PROBLEM_OFFSET);
        if (cases[i].message)
            assert_string_equal(p.message, cases[i].message);
        problem_free(&p);
    }
}

static void tag_pages(void **state)
{
    struct fixture *f = *state;
    struct str no_tag = STR_NONE, all = STR("all");

    must(f->s, OP_INSERT, &makers, maker(1, "one"));
    for (unsigned i = 1; i <= 3; i++) {
        char name[8];
        json_t *doc;

        snprintf(name, sizeof(name), "m%u", i);
        doc = thing(i, name, 1);
        json_object_set_new(doc, "tags", json_pack("[s, s]", "all", i % 2 ? "odd" : "even"));
        must(f->s, OP_INSERT, &things, doc);
    }
    /* a maker with the id of a thing: one id, two rows of one tag */
    must(f->s, OP_INSERT, &makers,
         json_pack("{s:s, s:s, s:[s]}", "id", id_n(2, 2), "name", "twin", "tags", "all"));

    for (size_t size = 1; size <= 8; size++) {
        for (int one = 0; one < 2; one++) {
            char text[256] = "", *offset = NULL;
            size_t at = 0;

            do {
                struct page_query q = {.size = size, .offset = str_of(offset)};
                struct problem p = {0};
                char *from = offset;
                json_t *rows, *row;
                size_t i;

                assert_int_equal(store_tags(f->s, one ? all : no_tag, &q, &rows, &offset, &p), 0);
                free(from);
                assert_true(json_array_size(rows) <= size);
                json_array_foreach(rows, i, row) at +=
                    (size_t)snprintf(text + at, sizeof(text) - at, "%s%s:%.1s%s", at ? " " : "",
                                     json_string_value(json_object_get(row, "tag")),
                                     json_string_value(json_object_get(row, "entity_name")),
                                     json_string_value(json_object_get(row, "entity_id")) + 35);
                json_decref(rows);
            } while (offset);
            assert_string_equal(text, one ? "all:t1 all:m2 all:t2 all:t3"
                                          : "all:m2 all:t1 all:t2 all:t3 even:t2 odd:t1 odd:t3");
        }
    }
    must_delete(f->s, &things, uuid_n(2, 3)); /* tags go with their row */
    must(f->s, OP_REPLACE, &things, thing(1, "m1", 1));
    {
        struct page_query q = {.size = 10};
        struct problem p = {0};
        char *offset;
        json_t *rows;

        assert_int_equal(store_tags(f->s, all, &q, &rows, &offset, &p), 0);
        assert_int_equal(json_array_size(rows), 2);
        assert_null(offset);
        json_decref(rows);
    }
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rows_come_back),
        T(parent_narrows),
        T(problems),
        T(constraints_hold),
        cmocka_unit_test(problem_bodies),
        T(cascade),
        T(delta_coalesces),
        T(delta_delete_then_put),
        cmocka_unit_test_setup_teardown(log_is_trimmed, small_log, fixture_teardown),
        T(snapshot_pieces),
        T(pages),
        T(bad_offsets),
        T(tag_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
