/*
 * Counts executed Thumb instructions, one call per block of straight code: the same as the hook in
 * machine.py, without the way through Python. Owns nothing; the host allocates the counter.
 */
#include <stdint.h>

#define SLOTS 16384U

typedef int (*axr_read_t)(void *core, uint64_t address, void *bytes, uint64_t size);

/* Mirrored in block_counter.py. Keys of 0 are empty: no block has the size 0. */
typedef struct axr_block_counter {
    uint64_t executed;
    axr_read_t read;
    uint64_t keys[SLOTS];
    uint32_t lengths[SLOTS];
} axr_block_counter_t;

void axr_count_block(void *core, uint64_t address, uint32_t size, axr_block_counter_t *counter);

static uint32_t instructions(axr_read_t read, void *core, uint64_t address, uint32_t size)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < size; ++count) {
        uint8_t half[2] = {0, 0};
        if (read(core, address + at, half, 2) != 0) {
            return count;
        }
        at += half[1] >= 0xE8U ? 4U : 2U;
    }
    return count;
}

void axr_count_block(void *core, uint64_t address, uint32_t size, axr_block_counter_t *counter)
{
    const uint64_t key = address << 24 | size;
    const uint32_t slot = (uint32_t)(address >> 1) % SLOTS;
    if (counter->keys[slot] != key) {
        counter->lengths[slot] = instructions(counter->read, core, address, size);
        counter->keys[slot] = key;
    }
    counter->executed += counter->lengths[slot];
}
