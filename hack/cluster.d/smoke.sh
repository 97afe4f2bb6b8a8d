# Everything the tests rely on, once: `hack/cluster smoke`.

# What a cluster could leave on the machine; that something is not there is no error.
traces() (
    set +e
    ip -brief link | awk '{ print "link", $1 }'
    ip route show | sed 's/^/route /'
    nft list tables
    findmnt --noheadings --list --output TARGET,SOURCE | sed 's/^/mount /'
    sysctl net.ipv4.ip_forward vm.overcommit_memory kernel.panic kernel.panic_on_oops
    for hierarchy in $(cgroup_hierarchies); do find "$hierarchy" -type d -path '*mcp*' | sed 's/^/cgroup /'; done
    find /run/netns /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers /etc/cni 2>/dev/null | sed 's/^/file /'
    ps -e -o comm= | grep -E '^(kube|etcd|coredns|containerd)' | sort | uniq -c | sed 's/^/processes /'
    find /proc -maxdepth 3 -path '/proc/[0-9]*/ns/net' -printf '%l\n' 2>/dev/null | sort -u | sed 's/^/network /'
    true
)

says() {
    local what=$1 expected=$2 output
    shift 2
    if output=$("$@" 2>&1) && [[ $output == *"$expected"* ]]; then
        say "ok: $what"
    else
        die "FAILED: $what: $output"
    fi
}

timed() {
    local start=${EPOCHREALTIME/[.,]/}
    "$@"
    say "$(((${EPOCHREALTIME/[.,]/} - start) / 1000)) ms: $1"
}

smoke_image() (
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    mkdir -p "$folder"/tools/uv/bin "$folder"/tools/node "$folder"/context
    cp "$("$here/../tools" path uv)"/{uv,uvx} "$folder/tools/uv/bin/"
    node=$("$here/../tools" path node)
    cp -a "$node/.." "$folder/tools/node"
    build_archive "$1" localhost/cluster-smoke:1 "$here/smoke" --build-context tools="$folder/tools" >/dev/null
)

on_smoke_pod() { kubectl --namespace smoke exec smoke --container main -- sh -c "$1"; }

smoke_pod() {
    local address service
    kubectl apply -f "$here/smoke/pod.yaml" >/dev/null
    publish_registries smoke
    timed kubectl --namespace smoke wait --for=condition=Ready pod/smoke --timeout=60s >/dev/null ||
        die "$(kubectl --namespace smoke describe pod smoke)"
    address=$(kubectl --namespace smoke get pod smoke --output jsonpath='{.status.podIP}')
    service=$(kubectl --namespace smoke get service smoke --output jsonpath='{.spec.clusterIP}')
    says 'a pod by its address' 'from the sidecar' curl --silent --max-time 5 "http://$address:8080/"
    says 'a Service by its address' 'from the sidecar' curl --silent --max-time 5 --retry 5 --retry-connrefused "http://$service/"
    says 'logs' started kubectl --namespace smoke logs smoke --container main
    says 'exec' 'uid=65532' on_smoke_pod id
    says 'a Service by its name, from a pod' 'from the sidecar' on_smoke_pod \
        'node -e "fetch(\"http://smoke.smoke.svc.cluster.local/\").then(a => a.text()).then(console.log)"'
    says 'uvx in a pod' 'usage: mcp-server-time' on_smoke_pod 'uvx mcp-server-time --help'
    says 'npm in a pod' '.' on_smoke_pod 'npm view @modelcontextprotocol/server-everything version'
}

smoke() {
    local before archive
    own_prepare
    need_base_image
    archive=$images/smoke.tar
    timed smoke_image "$archive"
    own_down
    before=$(traces)
    timed own_up 1
    trap own_down EXIT
    timed own_load "$base_archive" "$archive"
    smoke_pod
    trap - EXIT
    timed own_down
    diff <(echo "$before") <(traces) >&2 || die "FAILED: what is named above is left behind"
    say 'ok: nothing is left behind'
}
