/* Sum and product of two int8 operands; extents of 1 are repeated. Owns no buffer. */
#include "kernels.h"
#include "requantize.h"

/* Element steps of an operand along the axes of the output; 0 where it is repeated. */
typedef struct steps {
    uint32_t batch;
    uint32_t y;
    uint32_t x;
    uint32_t c;
} steps_t;

static steps_t steps_of(uint32_t batch, uint32_t height, uint32_t width, uint32_t channels)
{
    return (steps_t){
        .batch = batch == 1U ? 0U : height * width * channels,
        .y = height == 1U ? 0U : width * channels,
        .x = width == 1U ? 0U : channels,
        .c = channels == 1U ? 0U : 1U,
    };
}

static steps_t tensor_steps(const axr_image_tensor_t *tensor)
{
    return steps_of(tensor->batch, tensor->height, tensor->width, tensor->channels);
}

static steps_t second_steps(const axr_call_t *call)
{
    const axr_image_record_t *record = call->record;
    if (call->second != NULL) {
        return tensor_steps(call->second);
    }
    return steps_of(1U, record->extent_height, record->extent_width, record->extent_channels);
}

/* y = (a*m0 + b*m1 + bias) / 2^shift + zero point. */
static int32_t weighted_sum(const axr_call_t *call, int32_t a, int32_t b)
{
    const axr_channel_t *numbers = call->channels;
    const int64_t sum = (int64_t)a * numbers[0].multiplier + (int64_t)b * numbers[1].multiplier +
                        numbers[0].bias;
    const int64_t value =
        axr_requantize_wide(sum, numbers[0].shift, call->record->output_zero_point);
    return axr_clamp(value, call->record->minimum, axr_maximum(call->output->element_bytes));
}

static int32_t product(const axr_call_t *call, int32_t a, int32_t b)
{
    const axr_image_record_t *record = call->record;
    const int64_t factors =
        (int64_t)(a - record->input_zero_point) * (b - record->second_zero_point);
    const int64_t value = axr_requantize_wide(factors * call->channels->multiplier,
                                              call->channels->shift, record->output_zero_point);
    return axr_clamp(value, record->minimum, axr_maximum(call->output->element_bytes));
}

typedef int32_t (*binary_t)(const axr_call_t *call, int32_t a, int32_t b);

static void for_each(const axr_call_t *call, binary_t operation)
{
    const axr_image_tensor_t *output = call->output;
    const steps_t p = tensor_steps(call->input);
    const steps_t q = second_steps(call);
    const int8_t *first = (const int8_t *)call->input_data;
    const int8_t *second = (const int8_t *)call->second_data;
    uint32_t at = 0;
    for (uint32_t n = 0; n < output->batch; n++) {
        for (uint32_t y = 0; y < output->height; y++) {
            for (uint32_t x = 0; x < output->width; x++) {
                const uint32_t i = n * p.batch + y * p.y + x * p.x;
                const uint32_t j = n * q.batch + y * q.y + x * q.x;
                for (uint32_t c = 0; c < output->channels; c++) {
                    const int32_t value = operation(call, first[i + c * p.c], second[j + c * q.c]);
                    axr_store(call->output_data, at++, output->element_bytes, value);
                }
            }
        }
    }
}

/* Two int8 tensors of one shape, an int8 result, and sums that 32 bits hold. Unsigned arithmetic
 * wraps where a forged image breaks that promise. */
static void add_flat(const axr_call_t *call)
{
    const int8_t *a = (const int8_t *)call->input_data;
    const int8_t *b = (const int8_t *)call->second_data;
    int8_t *to = (int8_t *)call->output_data;
    const uint32_t first = (uint32_t)call->channels[0].multiplier;
    const uint32_t second = (uint32_t)call->channels[1].multiplier;
    const uint32_t shift = call->channels[0].shift;
    const uint32_t zero_point = (uint32_t)call->record->output_zero_point;
    const uint32_t below_half = (1U << (shift - 1U)) - 1U;
    const uint32_t bias = (uint32_t)call->channels[0].bias + (zero_point << shift);
    const int32_t minimum = call->record->minimum;
    for (uint32_t i = axr_elements(call->output); i != 0U; i--) {
        const uint32_t sum = (uint32_t)*a++ * first + (uint32_t)*b++ * second + bias;
        const uint32_t rounded = sum + below_half + ((sum >> shift) & 1U);
        int32_t value = (int32_t)rounded >> shift;
        value = value < minimum ? minimum : value;
        *to++ = (int8_t)(value > 127 ? 127 : value);
    }
}

void axr_add(const axr_call_t *call)
{
    if ((call->record->flags & AXR_FLAG_NARROW) != 0U) {
        add_flat(call);
    } else {
        for_each(call, weighted_sum);
    }
}

void axr_multiply(const axr_call_t *call)
{
    for_each(call, product);
}
