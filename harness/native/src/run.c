/* The library's three entries. */
#include <string.h>

#include "lanes.h"
#include "steps.h"

void axr_native_traits(axr_traits_t *traits) {
    memset(traits, 0, sizeof *traits);
    traits->group = AXR_GROUP;
    traits->flip = AXR_FLIP;
#if defined(AXR_AVX512)
    traits->fast_float = 1;
#endif
    traits->node_bytes = (int32_t)sizeof(axr_node_t);
    traits->plan_bytes = (int32_t)sizeof(axr_plan_t);
    traits->job_bytes = (int32_t)sizeof(axr_job_t);
    memcpy(traits->name, AXR_NAME, sizeof AXR_NAME);
}

/* The external input of one inference, from wherever its elements lie to [height][width][channel]. */
static void take_input(const axr_plan_t *plan, const axr_job_t *job, int64_t index, int8_t *to) {
    const int64_t channels = plan->channels, row = plan->width * channels;
    const int dense = job->channel_stride == 1 && job->pixel_stride == channels &&
                      job->row_stride == row;
    for (int64_t b = 0; b < plan->batch; b++) {
        const int8_t *image = job->inputs + (index * plan->batch + b) * job->image_stride;
        if (dense) {
            memcpy(to, image, (size_t)(plan->height * row));
            to += plan->height * row;
            continue;
        }
        for (int64_t y = 0; y < plan->height; y++, to += row) {
            for (int64_t c = 0; c < channels; c++) {
                const int8_t *from = image + y * job->row_stride + c * job->channel_stride;
                for (int64_t x = 0; x < plan->width; x++) {
                    to[x * channels + c] = from[x * job->pixel_stride];
                }
            }
        }
    }
}

static void step(const axr_node_t *node, uint8_t *arena, uint8_t *scratch) {
    switch (node->kind) {
        case AXR_NODE_CONVOLUTION: axr_convolution(node, arena, scratch); break;
        case AXR_NODE_DEPTHWISE: axr_depthwise(node, arena, scratch); break;
        case AXR_NODE_AVERAGE: axr_average(node, arena, scratch); break;
        case AXR_NODE_MAX_POOL: axr_max_pool(node, arena); break;
        case AXR_NODE_ADD:
        case AXR_NODE_MULTIPLY: axr_element_wise(node, arena, scratch); break;
        case AXR_NODE_MOVE: axr_move(node, arena); break;
        case AXR_NODE_TABLE: axr_table(node, arena); break;
        case AXR_NODE_SOFTMAX: axr_softmax(node, arena); break;
        default: break;
    }
}

void axr_native_run(const axr_plan_t *plan, axr_job_t *job, uint8_t *arena) {
    uint8_t *scratch = arena + plan->scratch;
    for (;;) {
        const int64_t first = atomic_fetch_add(&job->next, job->claim);
        if (first >= job->count) {
            return;
        }
        for (int64_t i = first; i < first + job->claim && i < job->count; i++) {
            take_input(plan, job, i, (int8_t *)(arena + plan->input));
            for (int64_t k = 0; k < plan->node_count; k++) {
                const axr_node_t *node = plan->nodes + k;
                step(node, arena, scratch);
                if (node->keep >= 0) {
                    memcpy(job->outputs[node->keep] + i * node->target_bytes,
                           arena + node->target, (size_t)node->target_bytes);
                }
            }
        }
    }
}
