/* test_calls.c - requests against a database of their own, without a socket: what is answered,
 * and what stands in the database afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin-api/admin.h"
#include "common/clock.h"
#include "common/pki.h"

static struct admin admin;
static char dir[64];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static bool written;

static void on_written(struct call *c)
{
    (void)c;
    pthread_mutex_lock(&lock);
    written = true;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&lock);
}

struct answer {
    int status;
    json_t *body; /* NULL: none, or not JSON */
};

/* "POST /services" with a JSON body ("{...}"), a form body, or none. */
static struct answer ask(const char *request, const char *body)
{
    struct call c = {.admin = &admin, .written = on_written};
    struct str line = str_of(request), method;
    struct answer a = {0};

    arena_init(&c.arena, 0, 0);
    assert_true(str_next(&line, ' ', &method));
    c.method = method_parse(method);
    if (body) {
        c.content_type = body[0] == '{' || body[0] == '['
                             ? STR("application/json")
                             : STR("application/x-www-form-urlencoded");
        sbuf_adds(&c.raw_body, body);
    }
    assert_true(call_parse_target(&c, line));
    written = false;
    if (admin_dispatch(&c) == CALL_WAIT) {
        pthread_mutex_lock(&lock);
        while (!written)
            pthread_cond_wait(&wake, &lock);
        pthread_mutex_unlock(&lock);
    }
    a.status = c.res.status;
    a.body = c.res.text ? json_loadb(c.res.text, c.res.len, 0, NULL) : NULL;
    call_fini(&c);
    return a;
}

static int open_admin(void **state)
{
    struct err e = {0};
    char path[96];

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/weir-calls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/weir.db", dir);
    if (store_open(path, &admin.store, &e) != 0)
        fail_msg("%s", err_text(&e));
    admin.nodes = nodes_new();
    admin.configuration = json_object();
    return 0;
}

static int close_admin(void **state)
{
    static const char *const files[] = {"weir.db", "weir.db-wal", "weir.db-shm", "weir.db.lock"};
    char path[96];

    (void)state;
    store_close(&admin.store);
    nodes_free(&admin.nodes);
    json_decref(admin.configuration);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir);
}

/* Members of want are in got, with the same values; "*" stands for any. */
static bool holds(const json_t *got, const json_t *want)
{
    const char *key;
    json_t *value;

    if (json_is_string(want) && strcmp(json_string_value(want), "*") == 0)
        return got && !json_is_null(got);
    if (!json_is_object(want))
        return json_equal(got, want);
    json_object_foreach(json_unconst(want), key,
                        value) if (!holds(json_object_get(got, key), value)) return false;
    return true;
}

struct step {
    const char *request, *body;
    int status;
    const char *want; /* a part of the answer, with ' for " */
    int writes;       /* versions it makes */
};

static json_t *parse(const char *text)
{
    char *copy = xstrdup(text);
    json_t *v;

    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    v = json_loads(copy, JSON_DECODE_ANY, NULL);
    free(copy);
    assert_non_null(v);
    return v;
}

static void run(const struct step *steps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct step *s = &steps[i];
        uint64_t before = store_info(admin.store).version;
        char *body = s->body ? xstrdup(s->body) : NULL;
        struct answer a;

        for (char *p = body; p && *p; p++)
            *p = *p == '\'' ? '"' : *p;
        a = ask(s->request, body);
        free(body);
        if (a.status != s->status) {
            char *text = json_dumps(a.body, JSON_ENCODE_ANY);
            fail_msg("%s %s: status %d %s", s->request, s->body ? s->body : "", a.status, text);
        }
        if (s->want) {
            json_t *want = parse(s->want);

            if (!holds(a.body, want)) {
                char *text = json_dumps(a.body, JSON_ENCODE_ANY);
                fail_msg("%s %s: answer %s", s->request, s->body ? s->body : "", text);
            }
            json_decref(want);
        }
        if (store_info(admin.store).version - before != (uint64_t)s->writes)
            fail_msg("%s %s: %d versions", s->request, s->body ? s->body : "",
                     (int)(store_info(admin.store).version - before));
        json_decref(a.body);
    }
}

