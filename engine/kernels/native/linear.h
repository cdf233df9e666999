/* Linear layers over weights that are packed in panels of sixteen output channels.
 *
 *   fp32, bf16  [panels][in][16]
 *   int8        [panels][in / 4][16][4]   bytes, 128 more than they mean
 *   int4        [panels][in / 128]{ [16][16][4] bytes: low halves are k, high halves k + 64;
 *                                   8 more than they mean; [16] float scales }
 *
 * `in` is padded with zeros to whole steps. A panel's sums run over k in order, whatever rows
 * are beside: a row's result is the same to the bit in any batch. */
#pragma once

#include <string.h>

#include "simd.h"

enum { FP32, BF16, INT8, INT4 };
#define GROUP 128
#define MOST_INT_ROWS 4 /* of a block; with more the compiler keeps sums in memory, half as fast */
#define GROUP_BYTES (GROUP / 2 * LANES + LANES * 4)

typedef struct {
    int32_t format, in, out; /* in: padded; out: a multiple of sixteen */
    const void *weight;
    const float *scale; /* int8: [out] */
    const float *bias;  /* [out], or null */
} Linear;

/* Rows as a linear reads them: floats, or int8 with a scale a row and sums a group. */
typedef struct {
    const float *x;       /* [rows][stride] */
    const int8_t *q;      /* [rows][stride] */
    const float *scale;   /* [rows] */
    const int32_t *sums;  /* [rows][groups] of q */
    int32_t stride, groups; /* of a row of q, of sums */
} Input;

typedef struct {
    float *y; /* [rows][stride] */
    int32_t stride;
    int32_t add; /* add to what y holds */
} Output;

INLINE void put(const Linear *l, const Output *out, int row, int channel, vf y) {
    float *to = out->y + (size_t)row * out->stride + channel;
    if (l->bias) y = vf_add(y, vf_load(l->bias + channel));
    if (out->add) y = vf_add(vf_load(to), y);
    vf_store(to, y);
}

/* Bytes of a panel. */
INLINE size_t panel_bytes(const Linear *l) {
    size_t inputs = (size_t)l->in * LANES;
    switch (l->format) {
    case FP32: return inputs * 4;
    case BF16: return inputs * 2;
    case INT8: return inputs;
    default: return inputs / LANES / GROUP * GROUP_BYTES;
    }
}

#define DISTANCE 2048 /* bytes of a panel that memory is asked for before they are read */

/* What comes after what a block reads: itself, `distance` bytes on, then the strip `next`. */
typedef struct {
    const char *here, *next;
    size_t panel, distance; /* bytes of a panel; whole ones where only `next` is wanted */
} Ahead;

/* Ask memory for a line of each panel, when `at` bytes into them are read. Hardware looks ahead by
 * itself, but not over the ends of panels, and not while only sums are at work. */
INLINE void ask_weights(const Ahead *ahead, int panels, size_t at) {
    size_t to = at + ahead->distance;
    const char *from = to < ahead->panel ? ahead->here + to : ahead->next + (to - ahead->panel);
    for (int p = 0; p < panels; p++)
        _mm_prefetch(from + (size_t)p * ahead->panel, _MM_HINT_T1);
}

/* One block: `rows` (constant where inlined) rows from `row` by `panels` panels from `panel`. */
INLINE void float_block(const Linear *l, const Input *in, const Output *out, int row, int rows,
                        int panel, int panels, const Ahead *ahead, int bf16) {
    vf sums[MOST_ROWS][STRIP];
    size_t step = (size_t)l->in * LANES;
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) sums[r][p] = vf_zero();
    const float *w32 = (const float *)l->weight + panel * step;
    const uint16_t *w16 = (const uint16_t *)l->weight + panel * step;
    const float *x = in->x + (size_t)row * in->stride;
    for (int k = 0; k < l->in; k++) {
        ask_weights(ahead, panels, (size_t)k * LANES * (bf16 ? 2 : 4));
        vf w[STRIP];
        for (int p = 0; p < panels; p++)
            w[p] = bf16 ? vf_load_bf16(w16 + p * step + (size_t)k * LANES)
                        : vf_load(w32 + p * step + (size_t)k * LANES);
        for (int r = 0; r < rows; r++) {
            vf value = vf_set(x[(size_t)r * in->stride + k]);
            for (int p = 0; p < panels; p++) sums[r][p] = vf_fma(value, w[p], sums[r][p]);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) put(l, out, row + r, (panel + p) * LANES, sums[r][p]);
}

INLINE int32_t four(const int8_t *q) {
    int32_t value;
    memcpy(&value, q, 4);
    return value;
}

