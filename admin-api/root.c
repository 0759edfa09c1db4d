/* root.c - what the control plane says of itself: /, /status, /endpoints, /metrics ... */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin-api/admin.h"
#include "admin-api/server.h"
#include "common/plugins/contract.h"

/* ---- GET / ---- */

static json_t *available_plugins(void)
{
    json_t *out = json_object();

    for (const struct plugin_contract *const *p = plugin_contracts; *p; p++)
        json_object_set_new(
            out, (*p)->name,
            json_pack("{s:s, s:i}", "version", WEIR_KONG_VERSION, "priority", (*p)->priority));
    return out;
}

/* Names of the plugins that have a row. Read once per version: there may be many rows. */
static int plugins_in_use(struct store *store, json_t **out, struct problem *p)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t of_version;
    static json_t *names;
    uint64_t version = store_info(store).version;
    struct page_query q = {.size = 1000};
    char *offset = NULL;
    json_t *found;
    int rc = 0;

    pthread_mutex_lock(&lock);
    if (names && of_version == version) {
        *out = json_deep_copy(names);
        pthread_mutex_unlock(&lock);
        return 0;
    }
    pthread_mutex_unlock(&lock);
    found = json_object();
    do {
        json_t *rows = NULL, *row;
        char *next = NULL;
        size_t i;

        q.offset = str_of(offset);
        rc = store_page(store, &entity_plugins, &q, &rows, &next, p);
        free(offset);
        offset = next;
        json_array_foreach(rows, i, row) json_object_set_new(
            found, json_string_value(json_object_get(row, "name")), json_true());
        json_decref(rows);
    } while (rc == 0 && offset);
    free(offset);
    if (rc == 0) {
        const char *name;
        json_t *unused;

        *out = json_array();
        json_object_foreach(found, name, unused) json_array_append_new(*out, json_string(name));
        pthread_mutex_lock(&lock);
        json_decref(names);
        names = json_deep_copy(*out);
        of_version = version;
        pthread_mutex_unlock(&lock);
    }
    json_decref(found);
    return rc;
}

enum outcome root_get(struct call *c)
{
    const struct admin *a = c->admin;
    struct problem p = {0};
    char id[UUID_TEXT_LEN + 1];
    json_t *used = NULL;

    if (plugins_in_use(a->store, &used, &p) != 0)
        return reply_problem(c, &p);
    uuid_format(&a->node_id, id);
    return reply_json(
        c, 200,
        json_pack(
            "{s:s, s:s, s:s, s:s, s:s, s:s, s:{s:i, s:i}, s:{s:o, s:o}, s:s, s:o, s:{s:i, s:[i]}}",
            "tagline", "Welcome to weir", "version", WEIR_KONG_VERSION, "weir_version",
            WEIR_VERSION, "edition", "community", "hostname", a->hostname, "node_id", id, "timers",
            "running", 0, "pending", 0, "plugins", "available_on_server", available_plugins(),
            "enabled_in_cluster", used, "lua_version", "none", "configuration",
            json_deep_copy(a->configuration), "pids", "master", (int)getpid(), "workers",
            (int)getpid()));
}

enum outcome endpoints_get(struct call *c)
{
    return reply_json(c, 200, json_pack("{s:o}", "data", router_endpoints()));
}

enum outcome plugins_enabled_get(struct call *c)
{
    json_t *names = json_array();

    for (const struct plugin_contract *const *p = plugin_contracts; *p; p++)
        json_array_append_new(names, json_string((*p)->name));
    return reply_json(c, 200, json_pack("{s:o}", "enabled_plugins", names));
}

enum outcome config_any(struct call *c)
{
    return reply_message(
        c, 400, "this endpoint is only available when Kong is configured to not use a database");
}

/* ---- GET /status ---- */

struct unit {
    char letter;
    double bytes;
    const char *word;
};

