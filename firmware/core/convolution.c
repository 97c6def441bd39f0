/*
 * Convolution over all channels; pointwise and fully connected layers are its 1x1 case.
 *
 * For each output row the input rows that it meets are widened to 16 bits in scratch memory, as
 * columns: [column][filter row][channel], so that the inputs of one output pixel are one run. Two
 * pixels by two channels are computed at a time: each word of weights serves two channels and two
 * pixels (SXTB16 and dual MAC), each pair of inputs two channels.
 *
 * Columns are padded to four elements, and every four are stored in the order 0 2 1 3, which is
 * what SXTB16 gives for free. compiler/image stores the weights to match: per two channels a and b
 * and per four elements the bytes a0 b0 a2 b2 a1 b1 a3 b3, with zeros in the padding.
 */
#include "dsp.h"
#include "kernels.h"
#include "requantize.h"

typedef struct geometry {
    uint32_t columns;       /* widened columns of one output row */
    uint32_t column_step;   /* input columns from one widened column to the next */
    uint32_t column_length; /* elements of a column, without padding */
    uint32_t column_bytes;  /* of a column in scratch memory, with padding */
    uint32_t pixel_bytes;   /* from one output pixel's run to the next */
    uint32_t quads;         /* groups of four elements in a run */
} geometry_t;

static geometry_t measure(const axr_call_t *call)
{
    const axr_image_record_t *record = call->record;
    const uint32_t length = (uint32_t)record->window_height * call->input->channels;
    const uint32_t column_bytes = (length + 3U) / 4U * 8U;
    const uint32_t window = record->window_width;
    geometry_t shape = {
        .columns = call->output->width,
        .column_step = record->stride_x,
        .column_length = length,
        .column_bytes = column_bytes,
        .pixel_bytes = column_bytes,
        .quads = column_bytes / 8U * window,
    };
    if (window > 1U) {
        shape.columns = (call->output->width - 1U) * record->stride_x + window;
        shape.column_step = 1U;
        shape.pixel_bytes = column_bytes * record->stride_x;
    }
    return shape;
}

static inline void fill(uint8_t *to, int32_t value, uint32_t quads)
{
    axr_scratch_word_t *pairs = (axr_scratch_word_t *)(void *)to;
    const uint32_t pair = ((uint32_t)value & 0xFFFFU) | ((uint32_t)value << 16);
    for (uint32_t i = 0; i < 2U * quads; i++) {
        pairs[i] = pair;
    }
}

/* One filter row of all columns; channels are a multiple of four. */
static void widen_row(const axr_call_t *call, const geometry_t *shape, const uint8_t *row,
                      uint8_t *to)
{
    const uint32_t channels = call->input->channels;
    const int32_t width = (int32_t)call->input->width;
    int32_t x = -call->record->pad_left;
    for (uint32_t column = 0; column < shape->columns; column++) {
        if (row == NULL || x < 0 || x >= width) {
            fill(to, call->record->input_zero_point, channels / 4U);
        } else {
            axr_widen(to, row + (uint32_t)x * channels, channels / 4U);
        }
        to += shape->column_bytes;
        x += (int32_t)shape->column_step;
    }
}

/* The same for any number of channels: element by element, each along all columns. `first` is the
 * place of the first channel in a column. */
static void widen_row_slowly(const axr_call_t *call, const geometry_t *shape, const uint8_t *row,
                             uint32_t first)
{
    static const uint8_t order[4] = {0, 2, 1, 3};
    const uint32_t channels = call->input->channels;
    const uint32_t width = call->input->width;
    const uint32_t step = shape->column_step;
    const uint32_t halves = shape->column_bytes / 2U;
    const int16_t outside = call->record->input_zero_point;
    for (uint32_t i = 0; i < channels; i++) {
        const uint32_t at = first + i;
        axr_scratch_half_t *to = (axr_scratch_half_t *)(void *)call->scratch;
        to += (at & ~3U) + order[at & 3U];
        /* Left of the image the unsigned column wraps to a large one. */
        uint32_t x = 0U - (uint32_t)call->record->pad_left;
        for (uint32_t column = shape->columns; column != 0U; column--) {
            *to = row != NULL && x < width ? (int16_t)(int8_t)row[x * channels + i] : outside;
            to += halves;
            x += step;
        }
    }
}

