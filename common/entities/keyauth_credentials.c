/* keyauth_credentials.c - the keys that consumers show (plugin key-auth). */
#include "common/entities/fields.h"

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct keyauth_credential),
    F_CREATED_AT(struct keyauth_credential, 2),
    F_FOREIGN(struct keyauth_credential, consumer, 3, .flags = FF_REQUIRED, .reference = "consumers",
              .on_delete = FK_CASCADE, .doc = "Whose key it is."),
    F_STR(struct keyauth_credential, key, 4, .flags = FF_OPTIONAL | FF_UNIQUE | FF_AUTO | FF_CREDENTIAL,
          .doc = "The key; 32 random characters when absent."),
    F_TAGS(struct keyauth_credential, 5),
    F_INT(struct keyauth_credential, expires_at, 6, .flags = FF_INTERNAL, .unit = "s",
          .doc = "When it vanishes, seconds since 1970."),
    F_END
};
/* clang-format on */

const struct entity entity_keyauth_credentials = {
    .name = "keyauth_credentials",
    .singular = "keyauth_credential",
    .type = ET_KEYAUTH_CREDENTIAL,
    .path = "/key-auths",
    .nested_path = "key-auth",
    .endpoint_key = "key",
    .cache_key = LIST("key"),
    .fields = fields,
    .struct_size = sizeof(struct keyauth_credential),
    .plugin = "key-auth",
    .has_ttl = true,
    .doc = "Keys of consumers, checked by the plugin key-auth.",
};
