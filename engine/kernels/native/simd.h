/* Sixteen lanes of float or int32: one AVX-512 register, or a pair of AVX2 ones.
 *
 * Everything that has to come out the same on both, or for any number of rows, is written on
 * these: each function is one fixed sequence of roundings. */
#pragma once

#include <immintrin.h>
#include <stdint.h>

#define LANES 16
#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512VNNI__)
#define ISA "avx512"
#define STRIP 4     /* panels of sixteen output channels that a row block works on at once */
#define MOST_ROWS 6 /* rows of a block: STRIP * MOST_ROWS accumulators fit the registers */

typedef __m512 vf;
typedef __m512i vi;

INLINE vf vf_zero(void) { return _mm512_setzero_ps(); }
INLINE vf vf_set(float x) { return _mm512_set1_ps(x); }
INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vi vi_set(int32_t x) { return _mm512_set1_epi32(x); }
INLINE vi vf_to_int(vf a) { return _mm512_cvtps_epi32(a); }
INLINE vf vi_to_float(vi a) { return _mm512_cvtepi32_ps(a); }
/* 2^n for whole n in [-126, 127]. */
INLINE vf vf_exp2(vi n) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
INLINE vf vf_load_bf16(const uint16_t *p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
INLINE vf vf_load_i8(const int8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
INLINE void vf_store_i8(int8_t *p, vf x) {
    _mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
}
INLINE __m256 vf_half(vf a, int upper) {
    return upper ? _mm256_castsi256_ps(_mm512_extracti64x4_epi64(_mm512_castps_si512(a), 1))
                 : _mm512_castps512_ps256(a);
}

/* Sixteen dot products of four: weights as unsigned bytes, 64 of them; activations signed. */
typedef __m512i vb;
#define DOT_OFFSET 128 /* unsigned weights are 128 more than they mean */
INLINE vb vb_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
INLINE vb vb_low(vb w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
INLINE vb vb_high(vb w) { return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15)); }
INLINE vi vi_dot(vi sum, vb w, int32_t x) { return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x)); }
#define vi_dot_small vi_dot

#else
#define ISA "avx2"
#define STRIP 1
#define MOST_ROWS 4

typedef struct { __m256 a, b; } vf;
typedef struct { __m256i a, b; } vi;
#define BOTH(type, expression_a, expression_b) ((type){expression_a, expression_b})

