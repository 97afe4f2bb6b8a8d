# The processes of a cluster: all live in one mount and one process namespace, whose first process is `inside`. They are
# adopted by it, so that its end is theirs, pods included.

# Every process outside of pods is in the network namespace of a node, wherever it came from.
processes() {
    local file inode
    for file in "$state"/network/*; do
        mountpoint --quiet "$file" 2>/dev/null || continue
        inode=$(stat --dereference --format=%i "$file")
        find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/net' -lname "net:\[$inode]" 2>/dev/null | cut -d/ -f3 || true
    done
}

first_process() { cat "$state/first" 2>/dev/null; }

is_up() { [[ -d /proc/$(first_process)/ns ]] && owns_bridge; }

first_process_started() {
    local parent=$1
    pgrep --parent "$parent" >"$state/first" && [[ -e /proc/$(first_process)/root/run/ready ]]
}

processes_up() {
    mkdir -p "$state"/{components,logs,var-lib,var-log}
    setsid nsenter --net="$state/network/1" unshare --mount --pid --fork --mount-proc --propagation private --kill-child \
        bash "$here/inside" "$state" "$kube" </dev/null >"$state/logs/first" 2>&1 &
    disown
    wait_for 10 first_process_started $! || die "the namespaces could not be made: $(cat "$state/logs/first")"
}

# launch NODE NAME COMMAND…: the script that starts a component stays, so that `start` can do it again.
launch() {
    local node=$1 name=$2
    printf '%q ' exec "${@:3}" >"$state/components/$name"
    echo "$node" >"$state/components/$name.node"
    start "$name"
}

inside() { nsenter --target "$(first_process)" --mount --pid --net="$state/network/$1" "${@:2}"; }

start() {
    local node
    node=$(cat "$state/components/$1.node" 2>/dev/null) || die "no component is named '$1'; there are: $(components)"
    # shellcheck disable=SC2016 # expanded by the inner shell
    inside "$node" setsid --fork sh -c 'echo $$ >"/run/pids/$1"; PATH=/run/bin:$PATH . "/run/cluster/components/$1"' \
        sh "$1" </dev/null >>"$state/logs/$1" 2>&1
}

# Kills a component as a failure would; pods of a stopped kubelet go on.
stop() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    inside 1 sh -c 'kill -9 "$(cat "/run/pids/$1")"' sh "$1" 2>/dev/null || die "'$1' is not running; there are: $(components)"
}

components() { find "$state/components" -name '*.node' -printf '%f\n' | sed 's/\.node$//' | sort | tr '\n' ' '; }

# `return 0`: within a trap, a bare one has the status that the trap found.
no_processes() {
    local left
    mapfile -t left < <(processes)
    if ((${#left[@]} == 0)); then return 0; fi
    kill -9 "${left[@]}" 2>/dev/null
    return 1
}

processes_down() { wait_for 30 no_processes || die "processes do not end: $(processes | tr '\n' ' ')"; }
