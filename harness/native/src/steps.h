/* What each kind of node does. `scratch` is this thread's: AXR_SUMS accumulators, then room for the
 * padded image and, in a depthwise convolution, for rows of groups (harness/native/plan.py). */
#ifndef AXR_STEPS_H
#define AXR_STEPS_H

#include "plan.h"

#define AXR_SUMS 2048

void axr_convolution(const axr_node_t *node, uint8_t *arena, uint8_t *scratch);
void axr_depthwise(const axr_node_t *node, uint8_t *arena, uint8_t *scratch);
void axr_average(const axr_node_t *node, uint8_t *arena, uint8_t *scratch);
void axr_max_pool(const axr_node_t *node, uint8_t *arena);
void axr_element_wise(const axr_node_t *node, uint8_t *arena, uint8_t *scratch);
void axr_move(const axr_node_t *node, uint8_t *arena);
void axr_table(const axr_node_t *node, uint8_t *arena);
void axr_softmax(const axr_node_t *node, uint8_t *arena);

/* Bytes of one padded image, as groups want it. */
static inline int64_t axr_image_row(const axr_node_t *node, int64_t element) {
    return (int64_t)(node->in_width + node->pad_left + node->pad_right) * node->in_channels *
           element;
}

/* Write image `batch` of the input, padded, in the elements that axr_dot takes. */
void axr_pad_image(const axr_node_t *node, const int8_t *source, uint8_t *image);

#endif
