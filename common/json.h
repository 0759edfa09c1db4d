/* json.h - what jansson leaves to its users. */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <jansson.h>

#include "common/str.h"

/* The bytes of a JSON string, which keeps them; absent when it is none. */
static inline struct str json_str(const json_t *text)
{
    return str_n(json_string_value(text), json_string_length(text));
}

/* A const value for jansson's iterators and sources of a copy, which only read but take no const. */
static inline json_t *json_unconst(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

#endif