#define ID(n) "00000000-0000-4000-8000-00000000000" #n

static void life(void **state)
{
    /* clang-format off */
    static const struct step steps[] = {
        {"POST /services", "{'name':'s','url':'http://a.test:81/x'}", 201, "{'id':'*','host':'a.test','port':81,'path':'/x','tags':null}", 1},
        {"POST /services", "{'name':'s','host':'a.test'}", 409, "{'code':5,'fields':{'name':'s'}}", 0},
        {"GET /services/s", NULL, 200, "{'name':'s'}", 0},
        {"HEAD /services/s", NULL, 200, NULL, 0},
        {"PATCH /services/s", "{'retries':9}", 200, "{'retries':9,'port':81}", 1},
        {"PATCH /services/s", "retries=7&tags=a", 200, "{'retries':7,'tags':['a']}", 1},
        {"PATCH /services/s", "{'host':null}", 400, "{'code':2,'fields':{'host':'required field missing'}}", 0},
        {"PATCH /services/nope", "{}", 404, "{'code':6,'fields':{'name':'nope'}}", 0},
        {"PUT /services/s", "{'host':'b.test'}", 200, "{'name':'s','port':80,'path':null,'tags':null}", 1},
        {"PUT /services/" ID(1), "{'host':'c.test'}", 200, "{'id':'" ID(1) "','name':null}", 1},
        {"PUT /services/" ID(1), "{'host':'c.test','name':'s'}", 409, "{'code':5}", 0},
        {"GET /services/a%20b", NULL, 400, "{'code':10,'name':'invalid unique name'}", 0},
        {"DELETE /services/" ID(1), NULL, 204, NULL, 1},
        {"DELETE /services/" ID(1), NULL, 204, NULL, 0},
        {"GET /services/" ID(1), NULL, 404, "{'message':'Not found'}", 0},
        {"DELETE /services/s", NULL, 204, NULL, 1},
        {"GET /services", NULL, 200, "{'data':[],'next':null}", 0},
    };
    /* clang-format on */

    (void)state;
    run(steps, ARRAY_LEN(steps));
}

static void nested(void **state)
{
    /* clang-format off */
    static const struct step steps[] = {
        {"POST /services", "{'id':'" ID(1) "','name':'s','host':'a.test'}", 201, NULL, 1},
        {"POST /services", "{'id':'" ID(2) "','name':'o','host':'a.test'}", 201, NULL, 1},
        {"POST /services/s/routes", "{'name':'r','paths':['/a']}", 201, "{'service':{'id':'" ID(1) "'}}", 1},
        {"POST /services/none/routes", "{'paths':['/a']}", 404, "{'message':'Not found'}", 0},
        {"GET /services/o/routes/r", NULL, 404, NULL, 0},
        {"GET /routes/r/service", NULL, 200, "{'name':'s'}", 0},
        {"PATCH /routes/r/service", "{'retries':1}", 200, "{'name':'s','retries':1}", 1},
        {"DELETE /routes/r/service", NULL, 405, NULL, 0},
        {"DELETE /services/s", NULL, 400, "{'code':4,'fields':{'@referenced_by':'routes'}}", 0},
        {"PUT /services/o/routes/r", "{'paths':['/b']}", 200, "{'service':{'id':'" ID(2) "'}}", 1},
        {"POST /routes", "{'paths':['/c'],'service':{'name':'s'}}", 201, "{'service':{'id':'" ID(1) "'}}", 1},
        {"POST /routes", "{'paths':['/c'],'service':{'name':'x'}}", 400, "{'code':13}", 0},
        {"POST /routes", "{'paths':['/c'],'service':{'id':'" ID(9) "'}}", 400, "{'code':4}", 0},
        {"POST /routes", "{'id':'" ID(5) "','paths':['/d']}", 201, "{'service':null}", 1},
        {"GET /routes/" ID(5) "/service", NULL, 404, "{'message':'Not found'}", 0},
        {"DELETE /routes/" ID(5) "/service", NULL, 404, NULL, 0},
        {"PUT /routes/" ID(5) "/service", "{'id':'" ID(6) "','host':'n.test'}", 200, "{'host':'n.test'}", 1},
        {"GET /routes/" ID(5), NULL, 200, "{'service':{'id':'" ID(6) "'}}", 0},
        {"DELETE /services/o/routes/nope", NULL, 404, NULL, 0},
        {"DELETE /services/o/routes/r", NULL, 204, NULL, 1},
        {"PATCH /plugins/" ID(7), "{'enabled':false}", 404, "{'message':'Not found'}", 0},
        {"PATCH /plugins/" ID(7), "{'name':'cors'}", 404, "{'code':6}", 0},
    };
    /* clang-format on */

    (void)state;
    run(steps, ARRAY_LEN(steps));
}

