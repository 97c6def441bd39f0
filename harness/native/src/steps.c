/* Everything but convolutions. */
#include "steps.h"

#include <math.h>
#include <string.h>

#include "rescale.h"

#define EXPONENT_TOP 31182
#define EXPONENT_LOW (-34070)

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int32_t get(const void *from, int64_t index, int32_t bytes) {
    return bytes == 1   ? ((const int8_t *)from)[index]
           : bytes == 2 ? ((const int16_t *)from)[index]
                        : ((const int32_t *)from)[index];
}

/* --- pools --- */

static void sum_window(const axr_node_t *node, const int8_t *image, int64_t y, int64_t x,
                       int64_t first, int64_t count, int32_t *sums) {
    const int64_t channels = node->in_channels, across = node->window_channels;
    for (int64_t c = 0; c < count; c++) {
        sums[c] = node->bias_scalar;
    }
    for (int64_t i = 0; i < node->window_height; i++) {
        for (int64_t j = 0; j < node->window_width; j++) {
            const int64_t pixel = (y + i) * node->in_width + x + j;
            const int8_t *from = image + pixel * channels + first * across;
            if (across == 1) {
                for (int64_t c = 0; c < count; c++) {
                    sums[c] += from[c];
                }
                continue;
            }
            for (int64_t c = 0; c < count; c++) {
                for (int64_t k = 0; k < across; k++) {
                    sums[c] += from[c * across + k];
                }
            }
        }
    }
}

void axr_average(const axr_node_t *node, uint8_t *arena, uint8_t *scratch) {
    int32_t *sums = (int32_t *)(void *)scratch;
    const int8_t *image = (const int8_t *)(arena + node->source[0]);
    const int64_t in = (int64_t)node->in_height * node->in_width * node->in_channels;
    const int64_t channels = node->out_channels;
    uint8_t *out = arena + node->target;
    for (int64_t b = 0; b < node->batch; b++, image += in) {
        for (int64_t y = 0; y < node->out_height; y++) {
            for (int64_t x = 0; x < node->out_width; x++) {
                for (int64_t first = 0; first < channels; first += AXR_SUMS) {
                    const int64_t count = least(AXR_SUMS, channels - first);
                    sum_window(node, image, y * node->stride_y, x * node->stride_x, first, count,
                               sums);
                    axr_rescale(&node->rescale, sums, 1, count, AXR_SUMS, 0, out, channels);
                    out += count * node->out_bytes;
                }
            }
        }
    }
}

/* Rows and columns of the window that lie in the image: [from, to). */
static void clip_window(int64_t start, int64_t size, int64_t extent, int64_t *from, int64_t *to) {
    *from = start < 0 ? 0 : start;
    *to = least(start + size, extent);
}

static void largest(const axr_node_t *node, const uint8_t *image, const int64_t rows[2],
                    const int64_t columns[2], uint8_t *out) {
    const int64_t channels = node->in_channels;
    const int32_t bytes = node->in_bytes;
    const int32_t floor = bytes == 1 ? INT8_MIN : bytes == 2 ? INT16_MIN : INT32_MIN;
    const int32_t start = node->rescale.low > floor ? node->rescale.low : floor;
    if (bytes == 1 && node->out_bytes == 1) {
        int8_t *best = (int8_t *)out;
        memset(best, start, (size_t)channels);
        for (int64_t y = rows[0]; y < rows[1]; y++) {
            for (int64_t x = columns[0]; x < columns[1]; x++) {
                const int8_t *from =
                    (const int8_t *)image + (y * node->in_width + x) * channels;
                for (int64_t c = 0; c < channels; c++) {
                    best[c] = from[c] > best[c] ? from[c] : best[c];
                }
            }
        }
        return;
    }
    for (int64_t c = 0; c < channels; c++) {
        int32_t best = start;
        for (int64_t y = rows[0]; y < rows[1]; y++) {
            for (int64_t x = columns[0]; x < columns[1]; x++) {
                int32_t value = get(image, (y * node->in_width + x) * channels + c, bytes);
                best = value > best ? value : best;
            }
        }
        axr_put(out, c, node->out_bytes, best);
    }
}