INLINE void int8_block(const Linear *l, const Input *in, const Output *out, int row, int rows,
                       int panel, int panels, const Ahead *ahead) {
    vi sums[MOST_ROWS][STRIP];
    size_t step = (size_t)l->in * LANES;
    const uint8_t *weight = (const uint8_t *)l->weight + panel * step;
    const int8_t *q = in->q + (size_t)row * in->stride;
    for (int r = 0; r < rows; r++) {
        int32_t total = 0;
        for (int g = 0; g * GROUP < l->in; g++) total += in->sums[(size_t)(row + r) * in->groups + g];
        for (int p = 0; p < panels; p++) sums[r][p] = vi_set(-DOT_OFFSET * total);
    }
    for (int k = 0; k < l->in; k += 4) {
        ask_weights(ahead, panels, (size_t)k * LANES);
        vb w[STRIP];
        for (int p = 0; p < panels; p++) w[p] = vb_load(weight + p * step + (size_t)k * LANES);
        for (int r = 0; r < rows; r++) {
            int32_t value = four(q + (size_t)r * in->stride + k);
            for (int p = 0; p < panels; p++) sums[r][p] = vi_dot(sums[r][p], w[p], value);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) {
            int channel = (panel + p) * LANES;
            vf y = vf_mul(vi_to_float(sums[r][p]), vf_load(l->scale + channel));
            put(l, out, row + r, channel, vf_mul(y, vf_set(in->scale[row + r])));
        }
}

INLINE void int4_block(const Linear *l, const Input *in, const Output *out, int row, int rows,
                       int panel, int panels, const Ahead *ahead) {
    vf totals[MOST_ROWS][STRIP];
    int groups = l->in / GROUP;
    size_t step = (size_t)groups * GROUP_BYTES;
    const uint8_t *weight = (const uint8_t *)l->weight + panel * step;
    const int8_t *q = in->q + (size_t)row * in->stride;
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) totals[r][p] = vf_zero();
    for (int g = 0; g < groups; g++) {
        vi sums[MOST_ROWS][STRIP];
        for (int r = 0; r < rows; r++) {
            vi start = vi_set(-8 * in->sums[(size_t)(row + r) * in->groups + g]);
            for (int p = 0; p < panels; p++) sums[r][p] = start;
        }
        const uint8_t *block = weight + (size_t)g * GROUP_BYTES;
        for (int k = 0; k < GROUP / 2; k += 4) {
            ask_weights(ahead, panels, (size_t)g * GROUP_BYTES + (size_t)k * LANES);
            vb low[STRIP], high[STRIP];
            for (int p = 0; p < panels; p++) {
                vb w = vb_load(block + p * step + (size_t)k * LANES);
                low[p] = vb_low(w);
                high[p] = vb_high(w);
            }
            for (int r = 0; r < rows; r++) {
                const int8_t *here = q + (size_t)r * in->stride + g * GROUP + k;
                int32_t first = four(here), second = four(here + GROUP / 2);
                for (int p = 0; p < panels; p++) {
                    sums[r][p] = vi_dot_small(sums[r][p], low[p], first);
                    sums[r][p] = vi_dot_small(sums[r][p], high[p], second);
                }
            }
        }
        for (int p = 0; p < panels; p++) {
            vf scale = vf_load((const float *)(block + p * step + GROUP / 2 * LANES));
            for (int r = 0; r < rows; r++)
                totals[r][p] = vf_add(totals[r][p], vf_mul(vi_to_float(sums[r][p]), scale));
        }
    }
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++)
            put(l, out, row + r, (panel + p) * LANES,
                vf_mul(totals[r][p], vf_set(in->scale[row + r])));
}

INLINE void block(const Linear *l, const Input *in, const Output *out, int row, int rows,
                  int panel, int panels, const Ahead *ahead) {
    switch (l->format) {
    case FP32: float_block(l, in, out, row, rows, panel, panels, ahead, 0); break;
    case BF16: float_block(l, in, out, row, rows, panel, panels, ahead, 1); break;
    case INT8:
        if (rows <= MOST_INT_ROWS) int8_block(l, in, out, row, rows, panel, panels, ahead);
        break;
    default:
        if (rows <= MOST_INT_ROWS) int4_block(l, in, out, row, rows, panel, panels, ahead);
    }
}

INLINE void rows_block(const Linear *l, const Input *in, const Output *out, int row, int rows,
                       int panel, int panels, const Ahead *ahead) {
    switch (rows) {
    case 1: block(l, in, out, row, 1, panel, panels, ahead); break;
    case 2: block(l, in, out, row, 2, panel, panels, ahead); break;
    case 3: block(l, in, out, row, 3, panel, panels, ahead); break;
#if MOST_ROWS == 6
    case 5: block(l, in, out, row, 5, panel, panels, ahead); break;
    case 6: block(l, in, out, row, 6, panel, panels, ahead); break;
#endif
    default: block(l, in, out, row, 4, panel, panels, ahead);
    }
}

static inline int linear_strips(const Linear *l) { return (l->out / LANES + STRIP - 1) / STRIP; }

/* All rows by the panels of one strip: its weights stay in a near cache. From the second block of
 * rows on, those of the strip `next` are asked for: memory works while the sums do. */
static void linear_strip(const Linear *l, const Input *in, const Output *out, int rows, int strip,
                         int next) {
    int panel = strip * STRIP, panels = l->out / LANES - panel;
    if (panels > STRIP) panels = STRIP;
    int most = l->format < INT8 ? MOST_ROWS : MOST_INT_ROWS;
    size_t bytes = panel_bytes(l);
    const char *here = (const char *)l->weight + (size_t)panel * bytes;
    const char *then = (const char *)l->weight + (size_t)next * STRIP * bytes;
    if (next >= linear_strips(l)) then = here;
    Ahead ahead = {here, then, bytes, DISTANCE};
    for (int row = 0; row < rows; ahead.distance = bytes) {
        int left = rows - row, blocks = (left + most - 1) / most;
        int count = (left + blocks - 1) / blocks; /* even blocks: 20 rows are 4 times 5 */
        if (panels == STRIP)
            rows_block(l, in, out, row, count, panel, STRIP, &ahead);
        else /* the last strip may be narrow: panel by panel */
            for (int p = 0; p < panels; p++)
                rows_block(l, in, out, row, count, panel + p, 1, &ahead);
        row += count;
    }
}
