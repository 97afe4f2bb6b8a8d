# etcd, the API server and the controllers, beside node 1. Paths are those that `inside` made.

api_is_ready() { kubectl get --raw /readyz; }

# What programs with service accounts ask for, those of Kubernetes itself excepted: `hack/cluster logs audit`.
write_audit_policy() {
    cat >"$state/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Metadata, userGroups: ["system:serviceaccounts"]}
- {level: None}
YAML
}

control_plane_up() {
    local pki=/run/cluster/pki api controllers=()
    write_audit_policy
    launch 1 etcd etcd --name node-1 --data-dir /run/cluster/etcd --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster node-1=http://127.0.0.1:2380
    api=(--etcd-servers http://127.0.0.1:2379 --advertise-address "$(node_address 1)" --allow-privileged
        --service-cluster-ip-range "$(service_range)" --authorization-mode Node,RBAC
        --enable-admission-plugins NodeRestriction,OwnerReferencesPermissionEnforcement
        --audit-policy-file /run/cluster/audit.yaml --audit-log-path /run/cluster/logs/audit --audit-log-maxsize 2000
        --client-ca-file "$pki/ca.crt"
        --tls-cert-file "$pki/kube-apiserver.crt" --tls-private-key-file "$pki/kube-apiserver.key"
        --service-account-issuer https://kubernetes.default.svc.cluster.local
        --service-account-key-file "$pki/service-accounts.pub"
        --service-account-signing-key-file "$pki/service-accounts.key"
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-client-certificate "$pki/kubelet-client.crt"
        --kubelet-client-key "$pki/kubelet-client.key" --kubelet-preferred-address-types InternalIP)
    if (($(cat "$state/nodes") > 1)); then
        # A node that is lost is given up in half a minute, its pods ten seconds later, instead of six minutes in all.
        api+=(--default-not-ready-toleration-seconds 10 --default-unreachable-toleration-seconds 10)
        controllers+=(--node-monitor-grace-period 30s)
    fi
    launch 1 kube-apiserver kube-apiserver "${api[@]}"
    wait_for 60 api_is_ready || die "the API server does not start: see $state/logs"
    launch 1 kube-controller-manager kube-controller-manager --kubeconfig "$pki/kube-controller-manager.kubeconfig" \
        --bind-address 127.0.0.1 --leader-elect=false --use-service-account-credentials \
        --kube-api-qps 200 --kube-api-burst 400 "${controllers[@]}" \
        --root-ca-file "$pki/ca.crt" --service-account-private-key-file "$pki/service-accounts.key"
}

scheduler_up() {
    launch 1 kube-scheduler kube-scheduler --kubeconfig /run/cluster/pki/kube-scheduler.kubeconfig \
        --bind-address 127.0.0.1 --leader-elect=false
}

# CoreDNS listens on the address of node 1, outside of pods.
dns_up() {
    cat >"$state/Corefile" <<COREFILE
.:53 {
    bind $(node_address 1)
    errors
    health 127.0.0.1:8080
    kubernetes cluster.local in-addr.arpa {
        kubeconfig /run/cluster/pki/coredns.kubeconfig
        ttl 2
    }
    forward . /run/cluster/resolv.conf
    cache 10
}
COREFILE
    kubectl apply --server-side -f - <<YAML
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: system:coredns}
rules:
- {apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: system:coredns}
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec:
  clusterIP: $(service_address 10)
  ports:
  - {name: dns, port: 53, protocol: UDP}
  - {name: dns-tcp, port: 53, protocol: TCP}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints:
- addresses: [$(node_address 1)]
ports:
- {name: dns, port: 53, protocol: UDP}
- {name: dns-tcp, port: 53, protocol: TCP}
YAML
    wait_for 10 kubectl auth can-i list services --all-namespaces --as system:coredns || die "the roles do not work"
    launch 1 coredns coredns -conf /run/cluster/Corefile
}
