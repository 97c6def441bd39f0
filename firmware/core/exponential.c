#include "exponential.h"

#include "exponential_tables.h"

#define SMALLEST_Q12 (-34070)

typedef struct scaled {
    uint64_t mantissa; /* below 2^62 */
    uint32_t shift;    /* value = mantissa / 2^shift */
} scaled_t;

/* The high 64 bits of a 128-bit product. */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    const uint64_t a_low = a & 0xFFFFFFFFU;
    const uint64_t a_high = a >> 32;
    const uint64_t b_low = b & 0xFFFFFFFFU;
    const uint64_t b_high = b >> 32;
    const uint64_t middle = a_high * b_low + ((a_low * b_low) >> 32);
    const uint64_t carry = a_low * b_high + (middle & 0xFFFFFFFFU);
    return a_high * b_high + (middle >> 32) + (carry >> 32);
}

static scaled_t exponential(int32_t argument)
{
    const uint32_t index = (uint32_t)(argument + 65536);
    const uint32_t a = index >> 12;
    uint64_t mantissa = multiply_high(coarse_mantissa[a], middle[(index >> 6) & 63U]);
    mantissa = multiply_high(mantissa, fine[index & 63U]);
    return (scaled_t){mantissa, (uint32_t)(59 - coarse_exponent[a])};
}

uint32_t axr_exp_q12(int32_t argument)
{
    if (argument < SMALLEST_Q12) {
        return 0;
    }
    const scaled_t value = exponential(argument);
    return (uint32_t)(value.mantissa >> (value.shift - 12U));
}

float axr_exp_float(int32_t argument)
{
    const scaled_t value = exponential(argument);
    uint32_t excess = 35; /* bits beyond the 24 of a float: the mantissa has 60 to 62 */
    while ((value.mantissa >> (excess + 24U)) != 0U) {
        excess++;
    }
    const uint64_t below_half = (1ULL << (excess - 1U)) - 1U;
    const uint64_t rounded =
        (value.mantissa + below_half + ((value.mantissa >> excess) & 1U)) >> excess;
    /* A mantissa that rounds up to 2^24 carries into the exponent by itself. */
    const uint32_t exponent = 127U + 23U + excess - value.shift;
    const uint32_t bits = (exponent << 23) + (uint32_t)rounded - (1U << 23);
    float result;
    __builtin_memcpy(&result, &bits, 4);
    return result;
}
