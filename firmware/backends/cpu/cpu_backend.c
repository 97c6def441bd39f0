/* The CPU backend: the core's interpreter behind the five functions of backend.h. */
#include "backend.h"
#include "image.h"
#include "interpreter.h"
#include "kernels.h"

enum { STATE_EMPTY = 0, STATE_OPEN = 1, STATE_INPUT_SET = 2, STATE_RESULT = 3 };

static uint32_t tensor_bytes(const axr_image_tensor_t *tensor)
{
    return axr_elements(tensor) * tensor->element_bytes;
}

static axr_status_t cpu_open(axr_instance_t *instance, const uint8_t *image, uint32_t image_bytes,
                             uint8_t *arena, uint32_t arena_bytes)
{
    instance->state = STATE_EMPTY;
    if (((uintptr_t)arena & (AXR_ARENA_ALIGN_BYTES - 1U)) != 0U) {
        return AXR_IMAGE_ALIGNMENT;
    }
    const axr_status_t status = axr_image_check(image, image_bytes);
    if (status != AXR_OK) {
        return status;
    }
    const axr_image_t view = axr_image_view(image);
    if (view.header->arena_bytes > arena_bytes) {
        return AXR_ARENA_TOO_SMALL;
    }
    axr_initialise(&view, arena);
    instance->image = image;
    instance->arena = arena;
    instance->arena_bytes = arena_bytes;
    instance->state = STATE_OPEN;
    return AXR_OK;
}

static axr_tensor_info_t describe_tensor(const axr_image_tensor_t *tensor)
{
    return (axr_tensor_info_t){
        .height = tensor->height,
        .width = tensor->width,
        .channels = tensor->channels,
        .batch = tensor->batch,
        .element_bytes = tensor->element_bytes,
        .shift = tensor->shift,
        .zero_point = tensor->zero_point,
        .multiplier = tensor->multiplier,
        .bytes = tensor_bytes(tensor),
    };
}

static axr_status_t cpu_describe(const axr_instance_t *instance, axr_model_info_t *info)
{
    if (instance->state == STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    const axr_image_header_t *header = image.header;
    *info = (axr_model_info_t){
        .program_version = header->program_version,
        .image_bytes = header->image_bytes,
        .arena_bytes = header->arena_bytes,
        .layer_count = header->program_layer_count,
        .output_count = header->output_count,
        .input = describe_tensor(&image.tensors[header->input_tensor]),
    };
    __builtin_memcpy(info->name, header->name, sizeof(info->name));
    __builtin_memcpy(info->source_sha256, header->source_sha256, sizeof(info->source_sha256));
    for (uint32_t i = 0; i < header->output_count; i++) {
        info->outputs[i] = describe_tensor(&image.tensors[image.outputs[i]]);
    }
    return AXR_OK;
}

static axr_status_t cpu_set_input(axr_instance_t *instance, const void *input, uint32_t bytes)
{
    if (instance->state == STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    const axr_image_tensor_t *tensor = &image.tensors[image.header->input_tensor];
    if (bytes != tensor_bytes(tensor)) {
        return AXR_INPUT_SIZE;
    }
    __builtin_memcpy(instance->arena + tensor->offset, input, bytes);
    instance->state = STATE_INPUT_SET;
    return AXR_OK;
}

static axr_status_t cpu_infer(axr_instance_t *instance, const axr_layer_hook_t *hook)
{
    if (instance->state == STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    if (instance->state != STATE_INPUT_SET) {
        return AXR_NO_INPUT;
    }
    const axr_image_t image = axr_image_view(instance->image);
    axr_interpret(&image, instance->arena, hook);
    instance->state = STATE_RESULT;
    return AXR_OK;
}

static axr_status_t cpu_get_output(const axr_instance_t *instance, uint32_t index, void *output,
                                   uint32_t capacity, uint32_t *written)
{
    if (instance->state == STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    if (instance->state != STATE_RESULT) {
        return AXR_NO_RESULT;
    }
    const axr_image_t image = axr_image_view(instance->image);
    if (index >= image.header->output_count) {
        return AXR_OUTPUT_INDEX;
    }
    const axr_image_tensor_t *tensor = &image.tensors[image.outputs[index]];
    const uint32_t bytes = tensor_bytes(tensor);
    if (capacity < bytes) {
        return AXR_OUTPUT_SIZE;
    }
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
