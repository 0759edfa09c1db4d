/* upstreams.c - virtual host names with targets, balancing and health checks. */
#include "common/entities/fields.h"

/* Default texts are composed, since /schemas prints the default of every record. */
#define OK_STATUSES    "[200,302]"
#define BAD_STATUSES   "[429,404,500,501,502,503,504,505]"
#define SEEN_OK        "[200,201,202,203,204,205,206,207,208,226,300,301,302,303,304,305,306,307,308]"
#define SEEN_BAD       "[429,500,503]"
#define ACTIVE_HEALTHY "{\"interval\":0,\"http_statuses\":" OK_STATUSES ",\"successes\":0}"
#define ACTIVE_UNHEALTHY                              \
    "{\"interval\":0,\"http_statuses\":" BAD_STATUSES \
    ",\"tcp_failures\":0,\"timeouts\":0,\"http_failures\":0}"
#define ACTIVE                                                                               \
    "{\"type\":\"http\",\"concurrency\":10,\"timeout\":1,\"https_verify_certificate\":true," \
    "\"http_path\":\"/\",\"healthy\":" ACTIVE_HEALTHY ",\"unhealthy\":" ACTIVE_UNHEALTHY "}"
#define PASSIVE_HEALTHY "{\"http_statuses\":" SEEN_OK ",\"successes\":0}"
#define PASSIVE_UNHEALTHY \
    "{\"tcp_failures\":0,\"timeouts\":0,\"http_statuses\":" SEEN_BAD ",\"http_failures\":0}"
#define PASSIVE \
    "{\"healthy\":" PASSIVE_HEALTHY ",\"type\":\"http\",\"unhealthy\":" PASSIVE_UNHEALTHY "}"
#define HEALTHCHECKS "{\"active\":" ACTIVE ",\"passive\":" PASSIVE "}"

/* clang-format off */
static const struct field elem_status = {.type = FT_INTEGER, .between = RANGE(100, 999)};
static const struct field key_header = {.type = FT_STRING, .check = check_header_name};
static const struct field elem_values = {.type = FT_ARRAY, .elem = &elem_string};
static const char *const check_types[] = {"tcp", "http", "https", "grpc", "grpcs", NULL};
static const char *const hash_inputs[] = {
    "none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture", NULL};

#define COUNT(S, m, n, text) F_INT(S, m, n, .dflt = "0", .between = RANGE(0, 255), .doc = text)
#define SECONDS(S, m, n, d, text) \
    F_NUM(S, m, n, .dflt = d, .between = RANGE(0, 65535), .unit = "s", .doc = text)
#define STATUSES(S, n, d, text) F_ARRAY(S, http_statuses, n, .dflt = d, .elem = &elem_status, .doc = text)

static const struct field active_healthy[] = {
    SECONDS(struct health_healthy, interval, 1, "0", "Time between probes of healthy targets; 0: none."),
    STATUSES(struct health_healthy, 2, OK_STATUSES, "Statuses of a probe that count as success."),
    COUNT(struct health_healthy, successes, 3, "Successes that make a target healthy; 0: never."),
    F_END
};
static const struct field active_unhealthy[] = {
    SECONDS(struct health_unhealthy, interval, 1, "0", "Time between probes of unhealthy targets; 0: none."),
    STATUSES(struct health_unhealthy, 2, BAD_STATUSES, "Statuses of a probe that count as failure."),
    COUNT(struct health_unhealthy, tcp_failures, 3, "Failed connections that make a target unhealthy; 0: never."),
    COUNT(struct health_unhealthy, timeouts, 4, "Timeouts that make a target unhealthy; 0: never."),
    COUNT(struct health_unhealthy, http_failures, 5, "Bad statuses that make a target unhealthy; 0: never."),
    F_END
};
static const struct field passive_healthy[] = {
    STATUSES(struct health_healthy, 2, SEEN_OK, "Statuses of proxied traffic that count as success."),
    COUNT(struct health_healthy, successes, 3, "Successes that make a target healthy; 0: never."),
    F_END
};
static const struct field passive_unhealthy[] = {
    COUNT(struct health_unhealthy, tcp_failures, 3, "Failed connections that make a target unhealthy; 0: never."),
    COUNT(struct health_unhealthy, timeouts, 4, "Timeouts that make a target unhealthy; 0: never."),
    STATUSES(struct health_unhealthy, 2, SEEN_BAD, "Statuses of proxied traffic that count as failure."),
    COUNT(struct health_unhealthy, http_failures, 5, "Bad statuses that make a target unhealthy; 0: never."),
    F_END
};

#define HC struct healthchecks
#define SUB(part, m) .off = offsetof(HC, part.m) - offsetof(HC, part)
#define SUBRECORD(part, m, n, table, d, text) \
    {.name = #m, .num = n, .type = FT_RECORD, SUB(part, m), .size = sizeof(((HC *)0)->part.m), \
     .flags = FF_REQUIRED, .dflt = d, .fields = table, .doc = text}
#define CHECK_TYPE(part, n) \
    {.name = "type", .num = n, .type = FT_STRING, SUB(part, type), .dflt = "\"http\"", \
     .one_of = check_types, .doc = "What is spoken to the targets."}

