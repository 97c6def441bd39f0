/*
 * What the parts of this port know of each other. The fault record and the reset reason are owned
 * by start.c; everything else of the port is in port.c (serial interface, time) and clock.c.
 */
#ifndef AXR_NRF54L_START_H
#define AXR_NRF54L_START_H

#include <stdint.h>

#include "port.h"

/* Clock tree, trims and errata of a cold boot. Returns before any peripheral is used. */
void axr_nrf54l_clock_start(void);

/* Serial interface, byte counter and cycle counter. */
void axr_nrf54l_port_start(void);

/* Frame that the core pushed on the stack at a fault. */
typedef struct axr_exception_frame {
    uint32_t r0;
    uint32_t r1;
    uint32_t r2;
    uint32_t r3;
    uint32_t r12;
    uint32_t lr;
    uint32_t pc;
    uint32_t psr;
} axr_exception_frame_t;

/* Records `cause` with the place of the call, and resets: for waiting that has no end. */
_Noreturn void axr_nrf54l_give_up(axr_fault_cause_t cause);

/* Records the fault in memory that a reset keeps, and resets. */
_Noreturn void axr_nrf54l_fault(const axr_exception_frame_t *frame, uint32_t vector);

#endif
