#!/usr/bin/env bash
# Runs every test, level by level, and says how many ran at each. The last line is "N passed, N failed"; fails if anything failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
log=$(mktemp); trap 'rm -f "$log"' EXIT
summary=(); passed=0; failed=0

# Results of cargo ("test result: ok. 4 passed; 0 failed; 1 ignored; …") and of go ("--- PASS: TestName"), counted from the log: "P F I".
count() {
    awk '
        /^test result: / { for (i = 1; i < NF; i++) { if ($(i+1) == "passed;") p += $i; if ($(i+1) == "failed;") f += $i; if ($(i+1) == "ignored;") s += $i } }
        /^--- PASS: / { p++ } /^--- FAIL: / { f++ } /^--- SKIP: / { s++ }
        END { print p + 0, f + 0, s + 0 }' "$log"
}

# level NAME WHAT FOLDER COMMAND…: a command that fails without a failed test (it did not compile, it crashed) counts as one failure.
level() {
    local name=$1 what=$2 folder=$3 begun=$SECONDS status p f s; shift 3
    echo; echo "=== $name: $what"
    (cd "$folder" && "$@") 2>&1 | tee "$log"; status=${PIPESTATUS[0]}
    read -r p f s < <(count)
    if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
    add "$name" "$p" "$f" "$s" "$((SECONDS - begun)) s"
}

add() {
    local skipped=""; [ "$4" = 0 ] || skipped=", $4 not run"
    summary+=("$(printf '%-12s %5d passed, %d failed%s  (%s)' "$1" "$2" "$3" "$skipped" "$5")")
    passed=$((passed + $2)); failed=$((failed + $3))
}

# step NAME COMMAND…: something that passes or fails as a whole.
step() {
    local name=$1 begun=$SECONDS; shift
    echo; echo "=== $name: $*"
    if "$@"; then add "$name" 1 0 0 "$((SECONDS - begun)) s"; else add "$name" 0 1 0 "$((SECONDS - begun)) s"; fi
}

step format cargo fmt --all --check
step lints cargo clippy --workspace --all-targets -- -D warnings
level unit "tables, properties, worked examples; no I/O" . cargo test --workspace --lib --bins --no-fail-fast
level integration "timelines, invariants, definition, chart, command line" . cargo test --workspace --test it
level apps "the demo's own programs" examples/apps go test -v ./...
level bed "the test bed itself, control plane and gateway" . cargo test --workspace --test control_plane --test gateway
level cluster "a real control plane with fake nodes" . cargo test --workspace --test cluster -- --test-threads=4
# Without root these are counted as not run.
level node "pods that really run, crash and are killed" . cargo test --workspace --test node
level demo "the demo in a user's cluster" . cargo test --workspace --test users_cluster
if [ "$(id -u)" = 0 ]; then
    level bed-node "the test bed itself, real node" . cargo test --workspace --test real_node
else
    summary+=("$(printf '%-12s     0 run: a real node needs root' bed-node)")
fi

echo; echo "=== summary"
printf '%s\n' "${summary[@]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
