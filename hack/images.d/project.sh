# The images of this project: the Dockerfile at the root, with programs and tools that are made outside of it.

root=$(cd "$here/../.." && pwd)
targets=(operator gateway sidecar runner mcp-gateway)
programs=(mcp-operator mcp-gateway mcp-sidecar)
packages_of_programs=(operator gateway sidecar)
repository=localhost/mcp-gateway

# PROFILE=cluster builds faster, programs that are slower, and the server of the tests with them.
profile=${PROFILE:-release}
if [[ $profile == cluster ]]; then
    targets+=(fixture)
    programs+=(fixture)
    packages_of_programs+=(e2e)
fi

# Static programs, in a target folder of their own: what they are linked like would make all of the usual one anew.
project_programs() {
    local triple flags program
    have cargo || die "cargo is missing: install Rust (rust-toolchain.toml names the version)"
    triple=$(rustc -vV | sed -n 's/^host: //p')
    flags='target.'$triple'.rustflags = ["-C", "target-feature=+crt-static"]'
    say "building the programs: some minutes at the first time"
    (cd "$root" && nice cargo build --quiet --profile "$profile" --locked --target "$triple" --config "$flags" \
        --target-dir "$cache/cargo" --bins "${packages_of_programs[@]/#/--package=}") >&2
    rm -rf "$images/built.new" && mkdir -p "$images/built.new"
    for program in "${programs[@]}"; do
        cp "$cache/cargo/$triple/$profile/$program" "$images/built.new/"
    done
    # What did not change keeps its place, and with it the layers that were made of it.
    if diff --brief --recursive "$images/built" "$images/built.new" >/dev/null 2>&1; then
        rm -rf "$images/built.new"
    else
        rm -rf "$images/built" && mv "$images/built.new" "$images/built"
    fi
}

make_tools() { "$root/hack/images.d/tools" "$1/${tools##*/}"; }

# What an image is made of, as a short hash.
content() {
    local made_of=("$root/Dockerfile" "$root/hack/versions.env" "$root/hack/images.d/tools")
    case $1 in
    operator | gateway | sidecar) made_of+=("$images/built/mcp-$1") ;;
    mcp-gateway) made_of+=("$images/built/mcp-gateway" "$images/built/mcp-sidecar") ;;
    fixture) made_of+=("$images/built/fixture" "$root/e2e/Dockerfile") ;;
    esac
    cat "${made_of[@]}" | sha256sum | cut -c1-16
}

make_project_image() {
    local target=$1 tag=$2 only=(--target "$1") file=$root/Dockerfile
    if [[ $target == mcp-gateway ]]; then only=(); fi
    if [[ $target == fixture ]]; then file=$root/e2e/Dockerfile; fi
    build_archive "$3/$target-${tag##*:}.tar" "$tag" "$root" --file "$file" "${only[@]}" \
        --build-context built="$images/built" --build-context tools="$tools"
}

# What was built before is of no use any more.
forget_older() {
    local archive
    for archive in "$images/$1"-????????????????.tar; do
        if [[ $archive == "$2" || ! -e $archive ]]; then continue; fi
        rm -f "$archive" "$archive.lock"
        archive=${archive%.tar}
        buildah rmi "$repository/$1:${archive##*-}" >/dev/null 2>&1 || true
    done
}

# Prints a line for each image: its target, its name, its archive.
project_images() {
    local target tag archive
    tools=$images/tools-$(cat "$root/hack/versions.env" "$root/hack/images.d/tools" | sha256sum | cut -c1-16)
    if (($# == 0)); then set -- "${targets[@]}"; fi
    if [[ $* != runner ]]; then project_programs; fi
    cached "$tools" make_tools
    for target in "$@"; do
        [[ " ${targets[*]} " == *" $target "* ]] || die "there is no image '$target': one of ${targets[*]}"
        tag=$repository/$target:$(content "$target")
        archive=$images/$target-${tag##*:}.tar
        cached "$archive" make_project_image "$target" "$tag"
        forget_older "$target" "$archive"
        echo "$target $tag $archive"
    done
}
