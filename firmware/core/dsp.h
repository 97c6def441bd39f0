/*
 * The Cortex-M33's dual 16-bit instructions, and portable functions that give the same bits.
 * Owns no buffer. Names are Arm's; a "pair" is two signed 16-bit halves of a word.
 */
#ifndef AXR_DSP_H
#define AXR_DSP_H

#include <stdint.h>

#include "kernels.h"
#include "requantize.h"

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

/* axr_requantize_scaled, saturated to int8. A tie is a zero low word; it goes to the even side. */
static inline int32_t axr_requantize_int8(int32_t acc, int32_t multiplier, int32_t zero_point)
{
    uint32_t low = 0x80000000U;
    __asm__("smlal %0, %1, %2, %3\n\t"
            "cmp %0, #0\n\t"
            "it eq\n\t"
            "biceq %1, %1, #1\n\t"
            "ssat %1, #8, %1"
            : "+r"(low), "+r"(zero_point)
            : "r"(acc), "r"(multiplier)
            : "cc");
    return zero_point;
}

/* Widen `quads` (at least 1) groups of four bytes to pairs in the order 0 2 1 3; `to` is aligned
 * to a word. */
static inline void axr_widen(void *to, const void *from, uint32_t quads)
{
    uint32_t word, even;
    __asm__ volatile("1:\n\t"
                     "ldr %[word], [%[from]], #4\n\t"
                     "sxtb16 %[even], %[word]\n\t"
                     "sxtb16 %[word], %[word], ror #8\n\t"
                     "strd %[even], %[word], [%[to]], #8\n\t"
                     "subs %[quads], #1\n\t"
                     "bne 1b"
                     : [word] "=&r"(word), [even] "=&r"(even), [from] "+r"(from), [to] "+r"(to),
                       [quads] "+r"(quads)
                     :
                     : "cc", "memory");
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

static inline int32_t axr_requantize_int8(int32_t acc, int32_t multiplier, int32_t zero_point)
{
    return axr_clamp(axr_requantize_scaled(acc, multiplier, zero_point), -128, 127);
}

static inline void axr_widen(void *to, const void *from, uint32_t quads)
{
    axr_scratch_word_t *pairs = to;
    const uint8_t *bytes = from;
    for (uint32_t i = 0; i < quads; i++) {
        const uint32_t word = axr_word(bytes + 4U * i);
        pairs[2U * i] = axr_sxtb16(word);
        pairs[2U * i + 1U] = axr_sxtb16_odd(word);
    }
}

#endif

#endif
