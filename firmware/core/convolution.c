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

/* Widen `quads` groups of four bytes, each to the order 0 2 1 3. */
static inline void widen(uint8_t *to, const uint8_t *from, uint32_t quads)
{
    axr_scratch_word_t *pairs = (axr_scratch_word_t *)(void *)to;
    for (uint32_t i = 0; i < quads; i++) {
        const uint32_t word = axr_word(from + 4U * i);
        pairs[2U * i] = axr_sxtb16(word);
        pairs[2U * i + 1U] = axr_sxtb16_odd(word);
    }
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
            widen(to, row + (uint32_t)x * channels, channels / 4U);
        }
        to += shape->column_bytes;
        x += (int32_t)shape->column_step;
    }
}

/* The same for any number of channels, element by element, starting at element `first`. */
static void widen_row_slowly(const axr_call_t *call, const geometry_t *shape, const uint8_t *row,
                             uint32_t first)
{
    static const uint8_t order[4] = {0, 2, 1, 3};
    const uint32_t channels = call->input->channels;
    const int32_t width = (int32_t)call->input->width;
    int32_t x = -call->record->pad_left;
    axr_scratch_half_t *to = (axr_scratch_half_t *)(void *)call->scratch;
    for (uint32_t column = 0; column < shape->columns; column++) {
        const int8_t *from = NULL;
        if (row != NULL && x >= 0 && x < width) {
            from = (const int8_t *)row + (uint32_t)x * channels;
        }
        for (uint32_t i = 0; i < channels; i++) {
            const uint32_t at = first + i;
            to[(at & ~3U) + order[at & 3U]] =
                from == NULL ? call->record->input_zero_point : (int16_t)from[i];
        }
        to += shape->column_bytes / 2U;
        x += (int32_t)shape->column_step;
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

#if AXR_HAVE_DSP

/* Four elements of two pixels with two channels: 16 MACs in 16 instructions. */
#define QUAD_2X2                                \
    "ldrd %[p0], %[p1], [%[x0]], #8\n\t"        \
    "ldrd %[q0], %[q1], [%[x1]], #8\n\t"        \
    "ldr %[a], [%[w]], #4\n\t"                  \
    "sxtb16 %[b], %[a], ror #8\n\t"             \
    "sxtb16 %[a], %[a]\n\t"                     \
    "smlad %[s0], %[a], %[p0], %[s0]\n\t"       \
    "smlad %[s1], %[b], %[p0], %[s1]\n\t"       \
    "smlad %[s2], %[a], %[q0], %[s2]\n\t"       \
    "smlad %[s3], %[b], %[q0], %[s3]\n\t"       \
    "ldr %[a], [%[w]], #4\n\t"                  \
    "sxtb16 %[b], %[a], ror #8\n\t"             \
    "sxtb16 %[a], %[a]\n\t"                     \
    "smlad %[s0], %[a], %[p1], %[s0]\n\t"       \
    "smlad %[s1], %[b], %[p1], %[s1]\n\t"       \
    "smlad %[s2], %[a], %[q1], %[s2]\n\t"       \
    "smlad %[s3], %[b], %[q1], %[s3]\n\t"

/* sums: pixel 0 channel a, pixel 0 channel b, pixel 1 channel a, pixel 1 channel b. */
static inline void dot_2x2(const uint8_t *x0, const uint8_t *x1, const uint8_t *w, uint32_t quads,
                           int32_t sums[4])
{
    int32_t s0 = sums[0];
    int32_t s1 = sums[1];
    int32_t s2 = sums[2];
    int32_t s3 = sums[3];
    uint32_t p0, p1, q0, q1, a, b;
    /* The loop's end is compared in memory: all registers are taken. */
    const uint8_t *end = w + 8U * (quads & ~3U);
    if (w != end) {
        __asm__ volatile("1:\n\t" QUAD_2X2 QUAD_2X2 QUAD_2X2 QUAD_2X2
                         "ldr %[a], %[end]\n\t"
                         "cmp %[w], %[a]\n\t"
                         "bne 1b\n\t"
                         : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3),
                           [x0] "+r"(x0), [x1] "+r"(x1), [w] "+r"(w), [p0] "=&r"(p0),
                           [p1] "=&r"(p1), [q0] "=&r"(q0), [q1] "=&r"(q1), [a] "=&r"(a),
                           [b] "=&r"(b)
                         : [end] "m"(end)
                         : "cc", "memory");
    }
    for (uint32_t i = quads & 3U; i != 0U; i--) {
        __asm__ volatile(QUAD_2X2
                         : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3),
                           [x0] "+r"(x0), [x1] "+r"(x1), [w] "+r"(w), [p0] "=&r"(p0),
                           [p1] "=&r"(p1), [q0] "=&r"(q0), [q1] "=&r"(q1), [a] "=&r"(a),
                           [b] "=&r"(b)
                         :
                         : "memory");
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

#endif

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

#if !AXR_HAVE_DSP

static inline void dot_2x2(const uint8_t *x0, const uint8_t *x1, const uint8_t *w, uint32_t quads,
                           int32_t sums[4])
{
    dot_1x2(x0, w, quads, sums);
    dot_1x2(x1, w, quads, sums + 2);
}

#endif

/* An accumulator to an int8 output, every shift being 32. */
static inline void store_scaled(const axr_image_record_t *record, int32_t multiplier, int32_t acc,
                                int8_t *to)
{
    int32_t value = axr_requantize_scaled(acc, multiplier, record->output_zero_point);
    value = value < record->minimum ? record->minimum : value;
    *to = (int8_t)(value > 127 ? 127 : value);
}

/* Two channels (one if `single`) of an output row in the common case: int8, every shift 32. */
static void convolve_pair(const axr_call_t *call, const geometry_t *shape, uint32_t pair,
                          bool single, uint8_t *row)
{
    const axr_image_record_t record = *call->record;
    const uint8_t *weights = call->weights + (size_t)pair * shape->quads * 8U;
    const axr_channel_t a = call->channels[2U * pair];
    const axr_channel_t b = call->channels[single ? 2U * pair : 2U * pair + 1U];
    const uint32_t step = call->output->channels;
    const uint32_t pixel_bytes = shape->pixel_bytes;
    const uint32_t quads = shape->quads;
    const uint8_t *x = call->scratch;
    int8_t *to = (int8_t *)row + (size_t)2U * pair;
    for (uint32_t left = call->output->width; left != 0U;) {
        int32_t sums[4] = {a.bias, b.bias, a.bias, b.bias};
        if (left >= 2U) {
            dot_2x2(x, x + pixel_bytes, weights, quads, sums);
            store_scaled(&record, a.multiplier, sums[2], to + step);
            if (!single) {
                store_scaled(&record, b.multiplier, sums[3], to + step + 1);
            }
        } else {
            dot_1x2(x, weights, quads, sums);
        }
        store_scaled(&record, a.multiplier, sums[0], to);
        if (!single) {
            store_scaled(&record, b.multiplier, sums[1], to + 1);
        }
        if (left == 1U) {
            break;
        }
        left -= 2U;
        x += 2U * pixel_bytes;
        to += (size_t)2U * step;
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
        if (common) {
            convolve_pair(call, shape, pair, single, row);
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
