#include "interpreter.h"

#include "kernels.h"

static const axr_kernel_t kernels[] = {
    [AXR_OP_CONVOLUTION] = axr_convolution, [AXR_OP_DEPTHWISE] = axr_depthwise,
    [AXR_OP_AVERAGE] = axr_average,         [AXR_OP_MAX_POOL] = axr_max_pool,
    [AXR_OP_ADD] = axr_add,                 [AXR_OP_MULTIPLY] = axr_multiply,
    [AXR_OP_COPY] = axr_copy,               [AXR_OP_SOFTMAX] = axr_softmax,
    [AXR_OP_SIGMOID] = axr_sigmoid,         [AXR_OP_TANH] = axr_tanh,
};

static void execute(const axr_image_t *image, const axr_image_record_t *record, uint8_t *arena)
{
    const axr_image_tensor_t *input = &image->tensors[record->operands[0]];
    const axr_image_tensor_t *output = &image->tensors[record->output];
    const uint8_t *weights = image->constants + record->weights;
    const axr_image_tensor_t *second = NULL;
    if (record->operand_count == 2U) {
        second = &image->tensors[record->operands[1]];
    }
    const axr_call_t call = {
        .record = record,
        .input = input,
        .second = second,
        .output = output,
        .input_data = arena + input->offset,
        .second_data = second == NULL ? weights : arena + second->offset,
        .output_data = arena + output->offset,
        .weights = weights,
        .channels = (const axr_channel_t *)(const void *)(image->constants + record->channels),
        .scratch = arena + record->scratch,
        .arena = arena,
    };
    kernels[record->op](&call);
}

static bool runs_at_open(const axr_image_record_t *record)
{
    return (record->flags & AXR_FLAG_AT_OPEN) != 0U;
}

void axr_initialise(const axr_image_t *image, uint8_t *arena)
{
    for (uint32_t i = 0; i < image->header->record_count; i++) {
        if (runs_at_open(&image->records[i])) {
            execute(image, &image->records[i], arena);
        }
    }
}

void axr_interpret(const axr_image_t *image, uint8_t *arena, const axr_layer_hook_t *hook)
{
    uint64_t total = 0;
    uint64_t started = hook == NULL ? 0U : hook->now();
    for (uint32_t i = 0; i < image->header->record_count; i++) {
        const axr_image_record_t *record = &image->records[i];
        if (runs_at_open(record)) {
            continue;
        }
        execute(image, record, arena);
        if (hook != NULL && (record->flags & AXR_FLAG_LAST_RECORD) != 0U) {
            const uint64_t elapsed = hook->now() - started;
            total += elapsed;
            hook->after_layer(hook->user, record->program_layer, elapsed);
            started = hook->now();
        }
    }
    if (hook != NULL) {
        hook->after_model(hook->user, total);
    }
}
