/*
 * Runs model images through the CPU backend for the differential tests, as a filter.
 *
 * stdin, little-endian, repeated until the end: u32 image bytes, u32 arena bytes, u32 inputs, u32
 * input bytes; the image; the inputs. stdout: u32 status of open(); if it is 0, per input: per layer
 * u32 layer and the whole arena, then u32 0xFFFFFFFF, then the outputs one after the other.
 *
 * Image and arena are allocated to the byte, so that a sanitizer sees any access beyond them.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend.h"

typedef struct job {
    uint32_t image_bytes;
    uint32_t arena_bytes;
    uint32_t inputs;
    uint32_t input_bytes;
} job_t;

typedef struct trace {
    const uint8_t *arena;
    uint32_t arena_bytes;
    uint64_t layers;
} trace_t;

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes == 0U ? 1U : bytes);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* The other side may wait for an answer before it sends more. */
static void get(void *to, size_t bytes)
{
    if (fflush(stdout) != 0 || fread(to, 1, bytes, stdin) != bytes) {
        abort();
    }
}

static void put(const void *from, size_t bytes)
{
    if (fwrite(from, 1, bytes, stdout) != bytes) {
        abort();
    }
}

static uint64_t ticks(void)
{
    static uint64_t count;
    return ++count;
}

static void after_layer(void *user, uint32_t layer, uint64_t elapsed)
{
    trace_t *trace = user;
    if (elapsed != 1U) {
        abort(); /* one call of ticks() before and one after each layer */
    }
    trace->layers++;
    put(&layer, 4);
    put(trace->arena, trace->arena_bytes);
}

static void after_model(void *user, uint64_t elapsed)
{
    const trace_t *trace = user;
    if (elapsed != trace->layers) {
        abort(); /* the sum of the layers' times */
    }
}

static void infer(axr_instance_t *instance, const axr_model_info_t *info, const void *input,
                  uint32_t input_bytes)
{
    const uint32_t end = 0xFFFFFFFFU;
    trace_t trace = {instance->arena, info->arena_bytes, 0};
    const axr_layer_hook_t hook = {ticks, after_layer, after_model, &trace, true};
    if (axr_backend_cpu.set_input(instance, input, input_bytes) != AXR_OK ||
        axr_backend_cpu.infer(instance, &hook) != AXR_OK) {
        abort();
    }
    put(&end, 4);
    for (uint32_t i = 0; i < info->output_count; i++) {
        uint32_t written = 0;
        uint8_t *output = allocate(info->outputs[i].bytes);
        if (axr_backend_cpu.get_output(instance, i, output, info->outputs[i].bytes, &written) !=
            AXR_OK) {
            abort();
        }
        put(output, written);
        free(output);
    }
}

static void run(const job_t *job)
{
    axr_instance_t instance = {0};
    axr_model_info_t info;
    uint8_t *image = allocate(job->image_bytes);
    uint8_t *arena = allocate(job->arena_bytes);
    uint8_t *input = allocate(job->input_bytes);
    get(image, job->image_bytes);
    for (uint32_t i = 0; i < job->arena_bytes; i++) {
        arena[i] = 0xA5U; /* nothing may depend on what the arena holds */
    }
    const uint32_t status =
        axr_backend_cpu.open(&instance, image, job->image_bytes, arena, job->arena_bytes);
    put(&status, 4);
    for (uint32_t i = 0; i < job->inputs; i++) {
        get(input, job->input_bytes);
        if (status == AXR_OK) {
            if (axr_backend_cpu.describe(&instance, &info) != AXR_OK) {
                abort();
            }
            infer(&instance, &info, input, job->input_bytes);
        }
    }
    free(image);
    free(arena);
    free(input);
}

int main(void)
{
    job_t job;
    while (fread(&job, 1, sizeof(job), stdin) == sizeof(job)) {
        run(&job);
        if (fflush(stdout) != 0) {
            return 1;
        }
    }
    return 0;
}
