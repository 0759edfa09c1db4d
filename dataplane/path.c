/* path.c - see path.h. */
#include "dataplane/path.h"

static struct str drop(struct str s, size_t n)
{
    return str_n(s.p + n, s.len - n);
}

static struct str chop(struct str s)
{
    return str_n(s.p, s.len - 1);
}

/* What is behind the match, without a step that would lead out of the base. */
static struct str rest_of(const struct upstream_path_in *in)
{
    struct str rest = drop(in->path, in->matched.p ? size_min(in->matched.len, in->path.len) : 1);

    if (str_eq(rest, STR(".")) || str_eq(rest, STR("..")))
        return STR("");
    if (str_starts(rest, STR("./")))
        return drop(rest, 2);
    if (str_starts(rest, STR("../")))
        return drop(rest, 3);
    return rest;
}

static struct str join(struct arena *a, struct str base, const char *between, struct str rest)
{
    size_t mid = strlen(between);
    char *p;

    if (rest.len + mid == 0)
        return base;
    if (base.len + mid == 0)
        return rest;
    if (!(p = arena_alloc(a, base.len + mid + rest.len + 1)))
        return STR_NONE;
    memcpy(p, base.p, base.len);
    memcpy(p + base.len, between, mid);
    memcpy(p + base.len + mid, rest.p, rest.len);
    p[base.len + mid + rest.len] = '\0';
    return str_n(p, base.len + mid + rest.len);
}

/* Exactly one slash between base and rest; a slash at the end only if the request has one. */
static struct str join_segments(struct arena *a, struct str base, struct str rest,
                                bool ends_in_slash)
{
    struct str stem = str_ends(base, STR("/")) ? chop(base) : base;

    if (rest.len == 0)
        return ends_in_slash || stem.len == 0 ? join(a, stem, "/", rest) : stem;
    return join(a, stem, rest.p[0] == '/' ? "" : "/", rest);
}

struct str upstream_path(const struct upstream_path_in *in, struct arena *a)
{
    struct str base = in->base.len ? in->base : STR("/");
    bool slash_base = str_ends(base, STR("/"));
    bool root = str_eq(in->path, STR("/"));

    if (in->path.len == 0 || in->path.p[0] != '/') /* "*": there is nothing to join */
        return in->path;
    if (in->v1) {
        struct str rest = in->strip ? rest_of(in) : drop(in->path, 1);

        return join(a, slash_base && str_starts(rest, STR("/")) ? chop(base) : base, "", rest);
    }
    if (!in->strip)
        return root ? base : join(a, slash_base ? chop(base) : base, "", in->path);
    if (root) /* an empty rest, and the base's own slash is kept */
        return base;
    return join_segments(a, base, rest_of(in), str_ends(in->path, STR("/")));
}
