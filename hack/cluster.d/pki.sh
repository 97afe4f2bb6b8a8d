# Keys and certificates: one authority for all, good for a month.

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# certificate NAME SUBJECT [SUBJECT-ALTERNATIVE-NAMES]: for servers and clients alike.
certificate() {
    new_key "$state/pki/$1.key"
    openssl req -x509 -days 30 -key "$state/pki/$1.key" -subj "$2" -out "$state/pki/$1.crt" \
        -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" \
        -addext 'basicConstraints=critical,CA:FALSE' -addext 'keyUsage=critical,digitalSignature' \
        -addext 'extendedKeyUsage=serverAuth,clientAuth' ${3:+-addext "subjectAltName=$3"}
}

# kubeconfig_of CERTIFICATE: with everything in it, so that it can be used anywhere.
kubeconfig_of() {
    cat <<YAML
apiVersion: v1
kind: Config
current-context: $CLUSTER_NAME
clusters:
- name: $CLUSTER_NAME
  cluster:
    server: https://$(node_address 1):6443
    certificate-authority-data: $(base64 --wrap=0 "$state/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 --wrap=0 "$state/pki/$1.crt")
    client-key-data: $(base64 --wrap=0 "$state/pki/$1.key")
contexts:
- name: $CLUSTER_NAME
  context: {cluster: $CLUSTER_NAME, user: $1}
YAML
}

client() {
    certificate "$1" "$2"
    kubeconfig_of "$1" >"$state/pki/$1.kubeconfig"
}

pki_up() {
    local node names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
    mkdir -p "$state/pki"
    chmod 700 "$state/pki"
    new_key "$state/pki/ca.key"
    openssl req -x509 -days 30 -key "$state/pki/ca.key" -subj "/CN=$CLUSTER_NAME" -out "$state/pki/ca.crt" \
        -addext 'keyUsage=critical,digitalSignature,keyCertSign,cRLSign'
    new_key "$state/pki/service-accounts.key"
    openssl pkey -in "$state/pki/service-accounts.key" -pubout -out "$state/pki/service-accounts.pub"
    certificate kube-apiserver /CN=kube-apiserver "$names,IP:$(service_address 1),IP:$(node_address 1),IP:127.0.0.1"
    certificate kubelet-client /O=system:masters/CN=kube-apiserver
    client admin /O=system:masters/CN=admin
    client kube-controller-manager /CN=system:kube-controller-manager
    client kube-scheduler /CN=system:kube-scheduler
    client kube-proxy /CN=system:kube-proxy
    client coredns /CN=system:coredns
    for node in $(nodes); do
        certificate "node-$node" "/O=system:nodes/CN=system:node:node-$node" "DNS:node-$node,IP:$(node_address "$node")"
        kubeconfig_of "node-$node" >"$state/pki/node-$node.kubeconfig"
    done
    install -m 600 "$state/pki/admin.kubeconfig" "$state/kubeconfig"
}