static void widen_rows(const axr_call_t *call, const geometry_t *shape, const uint8_t *image,
                       uint32_t output_y)
{
    const axr_image_record_t *record = call->record;
    const axr_image_tensor_t *input = call->input;
    const uint32_t row_bytes = (uint32_t)input->width * input->channels;
    int32_t y = (int32_t)(output_y * record->stride_y) - record->pad_top;
    for (uint32_t i = 0; i < record->window_height; i++, y++) {
        const uint8_t *row = NULL;
        if (y >= 0 && y < (int32_t)input->height) {
            row = image + (uint32_t)y * row_bytes;
        }
        if (input->channels % 4U == 0U) {
            widen_row(call, shape, row, call->scratch + 2U * i * input->channels);
        } else {
            widen_row_slowly(call, shape, row, i * input->channels);
        }
    }
}

/* Zero the padding of columns, once: weights there are zero, but memory must hold some value. */
static void clear_padding(const axr_call_t *call, const geometry_t *shape)
{
    if (shape->column_length % 4U != 0U) {
        for (uint32_t column = 0; column < shape->columns; column++) {
            fill(call->scratch + (column + 1U) * shape->column_bytes - 8U, 0, 1U);
        }
    }
}

/* Two channels of an output row in the common case: int8 output, every shift 32. The assembly
 * below knows the order of the fields. */
typedef struct pair_row {
    const uint8_t *x; /* the run of the next pixel */
    uint32_t pixel_bytes;
    const uint8_t *weights;
    const uint8_t *head_end; /* of the weights that make the rest a multiple of four quads */
    const uint8_t *end;
    int32_t bias[2];
    int32_t multiplier[2];
    int32_t zero_point;
    uint32_t minimum; /* four copies, one in each byte */
    uint8_t *to;
    uint32_t step; /* bytes from one output pixel to the next */
    uint32_t pixel_pairs;
} pair_row_t;

/* One pixel with two channels; for odd widths, and for fully connected layers. */
static inline void dot_1x2(const uint8_t *x, const uint8_t *w, uint32_t quads, int32_t sums[2])
{
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    const axr_scratch_word_t *pairs = (const axr_scratch_word_t *)(const void *)x;
    const uint32_t *weights = (const uint32_t *)(const void *)w;
    for (uint32_t i = 0; i < 2U * quads; i++) {
        const uint32_t word = weights[i];
        s0 = axr_smlad(axr_sxtb16(word), pairs[i], s0);
        s1 = axr_smlad(axr_sxtb16_odd(word), pairs[i], s1);
    }
    sums[0] = s0;
    sums[1] = s1;
}

/* Two outputs of one pixel. */
static inline void store_pixel(const pair_row_t *row, const int32_t sums[2])
{
    const int32_t minimum = (int8_t)(row->minimum & 0xFFU);
    for (uint32_t i = 0; i < 2U; i++) {
        const int32_t value =
            axr_requantize_int8(sums[i], row->multiplier[i], row->zero_point);
        ((int8_t *)row->to)[i] = (int8_t)(value < minimum ? minimum : value);
    }
}

#if AXR_HAVE_DSP

/* Four elements of two pixels with two channels: 16 MACs in 16 instructions.
 * r1, r2 inputs; r3 weights; r5..r8 sums of pixel 0 channel a, 0 b, 1 a, 1 b. */
#define QUAD                           \
    "ldrd r9, r10, [r1], #8\n\t"       \
    "ldrd r11, r12, [r2], #8\n\t"      \
    "ldr r0, [r3], #4\n\t"             \
    "sxtb16 lr, r0, ror #8\n\t"        \
    "sxtb16 r0, r0\n\t"                \
    "smlad r5, r0, r9, r5\n\t"         \
    "smlad r6, lr, r9, r6\n\t"         \
    "smlad r7, r0, r11, r7\n\t"        \
    "smlad r8, lr, r11, r8\n\t"        \
    "ldr r0, [r3], #4\n\t"             \
    "sxtb16 lr, r0, ror #8\n\t"        \
    "sxtb16 r0, r0\n\t"                \
    "smlad r5, r0, r10, r5\n\t"        \
    "smlad r6, lr, r10, r6\n\t"        \
    "smlad r7, r0, r12, r7\n\t"        \
    "smlad r8, lr, r12, r8\n\t"

