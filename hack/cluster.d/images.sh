# Images without a registry and without Docker: buildah, with a storage of its own. The base is what Docker Hub has under
# the same name, made from Debian's packages.

base_image=docker.io/library/debian:$DEBIAN-slim
pause_image=localhost/pause:1
export DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian} DEBIAN

# What is mounted meanwhile ends with the command, also when that is killed.
isolated() { unshare --mount --pid --fork --mount-proc --propagation private --kill-child "$@"; }

buildah() {
    isolated buildah --root "$images/storage" --runroot "$images/run" "$@"
}

# Makes a file by `"${@:2}" FOLDER`, which leaves it in that folder under the file's name. The file gets to its place
# only when that succeeded.
cached() {
    local file=$1
    [[ -e $file ]] && return
    mkdir -p "$images"
    (
        exec 9>"$file.lock"
        flock 9
        if [[ -e $file ]]; then exit; fi
        say "making the image ${file##*/}"
        partial=$(mktemp -d "$images/.partial.XXXXXX")
        trap 'rm -rf "$partial"' EXIT
        "${@:2}" "$partial" >"$images/log" 2>&1 || { tail -n 20 "$images/log" >&2; die "no ${file##*/}"; }
        mv "$partial/${file##*/}" "$file"
    )
}

# build_archive ARCHIVE TAG CONTEXT [OPTION…]
build_archive() {
    local archive=$1 tag=$2
    buildah bud --isolation chroot --network host --pull-never --layers --tag "$tag" "${@:4}" "$3" &&
        rm -f "$archive" &&
        buildah push --quiet "$tag" "docker-archive:$archive:$tag"
}

# The archive is written outside of the folder that goes into the image.
make_pause() {
    mkdir "$1/context"
    cp "$(PATH=/bin:/usr/bin command -v busybox)" "$1/context/busybox"
    printf 'FROM scratch\nCOPY busybox /pause/sleep\nENTRYPOINT ["/pause/sleep", "2147483647"]\n' >"$1/context/Dockerfile"
    build_archive "$1/pause.tar" "$pause_image" "$1/context"
}

# Documents and lists of packages are left out, as they are there.
make_base() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    isolated bash -euo pipefail -c '
        debootstrap --variant=minbase "$DEBIAN" "$1/root" "$DEBIAN_MIRROR"
        cd "$1/root"
        rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/{doc,man,info,locale}/* tmp/* etc/resolv.conf
        mkdir "$1/context"
        tar --create --numeric-owner --file "$1/context/root.tar" --exclude "./dev/*" --exclude "./proc/*" --exclude "./sys/*" .
        rm -rf "$1/root"' bash "$1" &&
        printf 'FROM scratch\nADD root.tar /\nCMD ["bash"]\n' >"$1/context/Dockerfile" &&
        build_archive "$1/base.tar" "$base_image" "$1/context"
}

need_pause_image() { cached "$pause_archive" make_pause; }

need_base_image() {
    cached "$base_archive" make_base
    buildah inspect --type image "$base_image" >/dev/null 2>&1 || buildah pull --quiet "docker-archive:$base_archive" >/dev/null
}

images=$cache/images/$DEBIAN-$(declare -f make_base make_pause | cksum | cut -d' ' -f1)
base_archive=$images/base.tar
pause_archive=$images/pause.tar
