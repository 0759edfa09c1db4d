/* schema_docs.c - the reference page of entities and plugins, from the tables (schema.h). */
#include <stdlib.h>

#include "common/plugins/contract.h"
#include "common/schema_priv.h"

static const char *type_word(const struct field *f)
{
    static const char *const types[] = {
        [FT_STRING] = "string",    [FT_INTEGER] = "integer", [FT_NUMBER] = "number",
        [FT_BOOLEAN] = "boolean",  [FT_ARRAY] = "array",     [FT_SET] = "set",
        [FT_MAP] = "map",          [FT_RECORD] = "record",   [FT_FOREIGN] = "reference",
        [FT_SUBRECORD] = "record",
    };

    return types[f->type];
}

static void add_type(struct sbuf *out, const struct field *f)
{
    sbuf_adds(out, type_word(f));
    if (f->type == FT_FOREIGN)
        sbuf_addf(out, " to %s", f->reference);
    if (f->elem)
        sbuf_addf(out, " of %ss", type_word(f->elem));
}

static void add_words(struct sbuf *out, const char *const *words)
{
    sbuf_adds(out, " One of");
    for (size_t i = 0; words[i]; i++)
        sbuf_addf(out, "%s `%s`", i ? "," : "", words[i]);
    sbuf_addc(out, '.');
}

static void add_row(struct sbuf *out, const char *prefix, const struct field *f)
{
    bool nested = f->type == FT_RECORD; /* its members follow, with their own defaults */

    sbuf_addf(out, "| `%s%s` | ", prefix, f->name);
    add_type(out, f);
    sbuf_adds(out, " | ");
    if (f->dflt && !nested)
        sbuf_addf(out, "`%s`", f->dflt);
    else if ((f->flags & FF_REQUIRED) && !nested)
        sbuf_adds(out, "required");
    sbuf_addf(out, " | %s", f->doc ? f->doc : "");
    if (f->between.set)
        sbuf_addf(out, " %.14g to %.14g%s%s.", f->between.min, f->between.max, f->unit ? " " : "",
                  f->unit ? f->unit : "");
    else if (f->unit)
        sbuf_addf(out, " Unit: %s.", f->unit);
    if (f->one_of)
        add_words(out, f->one_of);
    if (f->flags & (FF_SECRET | FF_CREDENTIAL))
        sbuf_adds(out, " Secret.");
    sbuf_adds(out, " |\n");
}

static void add_rows(struct sbuf *out, const char *prefix, const struct field *fields)
{
    for (const struct field *f = fields; f->name; f++) {
        char inner[128];

        if (f->flags & (FF_RETIRED | FF_INTERNAL))
            continue;
        add_row(out, prefix, f);
        if (f->type != FT_RECORD)
            continue;
        snprintf(inner, sizeof(inner), "%s%s.", prefix, f->name);
        add_rows(out, inner, f->fields);
    }
}

static void add_table(struct sbuf *out, const char *name, const char *doc,
                      const struct field *fields)
{
    sbuf_addf(out, "\n## %s\n\n%s\n\n| field | type | default | |\n| --- | --- | --- | --- |\n",
              name, doc);
    add_rows(out, "", fields);
}

void schema_print_docs(struct sbuf *out)
{
    sbuf_adds(out, "# Entities\n");
    for (size_t i = 0; entities[i]; i++)
        if (!entities[i]->internal)
            add_table(out, entities[i]->name, entities[i]->doc, entities[i]->fields);
    sbuf_adds(out, "\n# Plugins\n");
    for (size_t i = 0; plugin_contracts[i]; i++)
        add_table(out, plugin_contracts[i]->name, plugin_contracts[i]->doc,
                  plugin_contracts[i]->fields);
}
