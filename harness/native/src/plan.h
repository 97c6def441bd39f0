/* The plan that harness/native/plan.py builds and run.c walks: one node per step of an inference.
 *
 * The Python side mirrors these structures with ctypes and compares their sizes when it loads the
 * library. All memory belongs to the caller: constants live as long as the plan, the arena belongs
 * to one thread. Activations are [batch][height][width][channel]; offsets are bytes into the arena.
 */
#ifndef AXR_PLAN_H
#define AXR_PLAN_H

#include <stdatomic.h>
#include <stdint.h>

#define AXR_MAX_SOURCES 4

enum {
    AXR_NODE_NONE = 0,
    AXR_NODE_CONVOLUTION,
    AXR_NODE_DEPTHWISE,
    AXR_NODE_AVERAGE,
    AXR_NODE_MAX_POOL,
    AXR_NODE_ADD,
    AXR_NODE_MULTIPLY,
    AXR_NODE_MOVE,
    AXR_NODE_TABLE,
    AXR_NODE_SOFTMAX
};

enum {
    AXR_RESCALE_INTEGER = 0, /* 64-bit integers, always right */
    AXR_RESCALE_DOUBLE,      /* every intermediate is exact in float64 */
    AXR_RESCALE_FLOAT        /* float32, and float64 for what comes near a tie; int8 only */
};

/* Accumulator to output. Arrays hold one entry per channel, padded to 16, and step is 16; or they
 * hold 16 equal entries and step is 0. Leaky ReLU has its own multipliers below zero. */
typedef struct {
    int32_t kind;
    int32_t bytes;
    int32_t zero_point;
    int32_t low;
    int32_t high;
    int32_t clip_product;
    int32_t step;
    int32_t reserved;
    const int32_t *multiplier;
    const int32_t *negative;
    const int32_t *shift;
    const double *scale;
    const double *negative_scale;
    const float *scale32;
} axr_rescale_t;

/* A run of elements that lie next to each other on both sides; source -1 is the fill value. */
typedef struct {
    int64_t offset;
    int32_t source;
    int32_t length;
} axr_run_t;

typedef struct {
    int32_t kind;
    int32_t batch;
    int32_t in_height, in_width, in_channels;
    int32_t out_height, out_width, out_channels;
    int32_t window_height, window_width;
    int32_t stride_y, stride_x;
    int32_t dilation_y, dilation_x;
    int32_t pad_top, pad_bottom, pad_left, pad_right;
    int32_t pad_value;       /* convolutions: the input zero point; moves: the fill value */
    int32_t in_bytes, out_bytes;
    int32_t groups;          /* groups of taps per output: per channel block or filter column */
    int32_t window_channels; /* average: channels per sum */
    int32_t source_count;
    int32_t factor[2];       /* add: multipliers; multiply: zero points */
    int32_t bias_scalar;     /* add, average */
    int32_t row_stride[2], pixel_stride[2], channel_stride[2]; /* element-wise operands */
    int32_t keep;            /* output slot of the job, or -1 */
    float scale;             /* softmax */
    int32_t reserved;
    int64_t source[AXR_MAX_SOURCES]; /* arena offsets */
    int64_t batch_stride[2]; /* element-wise operands */
    int64_t target;
    int64_t target_bytes;
    int64_t count;           /* runs, or elements */
    const void *weights;     /* packed for this build; or the constant operand */
    const int32_t *bias;     /* per channel, padded to 16 */
    const int32_t *offsets;  /* convolution: byte offset of each group from a pixel */
    const void *table;       /* runs, or values by code */
    axr_rescale_t rescale;
} axr_node_t;

typedef struct {
    const axr_node_t *nodes;
    int64_t node_count;
    int64_t input;           /* arena offset of the external input */
    int32_t batch, height, width, channels;
    int64_t scratch;         /* arena offset */
} axr_plan_t;

/* One batch of inferences, shared by all threads: each takes the next `claim` of them. */
typedef struct {
    const int8_t *inputs;
    int64_t image_stride, channel_stride, row_stride, pixel_stride;
    int64_t count;
    int64_t claim;
    uint8_t *const *outputs; /* [slot], each count * target_bytes */
    _Atomic int64_t next;
} axr_job_t;

/* How a build wants its weights. */
typedef struct {
    int32_t group;         /* taps per group: 4 int8 or 2 int16, always 4 bytes */
    int32_t flip;          /* added to an activation before it is multiplied */
    int32_t fast_float;    /* AXR_RESCALE_FLOAT is there */
    int32_t node_bytes;
    int32_t plan_bytes;
    int32_t job_bytes;
    char name[32];
} axr_traits_t;

void axr_native_traits(axr_traits_t *traits);

/* Run inferences of `job` until none is left. Several threads may, each with its own arena. */
void axr_native_run(const axr_plan_t *plan, axr_job_t *job, uint8_t *arena);

#endif
