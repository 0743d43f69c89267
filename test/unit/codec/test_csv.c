/* Delimited text: quoting, line ends, limits, arrival in pieces, and round trips. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/random.h"
#include "codec/csv.h"

enum { FIELDS_MAX = 8 };

/* All records of text as "field|field;record;..." ; "!reason" at the end when it is bad. */
static void expect_records(const char *text, const char *want)
{
    struct csv_reader reader;
    struct slice in = slice_cstr(text);
    struct slice fields[FIELDS_MAX];
    struct bytebuf got;
    size_t count;
    enum csv_result result;
    csv_reader_init(&reader, ',', 50);
    bytebuf_init(&got, 10000);
    while ((result = csv_reader_next(&reader, &in, true, fields, FIELDS_MAX, &count)) ==
           CSV_RECORD) {
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                bytebuf_append_byte(&got, '|');
            bytebuf_append_slice(&got, fields[i]);
        }
        bytebuf_append_byte(&got, ';');
    }
    if (result == CSV_BAD) {
        bytebuf_append_byte(&got, '!');
        bytebuf_append_cstr(&got, reader.reason);
    }
    bytebuf_append_byte(&got, 0);
    assert_string_equal((char *)got.data, want);
    bytebuf_deinit(&got);
    csv_reader_deinit(&reader);
}

static void test_records(void **state)
{
    expect_records("", "");
    expect_records("a,b\nc,d\n", "a|b;c|d;");
    expect_records("a,b\r\nc,d", "a|b;c|d;");
    expect_records("\n\r\na\n\n\nb\r\n\r", "a;b;");
    expect_records(",\n,,\n", "|;||;");
    expect_records("\"a,b\",c\n", "a,b|c;");
    expect_records("\"a\"\"b\",\"\"\"\"\n", "a\"b|\";");
    expect_records("\"two\nlines\",x\n", "two\nlines|x;");
    expect_records("\"\"\n", ";");
    expect_records("say \"hi\",x\n", "say \"hi\"|x;");
    expect_records("\"a\"tail\"x,b\n", "atail\"x|b;");
    expect_records("\"last\"", "last;");
    expect_records("\"cr\r\"\r\n", "cr\r;");
}

static void test_bad(void **state)
{
    expect_records("a\n\"open,b\n", "a;!a quote is never closed");
    expect_records("1,2,3,4,5,6,7,8\n1,2,3,4,5,6,7,8,9\n",
                   "1|2|3|4|5|6|7|8;!too many fields in a record");
    expect_records("0123456789012345678901234567890123456789012345678901\n",
                   "!a record is too long");
    expect_records("\"0123456789012345678901234567890123456789012345678901\n",
                   "!a record is too long, or a quote is never closed");
}

static void test_pieces(void **state)
{
    static const char text[] = "a,\"b\"\"c\nd\",e\r\n\r\n\"x\"\n";
    struct csv_reader reader;
    csv_reader_init(&reader, ',', 100);
    size_t begin = 0;
    int records = 0;
    for (size_t end = 0; end <= strlen(text); end++) {
        struct slice fields[FIELDS_MAX];
        size_t count;
        struct slice in = slice_make(text + begin, end - begin);
        while (csv_reader_next(&reader, &in, false, fields, FIELDS_MAX, &count) == CSV_RECORD) {
            records++;
            if (records == 1) {
                assert_int_equal(count, 3);
                assert_true(slice_equal(fields[1], SLICE_LIT("b\"c\nd")));
                assert_int_equal(reader.line, 1);
            } else {
                assert_true(slice_equal(fields[0], SLICE_LIT("x")));
                assert_int_equal(reader.line, 4);
            }
        }
        begin = end - in.len;
    }
    assert_int_equal(records, 2);
    csv_reader_deinit(&reader);
}

static void test_round_trip(void **state)
{
    static const char alphabet[] = "ab,;\"\n\r ";
    struct random random;
    random_init(&random, 4);
    for (int round = 0; round < 5000; round++) {
        char text[FIELDS_MAX][6];
        struct slice fields[FIELDS_MAX];
        struct slice back[FIELDS_MAX];
        size_t count = 1 + random_below(&random, FIELDS_MAX);
        char delimiter = random_one_in(&random, 2) ? ',' : ';';
        for (size_t i = 0; i < count; i++) {
            size_t len = random_below(&random, 7);
            for (size_t k = 0; k < len && k < 6; k++)
                text[i][k] = alphabet[random_below(&random, sizeof(alphabet) - 1)];
            fields[i] = slice_make(text[i], len < 6 ? len : 6);
        }
        struct bytebuf out;
        bytebuf_init(&out, 1000);
        csv_write_record(&out, fields, count, delimiter);
        struct csv_reader reader;
        csv_reader_init(&reader, delimiter, 1000);
        struct slice in = bytebuf_slice(&out);
        size_t back_count;
        assert_int_equal(csv_reader_next(&reader, &in, true, back, FIELDS_MAX, &back_count),
                         CSV_RECORD);
        assert_int_equal(back_count, count);
        assert_int_equal(in.len, 0);
        for (size_t i = 0; i < count; i++)
            assert_true(slice_equal(back[i], fields[i]));
        csv_reader_deinit(&reader);
        bytebuf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
