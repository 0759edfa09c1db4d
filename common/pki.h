/*
 * pki.h - the certificates of a cluster: one CA, and what it signs for control planes and
 * data planes. EC P-256, SHA-256. A node's certificate carries the URI
 * weir://cluster/CLUSTER/ROLE/NODE (ROLE cp or dp), which is what the other plane checks.
 *
 *     struct pki_request req = {.cluster = "default"};
 *     if (pki_make_cluster(dir, &req, &e) != 0) ...   // ca, cp, dp: .crt and .key each
 *     if (pki_issue(dir, PKI_DP, "edge-7", 0, &e) != 0) ...   // edge-7.crt, edge-7.key
 *
 * Files are PEM, mode 0600, and never overwritten: a lost CA would orphan its cluster.
 */
#ifndef COMMON_PKI_H
#define COMMON_PKI_H

#include "common/err.h"

#define PKI_CA_DAYS   3650u
#define PKI_NODE_DAYS 825u

enum pki_role { PKI_CP, PKI_DP };

struct pki_request {
    const char *cluster; /* [A-Za-z0-9._-], 1 to 63; NULL: "default" */
    unsigned ca_days;    /* 0: PKI_CA_DAYS */
    unsigned node_days;  /* 0: PKI_NODE_DAYS */
};

/*
 * Makes ca, cp and dp in dir, which is made (0700) when it is not there. All six files or
 * none. ERR_CONFLICT when one of them exists. Blocks on the disk.
 */
int pki_make_cluster(const char *dir, const struct pki_request *req,
                     struct err *e) WEIR_MUSTCHECK;

/*
 * Signs one more node with the CA in dir: dir/NAME.crt and dir/NAME.key. A name that is a
 * UUID ties the certificate to the node of that id. days 0: PKI_NODE_DAYS.
 */
int pki_issue(const char *dir, enum pki_role role, const char *name, unsigned days,
              struct err *e) WEIR_MUSTCHECK;

#endif
