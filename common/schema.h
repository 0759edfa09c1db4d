/*
 * schema.h - the schema language: a kind of thing is declared once, as a table of fields,
 * and everything else is derived from the table.
 *
 * One field of one entity, from end to end:
 *
 *     F_INT(struct service, retries, 5, .dflt = "5", .between = RANGE(0, 32767),
 *           .doc = "How often a failed attempt is repeated on another target."),
 *
 * From this line come: the check of `"retries": 70000` and its words ("value should be
 * between 0 and 32767"), the default, the conversion of `retries=3` in a form body, the SQL
 * column, the member in Admin API answers, the field in GET /schemas/services, the reader
 * of declarative files, field 5 of message `service` on the wire (proto/entities.proto is
 * printed from the tables), the decoder into `struct service` on the data plane and the
 * reference page. Nothing else needs to know of it.
 *
 * The number is the field's identity on the wire: never changed, never reused. Removing a
 * field retires its number with a F_RETIRED(n) line.
 *
 * Values travel as jansson trees on the control plane and in the declarative reader, as
 * protobuf between the planes, and as plain C structs where requests are served.
 */
#ifndef COMMON_SCHEMA_H
#define COMMON_SCHEMA_H

#include <jansson.h>
#include <math.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/json.h"
#include "common/uuid.h"

/* ---- what a decoded struct is made of ---- */

/*
 * type        JSON         C member                      null (absent)        on the wire
 * FT_STRING   string       struct str                    p == NULL            string
 *   F_ENUM    string       int, index into one_of        -1                   string
 * FT_INTEGER  number       int64_t                       INT_NULL             sint64
 * FT_NUMBER   number       double                        NAN                  double
 * FT_BOOLEAN  true/false   bool                          false                bool
 *   F_TRI     true/false   int8_t                        -1                   bool
 * FT_ARRAY    array        struct list                   n == 0, v == NULL    repeated
 * FT_SET      array, no duplicates: as FT_ARRAY
 * FT_MAP      object       struct list of map_entry      n == 0               repeated {1 key, 2 value}
 * FT_RECORD   object       embedded struct               members null         message
 * FT_FOREIGN  {"id": ..}   struct uuid                   nil                  bytes, 16
 * FT_SUBRECORD object      struct str, packed message    p == NULL            bytes
 *             (plugin config: its table is chosen by another field)
 */
enum field_type {
    FT_STRING,
    FT_INTEGER,
    FT_NUMBER,
    FT_BOOLEAN,
    FT_ARRAY,
    FT_SET,
    FT_MAP,
    FT_RECORD,
    FT_FOREIGN,
    FT_SUBRECORD,
};

#define INT_NULL INT64_MIN

struct list {
    void *v; /* struct str[], int64_t[], double[], struct map_entry[] or records */
    size_t n;
};
#define LIST_AT(list, type, i) (((const type *)(list).v)[i])

struct map_entry {
    struct str key;
    struct str value;   /* when the map's values are strings */
    struct list values; /* when they are arrays */
};

/* ---- fields ---- */

enum field_flag {
    FF_REQUIRED = 1 << 0,
    FF_UNIQUE = 1 << 1,
    FF_AUTO = 1 << 2,          /* filled when absent: id, key, created_at ... */
    FF_UUID = 1 << 3,
    FF_TIMESTAMP = 1 << 4,
    FF_SECRET = 1 << 5,        /* never in a log or an audit record ("encrypted" in /schemas) */
    FF_REFERENCEABLE = 1 << 6, /* may be {vault://...}; validators are skipped then */
    FF_TRANSIENT = 1 << 7,     /* accepted and answered, not a column of its own */
    FF_IMMUTABLE = 1 << 8,
    FF_OPTIONAL = 1 << 9,      /* a record that may be null; print "required": false */
    FF_EMPTY_OK = 1 << 10,     /* len_min 0 for strings */
    FF_RETIRED = 1 << 11,
    FF_DFLT_NULL = 1 << 12,    /* /schemas prints "default": null */
    FF_NULL_ONLY = 1 << 13,    /* any value is refused with null_err or "value must be null" */
    FF_MUST_BE_EMPTY = 1 << 14, /* length 0 ("len_eq": 0) */
    FF_INTERNAL = 1 << 15,     /* stored and sent, but never shown to or taken from clients */
    FF_KEY = 1 << 16,          /* the record's key: not part of its body */
    FF_UNIQUE_ACROSS_WS = 1 << 17, /* printed, for clients that know workspaces */
    FF_CREDENTIAL = 1 << 18,   /* never in a log either, but not "encrypted" in /schemas */
    FF_QUIET = 1 << 19,        /* ours: not shown while it is null, nor in /schemas */
};

