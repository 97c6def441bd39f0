/*
 * Mutates a model image and offers it to the CPU backend: image_fuzz IMAGE SEED RUNS.
 *
 * Most mutations repair the checksum, so that they reach the checks behind it. An image that is
 * accepted is executed when its work is bounded, with image and arena allocated to the byte: a
 * sanitizer sees what a missing check would let through. Prints how many were accepted, executed,
 * and refused, by status. The same arguments always give the same output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "crc32.h"
#include "image.h"
#include "kernels.h"

#define MAX_WORK 2000000U
#define STATUS_COUNT 64

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

static uint32_t interesting(void)
{
    static const uint32_t values[] = {0,      1,      2,          3,           4,          7,
                                      8,      15,     16,         127,         128,        255,
                                      256,    0x7FFF, 0x8000,     0xFFFF,      0x10000,    0x7FFFFFFF,
                                      0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, 0xFFFFFFF8};
    if (draw(2) == 0) {
        return values[draw(sizeof(values) / sizeof(values[0]))];
    }
    return draw(2) == 0 ? draw(64) : draw(0xFFFFFFFFU);
}

/* Somewhere in the tables rather than in the constants, where weights are. */
static uint32_t place(const axr_image_header_t *header, uint32_t bytes)
{
    const uint32_t tables = header->constants_offset < bytes ? header->constants_offset : bytes;
    return draw(8) == 0 ? draw(bytes) : draw(tables == 0U ? 1U : tables);
}

static void mutate(uint8_t *image, uint32_t bytes, const axr_image_header_t *original)
{
    const uint32_t changes = 1U + draw(3);
    for (uint32_t i = 0; i < changes; i++) {
        const uint32_t width = 1U << draw(3);
        const uint32_t at = place(original, bytes) & ~(width - 1U);
        const uint32_t value = interesting();
        if (at + width <= bytes) {
            memcpy(image + at, &value, width);
        }
    }
    if (draw(16) != 0) {
        axr_image_header_t header;
        memcpy(&header, image, sizeof(header));
        header.magic = original->magic;
        if (header.image_bytes >= sizeof(header) && header.image_bytes <= bytes) {
            header.crc32 = axr_crc32(0, image + AXR_IMAGE_CRC_START,
                                     header.image_bytes - AXR_IMAGE_CRC_START);
        }
        /* The checksum covers neither magic nor itself. */
        memcpy(image, &header, AXR_IMAGE_CRC_START);
    }
}

/* An upper bound of loop passes over all records. */
static uint64_t work(const axr_image_t *image)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < image->header->record_count; i++) {
        const axr_image_record_t *record = &image->records[i];
        const axr_image_tensor_t *input = &image->tensors[record->operands[0]];
        const axr_image_tensor_t *output = &image->tensors[record->output];
        const uint64_t window = (uint64_t)record->window_height * record->window_width + 1U;
        const uint64_t group = record->extent_channels + 1U;
        const uint64_t depth = record->op == AXR_OP_CONVOLUTION ? input->channels : group;
        total += (uint64_t)axr_elements(output) * window * depth;
        total += (uint64_t)record->extent_height * record->extent_width * group;
        total += (uint64_t)output->batch * output->height * record->scratch_bytes;
    }
    return total;
}

static void execute(axr_instance_t *instance)
{
    axr_model_info_t info;
    if (axr_backend_cpu.describe(instance, &info) != AXR_OK) {
        abort();
    }
    uint8_t *input = calloc(1, info.input.bytes);
    for (uint32_t i = 0; i < info.input.bytes; i++) {
        input[i] = (uint8_t)draw(256);
    }
    if (axr_backend_cpu.set_input(instance, input, info.input.bytes) != AXR_OK ||
        axr_backend_cpu.infer(instance, NULL) != AXR_OK) {
        abort();
    }
    free(input);
    for (uint32_t i = 0; i < info.output_count; i++) {
        uint32_t written = 0;
        uint8_t *output = malloc(info.outputs[i].bytes);
        if (axr_backend_cpu.get_output(instance, i, output, info.outputs[i].bytes, &written) !=
                AXR_OK ||
            written != info.outputs[i].bytes) {
            abort();
        }
        free(output);
    }
}

/* Whether an accepted image was executed. */
static bool offer(const uint8_t *image, uint32_t bytes, uint32_t arena_bytes, uint32_t *status)
{
    axr_instance_t instance = {0};
    bool executed = false;
    uint8_t *arena = calloc(1, arena_bytes);
    *status = axr_image_check(image, bytes);
    if (*status == AXR_OK) {
        const axr_image_t view = axr_image_view(image);
        if (view.header->record_count == 0U) { /* a description */
            *status = axr_backend_cpu.open(&instance, image, bytes, arena, arena_bytes);
            if (*status != AXR_IMAGE_TABLE) {
                abort();
            }
        } else if (view.header->arena_bytes > arena_bytes) {
            *status = axr_backend_cpu.open(&instance, image, bytes, arena, arena_bytes);
            if (*status != AXR_ARENA_TOO_SMALL) {
                abort();
            }
        } else if (work(&view) <= MAX_WORK) {
            if (axr_backend_cpu.open(&instance, image, bytes, arena, arena_bytes) != AXR_OK) {
                abort();
            }
            execute(&instance);
            executed = true;
        }
    }
    free(arena);
    return executed;
}

static uint8_t *load(const char *path, uint32_t *bytes)
{
    FILE *file = fopen(path, "rb");
    static uint8_t buffer[1 << 20];
    if (file == NULL) {
        abort();
    }
    *bytes = (uint32_t)fread(buffer, 1, sizeof(buffer), file);
    fclose(file);
    return buffer;
}

int main(int count, char **arguments)
{
    if (count != 4) {
        return 2;
    }
    uint32_t bytes;
    const uint8_t *original = load(arguments[1], &bytes);
    state = strtoull(arguments[2], NULL, 10) * 2654435769U + 1U;
    const uint64_t runs = strtoull(arguments[3], NULL, 10);
    axr_image_header_t header;
    memcpy(&header, original, sizeof(header));
    uint64_t statuses[STATUS_COUNT] = {0};
    uint64_t executed = 0;
    for (uint64_t i = 0; i < runs; i++) {
        const uint32_t length = draw(32) == 0 ? draw(bytes + 1U) : bytes;
        uint8_t *image = malloc(length == 0U ? 1U : length);
        uint32_t status = 0;
        memcpy(image, original, length);
        if (length >= sizeof(header)) {
            mutate(image, length, &header);
        }
        executed += offer(image, length, header.arena_bytes, &status) ? 1U : 0U;
        statuses[status % STATUS_COUNT]++;
        free(image);
    }
    printf("executed %llu\n", (unsigned long long)executed);
    for (uint32_t i = 0; i < STATUS_COUNT; i++) {
        if (statuses[i] != 0U) {
            printf("status %u %llu\n", (unsigned)i, (unsigned long long)statuses[i]);
        }
    }
    return 0;
}
