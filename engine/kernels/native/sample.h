/* Picking tokens as engine/sampling.py does: argmax((logit - largest) / T + g), where Gumbel noise g
 * is a hash of (seed, position, token). The arithmetic is the same, in double; but two logarithms a
 * token are only taken for the few that can win. */
#pragma once

#include <math.h>
#include <string.h>

#include "simd.h"

typedef struct {
    int64_t seed, position;
    double temperature; /* 0: the largest logit, the lowest id on ties */
} Pick;

static inline uint32_t scramble(uint32_t x) {
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    return x ^ x >> 16;
}

/* Two words that name (seed, position). */
static uint64_t row_key(const Pick *pick) {
    uint64_t x = (uint64_t)pick->seed * 0x9E3779B97F4A7C15u +
                 (uint64_t)pick->position * 0xD1B54A32D192ED03u + 0x8CB92BA72F3D8DD7u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static inline uint32_t word(uint64_t key, uint32_t id) {
    return scramble(scramble(id * 0x9E3779B1u ^ (uint32_t)key) + (uint32_t)(key >> 32));
}

/* The first of the largest. */
static int largest_of(const float *values, int n) {
    float most = values[0];
    int whole = n / LANES * LANES, i = 0;
    if (whole) {
        vf lanes = vf_load(values);
        for (i = LANES; i < whole; i += LANES) lanes = vf_max(lanes, vf_load(values + i));
        most = vf_largest(lanes);
    }
    for (i = whole; i < n; i++) most = values[i] > most ? values[i] : most;
    for (i = 0; i < n && values[i] != most;) i++;
    return i < n ? i : 0; /* where they are not numbers, any is as good */
}

/* No less than a token's score, and hardly more: with v = 1 - u and e = floor(log2 v), the noise
 * -log(-log u) is at most -log v, which is at most -e log 2. One more for the conversion, which may
 * round v up to the next power, and a little for float. */
static inline float bound(float heated, uint32_t word) {
    float v = (float)(int32_t)(~word >> 1); /* in units of 2^-31; 0 gives a bound beyond all */
    int32_t bits;
    memcpy(&bits, &v, 4);
    int exponent = (bits >> 23) - 127;
    return heated + (float)(32 - exponent) * 0.6931472f + 1e-3f - 1e-5f * heated;
}

static double token_score(float logit, float largest, double temperature, uint32_t word) {
    double uniform = ((double)word + 0.5) * 0x1p-32;
    return ((double)logit - (double)largest) / temperature - log(-log(uniform));
}

/* The token of a row of logits; `bounds` has room for as many. */
static int pick_token(const float *logits, int vocab, const Pick *pick, float *bounds) {
    int top = largest_of(logits, vocab);
    if (pick->temperature <= 0) return top;
    uint64_t key = row_key(pick);
    float largest = logits[top], per = (float)fmin(1.0 / pick->temperature, 1e30);
    for (int i = 0; i < vocab; i++) {
        float heated = (logits[i] - largest) * per;
        bounds[i] = bound(heated > -1e30f ? heated : -1e30f, word(key, (uint32_t)i));
    }
    /* Whatever has the highest bound is good enough to rule out nearly all others. */
    int first = largest_of(bounds, vocab), best = first;
    double most = token_score(logits[first], largest, pick->temperature, word(key, (uint32_t)first));
    for (int i = 0; i < vocab; i++) {
        /* Sixteen at a time, as nearly all are out. */
        while (i + LANES <= vocab && vf_largest(vf_load(bounds + i)) < most) i += LANES;
        if (i == vocab) break;
        if (bounds[i] < most || i == first) continue;
        double found = token_score(logits[i], largest, pick->temperature, word(key, (uint32_t)i));
        if (found > most || (found == most && i < best)) {
            most = found;
            best = i;
        }
    }
    return best;
}