enum fk_action { FK_RESTRICT, FK_CASCADE };

struct range {
    double min, max;
    bool set;
};
#define RANGE(a, b) ((struct range){(a), (b), true})

struct field;
struct entity;

/*
 * A check of one value beyond what the table's attributes can say. The value has the
 * field's type. Returns 0, or -1 with e->message, e->path relative to the value.
 */
typedef int field_check(const struct field *f, const json_t *value, struct err *e);

struct pattern {
    const char *regex; /* PCRE */
    const char *lua;   /* how /schemas prints it (clients know the reference's patterns) */
    const char *err;   /* NULL: "invalid value: V" */
};

struct field {
    const char *name;
    enum field_type type;
    unsigned flags; /* enum field_flag */
    bool is_enum;   /* F_ENUM */
    bool is_tri;    /* F_TRI */
    uint16_t num;   /* on the wire */
    uint16_t off;   /* of the C member; for list elements and map values unused */
    uint16_t size;  /* of a record's C struct */

    const char *dflt;             /* JSON text, read by the same code as input */
    struct range between;
    const double *gt;             /* exclusive lower bound, or NULL */
    const char *const *one_of;    /* NULL-terminated; for integers: decimal text */
    const char *const *not_one_of;
    const char *eq, *ne;          /* JSON text */
    const char *contains;         /* arrays, sets: this string is among the elements */
    int len_min, len_max;         /* 0: none (strings have 1 unless FF_EMPTY_OK) */
    const char *starts_with;
    const struct pattern *match;      /* must match */
    const struct pattern *match_none; /* NULL-regex-terminated lists */
    const struct pattern *match_all;
    const struct pattern *match_any;  /* the err of the first one is used */
    field_check *check;
    const char *null_err;         /* text for FF_NULL_ONLY, ne ... ("err" in the reference) */
    const char *const *const *exclusive_subsets; /* NULL-terminated list of lists */

    const struct field *elem;     /* arrays, sets: one field without name; maps: the value */
    const struct field *key;      /* maps */
    const struct field *fields;   /* records: ends with F_END */
    const struct record_checks *checks; /* records: rules between members */
    const char *reference;        /* foreign: entity name, "services" */
    enum fk_action on_delete;

    const char *unit;             /* "ms", "bytes", "requests" ... for people */
    const char *doc;              /* one sentence */
};

/* clang-format off */
#define F_OFF(S, m, T) (offsetof(S, m) + 0 * sizeof(_Generic(((S *)0)->m, T: 0)))
#define F_STR(S, m, n, ...)     {.name = #m, .num = (n), .type = FT_STRING,  .off = F_OFF(S, m, struct str), __VA_ARGS__}
#define F_ENUM(S, m, n, ...)    {.name = #m, .num = (n), .type = FT_STRING,  .off = F_OFF(S, m, int), .is_enum = true, __VA_ARGS__}
#define F_INT(S, m, n, ...)     {.name = #m, .num = (n), .type = FT_INTEGER, .off = F_OFF(S, m, int64_t), __VA_ARGS__}
#define F_NUM(S, m, n, ...)     {.name = #m, .num = (n), .type = FT_NUMBER,  .off = F_OFF(S, m, double), __VA_ARGS__}
#define F_BOOL(S, m, n, ...)    {.name = #m, .num = (n), .type = FT_BOOLEAN, .off = F_OFF(S, m, bool), __VA_ARGS__}
#define F_TRI(S, m, n, ...)     {.name = #m, .num = (n), .type = FT_BOOLEAN, .off = F_OFF(S, m, int8_t), .is_tri = true, __VA_ARGS__}
#define F_ARRAY(S, m, n, ...)   {.name = #m, .num = (n), .type = FT_ARRAY,   .off = F_OFF(S, m, struct list), __VA_ARGS__}
#define F_SET(S, m, n, ...)     {.name = #m, .num = (n), .type = FT_SET,     .off = F_OFF(S, m, struct list), __VA_ARGS__}
#define F_MAP(S, m, n, ...)     {.name = #m, .num = (n), .type = FT_MAP,     .off = F_OFF(S, m, struct list), __VA_ARGS__}
#define F_FOREIGN(S, m, n, ...) {.name = #m, .num = (n), .type = FT_FOREIGN, .off = F_OFF(S, m, struct uuid), __VA_ARGS__}
#define F_RECORD(S, m, n, ...)  {.name = #m, .num = (n), .type = FT_RECORD,  .off = offsetof(S, m), .size = sizeof(((S *)0)->m), __VA_ARGS__}
#define F_RETIRED(n)            {.name = "", .num = (n), .flags = FF_RETIRED}
#define F_END                   {.name = NULL}
/* clang-format on */

