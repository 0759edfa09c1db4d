/*
 * io_tls.c - struct io_ops over OpenSSL.
 *
 * Renegotiation is off (tls/tls.c), so after the handshake a read only ever waits for bytes
 * and a write only for room.
 */
#include "dataplane/io.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECORD_MAX 16384u

static int outcome(struct io *io, int rc)
{
    switch (SSL_get_error(io->ssl, rc)) {
    case SSL_ERROR_WANT_READ: return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE: return IO_AGAIN_WRITE;
    default: return IO_ERROR;
    }
}

static ssize_t tls_read(struct io *io, void *to, size_t len)
{
    size_t total = 0;
    int rc = 0;

    ERR_clear_error();
    while (total < len) {
        rc = SSL_read(io->ssl, (char *)to + total, (int)size_min(len - total, INT32_MAX));
        if (rc <= 0)
            break;
        total += (size_t)rc;
        if (!SSL_has_pending(io->ssl))
            break; /* asking again would cost a system call */
    }
    if (total)
        return (ssize_t)total;
    switch (SSL_get_error(io->ssl, rc)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return IO_AGAIN;
    default: return IO_ERROR; /* an end without close_notify may be a cut: no end at all */
    }
}

/* One record from the front of v: in place when it is long, gathered when it is in pieces. */
static int write_record(struct io *io, const struct iovec *v, int n, size_t skip)
{
    static _Thread_local char record[RECORD_MAX];
    size_t len = 0;

    if (n == 1 || v->iov_len - skip >= RECORD_MAX)
        return SSL_write(io->ssl, (const char *)v->iov_base + skip,
                         (int)size_min(v->iov_len - skip, RECORD_MAX));
    for (int i = 0; i < n && len < RECORD_MAX; i++) {
        size_t part = size_min(v[i].iov_len - skip, RECORD_MAX - len);
        memcpy(record + len, (const char *)v[i].iov_base + skip, part);
        len += part;
        skip = 0;
    }
    return SSL_write(io->ssl, record, (int)len);
}

static ssize_t tls_writev(struct io *io, const struct iovec *v, int n)
{
    size_t total = 0, skip = 0;

    ERR_clear_error();
    while (n) {
        int rc;

        if (v->iov_len == skip) {
            v++, n--, skip = 0;
            continue;
        }
        rc = write_record(io, v, n, skip);
        if (rc <= 0) {
            if (total)
                return (ssize_t)total; /* the next call finds out again */
            return outcome(io, rc) == IO_ERROR ? IO_ERROR : IO_AGAIN;
        }
        total += (size_t)rc;
        for (skip += (size_t)rc; n && skip >= v->iov_len; v++, n--)
            skip -= v->iov_len;
    }
    return (ssize_t)total;
}

static int tls_handshake(struct io *io)
{
    int rc;

    ERR_clear_error();
    rc = SSL_do_handshake(io->ssl);
    return rc == 1 ? 0 : outcome(io, rc);
}

static bool tls_pending(const struct io *io)
{
    /* an end that has been read along with data makes no socket readable either */
    return SSL_has_pending(io->ssl) || SSL_get_shutdown(io->ssl) & SSL_RECEIVED_SHUTDOWN;
}

static void tls_shutdown(struct io *io)
{
    if (SSL_is_init_finished(io->ssl)) {
        ERR_clear_error();
        SSL_shutdown(io->ssl);
    }
    shutdown(io->fd, SHUT_WR);
}

static void tls_close(struct io *io)
{
    if (io->ssl) {
        if (SSL_is_init_finished(io->ssl) && !(SSL_get_shutdown(io->ssl) & SSL_SENT_SHUTDOWN)) {
            ERR_clear_error();
            SSL_shutdown(io->ssl);
        }
        SSL_free(io->ssl);
    }
    io->ssl = NULL;
    if (io->fd >= 0)
        close(io->fd);
    io->fd = -1;
}

const struct io_ops io_tls = {
    .read = tls_read,
    .writev = tls_writev,
    .handshake = tls_handshake,
    .pending = tls_pending,
    .shutdown = tls_shutdown,
    .close = tls_close,
};
