#!/usr/bin/env bash
# Gets a kernel of Debian's, without installing it, and prints the folder that it is in: vmlinuz and overlay.ko.
#
# usage: kernel.sh SERIES      5.10, 6.1 or 6.12: the newest of it that Debian's security archives have
#
# needs: Debian's apt, dpkg-deb and archive key; the machine's own security mirror, or the one in WSP_DEBIAN_SECURITY. Kept in
# ${XDG_CACHE_HOME:-~/.cache}/wsp/kernels, which may be deleted at any time; to have another one there, make its folder.
set -euo pipefail

series=${1:?usage: kernel.sh SERIES}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wsp/kernels
kernel=$cache/$series
fail() { echo "kernel.sh: $*" >&2 && exit 1; }

if [[ ! -e $kernel/vmlinuz ]]; then
  mkdir -p "$cache"
  work=$(mktemp -d -p "$cache")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/{lists,archives}/partial
  # Lists of its own: the machine's may be of another release, and stay as they are.
  # shellcheck disable=SC2016  # apt expands it
  own() { apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | awk '$2 ~ /-security$/ {print $1; exit}'; }
  mirror=${WSP_DEBIAN_SECURITY:-$(own)}
  [[ -n $mirror ]] || fail "apt knows no security archive of Debian here: give one in WSP_DEBIAN_SECURITY"
  for suite in bullseye bookworm; do
    echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite-security main"
  done >"$work/sources.list"
  apt=(-q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache=$work" -o APT::Sandbox::User=root -o Acquire::Languages=none -o APT::Architecture=amd64)
  apt-get "${apt[@]}" update >&2 || fail "no package lists from $mirror"
  package=$(apt-cache "${apt[@]}" pkgnames "linux-image-$series." | grep -- '-cloud-amd64$' | sort -V | tail -n 1) ||
    fail "no kernel $series in $mirror"
  (cd "$work" && apt-get "${apt[@]}" download "$package" >&2) || fail "$package cannot be downloaded from $mirror"
  dpkg-deb -x "$work/$package"_*.deb "$work/image"
  mkdir "$work/kernel"
  cp "$work"/image/boot/vmlinuz-* "$work/kernel/vmlinuz"
  module=$(find "$work/image" -name 'overlay.ko*')
  case $module in
    *.xz) xz -dc "$module" >"$work/kernel/overlay.ko" ;;
    *) cp "$module" "$work/kernel/overlay.ko" ;;
  esac
  echo "$package" >"$work/kernel/package"
  rm -rf "$kernel"
  mv "$work/kernel" "$kernel"
fi
echo "$kernel"
