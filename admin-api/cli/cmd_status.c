/* cmd_status.c - weirctl status: the control plane at a glance. */
#include "admin-api/cli/cli.h"

#include <stdio.h>

#include "admin-api/cli/api.h"

struct flags {
    const char *admin_url;
    bool json;
};
static const struct setting table[] = {
    ADMIN_URL_SETTING(struct flags),
    {"json", ST_BOOL, offsetof(struct flags, json),
     .doc = "Prints the answer of GET /status as it is."},
    SETTING_END,
};

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "unknown";
}

static void print_status(const struct api *api, const json_t *root, const json_t *status,
                         const json_t *nodes)
{
    size_t connected = 0, current = 0, i;
    json_t *row;

    json_array_foreach(json_unconst(nodes), i, row)
    {
        bool is_connected = json_is_true(json_object_get(row, "connected"));
        connected += is_connected;
        current += is_connected && json_number_value(json_object_get(row, "behind")) == 0;
    }
    printf("admin api       %s, version %s\n", api_url(api), text(root, "version"));
    printf("node            %s (%s)\n", text(root, "node_id"), text(root, "hostname"));
    printf("database        %s\n",
           json_is_true(json_object_get(json_object_get(status, "database"), "reachable"))
               ? "reachable"
               : "not reachable");
    printf("data planes     %zu known, %zu connected, %zu of them current\n",
           json_array_size(nodes), connected, current);
}

static int run(int argc, char **argv)
{
    json_t *root = NULL, *answer = NULL, *nodes = NULL;
    struct api *api = NULL;
    struct flags f;
    struct err e = {0};
    int status;

    if (!command_flags(&command_status, table, 0, &argc, argv, &f, &status))
        return status;
    if (api_open(f.admin_url, &api, &e) != 0 || api_do(api, "GET", "/", NULL, &root, &e) != 0 ||
        api_do(api, "GET", "/status", NULL, &answer, &e) != 0 ||
        api_list(api, "/clustering/data-planes", "", &nodes, &e) != 0) {
        status = command_fail(&command_status, &e);
    } else if (f.json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_status(api, root, answer, nodes);
    }
    json_decref(root);
    json_decref(answer);
    json_decref(nodes);
    api_close(&api);
    return status;
}

const struct command command_status = {
    .name = "status",
    .operands = "",
    .run = run,
    .about = "Shows the control plane at a glance.",
};
