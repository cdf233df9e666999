/* A decoder of the Llama family, run in one call: what is exported to engine/kernels/native.py. */

#include <stddef.h>

#include "attention.h"
#include "pool.h"
#include "sample.h"

#define EXPORT __attribute__((visibility("default")))
#define ALIGN(n, to) (((n) + (to)-1) / (to) * (to))

typedef struct {
    Linear qkv, out, gate_up, down;
    const float *attention_norm, *ffn_norm;
    const float *q_norm, *k_norm; /* or null */
} Layer;

typedef struct {
    int32_t layers, hidden, ffn, heads, kv_heads, head, eight; /* eight: int8 activations */
    float eps;
    const Layer *layer;
    const float *embedding; /* [vocab][hidden] */
    const float *norm;
    Linear output;
    const float *cosine, *sine; /* [positions][head / 2] */
} Decoder;

typedef struct {
    int32_t tokens, wanted;
    const int32_t *ids, *positions; /* [tokens] */
    const int32_t *tables;          /* page tables, one after the other */
    const int32_t *table;           /* [tokens]: where the table of a token's request starts */
    const int32_t *want;            /* [wanted]: tokens whose logits are asked for, in order */
} Batch;

/* A step in progress. */
typedef struct {
    const Decoder *model;
    const Cache *cache;
    const Batch *batch;
    Pool *pool;
    int layer, rows;
    const Linear *linear;
    Input in;
    Output to;
    const float *source; /* what a row stage reads and its width */
    int width;
    const float *weight; /* of a norm */
    float *x, *h, *qkv, *gate_up, *scale, *scratch;
    int8_t *q;
    int32_t *sums;
    int stride, context; /* of q; the longest context */
    Work each;           /* a row stage, and of how many rows its tiles are */
    int together;
} Run;

/* Stages over rows: each leaves its row ready for the next linear. */

static void ready(Run *run, int row, const float *x, int n) {
    if (!run->model->eight) return;
    quantize_input(x, n, run->q + (size_t)row * run->stride, ALIGN(n, GROUP), run->scale + row,
                   run->sums + (size_t)row * (run->stride / GROUP));
}

static void stage_norm(void *context, int row, int thread) {
    Run *run = context;
    int n = run->model->hidden;
    float *h = run->h + (size_t)row * n;
    (void)thread;
    rms_norm(run->source + (size_t)row * n, run->weight, h, n, run->model->eps);
    ready(run, row, h, n);
}

static void stage_rotate(void *context, int row, int thread) {
    Run *run = context;
    const Decoder *m = run->model;
    const Layer *layer = &m->layer[run->layer];
    const Batch *batch = run->batch;
    int position = batch->positions[row], size = run->cache->page_size;
    int32_t page = batch->tables[batch->table[row] + position / size];
    const float *cosine = m->cosine + (size_t)position * (m->head / 2);
    const float *sine = m->sine + (size_t)position * (m->head / 2);
    float *q = run->qkv + (size_t)row * run->to.stride;
    int64_t first = (int64_t)run->layer * 2 * m->kv_heads;
    (void)thread;
    for (int head = 0; head < m->heads; head++) {
        if (layer->q_norm) rms_norm(q, layer->q_norm, q, m->head, m->eps);
        rotate(q, cosine, sine, m->head, 1.0f / sqrtf((float)m->head));
        q += m->head;
    }
    for (int head = 0; head < m->kv_heads; head++) {
        if (layer->k_norm) rms_norm(q, layer->k_norm, q, m->head, m->eps);
        rotate(q, cosine, sine, m->head, 1.0f);
        cache_write(run->cache, first + head, page, position % size, q);
        cache_write(run->cache, first + m->kv_heads + head, page, position % size,
                    q + m->kv_heads * m->head);
        q += m->head;
    }
}

