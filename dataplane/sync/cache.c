#include "dataplane/sync/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define FORMAT         1u
#define SUM            32u                     /* SHA-256 */
#define SNAPSHOT_HEAD  88u                     /* magic, format, cluster, epoch, version, hash, length */
#define JOURNAL_HEAD   48u                     /* magic, format, sum of the snapshot */
#define ENTRY_HEAD     56u                     /* length, from, to, hash */
#define JOURNAL_MIN    (256u * 1024u)          /* below this a new snapshot is not worth it */
#define FILE_MAX       (8ull << 30)

static const char snapshot_magic[8] = "WEIRSNAP", journal_magic[8] = "WEIRJRNL";

struct cache {
    char *snapshot, *journal, *dir;
    unsigned interval_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    bool stop, hurry, busy;
    uint64_t written_us;

    /* to be written: a snapshot, and then what came after it */
    bool has_full;
    struct sbuf full, batch;
    struct cache_state full_state;
    uint64_t put_version; /* of the newest of it */
    bool wants_full;

    /* what is on disk */
    bool has_base;
    unsigned char base[SUM];
    uint64_t base_bytes, journal_bytes;
    uint64_t saved_version;
};

/* ---- bytes ---- */

static void put_u64(unsigned char *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (unsigned char)v;
}