static uint64_t resident_bytes(void)
{
    unsigned long long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    char line[128], *end;

    if (f) {
        if (fgets(line, sizeof(line), f)) { /* pages: size, resident, ... */
            strtoull(line, &end, 10);
            resident = strtoull(end, NULL, 10);
        }
        fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* "52.10 MiB" as ?unit= and ?scale= ask for. False: c is answered. */
static bool memory_text(struct call *c, char *out, size_t size)
{
    static const struct unit units[] = {
        {'b', 1, ""}, {'k', 1024, " KiB"}, {'m', 1048576, " MiB"}, {'g', 1073741824, " GiB"}};
    struct str unit = call_arg(c, "unit"), scale = call_arg(c, "scale");
    uint64_t digits = 2;

    if (scale.p && (!str_to_u64(scale, &digits) || digits > 10)) {
        reply_message(c, 400, "scale must be an integer between 0 and 10");
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (unit.p ? unit.len != 1 || ascii_lower(unit.p[0]) != units[i].letter
                   : units[i].letter != 'm')
            continue;
        snprintf(out, size, "%.*f%s", i ? (int)digits : 0,
                 (double)resident_bytes() / units[i].bytes, units[i].word);
        return true;
    }
    reply_message(c, 400, "invalid unit '" STR_FMT "' (expected 'k', 'm', 'g' or 'b')",
                  STR_ARG(unit));
    return false;
}

enum outcome status_get(struct call *c)
{
    const struct admin *a = c->admin;
    struct server_stats st = server_stats(a->server);
    struct store_info info = store_info(a->store);
    char memory[48], hash[65];
    size_t idle = st.active > st.busy ? st.active - st.busy : 0;

    if (!memory_text(c, memory, sizeof(memory)))
        return CALL_DONE;
    state_hash_hex(&info.hash, hash);
    return reply_json(c, 200,
                      json_pack("{s:{s:{}, s:[{s:i, s:s}]}, s:{s:I, s:i, s:I, s:I, s:I, s:I, s:I}, "
                                "s:{s:b}, s:I, s:I, s:s}",
                                "memory", "lua_shared_dicts", "workers_lua_vms", "pid",
                                (int)getpid(), "http_allocated_gc", memory, "server",
                                "connections_active", (json_int_t)st.active, "connections_reading",
                                0, "connections_writing", (json_int_t)st.busy,
                                "connections_waiting", (json_int_t)idle, "connections_accepted",
                                (json_int_t)st.accepted, "connections_handled",
                                (json_int_t)st.accepted, "total_requests", (json_int_t)st.requests,
                                "database", "reachable", store_reachable(a->store),
                                "config_version", (json_int_t)info.version, "config_epoch",
                                (json_int_t)info.epoch, "config_hash", hash));
}

enum outcome ready_get(struct call *c)
{
    return store_reachable(c->admin->store)
               ? reply_message(c, 200, "ready")
               : reply_message(c, 503, "failed to connect to database");
}

/* ---- GET /metrics ---- */

struct metric {
    const char *name, *type, *help;
    double value;
};

enum outcome metrics_get(struct call *c)
{
    const struct admin *a = c->admin;
    struct server_stats st = server_stats(a->server);
    struct store_info info = store_info(a->store);
    struct publisher_status pub =
        a->publisher ? publisher_status(a->publisher) : (struct publisher_status){0};
    size_t connected, current;
    struct sbuf out = {0};
    enum outcome done;

    nodes_count(a->nodes, &connected, &current);
    /* clang-format off */
    const struct metric metrics[] = {
        {"weir_config_version", "gauge", "Version of the configuration's last commit.", (double)info.version},
        {"weir_config_epoch", "gauge", "Epoch of the database.", (double)info.epoch},
        {"weir_config_pushed_version", "gauge", "Newest version pushed to data planes.", (double)pub.version},
        {"weir_data_planes_connected", "gauge", "Data planes connected.", (double)connected},
        {"weir_data_planes_current", "gauge", "Connected data planes that serve the newest version.",
         (double)current},
        {"weir_push_deltas_built_total", "counter", "Deltas encoded.", (double)pub.deltas_built},
        {"weir_push_snapshots_built_total", "counter", "Full snapshots encoded.", (double)pub.fulls_built},
        {"weir_push_frames_total", "counter", "Frames sent to data planes.", (double)pub.frames_sent},
        {"weir_push_bytes_total", "counter", "Bytes sent to data planes.", (double)pub.bytes_sent},
        {"weir_push_refused_total", "counter", "Data plane connections refused before their hello.",
         (double)pub.refused},
        {"weir_admin_connections", "gauge", "Open connections to the Admin API.", (double)st.active},
        {"weir_admin_connections_total", "counter", "Connections accepted by the Admin API.",
         (double)st.accepted},
        {"weir_admin_requests_total", "counter", "Requests to the Admin API.", (double)st.requests},
        {"weir_admin_requests_refused_total", "counter", "Requests refused for their framing or size.",
         (double)st.refused},
        {"process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
         (double)resident_bytes()},
    };
    /* clang-format on */
    sbuf_addf(
        &out,
        "# HELP weir_build_info Version of the program, always 1.\n# TYPE weir_build_info gauge\n"
        "weir_build_info{version=\"%s\"} 1\n",
        WEIR_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
        sbuf_addf(&out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", metrics[i].name, metrics[i].help,
                  metrics[i].name, metrics[i].type, metrics[i].name, metrics[i].value);
    done = reply_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", sbuf_str(&out));
    sbuf_free(&out);
    return done;
}
