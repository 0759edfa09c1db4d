/* db.c - see db.h. */
#include "controlplane/store/db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BUSY_MS 5000

/* In the file's header, for us and for file(1): "Weir" */
#define APPLICATION_ID 0x57656972
#define SET_OWNER      "PRAGMA application_id = 0x57656972"

struct db_cached {
    uint64_t hash;
    char *sql;
    sqlite3_stmt *st;
};

/* ---- errors ---- */

static enum err_code code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_FULL: return ERR_LIMIT;
    case SQLITE_CONSTRAINT: return ERR_CONFLICT;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ERR_INVALID;
    case SQLITE_BUSY: return ERR_TIMEOUT;
    case SQLITE_ERROR:
    case SQLITE_MISUSE: return ERR_INTERNAL;
    default: return ERR_IO;
    }
}

int db_fail(struct db *db, const char *what, struct err *e)
{
    int rc = sqlite3_extended_errcode(db->h);
    int sys = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN
                  ? sqlite3_system_errno(db->h)
                  : 0;

    return err_set(e, code_of(rc), "%s: %s%s%s", what, sqlite3_errmsg(db->h), sys ? ": " : "",
                   sys ? strerror(sys) : "");
}

/* ---- connection ---- */

/*
 * Before anything is written: an empty file, or one of ours. Another program's database is
 * not touched.
 */
static int check_owner(struct db *db, struct err *e)
{
    int64_t owner, objects;

    if (db_int(db, "PRAGMA application_id", 0, &owner, e) != 0 ||
        db_int(db, "SELECT count(*) FROM sqlite_schema", 0, &objects, e) != 0)
        return -1;
    if (owner == APPLICATION_ID)
        return 0;
    if (owner != 0 || objects != 0)
        return err_set(e, ERR_INVALID,
                       "the file is a database of another program, expected one "
                       "of weir-cp");
    return db_exec(db, SET_OWNER, e);
}

/* SQLite keeps the former mode without a word where it cannot share memory (network disks). */
static int check_wal(struct db *db, struct err *e)
{
    sqlite3_stmt *st = db_stmt(db, "PRAGMA journal_mode", e);
    int rc = st ? db_step(db, st, e) : -1;
    bool wal = rc == 1 && str_eq(column_str(st, 0), STR("wal"));

    db_done(st);
    if (rc >= 0 && !wal)
        return err_set(e, ERR_IO, "no write-ahead log here, expected a local disk");
    return rc < 0 ? -1 : 0;
}

static int setup(struct db *db, enum db_mode mode, struct err *e)
{
    static const char *const common = "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
                                      "PRAGMA temp_store = MEMORY";
    static const char *const writer =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "PRAGMA wal_autocheckpoint = 8192;" /* pages: with 1000, bulk writes took twice as long */
        "PRAGMA journal_size_limit = 67108864;"
        "PRAGMA cache_size = -131072"; /* KiB: bulk writes keep their indexes in memory */

    sqlite3_extended_result_codes(db->h, 1);
    sqlite3_busy_timeout(db->h, BUSY_MS);
    sqlite3_db_config(db->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (db_exec(db, common, e) != 0)
        return -1;
    if (mode == DB_READER)
        return db_exec(db, "PRAGMA query_only = ON", e);
    if (check_owner(db, e) != 0 || db_exec(db, writer, e) != 0)
        return -1;
    return check_wal(db, e);
}

int db_open(struct db *db, const char *path, enum db_mode mode, struct err *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;

    *db = (struct db){0};
    if (mode == DB_WRITER)
        flags |= SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(path, &db->h, flags, NULL) != SQLITE_OK) {
        db_fail(db, "cannot open the database", e);
    } else if (sqlite3_db_readonly(db->h, "main") == 1) {
        err_set(e, ERR_IO, "the database is read-only, expected a writable file");
    } else if (setup(db, mode, e) == 0) {
        return 0;
    }
    db_close(db);
    return -1;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < db->cap_cache; i++) {
        sqlite3_finalize(db->cache[i].st);
        free(db->cache[i].sql);
    }
    free(db->cache);
    if (db->h)
        WEIR_ASSERT(sqlite3_close(db->h) == SQLITE_OK); /* else a statement leaked */
    *db = (struct db){0};
}

/* ---- statements ---- */

