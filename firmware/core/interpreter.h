/*
 * Executes the records of a model image that axr_image_check accepted.
 *
 * Owns no buffer: the arena is the caller's, `header->arena_bytes` long and aligned to
 * AXR_ARENA_ALIGN_BYTES. Intermediate tensors share its memory, so a tensor may be read only between
 * its layer and the last layer that uses it; the outputs stay until the next run.
 */
#ifndef AXR_INTERPRETER_H
#define AXR_INTERPRETER_H

#include "backend.h"
#include "image.h"

/* Runs the records that give persistent variables their first value. */
void axr_initialise(const axr_image_t *image, uint8_t *arena);

void axr_interpret(const axr_image_t *image, uint8_t *arena, const axr_layer_hook_t *hook);

#endif