static void stage_attend(void *context, int tile, int thread) {
    Run *run = context;
    const Decoder *m = run->model;
    int row = tile / m->kv_heads, head = tile % m->kv_heads, queries = m->heads / m->kv_heads;
    size_t at = (size_t)head * queries * m->head;
    attend(run->cache, run->layer, head, run->batch->tables + run->batch->table[row],
           run->batch->positions[row] + 1, run->qkv + (size_t)row * run->to.stride + at, queries,
           run->h + (size_t)row * m->heads * m->head + at,
           run->scratch + (size_t)thread * queries * run->context);
}

static void stage_quantize(void *context, int row, int thread) {
    Run *run = context;
    (void)thread;
    ready(run, row, run->source + (size_t)row * run->width, run->width);
}

static void stage_gate(void *context, int row, int thread) {
    Run *run = context;
    int n = run->model->ffn;
    float *gate = run->gate_up + (size_t)row * 2 * n;
    float *h = run->h + (size_t)row * n;
    (void)thread;
    gated(gate, gate + n, h, n);
    ready(run, row, h, n);
}

static void stage_linear(void *context, int strip, int thread) {
    Run *run = context;
    (void)thread;
    linear_strip(run->linear, &run->in, &run->to, run->rows, strip,
                 strip + run->pool->threads);
}

static void stage_rows(void *context, int tile, int thread) {
    Run *run = context;
    int first = tile * run->together, end = first + run->together;
    for (int row = first; row < end && row < run->rows; row++) run->each(run, row, thread);
}

/* A row stage, in a few tiles: a row is done sooner than threads have agreed who does it. */
static void over_rows(Run *run, Work each) {
    int tiles = 2 * run->pool->threads;
    run->each = each;
    run->together = (run->rows + tiles - 1) / tiles;
    pool_run(run->pool, stage_rows, run, (run->rows + run->together - 1) / run->together);
}

/* y (+)= linear of the rows that the stage before has left in h or q. */
static void apply(Run *run, const Linear *linear, int width, float *y, int stride, int add) {
    run->linear = linear;
    run->in = (Input){run->h, run->q, run->scale, run->sums,
                      run->model->eight ? run->stride : width, run->stride / GROUP};
    run->to = (Output){y, stride, add};
    pool_run(run->pool, stage_linear, run, linear_strips(linear));
}

static void normed(Run *run, const float *x, const float *weight) {
    run->source = x;
    run->weight = weight;
    over_rows(run, stage_norm);
}

static void run_layer(Run *run, int number) {
    const Decoder *m = run->model;
    const Layer *layer = &m->layer[number];
    int attended = m->heads * m->head;
    run->layer = number;
    normed(run, run->x, layer->attention_norm);
    apply(run, &layer->qkv, m->hidden, run->qkv, layer->qkv.out, 0);
    over_rows(run, stage_rotate);
    pool_run(run->pool, stage_attend, run, run->rows * m->kv_heads);
    if (m->eight) {
        run->source = run->h;
        run->width = attended;
        over_rows(run, stage_quantize);
    }
    apply(run, &layer->out, attended, run->x, m->hidden, 1);
    normed(run, run->x, layer->ffn_norm);
    apply(run, &layer->gate_up, m->hidden, run->gate_up, 2 * m->ffn, 0);
    over_rows(run, stage_gate);
    apply(run, &layer->down, m->ffn, run->x, m->hidden, 1);
}

static int largest(int a, int b) { return a > b ? a : b; }

/* Room for a step of so many tokens; every part starts at a cache line. */
static char *room(Run *run, int tokens) {
    const Decoder *m = run->model;
    size_t rows = (size_t)tokens;
    int attended = m->heads * m->head, widest = largest(largest(m->hidden, m->ffn), attended);
    run->stride = ALIGN(widest, GROUP);
    size_t sizes[] = {rows * m->hidden * 4, rows * widest * 4,
                      rows * (attended + 2 * m->kv_heads * m->head) * 4, rows * 2 * m->ffn * 4,
                      rows * 4, rows * run->stride, rows * (run->stride / GROUP) * 4,
                      (size_t)run->pool->threads * (m->heads / m->kv_heads) * run->context * 4};
    void **parts[] = {(void **)&run->x, (void **)&run->h, (void **)&run->qkv,
                      (void **)&run->gate_up, (void **)&run->scale, (void **)&run->q,
                      (void **)&run->sums, (void **)&run->scratch};
    size_t total = 0, count = sizeof(sizes) / sizeof(*sizes);
    for (size_t i = 0; i < count; i++) total += ALIGN(sizes[i], 64);
    char *base = aligned_alloc(64, total), *at = base;
    for (size_t i = 0; base && i < count; i++) {
        *parts[i] = at;
        at += ALIGN(sizes[i], 64);
    }
    return base;
}

