/*
 * The Cortex-M33's dual 16-bit instructions, and portable functions that give the same bits.
 * Owns no buffer. Names are Arm's; a "pair" is two signed 16-bit halves of a word.
 */
#ifndef AXR_DSP_H
#define AXR_DSP_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(AXR_PORTABLE_KERNELS)
#define AXR_HAVE_DSP 1
#else
#define AXR_HAVE_DSP 0
#endif

static inline uint32_t axr_word(const void *data)
{
    uint32_t word;
    __builtin_memcpy(&word, data, 4);
    return word;
}

#if AXR_HAVE_DSP

/* Bytes 0 and 2, sign-extended to a pair. */
static inline uint32_t axr_sxtb16(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

/* Bytes 1 and 3, sign-extended to a pair. */
static inline uint32_t axr_sxtb16_odd(uint32_t word)
{
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

/* acc + low * low + high * high. */
static inline int32_t axr_smlad(uint32_t x, uint32_t y, int32_t acc)
{
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(acc));
    return result;
}

/* The low halves of both, the first one's below. */
static inline uint32_t axr_pack_low(uint32_t low, uint32_t high)
{
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(low), "r"(high));
    return pair;
}

/* The high halves of both, the first one's below. */
static inline uint32_t axr_pack_high(uint32_t low, uint32_t high)
{
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(high), "r"(low));
    return pair;
}

#else

static inline uint32_t axr_pair(int32_t low, int32_t high)
{
    return ((uint32_t)low & 0xFFFFU) | ((uint32_t)high << 16);
}

static inline uint32_t axr_sxtb16(uint32_t word)
{
    return axr_pair((int8_t)(word & 0xFFU), (int8_t)((word >> 16) & 0xFFU));
}

static inline uint32_t axr_sxtb16_odd(uint32_t word)
{
    return axr_pair((int8_t)((word >> 8) & 0xFFU), (int8_t)(word >> 24));
}

static inline int32_t axr_smlad(uint32_t x, uint32_t y, int32_t acc)
{
    const int32_t low = (int16_t)(x & 0xFFFFU) * (int16_t)(y & 0xFFFFU);
    const int32_t high = (int16_t)(x >> 16) * (int16_t)(y >> 16);
    return (int32_t)((uint32_t)acc + (uint32_t)low + (uint32_t)high);
}

static inline uint32_t axr_pack_low(uint32_t low, uint32_t high)
{
    return (low & 0xFFFFU) | (high << 16);
}

static inline uint32_t axr_pack_high(uint32_t low, uint32_t high)
{
    return (low >> 16) | (high & 0xFFFF0000U);
}

#endif

#endif
