/*
 * The firmware as a library: bytes go in and out by function call, and time is virtual. A run is
 * the same every time. One instance a process; axr_memory_start() is a power-up.
 */
#ifndef AXR_PORT_MEMORY_H
#define AXR_PORT_MEMORY_H

#include <stdint.h>

/* baud: rate of the line, 0 for an endless one. layer_ns: virtual time that passes at each reading
 * of the cycle counter, which makes an inference take time. */
void axr_memory_start(uint32_t baud, uint32_t ring_bytes, uint32_t layer_ns);

/* Press reset: the firmware starts again, the line and the clock stay. */
void axr_memory_reset(void);

/* Rate of the other end. While it differs from the device's, bytes arrive damaged. */
void axr_memory_host_baud(uint32_t baud);

/* Bytes that the other end sends from now on, one after the other. Returns how many were taken. */
uint32_t axr_memory_feed(const uint8_t *data, uint32_t bytes);

/* Let the firmware work until `until_ns` or until it has sent something. Returns the time. */
uint64_t axr_memory_run(uint64_t until_ns);

/* Bytes that have left the device. */
uint32_t axr_memory_take(uint8_t *to, uint32_t capacity);

#endif
