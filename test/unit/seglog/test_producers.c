/* The table of idempotent producers by itself: its limit, and what goes when it is reached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "seglog/seglog_int.h"

static struct batch_header header_of(int64_t id, int32_t sequence, int64_t offset)
{
    return (struct batch_header){.producer_id = id,
                                 .producer_epoch = 0,
                                 .base_sequence = sequence,
                                 .base_offset = record_offset(offset),
                                 .record_count = 1};
}

/* New producers are taken without end, the table stays at its limit, and those that write stay in it. */
static void the_limit_holds(void **state)
{
    (void)state;
    struct producers producers;
    assert_true(producers_init(&producers));
    producers.limit = 100;
    int32_t sequence = 0;
    for (int64_t i = 0; i < 5000; i++) {
        struct batch_header busy = header_of(1, sequence++, i * 2);
        struct producer_batch duplicate;
        assert_int_equal(producers_check(&producers, &busy, &duplicate, NULL), ERR_OK);
        if (i > 0)
            assert_non_null(producers_get(&producers, 1)); /* it wrote moments ago */
        assert_true(producers_note(&producers, &busy, 0));
        struct batch_header fresh = header_of(1000 + i, 0, i * 2 + 1);
        assert_true(producers_note(&producers, &fresh, 0));
        assert_true(map_count(producers.map) <= 100);
        assert_non_null(producers_get(&producers, 1000 + i));
    }
    assert_int_equal(map_count(producers.map), 100);
    /* What is left is of late: the look for an old one reaches most of so small a table. */
    int64_t late = 0;
    for (int64_t i = 4700; i < 5000; i++)
        late += producers_get(&producers, 1000 + i) != NULL;
    assert_true(late > 80);
    producers_deinit(&producers);
}

/* Taken back at the limit: what was forgotten meanwhile stays forgotten, all else is as before. */
static void restoring_at_the_limit(void **state)
{
    (void)state;
    struct producers producers;
    assert_true(producers_init(&producers));
    producers.limit = 2;
    for (int64_t id = 1; id <= 2; id++) {
        struct batch_header header = header_of(id, 0, id);
        assert_true(producers_note(&producers, &header, 0));
    }
    struct producer former = *producers_get(&producers, 1);
    struct batch_header third = header_of(3, 0, 5);
    assert_true(producers_note(&producers, &third, 0)); /* the first one goes */
    assert_null(producers_get(&producers, 1));
    producers_restore(&producers, &(struct producer){.id = 3});
    producers_restore(&producers, &former);
    assert_null(producers_get(&producers, 1));
    assert_null(producers_get(&producers, 3));
    assert_int_equal(map_count(producers.map), 1);
    producers_deinit(&producers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(restoring_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
