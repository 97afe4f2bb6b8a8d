# Debian's packages that the cluster and the images are made with, installed when something is missing.

# package:a command of it
packages=(containerd:containerd runc:runc containernetworking-plugins: nftables:nft iproute2:ip
    buildah:buildah debootstrap:debootstrap busybox-static:busybox openssl:openssl procps:pgrep)

cni_folder() {
    local folder
    for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
        if [[ -x $folder/bridge ]]; then
            echo "$folder"
            return
        fi
    done
    return 1
}

missing_packages() {
    local entry
    for entry in "${packages[@]}"; do
        if [[ $entry == containernetworking-plugins: ]]; then
            cni_folder >/dev/null || echo "${entry%:}"
        else
            PATH=$PATH:/usr/sbin:/sbin have "${entry#*:}" || echo "${entry%:*}"
        fi
    done
}

# Nothing that apt installs here may start as a service: the cluster starts its own.
apt_install() (
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get --quiet=2 -o DPkg::Lock::Timeout=300 update
    apt-get --quiet=2 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 --yes --no-install-recommends install "$@"
)

need_packages() {
    local names
    mapfile -t names < <(missing_packages)
    if ((${#names[@]} == 0)); then return; fi
    if ((EUID != 0)) || ! have apt-get; then
        die "missing: ${names[*]}; install them (Debian's names), or use CLUSTER=current|kind|none"
    fi
    say "installing ${names[*]}"
    local output
    output=$(apt_install "${names[@]}" 2>&1 </dev/null) || { echo "$output" >&2; die "apt-get could not install ${names[*]}"; }
}
