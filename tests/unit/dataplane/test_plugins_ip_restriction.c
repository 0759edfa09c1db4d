/* test_plugins_ip_restriction.c - the plugin ip-restriction, and the set of addresses behind it. */
#include "tests/unit/dataplane/loopback.h"

#include <arpa/inet.h>

#include "common/plugins/ip_restriction.h"
#include "dataplane/plugins/ip_set.h"

/* ---- the set ---- */

static struct ip_network network(const char *text)
{
    struct ip_network net;

    if (!ip_network_parse(str_of(text), &net))
        fail_msg("%s", text);
    return net;
}

static void test_set_of_few(void **state)
{
    /* clang-format off */
    static const struct {
        const char *networks[6];
        const char *inside[6], *outside[8];
    } cases[] = {
        {{NULL}, {NULL}, {"0.0.0.0", "::", "255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}},
        {{"10.1.2.3"}, {"10.1.2.3"}, {"10.1.2.2", "10.1.2.4", "::a01:203"}},
        {{"10.0.0.0/8"}, {"10.0.0.0", "10.255.255.255"}, {"9.255.255.255", "11.0.0.0"}},
        {{"10.7.7.7/8"}, {"10.0.0.0", "10.255.255.255"}, {"9.255.255.255", "11.0.0.0"}},
        {{"10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16"}, {"10.0.0.0", "10.127.255.255", "10.128.0.0", "10.255.255.255"},
         {"9.255.255.255", "11.0.0.0"}},
        {{"10.0.1.0/24", "10.0.1.0/25", "10.0.3.0/24"}, {"10.0.1.0", "10.0.1.255", "10.0.3.0"},
         {"10.0.0.255", "10.0.2.0", "10.0.4.0"}},
        {{"0.0.0.0/0"}, {"0.0.0.0", "255.255.255.255"}, {"::", "::1", "::1:0:0:0", "2001:db8::"}},
        {{"::/0"}, {"::", "::1", "::1:0:0:0", "::fffe:ffff:ffff", "2001:db8::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
         {"0.0.0.0", "10.0.0.1", "255.255.255.255"}},
        {{"::/0", "10.0.0.0/8"}, {"::", "10.0.0.1", "2001:db8::"}, {"0.0.0.0", "11.0.0.0", "255.255.255.255"}},
        {{"::ffff:0:0/96", "::ffff:a00:1"}, {NULL}, {"0.0.0.0", "10.0.0.1", "::1"}},
        {{"2001:db8::/32"}, {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
         {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"}},
        {{"2001:db8::/64"}, {"2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"}, {"2001:db8:0:1::"}},
        {{"2001:db8::/65"}, {"2001:db8::", "2001:db8::7fff:ffff:ffff:ffff"}, {"2001:db8::8000:0:0:0"}},
        {{"8000::/1"}, {"8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, {"7fff::", "::", "10.0.0.1"}},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ip_network nets[6];
        struct ip_set *s;
        size_t n;

        for (n = 0; n < 6 && cases[i].networks[n]; n++)
            nets[n] = network(cases[i].networks[n]);
        s = ip_set_new(nets, n);
        for (size_t k = 0; k < 6 && cases[i].inside[k]; k++)
            if (!ip_set_has(s, network(cases[i].inside[k]).addr))
                fail_msg("case %zu: %s is not inside", i, cases[i].inside[k]);
        for (size_t k = 0; k < 8 && cases[i].outside[k]; k++)
            if (ip_set_has(s, network(cases[i].outside[k]).addr))
                fail_msg("case %zu: %s is inside", i, cases[i].outside[k]);
        ip_set_free(&s);
        assert_null(s);
    }
}

static uint64_t seed;

static unsigned below(unsigned limit)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((seed >> 33) % limit);
}

/* An address of few different ones, so that networks meet. */
static void random_address(unsigned char out[16], bool v4)
{
    static const unsigned char bytes[] = {0, 0, 1, 0x7f, 0x80, 0xfe, 0xff, 0xff};

    for (unsigned i = 0; i < 16; i++)
        out[i] = bytes[below(ARRAY_LEN(bytes))];
    if (v4 || below(3) == 0)
        memset(out, 0, 10);
    if (v4)
        memset(out + 10, 0xff, 2);
}

static struct ip_network random_network(void)
{
    char text[64], address[INET6_ADDRSTRLEN];
    unsigned char addr[16];
    bool v4 = below(2);

    random_address(addr, v4);
    assert_non_null(inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, address, sizeof(address)));
    snprintf(text, sizeof(text), "%s/%u", address, below(8) ? 1 + below(v4 ? 32 : 128) : 0);
    return network(text);
}

static bool naive(const struct ip_network *nets, size_t n, const unsigned char addr[16])
{
    for (size_t i = 0; i < n; i++)
        if (ip_network_has(&nets[i], addr))
            return true;
    return false;
}

/* One more or one less: the ends of networks are where mistakes are. */
static void neighbour(unsigned char addr[16])
{
    bool up = below(2);

    for (unsigned i = 16; i-- > 0;)
        if (up ? ++addr[i] != 0 : addr[i]-- != 0)
            break;
}

static void test_set_against_a_list(void **state)
{
    struct ip_network nets[200];
    size_t inside = 0, asked = 0;

    (void)state;
    for (seed = 1; seed <= 400;) {
        uint64_t round = seed;
        size_t n = below(below(4) ? 12 : ARRAY_LEN(nets));
        struct ip_set *s;

        for (size_t i = 0; i < n; i++)
            do
                nets[i] = random_network();
            while (n > 12 && nets[i].bits < 8 && below(64)); /* many wide ones would be everything */
        s = ip_set_new(nets, n);
        for (unsigned k = 0; k < 300; k++, asked++) {
            unsigned char addr[16];

            if (n && below(2))
                memcpy(addr, nets[below((unsigned)n)].addr, 16);
            else
                random_address(addr, below(2));
            if (below(2))
                neighbour(addr);
            if (ip_set_has(s, addr) != naive(nets, n, addr))
                fail_msg("round %llu, address %u", (unsigned long long)round, k);
            inside += naive(nets, n, addr);
        }
        ip_set_free(&s);
        seed = round + 1;
    }
    assert_in_range(inside, asked / 5, asked - asked / 5); /* both answers were asked for */
}

/* ---- the plugin ---- */

/* Runs one request; message NULL: it passes. */
static void check(const char *config, const char *client, unsigned status, const char *message)
{
    struct loop *l = loop_new();

    loop_plugin(l, "ip-restriction", config, ON_ROUTE, NULL);
    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    loop_client(l, client);
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->verdict, message ? V_ANSWER : V_NEXT);
    assert_int_equal(l->x.resp.status, status);
    if (message)
        assert_string_equal(l->message, message);
    loop_free(&l);
}

static void test_lists(void **state)
{
    (void)state;
    /* allow alone: the others are refused */
    check("{\"allow\": [\"10.0.0.0/8\", \"2001:db8::/32\"]}", "10.1.2.3", 200, NULL);
    check("{\"allow\": [\"10.0.0.0/8\", \"2001:db8::/32\"]}", "2001:db8::7", 200, NULL);
    check("{\"allow\": [\"10.0.0.0/8\", \"2001:db8::/32\"]}", "192.0.2.7", 403, "IP address not allowed: 192.0.2.7");
    check("{\"allow\": [\"10.0.0.0/8\", \"2001:db8::/32\"]}", "2001:db9::7", 403, "IP address not allowed: 2001:db9::7");
    /* deny alone: the others pass */
    check("{\"deny\": [\"10.0.0.0/8\", \"::1\"]}", "10.1.2.3", 403, "IP address not allowed: 10.1.2.3");
    check("{\"deny\": [\"10.0.0.0/8\", \"::1\"]}", "::1", 403, "IP address not allowed: ::1");
    check("{\"deny\": [\"10.0.0.0/8\", \"::1\"]}", "192.0.2.7", 200, NULL);
    /* deny wins, however narrow allow is */
    check("{\"allow\": [\"10.1.2.3\"], \"deny\": [\"10.0.0.0/8\"]}", "10.1.2.3", 403, "IP address not allowed: 10.1.2.3");
    check("{\"allow\": [\"10.0.0.0/8\"], \"deny\": [\"10.1.2.3\"]}", "10.1.2.3", 403, "IP address not allowed: 10.1.2.3");
    check("{\"allow\": [\"10.0.0.0/8\"], \"deny\": [\"10.1.2.3\"]}", "10.1.2.4", 200, NULL);
    check("{\"allow\": [\"10.0.0.0/8\"], \"deny\": [\"10.1.2.3\"]}", "192.0.2.7", 403, "IP address not allowed: 192.0.2.7");
    /* an empty list is none */
    check("{\"allow\": [], \"deny\": [\"10.1.2.3\"]}", "192.0.2.7", 200, NULL);
    check("{\"allow\": [\"192.0.2.7\"], \"deny\": []}", "192.0.2.7", 200, NULL);
}

static void test_refusal(void **state)
{
    (void)state;
    check("{\"deny\": [\"0.0.0.0/0\"], \"status\": 404}", "192.0.2.7", 404, "IP address not allowed: 192.0.2.7");
    check("{\"deny\": [\"0.0.0.0/0\"], \"message\": \"gone\"}", "192.0.2.7", 403, "gone");
    check("{\"deny\": [\"0.0.0.0/0\"], \"message\": \"gone\", \"status\": 410}", "192.0.2.7", 410, "gone");
    /* what cannot be sent as a status */
    check("{\"deny\": [\"0.0.0.0/0\"], \"status\": 2.5}", "192.0.2.7", 403, "IP address not allowed: 192.0.2.7");
    check("{\"deny\": [\"0.0.0.0/0\"], \"status\": -404}", "192.0.2.7", 403, "IP address not allowed: 192.0.2.7");
    check("{\"deny\": [\"0.0.0.0/0\"], \"status\": 1e300}", "192.0.2.7", 403, "IP address not allowed: 192.0.2.7");
}

/* The consumer's row takes the place of the route's, whether that is stricter or not. */
static void test_of_a_consumer(void **state)
{
    static const char *const deny[] = {"{\"deny\": [\"192.0.2.7\"]}", "{\"deny\": [\"192.0.2.8\"]}"};

    (void)state;
    for (unsigned refused = 0; refused < 2; refused++) {
        struct loop *l = loop_new();
        struct c_consumer *alice = loop_consumer(l, "alice", NULL);

        loop_key(l, alice, "open-sesame");
        loop_plugin(l, "key-auth", "{}", ON_ROUTE, NULL);
        loop_plugin(l, "ip-restriction", deny[refused], ON_ROUTE, NULL);
        loop_plugin(l, "ip-restriction", deny[!refused], ON_ROUTE, alice);
        loop_request(l, "GET", "/", HEADERS({"apikey", "open-sesame"}), NULL);
        loop_run(l, NO_HEADERS);
        assert_int_equal(l->verdict, refused ? V_ANSWER : V_NEXT);
        loop_free(&l);
    }
}

/* Snapshots are read without the schema. */
static void test_prepare_names_what_is_wrong(void **state)
{
    struct str bad[] = {STR("10.0.0.0/8"), STR("10.0.0.0/33")};
    struct ip_restriction_conf conf = {.deny = {bad, 2}};
    void *prepared = NULL;
    struct err e = {0};

    (void)state;
    assert_int_equal(plugin_ops_by_name(STR("ip-restriction"))->prepare(&conf, &prepared, &e), -1);
    assert_string_equal(err_text(&e), "deny.2: invalid ip or cidr range: '10.0.0.0/33'");
    assert_null(prepared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_of_few),
        cmocka_unit_test(test_set_against_a_list),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_of_a_consumer),
        cmocka_unit_test(test_prepare_names_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
