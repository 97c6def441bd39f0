/* From 32-bit accumulators to outputs; see rescale.c. */
#ifndef AXR_RESCALE_H
#define AXR_RESCALE_H

#include "plan.h"

/* round_half_even((product + zero_point * 2^shift) / 2^shift), clamped. |product| <= 2^62. */
int32_t axr_scale_down(int64_t product, int32_t shift, int32_t zero_point, int32_t low,
                       int32_t high);

void axr_put(void *to, int64_t index, int32_t bytes, int32_t value);

/* Rescale `pixels` times `channels` accumulators, the first of them channel `first` of the arrays.
 * Accumulators of a pixel lie next to each other, pixels `stride` apart (a multiple of 16, room for
 * a whole number of 16 channels); outputs go to `to`, pixels `out_stride` elements apart. */
void axr_rescale(const axr_rescale_t *rescale, const int32_t *sums, int64_t pixels,
                 int64_t channels, int64_t stride, int64_t first, void *to, int64_t out_stride);

#endif
