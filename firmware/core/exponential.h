/*
 * exp(k / 4096) by integers, bit for bit what compiler/exp_q12.py computes. Owns no buffer.
 */
#ifndef AXR_EXPONENTIAL_H
#define AXR_EXPONENTIAL_H

#include <stdint.h>

/* floor(4096 * exp(argument / 4096)), for arguments up to 31182 (ln 2048). */
uint32_t axr_exp_q12(int32_t argument);

/* The float nearest to exp(argument / 4096), for -65536 to 65536. */
float axr_exp_float(int32_t argument);

#endif
