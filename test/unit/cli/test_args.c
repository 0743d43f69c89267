/* The argument parser: forms of options, limits, nearest names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/nearest.h"
#include "cli/args.h"

struct values {
    bool flag;
    const char *text, *choice;
    int64_t number;
    struct arg_list list;
};

static enum args_result parse(struct values *values, struct arg_operands *operands, int argc,
                              char **argv)
{
    const struct arg_option options[] = {
        {"flag", 'f', ARG_FLAG, &values->flag, "", "a flag", NULL, 0, 0},
        {"text", 't', ARG_TEXT, &values->text, "TEXT", "a text", NULL, 0, 0},
        {"number", 'n', ARG_INT, &values->number, "N", "a number", NULL, 0, 10},
        {"choice", 0, ARG_CHOICE, &values->choice, NULL, "a choice", "one|other", 0, 0},
        {"item", 'i', ARG_LIST, &values->list, "ITEM", "repeated", NULL, 0, 0},
        {0},
    };
    const struct arg_command command = {"test", "A [B]", "A test.", NULL, 1, 2, options};
    return args_parse(&command, argc, argv, operands);
}

#define PARSE(values, operands, ...)                                                               \
    parse(values, operands, (int)(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)),               \
          (char *[]){__VA_ARGS__})

static void test_forms(void **state)
{
    struct values values = {0};
    struct arg_operands operands;
    char text[] = "--text=x", number[] = "-n5";
    assert_int_equal(
        PARSE(&values, &operands, "a", text, number, "-f", "-i", "1", "--item", "2", "--", "-b"),
        ARGS_OK);
    assert_true(values.flag);
    assert_string_equal(values.text, "x");
    assert_int_equal(values.number, 5);
    assert_int_equal(values.list.count, 2);
    assert_int_equal(operands.count, 2);
    assert_string_equal(operands.items[1], "-b");
}

static void test_refusals(void **state)
{
    struct values values = {0};
    struct arg_operands operands;
    char flag_with_value[] = "--flag=yes";
    assert_int_equal(PARSE(&values, &operands, "-f"), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", "b", "c"), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", "--nmber", "1"), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", "-n"), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", "-n", "11"), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", "-n", "1x"), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", "--choice", "on"), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", flag_with_value), ARGS_WRONG);
    assert_int_equal(PARSE(&values, &operands, "a", "--choice", "other"), ARGS_OK);
    assert_int_equal(PARSE(&values, &operands, "--help"), ARGS_DONE);
}

static void test_nearest(void **state)
{
    static const char *const names[] = {"topic", "produce", "consume"};
    assert_string_equal(nearest_name("tpic", names, 3), "topic");
    assert_string_equal(nearest_name("consum", names, 3), "consume");
    assert_null(nearest_name("xyzzy", names, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
