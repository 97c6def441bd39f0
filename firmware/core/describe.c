#include "describe.h"

#include "kernels.h"

uint32_t axr_tensor_bytes(const axr_image_tensor_t *tensor)
{
    return axr_elements(tensor) * tensor->element_bytes;
}

const axr_image_tensor_t *axr_input_of(const axr_image_t *image)
{
    return &image->tensors[image->header->input_tensor];
}

const axr_image_tensor_t *axr_output_of(const axr_image_t *image, uint32_t index)
{
    return &image->tensors[image->outputs[index]];
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
        .bytes = axr_tensor_bytes(tensor),
    };
}

void axr_describe(const axr_image_t *image, uint32_t arena_bytes, axr_model_info_t *info)
{
    const axr_image_header_t *header = image->header;
    *info = (axr_model_info_t){
        .program_version = header->program_version,
        .image_bytes = header->image_bytes,
        .arena_bytes = arena_bytes,
        .layer_count = header->program_layer_count,
        .output_count = header->output_count,
        .input = describe_tensor(axr_input_of(image)),
    };
    __builtin_memcpy(info->name, header->name, sizeof(info->name));
    __builtin_memcpy(info->source_sha256, header->source_sha256, sizeof(info->source_sha256));
    for (uint32_t i = 0; i < header->output_count; i++) {
        info->outputs[i] = describe_tensor(axr_output_of(image, i));
    }
}

axr_status_t axr_find_output(const axr_instance_t *instance, uint32_t index, uint32_t capacity,
                             const axr_image_tensor_t **tensor)
{
    if (instance->state == AXR_STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    if (instance->state != AXR_STATE_RESULT) {
        return AXR_NO_RESULT;
    }
    const axr_image_t image = axr_image_view(instance->image);
    if (index >= image.header->output_count) {
        return AXR_OUTPUT_INDEX;
    }
    *tensor = axr_output_of(&image, index);
    return capacity < axr_tensor_bytes(*tensor) ? AXR_OUTPUT_SIZE : AXR_OK;
}
