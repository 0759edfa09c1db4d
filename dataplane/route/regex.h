/*
 * regex.h - PCRE2 as routes use it: compiled once with JIT, matched on any worker with that
 * thread's own scratch, bounded in effort.
 */
#ifndef DATAPLANE_ROUTE_REGEX_H
#define DATAPLANE_ROUTE_REGEX_H

#include "common/err.h"
#include "common/str.h"

struct regex;

/*
 * anchored: must match from the start of the text. caseless: ASCII letters alike. Bytes, not
 * characters. NULL with e: not a regular expression.
 */
struct regex *regex_new(struct str pattern, bool anchored, bool caseless, struct err *e);
void regex_free(struct regex **r);

/* What it holds, for config_stats. */
size_t regex_bytes(const struct regex *r);

/*
 * captures (max of them, at least 1) get what groups 0, 1, ... matched, borrowed from text;
 * p == NULL: the group took no part. Returns how many groups there are to look at, 0: no
 * match, or the effort was more than is allowed (logged).
 */
uint32_t regex_match(const struct regex *r, struct str text, struct str *captures, uint32_t max);

/* The names of groups 0 ... 9, "" for those without. */
const struct str *regex_names(const struct regex *r);

/*
 * The text that every match of an anchored pattern begins with, as far as it is easily seen;
 * "" when in doubt. out: pattern.len bytes.
 */
struct str regex_literal_prefix(struct str pattern, char *out);

#endif
