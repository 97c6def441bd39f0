/* Depthwise convolutions.
 *
 * For each output row the input rows under the filter are interleaved into groups: what one column
 * of the filter meets, as many rows as a group has taps. Then one load is 16 channels' groups, and
 * a filter of height 3 takes one multiplication per column. Weights are
 * [16 channels' block][row group][column][16][taps of a group].
 */
#include "lanes.h"
#include "rescale.h"
#include "steps.h"

#define AT_ONCE 4

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void interleave(const axr_x_t *const rows[AXR_GROUP], int64_t count, uint8_t *out) {
    int64_t i = 0;
#if defined(__SSE2__) && AXR_GROUP == 4
    for (; i + 16 <= count; i += 16) {
        __m128i r[4];
        for (int k = 0; k < 4; k++) {
            r[k] = _mm_loadu_si128((const void *)(rows[k] + i));
        }
        __m128i low = _mm_unpacklo_epi8(r[0], r[1]), high = _mm_unpackhi_epi8(r[0], r[1]);
        __m128i low2 = _mm_unpacklo_epi8(r[2], r[3]), high2 = _mm_unpackhi_epi8(r[2], r[3]);
        __m128i *to = (void *)(out + i * 4);
        _mm_storeu_si128(to, _mm_unpacklo_epi16(low, low2));
        _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(low, low2));
        _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(high, high2));
        _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(high, high2));
    }
#endif
    axr_x_t *to = (axr_x_t *)(void *)out;
    for (; i < count; i++) {
        for (int k = 0; k < AXR_GROUP; k++) {
            to[i * AXR_GROUP + k] = rows[k][i];
        }
    }
}

/* Rows of groups for output row `y`, one after the other. */
static void gather_rows(const axr_node_t *node, const uint8_t *image, int64_t y, uint8_t *out) {
    const int64_t row = axr_image_row(node, 1);
    const axr_x_t *top = (const axr_x_t *)(const void *)image + y * node->stride_y * row;
    for (int64_t k = 0; k < node->window_height; k += AXR_GROUP) {
        const axr_x_t *rows[AXR_GROUP];
        for (int64_t i = 0; i < AXR_GROUP; i++) {
            /* Below the filter the weights are zero, so any row will do. */
            int64_t tap = k + i < node->window_height ? k + i : k;
            rows[i] = top + tap * node->dilation_y * row;
        }
        interleave(rows, row, out);
        out += row * 4;
    }
}

typedef struct {
    int64_t row_groups, row_bytes, columns, column_bytes, step;
} axr_walk_t;

/* Sums of 16 channels of `pixels` pixels; sums of a pixel are `stride` apart from the next. */
AXR_INLINE void tile(const axr_walk_t *walk, const uint8_t *x, const uint8_t *weights,
                     const int32_t *bias, const int pixels, int32_t *sums, int64_t stride) {
    axr_v16_t s[AT_ONCE];
    for (int p = 0; p < pixels; p++) {
        s[p] = axr_load(bias);
    }
    for (int64_t g = 0; g < walk->row_groups; g++) {
        const uint8_t *at = x + g * walk->row_bytes;
        for (int64_t column = 0; column < walk->columns; column++, weights += 64) {
            const axr_v16_t w = axr_load(weights);
            for (int p = 0; p < pixels; p++) {
                s[p] = axr_dot(s[p], axr_load(at + p * walk->step), w);
            }
            at += walk->column_bytes;
        }
    }
    for (int p = 0; p < pixels; p++) {
        axr_store(sums + p * stride, s[p]);
    }
}

static void block(const axr_node_t *node, const axr_walk_t *walk, const uint8_t *x, int64_t index,
                  int64_t pixels, int32_t *sums, int64_t stride) {
    const uint8_t *weights =
        (const uint8_t *)node->weights + index * walk->row_groups * walk->columns * 64;
    const int32_t *bias = node->bias + index * AXR_LANES;
    int64_t p = 0;
    for (; p + AT_ONCE <= pixels; p += AT_ONCE) {
        tile(walk, x + p * walk->step, weights, bias, AT_ONCE, sums + p * stride, stride);
    }
    for (; p < pixels; p++) {
        tile(walk, x + p * walk->step, weights, bias, 1, sums + p * stride, stride);
    }
}

static void output_row(const axr_node_t *node, const axr_walk_t *walk, const uint8_t *rows,
                       int32_t *sums, uint8_t *out) {
    const int64_t channels = node->out_channels;
    for (int64_t first = 0; first < channels; first += 4 * AXR_LANES) {
        const int64_t count = least(4 * AXR_LANES, channels - first);
        const int64_t blocks = (count + AXR_LANES - 1) / AXR_LANES;
        const int64_t at_once = AXR_SUMS / AXR_LANES / blocks;
        for (int64_t x = 0; x < node->out_width; x += at_once) {
            const int64_t pixels = least(at_once, node->out_width - x);
            for (int64_t j = 0; j < blocks; j++) {
                const uint8_t *from = rows + x * walk->step + (first + j * AXR_LANES) * 4;
                block(node, walk, from, first / AXR_LANES + j, pixels, sums + j * AXR_LANES,
                      blocks * AXR_LANES);
            }
            axr_rescale(&node->rescale, sums, pixels, count, blocks * AXR_LANES, first,
                        out + (x * channels + first) * node->out_bytes, channels);
        }
    }
}

void axr_depthwise(const axr_node_t *node, uint8_t *arena, uint8_t *scratch) {
    int32_t *sums = (int32_t *)(void *)scratch;
    uint8_t *image = scratch + AXR_SUMS * sizeof(int32_t);
    const int64_t element = sizeof(axr_x_t);
    const int64_t height = (int64_t)node->in_height + node->pad_top + node->pad_bottom;
    uint8_t *rows = image + ((height * axr_image_row(node, element) + 127) & ~(int64_t)63);
    const int64_t in = (int64_t)node->in_height * node->in_width * node->in_channels;
    const int64_t out_row = (int64_t)node->out_width * node->out_channels * node->out_bytes;
    const axr_walk_t walk = {
        .row_groups = (node->window_height + AXR_GROUP - 1) / AXR_GROUP,
        .row_bytes = axr_image_row(node, 1) * 4,
        .columns = node->window_width,
        .column_bytes = (int64_t)node->dilation_x * node->in_channels * 4,
        .step = (int64_t)node->stride_x * node->in_channels * 4,
    };
    uint8_t *out = arena + node->target;
    for (int64_t b = 0; b < node->batch; b++) {
        axr_pad_image(node, (const int8_t *)(arena + node->source[0]) + b * in, image);
        for (int64_t y = 0; y < node->out_height; y++, out += out_row) {
            gather_rows(node, image, y, rows);
            output_row(node, &walk, rows, sums, out);
        }
    }
}
