#!/bin/sh
# layers.sh - proves that the arrows between the rooms go one way, by their includes.
#
# A line of the table: room, then what its files may include from this project; then which
# library headers are for which files alone.
set -u
cd "$(dirname "$0")/../.." || exit 2
bad=0

# room, then the prefixes its files may include; main.c wires and may see all
may() {
    room=$1
    shift
    pattern=$(printf '|^%s' "$@" | cut -c2-)
    for file in $(find "$room" -name '*.[ch]' ! -name main.c); do
        grep -Hno '^#include "[^"]*"' "$file" | sed 's/#include "//; s/"$//' | while IFS=: read -r name line path; do
            echo "$path" | grep -qE "$pattern" || echo "$name:$line: $room may not include $path"
        done
    done
}

# library header pattern, files that may include it (extended regular expression)
only() {
    grep -rnE "^#include <$1" common proto controlplane admin-api dataplane --include='*.[ch]' |
        grep -vE "^($2)" | sed 's/$/  (only: '"$(echo "$2" | sed 's/[\/&|]/\\&/g')"')/'
}

out=$(
    may common common/
    may proto proto/ common/
    may controlplane controlplane/ proto/ common/
    may admin-api admin-api/ controlplane/ common/ proto/record.h
    may dataplane dataplane/ proto/ common/
    for file in dataplane/plugins/*.c; do
        case $file in */registry.c | */counters.c) continue ;; esac
        grep -Hn '^#include "dataplane/' "$file" | grep -vE '"dataplane/(plugin\.h|plugins/|observe/metrics\.h)'
    done
    grep -rn '#include "admin-api/' controlplane --include='*.[ch]' | grep -v '^controlplane/main.c'
    only 'sqlite3' 'controlplane/store/'
    only 'microhttpd' 'admin-api/server'
    only 'nng/' 'proto/'
    only 'yaml' 'common/'
    only 'curl/' 'admin-api/cli/'
    only 'nghttp2' 'dataplane/codec/http2'
    only 'event2/' 'dataplane/(main|worker|listener|conn|timer|observe|upstream|http|exchange)'
)
if [ -n "$out" ]; then
    echo "$out"
    bad=1
else
    echo "layers: every include follows the arrows"
fi
exit $bad
