#!/bin/bash
# What package tools do: query the database, build a package, unpack, install and remove it; archives.
#
# usage: package.sh, in localhost/demo/tools:1 (any image of Debian's)
set -eu

work=$(mktemp -d /tmp/package.XXXXXX)
cd "$work"
dpkg -l >installed
dpkg -L base-files | head -n 20 | xargs -d '\n' ls -ld >listing
dpkg -S /bin/ls /usr/bin/ls 2>/dev/null >owners || true
dpkg-query -W -f '${Package} ${Version}\n' >versions
dpkg --verify base-files || true

mkdir -p tree/DEBIAN tree/usr/share/demo tree/usr/bin
printf '%s\n' 'Package: wsp-demo' 'Version: 1.0' 'Architecture: all' 'Maintainer: demo <demo@demo.test>' \
  'Description: a package for a test' >tree/DEBIAN/control
printf '#!/bin/sh\nset -e\ndate >/var/lib/wsp-demo.stamp\n' >tree/DEBIAN/postinst
printf '#!/bin/sh\nrm -f /var/lib/wsp-demo.stamp\n' >tree/DEBIAN/postrm
printf '#!/bin/sh\necho demo\n' >tree/usr/bin/wsp-demo
seq 1 200 >tree/usr/share/demo/numbers
echo odd >"tree/usr/share/demo/odd name é"
chmod 755 tree/DEBIAN/post* tree/usr/bin/wsp-demo
dpkg-deb --build --root-owner-group tree demo.deb >/dev/null
dpkg-deb --info demo.deb >info
dpkg-deb --contents demo.deb >contents
dpkg-deb --raw-extract demo.deb extracted
dpkg -i demo.deb >/dev/null
wsp-demo
dpkg -s wsp-demo >status
dpkg --purge wsp-demo >/dev/null

tar -czf archive.tar.gz extracted
mkdir unpacked
tar -xzf archive.tar.gz -C unpacked
tar -cf - tree | (cd unpacked && tar -xf -)
sha256sum unpacked/tree/usr/share/demo/* >sums
gzip -dk archive.tar.gz
apt-config dump >apt 2>/dev/null || true
apt-cache stats >cache-stats 2>/dev/null || true
update-alternatives --get-selections >alternatives
ldconfig -p >libraries
# shellcheck disable=SC2016  # perl's variables
perl -MPOSIX -e 'opendir(D, "/etc"); open(F, ">", "perl.out"); print F scalar(readdir(D)), $]'
cd / && rm -rf "$work"
echo "package: done"
