/*
 * path.h - the path that an upstream is asked for: the service's path, the request's, and
 * what the route strips.
 */
#ifndef DATAPLANE_PATH_H
#define DATAPLANE_PATH_H

#include "common/arena.h"
#include "common/entities.h"

struct upstream_path_in {
    struct str base;    /* the service's path; "" counts as "/" */
    struct str path;    /* the request's, normalized, begins with '/' */
    struct str matched; /* what the route's path took of it; p == NULL: the route has no path */
    bool strip;
    bool v1;            /* path_handling v1: what is left is put behind the base without a slash of ours */
};

/*
 * Normalized, without query; what a path may not hold is escaped by who sends it.
 * Returns a str in a, or borrowed from in; p == NULL at the arena's cap.
 * Source  the reference's routing rules: upstream path.
 */
struct str upstream_path(const struct upstream_path_in *in, struct arena *a);

#endif