/* Run the tokens of a batch through the decoder, writing their keys and values, and put the
 * logits of the wanted ones into logits [wanted][output.out]. 0, or -1 where memory is short. */
EXPORT int pw_forward(Pool *pool, const Decoder *model, const Cache *cache, const Batch *batch,
                      float *logits) {
    Run run = {.model = model, .cache = cache, .batch = batch, .pool = pool, .rows = batch->tokens};
    for (int row = 0; row < batch->tokens; row++)
        run.context = largest(run.context, batch->positions[row] + 1);
    run.context = ALIGN(run.context, LANES);
    char *memory = room(&run, largest(batch->tokens, batch->wanted));
    if (!memory) return -1;
    size_t width = (size_t)model->hidden;
    for (int row = 0; row < batch->tokens; row++)
        memcpy(run.x + row * width, model->embedding + batch->ids[row] * width, width * 4);
    pool_wake(pool);
    for (int layer = 0; layer < model->layers; layer++) run_layer(&run, layer);
    if (batch->wanted) {
        /* `want` ascends, so a row is never overwritten before it has been moved. */
        for (int i = 0; i < batch->wanted; i++)
            memmove(run.x + i * width, run.x + batch->want[i] * width, width * 4);
        run.rows = batch->wanted;
        normed(&run, run.x, model->norm);
        apply(&run, &model->output, model->hidden, logits, model->output.out, 0);
    }
    free(memory);
    return 0;
}

/* A part on its own, for tests and benchmarks: x [rows][width], width a multiple of sixteen. */

EXPORT void pw_linear(Pool *pool, const Linear *linear, const float *x, int width, int rows,
                      float *y) {
    Decoder model = {.eight = linear->format >= INT8};
    Run run = {.model = &model, .pool = pool, .rows = rows, .width = width, .source = x};
    run.stride = ALIGN(linear->in, GROUP);
    run.h = (float *)(uintptr_t)x;
    run.q = malloc((size_t)rows * run.stride);
    run.scale = malloc((size_t)rows * sizeof(float));
    run.sums = malloc((size_t)rows * run.stride / GROUP * sizeof(int32_t));
    if (run.q && run.scale && run.sums) {
        pool_wake(pool);
        if (model.eight) over_rows(&run, stage_quantize);
        apply(&run, linear, width, y, linear->out, 0);
    }
    free(run.q);
    free(run.scale);
    free(run.sums);
}

typedef struct {
    const float *logits;
    int stride, vocab;
    const Pick *picks;
    float *bounds; /* [threads][vocab] */
    int32_t *tokens;
} Draw;

static void stage_pick(void *context, int row, int thread) {
    Draw *draw = context;
    draw->tokens[row] = pick_token(draw->logits + (size_t)row * draw->stride, draw->vocab,
                                   draw->picks + row, draw->bounds + (size_t)thread * draw->vocab);
}

/* A token for each row of logits [rows][stride]. 0, or -1 where memory is short. */
EXPORT int pw_sample(Pool *pool, const float *logits, int stride, int rows, int vocab,
                     const Pick *picks, int32_t *tokens) {
    float *bounds = malloc((size_t)pool->threads * vocab * sizeof(float));
    if (!bounds) return -1;
    Draw draw = {logits, stride, vocab, picks, bounds, tokens};
    pool_wake(pool);
    pool_run(pool, stage_pick, &draw, rows);
    free(bounds);
    return 0;
}

