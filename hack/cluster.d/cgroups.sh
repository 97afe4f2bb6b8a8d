# A folder of control groups per node, in every hierarchy: kubelets that share one remove each other's pods.

cgroup_of() { echo "mcp-gateway.$CLUSTER_NAME.$1"; }

cgroup_hierarchies() { findmnt --noheadings --output TARGET --types "${1:-cgroup,cgroup2}" | grep '^/sys/fs/cgroup'; }

cgroup_up() {
    local parent folder file
    if [[ ! $(cgroup_hierarchies cgroup) ]]; then
        # Version 2: what the parent does not hand on, its folders lack.
        sed 's/[^ ]\+/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
    fi
    for parent in $(cgroup_hierarchies); do
        folder=$parent/$(cgroup_of "$1")
        mkdir -p "$folder"
        for file in cpuset.cpus cpuset.mems; do
            if [[ -e $folder/$file && -s $parent/$file ]]; then cat "$parent/$file" >"$folder/$file"; fi
        done
    done
}

no_cgroups() {
    local folder
    for folder in $(cgroups); do find "$folder" -depth -type d -exec rmdir {} \; 2>/dev/null; done
    [[ ! $(cgroups) ]]
}

cgroups() {
    local parent
    for parent in $(cgroup_hierarchies); do
        find "$parent" -mindepth 1 -maxdepth 1 -name "$(cgroup_of '[0-9]*')"
    done
}

cgroups_down() { wait_for 30 no_cgroups || die "control groups do not go: $(cgroups | tr '\n' ' ')"; }
