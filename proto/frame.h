/*
 * frame.h - bytes on the wire to messages and back. A frame is a big-endian u32 length and
 * that many bytes of control.proto's Frame. No socket, no thread of its own.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stdatomic.h>

#include "common/err.h"
#include "common/str.h"
#include "common/uuid.h"
#include "proto/control.pb-c.h"
#include "proto/record.h"

#define FRAME_HEAD_BYTES   4u
#define FRAME_MAX_TO_DP    (1024u * 1024u) /* body, without the length */
#define FRAME_MAX_TO_CP    (64u * 1024u)
#define FRAME_RECORD_BYTES (256u * 1024u)  /* records per piece of a transfer, about */
#define FRAME_TEXT_MAX     1024u           /* bytes of one text a peer sends */

/* Encoded once, written by any number of connections. Immutable. Threads: any. */
struct frame_buf {
    _Atomic unsigned refs;
    size_t len; /* with the length in front */
    unsigned char p[];
};
struct frame_buf *frame_encode(const Weir__Frame *f); /* one reference; body <= FRAME_MAX_TO_DP */
struct frame_buf *frame_buf_ref(struct frame_buf *b);
void frame_buf_unref(struct frame_buf **b);

/*
 * Looks at the front of in. Returns 1 when a whole frame is there (*body_out borrows, the
 * caller moves on by *used_out), 0 when more bytes are needed (*need_out: of the whole
 * frame, once its length is known), -1 with e when its length is 0 or above max.
 */
int frame_cut(struct str in, size_t max, struct str *body_out, size_t *used_out, size_t *need_out,
              struct err *e) WEIR_MUSTCHECK;

/*
 * Unpacks and checks what protobuf does not: a kind is set, ids and hashes have their
 * lengths, texts are short and free of control characters. NULL with e. Free with
 * frame_free.
 */
Weir__Frame *frame_decode(struct str body, struct err *e) WEIR_MUSTCHECK;
void frame_free(Weir__Frame **f);

/* Views of bytes fields; the lengths were checked by frame_decode, empty gives zeros. */
struct uuid frame_uuid(const ProtobufCBinaryData *b);
struct state_hash frame_hash(const ProtobufCBinaryData *b);
ProtobufCBinaryData frame_bytes(const void *p, size_t len);

const char *frame_kind_word(const Weir__Frame *f); /* "hello", for logs */

#endif
