/* ca_certificates.c - certificate authorities that peers are verified with. */
#include "common/entities/fields.h"

/* clang-format off */
static const struct field fields[] = {
    F_ID(struct ca_certificate),
    F_CREATED_AT(struct ca_certificate, 2),
    F_UPDATED_AT(struct ca_certificate, 3),
    F_STR(struct ca_certificate, cert, 4, .flags = FF_REQUIRED, .check = check_certificate_pem,
          .doc = "One certificate of an authority, PEM."),
    F_STR(struct ca_certificate, cert_digest, 5, .flags = FF_UNIQUE,
          .doc = "SHA-256 of the certificate's DER form in hexadecimal; computed."),
    F_TAGS(struct ca_certificate, 6),
    F_END
};

static const struct check checks_list[] = {
    {CK_CUSTOM, .fields = LIST("cert"), .fn = check_ca_certificate},
};
/* clang-format on */
static const struct record_checks checks = {CHECKS(checks_list)};

/* Whatever a client says, the digest is the certificate's. */
static void normalize(json_t *doc)
{
    char hex[CERTIFICATE_DIGEST_LEN + 1];

    if (certificate_digest(json_str(json_object_get(doc, "cert")), hex))
        json_object_set_new(doc, "cert_digest", json_string(hex));
}

const struct entity entity_ca_certificates = {
    .name = "ca_certificates",
    .singular = "ca_certificate",
    .type = ET_CA_CERTIFICATE,
    .path = "/ca_certificates",
    .fields = fields,
    .checks = &checks,
    .struct_size = sizeof(struct ca_certificate),
    .normalize = normalize,
    .doc = "Certificate authorities: what certificates of upstreams and of clients are verified with.",
};
