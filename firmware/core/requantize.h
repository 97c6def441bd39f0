/*
 * Requantization: round_half_even((product + zp * 2^shift) / 2^shift), then a clamp. The zero point
 * is inside the rounding, so which neighbour of a tie is even depends on it. Owns no buffer.
 */
#ifndef AXR_REQUANTIZE_H
#define AXR_REQUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "axr_model_image.h"

/* With a multiplier scaled to shift 32 the result is the high word, and a tie is a zero low word:
 * five instructions and a conditional on the Cortex-M33. No input can overflow it. */
static inline int32_t axr_requantize_scaled(int32_t acc, int32_t multiplier, int32_t zero_point)
{
    const int64_t rounded =
        (int64_t)acc * multiplier + ((int64_t)zero_point * 4294967296LL + 2147483648LL);
    int32_t result = (int32_t)(rounded >> 32);
    if ((uint32_t)(rounded & 0xFFFFFFFFLL) == 0U) {
        result &= ~1;
    }
    return result;
}

/* |product| < 2^62, shift <= AXR_MAX_SHIFT, zero_point 16 bits: nothing overflows. */
static inline int64_t axr_requantize_wide(int64_t product, uint32_t shift, int32_t zero_point)
{
    const int64_t value = product + zero_point * (int64_t)(1ULL << shift);
    if (shift == 0U) {
        return value;
    }
    const int64_t below_half = (int64_t)(1ULL << (shift - 1U)) - 1;
    return (value + below_half + ((value >> shift) & 1)) >> shift;
}

static inline int32_t axr_clamp(int64_t value, int32_t minimum, int32_t maximum)
{
    if (value < minimum) {
        return minimum;
    }
    return value > maximum ? maximum : (int32_t)value;
}

/* Largest value of a signed integer of 1, 2 or 4 bytes. */
static inline int32_t axr_maximum(uint32_t element_bytes)
{
    return (int32_t)(0x7FFFFFFFU >> (32U - 8U * element_bytes));
}

/* One accumulator, bias included, through a record's requantization and clamp. */
static inline int32_t axr_finish(const axr_image_record_t *record, const axr_channel_t *channel,
                                 int32_t acc, int32_t maximum)
{
    const bool negative = (record->flags & AXR_FLAG_LEAKY) != 0U && acc < 0;
    int64_t product =
        (int64_t)acc * (negative ? channel->multiplier_negative : channel->multiplier);
    if ((record->flags & AXR_FLAG_SATURATE) != 0U) {
        product = axr_clamp(product, INT32_MIN, INT32_MAX);
    }
    const int64_t value = axr_requantize_wide(product, channel->shift, record->output_zero_point);
    return axr_clamp(value, record->minimum, maximum);
}

#endif
