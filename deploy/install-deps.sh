#!/bin/sh
# install-deps.sh [--check] - the Debian packages Weir builds, runs and tests with.
#
# Installs what is missing and nothing else; asks the package manager only then, so a
# second run costs milliseconds. --check installs nothing: it prints what is missing
# and exits 1. Needs root (or sudo) only when there is something to install.
set -eu

# What the programs link, then what builds them, then what the tests drive.
packages="
libevent-dev libssl-dev libnghttp2-dev libmicrohttpd-dev libsqlite3-dev libnng-dev
libprotobuf-c-dev libjansson-dev libyaml-dev libpcre2-dev libcurl4-openssl-dev
gcc make pkg-config protobuf-c-compiler protobuf-compiler openssl curl ca-certificates
libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-hpack python3-grpcio python3-h2
clang clang-format clang-tidy libclang-rt-14-dev nghttp2-client
procps iproute2 strace
"

missing=
for package in $packages; do
    status=$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    case $status in
    ii*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "${1-}" = --check ]; then
    echo "missing packages:$missing"
    exit 1
fi

run=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "install-deps: need root to install:$missing" >&2
        exit 1
    }
    run=sudo
fi
echo "install-deps: installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# A list that is merely old is fine; one that was never fetched is not.
# shellcheck disable=SC2086
$run apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 ||
    { $run apt-get update && $run apt-get install -y --no-install-recommends $missing; }
