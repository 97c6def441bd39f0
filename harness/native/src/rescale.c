/* Requantization, exactly.
 *
 * The definition is round_half_even((sum * multiplier + zero_point * 2^shift) / 2^shift), a ReLU or
 * saturation included. Three ways give the same result:
 * - 64-bit integers, for anything;
 * - float64, where sum * multiplier + zero_point * 2^shift stays below 2^53: each step is then exact
 *   and the one rounding is the processor's own half-even one;
 * - float32 for int8 outputs: the value is off by less than AXR_TIE_GUARD, so only what lies that
 *   close to a tie needs float64. The plan allows it where no result exceeds 2^22.
 */
#include "rescale.h"

#include "lanes.h"

/* Within the int8 range a scaled sum is at most 384 away from 0. The conversion of the sum, the
 * scale and the multiply-add each round by at most 2^-24 of their value: 384 * 2 * 2^-24 + 384 *
 * 2^-24 < 2^-13.8. */
#define AXR_TIE_GUARD 0x1p-13F

typedef double axr_d8_t __attribute__((vector_size(64)));
typedef int32_t axr_i8_t __attribute__((vector_size(32)));

int32_t axr_scale_down(int64_t product, int32_t shift, int32_t zero_point, int32_t low,
                       int32_t high) {
    int64_t lift = (product >> shift) + zero_point;
    lift &= shift > 0;
    lift += ((int64_t)1 << (shift > 0 ? shift - 1 : 0)) - 1;
    lift = ((lift + product) >> shift) + zero_point;
    return lift < low ? low : lift > high ? high : (int32_t)lift;
}

void axr_put(void *to, int64_t index, int32_t bytes, int32_t value) {
    if (bytes == 1) {
        ((int8_t *)to)[index] = (int8_t)value;
    } else if (bytes == 2) {
        ((int16_t *)to)[index] = (int16_t)value;
    } else {
        ((int32_t *)to)[index] = value;
    }
}

static void by_integers(const axr_rescale_t *r, const int32_t *sums, int64_t count, int64_t first,
                        void *to) {
    for (int64_t i = 0; i < count; i++) {
        int64_t at = r->step ? first + i : 0;
        const int32_t *multipliers = r->negative && sums[i] < 0 ? r->negative : r->multiplier;
        int64_t product = (int64_t)sums[i] * multipliers[at];
        if (r->clip_product) {
            product = product < INT32_MIN ? INT32_MIN : product > INT32_MAX ? INT32_MAX : product;
        }
        axr_put(to, i, r->bytes,
                axr_scale_down(product, r->shift[at], r->zero_point, r->low, r->high));
    }
}

AXR_INLINE axr_i8_t half_by_doubles(const axr_rescale_t *r, const int32_t *sums, int64_t at) {
    axr_i8_t whole;
    axr_d8_t scale;
    memcpy(&whole, sums, sizeof whole);
    axr_d8_t value = __builtin_convertvector(whole, axr_d8_t);
    memcpy(&scale, r->scale + at, sizeof scale);
    if (r->negative_scale) {
        double mixed[8];
        for (int i = 0; i < 8; i++) {
            mixed[i] = (sums[i] < 0 ? r->negative_scale : r->scale)[at + i];
        }
        memcpy(&scale, mixed, sizeof scale);
    }
    value = value * scale + (double)r->zero_point;
    value = __builtin_elementwise_roundeven(value);
    value = __builtin_elementwise_max(value, (axr_d8_t){0} + (double)r->low);
    value = __builtin_elementwise_min(value, (axr_d8_t){0} + (double)r->high);
    return __builtin_convertvector(value, axr_i8_t);
}

