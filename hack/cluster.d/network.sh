# The network of a cluster: a bridge on the host, a network namespace per node, routes to pods and Services. Clusters
# of different names get different numbers, and everything is derived from the number.

# Node 1 also runs the control plane. Nodes are numbered from 1.
number() { cat "$state/number"; }
bridge() { echo "mcpc$(number)"; }
host_address() { echo "10.200.$(number).1"; }
node_address() { echo "10.200.$(number).$(($1 + 1))"; }
node_range() { echo "10.201.$(($(number) * 16 + $1)).0/24"; }
pod_range() { echo "10.201.$(($(number) * 16)).0/20"; }
# Room for four thousand: each server has a Service.
service_range() { echo "10.202.$(($(number) * 16)).0/20"; }
service_address() { echo "10.202.$(($(number) * 16)).$1"; }

# The name of the bridge is the reservation of the number; its alias tells whose it is.
reserve_number() (
    exec 8</run
    flock 8
    for number in {0..15}; do
        [[ -e /sys/class/net/mcpc$number ]] && continue
        echo "$number" >"$state/number"
        ip -batch - <<LINKS
link add mcpc$number type bridge
link set mcpc$number alias mcp-gateway/$CLUSTER_NAME
address add 10.200.$number.1/24 dev mcpc$number
link set mcpc$number up
LINKS
        return
    done
    die "16 clusters are up already"
)

owns_bridge() {
    [[ -f $state/number && $(cat "/sys/class/net/$(bridge)/ifalias" 2>/dev/null) == "mcp-gateway/$CLUSTER_NAME" ]]
}

# A node that is cut off goes on, and nobody reaches it: as when its machine is lost.
cut_off() { ip link set "$(bridge)n$1" down || die "there is no node $1"; }
give_back() { ip link set "$(bridge)n$1" up || die "there is no node $1"; }

in_network() { nsenter --net="$state/network/$1" "${@:2}"; }

# A namespace is kept by a file of ours: `ip netns` would leave its mount of /run/netns behind.
network_namespace() {
    local node=$1 link
    link=$(bridge)n$node
    touch "$state/network/$node"
    unshare --net="$state/network/$node" true
    ip link add "$link" type veth peer name eth0 netns "$state/network/$node"
    ip link set "$link" master "$(bridge)" up
    in_network "$node" ip -batch - <<LINKS
link set lo up
address add $(node_address "$node")/24 dev eth0
link set eth0 up
route add default via $(host_address)
LINKS
    ip route add "$(node_range "$node")" via "$(node_address "$node")"
}

connect_nodes() {
    local node other
    for node in $(nodes); do
        for other in $(nodes); do
            if ((other != node)); then
                in_network "$node" ip route add "$(node_range "$other")" via "$(node_address "$other")"
            fi
        done
    done
}

# Replies to pods enter through the host's own links, hence the setting for all of them. Docker and others let nothing
# pass that they do not know: the table of ours cannot overrule them.
masquerade() {
    local saved=/run/mcp-gateway-forwarding
    if [[ $(</proc/sys/net/ipv4/ip_forward) == 0 ]]; then
        echo 0 >"$saved"
        echo 1 >/proc/sys/net/ipv4/ip_forward
    fi
    nft -f - <<RULES
table ip $(bridge) {
    chain postrouting {
        type nat hook postrouting priority srcnat
        ip saddr { 10.200.$(number).0/24, $(pod_range) } oifname != "$(bridge)" masquerade
    }
}
RULES
}

network_up() {
    local node
    reserve_number
    mkdir -p "$state/network"
    for node in $(nodes); do network_namespace "$node"; done
    connect_nodes
    ip route add "$(service_range)" via "$(node_address 1)"
    masquerade
}

# Links to the namespaces and routes go with the bridge and the namespaces.
network_down() (
    local file
    exec 8</run
    flock 8
    for file in "$state"/network/*; do
        if mountpoint --quiet "$file"; then umount "$file"; fi
    done
    if owns_bridge; then
        for file in /sys/class/net/"$(bridge)"n*; do
            if [[ -e $file ]]; then ip link delete "${file##*/}"; fi
        done
        nft delete table ip "$(bridge)" 2>/dev/null || true
        ip link delete "$(bridge)"
    fi
    if [[ -f /run/mcp-gateway-forwarding && ! $(compgen -G '/sys/class/net/mcpc*') ]]; then
        cat /run/mcp-gateway-forwarding >/proc/sys/net/ipv4/ip_forward
        rm -f /run/mcp-gateway-forwarding
    fi
)
