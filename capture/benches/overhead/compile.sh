#!/bin/bash
# Compiles a small C project, and prints how many milliseconds that took. In an image with a C compiler.
set -eu
mkdir -p /tmp/project && cd /tmp/project
for ((i = 0; i < 40; i++)); do
    printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint work%d(int x) { char b[64]; snprintf(b, sizeof(b), "%%d", x); return (int)strlen(b) + abs(x); }\n' "$i" >"unit$i.c"
done
echo 'int main(void) { return 0; }' >main.c
start=$(date +%s%N)
for unit in unit*.c main.c; do gcc -O1 -c "$unit" -o "${unit%.c}.o"; done
gcc -o project ./*.o
echo "compile $((($(date +%s%N) - start) / 1000000))"
