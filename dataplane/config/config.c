/* config.c - a version's indexes: sharing them, and every lookup that a request makes. */
#include "dataplane/config/config_priv.h"

/* ---- keys ---- */

static struct str key_id(const struct obj *o)
{
    return uuid_key(&((const struct ent_obj *)o)->id);
}

static struct str key_username(const struct obj *o)
{
    return ((const struct o_consumer *)o)->c.def.username;
}

static struct str key_custom_id(const struct obj *o)
{
    return ((const struct o_consumer *)o)->c.def.custom_id;
}

static struct str key_credential(const struct obj *o)
{
    return ((const struct o_credential *)o)->c.def.key;
}

static struct str key_upstream(const struct obj *o)
{
    return ((const struct o_upstream *)o)->c.def.name;
}

static struct str key_sni(const struct obj *o)
{
    return ((const struct o_sni *)o)->def.name;
}

static struct str key_owner(const struct obj *o)
{
    return uuid_key(&((const struct set_obj *)o)->owner);
}

const struct pmap_type map_types[MAP_COUNT] = {
    [MAP_ROUTES] = {key_id, true},
    [MAP_SERVICES] = {key_id, true},
    [MAP_CONSUMERS] = {key_id, true},
    [MAP_CREDENTIALS] = {key_id, true},
    [MAP_PLUGINS] = {key_id, true},
    [MAP_UPSTREAMS] = {key_id, true},
    [MAP_TARGETS] = {key_id, true},
    [MAP_CERTIFICATES] = {key_id, true},
    [MAP_SNIS] = {key_id, true},
    [MAP_CA_CERTIFICATES] = {key_id, true},
    [MAP_TICKET_KEYS] = {key_id, true},
    [MAP_ASKING_ROUTES] = {key_id, false},
    [MAP_CONSUMER_NAMES] = {key_username, false},
    [MAP_CONSUMER_CUSTOM_IDS] = {key_custom_id, false},
    [MAP_CREDENTIAL_KEYS] = {key_credential, false},
    [MAP_UPSTREAM_NAMES] = {key_upstream, false},
    [MAP_SNI_NAMES] = {key_sni, false},
    [MAP_PLUGINS_OF] = {key_owner, true},
    [MAP_ROUTES_OF] = {key_owner, true},
    [MAP_TARGETS_OF] = {key_owner, true},
    [MAP_SERVICES_OF] = {key_owner, true},
};

static const struct pmap_type member_type = {.key = key_id};

static void set_fini(struct obj *o)
{
    pmap_drop(&((struct set_obj *)o)->members, &member_type);
}

static const struct obj_type set_type = {.name = "set", .fini = set_fini};

/* ---- roots ---- */

struct ent_obj *roots_get(const struct roots *r, enum map_id map, const struct uuid *id)
{
    return (struct ent_obj *)pmap_get(&r->m[map], &map_types[map], uuid_key(id));
}

const struct pmap *roots_set(const struct roots *r, enum map_id map, const struct uuid *owner)
{
    const struct obj *set = pmap_get(&r->m[map], &map_types[map], uuid_key(owner));

    return set ? &((const struct set_obj *)set)->members : NULL;
}

/* The set of owner, which nobody shares; made when there is none. */
static struct set_obj *set_own(struct roots *r, enum map_id map, const struct uuid *owner)
{
    struct obj **slot = pmap_own(&r->m[map], &map_types[map], uuid_key(owner));
    struct set_obj *old = (struct set_obj *)*slot, *set;

    if (old && old->o.refs == 1)
        return old;
    set = obj_new(&set_type, sizeof(*set));
    set->owner = *owner;
    if (old) {
        set->members = pmap_share(&old->members);
        obj_unref(&old->o);
    }
    *slot = &set->o;
    return set;
}

void roots_set_add(struct roots *r, enum map_id map, const struct uuid *owner,
                   struct ent_obj *member)
{
    pmap_put(&set_own(r, map, owner)->members, &member_type, &member->o);
}

void roots_set_remove(struct roots *r, enum map_id map, const struct uuid *owner,
                      struct ent_obj *member)
{
    const struct pmap *members = roots_set(r, map, owner);
    struct set_obj *set;

    if (!members || pmap_get(members, &member_type, uuid_key(&member->id)) != &member->o)
        return;
    set = set_own(r, map, owner);
    pmap_del(&set->members, &member_type, uuid_key(&member->id));
    if (set->members.n == 0)
        pmap_del(&r->m[map], &map_types[map], uuid_key(owner));
}

struct roots roots_share(const struct roots *r)
{
    struct roots out = *r;

    for (int i = 0; i < MAP_COUNT; i++)
        out.m[i] = pmap_share(&r->m[i]);
    obj_ref(out.global ? &out.global->o : NULL);
    obj_ref(out.auth ? &out.auth->o : NULL);
    obj_ref(out.tickets ? &out.tickets->o : NULL);
    out.router = router_share(&r->router);
    return out;
}

