/* vectors.h - recorded cases, read at run time; tests run in the root of the repository. */
#ifndef TESTS_UNIT_COMMON_VECTORS_H
#define TESTS_UNIT_COMMON_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/schema.h"

/* A non-empty array. */
static inline json_t *vectors_load(const char *file)
{
    char path[256];
    json_error_t e;
    json_t *cases;

    snprintf(path, sizeof(path), "tests/unit/common/data/%s", file);
    cases = json_load_file(path, 0, &e);
    if (!cases)
        fail_msg("%s: %s", path, e.text);
    assert_true(json_array_size(cases) > 0);
    return cases;
}

static inline const struct entity *vectors_entity(const json_t *c)
{
    const struct entity *ent =
        entity_by_name(json_str(json_object_get(c, "entity")));

    assert_non_null(ent);
    return ent;
}

static inline bool vectors_holds(const json_t *list, const json_t *word)
{
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        if (json_equal(item, word))
            return true;
    }
    return false;
}

/*
 * Tokens in angle brackets stand for anything; numbers are equal by value; lists of words
 * were recorded in sorted order, so their order is left to tests of its own.
 */
static inline bool vectors_same(const json_t *want, const json_t *got)
{
    const char *name;
    json_t *value;
    size_t i;

    if (json_is_string(want) && json_string_value(want)[0] == '<')
        return got != NULL;
    if (json_is_number(want) && json_is_number(got))
        return json_number_value(want) == json_number_value(got);
    if (json_is_object(want) && json_is_object(got)) {
        if (json_object_size(want) != json_object_size(got))
            return false;
        json_object_foreach(json_unconst(want), name, value)
        {
            if (!vectors_same(value, json_object_get(got, name)))
                return false;
        }
        return true;
    }
    if (json_is_array(want) && json_is_array(got)) {
        if (json_array_size(want) != json_array_size(got))
            return false;
        json_array_foreach(want, i, value)
        {
            if (!vectors_same(value, json_array_get(got, i)) &&
                !(json_is_string(value) && vectors_holds(got, value)))
                return false;
        }
        return true;
    }
    return json_equal(want, got);
}

/* Prints both sides; returns how many differ, 0 or 1. */
static inline unsigned vectors_differ(const char *what, const json_t *c, const json_t *want,
                                      const json_t *got)
{
    char *text[3];

    if (vectors_same(want, got))
        return 0;
    text[0] = json_dumps(c, JSON_COMPACT);
    text[1] = json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY);
    text[2] = got ? json_dumps(got, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    fprintf(stderr, "%s\n  case %.400s\n  want %s\n  got  %s\n", what, text[0], text[1],
            text[2] ? text[2] : "nothing");
    for (size_t i = 0; i < 3; i++)
        free(text[i]);
    return 1;
}

#endif