int db_exec(struct db *db, const char *sql, struct err *e)
{
    if (sqlite3_exec(db->h, sql, NULL, NULL, NULL) != SQLITE_OK)
        return db_fail(db, "database", e);
    return 0;
}

sqlite3_stmt *db_stmt_once(struct db *db, const char *sql, struct err *e)
{
    sqlite3_stmt *st = NULL;

    if (sqlite3_prepare_v3(db->h, sql, -1, 0, &st, NULL) != SQLITE_OK)
        db_fail(db, "database", e);
    return st;
}

/*
 * The slot of a statement with this text, or the free one where it belongs. The texts come
 * from the layout, a few dozen for each entity, so the table only grows and is never full.
 */
static struct db_cached *slot(struct db_cached *slots, size_t cap, uint64_t hash, const char *sql)
{
    size_t i = hash & (cap - 1);

    while (slots[i].sql && (slots[i].hash != hash || strcmp(slots[i].sql, sql) != 0))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static void grow(struct db *db)
{
    size_t cap = db->cap_cache ? 2 * db->cap_cache : 256;
    struct db_cached *slots = xcalloc(cap, sizeof(*slots));

    for (size_t i = 0; i < db->cap_cache; i++)
        if (db->cache[i].sql)
            *slot(slots, cap, db->cache[i].hash, db->cache[i].sql) = db->cache[i];
    free(db->cache);
    db->cache = slots;
    db->cap_cache = cap;
}

sqlite3_stmt *db_stmt(struct db *db, const char *sql, struct err *e)
{
    uint64_t hash = str_hash(str_of(sql), 0);
    struct db_cached *at;
    sqlite3_stmt *st = NULL;

    if (2 * db->n_cache >= db->cap_cache)
        grow(db);
    at = slot(db->cache, db->cap_cache, hash, sql);
    if (at->sql) {
        WEIR_ASSERT(!sqlite3_stmt_busy(at->st)); /* one use at a time */
        return at->st;
    }
    if (sqlite3_prepare_v3(db->h, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) != SQLITE_OK) {
        db_fail(db, "database", e);
        return NULL;
    }
    *at = (struct db_cached){hash, xstrdup(sql), st};
    db->n_cache++;
    return st;
}

int db_step(struct db *db, sqlite3_stmt *st, struct err *e)
{
    switch (sqlite3_step(st)) {
    case SQLITE_ROW: return 1;
    case SQLITE_DONE: return 0;
    default: return db_fail(db, "database", e);
    }
}

void db_done(sqlite3_stmt *st)
{
    if (!st)
        return;
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
}

int db_run(struct db *db, sqlite3_stmt *st, struct err *e)
{
    int rc;

    do
        rc = db_step(db, st, e);
    while (rc == 1);
    db_done(st);
    return rc;
}

int db_int(struct db *db, const char *sql, int64_t dflt, int64_t *out, struct err *e)
{
    sqlite3_stmt *st = db_stmt(db, sql, e);
    int rc = st ? db_step(db, st, e) : -1;

    *out = rc == 1 ? sqlite3_column_int64(st, 0) : dflt;
    db_done(st);
    return rc < 0 ? -1 : 0;
}

void bind_uuid(sqlite3_stmt *st, int i, const struct uuid *id)
{
    sqlite3_bind_blob(st, i, id->b, sizeof(id->b), SQLITE_STATIC);
}

void bind_str(sqlite3_stmt *st, int i, struct str s)
{
    if (s.p)
        sqlite3_bind_text64(st, i, s.p, s.len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(st, i);
}

void bind_blob(sqlite3_stmt *st, int i, struct str s)
{
    sqlite3_bind_blob64(st, i, s.p ? s.p : "", s.len, SQLITE_STATIC);
}

bool column_uuid(sqlite3_stmt *st, int i, struct uuid *out)
{
    const void *p = sqlite3_column_blob(st, i);

    if (sqlite3_column_bytes(st, i) != (int)sizeof(out->b))
        return false;
    memcpy(out->b, p, sizeof(out->b));
    return true;
}

struct str column_str(sqlite3_stmt *st, int i)
{
    const char *p = sqlite3_column_blob(st, i);

    if (!p) /* NULL, empty, or no memory for it */
        return sqlite3_column_type(st, i) == SQLITE_NULL ? STR_NONE : STR("");
    return str_n(p, (size_t)sqlite3_column_bytes(st, i));
}
