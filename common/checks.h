/*
 * checks.h - the named validators of the field tables, and the parsers behind them. Of each
 * check's answer, e->message is the text that clients of the reference know.
 */
#ifndef COMMON_CHECKS_H
#define COMMON_CHECKS_H

#include "common/schema.h"

/* clang-format off */
field_check check_utf8_name;              /* letters, digits, . - _ ~ and any UTF-8 */
field_check check_tag;                    /* printable without , and /, and any UTF-8 */
field_check check_host;                   /* name or address, no port */
field_check check_host_with_optional_port;
field_check check_route_host;             /* as before, "*" allowed */
field_check check_wildcard_host;          /* name with "*" first or last */
field_check check_sni;                    /* name, no address, no port */
field_check check_upstream_name;
field_check check_target_address;
field_check check_ip;
field_check check_ip_or_cidr;
field_check check_path;                   /* RFC 3986 characters, whole escapes */
field_check check_router_path;            /* normal form, or a regex behind "~" */
field_check check_header_name;
field_check check_http_token;
field_check check_url;                    /* with scheme and host */
field_check check_asterisk_or_regex;
field_check check_certificate_pem;
field_check check_private_key_pem;
entity_check check_cert_matches_key, check_cert_alt_matches_key, check_cert_types_differ;
/* clang-format on */

/* ---- parsers ---- */

enum host_kind { HOST_NAME, HOST_IPV4, HOST_IPV6 };

struct host_port {
    enum host_kind kind;
    struct str name;      /* as written, without port; of IPv6 without brackets */
    int port;             /* -1: none given */
    unsigned char ip[16]; /* 4 bytes used for IPv4 */
};

/* "name", "name:80", "1.2.3.4:80", "::1", "[::1]:80". 0, or -1 with e ("invalid port number" ...).
 */
int host_port_parse(struct str text, struct host_port *out, struct err *e) WEIR_MUSTCHECK;

#define TARGET_ADDRESS_MAX 320

/*
 * The form that targets are stored in: with a port (8000 when absent), IPv6 expanded in
 * brackets. False when it is no address.
 */
bool target_address_normalize(struct str text, char out[TARGET_ADDRESS_MAX]);

/* Addresses that begin alike. */
struct ip_network {
    unsigned char addr[16]; /* IPv4 as ::ffff:a.b.c.d; 0 behind the first bits */
    uint8_t bits;           /* that count: of an IPv4 network 96 more than written */
    bool v4;
};

/* "10.0.0.1", "10.0.0.0/8", "2001:db8::/32". */
bool ip_network_parse(struct str text, struct ip_network *out);
/* addr: IPv4 mapped. No IPv6 network has an IPv4 address. */
bool ip_network_has(const struct ip_network *net, const unsigned char addr[16]);

/* Position of the first byte that is no valid UTF-8 (RFC 3629), or s.len. */
size_t utf8_invalid_at(struct str s);

/* 0, or -1 with e: what PCRE says is wrong with it. */
int regex_compiles(struct str regex, struct err *e) WEIR_MUSTCHECK;

/* Whether the compiled regex is found in subject. Compiled once per address of the text. */
bool regex_matches(const char *regex, struct str subject);

#endif
