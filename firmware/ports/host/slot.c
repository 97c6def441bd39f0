/* The model slot of a port for this machine: memory of the process, lost when it ends. */
#include "port.h"

#include <string.h>

#define SLOT_BYTES (1U << 20)

static _Alignas(16) uint8_t slot[SLOT_BYTES];

uint32_t axr_port_slot_bytes(void)
{
    return SLOT_BYTES;
}

const uint8_t *axr_port_slot_memory(void)
{
    return slot;
}

bool axr_port_slot_erase(uint32_t size)
{
    memset(slot, 0xFF, size <= SLOT_BYTES ? size : 0U);
    return size <= SLOT_BYTES;
}

bool axr_port_slot_write(uint32_t offset, const uint8_t *data, uint32_t size)
{
    if (size > SLOT_BYTES || offset > SLOT_BYTES - size) {
        return false;
    }
    memcpy(slot + offset, data, size);
    return true;
}
