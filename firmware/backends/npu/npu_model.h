/* The compiled model that the build links in: Nordic's generated header, and whose it is. */
#ifndef AXR_NPU_MODEL_H
#define AXR_NPU_MODEL_H

#include <stdint.h>

#include "drivers/axon/nrf_axon_nn_infer.h"
#include "drivers/axon/nrf_axon_nn_infer_test.h"

#include "axr_model_image.h"

extern const nrf_axon_nn_compiled_model_s *const axr_npu_model;

/* The layers as models of their own, NULL where one has none; none at all unless the build was
 * asked for them. */
extern const nrf_axon_nn_compiled_model_layer_s *const *const axr_npu_layers;
extern const uint32_t axr_npu_layer_count;

/* First bytes of the hash of the Axon binary that the code was generated from. */
extern const uint8_t axr_npu_source_sha256[AXR_SOURCE_HASH_BYTES];

/* After how many cycles without an answer the NPU counts as stuck. */
extern const uint32_t axr_npu_limit_cycles;

#endif
