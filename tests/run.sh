#!/usr/bin/env bash
# Runs every test, level by level, and says how many ran at each. The last line is "N passed, N failed"; fails if anything failed.
#
# Most tests wait for a cluster most of the time, so rows of levels run side by side: one with the real node, of which a machine has one,
# one with fake nodes, and one that listens to a settled cluster and does the rest after it. What they print is shown level by level, as if
# one ran after the other.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
work=$(mktemp -d); rows=(); summary=(); passed=0; failed=0
# A row is a group of processes of its own: it does not end with ctrl-C by itself.
set -m
end() { for row in "${rows[@]}"; do kill -TERM -- "-$row" 2>/dev/null; done; wait; rm -rf "$work"; }
trap end EXIT
trap 'exit 130' INT TERM

# Results of cargo ("test result: ok. 4 passed; 0 failed; 1 ignored; …") and of go ("--- PASS: TestName"), counted from the log: "P F I".
count() {
    awk '
        /^test result: / { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i; if ($(i+1) == "ignored;") s += $i } }
        /^--- PASS: / { p++ } /^--- FAIL: / { f++ } /^--- SKIP: / { s++ }
        END { print p + 0, f + 0, s + 0 }' "$1"
}

add() {
    local skipped=""; [ "$4" = 0 ] || skipped=", $4 not run"
    summary+=("$(printf '%-12s %5d passed, %d failed%s  (%s s)' "$1" "$2" "$3" "$skipped" "$5")")
    passed=$((passed + $2)); failed=$((failed + $3))
}

# step NAME COMMAND…: something that passes or fails as a whole.
step() {
    local name=$1 begun=$SECONDS; shift
    echo; echo "=== $name: $*"
    if "$@"; then add "$name" 1 0 0 "$((SECONDS - begun))"; else add "$name" 0 1 0 "$((SECONDS - begun))"; fi
}

# level NAME FOLDER COMMAND…: one level of a row. Its status and seconds are written last, and at once.
level() {
    local name=$1 folder=$2 begun=$SECONDS status; shift 2
    (cd "$folder" && "$@") >"$work/$name.log" 2>&1; status=$?
    echo "$status $((SECONDS - begun))" >"$work/$name.new"
    mv "$work/$name.new" "$work/$name.end"
}

# show NAME WHAT: what a level prints, as it prints it, and its counts. A command that fails without a failed test (it crashed, a test
# could not be found) counts as one failure.
show() {
    local name=$1 log=$work/$1.log ended=false shown=0 size status seconds p f s
    echo; echo "=== $name: $2"
    until $ended; do
        [ -e "$work/$name.end" ] && ended=true
        size=$(stat --format=%s "$log" 2>/dev/null || echo 0)
        if [ "$size" -gt "$shown" ]; then tail --bytes="+$((shown + 1))" "$log" | head --bytes="$((size - shown))"; shown=$size; fi
        $ended || sleep 0.3
    done
    read -r status seconds <"$work/$name.end"
    read -r p f s < <(count "$log")
    if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
    add "$name" "$p" "$f" "$s" "$seconds"
}

# tests NAME [ARGUMENT…]: runs the test program of this target, in its package's folder as cargo does; `unit` stands for those of all
# libraries and programs. Fails if one does, or if there is none.
tests() {
    local name=$1 pattern program programs folder failed=0; shift
    if [ "$name" = unit ]; then pattern='unittests .*\((.*)\)'; else pattern="tests/.*\((.*/$name-[0-9a-f]+)\)"; fi
    programs=$(sed --quiet --regexp-extended "s%^ *Executable $pattern\$%\\1%p" "$work/build")
    [ -n "$programs" ] || { echo "there is no test program called $name"; return 1; }
    for program in $programs; do
        case $program in
            */plimsoll_bed-* | */control_plane-* | */gateway-* | */real_node-*) folder=tests/bed ;;
            */plimsoll_demo-* | */users_cluster-*) folder=examples/demo ;;
            *) folder=. ;;
        esac
        (program=$(realpath "$program") && cd "$folder" && "$program" "$@") || failed=1
    done
    return "$failed"
}

root() { [ "$(id -u)" = 0 ]; }

node_and_npm() { command -v node >/dev/null && command -v npm >/dev/null; }

# Jest's "Tests: 1 failed, 11 passed, 12 total" is said as cargo says it.
npm_test() {
    # What npm has installed it writes down there.
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error || return
    npm test --silent 2>&1 | awk '
        { print }
        /^Tests:/ { for (i = 2; i < NF; i++) { if ($(i+1) ~ /^passed/) p = $i; if ($(i+1) ~ /^failed/) f = $i } }
        END { printf "test result: %s. %d passed; %d failed; 0 ignored\n", f ? "FAILED" : "ok", p, f; exit (f > 0 || p == 0) }'
}

