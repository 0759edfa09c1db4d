/*
 * settings.c - see settings.h.
 *
 * Each source writes its text and its place into one slot per setting, the strongest source
 * first: flags, environment, file. Only then are the texts that won converted, so a bad
 * value that something stronger overrides does no harm.
 */
#include "common/settings.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX_BYTES (1u << 20)
#define NAME_MAX_LEN   64
#define WRAP_COLUMNS   96

extern char **environ;

struct slot {
    const char *text;       /* NULL: nobody said anything */
    const char *place;      /* "--proxy-listen", "WEIR_PROXY_LISTEN", "weir.conf:3" */
    const char *file_place; /* where the file sets it, even when something stronger does too */
};

/* Texts live as long as the process; the list keeps them in sight of leak checkers. */
struct kept {
    struct kept *next;
    char text[];
};
static struct kept *kept_texts;

static const char *keep(struct str s)
{
    struct kept *k = xmalloc(sizeof(*k) + s.len + 1);

    if (s.len)
        memcpy(k->text, s.p, s.len);
    k->text[s.len] = '\0';
    k->next = kept_texts;
    kept_texts = k;
    return k->text;
}

/* keep(), for what was built on the heap. */
static const char *keep_take(char *text)
{
    const char *copy = keep(str_of(text));

    free(text);
    return copy;
}

struct load {
    const struct settings_source *src;
    size_t n;
    struct slot *slots;
    const char *config_path;
};

static size_t table_len(const struct setting *table)
{
    size_t n = 0;

    while (table[n].name)
        n++;
    return n;
}

/* ---- names ---- */

/* How many letters must be added, removed or changed; counts up to limit. */
static unsigned edit_distance(struct str a, struct str b)
{
    unsigned row[NAME_MAX_LEN + 1];

    if (a.len > NAME_MAX_LEN || b.len > NAME_MAX_LEN)
        return UINT32_MAX;
    for (unsigned j = 0; j <= b.len; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            unsigned best = corner + (a.p[i - 1] != b.p[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.len];
}

/* The setting a mistyped name probably means, or NULL. */
static const struct setting *closest(const struct settings_source *src, struct str name)
{
    for (const struct setting *s = src->table; s->name; s++)
        if (edit_distance(name, str_of(s->name)) <= 2)
            return s;
    return NULL;
}

/* NAME in the spelling of the table: lower case, underscores. */
static struct str canonical(struct str name, char buf[NAME_MAX_LEN])
{
    size_t n = size_min(name.len, NAME_MAX_LEN);

    for (size_t i = 0; i < n; i++)
        buf[i] = name.p[i] == '-' ? '_' : ascii_lower(name.p[i]);
    return str_n(buf, n);
}

static struct slot *slot_find(struct load *l, struct str name, const struct setting **setting_out)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(name, str_of(l->src->table[i].name))) {
            *setting_out = &l->src->table[i];
            return &l->slots[i];
        }
    return NULL;
}

static void slot_set(struct slot *s, const char *text, const char *place)
{
    s->text = text;
    s->place = place;
}

static char *name_as(const char *prefix, struct str name, char sep, bool upper)
{
    struct sbuf b = {0};

    sbuf_adds(&b, prefix);
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i] == '_' ? sep : name.p[i];
        sbuf_addc(&b, upper ? (char)toupper((unsigned char)c) : c);
    }
    return sbuf_take(&b);
}

static int unknown(const struct settings_source *src, const char *place, struct str name,
                   const char *prefix, char sep, struct err *e)
{
    const struct setting *like = closest(src, name);
    char *shown = like ? name_as(prefix, str_of(like->name), sep, false) : NULL;

    err_set(e, ERR_INVALID, "unknown setting%s%s%s; %s --help lists them all",
            shown ? ", did you mean " : "", shown ? shown : "", shown ? "?" : "", src->program);
    free(shown);
    return err_in(e, place);
}

/* ---- flags ---- */

static bool is_flag(const char *arg)
{
    return arg[0] == '-' && arg[1] == '-' && arg[2] != '\0';
}

/*
 * Takes the flag at argv[*i] and the value behind it. Flags of yes/no settings stand alone
 * (--dry-run) or carry theirs with = (--dry-run=off).
 */
