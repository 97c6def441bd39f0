/*
 * Copies: slices, concatenation, channel padding, reshape, resizing, space and batch moves, and
 * widening of int8 codes. Element (y, x, c) of a box in the output comes from input element
 * rows[y] + columns[x] + channels[c], or is the fill value where a table says so. Owns no buffer.
 *
 * Tables in the constants, u32 each: rows, columns, channels (one entry with CHANNEL_RUNS).
 */
#include "kernels.h"

static void copy_pixel(const axr_call_t *call, uint32_t from, uint32_t to,
                       const uint32_t *channels)
{
    const axr_image_record_t *record = call->record;
    const uint32_t in_bytes = call->input->element_bytes;
    const uint32_t out_bytes = call->output->element_bytes;
    const bool runs = (record->flags & AXR_FLAG_CHANNEL_RUNS) != 0U;
    if (from != AXR_COPY_FILL && runs && in_bytes == out_bytes) {
        const uint8_t *source = call->input_data + (size_t)(from + channels[0]) * in_bytes;
        uint8_t *target = call->output_data + (size_t)to * out_bytes;
        /* A reshape copies onto itself; byte order is upwards, so that is harmless. */
        for (uint32_t i = 0; i < record->extent_channels * in_bytes; i++) {
            target[i] = source[i];
        }
        return;
    }
    for (uint32_t c = 0; c < record->extent_channels; c++) {
        const uint32_t channel = runs ? channels[0] + c : channels[c];
        int32_t value = record->second_zero_point;
        if (from != AXR_COPY_FILL && channel != AXR_COPY_FILL) {
            value = axr_load(call->input_data, from + channel, in_bytes);
        }
        axr_store(call->output_data, to + c, out_bytes, value);
    }
}

void axr_copy(const axr_call_t *call)
{
    const axr_image_record_t *record = call->record;
    const axr_image_tensor_t *output = call->output;
    const uint32_t *rows = (const uint32_t *)(const void *)call->weights;
    const uint32_t *columns = rows + record->extent_height;
    const uint32_t *channels = columns + record->extent_width;
    const uint32_t row_elements = (uint32_t)output->width * output->channels;
    for (uint32_t y = 0; y < record->extent_height; y++) {
        uint32_t to = record->destination + y * row_elements;
        for (uint32_t x = 0; x < record->extent_width; x++) {
            const bool fill = rows[y] == AXR_COPY_FILL || columns[x] == AXR_COPY_FILL;
            copy_pixel(call, fill ? AXR_COPY_FILL : rows[y] + columns[x], to, channels);
            to += output->channels;
        }
    }
}
