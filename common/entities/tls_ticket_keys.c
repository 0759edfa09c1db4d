/* tls_ticket_keys.c - keys of session tickets: made by the control plane, for data planes alone. */
#include "common/entities/fields.h"

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct tls_ticket_key),
    F_CREATED_AT(struct tls_ticket_key, 2),
    F_INT(struct tls_ticket_key, serial, 3, .flags = FF_REQUIRED | FF_UNIQUE,
          .doc = "Order of the keys: the newest is the next to be used, the one before it is in use."),
    F_STR(struct tls_ticket_key, key, 4, .flags = FF_REQUIRED | FF_SECRET,
          .len_min = TICKET_KEY_HEX, .len_max = TICKET_KEY_HEX,
          .doc = "Key of AES-256-CBC and key of HMAC-SHA-256, hexadecimal."),
    F_END
};
/* clang-format on */

const struct entity entity_tls_ticket_keys = {
    .name = "tls_ticket_keys",
    .singular = "tls_ticket_key",
    .type = ET_TLS_TICKET_KEY,
    .internal = true,
    .fields = fields,
    .struct_size = sizeof(struct tls_ticket_key),
    .doc = "Keys that session tickets are encrypted with, so that any data plane resumes any session.",
};