static const struct field active_fields[] = {
    CHECK_TYPE(active, 1),
    {.name = "headers", .num = 2, .type = FT_MAP, SUB(active, headers), .flags = FF_OPTIONAL,
     .key = &key_header, .elem = &elem_values, .doc = "Headers of a probe, with their values."},
    {.name = "concurrency", .num = 3, .type = FT_INTEGER, SUB(active, concurrency), .dflt = "10",
     .between = RANGE(1, 2147483648), .doc = "Targets probed at the same time."},
    {.name = "timeout", .num = 4, .type = FT_NUMBER, SUB(active, timeout), .dflt = "1",
     .between = RANGE(0, 65535), .unit = "s", .doc = "Time for one probe."},
    {.name = "https_sni", .num = 5, .type = FT_STRING, SUB(active, https_sni), .flags = FF_OPTIONAL,
     .check = check_sni, .doc = "Server name of a probe over TLS."},
    {.name = "https_verify_certificate", .num = 6, .type = FT_BOOLEAN, SUB(active, https_verify_certificate),
     .flags = FF_REQUIRED, .dflt = "true", .doc = "Whether a probe verifies the target's certificate."},
    SUBRECORD(active, healthy, 7, active_healthy, ACTIVE_HEALTHY, "Probing of healthy targets."),
    SUBRECORD(active, unhealthy, 8, active_unhealthy, ACTIVE_UNHEALTHY, "Probing of unhealthy targets."),
    {.name = "http_path", .num = 9, .type = FT_STRING, SUB(active, http_path), .dflt = "\"/\"",
     .starts_with = "/", .check = check_path, .match_none = pattern_empty_segments,
     .doc = "Path of a probe."},
    F_END
};
static const struct field passive_fields[] = {
    SUBRECORD(passive, healthy, 1, passive_healthy, PASSIVE_HEALTHY, "Successes in proxied traffic."),
    CHECK_TYPE(passive, 2),
    SUBRECORD(passive, unhealthy, 3, passive_unhealthy, PASSIVE_UNHEALTHY, "Failures in proxied traffic."),
    F_END
};
static const struct field healthchecks_fields[] = {
    F_RECORD(HC, active, 1, .flags = FF_REQUIRED, .dflt = ACTIVE, .fields = active_fields,
             .doc = "Probes sent to the targets."),
    F_RECORD(HC, passive, 2, .flags = FF_REQUIRED, .dflt = PASSIVE, .fields = passive_fields,
             .doc = "Health seen in proxied traffic."),
    F_NUM(HC, threshold, 3, .dflt = "0", .between = RANGE(0, 100), .unit = "%",
          .doc = "Share of weight that must be available for the upstream to be healthy."),
    F_END
};

static const struct field fields[] = {
    F_ID(struct upstream),
    F_CREATED_AT(struct upstream, 2),
    F_STR(struct upstream, name, 3, .flags = FF_REQUIRED | FF_UNIQUE, .check = check_upstream_name,
          .doc = "Unique host name that services use to reach it."),
    F_UPDATED_AT(struct upstream, 4),
    F_ENUM(struct upstream, algorithm, 5, .dflt = "\"round-robin\"",
           .one_of = LIST("consistent-hashing", "least-connections", "round-robin", "latency"),
           .doc = "How a target is chosen."),
    F_ENUM(struct upstream, hash_on, 6, .dflt = "\"none\"", .one_of = hash_inputs,
           .doc = "What consistent hashing looks at."),
    F_ENUM(struct upstream, hash_fallback, 7, .dflt = "\"none\"", .one_of = hash_inputs,
           .doc = "What it looks at when that is absent."),
    F_STR(struct upstream, hash_on_header, 8, .check = check_header_name, .doc = "Header for hash_on."),
    F_STR(struct upstream, hash_fallback_header, 9, .check = check_header_name, .doc = "Header for hash_fallback."),
    F_STR(struct upstream, hash_on_cookie, 10, .check = check_http_token, .doc = "Cookie for either."),
    F_ABSOLUTE_PATH(struct upstream, hash_on_cookie_path, 11, .dflt = "\"/\"", .doc = "Path of that cookie when it is set."),
    F_STR(struct upstream, hash_on_query_arg, 12, .len_min = 1, .doc = "Query argument for hash_on."),
    F_STR(struct upstream, hash_fallback_query_arg, 13, .len_min = 1, .doc = "Query argument for hash_fallback."),
    F_STR(struct upstream, hash_on_uri_capture, 14, .len_min = 1, .doc = "Capture of the route's path for hash_on."),
    F_STR(struct upstream, hash_fallback_uri_capture, 15, .len_min = 1, .doc = "Capture of the route's path for hash_fallback."),
    F_INT(struct upstream, slots, 16, .dflt = "10000", .between = RANGE(10, 65536), .doc = "Size of the balancer's ring."),
    F_RECORD(struct upstream, healthchecks, 17, .flags = FF_REQUIRED, .dflt = HEALTHCHECKS, .fields = healthchecks_fields,
             .doc = "How the health of its targets is found out."),
    F_TAGS(struct upstream, 18),
    F_STR(struct upstream, host_header, 19, .check = check_host_with_optional_port, .doc = "Host header sent to its targets."),
    F_FOREIGN(struct upstream, client_certificate, 20, .reference = "certificates",
              .doc = "Certificate shown to its targets in the TLS handshake."),
    F_BOOL(struct upstream, use_srv_name, 21, .dflt = "false", .doc = "Whether the SRV name is sent as Host."),
    F_END
};

