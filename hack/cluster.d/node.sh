# A node: containerd, kubelet and kube-proxy in a network namespace of its own.

# Images are kept in memory: on a disk, to load and to remove them takes half a minute each. Volumes are not, since
# what a pod writes there would count as its memory.
write_containerd_config() {
    local node=$1
    cat >"$state/node-$node/containerd.toml" <<TOML
version = 2
root = "/run/node-$node/images"
state = "/run/node-$node/containerd"
[grpc]
address = "/run/node-$node/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$pause_image"
stream_server_address = "127.0.0.1"
stream_server_port = "0"
# Without CAP_SYS_RESOURCE runc fails to lower the score of a pod below its own.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$(cni_folder)"
conf_dir = "/run/cluster/node-$node/cni"
TOML
}

write_cni_config() {
    local node=$1
    mkdir -p "$state/node-$node/cni"
    cat >"$state/node-$node/cni/10-bridge.conflist" <<JSON
{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "/run/cluster/node-$node/addresses",
        "ranges": [[{"subnet": "$(node_range "$node")"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
}

write_kubelet_config() {
    local node=$1
    cat >"$state/node-$node/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /run/cluster/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /run/cluster/pki/node-$node.crt
tlsPrivateKeyFile: /run/cluster/pki/node-$node.key
containerRuntimeEndpoint: unix:///run/node-$node/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup_of "$node")
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [$(service_address 10)]
clusterDomain: cluster.local
resolvConf: /run/cluster/resolv.conf
# How soon pods see that a ConfigMap is another.
syncFrequency: 10s
volumePluginDir: /run/node-$node/volume-plugins
# The disk is the machine's, and images come from nowhere else: keep them.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
YAML
}

containerd_is_ready() { ctr "$1" version; }
ctr() { inside "$1" ctr --address "/run/node-$1/containerd.sock" --namespace k8s.io "${@:2}"; }

runtime_up() {
    local node=$1
    mkdir -p "$state/node-$node"
    write_containerd_config "$node"
    write_cni_config "$node"
    write_kubelet_config "$node"
    cgroup_up "$node"
    inside "$node" mkdir -p "/run/node-$node"
    launch "$node" "containerd-$node" containerd --config "/run/cluster/node-$node/containerd.toml" --log-level warn
    wait_for 20 containerd_is_ready "$node" || die "containerd does not start: see $state/logs/containerd-$node"
    ctr "$node" images import - <"$pause_archive"
}

kubelet_up() {
    local node=$1
    launch "$node" "kubelet-$node" kubelet --config "/run/cluster/node-$node/kubelet.yaml" \
        --kubeconfig "/run/cluster/pki/node-$node.kubeconfig" --root-dir "/run/cluster/node-$node/kubelet" \
        --hostname-override "node-$node" --node-ip "$(node_address "$node")"
    launch "$node" "kube-proxy-$node" kube-proxy --kubeconfig /run/cluster/pki/kube-proxy.kubeconfig \
        --hostname-override "node-$node" --cluster-cidr "$(pod_range)" --proxy-mode nftables --conntrack-max-per-core 0
}

# The resolvers of the machine, unless it asks itself: the nodes cannot reach its loopback addresses.
write_resolv_conf() {
    local file=/etc/resolv.conf
    if ! grep '^nameserver' "$file" | grep -qv ' 127\.' && [[ -e /run/systemd/resolve/resolv.conf ]]; then
        file=/run/systemd/resolve/resolv.conf
    fi
    cp --dereference "$file" "$state/resolv.conf"
}

nodes_are_ready() { kubectl wait --for=condition=Ready node --all --timeout=30s; }
accounts_are_there() { kubectl get serviceaccount default; }
