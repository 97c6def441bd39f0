/* The command loop: takes messages from the link, runs inferences, sends answers. Owns the session.
 * A port calls axr_main() (port.h); a host that brings its own loop calls start and step. */
#ifndef AXR_COMMAND_H
#define AXR_COMMAND_H

#include <stdbool.h>

void axr_command_start(void);

/* Do what there is to do, at most one lap of an inference. False: nothing to do, sleep. */
bool axr_command_step(void);

#endif
