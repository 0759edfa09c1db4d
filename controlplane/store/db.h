/*
 * db.h - one SQLite connection: opening, statements, errors in our words.
 * A connection belongs to one thread at a time.
 */
#ifndef CONTROLPLANE_STORE_DB_H
#define CONTROLPLANE_STORE_DB_H

#include <sqlite3.h>

#include "common/err.h"
#include "common/str.h"
#include "common/uuid.h"

struct db_cached;

struct db {
    sqlite3 *h;
    struct db_cached *cache; /* prepared statements by their text */
    size_t n_cache, cap_cache;
};

enum db_mode { DB_WRITER, DB_READER };

/* Blocks on the disk. On failure nothing is left open. */
int db_open(struct db *db, const char *path, enum db_mode mode, struct err *e) WEIR_MUSTCHECK;
void db_close(struct db *db); /* leaves {0} */

/* One or more statements without parameters or results. */
int db_exec(struct db *db, const char *sql, struct err *e) WEIR_MUSTCHECK;

/* A prepared statement that the connection keeps; hand it back with db_done. NULL with e. */
sqlite3_stmt *db_stmt(struct db *db, const char *sql, struct err *e) WEIR_MUSTCHECK;

/* As db_stmt, for texts too many to keep: end it with sqlite3_finalize. */
sqlite3_stmt *db_stmt_once(struct db *db, const char *sql, struct err *e) WEIR_MUSTCHECK;

/* 1: a row. 0: no more. -1: e. */
int db_step(struct db *db, sqlite3_stmt *st, struct err *e) WEIR_MUSTCHECK;

/* Resets st and forgets its parameters. Takes NULL. */
void db_done(sqlite3_stmt *st);

/* Runs st to its end, then db_done. */
int db_run(struct db *db, sqlite3_stmt *st, struct err *e) WEIR_MUSTCHECK;

/* What the connection's last call failed with. Returns -1. */
int db_fail(struct db *db, const char *what, struct err *e);

/* The first column of the first row of sql, or dflt when there is no row. */
int db_int(struct db *db, const char *sql, int64_t dflt, int64_t *out,
           struct err *e) WEIR_MUSTCHECK;

/* Parameters borrow until db_done or the next bind. */
void bind_uuid(sqlite3_stmt *st, int i, const struct uuid *id);
void bind_str(sqlite3_stmt *st, int i, struct str s);
void bind_blob(sqlite3_stmt *st, int i, struct str s);

/* Columns borrow until the next step. False when the column is not 16 bytes. */
bool column_uuid(sqlite3_stmt *st, int i, struct uuid *out);
struct str column_str(sqlite3_stmt *st, int i); /* text or blob; p == NULL for NULL */

#endif
