# How this machine reaches the package registries, for the pods of tests: the ConfigMap host-registries has its
# authorities as ca.crt, to be mounted at $registries_folder; the Secret of the same name has the environment, for
# envFrom. They are two since a Pod would take ca.crt for a variable too, longer than any can be.

registries_folder=/etc/host-registries

ca_bundle() {
    local file
    for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
        if [[ -s $file ]]; then
            echo "$file"
            return
        fi
    done
    return 1
}

of_pip() { have python3 && python3 -m pip config get "global.$1" 2>/dev/null; }

of_npm() {
    local value
    value=$(have npm && cd / && npm config get registry 2>/dev/null) || return
    if [[ $value != https://registry.npmjs.org/ ]]; then echo "$value"; fi
}

# First what is set in the environment, then what only a configuration file says.
registry_environment() {
    local name value
    for name in {HTTP,HTTPS,NO,ALL}_PROXY {http,https,no,all}_proxy UV_{DEFAULT_INDEX,INDEX,INDEX_URL,EXTRA_INDEX_URL} \
        UV_{INSECURE_HOST,NATIVE_TLS} PIP_{INDEX_URL,EXTRA_INDEX_URL,TRUSTED_HOST} NPM_CONFIG_REGISTRY npm_config_registry; do
        if [[ ${!name:-} ]]; then printf '%s=%s\n' "$name" "${!name}"; fi
    done
    if [[ ! ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-} ]] && value=${PIP_INDEX_URL:-$(of_pip index-url)} && [[ $value ]]; then
        echo "UV_DEFAULT_INDEX=$value"
    fi
    if [[ ! ${NPM_CONFIG_REGISTRY:-}${npm_config_registry:-} ]] && value=$(of_npm) && [[ $value ]]; then
        echo "NPM_CONFIG_REGISTRY=$value"
    fi
    printf '%s=%s\n' SSL_CERT_FILE "$registries_folder/ca.crt" NODE_EXTRA_CA_CERTS "$registries_folder/ca.crt"
}

# publish_registries NAMESPACE. Server-side, because a bundle does not fit into the annotation that the client would write.
publish_registries() {
    local bundle
    bundle=$(ca_bundle) || die "no bundle of certificate authorities was found: set SSL_CERT_FILE"
    {
        kubectl create configmap host-registries --from-file=ca.crt="$bundle" --dry-run=client --output yaml
        echo ---
        kubectl create secret generic host-registries --from-env-file=<(registry_environment) --dry-run=client --output yaml
    } | kubectl apply --namespace "$1" --server-side --force-conflicts --filename - >/dev/null
}

withdraw_registries() {
    kubectl delete --namespace default --ignore-not-found configmap/host-registries secret/host-registries >/dev/null
}
