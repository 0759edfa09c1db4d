/*
 * settings.h - a program's settings, declared as a table. The same name three ways:
 * `proxy_listen = ...` in the file of --config, WEIR_PROXY_LISTEN, --proxy-listen.
 * Flag beats environment beats file beats default. An unknown name or a bad value is an
 * error that names where it stands, before anything starts. --help prints the table.
 */
#ifndef COMMON_SETTINGS_H
#define COMMON_SETTINGS_H

#include "common/err.h"
#include "common/str.h"

enum setting_type {
    ST_TEXT,      /* const char * */
    ST_INT,       /* int64_t, between min and max */
    ST_BOOL,      /* bool: on/off/true/false/yes/no */
    ST_DURATION,  /* uint64_t us: "5s", "200ms", "1m", "2h"; a bare number is seconds */
    ST_SIZE,      /* uint64_t bytes: "64k", "1m", "2g"; a bare number is bytes */
    ST_ENUM,      /* int, index into words */
};

struct setting {
    const char *name; /* "proxy_listen" */
    enum setting_type type;
    size_t off;       /* of the member in the program's struct */
    const char *dflt; /* as a user would write it; NULL: "" / 0 */
    double min, max;  /* ST_INT, ST_DURATION (us), ST_SIZE; both 0: any */
    const char *const *words;
    int (*check)(const char *value, struct err *e); /* or NULL */
    const char *doc;  /* one sentence, for --help and the reference page */
};
#define SETTING_END {.name = NULL}

struct settings_source {
    const char *program; /* "weir-dp" */
    const char *about;   /* one line for --help */
    const struct setting *table;
};

/*
 * Fills *out (the program's struct) from argv, environment and file. Texts are copied and
 * live as long as the process. Returns 0; 1 when --help or --version was asked for and
 * printed; -1 with e. Arguments that are not flags are left in argv[1..*argc-1] when
 * operands is true, else they are errors.
 */
int settings_load(const struct settings_source *src, int *argc, char **argv, bool operands, void *out,
                  struct err *e) WEIR_MUSTCHECK;

/* Prints the table as Markdown: the reference page. */
void settings_print_docs(const struct settings_source *src, struct sbuf *out);

int duration_parse(const char *text, uint64_t *us_out, struct err *e) WEIR_MUSTCHECK;
int size_parse(const char *text, uint64_t *bytes_out, struct err *e) WEIR_MUSTCHECK;

/* ---- listener addresses, as kong.conf writes them ---- */

struct listen_addr {
    char host[256]; /* "0.0.0.0", "::" */
    uint16_t port;
    bool ssl, http2, proxy_protocol;
    bool reuseport; /* accepted as in kong.conf; changes nothing: sockets of workers always share their port */
    int backlog;    /* 0: as the program likes */
};

/*
 * "0.0.0.0:8000, [::]:8443 ssl http2 backlog=4096" or "off" (n_out 0).
 * *out is malloc'ed.
 */
int listen_parse(const char *text, struct listen_addr **out, size_t *n_out, struct err *e) WEIR_MUSTCHECK;

#endif