#define WORD(w)  {.regex = "^" w "\\z", .lua = "^" w "$"}
static const struct pattern is_header = WORD("header"), is_cookie = WORD("cookie"), is_none = WORD("none"),
    is_consumer = WORD("consumer"), is_ip = WORD("ip"), is_path = WORD("path"),
    is_query_arg = WORD("query_arg"), is_uri_capture = WORD("uri_capture");
#define NEEDS(f, w, needed) \
    {CK_CONDITIONAL, .if_field = f, .if_match = MATCH(.match = &w), \
     .then_field = needed, .then_match = MATCH(.flags = FF_REQUIRED)}
#define FALLBACK(w, ...) \
    {CK_CONDITIONAL, .if_field = "hash_on", .if_match = MATCH(.match = &w), \
     .then_field = "hash_fallback", .then_match = MATCH(.one_of = LIST(__VA_ARGS__))}

static const struct check checks_list[] = {
    NEEDS("hash_on", is_header, "hash_on_header"),
    NEEDS("hash_fallback", is_header, "hash_fallback_header"),
    NEEDS("hash_on", is_cookie, "hash_on_cookie"),
    NEEDS("hash_fallback", is_cookie, "hash_on_cookie"),
    FALLBACK(is_none, "none"),
    FALLBACK(is_cookie, "none"),
    FALLBACK(is_consumer, "none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"),
    FALLBACK(is_ip, "none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"),
    FALLBACK(is_path, "none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"),
    {CK_DISTINCT, .fields = LIST("hash_on_header", "hash_fallback_header")},
    NEEDS("hash_on", is_query_arg, "hash_on_query_arg"),
    NEEDS("hash_fallback", is_query_arg, "hash_fallback_query_arg"),
    {CK_DISTINCT, .fields = LIST("hash_on_query_arg", "hash_fallback_query_arg")},
    NEEDS("hash_on", is_uri_capture, "hash_on_uri_capture"),
    NEEDS("hash_fallback", is_uri_capture, "hash_fallback_uri_capture"),
    {CK_DISTINCT, .fields = LIST("hash_on_uri_capture", "hash_fallback_uri_capture")},
};
/* clang-format on */

static const char *text_of(const json_t *doc, const char *name)
{
    const char *text = json_string_value(json_object_get(doc, name));

    return text ? text : "";
}

static bool ignores_hashing(const char *algorithm)
{
    return strcmp(algorithm, "least-connections") == 0 || strcmp(algorithm, "latency") == 0;
}

/* An algorithm that does not hash takes hash_on with it. */
static int expand_algorithm(const json_t *in, json_t *doc, struct err *e)
{
    (void)e;
    if (ignores_hashing(text_of(in, "algorithm")))
        json_object_set_new(doc, "hash_on", json_null());
    return 0;
}

/* A hash input takes the algorithm with it. */
static int expand_hash_on(const json_t *in, json_t *doc, struct err *e)
{
    const char *word = text_of(doc, "hash_on");

    (void)in;
    (void)e;
    if (json_is_null(json_object_get(doc, "hash_on"))) {
        json_object_set_new(doc, "hash_on", json_string("none"));
        return 0;
    }
    json_object_set_new(
        doc, "algorithm",
        json_string(strcmp(word, "none") == 0 ? "round-robin" : "consistent-hashing"));
    return 0;
}

/* Of algorithm and hash_on, what a reader sees follows from both. */
static void normalize(json_t *doc)
{
    if (ignores_hashing(text_of(doc, "algorithm")))
        json_object_set_new(doc, "hash_on", json_string("none"));
    else if (strcmp(text_of(doc, "hash_on"), "none") == 0)
        json_object_set_new(doc, "algorithm", json_string("round-robin"));
    else
        json_object_set_new(doc, "algorithm", json_string("consistent-hashing"));
}

static const struct shorthand shorthands[] = {
    {.field = {.name = "algorithm", .type = FT_STRING}, .expand = expand_algorithm},
    {.field = {.name = "hash_on", .type = FT_STRING}, .expand = expand_hash_on},
};
static const struct record_checks checks = {CHECKS(checks_list), .shorthands = shorthands,
                                            .n_shorthands = ARRAY_LEN(shorthands)};

const struct entity entity_upstreams = {
    .name = "upstreams",
    .singular = "upstream",
    .type = ET_UPSTREAM,
    .path = "/upstreams",
    .endpoint_key = "name",
    .fields = fields,
    .checks = &checks,
    .struct_size = sizeof(struct upstream),
    .normalize = normalize,
    .doc = "Virtual host names that balance requests over targets and watch their health.",
};
