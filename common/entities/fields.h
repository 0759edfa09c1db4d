/*
 * fields.h - fields and attributes that several tables share.
 */
#ifndef COMMON_ENTITIES_FIELDS_H
#define COMMON_ENTITIES_FIELDS_H

#include "common/checks.h"
#include "common/entities.h"

extern const char *const protocol_words[]; /* by enum protocol, NULL-terminated */
extern const struct field elem_string, elem_tag, elem_uuid;
extern const struct pattern pattern_empty_segments[]; /* for .match_none */

#define LIST(...)     ((const char *const[]){__VA_ARGS__, NULL})
#define ELEM(...)     (&(const struct field){__VA_ARGS__})
#define MATCH(...)    (&(const struct field){__VA_ARGS__})
#define CHECKS(list_) .list = (list_), .n_list = ARRAY_LEN(list_)

/* clang-format off */
#define F_ID(S) \
    {.name = "id", .num = 1, .type = FT_STRING, .off = offsetof(S, id), \
     .flags = FF_AUTO | FF_UUID | FF_KEY, .doc = "Identity, made when absent."}
#define F_CREATED_AT(S, n) \
    F_INT(S, created_at, n, .flags = FF_AUTO | FF_TIMESTAMP, .unit = "s", \
          .doc = "When it was created, seconds since 1970.")
#define F_UPDATED_AT(S, n) \
    F_INT(S, updated_at, n, .flags = FF_AUTO | FF_TIMESTAMP, .unit = "s", \
          .doc = "When it was last written, seconds since 1970.")
#define F_TAGS(S, n) \
    F_SET(S, tags, n, .elem = &elem_tag, .doc = "Words to group and to filter by.")
#define F_ABSOLUTE_PATH(S, m, n, ...) \
    F_STR(S, m, n, .starts_with = "/", .check = check_path, \
          .match_none = pattern_empty_segments, __VA_ARGS__)
/* clang-format on */

#endif
