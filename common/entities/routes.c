/* routes.c - which requests belong to which service. */
#include <inttypes.h>

#include "common/entities/fields.h"
#include "common/expr.h"

#define HTTP_ONLY_ERR(f) \
    "cannot set '" f "' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'"
#define STREAM_ONLY_ERR(f, what) "cannot set '" f "' when 'protocols' is " what

/* clang-format off */
static const struct field endpoint_fields[] = {
    F_STR(struct endpoint, ip, 1, .check = check_ip_or_cidr, .doc = "Address or network."),
    F_INT(struct endpoint, port, 2, .between = RANGE(0, 65535), .doc = "Port."),
    F_END
};
static const struct check endpoint_list[] = {{CK_AT_LEAST_ONE_OF, .fields = LIST("ip", "port")}};
static const struct record_checks endpoint_checks = {CHECKS(endpoint_list)};
static const struct field elem_endpoint = {.type = FT_RECORD, .fields = endpoint_fields,
    .checks = &endpoint_checks, .size = sizeof(struct endpoint)};

static const struct pattern method_pattern = {.regex = "^[A-Z]+\\z", .lua = "^%u+$"};
static const struct field elem_method = {.type = FT_STRING, .match = &method_pattern};

static const struct pattern one_wildcard[] = {
    {.regex = "^[^*]*\\*?[^*]*\\z", .lua = "^[^*]*%*?[^*]*$", .err = "invalid wildcard: must have at most one wildcard"},
    {NULL},
};
static const struct pattern wildcard_place[] = {
    {.regex = "^\\*\\.", .lua = "^%*%.", .err = "invalid wildcard: must be placed at leftmost or rightmost label"},
    {.regex = "\\.\\*\\z", .lua = "%.%*$"},
    {.regex = "^[^*]*\\z", .lua = "^[^*]*$"},
    {NULL},
};
static const struct field elem_host = {.type = FT_STRING, .match_all = one_wildcard,
    .match_any = wildcard_place, .check = check_route_host};

static const struct pattern path_start[] = {
    {.regex = "^/", .lua = "^/", .err = "should start with: / (fixed path) or ~/ (regex path)"},
    {.regex = "^~/", .lua = "^~/"},
    {NULL},
};
static const struct field elem_path = {.type = FT_STRING, .match_none = pattern_empty_segments,
    .match_any = path_start, .check = check_router_path};

static const struct pattern not_host[] = {
    {.regex = "^[Hh][Oo][Ss][Tt]\\z", .lua = "^[Hh][Oo][Ss][Tt]$",
     .err = "cannot contain 'host' header, which must be specified in the 'hosts' attribute"},
    {NULL},
};
static const struct field key_header = {.type = FT_STRING, .match_none = not_host, .check = check_header_name};
static const struct field elem_sni = {.type = FT_STRING, .check = check_wildcard_host};
static const struct field elem_values = {.type = FT_ARRAY, .elem = &elem_string};

static const char *const *const protocol_sets[] = {
    LIST("http", "https"), LIST("tcp", "tls", "udp"), LIST("tls_passthrough"), LIST("grpc", "grpcs"), NULL,
};

