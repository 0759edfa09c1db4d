/* main.c - weirctl: finds the command and runs it. */
#include "admin-api/cli/cli.h"

#include <stdio.h>

static const struct command *const commands[] = {
    &command_sync, &command_nodes, &command_status, &command_ping, &command_cert, &command_reference,
};

static void print_help(FILE *to)
{
    fprintf(to, "weirctl - the command line of Weir\n\nUsage: weirctl COMMAND [FLAGS]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(to, "  %-10s %-6s %s\n", commands[i]->name, commands[i]->operands,
                commands[i]->about);
    fprintf(to, "  %-10s %-6s %s\n", "version", "", "Prints the version.");
    fprintf(to, "\nweirctl COMMAND --help lists a command's flags.\n");
}

bool command_flags(const struct command *cmd, const struct setting *table, int n_operands,
                   int *argc, char **argv, void *out, int *exit_out)
{
    char program[64];
    struct settings_source src = {.program = program, .about = cmd->about, .table = table};
    struct err e = {0};
    int rc;

    snprintf(program, sizeof(program), "weirctl %s%s%s", cmd->name, cmd->operands[0] ? " " : "",
             cmd->operands);
    rc = settings_load(&src, argc, argv, n_operands > 0, out, &e);
    if (rc == 0 && *argc - 1 != n_operands)
        rc = err_set(&e, ERR_INVALID, "expected %s, got %d operands; weirctl %s --help tells more",
                     cmd->operands, *argc - 1, cmd->name);
    *exit_out = rc < 0 ? command_fail(cmd, &e) : 0;
    return rc == 0;
}

int command_fail(const struct command *cmd, const struct err *e)
{
    fprintf(stderr, "weirctl %s: %s\n", cmd->name, err_text(e));
    return 1;
}

int main(int argc, char **argv)
{
    struct str word = str_of(argc > 1 ? argv[1] : "--help");

    if (str_eq(word, STR("--help")) || str_eq(word, STR("-h")) || str_eq(word, STR("help"))) {
        print_help(stdout);
        return argc > 1 ? 0 : 1;
    }
    if (str_eq(word, STR("version")) || str_eq(word, STR("--version"))) {
        puts("weirctl " WEIR_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_eq(word, str_of(commands[i]->name)))
            return commands[i]->run(argc - 1, argv + 1);
    fprintf(stderr, "weirctl: unknown command '%s'\n\n", argv[1]);
    print_help(stderr);
    return 1;
}
