/*
 * The kernels: one function per operation of the model image, all of one signature.
 *
 * A kernel gets a call that core/image.c has validated, so it checks nothing again. It reads its
 * operands, the constants and the record, writes its output and its scratch memory, and keeps no
 * state. Sums wrap at 32 bits, as the device's accumulators do.
 */
#ifndef AXR_KERNELS_H
#define AXR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "axr_model_image.h"

typedef struct axr_call {
    const axr_image_record_t *record;
    const axr_image_tensor_t *input;
    const axr_image_tensor_t *second; /* NULL without a second operand in the arena */
    const axr_image_tensor_t *output;
    const uint8_t *input_data;
    const uint8_t *second_data; /* in the arena, or the constant operand */
    uint8_t *output_data;
    const uint8_t *weights;
    const axr_channel_t *channels;
    uint8_t *scratch;
    uint8_t *arena;
} axr_call_t;

/* A word of scratch memory, whatever type wrote it before. */
typedef uint32_t axr_scratch_word_t __attribute__((may_alias));
typedef int16_t axr_scratch_half_t __attribute__((may_alias));

typedef void (*axr_kernel_t)(const axr_call_t *call);

void axr_convolution(const axr_call_t *call);
void axr_depthwise(const axr_call_t *call);
void axr_average(const axr_call_t *call);
void axr_max_pool(const axr_call_t *call);
void axr_add(const axr_call_t *call);
void axr_multiply(const axr_call_t *call);
void axr_copy(const axr_call_t *call);
void axr_softmax(const axr_call_t *call);
void axr_sigmoid(const axr_call_t *call);
void axr_tanh(const axr_call_t *call);

/* Elements of a tensor, all batches. Cannot overflow in a validated image. */
static inline uint32_t axr_elements(const axr_image_tensor_t *tensor)
{
    return (uint32_t)tensor->batch * tensor->height * tensor->width * tensor->channels;
}

/* Element `index` of little-endian integers of 1, 2 or 4 bytes. */
static inline int32_t axr_load(const uint8_t *data, uint32_t index, uint32_t element_bytes)
{
    if (element_bytes == 1U) {
        return ((const int8_t *)data)[index];
    }
    if (element_bytes == 2U) {
        int16_t value;
        __builtin_memcpy(&value, data + 2U * index, 2);
        return value;
    }
    int32_t value;
    __builtin_memcpy(&value, data + 4U * index, 4);
    return value;
}

/* The value must be in the range of the element. */
static inline void axr_store(uint8_t *data, uint32_t index, uint32_t element_bytes, int32_t value)
{
    if (element_bytes == 1U) {
        ((int8_t *)data)[index] = (int8_t)value;
    } else if (element_bytes == 2U) {
        const int16_t narrow = (int16_t)value;
        __builtin_memcpy(data + 2U * index, &narrow, 2);
    } else {
        __builtin_memcpy(data + 4U * index, &value, 4);
    }
}

#endif