void axr_max_pool(const axr_node_t *node, uint8_t *arena) {
    const uint8_t *image = arena + node->source[0];
    const int64_t in = (int64_t)node->in_height * node->in_width * node->in_channels;
    uint8_t *out = arena + node->target;
    for (int64_t b = 0; b < node->batch; b++, image += in * node->in_bytes) {
        for (int64_t y = 0; y < node->out_height; y++) {
            int64_t rows[2], columns[2];
            clip_window(y * node->stride_y - node->pad_top, node->window_height, node->in_height,
                        &rows[0], &rows[1]);
            for (int64_t x = 0; x < node->out_width; x++) {
                clip_window(x * node->stride_x - node->pad_left, node->window_width,
                            node->in_width, &columns[0], &columns[1]);
                largest(node, image, rows, columns, out);
                out += (int64_t)node->out_channels * node->out_bytes;
            }
        }
    }
}

/* --- add, multiply --- */

/* Sums of `count` elements; the steps are 1 for a tensor and 0 for what is repeated. */
static void combine(const axr_node_t *node, const int8_t *a, const int8_t *b, int64_t count,
                    int64_t step_a, int64_t step_b, int32_t *sums) {
    const int32_t first = node->factor[0], second = node->factor[1], bias = node->bias_scalar;
    if (node->kind == AXR_NODE_MULTIPLY) {
        for (int64_t i = 0; i < count; i++) {
            sums[i] = (a[i * step_a] - first) * (b[i * step_b] - second);
        }
    } else if (step_a == 1 && step_b == 1) {
        for (int64_t i = 0; i < count; i++) {
            sums[i] = a[i] * first + b[i] * second + bias;
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            sums[i] = a[i * step_a] * first + b[i * step_b] * second + bias;
        }
    }
}

/* An addition whose products do not fit 32 bits. */
static void add_wide(const axr_node_t *node, const int8_t *a, const int8_t *b, int64_t count,
                     int64_t step_a, int64_t step_b, uint8_t *out) {
    const axr_rescale_t *r = &node->rescale;
    for (int64_t i = 0; i < count; i++) {
        int64_t product = (int64_t)a[i * step_a] * node->factor[0] +
                          (int64_t)b[i * step_b] * node->factor[1] + node->bias_scalar;
        if (r->clip_product) {
            product = product < INT32_MIN ? INT32_MIN : product > INT32_MAX ? INT32_MAX : product;
        }
        axr_put(out, i, r->bytes,
                axr_scale_down(product, r->shift[0], r->zero_point, r->low, r->high));
    }
}

static void line(const axr_node_t *node, const int8_t *a, const int8_t *b, int64_t count,
                 int64_t step_a, int64_t step_b, int32_t *sums, uint8_t *out) {
    for (int64_t done = 0; done < count; done += AXR_SUMS) {
        const int64_t part = least(AXR_SUMS, count - done);
        const int8_t *from_a = a + done * step_a, *from_b = b + done * step_b;
        uint8_t *to = out + done * node->out_bytes;
        if (node->kind == AXR_NODE_ADD && node->groups) {
            add_wide(node, from_a, from_b, part, step_a, step_b, to);
            continue;
        }
        combine(node, from_a, from_b, part, step_a, step_b, sums);
        axr_rescale(&node->rescale, sums, 1, part, AXR_SUMS, 0, to, part);
    }
}

