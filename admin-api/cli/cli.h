/*
 * cli.h - weirctl: a table of commands, and what they share.
 *
 * A command is a struct command in its own cmd_NAME.c, with a table of flags like any
 * program's settings; main.c lists them. It prints its result on stdout, what is wrong on
 * stderr, and returns the exit status: 0, or 1.
 */
#ifndef ADMIN_API_CLI_CLI_H
#define ADMIN_API_CLI_CLI_H

#include "common/settings.h"

struct command {
    const char *name;
    const char *operands; /* "FILE", "" for none */
    const char *about;    /* one line */
    /* argv[0] is the command's name */
    int (*run)(int argc, char **argv);
};

extern const struct command command_cert, command_nodes, command_ping, command_reference,
    command_status, command_sync;

/*
 * Loads the command's flags into *out; exactly n_operands must remain, in argv[1...].
 * Returns true when the command goes on; else *exit_out is its status: --help was printed,
 * or what is wrong.
 */
bool command_flags(const struct command *cmd, const struct setting *table, int n_operands,
                   int *argc, char **argv, void *out, int *exit_out);

/* "weirctl NAME: message" on stderr. Returns 1. */
int command_fail(const struct command *cmd, const struct err *e);

/* The flag that commands with an Admin API have in common. */
#define ADMIN_URL_SETTING(S)                                                 \
    {                                                                        \
        .name = "admin_url", .type = ST_TEXT, .off = offsetof(S, admin_url), \
        .dflt = "http://127.0.0.1:8001", .doc = "Where the Admin API is."    \
    }

#endif
