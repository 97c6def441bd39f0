/* Convolutions and fully connected layers.
 *
 * The image is copied once with its padding; after that every output pixel reads the same groups at
 * the same offsets. One group in all lanes times the weights of 16 output channels: no gathering.
 * Weights are [16 output channels' block][group][16][taps of a group]; taps beyond a filter row are
 * zero, so it does not matter what the group reads there.
 */
#include "lanes.h"
#include "rescale.h"
#include "steps.h"

#define TILE(pixels, blocks) tile(t, x, step, (pixels), (blocks), sums)

typedef struct {
    const int32_t *offsets;
    int64_t groups;
    const uint8_t *weights;
    const int32_t *bias;
} axr_taps_t;

static void expand(const int8_t *from, int64_t count, axr_x_t *to) {
    for (int64_t i = 0; i < count; i++) {
        to[i] = (axr_x_t)(from[i] + AXR_FLIP);
    }
}

static axr_x_t *fill(axr_x_t *to, int64_t count, axr_x_t value) {
    for (int64_t i = 0; i < count; i++) {
        to[i] = value;
    }
    return to + count;
}

void axr_pad_image(const axr_node_t *node, const int8_t *source, uint8_t *image) {
    axr_x_t *to = (axr_x_t *)(void *)image;
    const axr_x_t value = (axr_x_t)(node->pad_value + AXR_FLIP);
    const int64_t channels = node->in_channels;
    const int64_t inside = node->in_width * channels;
    const int64_t row = axr_image_row(node, 1);
    if (row == inside) {
        to = fill(to, node->pad_top * row, value);
        expand(source, node->in_height * inside, to);
        fill(to + node->in_height * inside, node->pad_bottom * row, value);
        return;
    }
    to = fill(to, node->pad_top * row, value);
    for (int32_t y = 0; y < node->in_height; y++) {
        to = fill(to, node->pad_left * channels, value);
        expand(source + y * inside, inside, to);
        to = fill(to + inside, node->pad_right * channels, value);
    }
    fill(to, node->pad_bottom * row, value);
}

/* Sums of `pixels` x `blocks` x 16 outputs, [pixel][block][16]. Both counts are constants of the
 * caller, so that all sums stay in registers. */
AXR_INLINE void tile(const axr_taps_t *t, const uint8_t *x, const int64_t step, const int pixels,
                     const int blocks, int32_t *sums) {
    axr_v16_t s[16];
    const int64_t block_bytes = t->groups * 64;
    const uint8_t *weights = t->weights;
    for (int p = 0; p < pixels; p++) {
        for (int j = 0; j < blocks; j++) {
            s[p * blocks + j] = axr_load(t->bias + j * AXR_LANES);
        }
    }
    for (int64_t q = 0; q < t->groups; q++, weights += 64) {
        const uint8_t *at = x + t->offsets[q];
        axr_v16_t w[4];
        for (int j = 0; j < blocks; j++) {
            w[j] = axr_load(weights + j * block_bytes);
        }
        for (int p = 0; p < pixels; p++) {
            axr_v16_t group = axr_splat(at + p * step);
            for (int j = 0; j < blocks; j++) {
                s[p * blocks + j] = axr_dot(s[p * blocks + j], group, w[j]);
            }
        }
    }
    for (int p = 0; p < pixels; p++) {
        for (int j = 0; j < blocks; j++) {
            axr_store(sums + (p * blocks + j) * AXR_LANES, s[p * blocks + j]);
        }
    }
}

/* As many whole tiles as fit; the number of pixels done. A step known to the compiler becomes part
 * of each load's address. */
#if defined(__AVX512F__)
#define WIDE 16
#elif defined(__AVX2__)
#define WIDE 4
#else
#define WIDE 2
#endif

AXR_INLINE int64_t wide_tiles(const axr_taps_t *t, const uint8_t *x, const int64_t step,
                              int64_t pixels, const int blocks, int32_t *sums) {
    const int wide = WIDE / blocks > 0 ? WIDE / blocks : 1;
    int64_t done = 0;
    for (; done + wide <= pixels; done += wide) {
        tile(t, x + done * step, step, wide, blocks, sums + done * blocks * AXR_LANES);
    }
    return done;
}

