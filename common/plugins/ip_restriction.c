/* ip_restriction.c - contract of the plugin ip-restriction. */
#include "common/plugins/ip_restriction.h"

#include "common/entities/fields.h"

typedef struct ip_restriction_conf conf_t;

/* clang-format off */
static const struct field elem_ip = {.type = FT_STRING, .check = check_ip_or_cidr};

static const struct field fields[] = {
    F_ARRAY(conf_t, allow, 1, .elem = &elem_ip, .doc = "Addresses and networks that are let in; null: all."),
    F_ARRAY(conf_t, deny, 2, .elem = &elem_ip, .doc = "Addresses and networks that are refused, also those of allow."),
    F_NUM(conf_t, status, 3, .flags = FF_OPTIONAL, .doc = "Status of a refusal; null: 403."),
    F_STR(conf_t, message, 4, .flags = FF_OPTIONAL, .doc = "Text of a refusal; null: one that names the address."),
    F_END
};

static const struct check row_list[] = {
    {CK_AT_LEAST_ONE_OF, .fields = LIST("config.allow", "config.deny")},
};
/* clang-format on */

static const struct record_checks row_checks = {CHECKS(row_list)};

const struct plugin_contract contract_ip_restriction = {
    .name = "ip-restriction",
    .priority = 990,
    .phases = PH_BIT(PH_ACCESS),
    .scopes = SCOPE_ANY,
    .protocols = PROTOCOLS_ALL,
    .protocols_default = PROTOCOLS_HTTP | 1u << PROTO_TCP | 1u << PROTO_TLS,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .checks = &row_checks,
    .doc = "Refuses clients by their address.",
};
