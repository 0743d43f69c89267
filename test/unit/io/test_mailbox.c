/* The ring between two shards, on one thread: order, its limit, and counters that wrap around. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "io/mailbox.h"

enum { MESSAGES = 3 * SHARD_MAILBOX };

static struct mailbox *box_at(uint32_t start)
{
    struct mailbox *box = aligned_alloc(MAILBOX_LINE, sizeof(*box));
    memset(box, 0, sizeof(*box));
    atomic_store(&box->head, start);
    atomic_store(&box->tail, start);
    box->head_seen = box->tail_seen = start;
    return box;
}

/* Pushes and pops in random runs, with the counters starting where they will wrap. */
static void test_order(void **state)
{
    static struct shard_msg messages[MESSAGES];
    static const uint32_t starts[] = {0, 5, UINT32_MAX - 2000, UINT32_MAX, UINT32_MAX / 2};
    struct random random;
    random_init(&random, 3);
    for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
        struct mailbox *box = box_at(starts[s]);
        uint64_t pushed = 0;
        uint64_t popped = 0;
        while (popped < 20 * MESSAGES) {
            uint64_t run = random_below(&random, SHARD_MAILBOX + 10);
            for (uint64_t i = 0; i < run; i++) {
                bool room = pushed - popped < SHARD_MAILBOX;
                assert_int_equal(mailbox_push(box, &messages[pushed % MESSAGES]), room);
                pushed += room;
            }
            assert_int_equal(mailbox_empty(box), pushed == popped);
            run = random_below(&random, SHARD_MAILBOX + 10);
            for (uint64_t i = 0; i < run; i++) {
                struct shard_msg *msg = mailbox_pop(box);
                assert_ptr_equal(msg, pushed > popped ? &messages[popped % MESSAGES] : NULL);
                popped += msg != NULL;
            }
        }
        free(box);
    }
}

/* Full is full exactly at its size, and one taken makes room for one. */
static void test_limit(void **state)
{
    static struct shard_msg message;
    struct mailbox *box = box_at(UINT32_MAX - SHARD_MAILBOX / 2);
    for (unsigned i = 0; i < SHARD_MAILBOX; i++)
        assert_true(mailbox_push(box, &message));
    assert_false(mailbox_push(box, &message));
    assert_non_null(mailbox_pop(box));
    assert_true(mailbox_push(box, &message));
    assert_false(mailbox_push(box, &message));
    for (unsigned i = 0; i < SHARD_MAILBOX; i++)
        assert_non_null(mailbox_pop(box));
    assert_null(mailbox_pop(box));
    assert_true(mailbox_empty(box));
    free(box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
