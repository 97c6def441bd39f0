/*
 * The model image: an Axon program rearranged at build time into what the CPU kernels execute.
 *
 * compiler/image.py writes it; core/image.c checks it before anything runs; the host reads sizes
 * and names from it. All integers are little-endian and naturally aligned. Offsets of tables count
 * from the start of the image, offsets of constants from the start of the constant table, offsets
 * of tensors and scratch memory from the start of the arena.
 *
 *   header | tensors | layers | outputs (u16 each) | constants
 *
 * Tensors lie in the arena as [batch][height][width][channel]. See docs/firmware-core.md.
 */
#ifndef AXR_MODEL_IMAGE_H
#define AXR_MODEL_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define AXR_IMAGE_MAGIC_WORD 0x4D525841U /* "AXRM" */
#define AXR_IMAGE_LAYOUT_VERSION 1U
#define AXR_IMAGE_CRC_START 16U /* the CRC-32 (IEEE 802.3) covers byte 16 to the end */
#define AXR_MODEL_NAME_BYTES 48
#define AXR_SOURCE_HASH_BYTES 16
#define AXR_MAX_OUTPUTS 20
#define AXR_MAX_OPERANDS 2
#define AXR_MAX_RECORDS 8192U
#define AXR_MAX_EXTENT 65535U

/* Operations of the image. Fully connected and pointwise layers are convolutions here; slices,
 * concatenations, channel padding, reshapes, resizing and space/batch moves are copies. */
#define AXR_OP_CONVOLUTION 1U
#define AXR_OP_DEPTHWISE 2U
#define AXR_OP_AVERAGE 3U
#define AXR_OP_MAX_POOL 4U
#define AXR_OP_ADD 5U
#define AXR_OP_MULTIPLY 6U
#define AXR_OP_COPY 7U
#define AXR_OP_SOFTMAX 8U
#define AXR_OP_SIGMOID 9U
#define AXR_OP_TANH 10U

/* Layer flags. */
#define AXR_FLAG_SCALED_32 1U      /* multipliers are scaled so that every shift is 32 */
#define AXR_FLAG_LEAKY 2U          /* negative accumulators use multiplier_negative */
#define AXR_FLAG_LAST_RECORD 4U    /* the last record of its Axon layer */
#define AXR_FLAG_CONSTANT 8U       /* the second operand is int8 in the constant table */
#define AXR_FLAG_CHANNEL_RUNS 16U  /* a copy's channels are consecutive: its table has one entry */
#define AXR_FLAG_NARROW 32U        /* a sum, scaled, stays below 2^30: 32-bit arithmetic is exact */
#define AXR_FLAG_AT_OPEN 64U       /* runs once when the model is opened, not at each inference */
#define AXR_FLAG_SATURATE 128U     /* acc * multiplier saturates at 32 bits (before a softmax) */

#define AXR_COPY_FILL 0xFFFFFFFFU /* copy table entry: no source, write the fill value */
#define AXR_MAX_SHIFT 46U
#define AXR_MAX_STRIDE 255U
#define AXR_SCRATCH_ALIGNMENT 8U

typedef struct axr_image_header {
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes;
    uint32_t image_bytes;
    uint32_t crc32;
    uint32_t program_version;
    uint32_t arena_bytes;
    uint16_t record_count;
    uint16_t program_layer_count;
    uint16_t tensor_count;
    uint16_t output_count;
    uint32_t tensors_offset;
    uint32_t records_offset;
    uint32_t outputs_offset;
    uint32_t constants_offset;
    uint32_t constants_bytes;
    uint16_t input_tensor;
    uint16_t reserved;
    uint8_t source_sha256[AXR_SOURCE_HASH_BYTES];
    char name[AXR_MODEL_NAME_BYTES];
} axr_image_header_t;

/* real = (value - zero_point) * multiplier / 2^shift; the input's is the inverse direction. */
typedef struct axr_image_tensor {
    uint32_t offset;
    uint16_t height;
    uint16_t width;
    uint16_t channels;
    uint16_t batch;
    uint8_t element_bytes;
    uint8_t shift;
    int16_t zero_point;
    uint32_t multiplier;
} axr_image_tensor_t;

/* One record of work. Fields that an operation does not use are zero. */
typedef struct axr_image_record {
    uint8_t op;
    uint8_t flags;
    uint8_t operand_count;
    uint8_t reserved;
    uint16_t program_layer;
    uint16_t operands[AXR_MAX_OPERANDS];
    uint16_t output;
    uint16_t window_height;
    uint16_t window_width;
    uint16_t stride_y;
    uint16_t stride_x;
    int16_t pad_top;
    int16_t pad_left;
    int16_t input_zero_point;  /* value outside of the image; first factor of a product */
    int16_t second_zero_point; /* second factor of a product; fill value of a copy */
    int16_t output_zero_point;
    int16_t reserved_2;
    int32_t minimum; /* lower clamp: the zero point for ReLU, else the type's least value */
    uint32_t weights; /* weights, constant operand, or copy tables */
    uint32_t weights_bytes;
    uint32_t channels; /* axr_channel_t per channel (2 for additions) */
    uint32_t channel_count;
    uint32_t destination; /* copies: first element written, counted in the output tensor */
    uint16_t extent_height; /* of a copy, or of a constant operand */
    uint16_t extent_width;
    uint16_t extent_channels; /* of a copy or constant; channels in the window of an average */
    uint16_t reserved_3;
    uint32_t scratch; /* arena offset */
    uint32_t scratch_bytes;
} axr_image_record_t;

/* Requantization of one output channel: clamp(round_half_even(acc * multiplier / 2^shift + zp)).
 * A sum has two: multiplier is each operand's, bias and shift are the first one's. Softmax has one:
 * multiplier holds the bits of its float32 scale. */
typedef struct axr_channel {
    int32_t bias;
    int32_t multiplier;
    int32_t multiplier_negative;
    uint32_t shift;
} axr_channel_t;

_Static_assert(sizeof(axr_image_header_t) == 120, "header layout");
_Static_assert(offsetof(axr_image_header_t, crc32) == 12, "header layout");
_Static_assert(offsetof(axr_image_header_t, tensors_offset) == 32, "header layout");
_Static_assert(offsetof(axr_image_header_t, input_tensor) == 52, "header layout");
_Static_assert(offsetof(axr_image_header_t, name) == 72, "header layout");
_Static_assert(sizeof(axr_image_tensor_t) == 20, "tensor layout");
_Static_assert(sizeof(axr_image_record_t) == 72, "record layout");
_Static_assert(offsetof(axr_image_record_t, minimum) == 32, "record layout");
_Static_assert(offsetof(axr_image_record_t, scratch) == 64, "record layout");
_Static_assert(sizeof(axr_channel_t) == 16, "channel layout");

#endif