AXR_INLINE void row(const axr_taps_t *t, const uint8_t *x, const int64_t step, int64_t pixels,
                    const int blocks, int32_t *sums) {
    int64_t done = 0;
    switch (step) {
#if defined(AXR_AVX512)
        case 3: done = wide_tiles(t, x, 3, pixels, blocks, sums); break;
        case 6: done = wide_tiles(t, x, 6, pixels, blocks, sums); break;
        case 8: done = wide_tiles(t, x, 8, pixels, blocks, sums); break;
        case 16: done = wide_tiles(t, x, 16, pixels, blocks, sums); break;
        case 32: done = wide_tiles(t, x, 32, pixels, blocks, sums); break;
        case 64: done = wide_tiles(t, x, 64, pixels, blocks, sums); break;
        case 128: done = wide_tiles(t, x, 128, pixels, blocks, sums); break;
#endif
        default: done = wide_tiles(t, x, step, pixels, blocks, sums); break;
    }
    x += done * step;
    sums += done * blocks * AXR_LANES;
    pixels -= done;
    if (pixels >= 8) {
        TILE(8, blocks);
        x += 8 * step;
        sums += 8 * blocks * AXR_LANES;
        pixels -= 8;
    }
    for (; pixels >= 4; pixels -= 4) {
        TILE(4, blocks);
        x += 4 * step;
        sums += 4 * blocks * AXR_LANES;
    }
    for (; pixels > 0; pixels--) {
        TILE(1, blocks);
        x += step;
        sums += blocks * AXR_LANES;
    }
}

static void row_1(const axr_taps_t *t, const uint8_t *x, int64_t step, int64_t n, int32_t *sums) {
    row(t, x, step, n, 1, sums);
}

static void row_2(const axr_taps_t *t, const uint8_t *x, int64_t step, int64_t n, int32_t *sums) {
    row(t, x, step, n, 2, sums);
}

static void pixel_4(const axr_taps_t *t, const uint8_t *x, int32_t *sums) {
    tile(t, x, 0, 1, 4, sums);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* All pixels of `blocks` blocks of output channels. */
static void channels(const axr_node_t *node, const axr_taps_t *t, int64_t first, int64_t blocks,
                     const uint8_t *image, int32_t *sums, uint8_t *out) {
    const int64_t element = sizeof(axr_x_t);
    const int64_t down = axr_image_row(node, element) * node->stride_y;
    const int64_t step = node->in_channels * element * node->stride_x;
    const int64_t width = node->out_width, at_once = AXR_SUMS / AXR_LANES / blocks;
    const int64_t count = least(blocks * AXR_LANES, node->out_channels - first);
    for (int64_t y = 0; y < node->out_height; y++) {
        for (int64_t x = 0; x < width; x += at_once) {
            const uint8_t *from = image + y * down + x * step;
            const int64_t pixels = least(at_once, width - x);
            if (blocks == 1) {
                row_1(t, from, step, pixels, sums);
            } else if (blocks == 2) {
                row_2(t, from, step, pixels, sums);
            } else {
                pixel_4(t, from, sums);
            }
            const int64_t place = (y * width + x) * node->out_channels + first;
            axr_rescale(&node->rescale, sums, pixels, count, blocks * AXR_LANES, first,
                        out + place * node->out_bytes, node->out_channels);
        }
    }
}

void axr_convolution(const axr_node_t *node, uint8_t *arena, uint8_t *scratch) {
    int32_t *sums = (int32_t *)(void *)scratch;
    uint8_t *image = scratch + AXR_SUMS * sizeof(int32_t);
    const int64_t in = (int64_t)node->in_height * node->in_width * node->in_channels;
    const int64_t out = (int64_t)node->out_height * node->out_width * node->out_channels;
    const int64_t blocks = (node->out_channels + AXR_LANES - 1) / AXR_LANES;
    for (int64_t b = 0; b < node->batch; b++) {
        const int8_t *source = (const int8_t *)(arena + node->source[0]) + b * in;
        uint8_t *target = arena + node->target + b * out * node->out_bytes;
        axr_pad_image(node, source, image);
        for (int64_t block = 0; block < blocks;) {
            const int64_t left = blocks - block;
            int64_t take = left >= 2 ? 2 : 1;
            if (node->out_width == 1 && left >= 4) {
                take = 4;
            }
            const axr_taps_t taps = {
                .offsets = node->offsets,
                .groups = node->groups,
                .weights = (const uint8_t *)node->weights + block * node->groups * 64,
                .bias = node->bias + block * AXR_LANES,
            };
            channels(node, &taps, block * AXR_LANES, take, image, sums, target);
            block += take;
        }
    }
}
