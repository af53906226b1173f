/*
 * What one system call costs: nanoseconds of getppid, and of open and close of a file, the least of many short stretches: what else the
 * machine does meanwhile makes some of them longer, none shorter. usage: loops [SECONDS]
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STRETCH 100

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void ask_parent(void) { syscall(SYS_getppid); }
static void open_file(void) { close(open("/etc/passwd", O_RDONLY)); }

static void report(const char *name, void (*call)(void), double seconds)
{
    double least = 1e9, end = now() + seconds * 1e9, start;

    while ((start = now()) < end) {
        for (int i = 0; i < STRETCH; i++)
            call();
        double taken = (now() - start) / STRETCH;
        if (taken < least)
            least = taken;
    }
    printf("%s %.1f\n", name, least);
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : 0.05;

    report("getppid", ask_parent, seconds);
    report("open_close", open_file, seconds);
    return 0;
}