static int take_flag(struct load *l, int argc, char **argv, int *i, struct err *e)
{
    struct str arg = str_of(argv[*i] + 2), name = str_n(arg.p, str_find(arg, '='));
    bool has_value = name.len < arg.len, is_config;
    const char *value = has_value ? name.p + name.len + 1 : NULL;
    const struct setting *setting = NULL;
    char buf[NAME_MAX_LEN];
    struct slot *slot;

    name = canonical(name, buf);
    is_config = str_eq(name, STR("config"));
    slot = is_config ? NULL : slot_find(l, name, &setting);
    if (!slot && !is_config)
        return unknown(l->src, argv[*i], name, "--", '-', e);
    if (!has_value && setting && setting->type == ST_BOOL) {
        value = "on";
    } else if (!has_value) {
        if (*i + 1 >= argc)
            return err_set(e, ERR_INVALID, "%s: expected a value behind it", argv[*i]);
        value = argv[++*i];
    }
    if (is_config)
        l->config_path = value;
    else
        slot_set(slot, keep(str_of(value)), keep_take(name_as("--", name, '-', false)));
    return 0;
}

/* ---- environment ---- */

static void take_environment(struct load *l)
{
    static const struct str prefix = {"WEIR_", 5};

    for (char **at = environ; *at; at++) {
        struct str entry = str_of(*at), name;
        const struct setting *setting;
        char buf[NAME_MAX_LEN];
        struct slot *slot;
        size_t eq = str_find(entry, '=');

        if (!str_starts(entry, prefix) || eq + 1 >= entry.len)
            continue; /* an empty variable counts as unset */
        name = canonical(str_n(entry.p + prefix.len, eq - prefix.len), buf);
        if (str_eq(name, STR("config"))) {
            if (!l->config_path)
                l->config_path = entry.p + eq + 1;
            continue;
        }
        slot = slot_find(l, name, &setting);
        if (slot) {
            if (!slot->text)
                slot_set(slot, keep(str_of(entry.p + eq + 1)), keep(str_n(entry.p, eq)));
        } else if ((setting = closest(l->src, name))) {
            /* Other programs' settings share the prefix, so this is no error. */
            char *meant = name_as("WEIR_", str_of(setting->name), '_', true);
            fprintf(stderr, "%s: ignoring " STR_FMT ", did you mean %s?\n", l->src->program,
                    (int)eq, entry.p, meant);
            free(meant);
        }
    }
}

/* ---- file ---- */

static char *read_small_file(const char *path, struct err *e)
{
    struct sbuf b = {0};
    FILE *f = fopen(path, "re");
    size_t n;

    if (!f) {
        err_sys(e, "cannot read %s (from --config or WEIR_CONFIG)", path);
        return NULL;
    }
    do {
        n = fread(sbuf_reserve(&b, 4096), 1, 4096, f);
        b.len += n;
    } while (n && b.len <= FILE_MAX_BYTES);
    if (ferror(f))
        err_sys(e, "cannot read %s", path);
    else if (b.len > FILE_MAX_BYTES)
        err_set(e, ERR_LIMIT, "%s: expected at most %u bytes", path, FILE_MAX_BYTES);
    else if (b.len && memchr(b.p, '\0', b.len))
        err_set(e, ERR_INVALID, "%s: expected text, found a NUL byte", path);
    else
        n = 1;
    fclose(f);
    if (n)
        return sbuf_take(&b);
    sbuf_free(&b);
    return NULL;
}

/* Without its comment (from a # at the start or behind white space; \# is a #) and quotes. */
static const char *file_value(struct str raw)
{
    struct sbuf b = {0};
    const char *text;

    for (size_t i = 0; i < raw.len; i++) {
        if (raw.p[i] == '\\' && i + 1 < raw.len && raw.p[i + 1] == '#')
            i++;
        else if (raw.p[i] == '#' && (i == 0 || raw.p[i - 1] == ' ' || raw.p[i - 1] == '\t'))
            break;
        sbuf_addc(&b, raw.p[i]);
    }
    raw = str_trim(sbuf_str(&b));
    if (raw.len >= 2 && (raw.p[0] == '"' || raw.p[0] == '\'') && raw.p[raw.len - 1] == raw.p[0])
        raw = str_n(raw.p + 1, raw.len - 2);
    text = keep(raw);
    sbuf_free(&b);
    return text;
}

