/* Threads that run a step's stages together.
 *
 * A stage is a number of tiles that may run in any order. Threads take tiles one by one, so that
 * a thread which lost its core holds up one tile and not half the stage. Between steps helpers
 * wait for a moment, then sleep. No OpenMP: torch brings its own, and two of them in one process
 * fight for the cores. */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include <immintrin.h>

typedef void (*Work)(void *context, int tile, int thread);

typedef struct {
    /* stage number, tiles of it, next tile: one word, so that no tile is taken for another stage */
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Alignas(64) atomic_int done;
    _Alignas(64) atomic_uint epoch; /* steps begun */
    atomic_int asleep, closing;
    Work work;
    void *context;
    int threads, helpers;
    pthread_t *thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} Pool;

typedef struct {
    Pool *pool;
    int number;
} Helper;

#define TILE_BITS 22
#define TILE_MASK ((1u << TILE_BITS) - 1)
#define YIELD_EVERY 128 /* looks between two offers of the core to others */
#define LOOKS 8192      /* before a helper sleeps: some tenth of a millisecond */

static inline int next_of(uint64_t ticket) { return (int)(ticket & TILE_MASK); }
static inline int tiles_of(uint64_t ticket) { return (int)(ticket >> TILE_BITS & TILE_MASK); }

/* Run tiles of the stage at hand until none is left; whether there was any. */
static int pool_take(Pool *pool, int thread) {
    int any = 0;
    uint64_t seen = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    while (next_of(seen) < tiles_of(seen)) {
        if (atomic_compare_exchange_weak_explicit(&pool->ticket, &seen, seen + 1,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            pool->work(pool->context, next_of(seen), thread);
            atomic_fetch_add_explicit(&pool->done, 1, memory_order_acq_rel);
            any = 1;
            seen = atomic_load_explicit(&pool->ticket, memory_order_acquire);
        }
    }
    return any;
}

static void *pool_help(void *argument) {
    Helper helper = *(Helper *)argument;
    Pool *pool = helper.pool;
    free(argument);
    unsigned epoch = 0;
    int looks = 0;
    while (!atomic_load(&pool->closing)) {
        if (pool_take(pool, helper.number)) {
            looks = 0;
        } else if (++looks < LOOKS) {
            if (looks % YIELD_EVERY == 0) sched_yield();
            _mm_pause();
        } else {
            pthread_mutex_lock(&pool->lock);
            atomic_fetch_add(&pool->asleep, 1);
            while (atomic_load(&pool->epoch) == epoch && !atomic_load(&pool->closing))
                pthread_cond_wait(&pool->wake, &pool->lock);
            epoch = atomic_load(&pool->epoch);
            atomic_fetch_sub(&pool->asleep, 1);
            pthread_mutex_unlock(&pool->lock);
            looks = 0;
        }
    }
    return NULL;
}

/* A step begins: helpers that sleep are woken. */
static void pool_wake(Pool *pool) {
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->asleep)) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Run a stage to its end. */
static void pool_run(Pool *pool, Work work, void *context, int tiles) {
    if (tiles == 1 || !pool->helpers) {
        for (int tile = 0; tile < tiles; tile++) work(context, tile, 0);
        return;
    }
    pool->work = work;
    pool->context = context;
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    uint64_t stage = (atomic_load_explicit(&pool->ticket, memory_order_relaxed) >> 2 * TILE_BITS) + 1;
    uint64_t ticket = stage << 2 * TILE_BITS | (uint64_t)tiles << TILE_BITS;
    atomic_store_explicit(&pool->ticket, ticket, memory_order_release);
    pool_take(pool, 0);
    for (int looks = 1; atomic_load_explicit(&pool->done, memory_order_acquire) < tiles; looks++) {
        if (looks % YIELD_EVERY == 0) sched_yield();
        _mm_pause();
    }
}

static Pool *pool_open(int threads) {
    Pool *pool = aligned_alloc(64, (sizeof(Pool) + 63) / 64 * 64);
    if (!pool) return NULL;
    *pool = (Pool){.threads = threads, .thread = calloc((size_t)threads, sizeof(pthread_t))};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int number = 1; number < threads; number++) {
        Helper *helper = malloc(sizeof(Helper));
        if (!helper || !pool->thread) break;
        *helper = (Helper){pool, number};
        if (pthread_create(&pool->thread[pool->helpers], NULL, pool_help, helper)) {
            free(helper);
            break; /* fewer helpers are slower, not wrong */
        }
        pool->helpers++;
    }
    return pool;
}

static void pool_close(Pool *pool) {
    atomic_store(&pool->closing, 1);
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int helper = 0; helper < pool->helpers; helper++) pthread_join(pool->thread[helper], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->thread);
    free(pool);
}
