/* snis.c - server names and the certificate shown for each. */
#include "common/entities/fields.h"

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct sni),
    F_STR(struct sni, name, 2, .flags = FF_REQUIRED | FF_UNIQUE | FF_UNIQUE_ACROSS_WS,
          .check = check_wildcard_host, .doc = "Server name, with '*' as its first or last character at most."),
    F_CREATED_AT(struct sni, 3),
    F_UPDATED_AT(struct sni, 4),
    F_TAGS(struct sni, 5),
    F_FOREIGN(struct sni, certificate, 6, .flags = FF_REQUIRED, .reference = "certificates",
              .doc = "Shown to clients that ask for this name."),
    F_END
};
/* clang-format on */

const struct entity entity_snis = {
    .name = "snis",
    .singular = "sni",
    .type = ET_SNI,
    .path = "/snis",
    .endpoint_key = "name",
    .fields = fields,
    .struct_size = sizeof(struct sni),
    .doc = "Server names of TLS clients, each with its certificate.",
};
