/* cmd_cert.c - weirctl cert: the cluster's CA and the certificates of its nodes. */
#include "admin-api/cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/pki.h"

struct flags {
    const char *dir, *cluster, *node;
    int role;
    int64_t days;
};

static const char *const roles[] = {"dp", "cp", NULL};

static const struct setting table[] = {
    {"out", ST_TEXT, offsetof(struct flags, dir),
     .doc = "Folder of the CA; made when it is not there."},
    {"name", ST_TEXT, offsetof(struct flags, cluster), .dflt = "default",
     .doc = "Name of a new cluster: letters, digits, dots, - and _."},
    {"node", ST_TEXT, offsetof(struct flags, node),
     .doc = "Signs NODE.crt and NODE.key with the CA that is in the folder already."},
    {"role", ST_ENUM, offsetof(struct flags, role), .dflt = "dp", .words = roles,
     .doc = "What the node is: a data plane or a control plane."},
    {"days", ST_INT, offsetof(struct flags, days), .dflt = "825", .min = 1, .max = 3650,
     .doc = "How long certificates of nodes are valid."},
    SETTING_END,
};

static int make_cluster(const struct flags *f, struct err *e)
{
    static const char *const made[] = {"ca", "cp", "dp"};
    struct pki_request req = {.cluster = f->cluster, .node_days = (unsigned)f->days};

    if (pki_make_cluster(f->dir, &req, e) != 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(made); i++)
        printf("wrote %s/%s.crt %s/%s.key\n", f->dir, made[i], f->dir, made[i]);
    return 0;
}

static int make_node(const struct flags *f, struct err *e)
{
    enum pki_role role = strcmp(roles[f->role], "cp") == 0 ? PKI_CP : PKI_DP;

    if (pki_issue(f->dir, role, f->node, (unsigned)f->days, e) != 0)
        return -1;
    printf("wrote %s/%s.crt %s/%s.key\n", f->dir, f->node, f->dir, f->node);
    return 0;
}

static int run(int argc, char **argv)
{
    struct flags f;
    struct err e = {0};
    int status;

    if (!command_flags(&command_cert, table, 0, &argc, argv, &f, &status))
        return status;
    if (f.dir[0] == '\0') {
        err_set(&e, ERR_INVALID, "expected --out DIR");
        return command_fail(&command_cert, &e);
    }
    if ((f.node[0] ? make_node(&f, &e) : make_cluster(&f, &e)) != 0)
        return command_fail(&command_cert, &e);
    return 0;
}

const struct command command_cert = {
    .name = "cert",
    .operands = "",
    .run = run,
    .about = "Makes the cluster's CA and certificates, or one more node's.",
};