AXR_INLINE axr_v16_t by_doubles(const axr_rescale_t *r, const int32_t *sums, int64_t at) {
    axr_i8_t low = half_by_doubles(r, sums, at);
    axr_i8_t high = half_by_doubles(r, sums + 8, at + 8);
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

static void store_lanes(axr_v16_t values, int64_t count, int32_t bytes, void *to) {
    if (bytes == 1) {
        axr_b16_t narrow = __builtin_convertvector(values, axr_b16_t);
        if (count >= AXR_LANES) {
            memcpy(to, &narrow, sizeof narrow);
        } else {
            memcpy(to, &narrow, (size_t)count);
        }
        return;
    }
    int32_t lanes[AXR_LANES];
    memcpy(lanes, &values, sizeof lanes);
    for (int64_t i = 0; i < count && i < AXR_LANES; i++) {
        axr_put(to, i, bytes, lanes[i]);
    }
}

#if defined(AXR_AVX512)

/* Adding this to a float below 2^22 rounds it to a whole number, which the lowest bits then are. */
#define AXR_ROUNDER 12582912.0F /* 1.5 * 2^23 */

/* The rounded values of 16 sums, and how far each was from them. */
AXR_INLINE __m512i rounded(const axr_rescale_t *r, const int32_t *sums, int64_t at, __m512 *away) {
    const __m512 scale = _mm512_loadu_ps(r->scale32 + at);
    const __m512 offset = _mm512_set1_ps((float)r->zero_point + AXR_ROUNDER);
    const __m512 value = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums));
    const __m512 shifted = _mm512_fmadd_ps(value, scale, offset);
    *away = _mm512_fmadd_ps(value, scale, _mm512_sub_ps(offset, shifted));
    return _mm512_sub_epi32(_mm512_castps_si512(shifted),
                            _mm512_castps_si512(_mm512_set1_ps(AXR_ROUNDER)));
}

/* Whether a value may lie on the other side of a tie; lanes as a mask. `away` is its distance from
 * the nearest whole number. */
AXR_INLINE __mmask16 near_tie(__m512 away) {
    return _mm512_cmp_ps_mask(_mm512_abs_ps(away), _mm512_set1_ps(0.5F - AXR_TIE_GUARD),
                              _CMP_GT_OQ);
}

AXR_INLINE __m128i by_floats(const axr_rescale_t *r, const int32_t *sums, int64_t at) {
    __m512 away;
    const __m512i whole = rounded(r, sums, at, &away);
    if (__builtin_expect(near_tie(away) != 0, 0)) {
        return _mm512_cvtsepi32_epi8((__m512i)by_doubles(r, sums, at));
    }
    return _mm512_cvtsepi32_epi8(whole);
}

/* Four blocks of 16 whole numbers, in order, as bytes. */
AXR_INLINE __m512i pack_four(const axr_rescale_t *r, const __m512i whole[4]) {
    const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(whole[0], whole[1]),
                                              _mm512_packs_epi32(whole[2], whole[3]));
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_max_epi8(_mm512_permutexvar_epi32(order, packed),
                           _mm512_set1_epi8((char)r->low));
}

/* Apart, so that what is needed once in a hundred times takes no registers from the rest. */
static __attribute__((noinline, cold)) __m512i four_by_doubles(const axr_rescale_t *r,
                                                               const int32_t *const sums[4],
                                                               const int64_t at[4]) {
    __m512i whole[4];
    for (int k = 0; k < 4; k++) {
        whole[k] = (__m512i)by_doubles(r, sums[k], at[k]);
    }
    return pack_four(r, whole);
}

AXR_INLINE __m512i four_by_floats(const axr_rescale_t *r, const int32_t *const sums[4],
                                  const int64_t at[4]) {
    __m512 away[4];
    __m512i whole[4];
    for (int k = 0; k < 4; k++) {
        whole[k] = rounded(r, sums[k], at[k], &away[k]);
    }
    /* 11 = the larger magnitude, without its sign. */
    const __m512 farthest = _mm512_range_ps(_mm512_range_ps(away[0], away[1], 11),
                                            _mm512_range_ps(away[2], away[3], 11), 11);
    if (__builtin_expect(near_tie(farthest) != 0, 0)) {
        return four_by_doubles(r, sums, at);
    }
    return pack_four(r, whole);
}

