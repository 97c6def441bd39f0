/*
 * Checks a model image and gives access to its tables. Owns no buffer; the view points into the
 * image, which stays the caller's and must not change while the view is used.
 */
#ifndef AXR_IMAGE_H
#define AXR_IMAGE_H

#include "axr_model_image.h"
#include "axr_status.h"

typedef struct axr_image {
    const axr_image_header_t *header;
    const axr_image_tensor_t *tensors;
    const axr_image_record_t *records;
    const uint16_t *outputs;
    const uint8_t *constants;
} axr_image_t;

/* AXR_OK only when executing the image can touch nothing but the image (reading) and the first
 * header->arena_bytes bytes of an arena. Reads at most `image_bytes` bytes of `image`, which is
 * aligned to 4 bytes. Time is linear in image_bytes. An image without records is a description: a
 * backend with code of its own can use it, the interpreter would do nothing. */
axr_status_t axr_image_check(const uint8_t *image, uint32_t image_bytes);

/* The tables of an image that axr_image_check accepted. */
axr_image_t axr_image_view(const uint8_t *image);

#endif