static void targets(void **state)
{
    /* clang-format off */
    static const struct step steps[] = {
        {"POST /upstreams", "{'name':'u.test'}", 201, NULL, 1},
        {"POST /upstreams/u.test/targets", "{'target':'a.test','tags':['x']}", 201, "{'target':'a.test:8000','weight':100}", 1},
        {"POST /upstreams/u.test/targets", "{'target':'a.test:8000'}", 409, "{'code':5}", 0},
        {"POST /upstreams/u.test/targets", "{'target':'b@d','weight':-1}", 400,
         "{'fields':{'target':'Invalid target; not a valid hostname or ip address'}}", 0},
        {"GET /upstreams/u.test/targets/a.test", NULL, 200, "{'target':'a.test:8000'}", 0},
        {"PUT /upstreams/u.test/targets/a.test:8000", "{'weight':5}", 200, "{'weight':5,'tags':['x']}", 1},
        {"PUT /upstreams/u.test/targets/c.test:80", "{'weight':5}", 404, "{'message':'Not found'}", 0},
        {"GET /upstreams/u.test/health", NULL, 200, "{'next':null,'node_id':'*'}", 0},
        {"GET /upstreams/u.test/health?balancer_health=1", NULL, 200,
         "{'data':{'health':'HEALTHCHECKS_OFF','balancer_health':'HEALTHY'}}", 0},
        {"GET /upstreams/u.test/targets?size=0", NULL, 200, "{'data':[],'offset':'0'}", 0},
        {"GET /targets", NULL, 404, NULL, 0},
        {"DELETE /upstreams/u.test/targets/a.test:8000", NULL, 204, NULL, 1},
    };
    /* clang-format on */

    (void)state;
    run(steps, ARRAY_LEN(steps));
}

static void keys_that_expire(void **state)
{
    /* clang-format off */
    static const struct step steps[] = {
        {"POST /consumers", "{'username':'c','custom_id':'7'}", 201, NULL, 1},
        {"POST /consumers/c/key-auth", "{'key':'k','ttl':500}", 201, "{'key':'k','ttl':'*'}", 1},
        {"POST /consumers/c/key-auth", "{'key':'l','ttl':-1}", 400, "{'code':11,'options':{'ttl':'must be an integer between 0 and 100000000'}}", 0},
        {"POST /consumers/c/key-auth", "{'key':'m','ttl':0}", 201, "{'ttl':null}", 1},
        {"POST /consumers/c/key-auth", "{'key':'n','expires_at':5}", 400, "{'fields':{'expires_at':'unknown field'}}", 0},
        {"PATCH /consumers/c/key-auth/k", "{'key':'k2'}", 200, "{'ttl':'*'}", 1},
        {"PUT /consumers/c/key-auth/k2", "{}", 200, "{'key':'k2','ttl':null}", 1},
        {"GET /consumers?custom_id=7", NULL, 200, "{'next':null}", 0},
        {"GET /consumers?custom_id=", NULL, 400, "{'message':'custom_id must be an unempty string'}", 0},
        {"DELETE /consumers/c", NULL, 204, NULL, 1},
        {"GET /key-auths", NULL, 200, "{'data':[]}", 0},
    };
    /* clang-format on */

    (void)state;
    run(steps, ARRAY_LEN(steps));
}

