#!/usr/bin/env bash
# Installs what a fresh Debian lacks, or names it where that is not allowed. What the test bed needs beyond this, it sees to itself.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need cc gcc
need make make
need git git
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "requirements: installing ${missing[*]}" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get install --yes --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
            { apt-get update >/dev/null && apt-get install --yes --no-install-recommends "${missing[@]}" >/dev/null; }
    else
        echo "requirements: missing packages; install them: apt-get install ${missing[*]}" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "requirements: no Rust here; install 1.89 or newer: https://rustup.rs" >&2
    exit 1
fi
if ! command -v go >/dev/null 2>&1; then
    echo "requirements: no Go here; install 1.26 or newer: https://go.dev/doc/install" >&2
    exit 1
fi
# A minimal toolchain has neither; `make check` and `make test` need both.
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 && continue
    name=$component; [ "$name" = fmt ] && name=rustfmt
    echo "requirements: adding $name to the Rust toolchain" >&2
    rustup component add "$name" >&2 ||
        { echo "requirements: cargo $component is missing; install it: rustup component add $name" >&2; exit 1; }
done
