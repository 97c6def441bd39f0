/* The whole list a port supplies. A port that misses one of these does not link.
 *
 * A port's entry point brings up clock, memory, counter and serial interface, then calls axr_main().
 * The core is single-threaded: every function here is called from axr_main()'s context only.
 * Reception must go on without the core's help (DMA or interrupt into a ring that the port owns).
 */
#ifndef AXR_PORT_H
#define AXR_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Facts that do not change while the firmware runs. Strings are ASCII, at most 31 characters. */
typedef struct {
    const char *board;          /* name of the board file, for example "nrf54l15dk" */
    const char *core;           /* for example "cortex-m33", "host" */
    const char *time_source;    /* what axr_port_cycles counts: "dwt", "timer", "monotonic", ... */
    uint32_t core_hz;           /* clock of the core; 0 when unknown */
    uint32_t cycle_hz;          /* rate of axr_port_cycles, not 0 */
    uint32_t receive_bytes;     /* size of the port's receive ring: what may arrive unread; >= 512 */
    uint32_t default_baud;      /* rate after reset; 0 when the interface has no rate */
    uint32_t max_baud;          /* highest rate axr_port_set_baud accepts */
    uint8_t unique_id[16];      /* device identity, zero-padded; all zero when there is none */
} axr_port_info_t;

/* The last fault, kept over a reset. Registers that the core lacks are 0. */
typedef enum {
    AXR_FAULT_NONE = 0,
    AXR_FAULT_HARD = 1,
    AXR_FAULT_MEMORY = 2,
    AXR_FAULT_BUS = 3,
    AXR_FAULT_USAGE = 4,
    AXR_FAULT_SECURE = 5,
    AXR_FAULT_STACK = 6,
    AXR_FAULT_WATCHDOG = 7,
    AXR_FAULT_PANIC = 8         /* the port or an OS under it gave up */
} axr_fault_cause_t;

typedef struct {
    uint32_t cause;             /* axr_fault_cause_t */
    uint32_t pc;
    uint32_t lr;
    uint32_t psr;
    uint32_t status;            /* CFSR */
    uint32_t address;           /* MMFAR or BFAR when valid, else 0 */
} axr_fault_t;

typedef struct {
    uint32_t reset_reason;      /* the chip's own reset-reason bits */
    axr_fault_t fault;          /* cause AXR_FAULT_NONE: the last reset was no fault */
} axr_boot_t;

/* ---- identity ---- */
const axr_port_info_t *axr_port_info(void);

/* Why this boot happened. The port clears its own record once it was read here. */
axr_boot_t axr_port_boot(void);

/* ---- serial interface ---- */

/* Copy at most `capacity` bytes that have arrived to `to`; never waits. Returns how many. */
size_t axr_port_receive(uint8_t *to, size_t capacity);

/* Start sending `size` (1..4096) bytes. `data` (in RAM, any alignment) belongs to the port until
 * axr_port_transmit_busy() is false. Called only while not busy. */
void axr_port_transmit(const uint8_t *data, size_t size);
bool axr_port_transmit_busy(void);

/* Change the rate at once; called only while not busy. False: the rate stays as it was. */
bool axr_port_set_baud(uint32_t baud);

/* Bytes (or events, when bytes cannot be counted) lost by the interface or the ring since boot,
 * and line errors (framing, parity, break). Both only grow. */
uint32_t axr_port_receive_overruns(void);
uint32_t axr_port_receive_errors(void);

/* ---- time: both only grow, both start near 0 at boot ---- */
uint64_t axr_port_cycles(void);
uint64_t axr_port_micros(void);

/* ---- control ---- */

/* Nothing to do: return when a byte may have arrived or a transmission may have ended, after one
 * millisecond at the latest. Returning at once is allowed. */
void axr_port_idle(void);

/* Restart as after power-up, the fault record kept. */
_Noreturn void axr_port_reset(void);

/* ---- optional non-volatile model slot; a port without one returns 0, NULL, false, false ---- */
uint32_t axr_port_slot_bytes(void);
const uint8_t *axr_port_slot_memory(void);          /* where it can be read, 16-byte aligned */
bool axr_port_slot_erase(uint32_t size);            /* at least the first `size` bytes */
/* Into erased memory, once. `offset` is a multiple of 16, and so is `size` except at the end. */
bool axr_port_slot_write(uint32_t offset, const uint8_t *data, uint32_t size);

/* ---- supplied by the core: the port's entry point ends in this call ---- */
_Noreturn void axr_main(void);

#endif
