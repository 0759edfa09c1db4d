/* cmd_ping.c - weirctl ping: does the Admin API answer? */
#include "admin-api/cli/cli.h"

#include <stdio.h>

#include "admin-api/cli/api.h"
#include "common/clock.h"

struct flags {
    const char *admin_url;
};
static const struct setting table[] = {ADMIN_URL_SETTING(struct flags), SETTING_END};

static int run(int argc, char **argv)
{
    struct api *api = NULL;
    json_t *root = NULL;
    struct flags f;
    struct err e = {0};
    uint64_t start;
    int status;

    if (!command_flags(&command_ping, table, 0, &argc, argv, &f, &status))
        return status;
    start = clock_mono_us();
    if (api_open(f.admin_url, &api, &e) != 0 || api_do(api, "GET", "/", NULL, &root, &e) != 0) {
        status = command_fail(&command_ping, &e);
    } else {
        const char *version = json_string_value(json_object_get(root, "version"));
        printf("%s answers in %.1f ms (version %s)\n", api_url(api),
               (double)(clock_mono_us() - start) / 1e3, version ? version : "unknown");
    }
    json_decref(root);
    api_close(&api);
    return status;
}

const struct command command_ping = {
    .name = "ping",
    .operands = "",
    .run = run,
    .about = "Asks whether the Admin API answers.",
};
