/*
 * Runs one inference of a model image on an emulated Cortex-M33, for counting instructions.
 *
 * The emulator writes the image, the arena and this mailbox, then calls entry(). A store to MARKER
 * tells it that a layer ended. See tests/support/m33.py.
 */
#include "backend.h"

#define MAILBOX ((mailbox_t *)0x20000000U)
#define MARKER (*(volatile uint32_t *)0x50000000U)

typedef struct mailbox {
    uint32_t status;
    uint32_t image;
    uint32_t image_bytes;
    uint32_t arena;
    uint32_t arena_bytes;
    uint32_t input;
    uint32_t input_bytes;
    uint32_t output;
    uint32_t output_bytes;
} mailbox_t;

static axr_instance_t instance;

static uint64_t no_time(void)
{
    return 0;
}

static void after_layer(void *user, uint32_t layer, uint64_t elapsed)
{
    (void)user;
    (void)elapsed;
    MARKER = layer;
}

static void after_model(void *user, uint64_t elapsed)
{
    (void)user;
    (void)elapsed;
}

/* All outputs, one after the other; box->output_bytes becomes their size. */
static uint32_t get_outputs(mailbox_t *box)
{
    static axr_model_info_t info;
    uint32_t status = axr_backend_cpu.describe(&instance, &info);
    uint32_t at = 0;
    for (uint32_t i = 0; status == AXR_OK && i < info.output_count; i++) {
        uint32_t written = 0;
        status = axr_backend_cpu.get_output(&instance, i, (void *)(box->output + at),
                                            box->output_bytes - at, &written);
        at += written;
    }
    box->output_bytes = at;
    return status;
}

__attribute__((used)) void entry(void)
{
    const axr_layer_hook_t hook = {no_time, after_layer, after_model, NULL, false};
    const axr_backend_t *cpu = &axr_backend_cpu;
    mailbox_t *box = MAILBOX;
    uint32_t status = cpu->open(&instance, (const uint8_t *)box->image, box->image_bytes,
                                (uint8_t *)box->arena, box->arena_bytes);
    if (status == AXR_OK) {
        status = cpu->set_input(&instance, (const void *)box->input, box->input_bytes);
    }
    if (status == AXR_OK) {
        MARKER = 0xFFFFFFFFU;
        status = cpu->infer(&instance, &hook);
    }
    if (status == AXR_OK) {
        status = get_outputs(box);
    }
    box->status = status;
}
