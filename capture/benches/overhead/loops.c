/* What one system call costs: nanoseconds of getppid, and of open and close of a file. usage: loops SECONDS */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : 1, start, taken;
    long calls = 0;

    for (start = now(); (taken = now() - start) < seconds; calls += 1000)
        for (int i = 0; i < 1000; i++)
            syscall(SYS_getppid);
    printf("getppid %.1f\n", taken / calls * 1e9);
    calls = 0;
    for (start = now(); (taken = now() - start) < seconds; calls += 1000)
        for (int i = 0; i < 1000; i++)
            close(open("/etc/passwd", O_RDONLY));
    printf("open_close %.1f\n", taken / calls * 1e9);
    return 0;
}
