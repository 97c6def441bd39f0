/*
 * What the build decides: identity, model and memory. The build writes one C file that defines
 * `axr_build`; everything else of the firmware is the same for every model.
 *
 * All memory belongs to the core while the firmware runs. Sizes are the build's choice:
 *   staging   inputs that have arrived: two or more let a transfer overlap an inference; the MLPerf
 *             Tiny commands need the raw item and the converted input at a time
 *   results   results that the host has not confirmed: 64 bytes + outputs + 8 per layer each
 *   ram_slot  uploaded models; may be absent (NULL, 0), as may the built-in model
 */
#ifndef AXR_BUILD_H
#define AXR_BUILD_H

#include <stdint.h>

#include "backend.h"

typedef struct axr_build {
    uint8_t build_id[16];
    const char *vendor;             /* name shown to MLPerf Tiny runners; not empty, without ']' */
    const char *profile;            /* "ic01", "kws01", "vww01", "ad01", or "" */
    const axr_backend_t *backend;
    const uint8_t *image;           /* aligned to AXR_IMAGE_ALIGN_BYTES */
    uint32_t image_bytes;
    uint8_t *arena;                 /* aligned to AXR_ARENA_ALIGN_BYTES */
    uint32_t arena_bytes;
    uint8_t *staging;               /* aligned to 4 */
    uint32_t staging_bytes;
    uint8_t *results;               /* aligned to 8 */
    uint32_t results_bytes;
    uint8_t *ram_slot;              /* aligned to AXR_IMAGE_ALIGN_BYTES */
    uint32_t ram_slot_bytes;
} axr_build_t;

extern const axr_build_t axr_build;

#endif
