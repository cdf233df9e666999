/* Attention of one token over paged keys and values.
 *
 * Every token reads its own context from its first slot to its last, whether it is decoded,
 * verified or one of a prefill chunk: its result is the same to the bit in all of them. */
#pragma once

#include <math.h>

#include "rows.h"

#define MOST_QUERIES 4 /* query heads that share a pass over the values */
#define VECTORS STRIP  /* vectors of a head's channels in such a pass */
#define QUERIES STRIP  /* query heads that share a pass over the keys */
#define AHEAD 8192     /* bytes that memory is asked for before they are read */

typedef struct {
    void *data;   /* float or int8 [layers][2 * kv_heads][pages][page_size][head] */
    float *scale; /* int8: [layers][2 * kv_heads][pages][page_size] */
    int64_t pages;
    int32_t page_size, head, kv_heads, int8;
} Cache;

/* The first slot of a page: `row` is layer * 2 * kv_heads + head, values kv_heads further on. */
INLINE size_t slot_of(const Cache *cache, int64_t row, int32_t page) {
    return (size_t)((row * cache->pages + page) * cache->page_size);
}

/* Pages of a head's keys, and then of its values, in the order that a token reads them. */
typedef struct {
    const Cache *cache;
    const int32_t *table;
    int64_t row;
    int pages, distance;
} Walk;

INLINE Walk walk(const Cache *cache, int int8, int64_t row, const int32_t *table, int context) {
    int page = cache->page_size * cache->head * (int8 ? 1 : (int)sizeof(float));
    return (Walk){cache, table, row, (context + cache->page_size - 1) / cache->page_size,
                  (AHEAD + page - 1) / page};
}

/* The slots that are read some pages after page `number`, or the last ones. */
INLINE size_t slot_ahead(const Walk *walk, int number) {
    int64_t row = walk->row;
    number += walk->distance;
    if (number >= walk->pages) {
        row += walk->cache->kv_heads;
        number -= walk->pages;
    }
    return slot_of(walk->cache, row, walk->table[number < walk->pages ? number : walk->pages - 1]);
}

/* Ask memory for some slots, into the second cache: pages lie anywhere, where hardware does not
 * look by itself, and the first cache can wait for few lines at once. */
INLINE void ask(const Cache *cache, int int8, size_t at, int slots) {
    size_t width = (size_t)cache->head * (int8 ? 1 : sizeof(float));
    const char *from = (const char *)cache->data + at * width;
    if (int8) _mm_prefetch((const char *)(cache->scale + at), _MM_HINT_T1);
    for (size_t i = 0; i < width * (size_t)slots; i += 64) _mm_prefetch(from + i, _MM_HINT_T1);
}

static void cache_write(const Cache *cache, int64_t row, int32_t page, int slot, const float *x) {
    size_t at = slot_of(cache, row, page) + (size_t)slot;
    if (cache->int8)
        cache->scale[at] = quantize(x, (int8_t *)cache->data + at * cache->head, cache->head);
    else
        memcpy((float *)cache->data + at * cache->head, x, (size_t)cache->head * sizeof(float));
}

/* A slot's floats: where they lie, or made of its codes in x [head]. */
static const float *cache_read(const Cache *cache, int64_t row, int32_t page, int slot, float *x) {
    size_t at = slot_of(cache, row, page) + (size_t)slot;
    if (!cache->int8) return (const float *)cache->data + at * cache->head;
    const int8_t *codes = (const int8_t *)cache->data + at * cache->head;
    vf scale = vf_set(cache->scale[at]);
    for (int i = 0; i < cache->head; i += LANES)
        vf_store(x + i, vf_mul(vf_load_i8(codes + i), scale));
    return x;
}

/* `int8` is cache->int8, as a constant where these are inlined. */
INLINE vf element(const Cache *cache, int int8, size_t at, int i) {
    return int8 ? vf_load_i8((const int8_t *)cache->data + at * cache->head + i)
                       : vf_load((const float *)cache->data + at * cache->head + i);
}