static const struct field fields[] = {
    F_ID(struct route),
    F_CREATED_AT(struct route, 2),
    F_UPDATED_AT(struct route, 3),
    F_STR(struct route, name, 4, .flags = FF_UNIQUE, .check = check_utf8_name,
          .doc = "Unique name; may stand for the id in paths."),
    F_SET(struct route, protocols, 5, .flags = FF_REQUIRED, .dflt = "[\"http\",\"https\"]", .len_min = 1,
          .elem = ELEM(.type = FT_STRING, .one_of = protocol_words), .exclusive_subsets = protocol_sets,
          .doc = "Protocols it takes requests of."),
    F_INT(struct route, https_redirect_status_code, 6, .flags = FF_REQUIRED, .dflt = "426",
          .one_of = LIST("426", "301", "302", "307", "308"),
          .doc = "Answer to a plain request when only https is allowed."),
    F_BOOL(struct route, strip_path, 7, .flags = FF_REQUIRED, .dflt = "true",
           .doc = "Whether the matched prefix is removed before forwarding."),
    F_BOOL(struct route, preserve_host, 8, .flags = FF_REQUIRED, .dflt = "false",
           .doc = "Whether the client's Host header is sent upstream."),
    F_BOOL(struct route, request_buffering, 9, .flags = FF_REQUIRED, .dflt = "true",
           .doc = "Whether request bodies are buffered."),
    F_BOOL(struct route, response_buffering, 10, .flags = FF_REQUIRED, .dflt = "true",
           .doc = "Whether response bodies are buffered."),
    F_TAGS(struct route, 11),
    F_FOREIGN(struct route, service, 12, .reference = "services", .doc = "Where its requests go."),
    F_SET(struct route, snis, 13, .elem = &elem_sni, .doc = "Server names of the TLS handshake."),
    F_SET(struct route, sources, 14, .elem = &elem_endpoint, .doc = "Client addresses of stream routes."),
    F_SET(struct route, destinations, 15, .elem = &elem_endpoint, .doc = "Local addresses of stream routes."),
    F_SET(struct route, methods, 16, .elem = &elem_method, .doc = "HTTP methods."),
    F_ARRAY(struct route, hosts, 17, .elem = &elem_host, .doc = "Host names, with one wildcard label at most."),
    F_ARRAY(struct route, paths, 18, .elem = &elem_path, .doc = "Path prefixes, or regexes behind '~'."),
    F_MAP(struct route, headers, 19, .key = &key_header, .elem = &elem_values,
          .doc = "Header names with the values to match."),
    F_INT(struct route, regex_priority, 20, .dflt = "0", .doc = "Order of regex routes, higher first."),
    F_ENUM(struct route, path_handling, 21, .dflt = "\"v0\"", .one_of = LIST("v0", "v1"),
           .doc = "How the service's path and the rest of the request's path are joined."),
    F_STR(struct route, expression, 22, .flags = FF_EXPRESSIONS,
          .doc = "What requests must be like, in place of the fields above; with router_flavor = expressions."),
    F_INT(struct route, priority, 23, .flags = FF_EXPRESSIONS | FF_REQUIRED, .dflt = "0", .between = RANGE(0, 70368744177663),
          .doc = "Order of routes with an expression, higher first; with router_flavor = expressions."),
    F_END
};

static const struct check checks_list[] = {
    {CK_CONDITIONAL, .if_field = "protocols",
     .if_match = MATCH(.elem = ELEM(.type = FT_STRING, .not_one_of = LIST("grpcs", "https", "tls", "tls_passthrough"))),
     .then_field = "snis", .then_match = MATCH(.flags = FF_MUST_BE_EMPTY),
     .then_err = "'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"},
};
static const struct record_checks checks = {CHECKS(checks_list)};

/* ---- what the first protocol adds ---- */

#define NULL_FIELD(T, m, n, text, ...) \
    T(struct route, m, n, .flags = FF_NULL_ONLY, .null_err = text, __VA_ARGS__)

static const struct field http_fields[] = {
    NULL_FIELD(F_SET, sources, 14, STREAM_ONLY_ERR("sources", "'http' or 'https'"), .elem = &elem_endpoint),
    NULL_FIELD(F_SET, destinations, 15, STREAM_ONLY_ERR("destinations", "'http' or 'https'"), .elem = &elem_endpoint),
    F_END
};
#define EACH_IS(...) MATCH(.elem = ELEM(.type = FT_STRING, .one_of = LIST(__VA_ARGS__)))

/* What each kind must have one of; more: fields that a flavor adds, each behind a comma. */
#define HTTP_NEEDS(more...) \
    {CK_CONDITIONAL_ONE_OF, .if_field = "protocols", .if_match = MATCH(.contains = "https"), \
     .fields = LIST("methods", "hosts", "headers", "paths", "snis" more), \
     .then_err = "must set one of %s when 'protocols' is 'https'", \
     .else_match = MATCH(.contains = "http"), .else_fields = LIST("methods", "hosts", "headers", "paths" more), \
     .else_err = "must set one of %s when 'protocols' is 'http'"}
#define STREAM_NEEDS(more...) \
    {CK_CONDITIONAL_ONE_OF, .if_field = "protocols", .if_match = EACH_IS("tcp", "tls", "udp"), \
     .fields = LIST("sources", "destinations", "snis" more), \
     .then_err = "must set one of %s when 'protocols' is 'tcp', 'tls' or 'udp'"}
