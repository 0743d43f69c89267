/* The disk workers: slow work that never takes them all, an end that loses nothing. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "io/reactor_int.h"
#include "io/workpool.h"

enum { THREADS = 3, ITEMS = 300 };

struct fixture {
    struct workpool *pool;
    struct reactor *reactor;
    _Atomic unsigned started;
    _Atomic unsigned slow_running;
    _Atomic unsigned slow_most;
    _Atomic bool gate; /* slow items wait for it */
    unsigned done;
};

struct item {
    struct work work;
    struct fixture *fixture;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct err_info info;
    assert_int_equal(workpool_create(THREADS, &f->pool, &info), ERR_OK);
    assert_int_equal(reactor_epoll_create(f->pool, &f->reactor, &info), ERR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    workpool_destroy(f->pool);
    reactor_destroy(f->reactor);
    free(f);
    return 0;
}

static void item_run(struct work *work)
{
    struct item *item = CONTAINER_OF(work, struct item, work);
    atomic_fetch_add(&item->fixture->started, 1);
}

static void slow_run(struct work *work)
{
    struct fixture *f = CONTAINER_OF(work, struct item, work)->fixture;
    unsigned now = atomic_fetch_add(&f->slow_running, 1) + 1;
    unsigned most = atomic_load(&f->slow_most);
    while (now > most && !atomic_compare_exchange_weak(&f->slow_most, &most, now))
        ;
    while (!atomic_load(&f->gate))
        nanosleep(&(struct timespec){0, 100000}, NULL);
    atomic_fetch_sub(&f->slow_running, 1);
}

static void item_done(struct work *work)
{
    CONTAINER_OF(work, struct item, work)->fixture->done++;
}

static void turn_until(struct fixture *f, unsigned done)
{
    uint64_t deadline = reactor_now_us(f->reactor) + 20000000;
    while (f->done < done) {
        assert_true(reactor_now_us(f->reactor) < deadline);
        reactor_epoll_turn(f->reactor, 10000);
    }
}

/* Slow work fills all threads but one: what somebody waits for goes on beside it. */
static void test_slow_lane(void **state)
{
    struct fixture *f = *state;
    struct item slow[10];
    struct item fast[50];
    for (unsigned i = 0; i < 10; i++) {
        slow[i].fixture = f;
        reactor_work_lane(f->reactor, &slow[i].work, WORK_SLOW, slow_run, item_done);
    }
    for (unsigned i = 0; i < 50; i++) {
        fast[i].fixture = f;
        reactor_work(f->reactor, &fast[i].work, item_run, item_done);
    }
    turn_until(f, 50); /* all of the fast ones, with the gate shut */
    assert_true(atomic_load(&f->slow_most) <= THREADS - 1);
    atomic_store(&f->gate, true);
    turn_until(f, 60);
    assert_true(atomic_load(&f->slow_most) >= 1);
}

/* What was queued before the end is run before it. */
static void test_destroy_finishes(void **state)
{
    struct fixture *f = *state;
    static struct item items[ITEMS];
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].fixture = f;
        reactor_work_lane(f->reactor, &items[i].work, i % 2 ? WORK_SLOW : WORK_FAST, item_run,
                          item_done);
    }
    workpool_destroy(f->pool);
    f->pool = NULL;
    assert_int_equal(atomic_load(&f->started), ITEMS);
    assert_int_equal(f->done, 0); /* completions belong to the owner's loop */
    turn_until(f, ITEMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_slow_lane, setup, teardown),
        cmocka_unit_test_setup_teardown(test_destroy_finishes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
