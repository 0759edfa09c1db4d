/* schema_describe.c - tables as GET /schemas/... shows them (schema.h). */
#include <stdlib.h>

#include "common/schema_priv.h"

static void set_text(json_t *out, const char *name, const char *text)
{
    if (text)
        json_object_set_new(out, name, json_string(text));
}

static void set_json(json_t *out, const char *name, const char *text)
{
    if (text)
        json_object_set_new(out, name, json_loads(text, JSON_DECODE_ANY, NULL));
}

static json_t *number(double d)
{
    return d == (double)(json_int_t)d ? json_integer((json_int_t)d) : json_real(d);
}

/* Words, of integers as numbers. */
static json_t *words(const char *const *list, enum field_type type)
{
    json_t *out = json_array();
    int64_t n;

    for (; *list; list++) {
        bool integer = type == FT_INTEGER && str_to_i64(str_of(*list), &n);

        json_array_append_new(out, integer ? json_integer(n) : json_string(*list));
    }
    return out;
}

static void set_words(json_t *out, const char *name, const char *const *list, enum field_type type)
{
    if (list)
        json_object_set_new(out, name, words(list, type));
}

static void set_patterns(json_t *out, const char *name, const struct pattern *p)
{
    json_t *list;

    if (!p)
        return;
    list = json_array();
    for (; p->regex; p++) {
        json_t *item = json_object();

        set_text(item, "pattern", p->lua);
        set_text(item, "err", p->err);
        json_array_append_new(list, item);
    }
    json_object_set_new(out, name, list);
}

static void set_match_any(json_t *out, const struct pattern *p)
{
    json_t *any, *list;

    if (!p)
        return;
    any = json_object();
    list = json_array();
    set_text(any, "err", p->err);
    for (; p->regex; p++)
        json_array_append_new(list, json_string(p->lua));
    json_object_set_new(any, "patterns", list);
    json_object_set_new(out, "match_any", any);
}

