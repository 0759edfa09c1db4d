/* services.c - what a request is forwarded to. */
#include <stdlib.h>

#include "common/entities/fields.h"
#include "common/uri.h"

#define TIMEOUT RANGE(1, 2147483646)

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct service),
    F_CREATED_AT(struct service, 2),
    F_UPDATED_AT(struct service, 3),
    F_STR(struct service, name, 4, .flags = FF_UNIQUE, .check = check_utf8_name,
          .doc = "Unique name; may stand for the id in paths."),
    F_INT(struct service, retries, 5, .dflt = "5", .between = RANGE(0, 32767),
          .doc = "How often a failed attempt is repeated on another target."),
    F_ENUM(struct service, protocol, 6, .flags = FF_REQUIRED, .dflt = "\"http\"", .one_of = protocol_words,
           .doc = "Spoken to the upstream."),
    F_STR(struct service, host, 7, .flags = FF_REQUIRED, .check = check_host,
          .doc = "Name of an upstream, a host name or an address."),
    F_INT(struct service, port, 8, .flags = FF_REQUIRED, .dflt = "80", .between = RANGE(0, 65535),
          .doc = "Port at the upstream."),
    F_ABSOLUTE_PATH(struct service, path, 9, .doc = "Put in front of the path that is sent upstream."),
    F_INT(struct service, connect_timeout, 10, .dflt = "60000", .between = TIMEOUT, .unit = "ms",
          .doc = "Time to connect to the upstream."),
    F_INT(struct service, write_timeout, 11, .dflt = "60000", .between = TIMEOUT, .unit = "ms",
          .doc = "Time between two writes to the upstream."),
    F_INT(struct service, read_timeout, 12, .dflt = "60000", .between = TIMEOUT, .unit = "ms",
          .doc = "Time between two reads from the upstream."),
    F_TAGS(struct service, 13),
    F_FOREIGN(struct service, client_certificate, 14, .reference = "certificates",
              .doc = "Certificate shown to the upstream in the TLS handshake."),
    F_TRI(struct service, tls_verify, 15, .doc = "Whether the upstream's certificate is verified; null: the default."),
    F_INT(struct service, tls_verify_depth, 16, .flags = FF_DFLT_NULL, .between = RANGE(0, 64),
          .doc = "Longest chain accepted when verifying; null: the default."),
    F_ARRAY(struct service, ca_certificates, 17, .elem = &elem_uuid,
            .doc = "Ids of the CA certificates that the upstream's certificate is verified with."),
    F_BOOL(struct service, enabled, 18, .flags = FF_REQUIRED, .dflt = "true",
           .doc = "When false, its routes behave as if they were absent."),
    F_ENUM(struct service, proxy_protocol, 40, .flags = FF_QUIET, .one_of = LIST("v1", "v2"),
           .doc = "PROXY protocol header that connections to the upstream begin with: v1, v2 or none."),
    F_ENUM(struct service, http_version, 41, .flags = FF_QUIET, .one_of = LIST("1.1", "2"),
           .doc = "HTTP version spoken to the upstream, 1.1 or 2; null: 1.1, and 2 for grpc and grpcs."),
    F_END
};

#define NO_TLS MATCH(.not_one_of = LIST("https", "tls"))
#define MUST_BE_NULL MATCH(.flags = FF_NULL_ONLY)
static const struct check checks_list[] = {
    {CK_CONDITIONAL, .if_field = "protocol", .if_match = MATCH(.one_of = LIST("tcp", "tls", "udp", "grpc", "grpcs")),
     .then_field = "path", .then_match = MUST_BE_NULL},
    {CK_CONDITIONAL, .if_field = "protocol", .if_match = NO_TLS, .then_field = "client_certificate", .then_match = MUST_BE_NULL},
    {CK_CONDITIONAL, .if_field = "protocol", .if_match = NO_TLS, .then_field = "tls_verify", .then_match = MUST_BE_NULL},
    {CK_CONDITIONAL, .if_field = "protocol", .if_match = NO_TLS, .then_field = "tls_verify_depth", .then_match = MUST_BE_NULL},
    {CK_CONDITIONAL, .if_field = "protocol", .if_match = NO_TLS, .then_field = "ca_certificates", .then_match = MUST_BE_NULL},
    /* connections of those are shared by clients, or there are none */
    {CK_CONDITIONAL, .if_field = "protocol", .if_match = MATCH(.one_of = LIST("grpc", "grpcs", "udp")),
     .then_field = "proxy_protocol", .then_match = MUST_BE_NULL, .quiet = true},
    {CK_CONDITIONAL, .if_field = "protocol", .if_match = MATCH(.not_one_of = LIST("http", "https")),
     .then_field = "http_version", .then_match = MUST_BE_NULL, .quiet = true},
};
/* clang-format on */

static void set_or_null(json_t *doc, const char *name, struct str value)
{
    json_object_set_new(doc, name, value.p ? json_stringn(value.p, value.len) : json_null());
}

static json_t *url_port(const struct uri *u, struct str protocol)
{
    int64_t port;

    if (u->port.p)
        return str_to_i64(u->port, &port) ? json_integer(port)
                                          : json_stringn(u->port.p, u->port.len);
    return json_integer(str_eq(protocol, STR("https")) ? 443 : 80);
}

/* "url" stands for protocol, host, port and path, and wins over them. */
static int expand_url(const json_t *in, json_t *doc, struct err *e)
{
    const json_t *value = json_object_get(in, "url");
    struct str protocol;
    struct uri u;

    (void)e;
    if (!json_is_string(value))
        return 0;
    uri_split(json_str(value), &u);
    protocol = u.scheme;
    if (!protocol.p)
        protocol = str_eq(u.port, STR("443")) ? STR("https") : STR("http");
    set_or_null(doc, "protocol", protocol);
    set_or_null(doc, "host", u.host);
    set_or_null(doc, "path", u.path);
    json_object_set_new(doc, "port", url_port(&u, protocol));
    return 0;
}

static const struct shorthand shorthands[] = {
    {.field = {.name = "url", .type = FT_STRING}, .expand = expand_url},
};

static const struct record_checks checks = {CHECKS(checks_list), .shorthands = shorthands,
                                            .n_shorthands = ARRAY_LEN(shorthands)};

const struct entity entity_services = {
    .name = "services",
    .singular = "service",
    .type = ET_SERVICE,
    .path = "/services",
    .endpoint_key = "name",
    .fields = fields,
    .checks = &checks,
    .struct_size = sizeof(struct service),
    .doc = "What requests are forwarded to: a host or an upstream, with timeouts and TLS.",
};