step format cargo fmt --all --check
step lints cargo clippy --workspace --all-targets -- -D warnings
# Built once and for all, then run as programs: each choice of targets would be another choice of features to cargo, and another build.
# What is to run fast as well: compiling beside pods that are measured would starve them.
build() {
    cargo test --workspace --no-run 2>&1 | tee "$work/build" && cargo test --release --test it --no-run && cargo bench --bench decisions --no-run
}
step build build
# The first time this takes minutes, and nothing shall wait for it unseen. Whatever cannot be built, the tests that need it say once more.
echo; echo "=== parts of the test bed"
"${CARGO_TARGET_DIR:-target}/debug/plimsoll-bed" build

# hold_node: a bed with a real node for the levels of a row, named in PLIMSOLL_BED_KUBECONFIG. It goes away with this row, however that ends.
hold_node() {
    mkfifo "$work/hold"
    "${CARGO_TARGET_DIR:-target}/debug/plimsoll-bed" hold --node --metrics-server --gateway --fake-nodes 1 <"$work/hold" >"$work/bed.out" 2>"$work/bed.log" &
    bed=$!
    exec {hold}>"$work/hold"
    until grep --quiet --no-messages --extended-regexp '^(ready|failed) ' "$work/bed.out" || ! kill -0 "$bed" 2>/dev/null; do sleep 0.2; done
    # Where it could not be started, each level says why when it tries for itself.
    local folder; folder=$(sed --quiet 's/^ready //p' "$work/bed.out")
    if [ -n "$folder" ]; then export PLIMSOLL_BED_KUBECONFIG=$folder/kubeconfig; fi
}

# release_node: takes that bed away.
release_node() {
    unset PLIMSOLL_BED_KUBECONFIG
    exec {hold}>&-
    wait "$bed"
}

bed_tests() { tests control_plane; local status=$?; tests gateway && return "$status"; }

# The real pods' row goes before the others: probes and latencies are measured there. What computes for half a minute is done while its bed starts.
{
    level unit . tests unit
    level integration . tests it --skip invariants --skip planted
    renice --priority 10 --pid "$BASHPID" >/dev/null
    level apps examples/apps go test -v ./...
    level grpc-app examples/apps/grpcshop go test -v ./...
    level cluster . tests cluster --test-threads=8 --skip silence
} &
rows+=($!)
{
    renice --priority 10 --pid "$BASHPID" >/dev/null
    level silence . tests cluster silence
    if node_and_npm; then level nestjs examples/apps/nestjs npm_test; fi
    level bed . bed_tests
    # All 20 000 where nobody waits for them.
    level seeds . make --no-print-directory seeds SEEDS="${SEEDS:-$([ -n "${CI:-}" ] && echo 10000 || echo 300)}"
    level decisions . cargo bench --bench decisions -- --short
} &
rows+=($!)
# Without root these are counted as not run.
{
    if root; then hold_node; fi
    # In a user's cluster, which the other scenarios play as well.
    level demo . tests users_cluster &
    demo=$!
    # Its last scenarios, which measure load and drain the node, wait for the demo.
    everything=(); if [ -n "${CI:-}" ] && root; then everything=(--include-ignored); fi
    PLIMSOLL_NODE_AFTER=$work/demo.end level node . tests node "${everything[@]}"
    wait "$demo"
    if root; then release_node; level bed-node . tests real_node; fi
} &
rows+=($!)

show unit "tables, properties, worked examples; no I/O"
show integration "timelines, definition, chart, command line"
show apps "the demo's own programs"
show grpc-app "its gRPC variant"
if node_and_npm; then show nestjs "the NestJS app"; else summary+=("$(printf '%-12s     0 run: the NestJS app needs node and npm' nestjs)"); fi
show bed "the test bed itself, control plane and gateway"
show cluster "a real control plane with fake nodes"
show silence "what 200 settled services cost their API server"
show seeds "simulated runs with faults (20 000 in CI), and the bugs that the invariants have to catch"
show decisions "bad versions found, good ones left alone: the benchmark's short form"
show node "pods that really run, crash and are killed (in CI behind Envoy Gateway as well)"
show demo "the demo in a user's cluster"
if root; then show bed-node "the test bed itself, real node"; else summary+=("$(printf '%-12s     0 run: a real node needs root' bed-node)"); fi

echo; echo "=== summary, after $SECONDS s"
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
