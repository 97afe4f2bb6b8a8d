# The cluster that is made here, of nothing but this machine.

nodes() { seq "$(cat "$state/nodes")"; }

# $kube is a folder with every component of Kubernetes.
own_prepare() {
    need_packages
    kube=$("$here/../tools" path kube)
    PATH=$kube:$PATH
}

# own_up NODES: none means a control plane alone.
own_up() {
    local nodes=$1
    [[ $nodes =~ ^([0-9]|1[0-5])$ ]] || die "a cluster has at most 15 nodes, not '$nodes'"
    ((EUID == 0)) || die "root is needed for a cluster of its own: use CLUSTER=current|kind|none"
    own_prepare
    if is_up && api_is_ready >/dev/null; then
        say "$CLUSTER_NAME is up already"
        return
    fi
    own_down
    need_pause_image
    mkdir -p "$state"
    echo "$nodes" >"$state/nodes"
    # What ends `up` halfway leaves nothing; only a kill needs a `down`.
    trap own_down_after_failure EXIT
    trap 'exit 130' INT TERM HUP
    own_start
    trap - EXIT INT TERM HUP
}

own_start() {
    local node jobs=()
    if (($(cat "$state/nodes") == 0)); then
        echo 1 >"$state/nodes"
        control_plane_only=yes
    fi
    write_resolv_conf
    network_up
    pki_up
    processes_up
    if [[ ! ${control_plane_only:-} ]]; then
        for node in $(nodes); do
            runtime_up "$node" >/dev/null &
            jobs+=($!)
        done
    fi
    control_plane_up
    if [[ ! ${control_plane_only:-} ]]; then
        scheduler_up
        for node in "${jobs[@]}"; do wait "$node"; done
        for node in $(nodes); do kubelet_up "$node"; done
        dns_up >/dev/null
    fi
    publish_registries default
    wait_for 60 accounts_are_there || die "the controllers do not work: see $state/logs/kube-controller-manager"
    if [[ ! ${control_plane_only:-} ]]; then
        wait_for 60 nodes_are_ready || die "a node does not get ready: see $state/logs"
    fi
}

own_down_after_failure() {
    local status=$? log jobs
    trap - EXIT
    mapfile -t jobs < <(jobs -p)
    if ((${#jobs[@]})); then kill "${jobs[@]}" 2>/dev/null || true; wait; fi
    for log in "$state"/logs/*; do
        if [[ -s $log ]]; then printf '\n== %s\n%s\n' "${log##*/}" "$(tail -n 5 "$log")" >&2; fi
    done
    own_down
    exit "$status"
}

own_down() {
    local number left
    [[ -d $state ]] || return 0
    number=$(number 2>/dev/null || true)
    processes_down
    cgroups_down
    network_down
    rm -rf "$state"
    rmdir --ignore-fail-on-non-empty "${state%/*}"
    left=$(left_behind "$number")
    [[ ! $left ]] || die "left behind: $left"
}

# left_behind NUMBER: what is there of a cluster that was removed. Its processes and control groups were waited for; its
# number may be another's already.
left_behind() {
    local number=$1 file
    for file in /sys/class/net/mcpc*/ifalias; do
        if [[ $(cat "$file" 2>/dev/null) == "mcp-gateway/$CLUSTER_NAME" ]]; then echo "the link ${file%/ifalias}"; fi
    done
    if [[ $number && ! -e /sys/class/net/mcpc$number ]]; then
        nft list tables ip | grep --line-regexp "table ip mcpc$number" || true
    fi
    grep --fixed-strings " $state/" /proc/self/mountinfo || true
}

own_load() {
    local archive node
    for archive in "$@"; do
        for node in $(nodes); do ctr "$node" images import - <"$archive" >/dev/null || die "$archive was not loaded"; done
    done
}

own_status() {
    is_up || die "$CLUSTER_NAME is not up"
    echo "$CLUSTER_NAME: $(components)"
    kubectl get nodes
}