/* ---- rules between the fields of one record ---- */

enum check_kind {
    CK_AT_LEAST_ONE_OF,      /* fields */
    CK_ONLY_ONE_OF,          /* fields */
    CK_DISTINCT,             /* fields */
    CK_MUTUALLY_REQUIRED,    /* fields */
    CK_MUTUALLY_EXCLUSIVE,   /* fields */
    CK_CONDITIONAL,          /* if_field passes if_match -> then_field passes then_match */
    CK_CONDITIONAL_ONE_OF,   /* if_field passes if_match -> at least one of fields, else ... */
    CK_CUSTOM,               /* fn */
};

typedef int entity_check(const json_t *doc, struct err *e);

/*
 * Matches are fields without a name, of which only the attributes count:
 * `.then_match = &(const struct field){.flags = FF_REQUIRED}`. Names may be paths
 * ("config.redis.host").
 */
struct check {
    enum check_kind kind;
    const char *const *fields; /* NULL-terminated */
    const char *if_field, *then_field;
    const struct field *if_match, *then_match;
    const char *then_err;
    const struct field *else_match;
    const char *const *else_fields;
    const char *else_err;
    entity_check *fn;
    bool run_with_missing_fields;
    bool quiet; /* of fields with FF_QUIET: not in /schemas either */
};

/* ---- input-only aliases ---- */

/*
 * Expands one alias: in holds the alias; puts the real fields into doc and leaves the alias
 * to be removed by the caller. Returns 0 or -1 with e.
 */
typedef int shorthand_fn(const json_t *in, json_t *doc, struct err *e);

struct shorthand {
    struct field field;               /* name, type and attributes of the alias */
    shorthand_fn *expand;             /* or, when NULL, the value moves to replaced_with: */
    const char *replaced_with;        /* path inside the record, "redis.host" */
    const char *removal_in;           /* version word of the deprecation, or NULL */
};

struct record_checks {
    const struct check *list; /* up to n_list */
    size_t n_list;
    const struct shorthand *shorthands;
    size_t n_shorthands;
    entity_check *custom;     /* the record's own validator (plugin config), or NULL */
};

/* ---- entities ---- */

struct entity {
    const char *name;            /* "services": plural, as in /schemas and errors */
    const char *singular;        /* "service" */
    uint8_t type;                /* enum entity_type: identity in records, never reused */
    const char *path;            /* "/services": Admin API collection, NULL when there is none */
    const char *nested_path;     /* "key-auth": last segment under a parent, NULL: as path */
    const char *endpoint_key;    /* field that may stand for the id in paths, or NULL */
    const char *const *cache_key; /* composite uniqueness, NULL-terminated, or NULL */
    const struct field *fields;
    const struct record_checks *checks;
    size_t struct_size;          /* of the decoded C struct */
    /* another table joins in, chosen by the document: plugins by name, routes by protocol */
    const struct subschema *(*subschema)(const json_t *doc, struct err *e);
    const char *plugin;          /* plugin that brings the entity, or NULL */
    bool has_ttl;                /* write-only "ttl" in seconds; expired rows vanish */
    bool hidden_collection;      /* only reachable under its parent (targets) */
    const char *subschema_key;   /* the field that chooses the subschema */
    void (*normalize)(json_t *doc); /* brings a valid document to its stored form, or NULL */
    const char *doc;
};

/* What a subschema changes: fields of the same name replace, new ones are added. */
struct subschema {
    const struct field *fields;
    const struct record_checks *checks;
};

/*
 * The wire number of the entity's field, its column and its C member are those of
 * ent->fields; a subschema only changes rules, never numbers.
 *
 * Every entity, in dependency order (parents first); NULL-terminated. common/entities/
 */
extern const struct entity *const entities[];

