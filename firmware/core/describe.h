/*
 * What an open model says of itself: the part of a backend that is the same for all of them. Owns
 * nothing; the image is one that axr_image_check accepted.
 */
#ifndef AXR_DESCRIBE_H
#define AXR_DESCRIBE_H

#include "backend.h"
#include "image.h"

uint32_t axr_tensor_bytes(const axr_image_tensor_t *tensor);

const axr_image_tensor_t *axr_input_of(const axr_image_t *image);
const axr_image_tensor_t *axr_output_of(const axr_image_t *image, uint32_t index);

/* Everything that the image says; `arena_bytes` is the backend's own need. */
void axr_describe(const axr_image_t *image, uint32_t arena_bytes, axr_model_info_t *info);

/* Whether output `index` can be given away now, into `capacity` bytes; then *tensor is it. */
axr_status_t axr_find_output(const axr_instance_t *instance, uint32_t index, uint32_t capacity,
                             const axr_image_tensor_t **tensor);

#endif