/* axr_requantize_scaled and saturation of a sum; r3 zero point. */
#define REQUANTIZE(sum, multiplier)                              \
    "mov r11, #0x80000000\n\t"                                   \
    "mov lr, r3\n\t"                                             \
    "smlal r11, lr, " sum ", " multiplier "\n\t"                 \
    "cmp r11, #0\n\t"                                            \
    "it eq\n\t"                                                  \
    "biceq lr, lr, #1\n\t"                                       \
    "ssat " sum ", #8, lr\n\t"

/* Two pixels at a time, row->pixel_pairs (at least 1) times; x and to move on. In assembly because
 * the inner loop takes all fourteen registers, which no compiler grants an asm statement. */
void axr_convolve_pixel_pairs(pair_row_t *row);

__asm__(".pushsection .text.axr_convolve_pixel_pairs, \"ax\", %progbits\n\t"
        ".syntax unified\n\t"
        ".thumb\n\t"
        ".balign 4\n\t"
        ".global axr_convolve_pixel_pairs\n\t"
        ".type axr_convolve_pixel_pairs, %function\n\t"
        ".thumb_func\n"
        "axr_convolve_pixel_pairs:\n\t"
        "push {r0, r4-r11, lr}\n"
        "1:\n\t"
        "ldm r0, {r1-r4}\n\t"
        "add r2, r1, r2\n\t"
        "ldrd r5, r6, [r0, #20]\n\t"
        "mov r7, r5\n\t"
        "mov r8, r6\n\t"
        "cmp r3, r4\n\t"
        "beq 3f\n"
        "2:\n\t" QUAD
        "cmp r3, r4\n\t"
        "bne 2b\n\t"
        "ldr r0, [sp]\n"
        "3:\n\t"
        "ldr r4, [r0, #16]\n\t"
        "cmp r3, r4\n\t"
        "beq 5f\n"
        "4:\n\t" QUAD QUAD QUAD QUAD
        "cmp r3, r4\n\t"
        "bne 4b\n\t"
        "ldr r0, [sp]\n"
        "5:\n\t"
        "add r12, r0, #28\n\t"
        "ldm r12, {r1-r4, r9, r10}\n\t" REQUANTIZE("r5", "r1") REQUANTIZE("r6", "r2")
        REQUANTIZE("r7", "r1") REQUANTIZE("r8", "r2")
        "bfi r5, r6, #8, #8\n\t"
        "bfi r5, r7, #16, #8\n\t"
        "bfi r5, r8, #24, #8\n\t"
        "ssub8 r6, r5, r4\n\t" /* per byte: the larger of the value and the minimum */
        "sel r5, r5, r4\n\t"
        "strh r5, [r9]\n\t"
        "lsr r5, r5, #16\n\t"
        "strh r5, [r9, r10]\n\t"
        "add r9, r9, r10, lsl #1\n\t"
        "ldrd r1, r2, [r0]\n\t"
        "add r1, r1, r2, lsl #1\n\t"
        "str r1, [r0]\n\t"
        "str r9, [r0, #44]\n\t"
        "ldr r4, [r0, #52]\n\t"
        "subs r4, r4, #1\n\t"
        "str r4, [r0, #52]\n\t"
        "bne 1b\n\t"
        "pop {r0, r4-r11, pc}\n\t"
        ".size axr_convolve_pixel_pairs, . - axr_convolve_pixel_pairs\n\t"
        ".popsection");

_Static_assert(offsetof(pair_row_t, end) == 16 && offsetof(pair_row_t, bias) == 20 &&
                   offsetof(pair_row_t, multiplier) == 28 && offsetof(pair_row_t, to) == 44 &&
                   offsetof(pair_row_t, pixel_pairs) == 52,
               "the assembly knows these offsets");

#else

