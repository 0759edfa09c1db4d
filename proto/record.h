/*
 * record.h - the unit that travels between the planes and rests on disk: one entity, or the
 * news that it is gone.
 *
 *     byte    op << 6 | entity type (1..63)
 *     bytes   key, 16 (the entity's id)
 *     varint  length of the body; not for deletions
 *     bytes   body, protobuf (common/schema.h)
 *
 * A snapshot and a delta are lists of these, one after the other, inside the `records`
 * field of control.proto's chunks; bodies are packed once, when the entity is written.
 */
#ifndef PROTO_RECORD_H
#define PROTO_RECORD_H

#include "common/err.h"
#include "common/str.h"
#include "common/uuid.h"

enum record_op { REC_PUT = 0, REC_DELETE = 1 };

#define RECORD_BODY_MAX (512u * 1024u) /* a larger entity is refused when it is written */

struct record {
    enum record_op op;
    uint8_t type; /* enum entity_type */
    struct uuid key;
    struct str body; /* empty for deletions */
};

void record_append(struct sbuf *out, const struct record *r);

/*
 * Cuts the next record off *rest; its body borrows. Returns 1, 0 at the end, -1 with e when
 * the bytes are not a record.
 */
int record_next(struct str *rest, struct record *out, struct err *e) WEIR_MUSTCHECK;

/*
 * What a configuration holds, as one number that does not depend on the order of writes:
 * the sum modulo 2^256 of SHA-256(type, key, body) over its live entities. Adding and
 * removing one costs one digest. Finds gaps, lost deletions and corruption; it is no
 * defence against a forger (TLS is).
 */
struct state_hash {
    uint64_t word[4]; /* little end first */
};

void state_hash_add(struct state_hash *h, uint8_t type, const struct uuid *key, struct str body);
void state_hash_sub(struct state_hash *h, uint8_t type, const struct uuid *key, struct str body);
static inline bool state_hash_eq(const struct state_hash *a, const struct state_hash *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
void state_hash_bytes(const struct state_hash *h, unsigned char out[32]);
void state_hash_from_bytes(struct state_hash *h, const unsigned char in[32]);
void state_hash_hex(const struct state_hash *h, char out[65]);

#endif
