#!/bin/bash
# run.sh - a gateway to try: one control plane, two data planes, an echo upstream, on
# loopback. What `make run` starts once everything is built. Ctrl-C stops all of it.
#
#   WEIR_RUN_DIR     where database, certificates, snapshots and logs live (./run)
#   WEIR_RUN_OFFSET  is added to every port (0)
#   WEIR_BUILD       folder of the programs (./build)
#
# Every program runs in a session of its own, so that Ctrl-C reaches this script alone and
# the order of stopping is ours: data planes drain first, the control plane goes after them.
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
build=${WEIR_BUILD:-$here/build}
run=${WEIR_RUN_DIR:-$here/run}
offset=${WEIR_RUN_OFFSET:-0}

ready_seconds=30 # for one program to say that it serves
stop_seconds=20  # for one program to end before it is killed

case $offset in
*[!0-9]* | '') echo "run: WEIR_RUN_OFFSET = '$offset': expected a whole number" >&2 && exit 1 ;;
esac

admin=$((8001 + offset)) cluster=$((8005 + offset)) status=$((8007 + offset))
proxy=($((8000 + offset)) $((8010 + offset)))
tls=($((8443 + offset)) $((8453 + offset)))
dp_status=($((8100 + offset)) $((8110 + offset)))
echo_port=$((9000 + offset))
admin_url=http://127.0.0.1:$admin

names=() pids=() # in the order of starting
stopping=

say() {
    echo "run: $*"
}

# fail MESSAGE: stops what runs and ends.
fail() {
    echo "run: $*" >&2
    stop_all
    exit 1
}

log_of() {
    echo "$run/log/$1.log"
}

show_log() {
    echo "--- the end of $(log_of "$1")" >&2
    tail -n 20 "$(log_of "$1")" >&2
    echo "---" >&2
}

# start NAME COMMAND...
start() {
    local name=$1 log
    shift
    log=$(log_of "$name")
    [ ! -f "$log" ] || mv -f "$log" "$log.1"
    setsid "$@" >"$log" 2>&1 </dev/null &
    names+=("$name")
    pids+=($!)
}

# wait_ready NAME LINE: until the newest program has printed a line that begins with LINE.
wait_ready() {
    local name=$1 line=$2 pid=${pids[-1]} end=$((SECONDS + ready_seconds))
    until grep -q "^$line" "$(log_of "$name")" 2>/dev/null; do
        [ -z "$stopping" ] || finish
        if ! kill -0 "$pid" 2>/dev/null; then
            show_log "$name"
            fail "$name ended before it was ready"
        fi
        if [ "$SECONDS" -ge "$end" ]; then
            show_log "$name"
            fail "$name was not ready after $ready_seconds s"
        fi
        sleep 0.05
    done
}

# wait_status URL STATUS WHAT
wait_status() {
    local url=$1 want=$2 what=$3 end=$((SECONDS + ready_seconds)) got
    until got=$(curl -s -o /dev/null -m 5 -w '%{http_code}' "$url") && [ "$got" = "$want" ]; do
        [ -z "$stopping" ] || finish
        [ "$SECONDS" -lt "$end" ] || fail "$what: $url answers $got, expected $want"
        sleep 0.05
    done
}

stop_one() {
    local name=$1 pid=$2 end=$((SECONDS + stop_seconds))
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "run: $name did not stop within $stop_seconds s, killing it" >&2
            kill -KILL "$pid" 2>/dev/null
            break
        fi
        sleep 0.05
    done
    wait "$pid" 2>/dev/null
}

stop_all() {
    local i
    trap '' INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        stop_one "${names[i]}" "${pids[i]}"
    done
    names=() pids=()
}

finish() {
    echo
    say "stopping"
    stop_all
    say "stopped; data stays in $run"
    exit 0
}

# ---- before anything starts ----

for program in weir-cp weir-dp weirctl; do
    [ -x "$build/$program" ] || fail "$build/$program is missing, expected it to be built: run make first"
done

