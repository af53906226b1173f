#!/usr/bin/env bash
# Builds the container images that the recordings and the ground-truth tests run.
#
# usage: build.sh [--force] NAME…     NAME: web-1.22 web-1.24 cache-7 db-15 jobs-1 tools-1 busy-1, or "all"
#
# NAME becomes the image localhost/demo/<name before the dash>:<after it>. A folder of that name holds what is laid over
# the base (rootfs/) and how it starts (Containerfile). The base is a Debian root file system with the packages listed
# below; images with the same packages share it. An image that was built from the same recipe is left alone.
#
# needs: root, Debian, apt. Installs podman, runc and mmdebstrap where they are missing. Keeps root file systems in
# ${XDG_CACHE_HOME:-~/.cache}/wsp/images; the folder may be deleted at any time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wsp/images
suite=bookworm
# Count up when make_base changes what it makes.
generation=2
all=(web-1.22 web-1.24 cache-7 db-15 jobs-1 tools-1 busy-1)

# The packages of an image beside Debian's essential ones; "static" for busybox and nothing else.
packages_of() {
  case $1 in
    web-*) echo nginx-light,libnginx-mod-http-echo ;;
    cache-*) echo redis-server ;;
    db-*) echo postgresql,gosu ;;
    jobs-*) echo cron,logrotate,netcat-openbsd ;;
    tools-*) echo python3,gcc,libc6-dev,curl,netcat-openbsd ;;
    busy-*) echo static ;;
    *) echo "build.sh: no image '$1'; there are: ${all[*]}" >&2 && return 2 ;;
  esac
}

install_prerequisites() {
  local missing=() tool
  for tool in podman runc mmdebstrap; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if ((${#missing[@]})); then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
}

# Writes a root file system with these packages to a tar file.
make_base() {
  local packages=$1 tar=$2 work
  work=$(mktemp -d)
  if [[ $packages == static ]]; then
    mkdir -p "$work/root"/{bin,etc,tmp,root,dev,proc,sys,var}
    # An index that was never fetched has no package; one that is old may name a version that is gone.
    local fetch=(apt-get download -qq -o APT::Sandbox::User=root busybox-static)
    (cd "$work" && { "${fetch[@]}" || { apt-get update -qq && "${fetch[@]}"; }; } >&2)
    dpkg-deb --fsys-tarfile "$work"/busybox-static_*.deb | tar -x -C "$work/root" ./bin/busybox
    chroot "$work/root" /bin/busybox --install -s /bin
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$work/root/etc/passwd"
    chmod 1777 "$work/root/tmp"
    tar -C "$work/root" -cf "$tar.part" .
  else
    local slim=() path
    for path in doc man locale info; do slim+=("--dpkgopt=path-exclude=/usr/share/$path/*"); done
    # mmdebstrap leaves this machine's resolver and name in there.
    # shellcheck disable=SC2016  # mmdebstrap sets $1
    mmdebstrap --quiet --variant=minbase "--include=$packages" "${slim[@]}" \
      --customize-hook='rm -f "$1/etc/resolv.conf"; echo localhost >"$1/etc/hostname"' "$suite" "$work/base.tar" >&2
    mv "$work/base.tar" "$tar.part"
  fi
  mv "$tar.part" "$tar"
  rm -rf "$work"
}

build() {
  local name=$1 image packages base tar recipe
  image=localhost/demo/${name%%-*}:${name#*-}
  packages=$(packages_of "$name")
  base=$(sha256sum <<<"$generation $suite $packages" | cut -c1-16)
  recipe=$(cd "$here/$name" && { echo "$base"; find . -type f -print0 | sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-16)
  if [[ -z $force && $(podman image inspect -f '{{index .Labels "wsp.recipe"}}' "$image" 2>/dev/null) == "$recipe" ]]; then
    echo "$image: there already"
    return
  fi
  if [[ -n $force ]] || ! podman image exists "localhost/wsp-base:$base"; then
    tar=$cache/$base.tar
    if [[ ! -e $tar ]]; then
      echo "$image: making its base ($packages)"
      mkdir -p "$cache"
      make_base "$packages" "$tar"
    fi
    podman import -q "$tar" "localhost/wsp-base:$base" >/dev/null
  fi
  podman build -q --build-arg "BASE=localhost/wsp-base:$base" --label "wsp.recipe=$recipe" -t "$image" "$here/$name" >/dev/null
  echo "$image: built"
}

force=
names=()
for arg in "$@"; do
  case $arg in
    --force) force=1 ;;
    all) names+=("${all[@]}") ;;
    -*) sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    *) names+=("$arg") ;;
  esac
done
((${#names[@]})) || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2; }

install_prerequisites
for name in "${names[@]}"; do
  packages_of "$name" >/dev/null
  build "$name"
done