#define GRPC_NEEDS(more...) \
    {CK_CONDITIONAL_ONE_OF, .if_field = "protocols", .if_match = MATCH(.contains = "grpcs"), \
     .fields = LIST("hosts", "headers", "paths", "snis" more), \
     .then_err = "must set one of %s when 'protocols' is 'grpcs'", \
     .else_match = MATCH(.contains = "grpc"), .else_fields = LIST("hosts", "headers", "paths" more), \
     .else_err = "must set one of %s when 'protocols' is 'grpc'"}

static const struct check http_list[] = {HTTP_NEEDS()};
static const struct field stream_fields[] = {
    NULL_FIELD(F_SET, methods, 16, HTTP_ONLY_ERR("methods"), .elem = &elem_method),
    NULL_FIELD(F_ARRAY, hosts, 17, HTTP_ONLY_ERR("hosts"), .elem = &elem_host),
    NULL_FIELD(F_ARRAY, paths, 18, HTTP_ONLY_ERR("paths"), .elem = &elem_path),
    NULL_FIELD(F_MAP, headers, 19, HTTP_ONLY_ERR("headers"), .key = &key_header, .elem = &elem_values),
    F_END
};
static const struct check stream_list[] = {
    STREAM_NEEDS(),
    {CK_CONDITIONAL_ONE_OF, .if_field = "protocols", .if_match = EACH_IS("tls_passthrough"),
     .fields = LIST("snis"), .then_err = "must set snis when 'protocols' is 'tls_passthrough'"},
};
static const struct field grpc_fields[] = {
    F_BOOL(struct route, strip_path, 7, .flags = FF_REQUIRED, .dflt = "false", .ne = "true",
           .null_err = "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"),
    NULL_FIELD(F_SET, methods, 16, STREAM_ONLY_ERR("methods", "'grpc' or 'grpcs'"), .elem = &elem_method),
    NULL_FIELD(F_SET, sources, 14, STREAM_ONLY_ERR("sources", "'grpc' or 'grpcs'"), .elem = &elem_endpoint),
    NULL_FIELD(F_SET, destinations, 15, STREAM_ONLY_ERR("destinations", "'grpc' or 'grpcs'"), .elem = &elem_endpoint),
    F_END
};
static const struct check grpc_list[] = {GRPC_NEEDS()};

/* ---- the flavor expressions ---- */

#define MATCH_FIELDS "methods", "hosts", "paths", "headers", "snis", "sources", "destinations"
#define MATCH_FIELDS_TEXT "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations'"
#define ROUTER_EXPRESSION "Router Expression failed validation: "

static entity_check check_expression;

#define EXPRESSION_IS_VALID \
    {CK_CUSTOM, .fn = check_expression, .run_with_missing_fields = true, \
     .fields = LIST("id", "protocols", "snis", "sources", "destinations", "methods", "hosts", "paths", \
                    "headers", "expression", "regex_priority", "priority")}

static const struct field expr_grpc_fields[] = {
    F_BOOL(struct route, strip_path, 7, .flags = FF_REQUIRED, .dflt = "false", .ne = "true",
           .null_err = "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"),
    NULL_FIELD(F_SET, methods, 16, STREAM_ONLY_ERR("methods", "'grpc' or 'grpcs'"), .elem = &elem_method),
    F_END
};
static const struct check expr_http_list[] = {
    HTTP_NEEDS(, "sources", "destinations", "expression"), EXPRESSION_IS_VALID};
static const struct check expr_stream_list[] = {
    STREAM_NEEDS(, "expression"),
    {CK_CONDITIONAL_ONE_OF, .if_field = "protocols", .if_match = EACH_IS("tls_passthrough"),
     .fields = LIST("snis", "expression"),
     .then_err = "must set one of %s when 'protocols' is 'tls_passthrough'"},
    EXPRESSION_IS_VALID};
static const struct check expr_grpc_list[] = {
    GRPC_NEEDS(, "sources", "destinations", "expression"), EXPRESSION_IS_VALID};
/* clang-format on */

static bool is_set(const json_t *doc, const char *field)
{
    const json_t *v = json_object_get(doc, field);

    return v && !json_is_null(v) && !(json_is_array(v) && json_array_size(v) == 0) &&
           !(json_is_object(v) && json_object_size(v) == 0);
}

static bool matches_by_field(const json_t *doc)
{
    static const char *const names[] = {MATCH_FIELDS};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (is_set(doc, names[i]))
            return true;
    return false;
}

static bool is_nonzero(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) != 0;
}