void roots_drop(struct roots *r)
{
    router_drop(&r->router); /* borrowers before owners */
    for (int i = MAP_COUNT; i-- > 0;)
        pmap_drop(&r->m[i], &map_types[i]);
    obj_unref(r->global ? &r->global->o : NULL);
    obj_unref(r->auth ? &r->auth->o : NULL);
    obj_unref(r->tickets ? &r->tickets->o : NULL);
    r->global = NULL;
    r->auth = NULL;
    r->tickets = NULL;
}

/* ---- looking up ---- */

uint64_t config_version(const struct config *c)
{
    return c->version;
}

struct config_stats config_stats(const struct config *c)
{
    return c->stats;
}

const struct chain *config_global_chain(const struct config *c)
{
    return &c->r.global->c;
}

const struct c_service *config_service(const struct config *c, const struct uuid *id)
{
    const struct ent_obj *o = roots_get(&c->r, MAP_SERVICES, id);

    return o ? &((const struct o_service *)o)->c : NULL;
}

const struct c_consumer *config_consumer(const struct config *c, const struct uuid *id)
{
    const struct ent_obj *o = roots_get(&c->r, MAP_CONSUMERS, id);

    return o ? &((const struct o_consumer *)o)->c : NULL;
}

const struct c_consumer *config_consumer_by_name(const struct config *c, struct str username)
{
    const struct obj *o =
        pmap_get(&c->r.m[MAP_CONSUMER_NAMES], &map_types[MAP_CONSUMER_NAMES], username);

    if (!o)
        o = pmap_get(&c->r.m[MAP_CONSUMER_CUSTOM_IDS], &map_types[MAP_CONSUMER_CUSTOM_IDS],
                     username);
    return o ? &((const struct o_consumer *)o)->c : NULL;
}

const struct c_credential *config_key(const struct config *c, struct str key, uint64_t wall_us)
{
    const struct obj *o =
        pmap_get(&c->r.m[MAP_CREDENTIAL_KEYS], &map_types[MAP_CREDENTIAL_KEYS], key);
    const struct c_credential *cred = o ? &((const struct o_credential *)o)->c : NULL;

    if (cred && cred->def.expires_at != INT_NULL &&
        cred->def.expires_at <= (int64_t)(wall_us / 1000000))
        return NULL;
    return cred;
}

const struct c_upstream *config_upstream(const struct config *c, const struct c_service *s)
{
    const struct pmap *names = &c->r.m[MAP_UPSTREAM_NAMES];
    const struct obj *o =
        names->n ? pmap_get(names, &map_types[MAP_UPSTREAM_NAMES], s->def.host) : NULL;

    if (o)
        return &((const struct o_upstream *)o)->c;
    return &((const struct o_service *)(const void *)((const char *)s -
                                                      offsetof(struct o_service, c)))
                ->single;
}

const struct chain *config_chain(const struct config *c, const struct c_route *r,
                                 const struct c_service *s)
{
    if (r && r->chain)
        return r->chain;
    return s && s->chain ? s->chain : &c->r.global->c;
}

const struct ticket_ring *config_ticket_keys(const struct config *c)
{
    return c->r.tickets ? &c->r.tickets->ring : NULL;
}

/* ---- server names ---- */

#define NAME_MAX_LEN 255

static SSL_CTX *sni_ctx(const struct config *c, struct str name)
{
    const struct obj *o = pmap_get(&c->r.m[MAP_SNI_NAMES], &map_types[MAP_SNI_NAMES], name);
    const struct ent_obj *cert;

    if (!o)
        return NULL;
    cert = roots_get(&c->r, MAP_CERTIFICATES, &((const struct o_sni *)o)->def.certificate);
    return cert ? ((const struct o_certificate *)cert)->ctx : NULL;
}

SSL_CTX *config_sni(const struct config *c, struct str name)
{
    char buf[NAME_MAX_LEN + 2];
    const char *first, *last;
    SSL_CTX *ctx;

    if (c->r.m[MAP_SNI_NAMES].n == 0)
        return NULL;
    if (name.len && name.len <= NAME_MAX_LEN) {
        for (size_t i = 0; i < name.len; i++)
            buf[i] = ascii_lower(name.p[i]);
        name.len -= buf[name.len - 1] == '.';
        if ((ctx = sni_ctx(c, str_n(buf, name.len))))
            return ctx;
        first = memchr(buf, '.', name.len);
        last = memrchr(buf, '.', name.len);
        if (first && first != last && first > buf) { /* three labels or more */
            char *star = buf + (first - buf) - 1, kept = *star;

            *star = '*';
            ctx = sni_ctx(c, str_n(star, name.len - (size_t)(star - buf)));
            *star = kept;
            if (ctx)
                return ctx;
        }
        if (last) {
            buf[last - buf + 1] = '*';
            if ((ctx = sni_ctx(c, str_n(buf, (size_t)(last - buf) + 2))))
                return ctx;
        }
    }
    return name.len ? sni_ctx(c, STR("*")) : NULL;
}