const struct entity *entity_by_name(struct str name);
const struct entity *entity_by_type(unsigned type);
const struct entity *entity_by_path(struct str collection); /* "services", without the slash */
/* In a static table (an index of it is kept); retired fields are not found. */
const struct field *field_find(const struct field *fields, struct str name);

/* ---- violations: what is wrong with a document, all of it ---- */

/*
 * The reference's error object in the making. fields mirrors the document's shape and is
 * what the client gets; message is rendered from it at the end.
 */
struct violations {
    json_t *fields;  /* object; entity-level texts are an array under "@entity" */
    unsigned count;
};
void violations_free(struct violations *v);

/* path: "config.redis.host"; NULL or "@entity": of the entity as a whole. */
void violations_add(struct violations *v, const char *path, const char *text);

/* Takes errors, an object shaped like the document, in place of what v held. */
void violations_take(struct violations *v, json_t *errors);

/* "schema violation (host: required field missing)" / "2 schema violations (...)"; the caller's. */
char *violations_message(const struct violations *v);

/* ---- documents ---- */

/*
 * All of these return 0, or -1 with v filled (a document that is wrong) — never both.
 * in is borrowed and not changed; *out_ is the caller's.
 */

/* POST, PUT, declarative: shorthands expanded, auto fields and defaults filled, validated. */
int schema_insert(const struct entity *ent, const json_t *in, json_t **out, struct violations *v) WEIR_MUSTCHECK;

/* PATCH: merged over stored (records recursively, all else replaced), validated as the
 * reference validates updates; updated_at is now. */
int schema_update(const struct entity *ent, const json_t *stored, const json_t *patch, json_t **out,
                  struct violations *v) WEIR_MUSTCHECK;

/* POST /schemas/E/validate: as schema_insert, but foreign keys need not be complete. */
int schema_validate(const struct entity *ent, const json_t *in, struct violations *v) WEIR_MUSTCHECK;

/*
 * The "ttl" of a body, for entities that have one: seconds, or -1 when it has none. -1 with
 * e ("must be an integer between ..."): the reference answers that before it looks at the
 * schema. schema_insert and _update turn it into "expires_at".
 */
int schema_ttl(const struct entity *ent, const json_t *in, int64_t *ttl_out, struct err *e) WEIR_MUSTCHECK;

/* What a client is shown: absent fields as null, deprecated aliases echoed, arrays as such. */
json_t *schema_answer(const struct entity *ent, const json_t *doc);

/* GET /schemas/E: {"fields": [...], "entity_checks": [...]}. */
json_t *schema_describe(const struct entity *ent);

/* ---- form bodies (admin-api.md section 5) ---- */

struct form_arg {
    struct str name, value; /* decoded */
};

/*
 * name=value pairs to a document, converted by the entity's table (NULL: left as text).
 * stored: the entity that a PATCH is for, or NULL (its plugin name chooses the config table).
 */
json_t *form_decode(const struct entity *ent, const struct form_arg *args, size_t n,
                    const json_t *stored, struct err *e);

/* ---- the wire (record.c) ---- */

/* Appends the protobuf body of doc, which must have passed schema_insert or _update. */
int record_encode(const struct entity *ent, const json_t *doc, struct sbuf *out, struct err *e) WEIR_MUSTCHECK;

/*
 * Decodes a body into the entity's C struct at out (struct_size bytes). Strings borrow from
 * body; lists and copies come from a. Checks types, lengths, UTF-8 and nesting; unknown
 * field numbers are skipped. out->id is not touched: it is the record's key.
 */
int record_decode(const struct entity *ent, struct str body, struct arena *a, void *out,
                  struct err *e) WEIR_MUSTCHECK;

/* As record_decode for any table: plugin configs. */
int fields_decode(const struct field *fields, struct str body, struct arena *a, void *out,
                  struct err *e) WEIR_MUSTCHECK;

/* A decoded struct as a document, id included; a plugin's config is null. */
json_t *entity_to_json(const struct entity *ent, const struct uuid *id, const void *decoded);

/* Back to a document (id included): for tools, tests and dumps. */
json_t *record_to_json(const struct entity *ent, const struct uuid *id, struct str body, struct err *e);

/* Prints proto/entities.proto. */
void schema_print_proto(struct sbuf *out);

/* Prints the reference page of all entities and plugins (Markdown). */
void schema_print_docs(struct sbuf *out);

#endif
