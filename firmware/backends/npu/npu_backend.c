/*
 * The NPU backend: a model that Nordic's code generator compiled, through Nordic's driver.
 *
 * The model is linked in; the image says what it is. Opening an image with another hash is refused.
 * The arena holds the packed input, then the packed outputs, each on a 32-bit boundary, all
 * [channel][height][width] as the driver takes and gives them. Layers are not timed one by one: the
 * command buffer runs as a whole, and hooks are not called.
 */
#include "npu_model.h"

#include "axon/nrf_axon_platform.h"

#include "backend.h"
#include "image.h"

enum { STATE_EMPTY = 0, STATE_OPEN = 1, STATE_INPUT_SET = 2, STATE_RESULT = 3 };

static bool platform_ready;

static uint32_t elements(const axr_image_tensor_t *tensor)
{
    return (uint32_t)tensor->batch * tensor->height * tensor->width * tensor->channels;
}

static uint32_t tensor_bytes(const axr_image_tensor_t *tensor)
{
    return elements(tensor) * tensor->element_bytes;
}

static uint32_t whole_words(uint32_t bytes)
{
    return (bytes + 3U) & ~3U;
}

static const axr_image_tensor_t *input_of(const axr_image_t *image)
{
    return &image->tensors[image->header->input_tensor];
}

static const axr_image_tensor_t *output_of(const axr_image_t *image, uint32_t index)
{
    return &image->tensors[image->outputs[index]];
}

/* Where output `index` starts in the arena; with index = output_count, where the last one ends. */
static uint32_t output_offset(const axr_image_t *image, uint32_t index)
{
    uint32_t offset = whole_words(tensor_bytes(input_of(image)));
    for (uint32_t i = 0; i < index; i++) {
        offset += whole_words(tensor_bytes(output_of(image, i)));
    }
    return offset;
}

static bool same_extent(const axr_image_tensor_t *tensor,
                        const nrf_axon_nn_model_layer_dimensions_s *dimensions)
{
    return tensor->batch == 1U && tensor->height == dimensions->height &&
           tensor->width == dimensions->width && tensor->channels == dimensions->channel_cnt &&
           tensor->element_bytes == dimensions->byte_width;
}

/* Whether the image describes the compiled model: its hash, and every extent at the border. */
static bool is_ours(const axr_image_t *image)
{
    const axr_image_header_t *header = image->header;
    if (__builtin_memcmp(header->source_sha256, axr_npu_source_sha256,
                         sizeof(header->source_sha256)) != 0) {
        return false;
    }
    const nrf_axon_nn_compiled_model_input_s *input =
        nrf_axon_nn_model_1st_external_input(axr_npu_model);
    if (input == NULL || !same_extent(input_of(image), &input->dimensions)) {
        return false;
    }
    if (header->output_count != axr_npu_model->extra_output_cnt + 1U ||
        !same_extent(output_of(image, 0), &axr_npu_model->output_dimensions)) {
        return false;
    }
    for (uint32_t i = 1; i < header->output_count; i++) {
        if (!same_extent(output_of(image, i), &axr_npu_model->extra_outputs[i - 1U].dimensions)) {
            return false;
        }
    }
    return true;
}

static axr_status_t prepare_driver(void)
{
    if (!platform_ready && nrf_axon_platform_init() != NRF_AXON_RESULT_SUCCESS) {
        return AXR_BACKEND;
    }
    platform_ready = true;
    if (nrf_axon_nn_model_validate(axr_npu_model) != NRF_AXON_RESULT_SUCCESS ||
        nrf_axon_nn_model_init_vars(axr_npu_model) < 0) {
        return AXR_BACKEND;
    }
    return AXR_OK;
}

