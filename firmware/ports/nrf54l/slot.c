/*
 * The model slot: the last part of RRAM, which the linker script leaves free. Owns that memory.
 */
#include "port.h"

#include <string.h>

#include "registers.h"
#include "start.h"

#define WAIT_LOOPS 1000000U
#define ERASED 0xFFFFFFFFU

static bool wait_until_written(void)
{
    for (uint32_t i = 0U; i < WAIT_LOOPS; ++i) {
        if (AXR_REG(AXR_REG_RRAMC_READY) != 0U) {
            return true;
        }
    }
    return false;
}

static bool write_word(uint32_t address, uint32_t value)
{
    AXR_REG(address) = value;
    return wait_until_written() && AXR_REG(address) == value;
}

static void set_writable(bool writable)
{
    AXR_REG(AXR_REG_RRAMC_CONFIG) = writable ? AXR_RRAMC_WRITE_ENABLE : 0U;
    __asm volatile("dsb" ::: "memory");
}

uint32_t axr_port_slot_bytes(void)
{
    return AXR_BOARD_SLOT_BYTES;
}

const uint8_t *axr_port_slot_memory(void)
{
    return AXR_BOARD_SLOT_BYTES != 0U ? (const uint8_t *)AXR_BOARD_SLOT_START : NULL;
}

/* Only the first words: RRAM can be written over, and the header alone makes the content valid. */
bool axr_port_slot_erase(uint32_t size)
{
    if (size > AXR_BOARD_SLOT_BYTES) {
        return false;
    }
    bool done = true;
    set_writable(true);
    for (uint32_t at = 0U; at < size && at < 16U && done; at += 4U) {
        done = write_word(AXR_BOARD_SLOT_START + at, ERASED);
    }
    set_writable(false);
    return done;
}

bool axr_port_slot_write(uint32_t offset, const uint8_t *data, uint32_t size)
{
    if (offset > AXR_BOARD_SLOT_BYTES || size > AXR_BOARD_SLOT_BYTES - offset) {
        return false;
    }
    bool done = true;
    set_writable(true);
    for (uint32_t at = 0U; at < size && done;) {
        const uint32_t address = AXR_BOARD_SLOT_START + offset + at;
        const uint32_t lead = address % 4U;
        const uint32_t part = 4U - lead < size - at ? 4U - lead : size - at;
        uint32_t word = AXR_REG(address - lead);
        memcpy((uint8_t *)&word + lead, data + at, part);
        done = write_word(address - lead, word);
        at += part;
    }
    set_writable(false);
    AXR_REG(AXR_REG_ICACHE_TASKS_INVALIDATECACHE) = 1U;
    return done;
}
