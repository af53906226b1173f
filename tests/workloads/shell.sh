#!/bin/bash
# What shells do: pipes, subshells, here-documents, globs, /proc, renames, deep and odd paths, jobs, daemons.
#
# usage: shell.sh, in localhost/demo/tools:1 (any image with bash and coreutils)
# shellcheck disable=SC2016  # scripts that write scripts
set -u

work=$(mktemp -d /tmp/shell.XXXXXX)
cd "$work" || exit 1

# Pipes, subshells, substitution, here-documents
seq 1 50 | grep 7 | sort -rn | head -n 3 >numbers
(cd / && ls usr >"$work/listing"; (exec wc -l "$work/listing") | cat)
cat <<TEXT | tr '[:lower:]' '[:upper:]' >upper
a here-document from process $$ with $(wc -l <numbers) numbers
TEXT
diff <(sort numbers) <(sort -r numbers) >/dev/null
read -r first <<<"$(head -n 1 /etc/passwd)"
echo "${#first}" >length

# Globs and directory walks
for file in /etc/*.conf /nowhere/*; do [ -r "$file" ] && md5sum "$file" >>sums; done
find /etc/apt /usr/share/base-files -type f -exec cksum '{}' ';' >found
find /etc -maxdepth 1 -name 'h*' -print0 | xargs -0 -n 2 cat >/dev/null

# /proc, /dev, /sys
cat /proc/self/status /proc/$$/cmdline /proc/1/comm /proc/self/task/*/stat /proc/meminfo >proc 2>/dev/null
readlink /proc/$$/exe /proc/self/cwd >>proc
head -c 16 /dev/urandom | od >random
cat /dev/null /sys/kernel/mm/transparent_hugepage/enabled >/dev/null 2>&1
echo to-stderr >/dev/stderr

# Renames, links, truncation, deletion of what is open
echo one >a
mv a b && cp b c && ln c d && ln -s c e && cat e d >>b && mv -f b c
exec 5>gone 6<c
rm gone
echo written >&5
cat /dev/fd/6 /proc/self/fd/5 >/dev/null
exec 5>&- 6<&-
: >c
truncate -s 1000 c
dd if=/dev/zero of=block bs=512 count=2 status=none
install -m 600 c installed
mkfifo pipe
cat <pipe >from-pipe &
echo through >pipe
wait
rm pipe

# Names that need an escape
odd=$'line\nbreak \'single\' "double" back\\slash\ttab <angle> $dollar `tick` *?[] \e[31m'
mkdir "$odd"
echo odd >"$odd/$odd"
cat "$odd/$odd" >/dev/null
printf raw >$'bytes \xff\xfe\x80 caf\xc3\xa9 \xc3'
printf raw >$'ends with blank '
printf raw >$'-rf'
printf raw >$'umlaut \xc3\xbc \xf0\x9f\x98\x80'
printf raw >$'really ends (deleted)'
cat ./* >/dev/null 2>&1

# A deep path, reached step by step
deep=
for step in {1..30}; do deep=$deep/level-$step; done
mkdir -p ".$deep"
echo bottom >".$deep/file"
(cd ".$deep" && cat file ../../../level-28/../level-28/level-29/level-30/file) >/dev/null

# Programs: relative, through links, with an interpreter of their own, without one
printf '#!/bin/sh\necho "script $0" >script-out\n' >script
printf '#! %s/script-as-interpreter -x\nignored\n' "$work" >nested
printf '#!/bin/bash\nexec cat "$2" >nested-out\n' >script-as-interpreter
printf 'echo plain >plain-out\n' >plain
chmod +x script nested script-as-interpreter plain
./script
ln -s script linked && ./linked
./nested
./plain
PATH=.:$PATH script
ln -s /usr/bin/env my-env && ./my-env true
cp /bin/true mine && ./mine
bash -c 'exec -a other-name sleep 0.01'
env -i /bin/sh -c ':'
/nowhere/program 2>/dev/null
./numbers 2>/dev/null

# Jobs, signals, daemons, a parent that ends first
sleep 60 &
kill $! && wait 2>/dev/null
for job in 1 2 3 4; do (echo $job >"job-$job"; sleep 0.1) & done
wait
setsid sh -c 'cd /; sleep 0.3; echo daemon >"$1/daemon"' daemon "$work" </dev/null >/dev/null 2>&1 &
nohup sh -c '(sleep 0.2; date >orphan) &' >/dev/null 2>&1
trap 'echo usr1 >trapped' USR1
kill -USR1 $$
timeout 0.2 sleep 5
coproc BC { cat; }
echo coproc >&"${BC[1]}"
read -r _ <&"${BC[0]}"
# shellcheck disable=SC1083,SC2093  # closes the descriptor
exec {BC[1]}>&-

# bash's own network connections; nobody listens
(echo >/dev/tcp/127.0.0.1/9) 2>/dev/null
(echo >/dev/udp/127.0.0.1/9) 2>/dev/null

sleep 0.6
cd / && rm -rf "$work"
echo "shell: done"