static uint64_t get_u64(const unsigned char *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static void digest(const void *a, size_t a_len, const void *b, size_t b_len, unsigned char out[SUM])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    WEIR_ASSERT(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(ctx, a, a_len) == 1 && EVP_DigestUpdate(ctx, b, b_len) == 1 &&
                EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
}

static void put_magic(unsigned char *p, const char magic[8])
{
    memcpy(p, magic, 8);
    put_u64(p + 8, FORMAT);
}

static bool has_magic(const unsigned char *p, const char magic[8])
{
    return memcmp(p, magic, 8) == 0 && get_u64(p + 8) == FORMAT;
}

static void encode_snapshot_head(unsigned char h[SNAPSHOT_HEAD], const struct cache_state *s,
                                 uint64_t len)
{
    put_magic(h, snapshot_magic);
    memcpy(h + 16, s->cluster.b, 16);
    put_u64(h + 32, s->epoch);
    put_u64(h + 40, s->version);
    state_hash_bytes(&s->hash, h + 48);
    put_u64(h + 80, len);
}

static void append_entry(struct sbuf *out, const struct cache_state *s, uint64_t from,
                         struct str list)
{
    unsigned char h[ENTRY_HEAD], sum[SUM];

    put_u64(h, list.len);
    put_u64(h + 8, from);
    put_u64(h + 16, s->version);
    state_hash_bytes(&s->hash, h + 24);
    digest(h, sizeof(h), list.p, list.len, sum);
    sbuf_add(out, h, sizeof(h));
    sbuf_add(out, list.p, list.len);
    sbuf_add(out, sum, sizeof(sum));
}

/* ---- writing ---- */

static int write_all(int fd, const void *p, size_t len, off_t at)
{
    const char *from = p;

    while (len > 0) {
        ssize_t n = pwrite(fd, from, len, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        from += n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

    if (fd < 0)
        return -1;
    rc = fsync(fd);
    close(fd);
    return rc;
}

static int write_snapshot(struct cache *c, const struct cache_state *state, struct str list,
                          unsigned char sum[SUM], struct err *e)
{
    unsigned char head[SNAPSHOT_HEAD];
    char temp[PATH_MAX];
    int fd;
    bool ok;

    if (snprintf(temp, sizeof(temp), "%s.tmp", c->snapshot) >= (int)sizeof(temp))
        return err_set(e, ERR_INVALID, "'%s' is too long a path", c->snapshot);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, "cannot make '%s'", temp);
    encode_snapshot_head(head, state, list.len);
    digest(head, sizeof(head), list.p, list.len, sum);
    ok = write_all(fd, head, sizeof(head), 0) == 0 &&
         write_all(fd, list.p, list.len, sizeof(head)) == 0 &&
         write_all(fd, sum, SUM, (off_t)(sizeof(head) + list.len)) == 0 && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(temp, c->snapshot) != 0 || sync_dir(c->dir) != 0) {
        err_sys(e, "cannot write '%s'", c->snapshot);
        unlink(temp);
        return -1;
    }
    unlink(c->journal); /* were it left, its sum would not fit */
    return 0;
}

static int append_journal(struct cache *c, const unsigned char base[SUM], uint64_t at,
                          struct str batch, struct err *e)
{
    int fd = open(c->journal, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    unsigned char head[JOURNAL_HEAD];
    bool ok = fd >= 0;

    if (ok && at == JOURNAL_HEAD) {
        put_magic(head, journal_magic);
        memcpy(head + 16, base, SUM);
        ok = write_all(fd, head, sizeof(head), 0) == 0;
    }
    ok = ok && write_all(fd, batch.p, batch.len, (off_t)at) == 0 &&
         ftruncate(fd, (off_t)(at + batch.len)) == 0 && fdatasync(fd) == 0;
    if (!ok)
        err_sys(e, "cannot write '%s'", c->journal);
    if (fd >= 0)
        close(fd);
    return ok ? 0 : -1;
}

/* Writes what is due. The lock is held, but not while the disk works. */
static void write_out(struct cache *c)
{
    struct sbuf full = c->full, batch = c->batch;
    struct cache_state state = c->full_state;
    bool has_full = c->has_full, ok = true;
    uint64_t at = c->journal_bytes, version = c->put_version;
    unsigned char base[SUM];
    struct err e = {0};

    memcpy(base, c->base, SUM);
    c->full = c->batch = (struct sbuf){0};
    c->has_full = false;
    c->busy = true;
    pthread_mutex_unlock(&c->lock);
    if (has_full) {
        ok = write_snapshot(c, &state, sbuf_str(&full), base, &e) == 0;
        at = JOURNAL_HEAD;
    }
    if (ok && batch.len > 0) {
        ok = append_journal(c, base, at, sbuf_str(&batch), &e) == 0;
        at += batch.len;
    }
    if (!ok)
        LOG_LIMITED(LOG_ERROR, "cache_write_failed", "error=\"%s\"", err_text(&e));
    pthread_mutex_lock(&c->lock);
    if (ok && has_full) {
        memcpy(c->base, base, SUM);
        c->has_base = true;
        c->base_bytes = full.len;
    }
    c->journal_bytes = at;
    if (ok) {
        c->saved_version = version;
    } else if (!c->has_full) { /* the journal would have a gap from here on: begin anew */
        c->has_base = false;
        c->wants_full = true;
        sbuf_clear(&c->batch);
    } /* else what has come since begins anew by itself */
    sbuf_free(&full);
    sbuf_free(&batch);
    c->busy = false;
    c->written_us = clock_mono_us();
    pthread_cond_broadcast(&c->idle);
}

static void *cache_main(void *arg)
{
    struct cache *c = arg;

    pthread_mutex_lock(&c->lock);
    for (;;) {
        bool work = c->has_full || c->batch.len > 0;
        uint64_t due = c->written_us + c->interval_ms * 1000ull;

        if (!work && c->stop)
            break;
        if (work && (c->stop || c->hurry || clock_mono_us() >= due)) {
            write_out(c);
        } else if (work) {
            struct timespec until = {.tv_sec = (time_t)(due / 1000000),
                                     .tv_nsec = (long)(due % 1000000) * 1000};

            pthread_cond_timedwait(&c->wake, &c->lock, &until);
        } else {
            pthread_cond_wait(&c->wake, &c->lock);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

void cache_put_full(struct cache *c, const struct cache_state *state, struct sbuf *list)
{
    pthread_mutex_lock(&c->lock);
    sbuf_free(&c->full);
    sbuf_clear(&c->batch); /* older than this */
    c->full = *list;
    c->full_state = *state;
    c->put_version = state->version;
    c->has_full = true;
    c->wants_full = false;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    *list = (struct sbuf){0};
}

void cache_put_delta(struct cache *c, const struct cache_state *state, uint64_t from,
                     struct str list)
{
    uint64_t whole, since;

    pthread_mutex_lock(&c->lock);
    if (!c->has_full && !c->has_base && !c->busy) {
        c->wants_full = true; /* nothing on disk to append to */
    } else {
        append_entry(&c->batch, state, from, list);
        c->put_version = state->version;
        whole = c->has_full ? c->full.len : c->base_bytes;
        since = c->batch.len + (c->has_full ? 0 : c->journal_bytes);
        if (since > JOURNAL_MIN && since > whole / 2)
            c->wants_full = true;
        pthread_cond_signal(&c->wake);
    }
    pthread_mutex_unlock(&c->lock);
}

bool cache_wants_full(struct cache *c)
{
    bool wants;

    pthread_mutex_lock(&c->lock);
    wants = c->wants_full;
    pthread_mutex_unlock(&c->lock);
    return wants;
}

uint64_t cache_saved_version(struct cache *c)
{
    uint64_t version;

    pthread_mutex_lock(&c->lock);
    version = c->saved_version;
    pthread_mutex_unlock(&c->lock);
    return version;
}

void cache_flush(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    c->hurry = true;
    pthread_cond_signal(&c->wake);
    while (c->has_full || c->batch.len > 0 || c->busy)
        pthread_cond_wait(&c->idle, &c->lock);
    c->hurry = false;
    pthread_mutex_unlock(&c->lock);
}

/* ---- reading ---- */

/* 1 with the bytes (free), 0 when there is no such file, -1 with e. */
static int read_file(const char *path, unsigned char **out, size_t *len_out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t at = 0;

    *out = NULL;
    if (fd < 0)
        return errno == ENOENT ? 0 : err_sys(e, "cannot read '%s'", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > FILE_MAX) {
        close(fd);
        return err_set(e, ERR_INVALID, "'%s': expected a file of at most %llu bytes", path,
                       (unsigned long long)FILE_MAX);
    }
    *len_out = (size_t)st.st_size;
    *out = xmalloc(*len_out + 1);
    while (at < *len_out) {
        ssize_t n = read(fd, *out + at, *len_out - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    close(fd);
    if (at == *len_out)
        return 1;
    free(*out);
    *out = NULL;
    return err_sys(e, "cannot read '%s'", path);
}

static int parse_snapshot(const char *path, const unsigned char *p, size_t len,
                          struct cache_state *out, struct records *r, struct err *e)
{
    unsigned char sum[SUM];
    struct records_undo undo;
    struct str list;

    if (len < SNAPSHOT_HEAD + SUM || !has_magic(p, snapshot_magic) ||
        get_u64(p + 80) != len - SNAPSHOT_HEAD - SUM)
        return err_set(e, ERR_INVALID, "'%s' is no whole snapshot of format %u", path, FORMAT);
    list = str_n((const char *)p + SNAPSHOT_HEAD, len - SNAPSHOT_HEAD - SUM);
    digest(p, SNAPSHOT_HEAD, list.p, list.len, sum);
    if (memcmp(sum, p + len - SUM, SUM) != 0)
        return err_set(e, ERR_INVALID, "'%s': its checksum does not fit", path);
    memcpy(out->cluster.b, p + 16, 16);
    out->epoch = get_u64(p + 32);
    out->version = get_u64(p + 40);
    state_hash_from_bytes(&out->hash, p + 48);
    if (records_try(r, list, &undo, e) != 0)
        return err_in(e, path);
    records_keep(&undo);
    if (!state_hash_eq(records_hash(r), &out->hash))
        return err_set(e, ERR_INVALID, "'%s': its records do not have the hash it states", path);
    return 0;
}

/* Applies one entry at the front of p; its length, or 0 when it is torn or does not fit. */
static size_t replay_entry(const unsigned char *p, size_t len, struct cache_state *state,
                           struct records *r)
{
    struct state_hash hash;
    struct records_undo undo;
    unsigned char sum[SUM];
    uint64_t n;

    if (len < ENTRY_HEAD + SUM || (n = get_u64(p)) > len - ENTRY_HEAD - SUM)
        return 0;
    digest(p, ENTRY_HEAD, p + ENTRY_HEAD, n, sum);
    if (memcmp(sum, p + ENTRY_HEAD + n, SUM) != 0 || get_u64(p + 8) != state->version)
        return 0;
    if (records_try(r, str_n((const char *)p + ENTRY_HEAD, n), &undo, NULL) != 0)
        return 0;
    state_hash_from_bytes(&hash, p + 24);
    if (!state_hash_eq(records_hash(r), &hash)) {
        records_undo(r, &undo);
        return 0;
    }
    records_keep(&undo);
    state->version = get_u64(p + 16);
    state->hash = hash;
    return ENTRY_HEAD + n + SUM;
}

/* Goes as far as the journal is good. Returns how far that is. */
static size_t replay(struct cache *c, struct cache_state *state, struct records *r)
{
    unsigned char *p = NULL;
    size_t len = 0, at = JOURNAL_HEAD, used;
    struct err e = {0};
    int rc = read_file(c->journal, &p, &len, &e);

    if (rc < 0)
        LOG(LOG_WARN, "cache_journal_unreadable", "error=\"%s\"", err_text(&e));
    if (p && len >= JOURNAL_HEAD && has_magic(p, journal_magic) &&
        memcmp(p + 16, c->base, SUM) == 0) {
        while (at < len && (used = replay_entry(p + at, len - at, state, r)) > 0)
            at += used;
        if (at < len)
            LOG(LOG_WARN, "cache_journal_cut", "file=%s good=%zu bytes=%zu version=%llu",
                c->journal, at, len, (unsigned long long)state->version);
    }
    free(p);
    return at;
}

static void put_aside(const char *path, const struct err *e)
{
    char bad[PATH_MAX];

    LOG(LOG_ERROR, "cache_damaged", "file=%s error=\"%s\" action=\"kept aside as .bad\"", path,
        err_text(e));
    if (snprintf(bad, sizeof(bad), "%s.bad", path) >= (int)sizeof(bad) || rename(path, bad) != 0)
        LOG(LOG_ERROR, "cache_not_put_aside", "file=%s", path);
}

int cache_load(struct cache *c, struct cache_state *out, struct records **records_out)
{
    struct records *r;
    unsigned char *p = NULL;
    size_t len = 0;
    struct err e = {0};
    int rc = read_file(c->snapshot, &p, &len, &e);

    *records_out = NULL;
    if (rc < 0)
        put_aside(c->snapshot, &e);
    if (!p)
        return 0;
    r = records_new();
    if (parse_snapshot(c->snapshot, p, len, out, r, &e) != 0) {
        put_aside(c->snapshot, &e);
        records_free(&r);
        free(p);
        return 0;
    }
    pthread_mutex_lock(&c->lock);
    memcpy(c->base, p + len - SUM, SUM);
    c->has_base = true;
    c->base_bytes = len;
    c->journal_bytes = replay(c, out, r);
    c->saved_version = out->version;
    pthread_mutex_unlock(&c->lock);
    free(p);
    *records_out = r;
    return 1;
}

/* ---- life ---- */

struct cache *cache_open(const char *data_dir, unsigned interval_ms)
{
    struct cache *c = xcalloc(1, sizeof(*c));
    struct sbuf b = {0};
    pthread_condattr_t mono;

    sbuf_addf(&b, "%s/snapshot.weir", data_dir);
    c->snapshot = sbuf_take(&b);
    sbuf_addf(&b, "%s/snapshot.journal", data_dir);
    c->journal = sbuf_take(&b);
    c->dir = xstrdup(data_dir);
    c->interval_ms = interval_ms;
    c->journal_bytes = JOURNAL_HEAD;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &mono);
    pthread_cond_init(&c->idle, &mono);
    pthread_condattr_destroy(&mono);
    if (pthread_create(&c->thread, NULL, cache_main, c) != 0)
        WEIR_UNREACHABLE("no thread for the cache");
    return c;
}

void cache_close(struct cache **cp)
{
    struct cache *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    sbuf_free(&c->full);
    sbuf_free(&c->batch);
    pthread_cond_destroy(&c->wake);
    pthread_cond_destroy(&c->idle);
    pthread_mutex_destroy(&c->lock);
    free(c->snapshot);
    free(c->journal);
    free(c->dir);
    free(c);
}
