/*
 * The NPU backend: a model that Nordic's code generator compiled, through Nordic's driver.
 *
 * The model is linked in; the image says what it is. Opening an image with another hash is refused.
 * The arena holds the packed input, then the packed outputs, each on a 32-bit boundary, all
 * [channel][height][width] as the driver takes and gives them. One command buffer is the whole
 * model, so layers are timed afterwards, each as a model of its own.
 */
#include "npu_model.h"

#include "axon/nrf_axon_platform.h"

#include "backend.h"
#include "describe.h"
#include "image.h"

static bool platform_ready;

static uint32_t whole_words(uint32_t bytes)
{
    return (bytes + 3U) & ~3U;
}

/* Where output `index` starts in the arena; with index = output_count, where the last one ends. */
static uint32_t output_offset(const axr_image_t *image, uint32_t index)
{
    uint32_t offset = whole_words(axr_tensor_bytes(axr_input_of(image)));
    for (uint32_t i = 0; i < index; i++) {
        offset += whole_words(axr_tensor_bytes(axr_output_of(image, i)));
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
    if (input == NULL || !same_extent(axr_input_of(image), &input->dimensions)) {
        return false;
    }
    if (header->output_count != axr_npu_model->extra_output_cnt + 1U ||
        !same_extent(axr_output_of(image, 0), &axr_npu_model->output_dimensions)) {
        return false;
    }
    for (uint32_t i = 1; i < header->output_count; i++) {
        if (!same_extent(axr_output_of(image, i), &axr_npu_model->extra_outputs[i - 1U].dimensions)) {
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
    instance->state = AXR_STATE_EMPTY;
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
    instance->state = AXR_STATE_OPEN;
    return AXR_OK;
}

static axr_status_t npu_describe(const axr_instance_t *instance, axr_model_info_t *info)
{
    if (instance->state == AXR_STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    axr_describe(&image, output_offset(&image, image.header->output_count), info);
    return AXR_OK;
}

/* [height][width][channel] to [channel][height][width]. */
static axr_status_t npu_set_input(axr_instance_t *instance, const void *input, uint32_t bytes)
{
    if (instance->state == AXR_STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    const axr_image_t image = axr_image_view(instance->image);
    const axr_image_tensor_t *tensor = axr_input_of(&image);
    if (bytes != axr_tensor_bytes(tensor)) {
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
    instance->state = AXR_STATE_INPUT_SET;
    return AXR_OK;
}

/* Runs `model`; time in units of now(), 0 without a hook. */
static nrf_axon_result_e run_timed(const nrf_axon_nn_compiled_model_s *model, const int8_t *input,
                                   int8_t *output, const axr_layer_hook_t *hook, uint64_t *elapsed)
{
    const uint64_t started = hook == NULL ? 0U : hook->now();
    const nrf_axon_result_e result = nrf_axon_nn_model_infer_sync(model, input, output);
    *elapsed = hook == NULL ? 0U : hook->now() - started;
    return result;
}

/* Each layer by itself, on whatever the buffers hold: how long the NPU takes does not depend on it.
 * The outputs are in the arena already. Layers that the driver refuses are left out. A model with
 * persistent variables is left alone, because its layers would change them. */
static void time_layers(const axr_layer_hook_t *hook)
{
    if (axr_npu_model->persistent_vars.count != 0U) {
        return;
    }
    for (uint32_t i = 0; i < axr_npu_layer_count; i++) {
        const nrf_axon_nn_compiled_model_layer_s *layer = axr_npu_layers[i];
        if (layer == NULL || nrf_axon_nn_model_validate(&layer->base) != NRF_AXON_RESULT_SUCCESS) {
            continue;
        }
        uint64_t elapsed = 0;
        if (run_timed(&layer->base, NULL, NULL, hook, &elapsed) >= NRF_AXON_RESULT_SUCCESS) {
            hook->after_layer(hook->user, layer->layer_ndx, elapsed);
        }
    }
}

static axr_status_t npu_infer(axr_instance_t *instance, const axr_layer_hook_t *hook)
{
    if (instance->state == AXR_STATE_EMPTY) {
        return AXR_NO_MODEL;
    }
    if (instance->state != AXR_STATE_INPUT_SET) {
        return AXR_NO_INPUT;
    }
    const axr_image_t image = axr_image_view(instance->image);
    uint64_t elapsed = 0;
    const nrf_axon_result_e result =
        run_timed(axr_npu_model, (const int8_t *)instance->arena,
                  (int8_t *)instance->arena + output_offset(&image, 0), hook, &elapsed);
    if (result < NRF_AXON_RESULT_SUCCESS) {
        instance->state = AXR_STATE_OPEN;
        return AXR_BACKEND;
    }
    instance->state = AXR_STATE_RESULT;
    if (hook != NULL) {
        hook->after_model(hook->user, elapsed);
        if (hook->each_layer) {
            time_layers(hook);
        }
    }
    return AXR_OK;
}

/* [channel][height][width] to [height][width][channel]. */
static axr_status_t npu_get_output(const axr_instance_t *instance, uint32_t index, void *output,
                                   uint32_t capacity, uint32_t *written)
{
    const axr_image_tensor_t *tensor = NULL;
    const axr_status_t status = axr_find_output(instance, index, capacity, &tensor);
    if (status != AXR_OK) {
        return status;
    }
    const axr_image_t image = axr_image_view(instance->image);
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
    *written = axr_tensor_bytes(tensor);
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
