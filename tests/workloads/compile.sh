#!/bin/bash
# What compilers do: preprocess, compile, assemble, link, archive, run what came out, load it at run time.
#
# usage: compile.sh, in localhost/demo/tools:1 (any image with gcc and the C library's headers)
set -eu

work=$(mktemp -d /tmp/compile.XXXXXX)
cd "$work"
mkdir include src
cat >include/greet.h <<'C'
const char *greet(void);
C
cat >src/greet.c <<'C'
#include "greet.h"
const char *greet(void) { return "hello"; }
C
cat >src/main.c <<'C'
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "greet.h"

int main(void) {
    char name[] = "/tmp/compiled.XXXXXX";
    int fd = mkstemp(name);
    dprintf(fd, "%s\n", greet());
    unlink(name);
    void *library = dlopen("./plugin.so", RTLD_NOW);
    if (!library) return 2;
    if (vfork() == 0) {
        execl("/bin/uname", "uname", "-a", (char *)0);
        _exit(127);
    }
    int status;
    wait(&status);
    if (fork() == 0) return open("/etc/hosts", O_RDONLY) < 0;
    wait(&status);
    return status + system("exec date >date.out");
}
C
cat >src/plugin.c <<'C'
int plugin(void) { return 1; }
C
gcc -Iinclude -E src/greet.c >greet.i
gcc -Iinclude -Wall -O1 -c src/greet.c -o greet.o
gcc -Iinclude -pipe -c src/main.c -o main.o
gcc -shared -fPIC src/plugin.c -o plugin.so
ar rcs libgreet.a greet.o
gcc main.o -L. -lgreet -o program
./program >/dev/null
gcc -static -Iinclude src/greet.c src/main.c -o static-program 2>/dev/null
./static-program >/dev/null
strip program && nm static-program | wc -l >symbols
objdump -d greet.o >greet.asm
echo 'int main(void) { return broken; }' >broken.c
gcc broken.c 2>errors || true
./program >/dev/null
cd / && rm -rf "$work"
echo "compile: done"
