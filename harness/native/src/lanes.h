/* Sixteen 32-bit lanes, and what each instruction set does best with them.
 *
 * A group is the unit of multiplication: 4 bytes that hold 4 neighbouring taps as 8-bit, or 2 as
 * 16-bit numbers. AXR_GROUP says which; activations carry AXR_FLIP so that they fit the unsigned
 * operand of a dot-product instruction. Sums wrap at 32 bits, so the flip's part, which the bias
 * takes back, needs no room.
 */
#ifndef AXR_LANES_H
#define AXR_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

#define AXR_INLINE static inline __attribute__((always_inline))
#define AXR_LANES 16

typedef int32_t axr_v16_t __attribute__((vector_size(64)));
typedef uint32_t axr_u16_t __attribute__((vector_size(64)));
typedef int8_t axr_b16_t __attribute__((vector_size(16)));

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__)
#define AXR_NAME "avx512vnni"
#define AXR_AVX512 1
#define AXR_GROUP 4
#define AXR_FLIP 128
typedef uint8_t axr_x_t;
#elif defined(__AVXVNNI__)
#define AXR_NAME "avxvnni"
#define AXR_GROUP 4
#define AXR_FLIP 128
typedef uint8_t axr_x_t;
#elif defined(__ARM_FEATURE_DOTPROD) || defined(AXR_PLAIN_BYTES)
/* AXR_PLAIN_BYTES: the same layout without the instruction, so that any machine can test it. */
#if defined(__ARM_FEATURE_DOTPROD)
#define AXR_NAME "neon dotprod"
#else
#define AXR_NAME "portable bytes"
#endif
#define AXR_GROUP 4
#define AXR_FLIP 0
typedef int8_t axr_x_t;
#else
#if defined(__AVX2__)
#define AXR_NAME "avx2"
#elif defined(__SSE4_1__)
#define AXR_NAME "sse4"
#elif defined(__ARM_NEON)
#define AXR_NAME "neon"
#else
#define AXR_NAME "portable"
#endif
#define AXR_GROUP 2
#define AXR_FLIP 0
typedef int16_t axr_x_t;
#endif

_Static_assert(AXR_GROUP * sizeof(axr_x_t) == 4, "a group is 4 bytes");

AXR_INLINE axr_v16_t axr_load(const void *from) {
    axr_v16_t lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

AXR_INLINE void axr_store(void *to, axr_v16_t lanes) { memcpy(to, &lanes, sizeof lanes); }

/* The group at `from`, in every lane. */
AXR_INLINE axr_v16_t axr_splat(const void *from) {
    int32_t group;
    memcpy(&group, from, sizeof group);
    return (axr_v16_t){0} + group;
}

/* sums + dot(x, w), lane by lane. */
AXR_INLINE axr_v16_t axr_dot(axr_v16_t sums, axr_v16_t x, axr_v16_t w) {
#if defined(AXR_AVX512)
    return (axr_v16_t)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)x, (__m512i)w);
#elif defined(AXR_PLAIN_BYTES)
    for (int tap = 0; tap < 4; tap++) {
        sums += ((axr_v16_t)((axr_u16_t)x << (24 - 8 * tap)) >> 24) *
                ((axr_v16_t)((axr_u16_t)w << (24 - 8 * tap)) >> 24);
    }
    return sums;
#elif defined(__AVXVNNI__) || defined(__AVX2__)
    __m256i s[2], a[2], b[2];
    memcpy(s, &sums, sizeof s);
    memcpy(a, &x, sizeof a);
    memcpy(b, &w, sizeof b);
    for (int half = 0; half < 2; half++) {
#if defined(__AVXVNNI__)
        s[half] = _mm256_dpbusd_avx_epi32(s[half], a[half], b[half]);
#else
        s[half] = _mm256_add_epi32(s[half], _mm256_madd_epi16(a[half], b[half]));
#endif
    }
    memcpy(&sums, s, sizeof sums);
    return sums;
#elif defined(__ARM_FEATURE_DOTPROD)
    int32x4_t s[4];
    int8x16_t a[4], b[4];
    memcpy(s, &sums, sizeof s);
    memcpy(a, &x, sizeof a);
    memcpy(b, &w, sizeof b);
    for (int part = 0; part < 4; part++) {
        s[part] = vdotq_s32(s[part], a[part], b[part]);
    }
    memcpy(&sums, s, sizeof sums);
    return sums;
#else
    axr_v16_t x_low = (axr_v16_t)((axr_u16_t)x << 16) >> 16;
    axr_v16_t w_low = (axr_v16_t)((axr_u16_t)w << 16) >> 16;
    return sums + x_low * w_low + (x >> 16) * (w >> 16);
#endif
}

#endif
