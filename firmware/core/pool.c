/* Average (mean included) and maximum over windows. Owns no buffer. */
#include "kernels.h"
#include "requantize.h"

/* Wraps where a forged image makes the sum too large. */
static inline uint32_t plus(uint32_t sum, int32_t value)
{
    return sum + (uint32_t)value;
}

/* Sum of one window, which lies inside of the image. */
static int32_t window_sum(const axr_call_t *call, const int8_t *corner)
{
    const axr_image_record_t *record = call->record;
    const uint32_t channels = call->input->channels;
    const uint32_t row_bytes = call->input->width * channels;
    uint32_t sum = 0;
    for (uint32_t y = 0; y < record->window_height; y++) {
        const int8_t *pixel = corner + (size_t)y * row_bytes;
        for (uint32_t x = 0; x < record->window_width; x++) {
            for (uint32_t c = 0; c < record->extent_channels; c++) {
                sum = plus(sum, pixel[c]);
            }
            pixel += channels;
        }
    }
    return (int32_t)sum;
}

void axr_average(const axr_call_t *call)
{
    const axr_image_record_t *record = call->record;
    const axr_image_tensor_t *input = call->input;
    const axr_image_tensor_t *output = call->output;
    const axr_channel_t *numbers = call->channels;
    const int32_t maximum = axr_maximum(output->element_bytes);
    uint32_t at = 0;
    for (uint32_t image = 0; image < output->batch; image++) {
        for (uint32_t y = 0; y < output->height; y++) {
            for (uint32_t x = 0; x < output->width; x++) {
                const uint32_t row = image * input->height + y * record->stride_y;
                const uint32_t pixel = row * input->width + x * record->stride_x;
                const int8_t *corner =
                    (const int8_t *)call->input_data + (size_t)pixel * input->channels;
                for (uint32_t c = 0; c < output->channels; c++) {
                    const uint32_t sum =
                        (uint32_t)window_sum(call, corner + (size_t)c * record->extent_channels);
                    const int32_t acc = (int32_t)(sum + (uint32_t)numbers->bias);
                    axr_store(call->output_data, at++, output->element_bytes,
                              axr_finish(record, numbers, acc, maximum));
                }
            }
        }
    }
}

typedef struct range {
    uint32_t first;
    uint32_t end;
} range_t;

/* The part of a window that lies inside of an axis of `extent` elements. */
static range_t inside(uint32_t start, int32_t pad, uint32_t length, uint32_t extent)
{
    const int32_t first = (int32_t)start - pad;
    const int32_t end = first + (int32_t)length;
    range_t range = {first < 0 ? 0U : (uint32_t)first, end < 0 ? 0U : (uint32_t)end};
    if (range.end > extent) {
        range.end = extent;
    }
    return range;
}

static int32_t window_maximum(const axr_call_t *call, uint32_t image, range_t rows,
                              range_t columns, uint32_t channel)
{
    const axr_image_tensor_t *input = call->input;
    int32_t largest = call->record->minimum;
    for (uint32_t y = rows.first; y < rows.end; y++) {
        const uint32_t row = (image * input->height + y) * input->width;
        for (uint32_t x = columns.first; x < columns.end; x++) {
            const int32_t value = axr_load(call->input_data, (row + x) * input->channels + channel,
                                           input->element_bytes);
            largest = value > largest ? value : largest;
        }
    }
    return largest;
}

void axr_max_pool(const axr_call_t *call)
{
    const axr_image_record_t *record = call->record;
    const axr_image_tensor_t *input = call->input;
    const axr_image_tensor_t *output = call->output;
    uint32_t at = 0;
    for (uint32_t image = 0; image < output->batch; image++) {
        for (uint32_t y = 0; y < output->height; y++) {
            const range_t rows = inside(y * record->stride_y, record->pad_top,
                                        record->window_height, input->height);
            for (uint32_t x = 0; x < output->width; x++) {
                const range_t columns = inside(x * record->stride_x, record->pad_left,
                                               record->window_width, input->width);
                for (uint32_t c = 0; c < output->channels; c++) {
                    axr_store(call->output_data, at++, output->element_bytes,
                              window_maximum(call, image, rows, columns, c));
                }
            }
        }
    }
}
