/*
 * records_of.h - documents (a declarative file's, say) as the records a control plane would push.
 */
#ifndef PROTO_RECORDS_OF_H
#define PROTO_RECORDS_OF_H

#include "common/declarative.h"
#include "proto/record.h"

/*
 * by_kind  {"services": {id: document, ...}, ...}, as struct decl holds it; borrowed
 * out      gets the records appended, parents before children
 * Returns 0, or -1 with e, its path naming kind and id; ERR_LIMIT: a body is too large.
 */
int records_of_entities(const json_t *by_kind, struct sbuf *out, struct state_hash *hash_out,
                        struct err *e) WEIR_MUSTCHECK;

/* As records_of_file, of its text. */
int records_of_text(struct str text, struct sbuf *out, struct decl_errors *errs) WEIR_MUSTCHECK;

/*
 * A declarative file as records, appended to out in the same order; its documents are never all
 * in memory. Returns 0, or -1 with every error found (decl_errors_free), a body that is too
 * large among them; nothing is appended then.
 */
int records_of_file(const char *path, struct sbuf *out, struct decl_errors *errs) WEIR_MUSTCHECK;

#endif
