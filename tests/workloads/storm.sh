#!/bin/bash
# More than a recorder that tells everything could bear: one file opened again and again under many names, a program run again and again.
#
# usage: storm.sh, in localhost/demo/tools:1 (any image with a C compiler)
set -eu
mkdir /tmp/storm && cd /tmp/storm
cat >storm.c <<'C'
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void open_as(const char *kind, int number, int flags)
{
    char name[64];
    snprintf(name, sizeof(name), "%s%d", kind, number);
    int file = open(name, flags, 0644);
    if (file < 0)
        exit(1);
    close(file);
}

int main(void)
{
    char name[64], *arguments[] = { "nothing", NULL }, *environment[] = { NULL };

    /* 2,000 files, each 50 times. */
    for (int i = 0; i < 2000; i++)
        open_as("file", i, O_CREAT | O_WRONLY);
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < 2000; i++)
            open_as("file", i, O_RDONLY);
    /* 200 names of one file. */
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "name%d", i);
        if (link("file0", name))
            return 1;
    }
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < 200; i++)
            open_as("name", i, O_RDONLY);
    /* 8,000 programs, four at a time. */
    for (int i = 0; i < 2000; i++) {
        for (int j = 0; j < 4; j++)
            if (!vfork()) {
                execve("./nothing", arguments, environment);
                _exit(1);
            }
        while (wait(NULL) > 0)
            ;
    }
    return 0;
}
C
echo 'int main(void) { return 0; }' >nothing.c
cc -O1 -o storm storm.c
cc -O1 -static -o nothing nothing.c
./storm
