/* The CPU backend: the core's interpreter behind the five functions of backend.h. */
#include "backend.h"

#include <stddef.h>

#include "describe.h"
#include "image.h"
#include "interpreter.h"

static axr_status_t cpu_open(axr_instance_t *instance, const uint8_t *image, uint32_t image_bytes,
                             uint8_t *arena, uint32_t arena_bytes)
{
    instance->state = AXR_STATE_EMPTY;
    if (((uintptr_t)arena & (AXR_ARENA_ALIGN_BYTES - 1U)) != 0U) {
        return AXR_IMAGE_ALIGNMENT;
    }
    const axr_status_t status = axr_image_check(image, image_bytes);
    if (status != AXR_OK) {
        return status;
    }
    const axr_image_t view = axr_image_view(image);
    if (view.header->record_count == 0U) {
        return AXR_IMAGE_TABLE; /* a description, for a backend that has the model's code */
    }
    if (view.header->arena_bytes > arena_bytes) {
        return AXR_ARENA_TOO_SMALL;
    }
    axr_initialise(&view, arena);
    instance->image = image;
    instance->arena = arena;
    instance->arena_bytes = arena_bytes;
    instance->state = AXR_STATE_OPEN;
    return AXR_OK;
}

static axr_status_t cpu_describe(const axr_instance_t *instance, axr_model_info_t *info)
{
    if (instance->state == AXR_STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    axr_describe(&image, image.header->arena_bytes, info);
    return AXR_OK;
}

static axr_status_t cpu_set_input(axr_instance_t *instance, const void *input, uint32_t bytes)
{
    if (instance->state == AXR_STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    const axr_image_tensor_t *tensor = axr_input_of(&image);
    if (bytes != axr_tensor_bytes(tensor)) {
        return AXR_INPUT_SIZE;
    }
    __builtin_memcpy(instance->arena + tensor->offset, input, bytes);
    instance->state = AXR_STATE_INPUT_SET;
    return AXR_OK;
}

static axr_status_t cpu_infer(axr_instance_t *instance, const axr_layer_hook_t *hook)
{
    if (instance->state == AXR_STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    if (instance->state != AXR_STATE_INPUT_SET) {
        return AXR_NO_INPUT;
    }
    const axr_image_t image = axr_image_view(instance->image);
    axr_interpret(&image, instance->arena, hook);
    instance->state = AXR_STATE_RESULT;
    return AXR_OK;
}

static axr_status_t cpu_get_output(const axr_instance_t *instance, uint32_t index, void *output,
                                   uint32_t capacity, uint32_t *written)
{
    const axr_image_tensor_t *tensor = NULL;
    const axr_status_t status = axr_find_output(instance, index, capacity, &tensor);
    if (status != AXR_OK) {
        return status;
    }
    const uint32_t bytes = axr_tensor_bytes(tensor);
    __builtin_memcpy(output, instance->arena + tensor->offset, bytes);
    *written = bytes;
    return AXR_OK;
}

const axr_backend_t axr_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .describe = cpu_describe,
    .set_input = cpu_set_input,
    .infer = cpu_infer,
    .get_output = cpu_get_output,
};
