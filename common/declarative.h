/*
 * declarative.h - declarative files (_format_version 3.0, YAML or JSON) to entities, and
 * back: nesting, foreign keys by name, deterministic ids, defaults, all errors at once.
 * Rules: the reference's declarative.md. YAML through libyaml.
 */
#ifndef COMMON_DECLARATIVE_H
#define COMMON_DECLARATIVE_H

#include "common/entities.h"

/*
 * How scalars are typed. A file's author writes `body: 1` and means the text "1": where the
 * field is a string, an unquoted scalar is its text; where it is a boolean, yes, no, on and
 * off are taken, and nowhere else. The Admin API's POST /config is strict: a scalar is what
 * it looks like, yes and on are booleans everywhere, as the reference's reader has it.
 * DECL_DECK is DECL_BY_FIELD for decK's files: `_info`, `_workspace: default`,
 * `_plugin_configs` with `_config`, and `service: {name: s1}` are understood too.
 */
enum decl_typing { DECL_STRICT, DECL_BY_FIELD, DECL_DECK };

struct decl {
    json_t *entities; /* {"services": {id: document, ...}, ...}: flat, defaults filled */
    json_t *info;     /* DECL_DECK: the value of _info, or NULL */
};
void decl_free(struct decl *d);

struct decl_error {
    size_t line;  /* 1-based; 0: the document as a whole */
    char *text;   /* "services.1.routes.2.paths.1: should start with: / ..." */
};
struct decl_errors {
    struct decl_error *v;
    size_t n;
    struct violations violations; /* the same as the reference's error object */
};
void decl_errors_free(struct decl_errors *errs);

/* The reference's `message` for errs->violations: "declarative config is invalid: {...}"; the caller's. */
char *decl_errors_message(const struct decl_errors *errs);

/* Puts "PATH:LINE: " in front of every text. */
void decl_errors_name_file(struct decl_errors *errs, const char *path);

/* YAML or JSON text to a tree; error line in e->message. Bounded in depth and aliases. */
json_t *decl_parse(struct str text, enum decl_typing typing, struct err *e);

/* Text to entities. 0, or -1 with every error found. */
int decl_read(struct str text, enum decl_typing typing, struct decl *out, struct decl_errors *errs) WEIR_MUSTCHECK;

/*
 * What takes the entities of a document, each after the one around it: packed as by
 * record_encode, body is borrowed. Returns 0, or -1 with e: the entity is refused with e's
 * message.
 */
typedef int decl_sink(void *arg, const struct entity *ent, const struct uuid *id, struct str body,
                      struct err *e);

/*
 * As decl_read (typing DECL_BY_FIELD), entity by entity, each packed as soon as it is read: no
 * documents are made of what is right and usual. When it returns -1, what the sink has been
 * given is part of a document that is wrong.
 */
int decl_read_to(struct str text, decl_sink *sink, void *arg, struct decl_errors *errs) WEIR_MUSTCHECK;

/* As decl_read_to for a file; errors carry its name. */
int decl_read_file_to(const char *path, decl_sink *sink, void *arg, struct decl_errors *errs)
    WEIR_MUSTCHECK;

/* As decl_read for a file; errors carry its name. */
int decl_read_file(const char *path, struct decl *out, struct decl_errors *errs) WEIR_MUSTCHECK;

/* Appends the bytes of a file ("-": standard input), at most 512 MiB. */
int decl_load_text(const char *path, struct sbuf *out, struct err *e) WEIR_MUSTCHECK;

#endif
