# shellcheck shell=bash
# Set-up that the scripts share; to be sourced. Installs what is missing on a fresh Debian machine, and nothing else.

# Prints a step.
step() { printf '\n==> %s\n' "$*" >&2; }

# Fails with a message.
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need_packages NAME…: installs Debian packages that are not there.
need_packages() {
    local name missing=()
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || die "the packages ${missing[*]} are missing; install them, or run this as root: apt-get install ${missing[*]}"
    step "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Whether a package can be installed; a name that others only mention has no candidate.
is_offered() { apt-cache policy "$1" | grep -q 'Candidate: [^(]'; }

# The version that the workspace asks for.
rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$1/Cargo.toml" | head -n 1; }

rust_is_there() {
    local found
    found=$(cargo --version 2>/dev/null | awk '{print $2}') || return 1
    [[ -n $found ]] && [[ $(printf '%s\n' "$1" "$found" | sort -V | head -n 1) == "$1" ]]
}

# need_rust ROOT: a cargo that can build the workspace, from rustup or from Debian.
need_rust() {
    local wanted
    wanted=$(rust_wanted "$1")
    need_packages gcc libc6-dev ca-certificates
    [[ -d $HOME/.cargo/bin ]] && PATH=$HOME/.cargo/bin:$PATH
    rust_is_there "$wanted" && return 0
    step "installing Rust $wanted or later"
    ((EUID == 0)) || die "cargo $wanted or later is missing; see https://rustup.rs"
    apt-get update -qq
    # Debian 13 and later have rustup; Debian 12 has a current compiler for its browsers.
    if is_offered rustup; then
        need_packages rustup
        rustup toolchain install stable --profile minimal
        rustup default stable
    elif is_offered cargo-web; then
        need_packages cargo-web rustc-web
    fi
    rust_is_there "$wanted" || die "no cargo $wanted or later could be installed; see https://rustup.rs"
}

# need_rust_tool NAME: a program from the Rust registry, built once; found on the PATH or in a cache outside the clone.
need_rust_tool() {
    local name=$1 cache=${XDG_CACHE_HOME:-$HOME/.cache}/wsp/tools
    export PATH=$PATH:$cache/bin
    command -v "$name" >/dev/null && return 0
    step "building $name"
    # Unoptimised: it runs for seconds, and would build for many minutes.
    cargo install --quiet --locked --debug --root "$cache" "$name"
}

# need_node: `node` and `npm`, from wherever they are, or from Debian.
need_node() {
    command -v node >/dev/null && command -v npm >/dev/null && return 0
    need_packages nodejs npm
}

# need_lints: `cargo fmt` and `cargo clippy`.
need_lints() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return 0
    if command -v rustup >/dev/null; then
        rustup component add clippy rustfmt
    else
        need_packages rust-web-clippy rustfmt-web
    fi
}
