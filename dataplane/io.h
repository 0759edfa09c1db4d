/*
 * io.h - bytes over a connection, plain or TLS, behind one table of operations.
 *
 * Nothing blocks. Threads: the worker's own.
 */
#ifndef DATAPLANE_IO_H
#define DATAPLANE_IO_H

#include <openssl/ssl.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/base.h"

/* Negative results of read, writev and handshake. */
enum {
    IO_AGAIN = -1,       /* wait until readable (read, handshake) or writable (writev) */
    IO_AGAIN_WRITE = -2, /* handshake: wait until writable */
    IO_ERROR = -3,       /* the connection is gone; errno may say why */
};

struct io;

struct io_ops {
    ssize_t (*read)(struct io *io, void *to, size_t len); /* 0: the peer sends no more */
    /* How many bytes were taken, perhaps fewer than given; IO_AGAIN when none. */
    ssize_t (*writev)(struct io *io, const struct iovec *v, int n);
    int (*handshake)(struct io *io); /* 0: done */
    /* There are bytes that the socket does not show any more. */
    bool (*pending)(const struct io *io);
    void (*shutdown)(struct io *io); /* we send no more */
    void (*close)(struct io *io);
};

struct io {
    const struct io_ops *ops;
    int fd;
    SSL *ssl;   /* of TLS, owned; of a stream: its connection's */
    bool holds; /* ops->pending may be true */
};

extern const struct io_ops io_plain, io_tls;

#endif
