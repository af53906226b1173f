#!/bin/sh
# What a busybox-only container does: applets that the shell runs from its own binary, links, servers.
#
# usage: busybox.sh, in localhost/demo/busy:1 (any image with busybox as /bin/sh)
set -u

work=/tmp/busybox.$$
mkdir -p "$work"
cd "$work" || exit 1
seq 1 20 | sort -n | tail -n 3 >numbers
ls -la / /bin >listing
/bin/ls / >/dev/null
busybox ls / >/dev/null
/bin/busybox cat /proc/self/status /proc/1/cmdline >/dev/null
find /etc -type f -exec cat '{}' ';' >/dev/null
printf 'a\nb\n' | awk '{ print NR, $0 }' | sed 's/a/b/' >out
cp out copy && mv copy moved && ln -s moved link && cat link >/dev/null && rm link
tar -cf archive.tar out numbers && gzip archive.tar && gunzip -c archive.tar.gz | tar -t >/dev/null
md5sum out >>sums
printf '#!/bin/sh\nexec cat out\n' >script
chmod +x script && ./script >/dev/null
printf '#!/bin/awk -f\nBEGIN { print 1 }\n' >awk-script
chmod +x awk-script && ./awk-script >/dev/null
vi -c ':q!' out </dev/null >/dev/null 2>&1
echo odd >"$(printf 'odd \377 name\twith "quotes"')"
cat ./odd* >/dev/null

mkdir www && echo hello >www/index.html
httpd -f -p 127.0.0.1:8099 -h www &
server=$!
nc -l -p 7099 >received </dev/null &
sleep 0.5
wget -q -O - http://127.0.0.1:8099/ >page
wget -q -O - http://127.0.0.1:8099/missing 2>/dev/null
echo to-nc | nc 127.0.0.1 7099
nc 127.0.0.1 9 </dev/null 2>/dev/null
kill "$server"
wait

(sleep 0.2; date >later) &
setsid sh -c 'sleep 0.1; id >ids'
sleep 0.5
which sh wget >/dev/null
df / >/dev/null 2>&1
env -i sh -c 'ls /nowhere' 2>/dev/null
cd / && rm -r "$work"
echo "busybox: done"