/* A ttl of one second, asked for at any time within a second. */
static void a_short_life_is_not_cut_shorter(void **state)
{
    (void)state;
    json_decref(ask("POST /consumers", "{\"username\":\"c\"}").body);
    for (int i = 0; i < 4; i++) {
        uint64_t until;
        struct answer a;
        char request[64], body[64];

        snprintf(body, sizeof(body), "{\"key\":\"k%d\",\"ttl\":1}", i);
        snprintf(request, sizeof(request), "GET /consumers/c/key-auth/k%d", i);
        until = clock_mono_us() + 950000;
        a = ask("POST /consumers/c/key-auth", body);
        assert_int_equal(a.status, 201);
        json_decref(a.body);
        while (clock_mono_us() < until) {
            a = ask(request, NULL);
            if (clock_mono_us() < until)
                assert_int_equal(a.status, 200);
            json_decref(a.body);
            usleep(20000);
        }
        usleep(230000); /* another place within the second */
    }
}

/* What the reference was seen to say, and what data planes would refuse. */
static void rules_of_records(void **state)
{
    /* clang-format off */
    static const struct step steps[] = {
        {"POST /plugins", "{'id':'" ID(1) "','name':'rate-limiting','config':{'minute':5}}", 201, NULL, 1},
        {"PATCH /plugins/" ID(1), "{'config':null}", 400,
         "{'code':2,'message':'schema violation (config: required field missing)'}", 0},
        {"PATCH /plugins/" ID(1), "{'config':{'minute':null}}", 400, "{'fields':{'@entity':'*'}}", 0},
        {"POST /services", "{'url':'https://a.test','tls_verify':true,'ca_certificates':['" ID(3) "']}", 400,
         "{'code':4,'fields':{'ca_certificates':{'id':'" ID(3) "'}}}", 0},
        {"POST /services", "{'name':'s','url':'https://a.test','ca_certificates':['" ID(3) "']}", 201, NULL, 1},
        {"PATCH /services/s", "{'tls_verify':true}", 400, "{'code':4}", 0},
        {"PATCH /services/s", "{'tls_verify':true,'enabled':false}", 200, NULL, 1},
        {"PUT /services/s", "{'url':'https://a.test','tls_verify':true,'ca_certificates':['" ID(4) "']}", 400,
         "{'fields':{'ca_certificates':{'id':'" ID(4) "'}}}", 0},
        {"POST /routes", "{'id':'" ID(5) "','paths':['/d']}", 201, NULL, 1},
        {"PUT /routes/" ID(5) "/service", "{'url':'https://a.test','tls_verify':true,'ca_certificates':['" ID(4) "']}",
         400, "{'code':4}", 0},
    };
    /* clang-format on */

    (void)state;
    run(steps, ARRAY_LEN(steps));
}

