/*
 * decl_paths.c - paths of routes in files of the versions 1.1 and 2.1, which told a regular
 * expression from a prefix by its letters.
 */
#include <stdlib.h>

#include "common/decl_priv.h"
#include "common/uri.h"

static bool is_unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~", c));
}

static json_t *migrated_path(const char *path)
{
    struct sbuf b = {0};
    const char *p = path;
    json_t *out;

    while (is_unreserved(*p) || *p == '/' || *p == '%')
        p++;
    if (path[0] == '~')
        return json_string(path);
    if (*p == '\0') {
        struct str normal = path_normalize(str_of(path), sbuf_reserve(&b, strlen(path)));
        out = json_stringn(normal.p, normal.len);
        sbuf_free(&b);
        return out ? out : json_string(path); /* no UTF-8: the field's check says so */
    }
    sbuf_addc(&b, '~');
    for (p = path; *p; p++) {
        char digits[3] = {0}, *end;
        long c;

        if (*p == '%' && p[1] && p[2])
            memcpy(digits, p + 1, 2);
        c = strtol(digits, &end, 16);
        if (end != digits + 2 || !is_unreserved((int)c)) {
            sbuf_addc(&b, *p);
            continue;
        }
        sbuf_addf(&b, c == '-' || c == '.' ? "\\%c" : "%c", (int)c);
        p += 2;
    }
    out = json_string(b.p);
    sbuf_free(&b);
    return out;
}

void decl_migrate_paths(json_t *route)
{
    json_t *paths = json_object_get(route, "paths"), *path;
    size_t i;

    json_array_foreach(paths, i, path)
    {
        if (json_is_string(path))
            json_array_set_new(paths, i, migrated_path(json_string_value(path)));
    }
}