static axr_status_t npu_open(axr_instance_t *instance, const uint8_t *image, uint32_t image_bytes,
                             uint8_t *arena, uint32_t arena_bytes)
{
    instance->state = STATE_EMPTY;
    if (((uintptr_t)arena & (AXR_ARENA_ALIGN_BYTES - 1U)) != 0U) {
        return AXR_IMAGE_ALIGNMENT;
    }
    axr_status_t status = axr_image_check(image, image_bytes);
    if (status != AXR_OK) {
        return status;
    }
    const axr_image_t view = axr_image_view(image);
    if (output_offset(&view, view.header->output_count) > arena_bytes) {
        return AXR_ARENA_TOO_SMALL;
    }
    if (!is_ours(&view)) {
        return AXR_BACKEND;
    }
    status = prepare_driver();
    if (status != AXR_OK) {
        return status;
    }
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

static axr_status_t npu_describe(const axr_instance_t *instance, axr_model_info_t *info)
{
    if (instance->state == STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    const axr_image_header_t *header = image.header;
    *info = (axr_model_info_t){
        .program_version = header->program_version,
        .image_bytes = header->image_bytes,
        .arena_bytes = output_offset(&image, header->output_count),
        .layer_count = header->program_layer_count,
        .output_count = header->output_count,
        .input = describe_tensor(input_of(&image)),
    };
    __builtin_memcpy(info->name, header->name, sizeof(info->name));
    __builtin_memcpy(info->source_sha256, header->source_sha256, sizeof(info->source_sha256));
    for (uint32_t i = 0; i < header->output_count; i++) {
        info->outputs[i] = describe_tensor(output_of(&image, i));
    }
    return AXR_OK;
}

/* [height][width][channel] to [channel][height][width]. */
static axr_status_t npu_set_input(axr_instance_t *instance, const void *input, uint32_t bytes)
{
    if (instance->state == STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    const axr_image_tensor_t *tensor = input_of(&image);
    if (bytes != tensor_bytes(tensor)) {
        return AXR_INPUT_SIZE;
    }
    const uint8_t *from = input;
    const uint32_t width = tensor->element_bytes;
    const uint32_t pixels = (uint32_t)tensor->height * tensor->width;
    for (uint32_t pixel = 0; pixel < pixels; pixel++) {
        for (uint32_t channel = 0; channel < tensor->channels; channel++) {
            __builtin_memcpy(instance->arena + (channel * pixels + pixel) * width, from, width);
            from += width;
        }
    }
    instance->state = STATE_INPUT_SET;
    return AXR_OK;
}

static axr_status_t npu_infer(axr_instance_t *instance, const axr_layer_hook_t *hook)
{
    (void)hook;
    if (instance->state == STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    if (instance->state != STATE_INPUT_SET) {
        return AXR_NO_INPUT;
    }
    const axr_image_t image = axr_image_view(instance->image);
    const nrf_axon_result_e result =
        nrf_axon_nn_model_infer_sync(axr_npu_model, (const int8_t *)instance->arena,
                                     (int8_t *)instance->arena + output_offset(&image, 0));
    if (result < NRF_AXON_RESULT_SUCCESS) {
        instance->state = STATE_OPEN;
        return AXR_BACKEND;
    }
    instance->state = STATE_RESULT;
    return AXR_OK;
}

/* [channel][height][width] to [height][width][channel]. */
static axr_status_t npu_get_output(const axr_instance_t *instance, uint32_t index, void *output,
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
    const axr_image_tensor_t *tensor = output_of(&image, index);
    const uint32_t bytes = tensor_bytes(tensor);
    if (capacity < bytes) {
        return AXR_OUTPUT_SIZE;
    }
    const uint8_t *from = instance->arena + output_offset(&image, index);
    uint8_t *to = output;
    const uint32_t width = tensor->element_bytes;
    const uint32_t pixels = (uint32_t)tensor->height * tensor->width;
    for (uint32_t pixel = 0; pixel < pixels; pixel++) {
        for (uint32_t channel = 0; channel < tensor->channels; channel++) {
            __builtin_memcpy(to, from + (channel * pixels + pixel) * width, width);
            to += width;
        }
    }
    *written = bytes;
    return AXR_OK;
}

const axr_backend_t axr_backend_npu = {
    .name = "npu",
    .open = npu_open,
    .describe = npu_describe,
    .set_input = npu_set_input,
    .infer = npu_infer,
    .get_output = npu_get_output,
};
