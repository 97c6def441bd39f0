/* Checksums of every value of core/exponential.c, for comparison with compiler/exp_q12.py. */
#include <stdio.h>
#include <string.h>

#include "crc32.h"
#include "exponential.h"

int main(void)
{
    uint32_t powers = 0;
    uint32_t floats = 0;
    for (int32_t x = -40000; x <= 31182; x++) {
        const uint32_t value = axr_exp_q12(x);
        powers = axr_crc32(powers, (const uint8_t *)&value, 4);
    }
    for (int32_t x = -65536; x <= 65536; x++) {
        const float value = axr_exp_float(x);
        uint8_t bytes[4];
        memcpy(bytes, &value, 4);
        floats = axr_crc32(floats, bytes, 4);
    }
    printf("%08x %08x\n", (unsigned)powers, (unsigned)floats);
    return 0;
}
