/* Ids, topic configurations, topic sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "meta/topics.h"

static void test_uuid(void **state)
{
    struct random random;
    random_init(&random, 11);
    for (int i = 0; i < 2000; i++) {
        char text[UUID_TEXT_LEN + 1];
        struct uuid id = uuid_make(&random);
        struct uuid back;
        uuid_write_text(id, text);
        assert_int_equal(strlen(text), UUID_TEXT_LEN);
        assert_true(text[0] != '-');
        assert_true(uuid_read_text(slice_cstr(text), &back));
        assert_true(uuid_equal(id, back));
    }
    struct uuid one = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                        0xff, 0xff, 0xff, 0xff}};
    char text[UUID_HEX_LEN + 1];
    uuid_write_text(one, text);
    assert_string_equal(text, "_____________________w");
    uuid_write_hex(one, text);
    assert_string_equal(text, "ffffffff-ffff-ffff-ffff-ffffffffffff");
    assert_false(uuid_read_text(SLICE_LIT("____________________"), &one));
    assert_false(uuid_read_text(SLICE_LIT("_____________________x"), &one));
    assert_false(uuid_read_text(SLICE_LIT("!____________________w"), &one));
}

static void test_config_table(void **state)
{
    struct topic_values values;
    for (unsigned i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        const struct topic_config_row *row = topic_config_row((enum topic_config_key)i);
        assert_int_equal(topic_config_find(slice_cstr(row->name)), i);
        assert_int_equal(
            topic_config_check((enum topic_config_key)i, slice_cstr(row->default_text), NULL),
            ERR_OK);
    }
    assert_int_equal(topic_config_find(SLICE_LIT("retention")), TOPIC_CONFIG_COUNT);
    topic_config_values(NULL, 0, &values);
    assert_int_equal(values.retention_ms, 604800000);
    assert_int_equal(values.max_message_bytes, 1048588);
    assert_int_equal(values.cleanup, CLEANUP_DELETE);
    assert_int_equal(values.compression, COMPRESSION_PRODUCER);
}

static enum err check(const char *name, const char *value, struct err_info *info)
{
    return topic_config_check(topic_config_find(slice_cstr(name)), slice_cstr(value), info);
}

static void test_config_check(void **state)
{
    struct err_info info;
    struct topic_values values;
    assert_int_equal(check("cleanup.policy", "compact,delete", &info), ERR_OK);
    assert_int_equal(check("cleanup.policy", "compact, delete", &info), ERR_OK);
    assert_int_equal(check("cleanup.policy", "", &info), ERR_INVALID_CONFIG);
    assert_int_equal(check("cleanup.policy", "delete,burn", &info), ERR_INVALID_CONFIG);
    assert_non_null(strstr(info.text, "burn"));
    assert_int_equal(check("retention.ms", "-1", &info), ERR_OK);
    assert_int_equal(check("retention.ms", "-2", &info), ERR_INVALID_CONFIG);
    assert_int_equal(check("retention.ms", "12x", &info), ERR_INVALID_CONFIG);
    assert_int_equal(check("segment.bytes", "4294967296", &info), ERR_INVALID_CONFIG);
    assert_int_equal(check("preallocate", "yes", &info), ERR_INVALID_CONFIG);
    assert_int_equal(check("preallocate", "TRUE", &info), ERR_OK);
    assert_int_equal(check("min.cleanable.dirty.ratio", "1.5", &info), ERR_INVALID_CONFIG);
    assert_int_equal(check("message.timestamp.type", "LogAppendTime", &info), ERR_OK);
    struct topic_override overrides[] = {{TOPIC_CLEANUP_POLICY, "compact, delete"},
                                         {TOPIC_COMPRESSION_TYPE, "zstd"},
                                         {TOPIC_TIMESTAMP_TYPE, "LogAppendTime"},
                                         {TOPIC_FLUSH_MESSAGES, "1"}};
    topic_config_values(overrides, 4, &values);
    assert_int_equal(values.cleanup, CLEANUP_DELETE | CLEANUP_COMPACT);
    assert_int_equal(values.compression, COMPRESSION_ZSTD);
    assert_int_equal(values.timestamp_type, TIMESTAMP_LOG_APPEND_TIME);
    assert_int_equal(values.flush_messages, 1);
}

static void test_names(void **state)
{
    char longest[TOPIC_NAME_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(topic_name_check(SLICE_LIT("flights.2013_A-b"), NULL), ERR_OK);
    assert_int_equal(topic_name_check(slice_make(longest, TOPIC_NAME_MAX), NULL), ERR_OK);
    assert_int_equal(topic_name_check(slice_make(longest, TOPIC_NAME_MAX + 1), NULL),
                     ERR_INVALID_TOPIC);
    assert_int_equal(topic_name_check(SLICE_LIT(""), NULL), ERR_INVALID_TOPIC);
    assert_int_equal(topic_name_check(SLICE_LIT("."), NULL), ERR_INVALID_TOPIC);
    assert_int_equal(topic_name_check(SLICE_LIT(".."), NULL), ERR_INVALID_TOPIC);
    assert_int_equal(topic_name_check(SLICE_LIT("a/b"), NULL), ERR_INVALID_TOPIC);
    assert_int_equal(topic_name_check(SLICE_LIT("a b"), NULL), ERR_INVALID_TOPIC);
}

static void test_sets(void **state)
{
    struct random random;
    struct topic_set *set = topic_set_make();
    struct uuid ids[100];
    random_init(&random, 3);
    for (int i = 0; i < 100; i++) {
        char name[32];
        int len = snprintf(name, sizeof(name), "topic-%d", (i * 37) % 100);
        ids[i] = uuid_make(&random);
        struct topic *topic =
            topic_make(ids[i], slice_make(name, (size_t)len), i + 1, false, 5, NULL, 0);
        struct topic_set *with = topic_set_with(set, topic);
        topic_unref(topic);
        topic_set_unref(set);
        set = with;
    }
    assert_int_equal(topic_set_count(set), 100);
    for (uint32_t i = 1; i < 100; i++)
        assert_true(slice_compare(topic_set_at(set, i - 1)->name, topic_set_at(set, i)->name) < 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(topic_set_find_id(set, ids[i])->partition_count, i + 1);
    assert_null(topic_set_find(set, SLICE_LIT("topic-100")));
    assert_non_null(topic_set_find_collision(set, SLICE_LIT("topic-7")) ? NULL : set);
    struct topic_set *fewer = topic_set_without(set, SLICE_LIT("topic-7"));
    assert_int_equal(topic_set_count(fewer), 99);
    assert_non_null(topic_set_find(set, SLICE_LIT("topic-7")));
    assert_null(topic_set_find(fewer, SLICE_LIT("topic-7")));
    topic_set_unref(set);
    topic_set_unref(fewer);
}

static void test_collision(void **state)
{
    struct random random;
    random_init(&random, 4);
    struct topic *topic = topic_make(uuid_make(&random), SLICE_LIT("a.b_c"), 1, false, 0, NULL, 0);
    struct topic_set *empty = topic_set_make();
    struct topic_set *set = topic_set_with(empty, topic);
    assert_ptr_equal(topic_set_find_collision(set, SLICE_LIT("a_b.c")), topic);
    assert_null(topic_set_find_collision(set, SLICE_LIT("a.b_c")));
    assert_null(topic_set_find_collision(set, SLICE_LIT("a-b-c")));
    topic_unref(topic);
    topic_set_unref(empty);
    topic_set_unref(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uuid),         cmocka_unit_test(test_config_table),
        cmocka_unit_test(test_config_check), cmocka_unit_test(test_names),
        cmocka_unit_test(test_sets),         cmocka_unit_test(test_collision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
