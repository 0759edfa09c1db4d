/* checks_host.c - host names, addresses and ports (checks.h). */
#include <arpa/inet.h>
#include <stdio.h>

#include "common/checks.h"

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return s.len > 0;
}

static int parse_port(struct str digits, int *out, struct err *e)
{
    uint64_t port;

    if (!str_to_u64(digits, &port) || port > 65535)
        return err_set(e, ERR_INVALID, "invalid port number");
    *out = (int)port;
    return 0;
}

static size_t count(struct str s, char c)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += s.p[i] == c;
    return n;
}

static bool parse_ip(int family, struct str text, unsigned char *out)
{
    char buf[INET6_ADDRSTRLEN];

    if (text.len >= sizeof(buf))
        return false;
    memcpy(buf, text.p, text.len);
    buf[text.len] = '\0';
    return inet_pton(family, buf, out) == 1;
}

/* Decimal bytes with leading zeros allowed, as the reference reads them. */
static bool parse_ipv4(struct str text, unsigned char out[4])
{
    struct str piece;
    size_t n = 0;

    if (count(text, '.') != 3)
        return false;
    while (str_next(&text, '.', &piece)) {
        uint64_t byte;

        if (piece.len > 3 || !str_to_u64(piece, &byte) || byte > 255 || n == 4)
            return false;
        out[n++] = (unsigned char)byte;
    }
    return n == 4;
}

static int ipv4_port(struct str text, struct host_port *out, struct err *e)
{
    size_t colon = str_find(text, ':');

    out->kind = HOST_IPV4;
    out->name = str_n(text.p, colon);
    if (!parse_ipv4(out->name, out->ip) ||
        (colon < text.len && !all_digits(str_n(text.p + colon + 1, text.len - colon - 1))))
        return err_set(e, ERR_INVALID, "invalid ipv4 address: " STR_FMT, STR_ARG(text));
    if (colon == text.len)
        return 0;
    return parse_port(str_n(text.p + colon + 1, text.len - colon - 1), &out->port, e);
}

static int ipv6_port(struct str text, struct host_port *out, struct err *e)
{
    struct str rest = STR_NONE;
    size_t close;

    out->kind = HOST_IPV6;
    out->name = text;
    if (text.len && text.p[0] == '[') {
        close = str_find(text, ']');
        if (close == text.len)
            return err_set(e, ERR_INVALID, "invalid ipv6 address: " STR_FMT, STR_ARG(text));
        out->name = str_n(text.p + 1, close - 1);
        rest = str_n(text.p + close + 1, text.len - close - 1);
        if (rest.len && (rest.p[0] != ':' || !all_digits(str_n(rest.p + 1, rest.len - 1))))
            return err_set(e, ERR_INVALID, "invalid ipv6 address: " STR_FMT, STR_ARG(text));
    }
    if (count(out->name, '.') || !parse_ip(AF_INET6, out->name, out->ip))
        return err_set(e, ERR_INVALID, "invalid ipv6 address: " STR_FMT, STR_ARG(text));
    return rest.len ? parse_port(str_n(rest.p + 1, rest.len - 1), &out->port, e) : 0;
}

static bool is_label_char(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '-' ||
           c == '_';
}

/* Labels of letters, digits, '-' and '_', none empty, none with '-' at its end; one dot may follow.
 */
static bool is_hostname(struct str name)
{
    struct str label;

    if (name.len > 1 && name.p[name.len - 1] == '.')
        name.len--;
    if (name.len == 0 || name.p[name.len - 1] == '.')
        return false;
    while (str_next(&name, '.', &label)) {
        if (label.len == 0 || label.p[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++) {
            if (!is_label_char(label.p[i]))
                return false;
        }
    }
    return true;
}

static int name_port(struct str text, struct host_port *out, struct err *e)
{
    size_t colon = str_find(text, ':');

    out->kind = HOST_NAME;
    out->name = text;
    if (colon < text.len && all_digits(str_n(text.p + colon + 1, text.len - colon - 1))) {
        out->name.len = colon;
        if (parse_port(str_n(text.p + colon + 1, text.len - colon - 1), &out->port, e) != 0)
            return -1;
    }
    if (!is_hostname(out->name))
        return err_set(e, ERR_INVALID, "invalid hostname: " STR_FMT, STR_ARG(text));
    return 0;
}

int host_port_parse(struct str text, struct host_port *out, struct err *e)
{
    *out = (struct host_port){.port = -1};
    if (count(text, ':') > 1)
        return ipv6_port(text, out, e);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];

        if ((c < '0' || c > '9') && c != '.' && c != ':')
            return name_port(text, out, e);
    }
    return text.len ? ipv4_port(text, out, e) : name_port(text, out, e);
}

