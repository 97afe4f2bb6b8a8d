# What hack/cluster and hack/images share.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mcp-gateway
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null; }

# Calls `"${@:2}"` until it succeeds, for at most $1 seconds.
wait_for() {
    local end=$((SECONDS + $1))
    until "${@:2}" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then return 1; fi
        sleep 0.2
    done
}
