/*
 * sync.h - the parts of weirctl sync: the file, and the comparison of two entities.
 */
#ifndef ADMIN_API_CLI_SYNC_H
#define ADMIN_API_CLI_SYNC_H

#include "common/declarative.h"

/*
 * Replaces ${{ env "DECK_NAME" }} by the variable's value, as decK does; only variables
 * whose name begins with DECK_. -1 with e (line and name) when one is not set.
 */
int sync_expand_env(struct str text, struct sbuf *out, struct err *e) WEIR_MUSTCHECK;

/*
 * What an entity says, for comparison: the fields of its table, without ids, times, nulls
 * and what is empty; sets in one order, numbers in one type. A new object.
 */
json_t *sync_canonical(const struct entity *ent, const json_t *doc);

/* "paths, methods": the fields in which two canonical objects differ. */
void sync_differences(const json_t *a, const json_t *b, struct sbuf *out);

/*
 * What makes the entity the same one as another without knowing ids: the values of its
 * cache key, or of its first unique field. False when it has none.
 */
bool sync_identity(const struct entity *ent, const json_t *doc, struct sbuf *out);

/* "service s1", "plugin cors (6b0d...)": for the list of changes. */
void sync_label(const struct entity *ent, const json_t *doc, struct sbuf *out);

#endif