void axr_element_wise(const axr_node_t *node, uint8_t *arena, uint8_t *scratch) {
    int32_t *sums = (int32_t *)(void *)scratch;
    const int8_t *a = (const int8_t *)(arena + node->source[0]);
    const int8_t *b = node->weights ? node->weights : (const int8_t *)(arena + node->source[1]);
    uint8_t *out = arena + node->target;
    if (node->count) { /* the same extent on both sides: one line */
        line(node, a, b, node->count, 1, 1, sums, out);
        return;
    }
    const int32_t channels = node->out_channels;
    for (int64_t n = 0; n < node->batch; n++) {
        for (int64_t y = 0; y < node->out_height; y++) {
            for (int64_t x = 0; x < node->out_width; x++) {
                const int64_t at_a = n * node->batch_stride[0] + y * node->row_stride[0] +
                                     x * node->pixel_stride[0];
                const int64_t at_b = n * node->batch_stride[1] + y * node->row_stride[1] +
                                     x * node->pixel_stride[1];
                line(node, a + at_a, b + at_b, channels, node->channel_stride[0],
                     node->channel_stride[1], sums, out);
                out += (int64_t)channels * node->out_bytes;
            }
        }
    }
}

/* --- moves, tables, softmax --- */

void axr_move(const axr_node_t *node, uint8_t *arena) {
    const axr_run_t *runs = node->table;
    const int32_t bytes = node->in_bytes, wide = node->out_bytes;
    uint8_t *out = arena + node->target;
    for (int64_t k = 0; k < node->count; k++) {
        const axr_run_t run = runs[k];
        if (run.source < 0) {
            for (int64_t i = 0; i < run.length; i++) {
                axr_put(out, i, wide, node->pad_value);
            }
        } else {
            const uint8_t *from = arena + node->source[run.source] + run.offset * bytes;
            if (bytes == wide) {
                memcpy(out, from, (size_t)run.length * (size_t)bytes);
            } else {
                for (int64_t i = 0; i < run.length; i++) {
                    axr_put(out, i, wide, get(from, i, bytes));
                }
            }
        }
        out += (int64_t)run.length * wide;
    }
}

void axr_table(const axr_node_t *node, uint8_t *arena) {
    const int16_t *codes = (const int16_t *)(const void *)(arena + node->source[0]);
    uint8_t *out = arena + node->target;
    for (int64_t i = 0; i < node->count; i++) {
        axr_put(out, i, node->out_bytes,
                get(node->table, (int64_t)codes[i] - INT16_MIN, node->out_bytes));
    }
}

static int32_t share(const axr_node_t *node, int32_t power, float sum) {
    float real = roundf((float)power * node->scale / sum) + (float)node->rescale.zero_point;
    double value = (double)real;
    if (value < (double)node->rescale.low) {
        return node->rescale.low;
    }
    return value > (double)node->rescale.high ? node->rescale.high : (int32_t)value;
}

/* The table holds floor(4096 * exp(x / 4096)) for EXPONENT_LOW..EXPONENT_TOP; below, that is 0. */
void axr_softmax(const axr_node_t *node, uint8_t *arena) {
    const int32_t *logits = (const int32_t *)(const void *)(arena + node->source[0]);
    const int32_t *powers = node->table;
    const int64_t length = node->window_channels;
    uint8_t *out = arena + node->target;
    for (int64_t k = 0; k < node->count; k++, logits += length) {
        int32_t top = logits[0];
        for (int64_t i = 1; i < length; i++) {
            top = logits[i] > top ? logits[i] : top;
        }
        int64_t sum = 0;
        for (int64_t i = 0; i < length; i++) {
            const int64_t x = (int64_t)logits[i] - top + EXPONENT_TOP;
            sum += x < EXPONENT_LOW ? 0 : powers[x - EXPONENT_LOW];
        }
        for (int64_t i = 0; i < length; i++) {
            const int64_t x = (int64_t)logits[i] - top + EXPONENT_TOP;
            const int32_t power = x < EXPONENT_LOW ? 0 : powers[x - EXPONENT_LOW];
            axr_put(out, i, node->out_bytes, share(node, power, (float)sum));
        }
        out += length * node->out_bytes;
    }
}
