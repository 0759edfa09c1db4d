/* rate_limiting.c - contract of the plugin rate-limiting. */
#include "common/plugins/rate_limiting.h"

#include "common/entities/fields.h"

typedef struct rate_limiting_conf conf_t;

static const double zero = 0;

/* clang-format off */
static const struct field redis_fields[] = {
    F_STR(struct redis_conf, host, 1, .check = check_host, .doc = "Host of the Redis server."),
    F_INT(struct redis_conf, port, 2, .dflt = "6379", .between = RANGE(0, 65535), .doc = "Port of the Redis server."),
    F_INT(struct redis_conf, timeout, 3, .dflt = "2000", .between = RANGE(0, 2147483646), .unit = "ms",
          .doc = "Time to connect, to send and to read."),
    F_STR(struct redis_conf, username, 4, .flags = FF_REFERENCEABLE, .doc = "User name for the Redis server."),
    F_STR(struct redis_conf, password, 5, .flags = FF_REFERENCEABLE | FF_SECRET | FF_EMPTY_OK,
          .doc = "Password for the Redis server."),
    F_INT(struct redis_conf, database, 6, .dflt = "0", .doc = "Number of the database."),
    F_BOOL(struct redis_conf, ssl, 7, .flags = FF_OPTIONAL, .dflt = "false", .doc = "Whether TLS is used."),
    F_BOOL(struct redis_conf, ssl_verify, 8, .flags = FF_OPTIONAL, .dflt = "false",
           .doc = "Whether the server's certificate is verified."),
    F_STR(struct redis_conf, server_name, 9, .flags = FF_OPTIONAL, .check = check_sni, .doc = "Server name for TLS."),
    F_END
};

#define LIMIT(m, n) F_NUM(conf_t, m, n, .gt = &zero, .unit = "requests", .doc = "Requests let through per " #m ".")
static const struct field fields[] = {
    LIMIT(second, 1),
    LIMIT(minute, 2),
    LIMIT(hour, 3),
    LIMIT(day, 4),
    LIMIT(month, 5),
    LIMIT(year, 6),
    F_ENUM(conf_t, limit_by, 7, .dflt = "\"consumer\"",
           .one_of = LIST("consumer", "credential", "ip", "service", "header", "path"),
           .doc = "Who is counted."),
    F_STR(conf_t, header_name, 8, .check = check_header_name, .doc = "Header to count by, for limit_by header."),
    F_ABSOLUTE_PATH(conf_t, path, 9, .doc = "Path to count, for limit_by path."),
    F_ENUM(conf_t, policy, 10, .flags = FF_EMPTY_OK, .dflt = "\"local\"", .one_of = LIST("local", "cluster", "redis"),
           .doc = "Where counters are kept."),
    F_BOOL(conf_t, fault_tolerant, 11, .flags = FF_REQUIRED, .dflt = "true",
           .doc = "Whether requests pass when the counters cannot be reached."),
    F_RECORD(conf_t, redis, 12, .flags = FF_REQUIRED, .fields = redis_fields, .doc = "The Redis server."),
    F_BOOL(conf_t, hide_client_headers, 13, .flags = FF_REQUIRED, .dflt = "false",
           .doc = "Whether the RateLimit headers are left out."),
    F_NUM(conf_t, error_code, 14, .dflt = "429", .gt = &zero, .doc = "Status of a refusal."),
    F_STR(conf_t, error_message, 15, .dflt = "\"API rate limit exceeded\"", .doc = "Text of a refusal."),
    F_NUM(conf_t, sync_rate, 16, .flags = FF_REQUIRED, .dflt = "-1", .unit = "s",
          .doc = "How often counters are synchronised; -1: with every request."),
    F_END
};

#define ALIAS(alias, member, ft, ...) \
    {.field = {.name = alias, .type = ft, __VA_ARGS__}, .replaced_with = "redis." member, .removal_in = "4.0"}
static const struct shorthand shorthands[] = {
    ALIAS("redis_host", "host", FT_STRING),
    ALIAS("redis_port", "port", FT_INTEGER),
    ALIAS("redis_password", "password", FT_STRING, .flags = FF_EMPTY_OK),
    ALIAS("redis_username", "username", FT_STRING),
    ALIAS("redis_ssl", "ssl", FT_BOOLEAN),
    ALIAS("redis_ssl_verify", "ssl_verify", FT_BOOLEAN),
    ALIAS("redis_server_name", "server_name", FT_STRING),
    ALIAS("redis_timeout", "timeout", FT_INTEGER),
    ALIAS("redis_database", "database", FT_INTEGER),
};

#define EQ(text) MATCH(.eq = "\"" text "\"")
#define REQUIRED_WHEN(f, word, needed) \
    {CK_CONDITIONAL, .if_field = f, .if_match = EQ(word), \
     .then_field = needed, .then_match = MATCH(.flags = FF_REQUIRED)}
static const struct check row_list[] = {
    {CK_AT_LEAST_ONE_OF, .fields = LIST("config.second", "config.minute", "config.hour", "config.day",
                                        "config.month", "config.year")},
    REQUIRED_WHEN("config.policy", "redis", "config.redis.host"),
    REQUIRED_WHEN("config.policy", "redis", "config.redis.port"),
    REQUIRED_WHEN("config.policy", "redis", "config.redis.timeout"),
    REQUIRED_WHEN("config.limit_by", "header", "config.header_name"),
    REQUIRED_WHEN("config.limit_by", "path", "config.path"),
};
/* clang-format on */

/* A longer period may not allow less than a shorter one. */
static int check_periods(const json_t *config, struct err *e)
{
    static const char *const periods[] = {"second", "minute", "hour", "day", "month", "year"};
    const json_t *sync_rate = json_object_get(config, "sync_rate");
    const char *policy = json_string_value(json_object_get(config, "policy"));
    const char *shorter = NULL;
    double limit = 0;

    for (size_t i = 0; i < ARRAY_LEN(periods); i++) {
        const json_t *value = json_object_get(config, periods[i]);

        if (!json_is_number(value))
            continue;
        if (shorter && json_number_value(value) < limit)
            return err_set(e, ERR_INVALID,
                           "The limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)",
                           periods[i], json_number_value(value), shorter, limit);
        shorter = periods[i];
        limit = json_number_value(value);
    }
    if (!json_is_number(sync_rate) || json_number_value(sync_rate) == -1)
        return 0;
    if (!policy || strcmp(policy, "redis") != 0)
        return err_set(e, ERR_INVALID, "sync_rate can only be used with the redis policy");
    if (json_number_value(sync_rate) < 0.02)
        return err_set(e, ERR_INVALID, "sync_rate must be greater than 0.02, or -1 to disable");
    return 0;
}

static const struct record_checks row_checks = {CHECKS(row_list)};
static const struct record_checks config_checks = {
    .shorthands = shorthands, .n_shorthands = ARRAY_LEN(shorthands), .custom = check_periods};

const struct plugin_contract contract_rate_limiting = {
    .name = "rate-limiting",
    .priority = 910,
    .phases = PH_BIT(PH_ACCESS),
    .scopes = SCOPE_ANY,
    .protocols = PROTOCOLS_HTTP,
    .protocols_default = PROTOCOLS_HTTP,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .config_checks = &config_checks,
    .checks = &row_checks,
    .doc = "Refuses requests above a rate.",
};
