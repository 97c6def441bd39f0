/*
 * Nordic's simulator inside the firmware as a process. The link is the process's standard output,
 * and simulator and driver print to it, too: their stream goes nowhere instead. The simulator runs
 * in the caller's thread, so that an inference takes no second thread to finish.
 */
#include <stdbool.h>
#include <stdio.h>

extern bool simulator_in_threadless_mode; /* of Nordic's simulator platform */

__attribute__((constructor)) static void quiet(void)
{
    FILE *nowhere = fopen("/dev/null", "w");
    stdout = nowhere != NULL ? nowhere : stderr;
    simulator_in_threadless_mode = true;
}
