/*
 * test_expr.c - the expression language: what parses to which tree, what is refused and where,
 * and routes that have expressions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/entities.h"
#include "common/expr.h"

/* The tree with all parentheses. */
static void print(struct sbuf *out, const struct expr_node *n)
{
    static const char *const joints[] = {[EXPR_AND] = " && ", [EXPR_OR] = " || "};

    if (n->kind == EXPR_PRED) {
        sbuf_addf(out, "%s%s%s" STR_FMT, n->pred->any ? "any " : "", n->pred->lower ? "lower " : "",
                  expr_field_name(n->pred->field), STR_ARG(n->pred->name));
        return;
    }
    sbuf_adds(out, n->kind == EXPR_NOT ? "!(" : "(");
    for (const struct expr_node *k = n->kids; k; k = k->next) {
        print(out, k);
        if (k->next)
            sbuf_adds(out, joints[n->kind]);
    }
    sbuf_addc(out, ')');
}

static void test_trees(void **state)
{
    static const struct {
        const char *text, *tree;
    } cases[] = {
        {"http.path == \"/a\"", "http.path"},
        {"http.path ^= r#\"/a\"# || tls.sni =^ \".b\"", "(http.path || tls.sni)"},
        {"http.path == \"a\" && http.host == \"b\" || http.method == \"c\"",
         "(http.path && (http.host || http.method))"}, /* || binds tighter */
        {"http.path == \"a\" || http.host == \"b\" && http.method == \"c\"",
         "((http.path || http.host) && http.method)"},
        {"(http.path == \"a\" && http.host == \"b\") || http.method == \"c\"",
         "((http.path && http.host) || http.method)"},
        {"!(http.path == \"a\") && ! ( net.port == 80 )", "(!(http.path) && !(net.dst.port))"},
        {"any(lower(http.headers.x_a)) == \"v\"", "any lower http.headers.x_a"},
        {"lower ( any(http.queries.q) ) contains \"v\"", "any lower http.queries.q"},
        {"net.src.ip in 10.0.0.0/8&&net.dst.ip not in fd00::/8", "(net.src.ip && net.dst.ip)"},
        {"net.src.ip==::1||net.src.ip!=1.2.3.4", "(net.src.ip || net.src.ip)"},
        {"http.path.segments.0 == \"a\" && http.path.segments.1_3 ~ \"x+\" && "
         "http.path.segments.len >= 2",
         "(http.path.segments. && http.path.segments. && http.path.segments.len)"},
        {"((((http.path == \"a\"))))", "http.path"},
        {" \n\thttp.path == \"a\"\n", "http.path"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sbuf tree = {0};
        struct arena a;
        struct expr x;
        struct err e = {0};

        arena_init(&a, 0, EXPR_ARENA_BYTES);
        if (expr_parse(str_of(cases[i].text), EXPR_HTTP, &a, &x, &e) != 0)
            fail_msg("%s: %s", cases[i].text, e.message);
        print(&tree, x.root);
        assert_string_equal(tree.p, cases[i].tree);
        sbuf_free(&tree);
        arena_fini(&a);
    }
}

static void test_literals(void **state)
{
    static const struct {
        const char *text;
        int64_t number;
    } numbers[] = {{"80", 80},
                   {"0x1F", 31},
                   {"017", 15},
                   {"0", 0},
                   {"-5", -5},
                   {"+7", 7},
                   {"-9223372036854775808", INT64_MIN},
                   {"9223372036854775807", INT64_MAX}};
    struct arena a;
    struct expr x;
    struct err e = {0};

    (void)state;
    arena_init(&a, 0, EXPR_ARENA_BYTES);
    assert_int_equal(
        expr_parse(STR("http.path == \"a\\\"b\\\\c\\n\\r\\t\\\\\""), EXPR_HTTP, &a, &x, &e), 0);
    assert_true(str_eq(x.root->pred->text, STR("a\"b\\c\n\r\t\\")));
    assert_int_equal(expr_parse(STR("http.path == r#\"a\\n\"b\"#"), EXPR_HTTP, &a, &x, &e), 0);
    assert_true(str_eq(x.root->pred->text, STR("a\\n\"b")));
    assert_int_equal(expr_parse(STR("http.path == \"\""), EXPR_HTTP, &a, &x, &e), 0);
    assert_int_equal(x.root->pred->text.len, 0);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct str text = arena_printf(&a, "net.dst.port == %s", numbers[i].text);

        assert_int_equal(expr_parse(text, EXPR_STREAM, &a, &x, &e), 0);
        assert_true(x.root->pred->number == numbers[i].number);
    }
    assert_int_equal(expr_parse(STR("net.src.ip in 10.0.0.0/8"), EXPR_STREAM, &a, &x, &e), 0);
    assert_int_equal(x.root->pred->network.bits, 104);
    arena_fini(&a);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"", "expected a field, lower(), any() or (, found the end at 1:1"},
        {"http.path", "expected an operator: == != ~ ^= =^ contains > >= < <= in, not in, found "
                      "the end at 1:10"},
        {"http.path ==", "expected \"text\", r#\"text\"#, a number, an address or a network, found "
                         "the end at 1:13"},
        {"http.path = \"a\"",
         "expected an operator: == != ~ ^= =^ contains > >= < <= in, not in, found '=' at 1:11"},
        {"http.path == \"a", "expected \" that ends the text, found the end at 1:16"},
        {"http.path == \"a\\\"", "expected \" that ends the text, found the end at 1:18"},
        {"http.path == r#\"a\"", "expected \"# that ends the text, found the end at 1:19"},
        {"http.path == \"a\\q\"", "expected one of \\\" \\\\ \\n \\r \\t at 1:17"},
        {"http.path == \"a\" &&", "expected a field, lower(), any() or (, found the end at 1:20"},
        {"http.path == \"a\"\n  & x", "expected && or ||, found '&' at 2:3"},
        {"(http.path == \"a\"", "expected ')', && or ||, found the end at 1:18"},
        {"! http.path == \"a\"", "expected ( behind !, found 'h' at 1:3"},
        {"upper(http.path) == \"a\"", "expected the transformation lower or any at 1:1"},
        {"http.paths == \"a\"", "Unknown LHS field 'http.paths' at 1:1"},
        {"http.headers. == \"a\"", "Unknown LHS field 'http.headers.' at 1:1"},
        {"http.path == 1", "Type mismatch between the LHS and RHS values of predicate at 1:1"},
        {"net.dst.port == \"a\"",
         "Type mismatch between the LHS and RHS values of predicate at 1:1"},
        {"net.src.ip == 10.0.0.0/8",
         "Type mismatch between the LHS and RHS values of predicate at 1:1"},
        {"net.src.ip in 10.0.0.1", "In/NotIn operators only supports IP in CIDR at 1:1"},
        {"net.src.ip in 10.0.0.1/8", "expected a network whose host bits are 0 at 1:15"},
        {"http.path in 10.0.0.0/8", "In/NotIn operators only supports IP in CIDR at 1:1"},
        {"net.dst.port ~ 1", "Regex/Prefix/Postfix operators only supports string operands at 1:1"},
        {"http.path > \"a\"", "Greater/GreaterOrEquals/Less/LessOrEquals operators only supports "
                              "integer operands at 1:1"},
        {"net.dst.port contains 1", "Contains operator only supports string operands at 1:1"},
        {"lower(net.dst.port) == 1",
         "lower-case transformation function only supported with String type fields at 1:1"},
        {"http.path.segments.x == \"a\"", "illformed http.path.segments.* field"},
        {"http.path.segments.2_1 == \"a\"", "illformed http.path.segments.* field"},
        {"http.path.segments.1_1 == \"a\"", "illformed http.path.segments.* field"},
        {"net.dst.port == 09",
         "expected \"text\", r#\"text\"#, a number, an address or a network, found '0' at 1:17"},
        {"net.dst.port == 9223372036854775808",
         "expected \"text\", r#\"text\"#, a number, an address or a network, found '9' at 1:17"},
    };
    struct arena a;
    struct expr x;
    struct err e = {0};

    (void)state;
    arena_init(&a, 0, EXPR_ARENA_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (expr_parse(str_of(cases[i].text), EXPR_HTTP, &a, &x, &e) == 0)
            fail_msg("%s: accepted", cases[i].text);
        if (strcmp(e.message, cases[i].error) != 0)
            fail_msg("%s: '%s', expected '%s'", cases[i].text, e.message, cases[i].error);
    }
    assert_int_equal(expr_parse(STR("http.path ~ \"(\""), EXPR_HTTP, &a, &x, &e), -1);
    assert_non_null(strstr(e.message, "pcre2_compile() failed"));
    assert_int_equal(expr_parse(STR("http.path == \"a\""), EXPR_STREAM, &a, &x, &e), -1);
    assert_non_null(strstr(e.message, "Unknown LHS field"));
    arena_fini(&a);
}