static void refusals(void **state)
{
    /* clang-format off */
    static const struct step steps[] = {
        {"POST /services", "{'host':", 400, "{'message':'Cannot parse JSON body'}", 0},
        {"POST /services", "[]", 400, "{'code':2}", 0},
        {"POST /services", "[1]", 400, "{'message':'Cannot parse JSON body'}", 0},
        {"POST /services", "{'host':'a\\u0000b'}", 400, "{'message':'Cannot parse JSON body'}", 0},
        {"POST /services", "host=%ff", 400, NULL, 0},
        {"POST /services", "host=%00", 400, NULL, 0},
        {"GET /services?size=0", NULL, 400, "{'code':9,'message':'size must be an integer between 1 and 1000'}", 0},
        {"GET /services?size=x", NULL, 400, "{'code':9,'message':'size must be a number'}", 0},
        {"GET /services?size=nan", NULL, 400, "{'code':9,'message':'size must be a number'}", 0},
        {"GET /services?size=1e99", NULL, 400, "{'code':9}", 0},
        {"GET /services?offset=bad!", NULL, 400, "{'code':7}", 0},
        {"GET /services?tags=a,b/c", NULL, 400, "{'code':11,'options':{'tags':'invalid filter syntax'}}", 0},
        {"GET /services?tags=a,b,c,d,e,f", NULL, 400, "{'options':{'tags':'cannot query more than 5 tags'}}", 0},
        {"POST /tags", "{}", 400, "{'code':2}", 0},
        {"DELETE /services", NULL, 405, "{'message':'Method not allowed'}", 0},
        {"PURGE /services", NULL, 405, NULL, 0},
        {"OPTIONS /services/x", NULL, 204, NULL, 0},
        {"OPTIONS /certificates/x/snis/y", NULL, 404, "{'message':'SNI not found'}", 0},
        {"GET /nope", NULL, 404, "{'message':'Not found'}", 0},
        {"GET /schemas/nope", NULL, 404, NULL, 0},
        {"GET /plugins/schema/nope", NULL, 404, NULL, 0},
        {"POST /schemas/services/validate", "{'host':'a.test'}", 200, NULL, 0},
        {"POST /schemas/services/validate", "{}", 400, "{'code':2}", 0},
        {"GET /certificates/nope.test", NULL, 404, "{'message':'SNI not found'}", 0},
        {"GET /certificates/" ID(9), NULL, 404, "{'code':6}", 0},
    };
    /* clang-format on */

    (void)state;
    run(steps, ARRAY_LEN(steps));
}

/* Pages of three by two; the offset of one leads to the next. */
static void pages(void **state)
{
    /* clang-format off */
    static const struct step steps[] = {
        {"PUT /consumers/" ID(1), "{'username':'a','tags':['t','u']}", 200, NULL, 1},
        {"PUT /consumers/" ID(2), "{'username':'b','tags':['t']}", 200, NULL, 1},
        {"PUT /consumers/" ID(3), "{'username':'c'}", 200, NULL, 1},
    };
    /* clang-format on */
    struct sbuf next = {0};
    struct answer a;

    (void)state;
    run(steps, ARRAY_LEN(steps));
    a = ask("GET /consumers/?size=2", NULL);
    assert_int_equal(json_array_size(json_object_get(a.body, "data")), 2);
    sbuf_addf(&next, "GET %s", json_string_value(json_object_get(a.body, "next")));
    assert_non_null(strstr(next.p, "/consumers?offset="));
    assert_non_null(strstr(next.p, "&size=2"));
    json_decref(a.body);
    a = ask(next.p, NULL);
    assert_int_equal(json_array_size(json_object_get(a.body, "data")), 1);
    assert_true(json_is_null(json_object_get(a.body, "next")));
    assert_null(json_object_get(a.body, "offset"));
    json_decref(a.body);
    a = ask("GET /consumers?tags=t,u", NULL);
    assert_int_equal(json_array_size(json_object_get(a.body, "data")), 1);
    json_decref(a.body);
    a = ask("GET /consumers?tags=t/u", NULL);
    assert_int_equal(json_array_size(json_object_get(a.body, "data")), 2);
    json_decref(a.body);
    a = ask("GET /tags/t", NULL);
    assert_int_equal(json_array_size(json_object_get(a.body, "data")), 2);
    json_decref(a.body);
    sbuf_free(&next);
}