/* Whether the first protocol is one of connections. */
static bool is_stream(const json_t *doc)
{
    const char *first = json_string_value(json_array_get(json_object_get(doc, "protocols"), 0));

    return first && strncmp(first, "http", 4) != 0 && strncmp(first, "grpc", 4) != 0;
}

static int check_expression(const json_t *doc, struct err *e)
{
    const json_t *expression = json_object_get(doc, "expression");
    struct arena a;
    struct expr parsed;
    struct err why = {0};
    int rc;

    if (!json_is_string(expression))
        return matches_by_field(doc) && is_nonzero(json_object_get(doc, "priority"))
                   ? err_set(e, ERR_INVALID,
                             ROUTER_EXPRESSION "cannot set 'priority' with " MATCH_FIELDS_TEXT
                                               " simultaneously")
                   : 0;
    if (matches_by_field(doc))
        return err_set(e, ERR_INVALID,
                       ROUTER_EXPRESSION "cannot set 'expression' with " MATCH_FIELDS_TEXT
                                         " simultaneously");
    if (is_nonzero(json_object_get(doc, "regex_priority")))
        return err_set(
            e, ERR_INVALID,
            ROUTER_EXPRESSION "cannot set 'regex_priority' with 'expression' simultaneously");
    arena_init(&a, 0, EXPR_ARENA_BYTES);
    rc = expr_parse(json_str(expression), is_stream(doc) ? EXPR_STREAM : EXPR_HTTP, &a, &parsed,
                    &why);
    arena_fini(&a);
    return rc == 0 ? 0 : err_set(e, ERR_INVALID, ROUTER_EXPRESSION "%s", why.message);
}

static const struct record_checks http_checks = {CHECKS(http_list)},
                                  expr_http_checks = {CHECKS(expr_http_list)};
static const struct record_checks stream_checks = {CHECKS(stream_list)},
                                  expr_stream_checks = {CHECKS(expr_stream_list)};
static const struct record_checks grpc_checks = {CHECKS(grpc_list)},
                                  expr_grpc_checks = {CHECKS(expr_grpc_list)};
static const struct subschema http_schema = {http_fields, &http_checks},
                              expr_http_schema = {NULL, &expr_http_checks};
static const struct subschema stream_schema = {stream_fields, &stream_checks},
                              expr_stream_schema = {stream_fields, &expr_stream_checks};
static const struct subschema grpc_schema = {grpc_fields, &grpc_checks},
                              expr_grpc_schema = {expr_grpc_fields, &expr_grpc_checks};

static const struct subschema *by_protocol(const char *word)
{
    bool expr = schema_uses_expressions();

    if (strncmp(word, "grpc", 4) == 0)
        return expr ? &expr_grpc_schema : &grpc_schema;
    if (strncmp(word, "http", 4) == 0)
        return expr ? &expr_http_schema : &http_schema;
    return expr ? &expr_stream_schema : &stream_schema;
}

/* The first protocol chooses. */
static const struct subschema *subschema(const struct val *key, struct err *e)
{
    struct val_walk protocols = val_walk(key, &elem_string);
    struct val first = *key;
    struct str none, word;

    if (key->kind == VAL_LIST && !val_next(&protocols, &none, &first))
        first.kind = VAL_NONE;
    word = val_text(&first);
    for (size_t i = 0; word.p && protocol_words[i]; i++) {
        if (str_eq(word, str_of(protocol_words[i])))
            return by_protocol(protocol_words[i]);
    }
    if (word.p)
        err_set(e, ERR_INVALID, "unknown type: " STR_FMT, STR_ARG(word));
    else if (first.kind == VAL_INTEGER)
        err_set(e, ERR_INVALID, "unknown type: %" PRId64, first.integer);
    else if (first.kind == VAL_NONE || first.kind == VAL_MAP)
        err_set(e, ERR_INVALID, "unknown type: nil");
    else
        err_set(e, ERR_INVALID, "unknown type: %s",
                first.kind == VAL_BOOLEAN && first.yes ? "true" : "false");
    return NULL;
}

const struct entity entity_routes = {
    .name = "routes",
    .singular = "route",
    .type = ET_ROUTE,
    .path = "/routes",
    .endpoint_key = "name",
    .fields = fields,
    .checks = &checks,
    .struct_size = sizeof(struct route),
    .subschema = subschema,
    .subschema_key = "protocols",
    .doc = "Rules that match requests, each belonging to one service.",
};