static bool is_port_error(const struct err *e)
{
    return strcmp(e->message, "invalid port number") == 0;
}

/* A host without a port; *hp is filled on success. */
static int host_without_port(struct str text, struct host_port *hp, struct err *e)
{
    struct err why = {0};
    int rc = host_port_parse(text, hp, &why);

    if (rc != 0 && !is_port_error(&why))
        return err_set(e, ERR_INVALID, "invalid value: " STR_FMT, STR_ARG(text));
    if (rc != 0 || hp->port >= 0)
        return err_set(e, ERR_INVALID, "must not have a port");
    return 0;
}

int check_host(const struct field *f, struct str text, struct err *e)
{
    struct host_port hp;

    (void)f;
    return host_without_port(text, &hp, e);
}

static int name_only(struct str text, struct err *e)
{
    struct host_port hp;
    struct err why = {0};
    int rc = host_port_parse(text, &hp, &why);

    if (rc != 0 && !is_port_error(&why))
        return err_set(e, ERR_INVALID, "invalid value: " STR_FMT, STR_ARG(text));
    if (hp.kind != HOST_NAME)
        return err_set(e, ERR_INVALID, "must not be an IP");
    if (rc != 0 || hp.port >= 0)
        return err_set(e, ERR_INVALID, "must not have a port");
    return 0;
}

int check_sni(const struct field *f, struct str text, struct err *e)
{
    (void)f;
    return name_only(text, e);
}

int check_host_with_optional_port(const struct field *f, struct str text, struct err *e)
{
    struct host_port hp;

    (void)f;
    return host_port_parse(text, &hp, e);
}

/* The value with every '*' replaced by word; false when it grows beyond what a host can be. */
static bool replace_stars(struct str text, const char *word, char *out, size_t size,
                          struct str *out_text)
{
    size_t n = 0, len = strlen(word);

    for (size_t i = 0; i < text.len; i++) {
        size_t piece = text.p[i] == '*' ? len : 1;

        if (n + piece > size)
            return false;
        memcpy(out + n, text.p[i] == '*' ? word : text.p + i, piece);
        n += piece;
    }
    *out_text = str_n(out, n);
    return true;
}

int check_route_host(const struct field *f, struct str pattern, struct err *e)
{
    struct host_port hp;
    struct str text;
    char buf[1024];

    (void)f;
    if (!replace_stars(pattern, "abc", buf, sizeof(buf), &text))
        return err_set(e, ERR_INVALID, "invalid hostname: longer than %zu characters", sizeof(buf));
    return host_port_parse(text, &hp, e);
}

int check_wildcard_host(const struct field *f, struct str text, struct err *e)
{
    size_t star = str_find(text, '*');
    char buf[1024];

    (void)f;
    if (star < text.len) {
        if (star != 0 && star != text.len - 1)
            return err_set(e, ERR_INVALID, "wildcard must be leftmost or rightmost character");
        if (count(text, '*') > 1)
            return err_set(e, ERR_INVALID, "only one wildcard must be specified");
        if (!replace_stars(text, "wildcard", buf, sizeof(buf), &text))
            return err_set(e, ERR_INVALID, "invalid value: longer than %zu characters",
                           sizeof(buf));
    }
    return name_only(text, e);
}

int check_upstream_name(const struct field *f, struct str text, struct err *e)
{
    struct host_port hp;
    struct err why = {0};
    int rc = host_port_parse(text, &hp, &why);
    const char *reason = NULL;

    (void)f;
    if (rc != 0 && !is_port_error(&why))
        reason = "must be a valid hostname";
    else if (hp.kind != HOST_NAME)
        reason = "no ip addresses allowed";
    else if (rc != 0 || hp.port >= 0)
        reason = "no port allowed";
    if (!reason)
        return 0;
    return err_set(e, ERR_INVALID, "Invalid name ('" STR_FMT "'); %s", STR_ARG(text), reason);
}

