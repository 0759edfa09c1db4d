/* val.c - see val.h: values that lie in jansson trees. */
#include "common/val.h"

#include "common/schema_priv.h"

static size_t json_count(const struct val *v)
{
    return v->kind == VAL_LIST ? json_array_size(v->from) : json_object_size(v->from);
}

static bool json_next(struct val_walk *it, struct str *key_out, struct val *out)
{
    json_t *from = json_unconst(it->of.from);

    *key_out = STR_NONE;
    if (it->of.kind == VAL_LIST) {
        if (it->i == json_array_size(from))
            return false;
        *out = val_of_json(json_array_get(from, it->i++));
        return true;
    }
    it->at = it->i++ ? json_object_iter_next(from, it->at) : json_object_iter(from);
    if (!it->at)
        return false;
    *key_out = str_n(json_object_iter_key(it->at), json_object_iter_key_len(it->at));
    *out = val_of_json(json_object_iter_value(it->at));
    return true;
}

static bool json_frame(const struct val *v, struct frame *out)
{
    frame_of_json(v->from, out);
    return true;
}

static const struct val_source in_json = {json_count, json_next, json_frame};

struct val val_of_json(const json_t *value)
{
    struct val v = {.kind = VAL_NONE};

    if (!value)
        return v;
    switch (json_typeof(value)) {
    case JSON_NULL: v.kind = VAL_NULL; break;
    case JSON_TRUE:
    case JSON_FALSE:
        v.kind = VAL_BOOLEAN;
        v.yes = json_is_true(value);
        break;
    case JSON_INTEGER:
        v.kind = VAL_INTEGER;
        v.integer = json_integer_value(value);
        break;
    case JSON_REAL:
        v.kind = VAL_REAL;
        v.real = json_real_value(value);
        break;
    case JSON_STRING:
        v.kind = VAL_TEXT;
        v.text = json_str(value);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        v.kind = json_is_array(value) ? VAL_LIST : VAL_MAP;
        v.from = value;
        v.source = &in_json;
        break;
    }
    return v;
}

const json_t *val_json(const struct val *v)
{
    return (v->kind == VAL_LIST || v->kind == VAL_MAP) && v->source == &in_json ? v->from : NULL;
}

bool val_equal(const struct val *a, const struct val *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VAL_NONE:
    case VAL_NULL: return true;
    case VAL_BOOLEAN: return a->yes == b->yes;
    case VAL_INTEGER: return a->integer == b->integer;
    case VAL_REAL: return a->real == b->real;
    case VAL_TEXT: return str_eq(a->text, b->text);
    case VAL_ID: return uuid_eq(a->from, b->from);
    case VAL_LIST:
    case VAL_MAP: break;
    }
    WEIR_ASSERT(val_json(a) && val_json(b));
    return json_equal(json_unconst(val_json(a)), json_unconst(val_json(b))) == 1;
}