static int take_line(struct load *l, struct str line, const char *place, struct err *e)
{
    const struct setting *setting;
    char buf[NAME_MAX_LEN];
    struct slot *slot;
    struct str name;
    size_t eq;

    if (line.len && line.p[line.len - 1] == '\r')
        line.len--;
    line = str_trim(line);
    if (line.len == 0 || line.p[0] == '#')
        return 0;
    eq = str_find(line, '=');
    name = str_trim(str_n(line.p, eq));
    if (eq == line.len || name.len == 0 || name.len > NAME_MAX_LEN) {
        err_set(e, ERR_INVALID, "expected NAME = VALUE or a # comment");
        return err_in(e, place);
    }
    name = canonical(name, buf);
    slot = slot_find(l, name, &setting);
    if (!slot) {
        struct sbuf where = {0};
        sbuf_addf(&where, "%s: '" STR_FMT "'", place, STR_ARG(name));
        unknown(l->src, where.p, name, "", '_', e);
        sbuf_free(&where);
        return -1;
    }
    if (slot->file_place) {
        err_set(e, ERR_INVALID, "'%s' is set twice, first at %s", setting->name, slot->file_place);
        return err_in(e, place);
    }
    slot->file_place = keep(str_of(place));
    if (!slot->text)
        slot_set(slot, file_value(str_n(line.p + eq + 1, line.len - eq - 1)), slot->file_place);
    return 0;
}

static int take_file(struct load *l, const char *path, struct err *e)
{
    char *text = read_small_file(path, e), place[512];
    struct str rest, line;
    size_t number = 0;
    int rc = 0;

    if (!text)
        return -1;
    rest = str_of(text);
    while (rc == 0 && str_next(&rest, '\n', &line)) {
        snprintf(place, sizeof(place), "%s:%zu", path, ++number);
        rc = take_line(l, line, place, e);
    }
    free(text);
    return rc;
}

/* ---- values ---- */

static bool parse_bool(const char *text, bool *out)
{
    static const char *const words[2][4] = {{"off", "false", "no", "0"},
                                            {"on", "true", "yes", "1"}};

    for (int v = 0; v < 2; v++)
        for (size_t i = 0; i < ARRAY_LEN(words[v]); i++)
            if (str_ieq(str_of(text), str_of(words[v][i]))) {
                *out = v;
                return true;
            }
    return false;
}

/* Times and sizes in the unit a reader would choose; exact. */
static void show_scaled(const struct setting *s, uint64_t v, char *out, size_t cap)
{
    static const struct {
        const char *word;
        uint64_t factor;
    } times[] = {{"h", 3600000000u}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1}},
      bytes[] = {{"g", 1u << 30}, {"m", 1u << 20}, {"k", 1u << 10}, {"", 1}};
    bool is_time = s->type == ST_DURATION;

    for (size_t i = 0; i < (is_time ? ARRAY_LEN(times) : ARRAY_LEN(bytes)); i++) {
        uint64_t factor = is_time ? times[i].factor : bytes[i].factor;
        if (v % factor == 0 && (v != 0 || factor == (is_time ? 1000000u : 1u))) {
            snprintf(out, cap, "%llu%s", (unsigned long long)(v / factor),
                     is_time ? times[i].word : bytes[i].word);
            return;
        }
    }
}

static void show_bound(const struct setting *s, double bound, char *out, size_t cap)
{
    if (s->type == ST_INT)
        snprintf(out, cap, "%.0f", bound);
    else
        show_scaled(s, (uint64_t)bound, out, cap);
}

static int check_range(const struct setting *s, double v, struct err *e)
{
    char low[32], high[32];

    if ((s->min == 0 && s->max == 0) || (v >= s->min && v <= s->max))
        return 0;
    show_bound(s, s->min, low, sizeof(low));
    show_bound(s, s->max, high, sizeof(high));
    return err_set(e, ERR_INVALID, "expected a value from %s to %s", low, high);
}