int check_target_address(const struct field *f, struct str text, struct err *e)
{
    char address[TARGET_ADDRESS_MAX];

    (void)f;
    if (target_address_normalize(text, address))
        return 0;
    return err_set(e, ERR_INVALID,
                   "Invalid target ('" STR_FMT "'); not a valid hostname or ip address",
                   STR_ARG(text));
}

bool target_address_normalize(struct str text, char out[TARGET_ADDRESS_MAX])
{
    struct host_port hp;
    int port, n;

    if (host_port_parse(text, &hp, NULL) != 0)
        return false;
    port = hp.port < 0 ? 8000 : hp.port;
    if (hp.kind == HOST_IPV4) {
        n = snprintf(out, TARGET_ADDRESS_MAX, "%d.%d.%d.%d:%d", hp.ip[0], hp.ip[1], hp.ip[2],
                     hp.ip[3], port);
    } else if (hp.kind == HOST_IPV6) {
        n = snprintf(out, TARGET_ADDRESS_MAX,
                     "[%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x]:%d",
                     hp.ip[0], hp.ip[1], hp.ip[2], hp.ip[3], hp.ip[4], hp.ip[5], hp.ip[6], hp.ip[7],
                     hp.ip[8], hp.ip[9], hp.ip[10], hp.ip[11], hp.ip[12], hp.ip[13], hp.ip[14],
                     hp.ip[15], port);
    } else {
        n = snprintf(out, TARGET_ADDRESS_MAX, STR_FMT ":%d", STR_ARG(hp.name), port);
    }
    return n > 0 && n < TARGET_ADDRESS_MAX;
}

static bool is_ip(struct str text, int *bits)
{
    unsigned char ip[16];

    if (parse_ipv4(text, ip)) {
        *bits = 32;
        return true;
    }
    if (count(text, ':') >= 2 && parse_ip(AF_INET6, text, ip)) {
        *bits = 128;
        return true;
    }
    return false;
}

int check_ip(const struct field *f, struct str text, struct err *e)
{
    int bits;

    (void)f;
    if (is_ip(text, &bits))
        return 0;
    return err_set(e, ERR_INVALID, "not an ip address: " STR_FMT, STR_ARG(text));
}

bool ip_network_parse(struct str text, struct ip_network *out)
{
    struct str addr = str_n(text.p, str_find(text, '/'));
    unsigned char ip[16];
    uint64_t prefix;

    memset(out, 0, sizeof(*out));
    out->v4 = parse_ipv4(addr, ip);
    if (!out->v4 && !(count(addr, ':') >= 2 && parse_ip(AF_INET6, addr, ip)))
        return false;
    prefix = out->v4 ? 32 : 128;
    if (addr.len < text.len && (!str_to_u64(str_n(text.p + addr.len + 1, text.len - addr.len - 1),
                                            &prefix) ||
                                prefix > (out->v4 ? 32 : 128)))
        return false;
    out->bits = (uint8_t)(prefix + (out->v4 ? 96 : 0));
    memset(out->addr + 10, 0xff, out->v4 ? 2 : 0);
    memcpy(out->addr + (out->v4 ? 12 : 0), ip, out->v4 ? 4 : 16);
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = out->bits > 8 * i ? out->bits - 8 * i : 0;

        out->addr[i] &= (unsigned char)(kept >= 8 ? 0xff : 0xff00 >> kept);
    }
    return true;
}

bool ip_network_has(const struct ip_network *net, const unsigned char addr[16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    unsigned whole = net->bits / 8, rest = net->bits % 8;

    return net->v4 == (memcmp(addr, mapped, sizeof(mapped)) == 0) &&
           memcmp(addr, net->addr, whole) == 0 &&
           (rest == 0 || ((addr[whole] ^ net->addr[whole]) >> (8 - rest)) == 0);
}

int check_ip_or_cidr(const struct field *f, struct str text, struct err *e)
{
    struct ip_network net;

    (void)f;
    if (ip_network_parse(text, &net))
        return 0;
    return err_set(e, ERR_INVALID, "invalid ip or cidr range: '" STR_FMT "'", STR_ARG(text));
}