static void row_by_floats(const axr_rescale_t *r, const int32_t *sums, int64_t count,
                          int64_t first, int8_t *to) {
    int64_t i = 0;
    int64_t base = r->step ? first : 0;
    for (; i + 64 <= count; i += 64) {
        const int32_t *const four[4] = {sums + i, sums + i + 16, sums + i + 32, sums + i + 48};
        int64_t at = r->step ? base + i : 0, step = r->step;
        const int64_t places[4] = {at, at + step, at + 2 * step, at + 3 * step};
        _mm512_storeu_si512(to + i, four_by_floats(r, four, places));
    }
    for (; i < count; i += AXR_LANES) {
        __m128i narrow = by_floats(r, sums + i, r->step ? base + i : 0);
        narrow = _mm_max_epi8(narrow, _mm_set1_epi8((char)r->low));
        int64_t left = count - i;
        __mmask16 mask = left >= AXR_LANES ? (__mmask16)0xFFFF : (__mmask16)((1U << left) - 1U);
        _mm_mask_storeu_epi8(to + i, mask, narrow);
    }
}

/* Up to 16 channels of four pixels, or up to 32 of two, at a time; the number of pixels done. */
static int64_t pixels_by_floats(const axr_rescale_t *r, const int32_t *sums, int64_t pixels,
                                int64_t channels, int64_t stride, int64_t first, int8_t *to,
                                int64_t out_stride) {
    int64_t done = 0, base = r->step ? first : 0, step = r->step;
    if (channels <= 16) {
        const int64_t places[4] = {base, base, base, base};
        const __mmask16 mask = (__mmask16)((1U << channels) - 1U);
        for (; done + 4 <= pixels; done += 4) {
            const int32_t *from = sums + done * stride;
            const int32_t *const four[4] = {from, from + stride, from + 2 * stride,
                                            from + 3 * stride};
            __m512i out = four_by_floats(r, four, places);
            int8_t *place = to + done * out_stride;
            if (channels == 16 && out_stride == 16) {
                _mm512_storeu_si512(place, out);
                continue;
            }
            _mm_mask_storeu_epi8(place, mask, _mm512_castsi512_si128(out));
            _mm_mask_storeu_epi8(place + out_stride, mask, _mm512_extracti32x4_epi32(out, 1));
            _mm_mask_storeu_epi8(place + 2 * out_stride, mask, _mm512_extracti32x4_epi32(out, 2));
            _mm_mask_storeu_epi8(place + 3 * out_stride, mask, _mm512_extracti32x4_epi32(out, 3));
        }
    } else if (channels <= 32) {
        const int64_t places[4] = {base, base + step, base, base + step};
        const __mmask32 mask = (__mmask32)((1ULL << channels) - 1U);
        for (; done + 2 <= pixels; done += 2) {
            const int32_t *from = sums + done * stride;
            const int32_t *const four[4] = {from, from + 16, from + stride, from + stride + 16};
            __m512i out = four_by_floats(r, four, places);
            int8_t *place = to + done * out_stride;
            _mm256_mask_storeu_epi8(place, mask, _mm512_castsi512_si256(out));
            _mm256_mask_storeu_epi8(place + out_stride, mask, _mm512_extracti64x4_epi64(out, 1));
        }
    }
    return done;
}

#endif

static void row_by_doubles(const axr_rescale_t *r, const int32_t *sums, int64_t count,
                           int64_t first, uint8_t *to) {
    for (int64_t i = 0; i < count; i += AXR_LANES) {
        axr_v16_t values = by_doubles(r, sums + i, r->step ? first + i : 0);
        store_lanes(values, count - i, r->bytes, to + i * r->bytes);
    }
}

void axr_rescale(const axr_rescale_t *r, const int32_t *sums, int64_t pixels, int64_t channels,
                 int64_t stride, int64_t first, void *to, int64_t out_stride) {
    uint8_t *out = to;
    int64_t pixel = 0;
#if defined(AXR_AVX512)
    if (r->kind == AXR_RESCALE_FLOAT) {
        pixel = pixels_by_floats(r, sums, pixels, channels, stride, first, to, out_stride);
        for (; pixel < pixels; pixel++) {
            row_by_floats(r, sums + pixel * stride, channels, first,
                          (int8_t *)to + pixel * out_stride);
        }
        return;
    }
#endif
    for (; pixel < pixels; pixel++) {
        const int32_t *row = sums + pixel * stride;
        uint8_t *place = out + pixel * out_stride * r->bytes;
        if (r->kind == AXR_RESCALE_INTEGER) {
            by_integers(r, row, channels, first, place);
        } else {
            row_by_doubles(r, row, channels, first, place);
        }
    }
}