/* scores[g][s] = q[g] . k[s] for `slots` (at most four) slots from `at`, of `queries` heads. */
INLINE void score_slots(const Cache *cache, int int8, const float *q, int queries, size_t at,
                        int slots, float *scores, int stride) {
    vf sums[QUERIES][4];
    for (int g = 0; g < queries; g++)
        for (int s = 0; s < 4; s++) sums[g][s] = vf_zero();
    for (int i = 0; i < cache->head; i += LANES) {
        vf k[4];
        for (int s = 0; s < 4; s++) k[s] = s < slots ? element(cache, int8, at + s, i) : vf_zero();
        for (int g = 0; g < queries; g++) {
            vf value = vf_load(q + (size_t)g * cache->head + i);
            for (int s = 0; s < 4; s++) sums[g][s] = vf_fma(value, k[s], sums[g][s]);
        }
    }
    __m128 scales = _mm_set1_ps(1.0f);
    if (int8) {
        float scale[4] = {0};
        memcpy(scale, cache->scale + at, (size_t)slots * sizeof(float));
        scales = _mm_loadu_ps(scale);
    }
    for (int g = 0; g < queries; g++) {
        float four[4];
        __m128 sum = vf_sum4(sums[g][0], sums[g][1], sums[g][2], sums[g][3]);
        _mm_storeu_ps(four, int8 ? _mm_mul_ps(sum, scales) : sum);
        memcpy(scores + (size_t)g * stride, four, (size_t)slots * sizeof(float));
    }
}

INLINE void score_page(const Cache *cache, int int8, const float *q, int queries, size_t at,
                       int slots, float *scores, int stride, size_t ahead) {
    int s = 0;
    for (; s + 4 <= slots; s += 4) {
        ask(cache, int8, ahead + (size_t)s, 4);
        score_slots(cache, int8, q, queries, at + s, 4, scores + s, stride);
    }
    if (s < slots) score_slots(cache, int8, q, queries, at + s, slots - s, scores + s, stride);
}

/* Scores of `queries` heads, some at a time, against all slots of a context. */
INLINE void score(const Cache *cache, int int8, int64_t row, const int32_t *table, int context,
                  const float *q, int queries, float *scores, int stride) {
    Walk to = walk(cache, int8, row, table, context);
    for (int first = 0; first < context; first += cache->page_size) {
        size_t at = slot_of(cache, row, table[first / cache->page_size]);
        size_t ahead = slot_ahead(&to, first / cache->page_size);
        int slots = context - first < cache->page_size ? context - first : cache->page_size;
        int g = 0;
        for (; g + QUERIES <= queries; g += QUERIES)
            score_page(cache, int8, q + (size_t)g * cache->head, QUERIES, at, slots,
                       scores + (size_t)g * stride + first, stride, ahead);
        for (; g < queries; g++)
            score_page(cache, int8, q + (size_t)g * cache->head, 1, at, slots,
                       scores + (size_t)g * stride + first, stride, ahead);
    }
}

/* In place: e^(score - largest) over n scores, zeros up to the next sixteen; returns their sum. */
static float soften(float *scores, int n) {
    int end = (n + LANES - 1) / LANES * LANES;
    for (int i = n; i < end; i++) scores[i] = scores[0];
    vf most = vf_load(scores);
    for (int i = LANES; i < end; i += LANES) most = vf_max(most, vf_load(scores + i));
    vf largest = vf_set(vf_largest(most)), sum = vf_zero();
    for (int i = 0; i < end; i += LANES) {
        vf_store(scores + i, vf_exp(vf_sub(vf_load(scores + i), largest)));
        for (int j = n; j < i + LANES && i + LANES == end; j++) scores[j] = 0.0f;
        sum = vf_add(sum, vf_load(scores + i));
    }
    return vf_sum(sum);
}

/* out[g][channel ...] += sum over a page's slots of weight[g][s] * v[s], for some channels; where
 * it `begins`, there is nothing in `out` yet. */
