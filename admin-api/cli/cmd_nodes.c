/* cmd_nodes.c - weirctl nodes: the data planes, and which configuration each serves. */
#include "admin-api/cli/cli.h"

#include <inttypes.h>
#include <stdio.h>

#include "admin-api/cli/api.h"
#include "common/clock.h"

struct flags {
    const char *admin_url;
    bool json;
};
static const struct setting table[] = {
    ADMIN_URL_SETTING(struct flags),
    {"json", ST_BOOL, offsetof(struct flags, json),
     .doc = "Prints the rows as the Admin API gives them."},
    SETTING_END,
};

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));

    return s && s[0] ? s : "-";
}

static json_int_t number(const json_t *row, const char *key)
{
    return (json_int_t)json_number_value(json_object_get(row, key));
}

/* "4 s ago", "3 min ago"... */
static void show_age(json_int_t last_seen, char *out, size_t cap)
{
    static const struct {
        json_int_t seconds;
        const char *word;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    json_int_t age = (json_int_t)(clock_wall_us() / 1000000) - last_seen;

    snprintf(out, cap, "now");
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (age >= units[i].seconds) {
            snprintf(out, cap, "%" JSON_INTEGER_FORMAT " %s ago", age / units[i].seconds,
                     units[i].word);
            return;
        }
}

/* One word for where the node is. */
static const char *state(const json_t *row)
{
    if (!json_is_true(json_object_get(row, "connected")))
        return "away";
    if (json_is_object(json_object_get(row, "last_error")))
        return "refused";
    return number(row, "behind") > 0 ? "behind" : "current";
}

static void print_rows(const json_t *rows)
{
    const char *line = "%-36s  %-20.20s %-10s %8s %7s  %-11s %s\n";
    json_t *row;
    size_t i;

    printf(line, "ID", "HOST", "VERSION", "APPLIED", "BEHIND", "LAST SEEN", "STATE");
    json_array_foreach(json_unconst(rows), i, row)
    {
        const json_t *error = json_object_get(row, "last_error");
        char applied[24], behind[24], age[40];

        snprintf(applied, sizeof(applied), "%" JSON_INTEGER_FORMAT, number(row, "applied_version"));
        snprintf(behind, sizeof(behind), "%" JSON_INTEGER_FORMAT, number(row, "behind"));
        show_age(number(row, "last_seen"), age, sizeof(age));
        printf(line, text(row, "id"), text(row, "hostname"), text(row, "version"), applied, behind,
               age, state(row));
        if (json_is_object(error))
            printf("  refused version %" JSON_INTEGER_FORMAT ": %s\n", number(error, "version"),
                   text(error, "message"));
    }
    if (json_array_size(rows) == 0)
        printf("no data plane has connected yet\n");
}

static int run(int argc, char **argv)
{
    struct api *api = NULL;
    json_t *rows = NULL;
    struct flags f;
    struct err e = {0};
    int status;

    if (!command_flags(&command_nodes, table, 0, &argc, argv, &f, &status))
        return status;
    if (api_open(f.admin_url, &api, &e) != 0 ||
        api_list(api, "/clustering/data-planes", "", &rows, &e) != 0) {
        status = command_fail(&command_nodes, &e);
    } else if (f.json) {
        json_dumpf(rows, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_rows(rows);
    }
    json_decref(rows);
    api_close(&api);
    return status;
}

const struct command command_nodes = {
    .name = "nodes",
    .operands = "",
    .run = run,
    .about = "Lists the data planes and the configuration each one serves.",
};
