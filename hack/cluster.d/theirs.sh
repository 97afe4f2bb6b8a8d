# Clusters that somebody else made: the current context's, or one of kind.

need_kubectl() { have kubectl || PATH=$("$here/../tools" path kube):$PATH; }

# The context is pinned at `up`: what is switched to later is not touched.
current_up() {
    need_kubectl
    mkdir -p "$state"
    (umask 077 && kubectl_of_user config view --minify --flatten >"$state/kubeconfig") 2>/dev/null || current_failed
    kubectl get --raw /readyz >/dev/null 2>&1 || current_failed
    publish_registries default
    say "using the context $(kubectl config current-context)"
}

kubectl_of_user() { command kubectl "$@"; }

current_failed() {
    rm -rf "$state"
    die "CLUSTER=current: the kubeconfig's current context does not answer"
}

current_down() {
    [[ -f $state/kubeconfig ]] || return 0
    need_kubectl
    withdraw_registries || say "its cluster does not answer: host-registries stays there"
    rm -rf "$state"
}

current_load() { die "CLUSTER=current cannot load images: push them where that cluster pulls from"; }

need_kind() {
    have kind || die "CLUSTER=kind: kind is missing"
    docker info >/dev/null 2>&1 || die "CLUSTER=kind: Docker is missing or does not run"
    need_kubectl
}

kind_exists() { kind get clusters 2>/dev/null | grep --quiet --line-regexp "$CLUSTER_NAME"; }

kind_up() {
    need_kind
    mkdir -p "$state"
    if ! kind_exists; then
        touch "$state/created"
        kind create cluster --name "$CLUSTER_NAME" --wait 120s --kubeconfig "$state/kubeconfig" || die "kind failed"
    else
        (umask 077 && kind get kubeconfig --name "$CLUSTER_NAME" >"$state/kubeconfig")
    fi
    publish_registries default
}

kind_down() {
    [[ -d $state ]] || return 0
    if [[ -f $state/created ]]; then
        need_kind
        kind delete cluster --name "$CLUSTER_NAME" --kubeconfig "$state/kubeconfig"
    fi
    rm -rf "$state"
}

kind_load() {
    local archive
    for archive in "$@"; do kind load image-archive --name "$CLUSTER_NAME" "$archive"; done
}

theirs_status() {
    [[ -f $state/kubeconfig ]] || die "not up: hack/cluster up"
    need_kubectl
    kubectl get nodes
}
