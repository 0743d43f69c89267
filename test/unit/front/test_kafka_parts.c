/* The Kafka front's small parts: our errors as Kafka's codes, and what a request names twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/random.h"
#include "front/kafka/kafka_int.h"

/* Code -1 makes producers give up on a batch whose outcome they do not know, and send it again under
 * a new sequence: what may pass by itself must have a code that they retry. */
static void test_what_may_pass_is_never_unknown(void **state)
{
    (void)state;
    assert_int_equal(kafka_code_of(ERR_OK), 0);
    assert_int_equal(kafka_code_of_group(ERR_OK), 0);
    for (int err = 0; err < ERR_COUNT; err++) {
        if (err_row((enum err)err)->class != ERR_CLASS_RETRIABLE)
            continue;
        assert_int_not_equal(kafka_code_of((enum err)err), -1);
        assert_int_not_equal(kafka_code_of_group((enum err)err), -1);
    }
}

static void test_no_failure_is_told_as_success(void **state)
{
    (void)state;
    for (int err = 1; err < ERR_COUNT; err++) {
        assert_int_not_equal(kafka_code_of((enum err)err), 0);
        assert_int_not_equal(kafka_code_of_group((enum err)err), 0);
    }
}

/* A coordinator that goes is looked up again; NOT_LEADER would be no answer of a coordinator. */
static void test_coordinators_have_their_own_codes(void **state)
{
    (void)state;
    const enum err gone[] = {ERR_CLOSING, ERR_NOT_LEADER, ERR_TIMEOUT};
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        assert_int_equal(kafka_code_of_group(gone[i]), KAFKA_COORDINATOR_NOT_AVAILABLE);
    for (int err = 0; err < ERR_COUNT; err++)
        assert_int_not_equal(kafka_code_of_group((enum err)err), KAFKA_NOT_LEADER);
}

static void test_repeats_are_found_wherever_they_stand(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static const char *const texts[] = {"", "a", "b", "ab", "topic", "topic-1"};
    struct random random;
    random_init(&random, 7);
    for (int round = 0; round < 200; round++) {
        struct arena *arena = arena_create(NULL, "test", 1 << 20);
        struct kafka_name names[COUNT], asked[COUNT];
        size_t count = (size_t)random_below(&random, COUNT + 1);
        for (size_t i = 0; i < count; i++) {
            const char *text = texts[random_below(&random, sizeof(texts) / sizeof(texts[0]))];
            int32_t number = (int32_t)random_below(&random, 60) - 3;
            asked[i] = names[i] = (struct kafka_name){slice_cstr(text), number, (uint32_t)i};
        }
        const bool *repeated = kafka_repeats(arena, names, count);
        assert_non_null(repeated);
        for (size_t i = 0; i < count; i++) {
            bool twice = false;
            for (size_t j = 0; j < count; j++)
                twice |= i != j && asked[i].number == asked[j].number &&
                         slice_equal(asked[i].text, asked[j].text);
            assert_int_equal(repeated[i], twice);
        }
        arena_destroy(arena);
    }
}

static void test_handlers_are_what_definitions_say(void **state)
{
    (void)state;
    uint32_t count;
    const struct kafka_handler *handlers = kafka_handlers(&count);
    assert_int_equal(count, KAFKA_API_COUNT);
    for (uint32_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < KAFKA_API_COUNT; j++) {
            const struct kafka_api *api = &kafka_apis[j];
            found |= api->key == handlers[i].key && api->version_min == handlers[i].version_min &&
                     api->version_max == handlers[i].version_max;
        }
        assert_true(found);
        assert_non_null(handlers[i].handle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_pass_is_never_unknown),
        cmocka_unit_test(test_no_failure_is_told_as_success),
        cmocka_unit_test(test_coordinators_have_their_own_codes),
        cmocka_unit_test(test_repeats_are_found_wherever_they_stand),
        cmocka_unit_test(test_handlers_are_what_definitions_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
