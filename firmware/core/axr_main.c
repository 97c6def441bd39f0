#include "axr_command.h"
#include "port.h"

_Noreturn void axr_main(void)
{
    axr_command_start();
    for (;;) {
        if (!axr_command_step()) {
            axr_port_idle();
        }
    }
}
