/* certificates.c - certificates and their keys. */
#include "common/entities/fields.h"

/* clang-format off */
static const struct field elem_sni = {.type = FT_STRING, .check = check_wildcard_host};

static const struct field fields[] = {
    F_ID(struct certificate),
    F_CREATED_AT(struct certificate, 2),
    F_UPDATED_AT(struct certificate, 3),
    F_STR(struct certificate, cert, 4, .flags = FF_REQUIRED | FF_REFERENCEABLE,
          .check = check_certificate_pem, .doc = "Certificate and chain, PEM."),
    F_STR(struct certificate, key, 5, .flags = FF_REQUIRED | FF_REFERENCEABLE | FF_SECRET,
          .check = check_private_key_pem, .doc = "Private key, PEM."),
    F_STR(struct certificate, cert_alt, 6, .flags = FF_OPTIONAL | FF_REFERENCEABLE,
          .check = check_certificate_pem, .doc = "Second certificate with another kind of key, PEM."),
    F_STR(struct certificate, key_alt, 7, .flags = FF_OPTIONAL | FF_REFERENCEABLE | FF_SECRET,
          .check = check_private_key_pem, .doc = "Private key of the second certificate, PEM."),
    F_TAGS(struct certificate, 8),
    F_ARRAY(struct certificate, snis, 9, .flags = FF_OPTIONAL | FF_TRANSIENT, .elem = &elem_sni,
            .doc = "Server names that it is shown for; rows of snis."),
    F_END
};

static const struct check checks_list[] = {
    {CK_MUTUALLY_REQUIRED, .fields = LIST("cert_alt", "key_alt")},
    {CK_CUSTOM, .fields = LIST("cert", "key"), .fn = check_cert_matches_key},
    {CK_CUSTOM, .fields = LIST("cert_alt", "key_alt"), .fn = check_cert_alt_matches_key},
    {CK_CUSTOM, .fields = LIST("cert", "cert_alt"), .fn = check_cert_types_differ},
};
/* clang-format on */
static const struct record_checks checks = {CHECKS(checks_list)};

const struct entity entity_certificates = {
    .name = "certificates",
    .singular = "certificate",
    .type = ET_CERTIFICATE,
    .path = "/certificates",
    .fields = fields,
    .checks = &checks,
    .struct_size = sizeof(struct certificate),
    .doc = "Certificates with their keys: shown to clients by server name, or to upstreams.",
};
