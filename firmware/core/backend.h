/*
 * A backend executes one model. Two exist behind these five functions: the CPU kernels of this
 * core, and the NPU driver (backends/npu). The command loop knows nothing else about either.
 *
 * Who owns what: the caller owns image, arena and instance, and keeps image and arena in place and
 * unchanged from a successful open() to the next open(). Nothing is allocated.
 *
 * Byte order of tensors at this border is TensorFlow Lite's, [height][width][channel], without
 * padding; elements are little-endian integers. The backend converts to its own layout.
 *
 * Sequence: open -> (set_input -> infer -> get_output*)*. An inference consumes its input, because
 * the arena is shared by all tensors: repeat set_input before each repetition. Outputs stay valid
 * until the next set_input.
 */
#ifndef AXR_BACKEND_H
#define AXR_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "axr_model_image.h"
#include "axr_status.h"

/* Required alignment of an image and of an arena. */
#define AXR_IMAGE_ALIGN_BYTES 4U
#define AXR_ARENA_ALIGN_BYTES 8U

/* One tensor as the host sees it. real = (value - zero_point) * multiplier / 2^shift; for the
 * input, value = real * multiplier / 2^shift + zero_point. */
typedef struct axr_tensor_info {
    uint16_t height;
    uint16_t width;
    uint16_t channels;
    uint16_t batch;
    uint8_t element_bytes; /* 1, 2 or 4; signed integers */
    uint8_t shift;
    int16_t zero_point;
    uint32_t multiplier;
    uint32_t bytes; /* batch * height * width * channels * element_bytes */
} axr_tensor_info_t;

typedef struct axr_model_info {
    char name[AXR_MODEL_NAME_BYTES];               /* NUL-terminated */
    uint8_t source_sha256[AXR_SOURCE_HASH_BYTES];  /* first bytes of the hash of the Axon binary */
    uint32_t program_version;                      /* of the Axon binary: 0x00010301 is 1.3.1 */
    uint32_t image_bytes;
    uint32_t arena_bytes; /* what the memory plan needs, not what the firmware has */
    uint16_t layer_count; /* of the Axon program; layer hooks count up to this */
    uint16_t output_count;
    axr_tensor_info_t input;
    axr_tensor_info_t outputs[AXR_MAX_OUTPUTS];
} axr_model_info_t;

/* Where an instance stands in the sequence of calls. */
enum {
    AXR_STATE_EMPTY = 0,
    AXR_STATE_OPEN = 1,
    AXR_STATE_INPUT_SET = 2,
    AXR_STATE_RESULT = 3,
};

/* State of one open model; fields are the backend's. Zero-initialise before the first open(). */
typedef struct axr_instance {
    const uint8_t *image;
    uint8_t *arena;
    uint32_t arena_bytes;
    uint8_t state; /* AXR_STATE_... */
    void *backend_data;
} axr_instance_t;

/* Called with times in units of now(); the time of the hook itself is in no figure.
 *
 * after_layer: after each layer of the Axon program, in order, with the time it took. A backend
 * that runs the model as one piece runs the layers once more, each by itself, when `each_layer`
 * asks for it; it leaves out those that it cannot, and the outputs stay those of the whole model.
 * after_model: once, with the time of the whole model. */
typedef struct axr_layer_hook {
    uint64_t (*now)(void);
    void (*after_layer)(void *user, uint32_t layer, uint64_t elapsed);
    void (*after_model)(void *user, uint64_t elapsed);
    void *user;
    bool each_layer;
} axr_layer_hook_t;

typedef struct axr_backend {
    const char *name; /* "cpu", "npu" */

    /* Checks everything and binds the model to the arena. After a refusal the instance holds no
     * model, and the next four calls return AXR_NO_MODEL. Time is linear in the image size. */
    axr_status_t (*open)(axr_instance_t *instance, const uint8_t *image, uint32_t image_bytes,
                         uint8_t *arena, uint32_t arena_bytes);

    axr_status_t (*describe)(const axr_instance_t *instance, axr_model_info_t *info);

    /* Copies exactly info.input.bytes quantized bytes; the buffer is free again on return. */
    axr_status_t (*set_input)(axr_instance_t *instance, const void *input, uint32_t bytes);

    /* Runs all layers. `hook` may be NULL; its functions must all be given otherwise. */
    axr_status_t (*infer)(axr_instance_t *instance, const axr_layer_hook_t *hook);

    /* Copies output `index` (0 .. output_count-1) and stores its size in *written. */
    axr_status_t (*get_output)(const axr_instance_t *instance, uint32_t index, void *output,
                               uint32_t capacity, uint32_t *written);
} axr_backend_t;

extern const axr_backend_t axr_backend_cpu;

#endif
