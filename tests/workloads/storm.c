/*
 * More than a recorder that tells everything could bear: files opened again and again, one of them under many names, a program
 * run again and again. It does nothing else, so that what it does can be counted. It says how fast it was.
 *
 * usage: storm [ROUNDS], of four programs each (default 2000); linked statically, in a folder that has `nothing`, a program, and `name0` to
 * `name199`, links to one file
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Says how many things were done a second since the last call. */
static void say(const char *what, int done)
{
    static struct timespec last;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (done)
        printf("%.0f %s a second\n", done / (now.tv_sec - last.tv_sec + (now.tv_nsec - last.tv_nsec) / 1e9), what);
    last = now;
}

static void open_as(const char *kind, int number, int flags)
{
    char name[64];
    snprintf(name, sizeof(name), "%s%d", kind, number);
    int file = open(name, flags, 0644);
    if (file < 0)
        exit(1);
    close(file);
}

int main(int argc, char **argv)
{
    char *arguments[] = { "nothing", NULL }, *environment[] = { NULL };
    int rounds = argc > 1 ? atoi(argv[1]) : 2000;

    say("", 0);

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
    say("opens", 2000 * 51 + 200 * 50);
    /* Programs, four at a time. */
    for (int i = 0; i < rounds; i++) {
        for (int j = 0; j < 4; j++)
            if (!vfork()) {
                execve("./nothing", arguments, environment);
                _exit(1);
            }
        while (wait(NULL) > 0)
            ;
    }
    say("programs", 4 * rounds);
    return 0;
}
