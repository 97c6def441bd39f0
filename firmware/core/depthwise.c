/*
 * Depthwise convolution: each channel with its own filter.
 *
 * Per output pixel the arena offsets of the input pixels that the window meets are listed once (the
 * zero point's vector for those outside of the image); then four channels at a time take the taps
 * in twos through the dual MAC. compiler/image stores weights per four channels and two taps s, t
 * as the bytes 0s 1s 0t 1t 2s 3s 2t 3t, an odd number of taps padded with zeros.
 *
 * Scratch: u32 offsets (an even number of taps), then one vector of zero points.
 */
#include "dsp.h"
#include "kernels.h"
#include "requantize.h"

typedef struct window {
    const axr_scratch_word_t *offsets;
    uint32_t pairs; /* of taps */
} window_t;

static window_t locate_taps(const axr_call_t *call, uint32_t image, uint32_t output_y,
                            uint32_t output_x)
{
    const axr_image_record_t *record = call->record;
    const axr_image_tensor_t *input = call->input;
    const uint32_t taps = (uint32_t)record->window_height * record->window_width;
    const uint32_t pairs = (taps + 1U) / 2U;
    axr_scratch_word_t *offsets = (axr_scratch_word_t *)(void *)call->scratch;
    const uint32_t outside = record->scratch + 8U * pairs;
    const int32_t top = (int32_t)(output_y * record->stride_y) - record->pad_top;
    const int32_t left = (int32_t)(output_x * record->stride_x) - record->pad_left;
    uint32_t at = 0;
    for (int32_t y = top; y < top + (int32_t)record->window_height; y++) {
        const bool inside = y >= 0 && y < (int32_t)input->height;
        for (int32_t x = left; x < left + (int32_t)record->window_width; x++) {
            offsets[at] = outside;
            if (inside && x >= 0 && x < (int32_t)input->width) {
                const uint32_t row = image * input->height + (uint32_t)y;
                const uint32_t pixel = row * input->width + (uint32_t)x;
                offsets[at] = input->offset + pixel * input->channels;
            }
            at++;
        }
    }
    if (at < 2U * pairs) {
        offsets[at] = outside;
    }
    return (window_t){offsets, pairs};
}

static inline void four_channels(const axr_call_t *call, window_t window, uint32_t first,
                                 const uint8_t *weights, int32_t sums[4])
{
    const uint8_t *data = call->arena + first;
    const axr_scratch_word_t *offsets = window.offsets;
    const axr_scratch_word_t *end = offsets + 2U * window.pairs;
    for (; offsets != end; offsets += 2, weights += 8) {
        const uint32_t s = axr_word(data + offsets[0]);
        const uint32_t t = axr_word(data + offsets[1]);
        const uint32_t low = axr_word(weights);
        const uint32_t high = axr_word(weights + 4);
        const uint32_t s_even = axr_sxtb16(s);
        const uint32_t t_even = axr_sxtb16(t);
        const uint32_t s_odd = axr_sxtb16_odd(s);
        const uint32_t t_odd = axr_sxtb16_odd(t);
        sums[0] = axr_smlad(axr_sxtb16(low), axr_pack_low(s_even, t_even), sums[0]);
        sums[1] = axr_smlad(axr_sxtb16_odd(low), axr_pack_low(s_odd, t_odd), sums[1]);
        sums[2] = axr_smlad(axr_sxtb16(high), axr_pack_high(s_even, t_even), sums[2]);
        sums[3] = axr_smlad(axr_sxtb16_odd(high), axr_pack_high(s_odd, t_odd), sums[3]);
    }
}

/* One channel: the last one to three, and the uncommon cases. */
static int32_t one_channel(const axr_call_t *call, window_t window, uint32_t channel,
                           const uint8_t *weights)
{
    const int8_t *data = (const int8_t *)call->arena + channel;
    const int8_t *lane = (const int8_t *)weights + (channel & 2U) * 2U + (channel & 1U);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < window.pairs; i++) {
        sum += (uint32_t)(data[window.offsets[2U * i]] * lane[8U * i]);
        sum += (uint32_t)(data[window.offsets[2U * i + 1U]] * lane[8U * i + 2U]);
    }
    return (int32_t)sum;
}

static void store(const axr_call_t *call, uint32_t channel, uint32_t at, int32_t sum)
{
    const axr_channel_t *numbers = &call->channels[channel];
    const uint32_t element_bytes = call->output->element_bytes;
    const int32_t acc = (int32_t)((uint32_t)sum + (uint32_t)numbers->bias);
    axr_store(call->output_data, at, element_bytes,
              axr_finish(call->record, numbers, acc, axr_maximum(element_bytes)));
}

static inline uint32_t to_byte(const axr_channel_t *numbers, int32_t acc, int32_t zero_point,
                               int32_t minimum)
{
    const int32_t value = axr_requantize_int8(acc, numbers->multiplier, zero_point);
    return (uint32_t)(value < minimum ? minimum : value) & 0xFFU;
}

/* All whole groups of four channels of a pixel in the common case: int8 output, every shift 32.
 * Returns the first channel that is left. */
static uint32_t filter_commonly(const axr_call_t *call, window_t window, uint32_t at)
{
    const axr_channel_t *numbers = call->channels;
    const int32_t zero_point = call->record->output_zero_point;
    const int32_t minimum = call->record->minimum;
    const uint32_t whole = call->output->channels & ~3U;
    const uint8_t *weights = call->weights;
    uint8_t *to = call->output_data + at;
    for (uint32_t first = 0; first < whole; first += 4U) {
        int32_t sums[4] = {numbers[0].bias, numbers[1].bias, numbers[2].bias, numbers[3].bias};
        four_channels(call, window, first, weights, sums);
        const uint32_t word = to_byte(&numbers[0], sums[0], zero_point, minimum) |
                              to_byte(&numbers[1], sums[1], zero_point, minimum) << 8 |
                              to_byte(&numbers[2], sums[2], zero_point, minimum) << 16 |
                              to_byte(&numbers[3], sums[3], zero_point, minimum) << 24;
        __builtin_memcpy(to + first, &word, 4);
        weights += 8U * window.pairs;
        numbers += 4;
    }
    return whole;
}

static void filter_pixel(const axr_call_t *call, window_t window, uint32_t at)
{
    const uint8_t flags = call->record->flags;
    const bool common = (flags & AXR_FLAG_SCALED_32) != 0U && (flags & AXR_FLAG_LEAKY) == 0U &&
                        call->output->element_bytes == 1U;
    const uint32_t first = common ? filter_commonly(call, window, at) : 0U;
    for (uint32_t i = first; i < call->output->channels; i++) {
        const uint8_t *weights = call->weights + (size_t)(i / 4U) * window.pairs * 8U;
        store(call, i, at + i, one_channel(call, window, i, weights));
    }
}

void axr_depthwise(const axr_call_t *call)
{
    const axr_image_record_t *record = call->record;
    const axr_image_tensor_t *output = call->output;
    const uint32_t taps = (uint32_t)record->window_height * record->window_width;
    uint8_t *outside = call->scratch + (size_t)(taps + 1U) / 2U * 8U;
    for (uint32_t i = 0; i < call->input->channels; i++) {
        outside[i] = (uint8_t)((uint32_t)record->input_zero_point & 0xFFU);
    }
    uint32_t at = 0;
    for (uint32_t image = 0; image < output->batch; image++) {
        for (uint32_t y = 0; y < output->height; y++) {
            for (uint32_t x = 0; x < output->width; x++) {
                filter_pixel(call, locate_taps(call, image, y, x), at);
                at += output->channels;
            }
        }
    }
}
