/* cmd_reference.c - weirctl reference: the pages that are printed from the tables. */
#include "admin-api/cli/cli.h"

#include <stdio.h>

#include "common/schema.h"

struct flags {
    bool proto;
};
static const struct setting table[] = {
    {"proto", ST_BOOL, offsetof(struct flags, proto), .dflt = "off",
     .doc = "Prints the messages of the wire (proto/entities.proto) instead."},
    SETTING_END,
};

static int run(int argc, char **argv)
{
    struct sbuf page = {0};
    struct flags f;
    int status;

    if (!command_flags(&command_reference, table, 0, &argc, argv, &f, &status))
        return status;
    if (f.proto)
        schema_print_proto(&page);
    else
        schema_print_docs(&page);
    status = fwrite(page.p, 1, page.len, stdout) == page.len && fflush(stdout) == 0 ? 0 : 1;
    sbuf_free(&page);
    return status;
}

const struct command command_reference = {
    .name = "reference",
    .operands = "",
    .about = "Prints every entity and plugin with its fields, as Markdown.",
    .run = run,
};
