/*
 * Role: runs blocking work functions off the shards.
 *
 *     shard --push--> lane[FAST] ---+--> worker thread: work->fn --> reactor_complete(owner)
 *                     lane[SLOW] ---+
 *
 * Invariants
 * (1) An item is in a lane, or running on one worker, or with its owner: never in two places.
 * (2) slow_running <= threads - 1.
 * (3) Items of a lane start in push order.
 * (4) After `stopping` the workers leave only when both lanes are empty.
 *
 * Ownership and shard: lanes and counters under `lock`, a leaf lock (docs/locks.md); items belong
 * to their owner.
 *
 * Failure modes: creation may fail and undoes itself. Pushing cannot fail, since items carry their
 * node.
 */
#include "io/workpool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/reactor_int.h"
#include "io/thread.h"

#define WORKPOOL_STACK (256u * 1024)

struct workpool {
    pthread_mutex_t lock;
    pthread_cond_t ready;
    struct list_node lanes[2];
    unsigned slow_running;
    bool stopping;
    unsigned threads_started;
    unsigned threads_wanted;
    pthread_t threads[WORKPOOL_THREADS_MAX];
};

/* The next item that may start now; NULL: none. Lock held. */
static struct work *workpool_take(struct workpool *pool)
{
    struct list_node *node = list_pop_front(&pool->lanes[WORK_FAST]);
    if (!node && pool->slow_running + 1 < pool->threads_wanted) {
        node = list_pop_front(&pool->lanes[WORK_SLOW]);
        if (node)
            pool->slow_running++;
    }
    ASSERT(pool->slow_running < pool->threads_wanted);
    return node ? CONTAINER_OF(node, struct work, node) : NULL;
}

static bool workpool_idle(const struct workpool *pool)
{
    return list_empty(&pool->lanes[WORK_FAST]) && list_empty(&pool->lanes[WORK_SLOW]);
}

/*
 * An item belongs to its owner again from reactor_complete on: everything needed of it afterwards is
 * read before.
 */
static void *workpool_main(void *arg)
{
    struct workpool *pool = arg;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct work *work = workpool_take(pool);
        if (!work) {
            if (pool->stopping && workpool_idle(pool))
                break;
            pthread_cond_wait(&pool->ready, &pool->lock);
            continue;
        }
        pthread_mutex_unlock(&pool->lock);
        bool slow = work->lane == WORK_SLOW;
        ASSERT(work->fn && work->owner);
        work->fn(work);
        reactor_complete(work); /* the owner may reuse or free it from here on */
        pthread_mutex_lock(&pool->lock);
        if (slow) {
            ASSERT(pool->slow_running > 0);
            pool->slow_running--;
            if (!list_empty(&pool->lanes[WORK_SLOW]))
                pthread_cond_signal(&pool->ready);
        }
    }
    pthread_cond_broadcast(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum err workpool_create(unsigned threads, struct workpool **ret_pool, struct err_info *info)
{
    ASSERT(threads >= WORKPOOL_THREADS_MIN && threads <= WORKPOOL_THREADS_MAX);
    *ret_pool = NULL;
    struct workpool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the disk workers");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->ready, NULL);
    list_init(&pool->lanes[WORK_FAST]);
    list_init(&pool->lanes[WORK_SLOW]);
    pool->threads_wanted = threads;
    for (unsigned i = 0; i < threads; i++) {
        char name[24];
        snprintf(name, sizeof(name), "disk-%u", i);
        enum err err =
            thread_start(&pool->threads[i], name, WORKPOOL_STACK, workpool_main, pool, info);
        if (err != ERR_OK) {
            workpool_destroy(pool);
            return err;
        }
        pool->threads_started++;
    }
    *ret_pool = pool;
    return ERR_OK;
}

/* Nothing queued is dropped: an owner may wait for its completion to free memory or to answer. */
void workpool_destroy(struct workpool *pool)
{
    if (!pool)
        return;
    ASSERT(pool->threads_started <= pool->threads_wanted);
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->ready);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads_started; i++)
        pthread_join(pool->threads[i], NULL);
    ASSERT(workpool_idle(pool));
    pthread_cond_destroy(&pool->ready);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void workpool_push(struct workpool *pool, struct work *work)
{
    ASSERT(work->lane == WORK_FAST || work->lane == WORK_SLOW);
    ASSERT(work->fn && work->owner && list_empty(&work->node));
    pthread_mutex_lock(&pool->lock);
    ASSERT(!pool->stopping);
    list_push_back(&pool->lanes[work->lane], &work->node);
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_signal(
        &pool->ready); /* outside, so that the worker does not wake up into the lock */
}
