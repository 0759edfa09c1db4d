/* io_plain.c - struct io_ops over a socket. */
#include "dataplane/io.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t plain_read(struct io *io, void *to, size_t len)
{
    ssize_t n;

    do
        n = recv(io->fd, to, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? IO_AGAIN : IO_ERROR;
    return n;
}

static ssize_t plain_writev(struct io *io, const struct iovec *v, int n)
{
    struct msghdr m = {.msg_iovlen = (size_t)n};
    ssize_t sent;

    if (n == 1) {
        sent = send(io->fd, v->iov_base, v->iov_len, MSG_NOSIGNAL);
    } else {
        memcpy(&m.msg_iov, &v, sizeof(v)); /* sendmsg does not write through it */
        sent = sendmsg(io->fd, &m, MSG_NOSIGNAL);
    }
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_ERROR;
    return sent;
}

static int plain_handshake(struct io *io)
{
    (void)io;
    return 0;
}

static bool plain_pending(const struct io *io)
{
    (void)io;
    return false;
}

static void plain_shutdown(struct io *io)
{
    shutdown(io->fd, SHUT_WR);
}

static void plain_close(struct io *io)
{
    if (io->fd >= 0)
        close(io->fd);
    io->fd = -1;
}

const struct io_ops io_plain = {
    .read = plain_read,
    .writev = plain_writev,
    .handshake = plain_handshake,
    .pending = plain_pending,
    .shutdown = plain_shutdown,
    .close = plain_close,
};