static char *read_file(const char *name)
{
    struct sbuf path = {0}, text = {0};
    size_t n;
    FILE *f;

    sbuf_addf(&path, "%s/pki/%s", dir, name);
    f = fopen(path.p, "r");
    assert_non_null(f);
    do {
        n = fread(sbuf_reserve(&text, 4096), 1, 4096, f);
        text.len += n;
    } while (n > 0);
    sbuf_addc(&text, '\n');
    fclose(f);
    unlink(path.p);
    sbuf_free(&path);
    return sbuf_take(&text);
}

/* A body with a certificate of its own, and what else is given ("'snis':['a.test']"). */
static char *certificate_body(const json_t *pair, const char *more)
{
    json_t *body = json_copy(json_unconst(pair)), *extra;
    struct sbuf text = {0};
    char *out;

    sbuf_addf(&text, "{%s}", more);
    extra = parse(text.p);
    json_object_update(body, extra);
    out = json_dumps(body, 0);
    json_decref(body);
    json_decref(extra);
    sbuf_free(&text);
    return out;
}

/* Server names are written with their certificate, lead to it, and go with it. */
static void server_names(void **state)
{
    static const char *const files[] = {"ca.crt", "ca.key", "dp.crt", "dp.key"};
    static const struct step first[] = {
        {"GET /certificates/a.test", NULL, 200, "{'snis':['a.test','b.test']}", 0},
        {"GET /snis/b.test", NULL, 200, "{'certificate':{'id':'" ID(1) "'}}", 0},
        {"PATCH /certificates/b.test", "{'tags':['t']}", 200, "{'snis':['a.test','b.test']}", 1},
        {"PATCH /certificates/" ID(1), "{'snis':['b.test','c.test']}", 200,
         "{'snis':['b.test','c.test']}", 1},
        {"GET /certificates/a.test", NULL, 404, "{'message':'SNI not found'}", 0},
        {"PATCH /certificates/" ID(1), "{'snis':['x.test','x.test']}", 400,
         "{'fields':{'snis':'x.test is duplicated'}}", 0},
        {"PATCH /certificates/" ID(1), "{'snis':['b@d']}", 400, "{'code':10}", 0},
    };
    static const struct step last[] = {
        {"GET /snis/new.test", NULL, 404, NULL, 0},
        {"DELETE /certificates/c.test", NULL, 204, NULL, 1},
        {"GET /snis", NULL, 200, "{'data':[]}", 0},
    };
    const struct pki_request req = {.cluster = "default"};
    struct err e = {0};
    char path[96], *cert, *key, *body;
    struct answer a;
    json_t *pair;

    snprintf(path, sizeof(path), "%s/pki", dir);
    assert_int_equal(pki_make_cluster(path, &req, &e), 0);
    cert = read_file("cp.crt");
    key = read_file("cp.key");
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        free(read_file(files[i]));
    rmdir(path);
    pair = json_pack("{s:s, s:s}", "cert", cert, "key", key);

    body = certificate_body(pair, "'snis':['b.test','a.test']");
    a = ask("PUT /certificates/" ID(1), body);
    assert_int_equal(a.status, 200);
    json_decref(a.body);
    free(body);
    run(first, ARRAY_LEN(first));
    body = certificate_body(pair, "'snis':['b.test']");
    a = ask("POST /certificates", body);
    assert_int_equal(a.status, 400);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(a.body, "fields"), "snis")),
        "b.test already associated with existing certificate '" ID(1) "'");
    json_decref(a.body);
    free(body);
    body = certificate_body(pair, "");
    a = ask("PUT /certificates/new.test", body);
    assert_int_equal(a.status, 200);
    json_decref(a.body);
    free(body);
    run(last, ARRAY_LEN(last));
    json_decref(pair);
    free(cert);
    free(key);
    (void)state;
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, open_admin, close_admin)
    const struct CMUnitTest tests[] = {
        CASE(life),     CASE(nested), CASE(targets),      CASE(keys_that_expire),
        CASE(refusals), CASE(pages),  CASE(server_names),
        CASE(rules_of_records), CASE(a_short_life_is_not_cut_shorter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
