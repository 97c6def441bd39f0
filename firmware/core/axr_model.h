/* Which model is open, and the slots that can hold another. Owns the backend instance; the memory
 * is the build's (axr_build.h) and the port's. */
#ifndef AXR_MODEL_H
#define AXR_MODEL_H

#include <stdbool.h>

#include "axr_protocol.h"
#include "backend.h"

typedef struct axr_model {
    axr_instance_t instance;
    axr_model_info_t info;      /* all zero while no model is open */
    axr_status_t status;        /* AXR_OK: a model is open; else why none is */
    uint32_t place;             /* AXR_MODEL_... */
    const uint8_t *image;
    uint32_t image_bytes;
    uint32_t output_bytes;      /* of all outputs */
} axr_model_t;

/* Opens the built-in model, or the non-volatile slot's when none is built in. */
void axr_model_start(void);

axr_model_t *axr_model(void);

/* One SLOT request; `data` holds `bytes` bytes of an AXR_SLOT_WRITE. */
axr_slot_reply_t axr_model_slot(const axr_slot_t *request, const uint8_t *data, uint32_t bytes);

#endif