static int convert_enum(const struct setting *s, const char *text, int *out, struct err *e)
{
    struct sbuf b = {0};

    for (int i = 0; s->words[i]; i++)
        if (str_ieq(str_of(text), str_of(s->words[i]))) {
            *out = i;
            return 0;
        }
    for (int i = 0; s->words[i]; i++)
        sbuf_addf(&b, "%s%s", i ? ", " : "", s->words[i]);
    err_set(e, ERR_INVALID, "expected one of: %s", b.p ? b.p : "");
    sbuf_free(&b);
    return -1;
}

static int convert(const struct setting *s, const char *text, void *out, struct err *e)
{
    void *member = (char *)out + s->off;
    int64_t number;

    switch (s->type) {
    case ST_TEXT: *(const char **)member = text; return 0;
    case ST_INT:
        if (!str_to_i64(str_of(text), &number))
            return err_set(e, ERR_INVALID, "expected a whole number");
        *(int64_t *)member = number;
        return check_range(s, (double)number, e);
    case ST_BOOL:
        if (!parse_bool(text, member))
            return err_set(e, ERR_INVALID, "expected on or off");
        return 0;
    case ST_DURATION:
        if (duration_parse(text, member, e) != 0)
            return -1;
        return check_range(s, (double)*(uint64_t *)member, e);
    case ST_SIZE:
        if (size_parse(text, member, e) != 0)
            return -1;
        return check_range(s, (double)*(uint64_t *)member, e);
    case ST_ENUM: return convert_enum(s, text, member, e);
    }
    WEIR_UNREACHABLE("setting type");
}

/* What an absent value means for types that have no empty text. */
static const char *default_text(const struct setting *s)
{
    if (s->dflt)
        return s->dflt;
    switch (s->type) {
    case ST_TEXT: return "";
    case ST_BOOL: return "off";
    case ST_ENUM: return s->words[0];
    case ST_INT:
    case ST_DURATION:
    case ST_SIZE: return "0";
    }
    WEIR_UNREACHABLE("setting type");
}

static int fill(struct load *l, void *out, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct setting *s = &l->src->table[i];
        const char *text = l->slots[i].text ? l->slots[i].text : default_text(s);
        struct err why = {0};
        char step[700];

        if (convert(s, text, out, &why) == 0 &&
            (!s->check || text[0] == '\0' || s->check(text, &why) == 0))
            continue;
        snprintf(step, sizeof(step), "%s = '%.100s' (%s)", s->name, text,
                 l->slots[i].place ? l->slots[i].place : "default");
        err_set(e, ERR_INVALID, "%s", err_text(&why));
        return err_in(e, step);
    }
    return 0;
}

/* ---- help ---- */

static const char *value_hint(const struct setting *s)
{
    switch (s->type) {
    case ST_TEXT: return " TEXT";
    case ST_INT: return " N";
    case ST_BOOL: return "";
    case ST_DURATION: return " TIME";
    case ST_SIZE: return " SIZE";
    case ST_ENUM: return " WORD";
    }
    WEIR_UNREACHABLE("setting type");
}

/* Words of text, broken at WRAP_COLUMNS, each line indented. */
static void print_wrapped(const char *text, int indent)
{
    struct str rest = str_of(text), word;
    int column = 0;

    while (str_next(&rest, ' ', &word)) {
        if (column && column + 1 + (int)word.len > WRAP_COLUMNS) {
            putchar('\n');
            column = 0;
        }
        column += column ? printf(" " STR_FMT, STR_ARG(word))
                         : printf("%*s" STR_FMT, indent, "", STR_ARG(word));
    }
    putchar('\n');
}

/* What follows the sentence: the words or bounds, and the default. */
static char *describe(const struct setting *s)
{
    struct sbuf b = {0};
    char low[32], high[32];

    if (s->type == ST_ENUM)
        for (int i = 0; s->words[i]; i++)
            sbuf_addf(&b, "%s%s", i ? ", " : "One of: ", s->words[i]);
    if (s->min != 0 || s->max != 0) {
        show_bound(s, s->min, low, sizeof(low));
        show_bound(s, s->max, high, sizeof(high));
        sbuf_addf(&b, "From %s to %s", low, high);
    }
    if (b.len)
        sbuf_adds(&b, ". ");
    if (s->type == ST_TEXT && !default_text(s)[0])
        sbuf_adds(&b, "Default: none.");
    else
        sbuf_addf(&b, "Default: %s.", default_text(s));
    return sbuf_take(&b);
}