typedef struct {
    int32_t *ids, *positions, *table, *want, *place, *tokens;
    Pick *picks;
    float *logits;
} Drafting;

static int draft(Pool *pool, const Decoder *model, const Cache *cache, const Batch *batch,
                 int vocab, const Pick *picks, const int32_t *room, int most, int32_t *drafts,
                 const Drafting *at) {
    int stride = model->output.out;
    if (pw_forward(pool, model, cache, batch, at->logits)) return -1;
    int active = batch->wanted;
    for (int i = 0; i < active; i++) {
        at->place[i] = i;
        at->picks[i] = picks[i];
    }
    for (int turn = 0;; turn++) {
        if (pw_sample(pool, at->logits, stride, active, vocab, at->picks, at->tokens)) return -1;
        int left = 0;
        for (int i = 0; i < active; i++) {
            int row = at->place[i], last = batch->want[row];
            drafts[row * most + turn] = at->tokens[i];
            if (turn + 1 == room[row]) continue;
            at->place[left] = row;
            at->picks[left] = at->picks[i];
            at->picks[left].position++;
            at->ids[left] = at->tokens[i];
            at->positions[left] = batch->positions[last] + turn + 1;
            at->table[left] = batch->table[last];
            at->want[left] = left;
            left++;
        }
        active = left;
        if (!active) return 0;
        Batch next = {active, active, at->ids, at->positions, batch->tables, at->table, at->want};
        if (pw_forward(pool, model, cache, &next, at->logits)) return -1;
    }
}

/* Run a batch, and go on from each of its wanted tokens for room[wanted] more, every one sampled
 * from what this decoder makes of those before it: drafts [wanted][most]. 0, or -1 where memory is
 * short. */
EXPORT int pw_draft(Pool *pool, const Decoder *model, const Cache *cache, const Batch *batch,
                    int vocab, const Pick *picks, const int32_t *room, int most,
                    int32_t *drafts) {
    size_t rows = (size_t)batch->wanted, numbers = rows * sizeof(int32_t);
    char *memory = malloc(6 * numbers + rows * sizeof(Pick) + rows * model->output.out * 4);
    if (!memory) return -1;
    Drafting at = {.picks = (Pick *)memory, .logits = (float *)(memory + rows * sizeof(Pick))};
    int32_t *next = (int32_t *)(at.logits + rows * model->output.out);
    int32_t **parts[] = {&at.ids, &at.positions, &at.table, &at.want, &at.place, &at.tokens};
    for (int i = 0; i < 6; i++) *parts[i] = next + (size_t)i * rows;
    int short_of = draft(pool, model, cache, batch, vocab, picks, room, most, drafts, &at);
    free(memory);
    return short_of;
}

typedef struct {
    const Cache *into, *from;
    const int32_t *pages;
    int count;
} Take;

static void stage_take(void *context, int row, int thread) {
    const Take *take = context;
    float x[take->from->head];
    (void)thread;
    for (int page = 0; page < take->count; page++)
        for (int slot = 0; slot < take->from->page_size; slot++)
            cache_write(take->into, row, page, slot,
                        cache_read(take->from, row, take->pages[page], slot, x));
}

/* Fill pages 0, 1, ... of a cache with `count` pages of another, in its own format; `rows` are
 * layers * 2 * kv_heads of both. */
EXPORT void pw_take(Pool *pool, const Cache *into, const Cache *from, int rows,
                    const int32_t *pages, int count) {
    Take take = {into, from, pages, count};
    pool_wake(pool);
    pool_run(pool, stage_take, &take, rows);
}

EXPORT Pool *pw_open(int threads) { return pool_open(threads); }
EXPORT void pw_close(Pool *pool) { pool_close(pool); }
EXPORT const char *pw_isa(void) { return ISA; }
EXPORT int pw_sizes(int which) {
    size_t sizes[] = {sizeof(Linear), sizeof(Layer), sizeof(Decoder), sizeof(Cache), sizeof(Batch),
                      sizeof(Pick)};
    return (int)sizes[which];
}
