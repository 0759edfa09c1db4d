#!/bin/sh
# new-plugin.sh NAME [PRIORITY] - the four pieces of a new plugin, compiling and tested:
#   common/plugins/NAME.h, .c                   contract: what both planes know
#   dataplane/plugins/NAME.c                    behaviour
#   tests/unit/dataplane/test_plugins_NAME.c    a test that runs it without sockets
#   a line in common/plugins/plugins.def, at the place of its priority
# NAME as in documents ("bot-detection"); PRIORITY defaults to 500.
set -eu
cd "$(dirname "$0")/../.."

name=${1:-} priority=${2:-500}
case $name in
'' | *[!a-z0-9-]* | -* | *-)
    echo "usage: $0 NAME [PRIORITY]   (NAME: lower-case words joined by -)" >&2
    exit 2
    ;;
esac
case $priority in
'' | *[!0-9]*)
    echo "$0: expected a number as priority, not '$priority'" >&2
    exit 2
    ;;
esac
sym=$(printf %s "$name" | tr - _)
guard=$(printf %s "$sym" | tr a-z A-Z)
def=common/plugins/plugins.def
header=common/plugins/$sym.h
contract=common/plugins/$sym.c
behaviour=dataplane/plugins/$sym.c
test=tests/unit/dataplane/test_plugins_$sym.c
for f in "$header" "$contract" "$behaviour" "$test"; do
    if [ -e "$f" ]; then
        echo "$0: $f is there already" >&2
        exit 1
    fi
done

cat >"$header" <<EOF
/* $sym.h - configuration of the plugin $name. */
#ifndef COMMON_PLUGINS_${guard}_H
#define COMMON_PLUGINS_${guard}_H

#include "common/plugins/contract.h"

struct ${sym}_conf {
    struct str header_name; /* of the response */
};

extern const struct plugin_contract contract_$sym;

#endif
EOF

cat >"$contract" <<EOF
/* $sym.c - contract of the plugin $name. */
#include "common/plugins/$sym.h"

#include "common/entities/fields.h"

typedef struct ${sym}_conf conf_t;

/* clang-format off */
static const struct field fields[] = {
    F_STR(conf_t, header_name, 1, .flags = FF_REQUIRED, .dflt = "\\"X-$name\\"", .check = check_header_name,
          .doc = "Header of the response that says the plugin ran."),
    F_END
};
/* clang-format on */

const struct plugin_contract contract_$sym = {
    .name = "$name",
    .priority = $priority,
    .phases = PH_BIT(PH_ACCESS),
    .scopes = SCOPE_ANY,
    .protocols = PROTOCOLS_HTTP,
    .protocols_default = PROTOCOLS_HTTP,
    .conf_size = sizeof(conf_t),
    .fields = fields,
    .doc = "Marks responses with a header.",
};
EOF

cat >"$behaviour" <<EOF
/* $sym.c - behaviour of the plugin $name. */
#include "common/plugins/$sym.h"

#include "dataplane/plugin.h"

static enum verdict on_access(struct exchange *x, const void *conf_)
{
    const struct ${sym}_conf *conf = conf_;

    plugin_resp_header_set(x, conf->header_name, STR("seen"));
    return V_NEXT;
}

const struct plugin_ops plugin_$sym = {
    .contract = &contract_$sym,
    .on_access = on_access,
};
EOF

cat >"$test" <<EOF
/* test_plugins_$sym.c - the plugin $name on a loopback exchange. */
#include "tests/unit/dataplane/loopback.h"

static void test_marks_the_response(void **state)
{
    struct loop *l = loop_new();

    (void)state;
    loop_plugin(l, "$name", "{}", ON_ROUTE, NULL);
    loop_request(l, "GET", "/", NO_HEADERS, NULL);
    loop_run(l, NO_HEADERS);
    assert_int_equal(l->verdict, V_NEXT);
    assert_resp(l, "X-$name", "seen");
    loop_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks_the_response),
    };
    return cmocka_run_group_tests(tests, loop_setup, loop_teardown);
}
EOF

# before the first plugin of lower priority, or at the end
before=
for other in $(sed -n 's/^PLUGIN(\(.*\))$/\1/p' $def); do
    p=$(sed -n 's/.*\.priority = \(-\{0,1\}[0-9]*\),.*/\1/p' "common/plugins/$other.c")
    if [ "${p:-0}" -lt "$priority" ]; then
        before=$other
        break
    fi
done
if [ -n "$before" ]; then
    sed -i "s/^PLUGIN($before)\$/PLUGIN($sym)\n&/" $def
else
    printf 'PLUGIN(%s)\n' "$sym" >>$def
fi
echo "made $header $contract $behaviour $test and a line in $def"
echo "next: the table of fields in $contract, then $behaviour, then: make docs check-unit"
echo "see dataplane/plugins/README.md"
