/*
 * Softmax, sigmoid and tanh as Nordic's CPU operations define them: exponentials by integers, the
 * rest in IEEE single precision, one rounding per operation (build with -ffp-contract=off).
 * Owns no buffer. A thread of the core uses floats here only.
 */
#include "exponential.h"
#include "kernels.h"
#include "requantize.h"

#define LARGEST_Q12 31182 /* ln(2048) in q.12: where the largest input of a softmax is moved */

/* Halves away from zero, without the error of adding 0.5 first; any float whose size is < 2^31. */
static float round_half_away(float value)
{
    const float whole = (float)(int32_t)value;
    const float rest = value - whole;
    if (rest >= 0.5f) {
        return whole + 1.0f;
    }
    return rest <= -0.5f ? whole - 1.0f : whole;
}

/* Saturate, then cut toward zero. */
static int32_t from_float(float value, uint32_t element_bytes)
{
    const int32_t maximum = axr_maximum(element_bytes);
    if (value >= (float)maximum) { /* as a float, 2^31 - 1 is 2^31 */
        return maximum;
    }
    return value <= (float)(-maximum - 1) ? -maximum - 1 : (int32_t)value;
}

/* The exponent of an input. Far below the largest the exponential is 0 anyway; above it is an input
 * only if a forged image lets the output overwrite what is still to be read. */
static int32_t exponent_of(int32_t value, int32_t largest)
{
    return axr_clamp((int64_t)value - largest + LARGEST_Q12, -65536, LARGEST_Q12);
}

static void softmax_vector(const axr_call_t *call, uint32_t first, uint32_t length, float scale)
{
    const uint32_t in_bytes = call->input->element_bytes;
    const uint32_t out_bytes = call->output->element_bytes;
    int32_t largest = axr_load(call->input_data, first, in_bytes);
    for (uint32_t i = 1; i < length; i++) {
        const int32_t value = axr_load(call->input_data, first + i, in_bytes);
        largest = value > largest ? value : largest;
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i < length; i++) {
        const int32_t value = axr_load(call->input_data, first + i, in_bytes);
        total += axr_exp_q12(exponent_of(value, largest));
    }
    const float sum = (float)total;
    const float zero_point = (float)call->record->output_zero_point;
    for (uint32_t i = 0; i < length; i++) {
        const int32_t value = axr_load(call->input_data, first + i, in_bytes);
        const float power = (float)axr_exp_q12(exponent_of(value, largest));
        const float share = power * scale / sum;
        /* A share of 2^31 or more saturates whatever is added. */
        const float rounded = share < 2147483648.0f ? round_half_away(share) : share;
        axr_store(call->output_data, first + i, out_bytes,
                  from_float(rounded + zero_point, out_bytes));
    }
}

void axr_softmax(const axr_call_t *call)
{
    const uint32_t length = call->record->extent_channels;
    const uint32_t total = axr_elements(call->output);
    float scale;
    __builtin_memcpy(&scale, &call->channels->multiplier, 4);
    for (uint32_t first = 0; first < total; first += length) {
        softmax_vector(call, first, length, scale);
    }
}

/* Fixed-point fraction bits of sigmoid and tanh outputs wider than 8 bits. */
static float fraction(uint32_t element_bytes)
{
    return element_bytes == 4U ? 1073741824.0f : 4096.0f;
}

void axr_sigmoid(const axr_call_t *call)
{
    const uint32_t out_bytes = call->output->element_bytes;
    const uint32_t total = axr_elements(call->output);
    for (uint32_t i = 0; i < total; i++) {
        const int32_t x = axr_load(call->input_data, i, 2U);
        const float real = 1.0f / (1.0f + axr_exp_float(-x));
        const float value = out_bytes == 1U ? round_half_away(real * 256.0f) - 128.0f
                                            : real * fraction(out_bytes);
        axr_store(call->output_data, i, out_bytes, from_float(value, out_bytes));
    }
}

void axr_tanh(const axr_call_t *call)
{
    const uint32_t out_bytes = call->output->element_bytes;
    const uint32_t total = axr_elements(call->output);
    for (uint32_t i = 0; i < total; i++) {
        const int32_t x = axr_load(call->input_data, i, 2U);
        const float power = axr_exp_float(2 * x);
        const float real = (power - 1.0f) / (power + 1.0f);
        const float value =
            out_bytes == 1U ? round_half_away(real * 128.0f) : real * fraction(out_bytes);
        axr_store(call->output_data, i, out_bytes, from_float(value, out_bytes));
    }
}
