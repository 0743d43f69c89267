/* The format letters of `weir consume -f`: escapes, what is refused, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/format.h"

static void assert_unescaped(const char *text, const char *bytes, size_t len)
{
    struct bytebuf out;
    const char *wrong = text;
    bytebuf_init(&out, 1024);
    assert_true(format_unescape(text, &out, &wrong));
    assert_null(wrong);
    assert_int_equal(out.len, len);
    if (len)
        assert_memory_equal(out.data, bytes, len);
    bytebuf_deinit(&out);
}

static void test_escapes(void **state)
{
    (void)state;
    assert_unescaped("", "", 0);
    assert_unescaped("plain %s", "plain %s", 8);
    assert_unescaped("\\n\\r\\t\\\\\\0", "\n\r\t\\\0", 5);
    assert_unescaped("a\\x00\\xfF\\x41b",
                     "a\0\xff"
                     "Ab",
                     5);
}

static void test_wrong_escapes_are_pointed_at(void **state)
{
    (void)state;
    static const char *const texts[] = {"ab\\", "ab\\q", "ab\\x", "ab\\x4", "ab\\xg0", "ab\\x 4"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct bytebuf out;
        const char *wrong = NULL;
        bytebuf_init(&out, 1024);
        assert_false(format_unescape(texts[i], &out, &wrong));
        assert_ptr_equal(wrong, texts[i] + 2);
        bytebuf_deinit(&out);
    }
}

static void test_unknown_letters_are_pointed_at(void **state)
{
    (void)state;
    assert_null(format_check(SLICE_LIT("")));
    assert_null(format_check(SLICE_LIT("%t %p %o %k %K %s %S %T %h %%")));
    static const struct slice wrong[] = {
        {(const uint8_t *)"a%", 2}, {(const uint8_t *)"a%q", 3}, {(const uint8_t *)"a%\0", 3}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_ptr_equal(format_check(wrong[i]), wrong[i].data + 1);
}

static void assert_written(const char *format, const rd_kafka_message_t *message,
                           const char *expected, size_t expected_len)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    format_write(out, slice_cstr(format), message);
    fclose(out);
    assert_int_equal(len, expected_len);
    assert_memory_equal(text, expected, len);
    free(text);
}

static void test_records(void **state)
{
    (void)state;
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, NULL, 0);
    assert_non_null(client);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, "a-topic", NULL);
    char key[] = "k\0y", value[] = "v";
    rd_kafka_message_t message = {.rkt = topic,
                                  .partition = 3,
                                  .offset = INT64_C(5000000000),
                                  .key = key,
                                  .key_len = 3,
                                  .payload = value,
                                  .len = 1};
    assert_written("%t %p %o %K %S 100%%|%k|%s", &message, "a-topic 3 5000000000 3 1 100%|k\0y|v",
                   35);
    message.key = message.payload = NULL;
    message.key_len = message.len = 0;
    assert_written("[%k][%s] %K %S", &message, "[][] -1 -1", 10);
    message.payload = value; /* an empty value is no tombstone */
    assert_written("%S", &message, "0", 1);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_wrong_escapes_are_pointed_at),
        cmocka_unit_test(test_unknown_letters_are_pointed_at),
        cmocka_unit_test(test_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
