/*
 * uri.h - URLs and request paths: splitting, percent-encoding, the one normal form that
 * routes are written in and requests are matched in. No allocation: the caller brings the
 * buffer, results borrow from it or from the input.
 */
#ifndef COMMON_URI_H
#define COMMON_URI_H

#include "common/str.h"

/* ---- normal form of a path ---- */

/*
 * Writes path in normal form: percent-escapes decoded except of reserved characters, which
 * keep theirs in upper case; dot segments removed after decoding; repeated slashes merged.
 * path     without query; a '%' that starts no escape stays as it is
 * out      path.len bytes, may be path.p itself; the result is never longer
 * Returns what it wrote. Steps above the root end at the root; callers that must refuse
 * them ask path_climbs() first.
 * Source   RFC 3986 sections 5.2.4 and 6.2.2.
 */
struct str path_normalize(struct str path, char *out);

/* Whether path is in normal form already: then requests need no copy. */
bool path_is_normal(struct str path);

/*
 * Whether nothing in path means anything but itself: no escape, no byte that needs one, no empty
 * or dot segment (some others that begin with a dot count as such). Then it is normal, does
 * not climb and is sent as it is: one look for what most requests are.
 */
bool path_is_plain(struct str path);

/* Whether dot segments lead above the root, escapes decoded. */
bool path_climbs(struct str path);

/* Index of the first '%' that starts no two-digit escape, or path.len. */
size_t path_bad_escape(struct str path);

/*
 * The normal form as it is sent: bytes that a path may not hold are percent-encoded, and so
 * is '%' where no escape follows.
 * out      3 * path.len bytes, must not overlap path
 */
struct str path_escape(struct str path, char *out);

/* Whether path_escape would change nothing. */
bool path_is_escaped(struct str path);

/* ---- URLs ---- */

/* Parts that are absent have p == NULL. */
struct uri {
    struct str scheme, userinfo, host, port, path, query, fragment; /* host without brackets */
};

/*
 * Splits text without judging it. The authority reaches to the next '/', so that
 * "http://h?x" has the host "h?x": validators then refuse it, as the reference does.
 */
void uri_split(struct str text, struct uri *out);

/* Decodes %XX and, for form bodies, '+'. out: text.len bytes, may be text.p. */
struct str percent_decode(struct str text, bool plus_is_space, char *out);

#endif