static void axr_convolve_pixel_pairs(pair_row_t *row)
{
    const uint32_t quads = (uint32_t)(row->end - row->weights) / 8U;
    for (uint32_t pixel = 2U * row->pixel_pairs; pixel != 0U; pixel--) {
        int32_t sums[2] = {row->bias[0], row->bias[1]};
        dot_1x2(row->x, row->weights, quads, sums);
        store_pixel(row, sums);
        row->x += row->pixel_bytes;
        row->to += row->step;
    }
}

#endif

static void convolve_pair(const axr_call_t *call, const geometry_t *shape, uint32_t pair,
                          uint8_t *to)
{
    const uint8_t *weights = call->weights + (size_t)pair * shape->quads * 8U;
    const axr_channel_t *channels = &call->channels[2U * pair];
    pair_row_t row = {
        .x = call->scratch,
        .pixel_bytes = shape->pixel_bytes,
        .weights = weights,
        .head_end = weights + 8U * (shape->quads & 3U),
        .end = weights + 8U * shape->quads,
        .bias = {channels[0].bias, channels[1].bias},
        .multiplier = {channels[0].multiplier, channels[1].multiplier},
        .zero_point = call->record->output_zero_point,
        .minimum = ((uint32_t)call->record->minimum & 0xFFU) * 0x01010101U,
        .to = to + 2U * pair,
        .step = call->output->channels,
        .pixel_pairs = call->output->width / 2U,
    };
    if (row.pixel_pairs != 0U) {
        axr_convolve_pixel_pairs(&row);
    }
    if (call->output->width % 2U != 0U) {
        int32_t sums[2] = {row.bias[0], row.bias[1]};
        dot_1x2(row.x, weights, shape->quads, sums);
        store_pixel(&row, sums);
    }
}

/* The general case: any width of output, any shift, leaky ReLU. */
static void convolve_pair_generally(const axr_call_t *call, const geometry_t *shape, uint32_t pair,
                                    bool single, uint8_t *row)
{
    const uint32_t element_bytes = call->output->element_bytes;
    const int32_t maximum = axr_maximum(element_bytes);
    const uint8_t *weights = call->weights + (size_t)pair * shape->quads * 8U;
    const axr_channel_t *a = &call->channels[2U * pair];
    const axr_channel_t *b = single ? a : a + 1;
    const uint8_t *x = call->scratch;
    uint32_t at = 2U * pair;
    for (uint32_t pixel = 0; pixel < call->output->width; pixel++) {
        int32_t sums[2] = {a->bias, b->bias};
        dot_1x2(x, weights, shape->quads, sums);
        axr_store(row, at, element_bytes, axr_finish(call->record, a, sums[0], maximum));
        if (!single) {
            axr_store(row, at + 1U, element_bytes, axr_finish(call->record, b, sums[1], maximum));
        }
        x += shape->pixel_bytes;
        at += call->output->channels;
    }
}

static void convolve_row(const axr_call_t *call, const geometry_t *shape, uint8_t *row)
{
    const uint32_t channels = call->output->channels;
    const bool common = (call->record->flags & AXR_FLAG_SCALED_32) != 0U &&
                        (call->record->flags & AXR_FLAG_LEAKY) == 0U &&
                        call->output->element_bytes == 1U;
    for (uint32_t pair = 0; 2U * pair < channels; pair++) {
        const bool single = 2U * pair + 1U == channels;
        if (common && !single) {
            convolve_pair(call, shape, pair, row);
        } else {
            convolve_pair_generally(call, shape, pair, single, row);
        }
    }
}

void axr_convolution(const axr_call_t *call)
{
    const axr_image_tensor_t *input = call->input;
    const axr_image_tensor_t *output = call->output;
    const geometry_t shape = measure(call);
    const uint32_t image_bytes = (uint32_t)input->height * input->width * input->channels;
    const uint32_t row_bytes = (uint32_t)output->width * output->channels * output->element_bytes;
    uint8_t *row = call->output_data;
    clear_padding(call, &shape);
    for (uint32_t image = 0; image < output->batch; image++) {
        for (uint32_t y = 0; y < output->height; y++) {
            widen_rows(call, &shape, call->input_data + (size_t)image * image_bytes, y);
            convolve_row(call, &shape, row);
            row += row_bytes;
        }
    }
}