/* Depth, number and size are bounded, and none of the bounds is met by chance. */
static void test_bounds(void **state)
{
    struct sbuf text = {0};
    struct arena a;
    struct expr x;
    struct err e = {0};

    (void)state;
    arena_init(&a, 0, EXPR_ARENA_BYTES);
    for (unsigned i = 0; i < EXPR_DEPTH_MAX; i++)
        sbuf_addc(&text, '(');
    sbuf_adds(&text, "net.port==1");
    for (unsigned i = 0; i < EXPR_DEPTH_MAX; i++)
        sbuf_addc(&text, ')');
    assert_int_equal(expr_parse(sbuf_str(&text), EXPR_HTTP, &a, &x, &e), 0);
    sbuf_clear(&text);
    for (unsigned i = 0; i < 30000; i++)
        sbuf_addc(&text, '(');
    assert_int_equal(expr_parse(sbuf_str(&text), EXPR_HTTP, &a, &x, &e), -1);
    assert_non_null(strstr(e.message, "fewer parentheses"));
    sbuf_clear(&text);
    for (unsigned i = 0; i < 10000; i++)
        sbuf_adds(&text, "any(");
    assert_int_equal(expr_parse(sbuf_str(&text), EXPR_HTTP, &a, &x, &e), -1);
    sbuf_clear(&text);
    sbuf_adds(&text, "net.port==1");
    for (unsigned i = 1; i < EXPR_PREDS_MAX; i++)
        sbuf_adds(&text, "||net.port==1");
    assert_int_equal(expr_parse(sbuf_str(&text), EXPR_HTTP, &a, &x, &e), 0);
    sbuf_adds(&text, "||net.port==1");
    assert_int_equal(expr_parse(sbuf_str(&text), EXPR_HTTP, &a, &x, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    sbuf_clear(&text);
    for (unsigned i = 0; i <= EXPR_BYTES_MAX; i++)
        sbuf_addc(&text, ' ');
    assert_int_equal(expr_parse(sbuf_str(&text), EXPR_HTTP, &a, &x, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    sbuf_free(&text);
    arena_fini(&a);
}

/* ---- routes ---- */

static char *insert(const char *doc)
{
    json_t *in = json_loads(doc, 0, NULL), *out = NULL;
    struct violations v = {0};
    char *message = NULL;

    assert_non_null(in);
    if (schema_insert(&entity_routes, in, &out, &v) != 0)
        message = violations_message(&v);
    violations_free(&v);
    json_decref(in);
    json_decref(out);
    return message;
}

#define SIMULTANEOUSLY                                                                  \
    "with 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' " \
    "simultaneously"

static void test_route_rules(void **state)
{
    static const struct {
        const char *doc, *message; /* NULL: accepted */
    } cases[] = {
        {"{\"expression\": \"http.path == \\\"/\\\"\"}", NULL},
        {"{\"expression\": \"http.path == \\\"/\\\"\", \"priority\": 70368744177663}", NULL},
        {"{\"paths\": [\"/\"]}", NULL},
        {"{\"protocols\": [\"tcp\"], \"expression\": \"net.dst.port == 1\"}", NULL},
        {"{\"protocols\": [\"tls_passthrough\"], \"expression\": \"tls.sni == \\\"a\\\"\"}", NULL},
        {"{\"protocols\": [\"grpc\"], \"expression\": \"http.path == \\\"/\\\"\"}", NULL},
        {"{\"sources\": [{\"ip\": \"1.2.3.4\"}]}", NULL},
        {"{\"expression\": \"http.path = 1\"}",
         "schema violation (Router Expression failed validation: expected an operator: == != ~ ^= "
         "=^ "
         "contains > >= < <= in, not in, found '=' at 1:11)"},
        {"{\"protocols\": [\"tcp\"], \"expression\": \"http.path == \\\"/\\\"\"}",
         "schema violation (Router Expression failed validation: Unknown LHS field 'http.path' at "
         "1:1)"},
        {"{\"expression\": \"http.path == \\\"/\\\"\", \"paths\": [\"/\"]}",
         "schema violation (Router Expression failed validation: cannot set "
         "'expression' " SIMULTANEOUSLY ")"},
        {"{\"expression\": \"http.path == \\\"/\\\"\", \"regex_priority\": 1}",
         "schema violation (Router Expression failed validation: cannot set 'regex_priority' with "
         "'expression' simultaneously)"},
        {"{\"paths\": [\"/\"], \"priority\": 1}",
         "schema violation (Router Expression failed validation: cannot set "
         "'priority' " SIMULTANEOUSLY ")"},
        {"{\"expression\": \"http.path == \\\"/\\\"\", \"priority\": -1}",
         "schema violation (priority: value should be between 0 and 70368744177663)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *message = insert(cases[i].doc);

        if (!message != !cases[i].message || (message && strcmp(message, cases[i].message) != 0))
            fail_msg("%s: %s", cases[i].doc, message ? message : "accepted");
        free(message);
    }
}

static bool shows(const char *field)
{
    json_t *all = schema_describe(&entity_routes), *item;
    bool found = false;
    size_t i;

    json_array_foreach(json_object_get(all, "fields"), i, item) found =
        found || json_object_get(item, field);
    json_decref(all);
    return found;
}

static void test_shown_when_used(void **state)
{
    (void)state;
    assert_true(shows("expression"));
    assert_true(shows("priority"));
}

static int use(void **state)
{
    (void)state;
    /* before: as if there were no such fields; no other table is looked at, they are kept */
    if (shows("expression") || shows("priority"))
        return -1;
    schema_use_expressions();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees),       cmocka_unit_test(test_literals),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_route_rules), cmocka_unit_test(test_shown_when_used),
    };

    return cmocka_run_group_tests_name("common/expr", tests, use, NULL);
}
