/*
 * http2_common.h - what HTTP/2 needs on both sides: nghttp2's memory, the way of its bytes to
 * the socket, and fields in the forms that the engine and nghttp2 have. Private to http2*.
 *
 * All frames of a session gather in one buffer in front of the socket, which is written once
 * a turn of the loop, and when it is full. Bodies are copied into it from where they are; so
 * nothing of an exchange is referred to after its piece has been taken.
 */
#ifndef DATAPLANE_CODEC_HTTP2_COMMON_H
#define DATAPLANE_CODEC_HTTP2_COMMON_H

#include <nghttp2/nghttp2.h>

#include "dataplane/io.h"
#include "dataplane/msg.h"
#include "dataplane/worker.h"

/* ---- memory ---- */

/* For nghttp2 and streams: free lists of the worker, so that a steady state asks malloc for nothing. */
nghttp2_mem *http2_mem(struct worker *w);
void *http2_alloc(struct worker *w, size_t size); /* zeros; never NULL */
void http2_free(struct worker *w, void *p);       /* takes NULL */

/* ---- the way out ---- */

#define HTTP2_FRAME_HEAD 9u

struct http2_wire;

struct http2_wire_ops {
    /* Calls http2_write again when the socket is writable; or does not need to any more. */
    void (*want_write)(struct http2_wire *wire, bool want);
    /*
     * At the quiet point, for those that http2_dirty named, and outside of nghttp2: what is
     * under way in the session may be finished here, and the session may go. Calls http2_pump
     * and http2_write.
     */
    void (*flush)(struct http2_wire *wire);
};

/* The sending side of a session, embedded in it. */
struct http2_wire {
    const struct http2_wire_ops *ops;
    struct worker *w;
    struct io *io;            /* of the socket */
    nghttp2_session *session;
    struct http2_wire *next, **prev; /* worker's dirty list; prev NULL: not in it */
    struct buf *out;          /* frames; NULL while there are none */
    uint32_t at;              /* in out: what is not written yet */
    bool blocked;             /* the socket is full */
    bool broken;              /* the socket or the session is of no use any more */
    bool inside;              /* nghttp2 is on the stack: do not call it */
};

void http2_wire_init(struct http2_wire *wire, const struct http2_wire_ops *ops, struct worker *w, struct io *io);
/* Off the lists, buffer back, session deleted. */
void http2_wire_fini(struct http2_wire *wire);

/* wire->ops->flush is called at the quiet point. Twice is once. */
void http2_dirty(struct http2_wire *wire);

/* Moves what nghttp2 has to send into out. False: the session is broken. */
bool http2_pump(struct http2_wire *wire);

/*
 * Writes out, once. False: the socket is gone (wire->broken). While wire->blocked this is for
 * the event of the socket alone, that wakes the streams which wait: elsewhere they would be
 * forgotten.
 */
bool http2_write(struct http2_wire *wire);

/* All has been handed to the socket. */
static inline bool http2_is_empty(const struct http2_wire *wire)
{
    return !wire->out;
}

/*
 * How many bytes of DATA there is room for now, up to want; writes out when that helps. For
 * data source callbacks: 0 is NGHTTP2_ERR_DEFERRED.
 */
size_t http2_room(struct http2_wire *wire, size_t want);

/* Heads and control frames are not refused for lack of room, so ask before a head is submitted. */
static inline bool http2_has_room(struct http2_wire *wire)
{
    return http2_room(wire, 1024) == 1024;
}

/* Room for len bytes in out; for nghttp2_send_data_callback, that copies the body itself. */
char *http2_append(struct http2_wire *wire, size_t len);

/* ---- fields ---- */

#define HTTP2_NV_MAX 1024u

/*
 * Lines of HTTP/1 (head_out.h) become nv: names lose their capitals in place. flags as of
 * nghttp2_nv, for all. How many there are, at most max.
 */
size_t http2_fields_out(char *text, size_t len, nghttp2_nv *nv, size_t max, uint8_t flags);

static inline nghttp2_nv http2_nv(struct str name, struct str value, uint8_t flags)
{
    nghttp2_nv nv = {.namelen = name.len, .valuelen = value.len, .flags = flags};

    memcpy(&nv.name, &name.p, sizeof(nv.name)); /* only ever read */
    memcpy(&nv.value, &value.p, sizeof(nv.value));
    return nv;
}

/* A received field is copied to the arena and added. NULL: the arena's cap. */
struct header *http2_field_in(struct headers *hs, struct arena *a, struct str name, struct str value);

#endif