static void print_help(const struct settings_source *src)
{
    struct str first = str_of(src->table[0].name ? src->table[0].name : "config");
    char *flag_form = name_as("--", first, '-', false),
         *variable = name_as("WEIR_", first, '_', true);
    struct sbuf intro = {0};

    printf("%s - %s\n\n", src->program, src->about);
    sbuf_addf(&intro,
              "Every setting has one name and three places, of which the first that has it wins: "
              "%s on the command line, %s in the environment, %s = ... in the file of --config.",
              flag_form, variable, first.p);
    print_wrapped(intro.p, 0);
    sbuf_free(&intro);
    free(flag_form);
    free(variable);
    printf("\n  --config FILE\n");
    print_wrapped("Reads settings from FILE: lines of NAME = VALUE, # starts a comment.", 6);
    for (const struct setting *s = src->table; s->name; s++) {
        char *flag = name_as("--", str_of(s->name), '-', false), *more = describe(s);
        struct sbuf doc = {0};

        printf("  %s%s\n", flag, value_hint(s));
        sbuf_addf(&doc, "%s %s", s->doc, more);
        print_wrapped(doc.p, 6);
        sbuf_free(&doc);
        free(flag);
        free(more);
    }
    printf("  --version\n  --help\n");
}

void settings_print_docs(const struct settings_source *src, struct sbuf *out)
{
    sbuf_addf(out, "## %s\n\n%s\n\n", src->program, src->about);
    sbuf_adds(out, "| setting | flag | environment | default | meaning |\n");
    sbuf_adds(out, "| --- | --- | --- | --- | --- |\n");
    for (const struct setting *s = src->table; s->name; s++) {
        char *flag = name_as("--", str_of(s->name), '-', false);
        char *variable = name_as("WEIR_", str_of(s->name), '_', true);

        sbuf_addf(out, "| `%s` | `%s%s` | `%s` | ", s->name, flag, value_hint(s), variable);
        if (default_text(s)[0])
            sbuf_addf(out, "`%s`", default_text(s));
        sbuf_addf(out, " | %s", s->doc);
        if (s->type == ST_ENUM)
            for (int i = 0; s->words[i]; i++)
                sbuf_addf(out, "%s`%s`", i ? ", " : " One of: ", s->words[i]);
        sbuf_adds(out, " |\n");
        free(flag);
        free(variable);
    }
    sbuf_addc(out, '\n');
}

/* ---- all of it ---- */

/* Returns 1 when --help or --version was printed. */
static int take_arguments(struct load *l, int *argc, char **argv, bool operands, struct err *e)
{
    int kept = 1;
    bool flags_end = false;

    for (int i = 1; i < *argc; i++) {
        const char *arg = argv[i];

        if (!flags_end && strcmp(arg, "--") == 0) {
            flags_end = true;
        } else if (!flags_end && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            print_help(l->src);
            return 1;
        } else if (!flags_end && strcmp(arg, "--version") == 0) {
            printf("%s " WEIR_VERSION "\n", l->src->program);
            return 1;
        } else if (!flags_end && is_flag(arg)) {
            if (take_flag(l, *argc, argv, &i, e) != 0)
                return -1;
        } else if (operands && (flags_end || arg[0] != '-' || arg[1] == '\0')) {
            argv[kept++] = argv[i];
        } else {
            return err_set(e, ERR_INVALID, "%s: unexpected argument; %s --help lists the settings",
                           arg, l->src->program);
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

int settings_load(const struct settings_source *src, int *argc, char **argv, bool operands,
                  void *out, struct err *e)
{
    size_t n = table_len(src->table);
    struct load l = {.src = src, .n = n, .slots = xcalloc(n + 1, sizeof(struct slot))};
    int rc = take_arguments(&l, argc, argv, operands, e);

    if (rc == 0) {
        take_environment(&l);
        if (l.config_path && l.config_path[0])
            rc = take_file(&l, l.config_path, e);
    }
    if (rc == 0)
        rc = fill(&l, out, e);
    free(l.slots);
    return rc;
}
