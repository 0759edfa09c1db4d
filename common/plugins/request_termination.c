/* request_termination.c - contract of the plugin request-termination. */
#include "common/plugins/request_termination.h"

#include "common/entities/fields.h"

typedef struct request_termination_conf conf_t;

/* clang-format off */
static const struct field fields[] = {
    F_INT(conf_t, status_code, 1, .flags = FF_REQUIRED, .dflt = "503", .between = RANGE(100, 599),
          .doc = "Status of the answer."),
    F_STR(conf_t, message, 2, .doc = "Text of a JSON answer; excludes content_type and body."),
    F_STR(conf_t, content_type, 3, .doc = "Content-Type of body."),
    F_STR(conf_t, body, 4, .doc = "Body of the answer."),
    F_BOOL(conf_t, echo, 5, .flags = FF_REQUIRED, .dflt = "false", .doc = "Whether the request is answered with a copy of itself."),
    F_STR(conf_t, trigger, 6, .check = check_header_name,
          .doc = "Header or query argument that a request must have to be answered; null: all are."),
    F_END
};
/* clang-format on */

static bool has(const json_t *config, const char *name)
{
    return json_is_string(json_object_get(config, name));
}

static int check_exclusive(const json_t *config, struct err *e)
{
    bool body = has(config, "body"), content_type = has(config, "content_type");

    if (has(config, "message") && (content_type || body))
        return err_set(e, ERR_INVALID, "message cannot be used with content_type or body");
    if (json_is_true(json_object_get(config, "echo")) && (content_type || body))
        return err_set(e, ERR_INVALID, "echo cannot be used with content_type and body");
    if (content_type && !body)
        return err_set(e, ERR_INVALID, "content_type requires a body");
    return 0;
}

static const struct record_checks config_checks = {.custom = check_exclusive};

const struct plugin_contract contract_request_termination = {
    .name = "request-termination",
    .priority = 2,
    .phases = PH_BIT(PH_ACCESS),
    .scopes = SCOPE_ANY,
    .protocols = PROTOCOLS_HTTP,
    .protocols_default = PROTOCOLS_HTTP,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .config_checks = &config_checks,
    .doc = "Answers requests with a fixed response.",
};
