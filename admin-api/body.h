/*
 * body.h - request bodies: JSON, urlencoded, multipart; anything else is not understood.
 */
#ifndef ADMIN_API_BODY_H
#define ADMIN_API_BODY_H

#include "admin-api/call.h"

#define BODY_ARGS_MAX 1000

/* Reads c's raw body into c->body. False: c is answered with 400 or 415. */
bool body_read(struct call *c);
void body_free(struct body *b);

/*
 * The document for ent that the body holds; the caller's. stored as in form_decode. NULL:
 * c is answered.
 */
json_t *body_document(struct call *c, const struct entity *ent, const json_t *stored);

/* ---- pieces, for the query and for tests ---- */

/* "a=1&b=%20" to decoded pairs in a; returns their number, or (size_t)-1 beyond max. */
size_t args_decode(struct arena *a, struct str text, size_t max, struct form_arg **out);

/* Appends text with everything but unreserved characters escaped. */
void percent_encode(struct sbuf *out, struct str text);

/* UTF-8 without NUL: what a document may hold. */
bool text_ok(struct str text);

/* multipart/form-data (RFC 7578); of parts of one name the last counts. (size_t)-1: malformed or
 * too many. */
size_t multipart_decode(struct arena *a, struct str boundary, struct str text, size_t max,
                        struct form_arg **out);

/* Value of a parameter of a header value: boundary of `multipart/form-data; boundary="x"`. */
struct str header_param(struct str value, const char *name);

#endif
