#include "controlplane/nodes.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/checks.h"
#include "common/clock.h"
#include "common/entities.h"

struct node {
    struct uuid id;
    char *hostname, *ip, *version, *build;
    json_t *labels;
    int64_t cert_expiry_s;
    uint64_t session; /* of the connection that owns the row; 0: disconnected */
    uint64_t applied_version;
    struct state_hash applied_hash;
    uint32_t compile_us;
    uint64_t seen_us, updated_us; /* wall */
    json_t *error;                /* NULL: none */
    uint64_t error_version;
    struct state_hash error_hash; /* what it held when it refused */
};

struct nodes {
    pthread_mutex_t lock;
    struct node **rows; /* by id */
    size_t n, cap;
    uint64_t head;
};

struct nodes *nodes_new(void)
{
    struct nodes *n = xcalloc(1, sizeof(*n));

    pthread_mutex_init(&n->lock, NULL);
    return n;
}

static void node_free(struct node *r)
{
    free(r->hostname);
    free(r->ip);
    free(r->version);
    free(r->build);
    json_decref(r->labels);
    json_decref(r->error);
    free(r);
}

void nodes_free(struct nodes **np)
{
    struct nodes *n = *np;

    *np = NULL;
    if (!n)
        return;
    for (size_t i = 0; i < n->n; i++)
        node_free(n->rows[i]);
    free(n->rows);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* Index of id, or where it belongs. */
static size_t place_of(const struct nodes *n, const struct uuid *id, bool *found_out)
{
    size_t lo = 0, hi = n->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = memcmp(&n->rows[mid]->id, id, sizeof(*id));

        if (c == 0) {
            *found_out = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found_out = false;
    return lo;
}

/* The row, when this session owns it. Lock held. */
static struct node *owned(struct nodes *n, const struct uuid *id, uint64_t session)
{
    bool found;
    size_t at = place_of(n, id, &found);

    return found && n->rows[at]->session == session ? n->rows[at] : NULL;
}

static void remove_at(struct nodes *n, size_t at)
{
    node_free(n->rows[at]);
    n->n--;
    memmove(n->rows + at, n->rows + at + 1, (n->n - at) * sizeof(*n->rows));
}

static bool is_expired(const struct node *r, uint64_t now_us)
{
    return r->session == 0 && now_us > r->seen_us + NODES_TTL_SECONDS * 1000000ull;
}

/* Drops expired rows and, when full, the disconnected one that was seen longest ago. */
static void make_room(struct nodes *n)
{
    uint64_t now = clock_wall_us();
    size_t oldest;

    for (size_t i = n->n; i-- > 0;)
        if (is_expired(n->rows[i], now))
            remove_at(n, i);
    if (n->n < NODES_MAX)
        return;
    for (size_t i = oldest = n->n; i-- > 0;)
        if (n->rows[i]->session == 0 &&
            (oldest == n->n || n->rows[i]->seen_us < n->rows[oldest]->seen_us))
            oldest = i;
    if (oldest < n->n)
        remove_at(n, oldest);
}

static struct node *insert(struct nodes *n, const struct uuid *id)
{
    bool found;
    size_t at;
    struct node *r;

    make_room(n);
    at = place_of(n, id, &found);
    if (n->n == n->cap) {
        n->cap = n->cap ? 2 * n->cap : 16;
        n->rows = xrealloc(n->rows, n->cap * sizeof(*n->rows));
    }
    memmove(n->rows + at + 1, n->rows + at, (n->n - at) * sizeof(*n->rows));
    n->n++;
    r = n->rows[at] = xcalloc(1, sizeof(*r));
    r->id = *id;
    return r;
}

void nodes_head(struct nodes *n, uint64_t version)
{
    pthread_mutex_lock(&n->lock);
    n->head = version;
    pthread_mutex_unlock(&n->lock);
}

static void set_text(char **at, struct str s)
{
    free(*at);
    *at = str_dup(s);
}

/* "key:value" texts to an object; one without a colon is a key with "". */
static json_t *labels_object(const struct str *labels, size_t n)
{
    json_t *o = json_object();

    for (size_t i = 0; i < n; i++) {
        size_t colon = str_find(labels[i], ':');
        size_t rest = colon < labels[i].len ? colon + 1 : colon;
        char *key = str_dup(str_n(labels[i].p, colon));
        json_t *value = json_stringn(labels[i].p + rest, labels[i].len - rest);

        if (value) /* NULL: not UTF-8 */
            json_object_set_new(o, key, value);
        free(key);
    }
    return o;
}

void nodes_connected(struct nodes *n, const struct node_hello *hello, uint64_t session)
{
    struct node *r;
    bool found;
    size_t at;

    pthread_mutex_lock(&n->lock);
    at = place_of(n, &hello->id, &found);
    r = found ? n->rows[at] : insert(n, &hello->id);
    set_text(&r->hostname, hello->hostname);
    set_text(&r->ip, hello->ip);
    set_text(&r->version, hello->version);
    set_text(&r->build, hello->build);
    json_decref(r->labels);
    r->labels = labels_object(hello->labels, hello->n_labels);
    r->cert_expiry_s = hello->cert_expiry_s;
    r->applied_version = hello->applied_version;
    r->applied_hash = hello->applied_hash;
    r->session = session;
    r->seen_us = r->updated_us = clock_wall_us();
    pthread_mutex_unlock(&n->lock);
}

void nodes_seen(struct nodes *n, const struct uuid *id, uint64_t session)
{
    struct node *r;

    pthread_mutex_lock(&n->lock);
    if ((r = owned(n, id, session)))
        r->seen_us = clock_wall_us();
    pthread_mutex_unlock(&n->lock);
}

void nodes_applied(struct nodes *n, const struct uuid *id, uint64_t session, uint64_t version,
                   const struct state_hash *hash, uint32_t compile_us)
{
    struct node *r;

    pthread_mutex_lock(&n->lock);
    if ((r = owned(n, id, session))) {
        r->applied_version = version;
        r->applied_hash = *hash;
        if (compile_us)
            r->compile_us = compile_us;
        r->seen_us = r->updated_us = clock_wall_us();
        /* a late word on what it already held does not take the refusal back */
        if (version >= r->error_version && !state_hash_eq(hash, &r->error_hash)) {
            json_decref(r->error);
            r->error = NULL;
        }
    }
    pthread_mutex_unlock(&n->lock);
}

void nodes_failed(struct nodes *n, const struct uuid *id, uint64_t session,
                  const struct node_error *error)
{
    const struct entity *ent = error->entity_type ? entity_by_type(error->entity_type) : NULL;
    /* a text that was cut to fit may end within a character */
    json_t *reason = json_stringn(error->reason.p, utf8_invalid_at(error->reason));
    char entity[UUID_TEXT_LEN + 1];
    uint64_t now = clock_wall_us();
    struct node *r;

    uuid_format(&error->entity, entity);
    pthread_mutex_lock(&n->lock);
    if ((r = owned(n, id, session))) {
        json_decref(r->error);
        r->error = json_pack("{s:O, s:s?, s:s?, s:I, s:I}", "message", reason, "entity_type",
                             ent ? ent->name : NULL, "entity_id",
                             error->entity_type ? entity : NULL, "version",
                             (json_int_t)error->version, "at", (json_int_t)(now / 1000000));
        r->error_version = error->version;
        r->error_hash = r->applied_hash;
        r->seen_us = r->updated_us = now;
    }
    pthread_mutex_unlock(&n->lock);
    json_decref(reason);
}

void nodes_disconnected(struct nodes *n, const struct uuid *id, uint64_t session)
{
    struct node *r;

    pthread_mutex_lock(&n->lock);
    if ((r = owned(n, id, session))) {
        r->session = 0;
        r->seen_us = clock_wall_us();
    }
    pthread_mutex_unlock(&n->lock);
}

/* ---- reading ---- */

static json_t *text(const char *s)
{
    json_t *v = json_string(s); /* NULL: not UTF-8 */

    return v ? v : json_string("");
}

/* Copies all the way: the reader's thread frees it while ours goes on. */
static json_t *row(const struct nodes *n, const struct node *r, uint64_t now_us)
{
    bool behind = r->applied_version < n->head;
    uint64_t until = r->seen_us / 1000000 + NODES_TTL_SECONDS, now_s = now_us / 1000000;
    char id[UUID_TEXT_LEN + 1], hash[65];

    uuid_format(&r->id, id);
    state_hash_hex(&r->applied_hash, hash);
    hash[32] = '\0'; /* as long as the reference's: zeros for an empty configuration */
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:s, s:o, s:{s:I}, s:[], s:I,"
        " s:b, s:I, s:I, s:I, s:I, s:o?}",
        "id", id, "ip", text(r->ip), "hostname", text(r->hostname), "version", text(r->version),
        "build", text(r->build), "config_hash", hash, "last_seen",
        (json_int_t)(r->seen_us / 1000000), "updated_at", (json_int_t)(r->updated_us / 1000000),
        "sync_status", "normal", "labels", json_deep_copy(r->labels), "cert_details", "expiry_timestamp",
        (json_int_t)r->cert_expiry_s, "rpc_capabilities", "ttl", (json_int_t)(until > now_s ? until - now_s : 0), "connected",
        r->session != 0, "config_version", (json_int_t)n->head, "applied_version",
        (json_int_t)r->applied_version, "behind",
        (json_int_t)(behind ? n->head - r->applied_version : 0), "compile_us",
        (json_int_t)r->compile_us, "last_error", json_deep_copy(r->error));
}

json_t *nodes_list(struct nodes *n)
{
    json_t *list = json_array();
    uint64_t now = clock_wall_us();

    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->n; i++)
        if (!is_expired(n->rows[i], now))
            json_array_append_new(list, row(n, n->rows[i], now));
    pthread_mutex_unlock(&n->lock);
    return list;
}

json_t *nodes_get(struct nodes *n, const struct uuid *id)
{
    json_t *found_row = NULL;
    uint64_t now = clock_wall_us();
    bool found;
    size_t at;

    pthread_mutex_lock(&n->lock);
    at = place_of(n, id, &found);
    if (found && !is_expired(n->rows[at], now))
        found_row = row(n, n->rows[at], now);
    pthread_mutex_unlock(&n->lock);
    return found_row;
}

void nodes_count(struct nodes *n, size_t *connected_out, size_t *current_out)
{
    *connected_out = *current_out = 0;
    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < n->n; i++)
        if (n->rows[i]->session != 0) {
            ++*connected_out;
            *current_out += n->rows[i]->applied_version == n->head;
        }
    pthread_mutex_unlock(&n->lock);
}