busy=
for port in "$admin" "$cluster" "$status" "${proxy[@]}" "${tls[@]}" "${dp_status[@]}" "$echo_port"; do
    [ -z "$(ss -Hltn "sport = :$port")" ] || busy="$busy $port"
done
[ -z "$busy" ] || fail "these ports are in use:$busy (WEIR_RUN_OFFSET=N adds N to every port)"

mkdir -p "$run/log" "$run/cp" "$run/dp1" "$run/dp2" || exit 1
chmod 700 "$run"
if [ ! -f "$run/certs/ca.crt" ]; then
    "$build/weirctl" cert --out "$run/certs" || fail "no certificates"
fi

trap 'stopping=1' INT TERM

# ---- start, each when the one before it serves ----

# The environment of whoever runs this must not configure the programs.
for variable in ${!WEIR_@}; do
    unset "$variable"
done

start echo "$here/deploy/echo.py" --listen "127.0.0.1:$echo_port"
wait_ready echo "echo ready"

start weir-cp "$build/weir-cp" --data-dir "$run/cp" \
    --admin-listen "127.0.0.1:$admin" --status-listen "127.0.0.1:$status" \
    --cluster-listen "tls+tcp://127.0.0.1:$cluster" --cluster-ca "$run/certs/ca.crt" \
    --cluster-cert "$run/certs/cp.crt" --cluster-cert-key "$run/certs/cp.key"
wait_ready weir-cp "weir-cp ready"

for i in 0 1; do
    name=dp$((i + 1))
    start "$name" "$build/weir-dp" --data-dir "$run/$name" --workers 1 \
        --proxy-listen "127.0.0.1:${proxy[i]}, 127.0.0.1:${tls[i]} ssl" \
        --status-listen "127.0.0.1:${dp_status[i]}" \
        --control-plane "tls+tcp://127.0.0.1:$cluster" --cluster-ca "$run/certs/ca.crt" \
        --cluster-cert "$run/certs/dp.crt" --cluster-cert-key "$run/certs/dp.key"
    wait_ready "$name" "weir-dp ready"
done

# ---- a first route, when nobody has made one ----

new=
services=$(curl -sS -m 10 "$admin_url/services?size=1") || fail "the Admin API does not answer at $admin_url"
case $services in
*'"data":[]'*)
    new=1
    curl -sS -f -m 10 -o /dev/null "$admin_url/services" \
        -d name=echo -d "url=http://127.0.0.1:$echo_port" || fail "the service echo could not be made"
    curl -sS -f -m 10 -o /dev/null "$admin_url/services/echo/routes" \
        -d name=echo -d 'paths[]=/echo' || fail "the route /echo could not be made"
    ;;
esac

for i in 0 1; do
    wait_status "http://127.0.0.1:${dp_status[i]}/status/ready" 200 "dp$((i + 1))"
    [ -z "$new" ] || wait_status "http://127.0.0.1:${proxy[i]}/echo" 200 "dp$((i + 1))"
done

cat <<END

Weir runs. Data and logs are in $run; Ctrl-C stops everything.

  through the first data plane    curl http://127.0.0.1:${proxy[0]}/echo
  through the second one          curl http://127.0.0.1:${proxy[1]}/echo
  over TLS                        curl -k https://127.0.0.1:${tls[0]}/echo
  the Admin API                   curl $admin_url/routes
  who serves which configuration  $build/weirctl nodes$([ "$offset" = 0 ] || echo " --admin-url $admin_url")
  metrics of a data plane         curl http://127.0.0.1:${dp_status[0]}/metrics

END

# ---- until Ctrl-C, or until one of them dies ----

trap finish INT TERM # a flag could be set just before the wait, which would not look at it
[ -z "$stopping" ] || finish
while :; do
    wait -n "${pids[@]}" 2>/dev/null
    code=$?
    for i in "${!pids[@]}"; do
        kill -0 "${pids[i]}" 2>/dev/null && continue
        show_log "${names[i]}"
        fail "${names[i]} ended with status $code"
    done
done