INLINE vf vf_zero(void) { return BOTH(vf, _mm256_setzero_ps(), _mm256_setzero_ps()); }
INLINE vf vf_set(float x) { return BOTH(vf, _mm256_set1_ps(x), _mm256_set1_ps(x)); }
INLINE vf vf_load(const float *p) { return BOTH(vf, _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
INLINE void vf_store(float *p, vf x) { _mm256_storeu_ps(p, x.a); _mm256_storeu_ps(p + 8, x.b); }
INLINE vf vf_add(vf x, vf y) { return BOTH(vf, _mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
INLINE vf vf_sub(vf x, vf y) { return BOTH(vf, _mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
INLINE vf vf_mul(vf x, vf y) { return BOTH(vf, _mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
INLINE vf vf_div(vf x, vf y) { return BOTH(vf, _mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
INLINE vf vf_max(vf x, vf y) { return BOTH(vf, _mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)); }
INLINE vf vf_min(vf x, vf y) { return BOTH(vf, _mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)); }
INLINE vf vf_abs(vf x) {
    __m256 mask = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    return BOTH(vf, _mm256_and_ps(x.a, mask), _mm256_and_ps(x.b, mask));
}
INLINE vf vf_fma(vf x, vf y, vf z) {
    return BOTH(vf, _mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}
INLINE vf vf_round(vf x) {
    return BOTH(vf, _mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE vi vi_set(int32_t x) { return BOTH(vi, _mm256_set1_epi32(x), _mm256_set1_epi32(x)); }
INLINE vi vf_to_int(vf x) { return BOTH(vi, _mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)); }
INLINE vf vi_to_float(vi x) { return BOTH(vf, _mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)); }
INLINE __m256 exp2_half(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
INLINE vf vf_exp2(vi n) { return BOTH(vf, exp2_half(n.a), exp2_half(n.b)); }
INLINE __m256 bf16_half(const uint16_t *p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
INLINE vf vf_load_bf16(const uint16_t *p) { return BOTH(vf, bf16_half(p), bf16_half(p + 8)); }
INLINE __m256 i8_half(const int8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
INLINE vf vf_load_i8(const int8_t *p) { return BOTH(vf, i8_half(p), i8_half(p + 8)); }
INLINE void vf_store_i8(int8_t *p, vf x) {
    __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)p, bytes);
}
INLINE __m256 vf_half(vf x, int upper) { return upper ? x.b : x.a; }

typedef struct { __m256i a, b; } vb;
#define DOT_OFFSET 0 /* weights are made signed again below */
INLINE vb vb_load(const uint8_t *p) {
    return BOTH(vb, _mm256_loadu_si256((const __m256i *)p), _mm256_loadu_si256((const __m256i *)(p + 32)));
}
INLINE vb vb_low(vb w) {
    __m256i mask = _mm256_set1_epi8(15);
    return BOTH(vb, _mm256_and_si256(w.a, mask), _mm256_and_si256(w.b, mask));
}
INLINE vb vb_high(vb w) {
    __m256i mask = _mm256_set1_epi8(15);
    return BOTH(vb, _mm256_and_si256(_mm256_srli_epi16(w.a, 4), mask),
                _mm256_and_si256(_mm256_srli_epi16(w.b, 4), mask));
}
/* |w| * (x with w's sign): both at most 127, so that no pair saturates sixteen bits. */
INLINE __m256i dot_half(__m256i sum, __m256i w, __m256i x) {
    __m256i real = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(real), _mm256_sign_epi8(x, real));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
INLINE vi vi_dot(vi sum, vb w, int32_t x) {
    __m256i four = _mm256_set1_epi32(x);
    return BOTH(vi, dot_half(sum.a, w.a, four), dot_half(sum.b, w.b, four));
}
/* Weights below 16 are far from saturating as they are. */
INLINE __m256i dot_small_half(__m256i sum, __m256i w, __m256i x) {
    __m256i pairs = _mm256_maddubs_epi16(w, x);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
INLINE vi vi_dot_small(vi sum, vb w, int32_t x) {
    __m256i four = _mm256_set1_epi32(x);
    return BOTH(vi, dot_small_half(sum.a, w.a, four), dot_small_half(sum.b, w.b, four));
}
#endif

/* Sums of the lanes of four vectors, and of one: always in the same order, ((0+2)+(1+3)) of each
 * four lanes, then the fours as (first + second) + (third + fourth). */
INLINE __m256 fold_half(__m256 a, __m256 b, __m256 c, __m256 d) {
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    __m256d low = _mm256_unpacklo_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd));
    __m256d high = _mm256_unpackhi_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd));
    return _mm256_add_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
}
INLINE __m128 fold_fours(__m256 x) {
    return _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
}
INLINE __m128 vf_sum4(vf a, vf b, vf c, vf d) {
#if STRIP == 4
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512d low = _mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    __m512d high = _mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd));
    vf sums = _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high));
    return _mm_add_ps(fold_fours(vf_half(sums, 0)), fold_fours(vf_half(sums, 1)));
#else
    return _mm_add_ps(fold_fours(fold_half(a.a, b.a, c.a, d.a)),
                      fold_fours(fold_half(a.b, b.b, c.b, d.b)));
#endif
}
INLINE float vf_sum(vf x) { return _mm_cvtss_f32(vf_sum4(x, x, x, x)); }
INLINE float vf_largest(vf x) {
    __m256 eight = _mm256_max_ps(vf_half(x, 0), vf_half(x, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

/* e^x to about one unit in the last place; 0 far below, finite far above. Range reduction by
 * ln 2 in two parts and a polynomial of degree six. */
INLINE vf vf_exp(vf x) {
    x = vf_max(vf_min(x, vf_set(88.0f)), vf_set(-87.3f));
    vf n = vf_round(vf_mul(x, vf_set(1.44269504088896341f)));
    vf r = vf_fma(n, vf_set(-0.693359375f), x);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    vf y = vf_fma(vf_mul(r, r), p, vf_add(r, vf_set(1.0f)));
    return vf_mul(y, vf_exp2(vf_to_int(n)));
}
