/* What is done to one row at a time: norms, quantizing, rotary embedding, the gated activation. */
#pragma once

#include <math.h>
#include <string.h>

#include "linear.h"

/* y = x / sqrt(mean(x^2) + eps) * weight; y may be x. n: a multiple of sixteen. */
static void rms_norm(const float *x, const float *weight, float *y, int n, float eps) {
    vf squares = vf_zero();
    for (int i = 0; i < n; i += LANES) {
        vf value = vf_load(x + i);
        squares = vf_fma(value, value, squares);
    }
    vf factor = vf_set(1.0f / sqrtf(vf_sum(squares) / (float)n + eps));
    for (int i = 0; i < n; i += LANES)
        vf_store(y + i, vf_mul(vf_mul(vf_load(x + i), factor), vf_load(weight + i)));
}

/* q = round(x * 127 / largest), scale = largest / 127; all zeros have scale 0. */
static float quantize(const float *x, int8_t *q, int n) {
    vf most = vf_zero();
    for (int i = 0; i < n; i += LANES) most = vf_max(most, vf_abs(vf_load(x + i)));
    float largest = vf_largest(most);
    vf factor = vf_set(largest > 0.0f ? 127.0f / largest : 0.0f);
    for (int i = 0; i < n; i += LANES) vf_store_i8(q + i, vf_mul(vf_load(x + i), factor));
    return largest / 127.0f;
}

/* A row as int8 for a linear: zeros up to `stride`, and the sum of each group of 128. */
static void quantize_input(const float *x, int n, int8_t *q, int stride, float *scale,
                           int32_t *sums) {
    *scale = quantize(x, q, n);
    memset(q + n, 0, (size_t)(stride - n));
    for (int g = 0; g * GROUP < stride; g++) {
        int32_t sum = 0;
        for (int i = 0; i < GROUP; i++) sum += q[g * GROUP + i];
        sums[g] = sum;
    }
}

/* Rotate each pair (i, i + n / 2) by its angle, then multiply by `factor`. */
static void rotate(float *x, const float *cosine, const float *sine, int n, float factor) {
    int half = n / 2;
    vf by = vf_set(factor);
    for (int i = 0; i < half; i += LANES) {
        vf a = vf_load(x + i), b = vf_load(x + half + i);
        vf c = vf_load(cosine + i), s = vf_load(sine + i);
        vf_store(x + i, vf_mul(vf_sub(vf_mul(a, c), vf_mul(b, s)), by));
        vf_store(x + half + i, vf_mul(vf_fma(a, s, vf_mul(b, c)), by));
    }
}

/* y = gate / (1 + e^-gate) * up */
static void gated(const float *gate, const float *up, float *y, int n) {
    vf one = vf_set(1.0f);
    for (int i = 0; i < n; i += LANES) {
        vf g = vf_load(gate + i);
        vf silu = vf_div(g, vf_add(one, vf_exp(vf_sub(vf_zero(), g))));
        vf_store(y + i, vf_mul(silu, vf_load(up + i)));
    }
}
