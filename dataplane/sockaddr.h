/* sockaddr.h - a socket's address of either family, without casts. */
#ifndef DATAPLANE_SOCKADDR_H
#define DATAPLANE_SOCKADDR_H

#include <netinet/in.h>

/* sa.sa_family says which: AF_INET, AF_INET6, or AF_UNSPEC for none. The ports of both are at one place. */
union socket_addr {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

#endif