INLINE void mix_page(const Cache *cache, int int8, size_t at, int slots, const float *weights,
                     int stride, float *out, int queries, int channel, int vectors, int begins,
                     size_t ahead) {
    vf sums[MOST_QUERIES][VECTORS];
    for (int g = 0; g < queries; g++)
        for (int i = 0; i < vectors; i++)
            sums[g][i] = begins ? vf_zero() : vf_load(out + (size_t)g * cache->head + i * LANES);
    for (int s = 0; s < slots; s++) {
        if (channel == 0) ask(cache, int8, ahead + (size_t)s, 1);
        vf v[VECTORS];
        for (int i = 0; i < vectors; i++) v[i] = element(cache, int8, at + s, channel + i * LANES);
        float scale = int8 ? cache->scale[at + s] : 1.0f;
        for (int g = 0; g < queries; g++) {
            float weight = weights[(size_t)g * stride + s];
            vf by = vf_set(int8 ? weight * scale : weight);
            for (int i = 0; i < vectors; i++) sums[g][i] = vf_fma(by, v[i], sums[g][i]);
        }
    }
    for (int g = 0; g < queries; g++)
        for (int i = 0; i < vectors; i++)
            vf_store(out + (size_t)g * cache->head + i * LANES, sums[g][i]);
}

/* out[g] = sum over slots of weight[g][s] * v[s] / total[g]. All channels of a page before the next
 * one: it is read once from memory, and then from the first cache. */
INLINE void mix(const Cache *cache, int int8, int64_t row, const int32_t *table, int context,
                const float *weights, int stride, const float *total, float *out, int queries) {
    Walk to = walk(cache, int8, row - cache->kv_heads, table, context);
    for (int first = 0; first < context; first += cache->page_size) {
        size_t at = slot_of(cache, row, table[first / cache->page_size]);
        size_t ahead = slot_ahead(&to, to.pages + first / cache->page_size);
        int slots = context - first < cache->page_size ? context - first : cache->page_size;
        int channel = 0;
#define MIX(G, V) \
    mix_page(cache, int8, at, slots, weights + first, stride, out + channel, G, channel, V, \
             first == 0, ahead)
#define MIX_ALL(V) \
    switch (queries) { case 1: MIX(1, V); break; case 2: MIX(2, V); break; \
                       case 3: MIX(3, V); break; default: MIX(4, V); }
        for (; channel + VECTORS * LANES <= cache->head; channel += VECTORS * LANES)
            MIX_ALL(VECTORS)
        for (; channel < cache->head; channel += LANES) MIX_ALL(1)
#undef MIX_ALL
#undef MIX
    }
    for (int g = 0; g < queries; g++)
        for (int i = 0; i < cache->head; i += LANES) {
            float *at = out + (size_t)g * cache->head + i;
            vf_store(at, vf_div(vf_load(at), vf_set(total[g])));
        }
}

INLINE void attend_in(const Cache *cache, int int8, int layer, int kv_head, const int32_t *table,
                      int context, const float *q, int queries, float *out, float *scratch) {
    int64_t row = (int64_t)layer * 2 * cache->kv_heads + kv_head;
    int stride = (context + LANES - 1) / LANES * LANES;
    float total[MOST_QUERIES];
    score(cache, int8, row, table, context, q, queries, scratch, stride);
    for (int g = 0; g < queries; g += MOST_QUERIES) {
        int some = queries - g < MOST_QUERIES ? queries - g : MOST_QUERIES;
        float *weights = scratch + (size_t)g * stride;
        for (int i = 0; i < some; i++) total[i] = soften(weights + (size_t)i * stride, context);
        mix(cache, int8, row + cache->kv_heads, table, context, weights, stride, total,
            out + (size_t)g * cache->head, some);
    }
}

/* Query heads q [queries][head] of one kv head (scaled already) over `context` slots.
 * `scratch` holds queries * (context + 15) floats. */
static void attend(const Cache *cache, int layer, int kv_head, const int32_t *table, int context,
                   const float *q, int queries, float *out, float *scratch) {
    if (cache->int8) attend_in(cache, 1, layer, kv_head, table, context, q, queries, out, scratch);
    else attend_in(cache, 0, layer, kv_head, table, context, q, queries, out, scratch);
}
