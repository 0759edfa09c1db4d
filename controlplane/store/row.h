/* row.h - a document to a row's columns and back. */
#ifndef CONTROLPLANE_STORE_ROW_H
#define CONTROLPLANE_STORE_ROW_H

#include "controlplane/store/db.h"
#include "controlplane/store/layout.h"

/* Binds doc's columns as ?first, ?first+1, ... Parameters borrow from doc. */
int row_bind(sqlite3_stmt *st, int first, const struct table *t, const json_t *doc,
             struct err *e) WEIR_MUSTCHECK;

/* Binds one column of doc (NULL when the field is null) as ?i. */
int row_bind_column(sqlite3_stmt *st, int i, const struct column *c, const json_t *doc,
                    struct err *e) WEIR_MUSTCHECK;

/* Reads columns_text from column first on. The caller's; NULL with e: the row is damaged. */
json_t *row_doc(sqlite3_stmt *st, int first, const struct table *t, struct err *e) WEIR_MUSTCHECK;

/* {"id": ".."} */
json_t *uuid_key(const struct uuid *id);

/* doc's own id, or a foreign value's. */
bool doc_id(const json_t *doc, struct uuid *out);

#endif
