#!/bin/sh
# Mirrors a made set of multi-platform images between two registries of mmgraph's own, on loopback, in seconds.
# Each command is printed before its output, so that it can be repeated by hand. What it makes is in ./demo.
set -eu
cd "$(dirname "$0")"

command -v mmgraph >/dev/null || { echo "demo.sh: mmgraph is not installed here; run: make demo" >&2; exit 1; }

servers=
stop() {
    trap - EXIT INT TERM HUP
    # shellcheck disable=SC2086 # a list of process ids
    [ -z "$servers" ] || { kill $servers 2>/dev/null || true; wait $servers 2>/dev/null || true; }
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

# Starts a registry over memory on a free port and sets `address`.
start() {
    printf '$ mmgraph serve &\n'
    mmgraph serve >"demo/$1.log" &
    servers="$servers $!"
    tries=0
    while [ ! -s "demo/$1.log" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 200 ] || ! kill -0 "$!" 2>/dev/null; then
            echo "demo.sh: the registry did not start" >&2
            exit 1
        fi
        sleep 0.1
    done
    cat "demo/$1.log"
    address=$(sed -n '1s/^listening on //p' "demo/$1.log")
}

rm -rf demo
mkdir demo

say "Two registries: one to copy from, one to copy to."
start source
source=$address
start destination
destination=$address

say "Images for the first one, and copy specs for all of them. They share layers, as real ones do."
run python -m benchmarks.demo "$source" "$destination" demo/specs.json
run head -n 2 demo/specs.json

export XDG_CACHE_HOME="$PWD/demo/cache"
say "What is to be done, and what it takes."
run mmgraph plan demo/specs.json

say "The same as a graph, for review."
run mmgraph graph demo/specs.json --collapse --out demo/graph.dot
if command -v dot >/dev/null; then
    run mmgraph graph demo/specs.json --collapse --format svg --out demo/graph.svg
fi
run ls demo

say "Do it."
run mmgraph apply demo/specs.json

say "Do it again."
run mmgraph apply demo/specs.json
