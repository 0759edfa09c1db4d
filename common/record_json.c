/* record_json.c - decoded structs back to documents, and the tables as .proto text (schema.h). */
#include <math.h>
#include <stdlib.h>

#include "common/entities.h"
#include "common/plugins/contract.h"
#include "common/schema_priv.h"

/* ---- structs to documents ---- */

static json_t *struct_to_json(const struct field *fields, const char *at);

static json_t *string_to_json(struct str s)
{
    return s.p ? json_stringn(s.p, s.len) : json_null();
}

static json_t *number_to_json(double d)
{
    if (!isfinite(d))
        return json_null();
    if (d == floor(d) && fabs(d) < 9007199254740992.0)
        return json_integer((json_int_t)d);
    return json_real(d);
}

static json_t *uuid_to_json(const struct uuid *id)
{
    char text[UUID_TEXT_LEN + 1];

    uuid_format(id, text);
    return json_string(text);
}

static json_t *list_to_json(const struct field *elem, const struct list *list)
{
    json_t *out;

    if (!list->v)
        return json_null();
    out = json_array();
    for (size_t i = 0; i < list->n; i++) {
        switch (elem->type) {
        case FT_STRING:
            json_array_append_new(out, string_to_json(LIST_AT(*list, struct str, i)));
            break;
        case FT_INTEGER:
            json_array_append_new(out, json_integer(LIST_AT(*list, int64_t, i)));
            break;
        case FT_NUMBER:
            json_array_append_new(out, number_to_json(LIST_AT(*list, double, i)));
            break;
        case FT_BOOLEAN: json_array_append_new(out, json_boolean(LIST_AT(*list, bool, i))); break;
        case FT_RECORD:
            json_array_append_new(
                out, struct_to_json(elem->fields, (const char *)list->v + i * elem->size));
            break;
        case FT_ARRAY:
        case FT_SET:
        case FT_MAP:
        case FT_FOREIGN:
        case FT_SUBRECORD: WEIR_UNREACHABLE("type of an element");
        }
    }
    return out;
}

static json_t *map_to_json(const struct field *f, const struct list *map)
{
    json_t *out;

    if (!map->v)
        return json_null();
    out = json_object();
    for (size_t i = 0; i < map->n; i++) {
        const struct map_entry *entry = &LIST_AT(*map, struct map_entry, i);
        json_t *value = f->elem->type == FT_ARRAY ? list_to_json(f->elem->elem, &entry->values)
                                                  : string_to_json(entry->value);
        char *key = str_dup(entry->key);

        if (json_is_null(value) && f->elem->type == FT_ARRAY)
            value = json_array(); /* an empty list leaves no trace on the wire */
        json_object_set_new(out, key, value);
        free(key);
    }
    return out;
}

static json_t *member_to_json(const struct field *f, const void *at)
{
    switch (f->type) {
    case FT_STRING:
        if (!f->is_enum)
            return string_to_json(*(const struct str *)at);
        return *(const int *)at < 0 ? json_null() : json_string(f->one_of[*(const int *)at]);
    case FT_INTEGER:
        return *(const int64_t *)at == INT_NULL ? json_null() : json_integer(*(const int64_t *)at);
    case FT_NUMBER: return number_to_json(*(const double *)at);
    case FT_BOOLEAN:
        return *(const int8_t *)at < 0 ? json_null() : json_boolean(*(const int8_t *)at);
    case FT_ARRAY:
    case FT_SET: return list_to_json(f->elem, at);
    case FT_MAP: return map_to_json(f, at);
    case FT_RECORD: return struct_to_json(f->fields, at);
    case FT_FOREIGN:
        if (uuid_is_nil(at))
            return json_null();
        return json_pack("{s:o}", "id", uuid_to_json(at));
    case FT_SUBRECORD: return string_to_json(*(const struct str *)at);
    }
    WEIR_UNREACHABLE("field type");
}

static json_t *struct_to_json(const struct field *fields, const char *at)
{
    json_t *out = json_object();

    for (const struct field *f = fields; f->name; f++) {
        json_t *value;

        if (f->flags & (FF_KEY | FF_TRANSIENT | FF_RETIRED | FF_INTERNAL))
            continue;
        value = member_to_json(f, at + f->off);
        if (f->flags & FF_QUIET && json_is_null(value))
            json_decref(value);
        else
            json_object_set_new(out, f->name, value);
    }
    return out;
}

/* The plugin's config by the table of its contract. */
static int config_to_json(const struct plugin *p, struct arena *a, json_t *doc, struct err *e)
{
    const struct plugin_contract *c = p->name.p ? plugin_contract_by_name(p->name) : NULL;
    void *conf;

    if (!c || !p->config.p)
        return c ? 0 : err_set(e, ERR_INVALID, "plugin: expected a known name");
    conf = arena_zalloc(a, c->conf_size);
    if (fields_decode(c->fields, p->config, a, conf, e) != 0)
        return err_in(e, "config");
    json_object_set_new(doc, "config", struct_to_json(c->fields, conf));
    return 0;
}

json_t *entity_to_json(const struct entity *ent, const struct uuid *id, const void *decoded)
{
    json_t *doc = json_pack("{s:o}", "id", uuid_to_json(id));
    json_t *members = struct_to_json(ent->fields, decoded);

    if (ent == &entity_plugins) /* its config is bytes until the contract is known */
        json_object_set_new(members, "config", json_null());
    json_object_update(doc, members);
    json_decref(members);
    return doc;
}

