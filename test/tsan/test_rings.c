/* The mailbox ring with two bare threads, and the worker pool under many owners: order, no loss, no race. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "io/mailbox.h"
#include "io/reactor_int.h"
#include "io/workpool.h"

#define RING_MESSAGES 200000u

struct ring_msg {
    struct shard_msg msg;
    unsigned number; /* plain: the ring's ordering alone makes it visible */
};

struct ring {
    struct mailbox box;
    struct ring_msg messages[4 * SHARD_MAILBOX];
    _Atomic unsigned received;
};

static void *ring_writer(void *arg)
{
    struct ring *ring = arg;
    for (unsigned i = 0; i < RING_MESSAGES; i++) {
        struct ring_msg *one = &ring->messages[i % (4 * SHARD_MAILBOX)];
        /* A message is written again only after the reader is done with it. */
        while (i >= 4 * SHARD_MAILBOX && atomic_load(&ring->received) < i - 4 * SHARD_MAILBOX + 1)
            sched_yield();
        one->number = i;
        while (!mailbox_push(&ring->box, &one->msg))
            sched_yield();
    }
    return NULL;
}

static void test_ring(void **state)
{
    struct ring *ring = aligned_alloc(MAILBOX_LINE, (sizeof(*ring) + MAILBOX_LINE - 1) /
                                                        MAILBOX_LINE * MAILBOX_LINE);
    assert_non_null(ring);
    memset(ring, 0, sizeof(*ring));
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, ring_writer, ring), 0);
    for (unsigned i = 0; i < RING_MESSAGES;) {
        struct shard_msg *msg = mailbox_pop(&ring->box);
        if (!msg) {
            sched_yield();
            continue;
        }
        assert_int_equal(CONTAINER_OF(msg, struct ring_msg, msg)->number, i);
        i++;
        atomic_store(&ring->received, i);
    }
    pthread_join(writer, NULL);
    assert_true(mailbox_empty(&ring->box));
    free(ring);
}

/* ---- workers ---- */

#define OWNERS 3
#define ITEMS 64
#define ROUNDS 50

struct owner;

struct item {
    struct work work;
    struct owner *owner;
    unsigned rounds;
    unsigned sum; /* written by workers, read by the owner, never at once */
};

struct owner {
    pthread_t thread;
    struct reactor *reactor;
    struct item items[ITEMS];
    unsigned finished;
};

static void item_run(struct work *work)
{
    CONTAINER_OF(work, struct item, work)->sum++;
}

static void item_done(struct work *work)
{
    struct item *item = CONTAINER_OF(work, struct item, work);
    item->rounds++;
    if (item->sum != item->rounds)
        abort();
    if (item->rounds == ROUNDS) {
        item->owner->finished++;
        return;
    }
    enum work_lane lane = item->rounds % 5 == 0 ? WORK_SLOW : WORK_FAST;
    reactor_work_lane(item->owner->reactor, &item->work, lane, item_run, item_done);
}

static void *owner_main(void *arg)
{
    struct owner *owner = arg;
    for (unsigned i = 0; i < ITEMS; i++) {
        owner->items[i].owner = owner;
        reactor_work(owner->reactor, &owner->items[i].work, item_run, item_done);
    }
    while (owner->finished < ITEMS)
        reactor_epoll_turn(owner->reactor, 1000000);
    return NULL;
}

static void test_workers(void **state)
{
    struct workpool *pool;
    struct err_info info;
    static struct owner owners[OWNERS];
    assert_int_equal(workpool_create(3, &pool, &info), ERR_OK);
    for (int i = 0; i < OWNERS; i++) {
        assert_int_equal(reactor_epoll_create(pool, &owners[i].reactor, &info), ERR_OK);
        assert_int_equal(pthread_create(&owners[i].thread, NULL, owner_main, &owners[i]), 0);
    }
    for (int i = 0; i < OWNERS; i++)
        pthread_join(owners[i].thread, NULL);
    workpool_destroy(pool);
    for (int i = 0; i < OWNERS; i++)
        reactor_destroy(owners[i].reactor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
