/*
 * More than a recorder that tells everything could bear: files opened again and again, one of them under many names, a program
 * run again and again. It does nothing else, so that what it does can be counted.
 *
 * usage: storm, linked statically, in a folder that has `nothing`, a program, and `name0` to `name199`, links to one file
 */
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
    char *arguments[] = { "nothing", NULL }, *environment[] = { NULL };

    /* 2,000 files, each made once and opened 50 times. */
    for (int i = 0; i < 2000; i++)
        open_as("file", i, O_CREAT | O_WRONLY);
    for (int round = 0; round < 50; round++)
        for (int i = 0; i < 2000; i++)
            open_as("file", i, O_RDONLY);
    /* 200 names of one file, each 50 times. */
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