json_t *record_to_json(const struct entity *ent, const struct uuid *id, struct str body,
                       struct err *e)
{
    json_t *doc = NULL;
    struct arena a;
    void *at;

    arena_init(&a, 0, 0);
    at = arena_zalloc(&a, ent->struct_size);
    if (record_decode(ent, body, &a, at, e) != 0)
        goto out;
    doc = entity_to_json(ent, id, at);
    if (ent->has_ttl) {
        const struct field *f = field_find(ent->fields, STR("expires_at"));
        json_object_set_new(doc, f->name, member_to_json(f, (const char *)at + f->off));
    }
    if (ent == &entity_plugins && config_to_json(at, &a, doc, e) != 0) {
        json_decref(doc);
        doc = NULL;
    }
out:
    arena_fini(&a);
    return doc;
}

/* ---- proto/entities.proto ---- */

static const char *proto_type(const struct field *f)
{
    switch (f->type) {
    case FT_STRING: return "string";
    case FT_INTEGER: return "sint64";
    case FT_NUMBER: return "double";
    case FT_BOOLEAN: return "bool";
    case FT_FOREIGN:
    case FT_SUBRECORD: return "bytes";
    case FT_ARRAY:
    case FT_SET: return proto_type(f->elem);
    case FT_MAP:
    case FT_RECORD: return NULL;
    }
    WEIR_UNREACHABLE("field type");
}

/* "active_healthy" becomes "ActiveHealthy". */
static void add_camel(struct sbuf *out, const char *name)
{
    bool up = true;

    for (; *name; name++) {
        if (*name == '_' || *name == '-') {
            up = true;
            continue;
        }
        sbuf_addc(out, up && *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name);
        up = false;
    }
}

static void print_message(struct sbuf *out, const char *prefix, const char *name,
                          const struct field *fields);

static void print_indent(struct sbuf *out, const char *prefix)
{
    sbuf_adds(out, prefix);
}

/* The message that a record or map field needs, printed before the field that uses it. */
static void print_inner(struct sbuf *out, const char *prefix, const struct field *f)
{
    const struct field *record = f->type == FT_ARRAY || f->type == FT_SET ? f->elem : f;

    if (record->type == FT_RECORD) {
        print_message(out, prefix, f->name, record->fields);
    } else if (f->type == FT_MAP) {
        print_indent(out, prefix);
        sbuf_adds(out, "message ");
        add_camel(out, f->name);
        sbuf_addf(out, " {\n%s  string key = 1;\n%s  %s%s value = 2;\n%s}\n", prefix, prefix,
                  f->elem->type == FT_ARRAY ? "repeated " : "", proto_type(f->elem), prefix);
    }
}

static void print_field(struct sbuf *out, const char *prefix, const struct field *f)
{
    bool repeated = f->type == FT_ARRAY || f->type == FT_SET || f->type == FT_MAP;
    const char *type = proto_type(f);

    print_inner(out, prefix, f);
    print_indent(out, prefix);
    sbuf_adds(out, repeated ? "repeated " : type && f->type != FT_FOREIGN ? "optional " : "");
    if (type)
        sbuf_adds(out, type);
    else
        add_camel(out, f->name);
    sbuf_addf(out, " %s = %u;", f->name, f->num);
    if (f->doc)
        sbuf_addf(out, " // %s", f->doc);
    sbuf_addc(out, '\n');
}

static void print_message(struct sbuf *out, const char *prefix, const char *name,
                          const struct field *fields)
{
    char inner[32];

    snprintf(inner, sizeof(inner), "%s  ", prefix);
    print_indent(out, prefix);
    sbuf_adds(out, "message ");
    add_camel(out, name);
    sbuf_adds(out, " {\n");
    for (const struct field *f = fields; f->name; f++) {
        if (f->flags & (FF_KEY | FF_TRANSIENT | FF_RETIRED))
            sbuf_addf(out, "%sreserved %u;%s\n", inner, f->num,
                      f->flags & FF_KEY         ? " // id: the record's key"
                      : f->flags & FF_TRANSIENT ? " // not sent"
                                                : "");
        else
            print_field(out, inner, f);
    }
    print_indent(out, prefix);
    sbuf_adds(out, "}\n");
}

void schema_print_proto(struct sbuf *out)
{
    sbuf_adds(out,
              "// Bodies of the records that travel between the planes (proto/record.h).\n"
              "// Printed from the tables in common/entities and common/plugins; do not edit.\n"
              "syntax = \"proto3\";\n\npackage weir;\n");
    for (size_t i = 0; entities[i]; i++) {
        sbuf_addf(out, "\n// %s Record type %u.\n", entities[i]->doc, entities[i]->type);
        print_message(out, "", entities[i]->singular, entities[i]->fields);
    }
    sbuf_adds(out, "\n// Plugin.config, by name.\n");
    for (size_t i = 0; plugin_contracts[i]; i++) {
        char name[64];

        snprintf(name, sizeof(name), "%s-config", plugin_contracts[i]->name);
        sbuf_addf(out, "\n// %s\n", plugin_contracts[i]->doc);
        print_message(out, "", name, plugin_contracts[i]->fields);
    }
}