static void set_flags(json_t *out, const struct field *f)
{
    static const struct {
        unsigned flag;
        const char *name;
        bool value;
    } names[] = {
        {FF_REQUIRED, "required", true},   {FF_OPTIONAL, "required", false},
        {FF_UNIQUE, "unique", true},       {FF_UNIQUE_ACROSS_WS, "unique_across_ws", true},
        {FF_AUTO, "auto", true},           {FF_UUID, "uuid", true},
        {FF_TIMESTAMP, "timestamp", true}, {FF_SECRET, "encrypted", true},
        {FF_TRANSIENT, "transient", true}, {FF_REFERENCEABLE, "referenceable", true},
        {FF_IMMUTABLE, "immutable", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (f->flags & names[i].flag)
            json_object_set_new(out, names[i].name, json_boolean(names[i].value));
    }
    if (f->flags & FF_DFLT_NULL)
        json_object_set_new(out, "default", json_null());
    if (f->flags & FF_NULL_ONLY)
        json_object_set_new(out, "eq", json_null());
    if (f->flags & FF_MUST_BE_EMPTY)
        json_object_set_new(out, "len_eq", json_integer(0));
    if (f->len_min || (f->flags & FF_EMPTY_OK))
        json_object_set_new(out, "len_min", json_integer(f->len_min));
    if (f->len_max)
        json_object_set_new(out, "len_max", json_integer(f->len_max));
}

static void set_values(json_t *out, const struct field *f)
{
    set_json(out, "default", f->dflt);
    set_json(out, "eq", f->eq);
    set_json(out, "ne", f->ne);
    set_text(out, "contains", f->contains);
    set_text(out, "starts_with", f->starts_with);
    set_words(out, "one_of", f->one_of, f->type);
    set_words(out, "not_one_of", f->not_one_of, f->type);
    if (f->between.set) {
        json_t *pair = json_array();

        json_array_append_new(pair, number(f->between.min));
        json_array_append_new(pair, number(f->between.max));
        json_object_set_new(out, "between", pair);
    }
    if (f->gt)
        json_object_set_new(out, "gt", number(*f->gt));
    if (f->match)
        set_text(out, "match", f->match->lua);
    set_patterns(out, "match_none", f->match_none);
    set_patterns(out, "match_all", f->match_all);
    set_match_any(out, f->match_any);
}

static json_t *describe_fields(const struct field *fields);
static json_t *describe_checks(const struct record_checks *checks);
static json_t *describe_shorthands(const struct record_checks *checks);
static json_t *describe_field(const struct field *f);

static void set_inside(json_t *out, const struct field *f)
{
    if (f->key)
        json_object_set_new(out, "keys", describe_field(f->key));
    if (f->elem)
        json_object_set_new(out, f->type == FT_MAP ? "values" : "elements",
                            describe_field(f->elem));
    if (f->fields)
        json_object_set_new(out, "fields", describe_fields(f->fields));
    if (f->type == FT_SUBRECORD && !f->fields)
        json_object_set_new(out, "abstract", json_true());
    if (f->checks && f->checks->n_list)
        json_object_set_new(out, "entity_checks", describe_checks(f->checks));
    if (f->checks && f->checks->n_shorthands)
        json_object_set_new(out, "shorthand_fields", describe_shorthands(f->checks));
    if (f->exclusive_subsets) {
        json_t *sets = json_array();

        for (const char *const *const *s = f->exclusive_subsets; *s; s++)
            json_array_append_new(sets, words(*s, FT_STRING));
        json_object_set_new(out, "mutually_exclusive_subsets", sets);
    }
}

static json_t *describe_field(const struct field *f)
{
    static const char *const types[] = {
        [FT_STRING] = "string",    [FT_INTEGER] = "integer", [FT_NUMBER] = "number",
        [FT_BOOLEAN] = "boolean",  [FT_ARRAY] = "array",     [FT_SET] = "set",
        [FT_MAP] = "map",          [FT_RECORD] = "record",   [FT_FOREIGN] = "foreign",
        [FT_SUBRECORD] = "record",
    };
    json_t *out = json_object();

    set_text(out, "type", types[f->type]);
    set_text(out, "reference", f->reference);
    if (f->on_delete == FK_CASCADE)
        set_text(out, "on_delete", "cascade");
    set_flags(out, f);
    set_values(out, f);
    set_inside(out, f);
    set_text(out, "description", f->doc);
    return out;
}

static json_t *describe_fields(const struct field *fields)
{
    json_t *list = json_array();

    for (const struct field *f = fields; f->name; f++) {
        if (!(f->flags & (FF_RETIRED | FF_INTERNAL | FF_QUIET)))
            json_array_append_new(list, json_pack("{s:o}", f->name, describe_field(f)));
    }
    return list;
}

/* "redis.host" as {"path": ["redis", "host"]} */
static json_t *describe_shorthand(const struct shorthand *s)
{
    json_t *out = describe_field(&s->field), *path;
    struct str rest = str_of(s->replaced_with), step;

    if (!s->replaced_with)
        return out;
    path = json_array();
    while (str_next(&rest, '.', &step))
        json_array_append_new(path, json_stringn(step.p, step.len));
    json_object_set_new(out, "deprecation",
                        json_pack("{s:s, s:[{s:o}]}", "removal_in_version", s->removal_in,
                                  "replaced_with", "path", path));
    return out;
}

static json_t *describe_shorthands(const struct record_checks *checks)
{
    json_t *list = json_array();

    for (size_t i = 0; i < checks->n_shorthands; i++) {
        const struct shorthand *s = &checks->shorthands[i];

        json_array_append_new(list, json_pack("{s:o}", s->field.name, describe_shorthand(s)));
    }
    return list;
}

/* A match: only what it says, without a type of its own. */
static json_t *describe_match(const struct field *match)
{
    json_t *out = json_object();

    set_flags(out, match);
    set_values(out, match);
    if (match->elem)
        json_object_set_new(out, "elements", describe_field(match->elem));
    return out;
}

static json_t *describe_conditional(const struct check *c)
{
    json_t *out = json_object();

    set_text(out, "if_field", c->if_field);
    json_object_set_new(out, "if_match", describe_match(c->if_match));
    if (c->kind == CK_CONDITIONAL) {
        set_text(out, "then_field", c->then_field);
        json_object_set_new(out, "then_match", describe_match(c->then_match));
        set_text(out, "then_err", c->then_err);
        return out;
    }
    set_words(out, "then_at_least_one_of", c->fields, FT_STRING);
    set_text(out, "then_err", c->then_err);
    if (c->else_match) {
        json_object_set_new(out, "else_match", describe_match(c->else_match));
        set_words(out, "else_then_at_least_one_of", c->else_fields, FT_STRING);
        set_text(out, "else_then_err", c->else_err);
    }
    return out;
}

static json_t *describe_custom(const struct check *c)
{
    json_t *out = json_object();

    set_words(out, "field_sources", c->fields, FT_STRING);
    if (c->run_with_missing_fields)
        json_object_set_new(out, "run_with_missing_fields", json_true());
    return out;
}

static json_t *describe_check(const struct check *c)
{
    static const char *const names[] = {
        [CK_AT_LEAST_ONE_OF] = "at_least_one_of",
        [CK_ONLY_ONE_OF] = "only_one_of",
        [CK_DISTINCT] = "distinct",
        [CK_MUTUALLY_REQUIRED] = "mutually_required",
        [CK_MUTUALLY_EXCLUSIVE] = "mutually_exclusive",
        [CK_CONDITIONAL] = "conditional",
        [CK_CONDITIONAL_ONE_OF] = "conditional_at_least_one_of",
        [CK_CUSTOM] = "custom_entity_check",
    };
    json_t *what;

    if (c->kind == CK_CONDITIONAL || c->kind == CK_CONDITIONAL_ONE_OF)
        what = describe_conditional(c);
    else if (c->kind == CK_CUSTOM)
        what = describe_custom(c);
    else
        what = words(c->fields, FT_STRING);
    return json_pack("{s:o}", names[c->kind], what);
}

static json_t *describe_checks(const struct record_checks *checks)
{
    json_t *list = json_array();

    for (size_t i = 0; checks && i < checks->n_list; i++)
        if (!checks->list[i].quiet)
            json_array_append_new(list, describe_check(&checks->list[i]));
    return list;
}

json_t *describe_shape(const struct field *fields, const struct record_checks *checks)
{
    return json_pack("{s:o, s:o}", "fields", describe_fields(fields), "entity_checks",
                     describe_checks(checks));
}

json_t *schema_describe(const struct entity *ent)
{
    return describe_shape(ent->fields, ent->checks);
}
