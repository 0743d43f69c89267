/* Job definitions: what is taken, and the words of every refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "connect/job_def.h"

static enum err parse(const char *json, struct arena **ret_arena, struct job_def *ret_def,
                      struct err_info *info)
{
    *ret_arena = arena_create(NULL, "test", 1 << 20);
    memset(info, 0, sizeof(*info));
    return job_def_parse(slice_cstr(json), *ret_arena, ret_def, info);
}

static void test_whole(void **state)
{
    struct job_def def;
    struct arena *arena;
    struct err_info info;
    assert_int_equal(
        parse("{\"name\":\"j\",\"query\":\"SELECT 1\",\"start\":\"latest\","
              "\"inputs\":[{\"name\":\"i\",\"hub\":\"h\"}],\"outputs\":["
              "{\"name\":\"a\",\"topic\":\"t\"},{\"name\":\"b\",\"blob\":\"con/x/y.CSV\"},"
              "{\"name\":\"c\",\"blob\":\"con/z\",\"format\":\"jsonl\"}]}",
              &arena, &def, &info),
        ERR_OK);
    assert_int_equal(def.start, JOB_START_LATEST);
    assert_true(slice_equal(job_def_input(&def, SLICE_LIT("I"))->topic, SLICE_LIT("h")));
    assert_true(slice_equal(job_def_input(&def, SLICE_LIT("new"))->topic, SLICE_LIT("new")));
    assert_true(slice_equal(job_def_output(&def, SLICE_LIT("b"))->blob, SLICE_LIT("x/y.CSV")));
    assert_int_equal(job_def_output(&def, SLICE_LIT("b"))->format, JOB_FORMAT_CSV);
    assert_int_equal(job_def_output(&def, SLICE_LIT("c"))->format, JOB_FORMAT_JSON_LINES);
    assert_true(slice_equal(job_def_output(&def, SLICE_LIT("o"))->topic, SLICE_LIT("o")));
    arena_destroy(arena);
}

static void expect_refusal(const char *json, const char *text)
{
    struct job_def def;
    struct arena *arena;
    struct err_info info;
    assert_int_equal(parse(json, &arena, &def, &info), ERR_INVALID_CONFIG);
    assert_string_equal(info.text, text);
    arena_destroy(arena);
}

static void test_refusals(void **state)
{
    expect_refusal("[]", "an object is expected for 'the job'");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"nam\":1}",
                   "the job has the unknown key 'nam'; did you mean 'name'?");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"outputs\":[{\"fromat\":1}]}",
                   "an output has the unknown key 'fromat'; did you mean 'format'?");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"colour\":1}",
                   "the job has the unknown key 'colour'");
    expect_refusal("{\"query\":\"q\"}", "the job has no 'name'");
    expect_refusal("{\"name\":\"j\"}", "the job has no 'query'");
    expect_refusal("{\"name\":\"a/b\",\"query\":\"q\"}", "not a name for a job: 'a/b'");
    expect_refusal("{\"name\":7,\"query\":\"q\"}", "a text is expected for 'name'");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"start\":\"now\"}",
                   "start is earliest or latest, not 'now'");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"inputs\":[{\"name\":\"i\"}]}",
                   "neither topic nor hub is given for the input 'i'");
    expect_refusal(
        "{\"name\":\"j\",\"query\":\"q\",\"inputs\":[{\"name\":\"i\",\"topic\":\"a b\"}]}",
        "no topic can have the name 'a b'");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"outputs\":[{\"name\":\"o\",\"blob\":\"x\"}]}",
                   "a blob is written container/name, not 'x'");
    expect_refusal(
        "{\"name\":\"j\",\"query\":\"q\",\"outputs\":[{\"name\":\"o\",\"blob\":\"Up/x\"}]}",
        "not a name for a container: 'Up/x'");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"outputs\":[{\"name\":\"o\",\"topic\":\"t\","
                   "\"blob\":\"con/x\"}]}",
                   "one of topic, hub and blob must be given for the output 'o'");
    expect_refusal("{\"name\":\"j\",\"query\":\"q\",\"outputs\":[{\"name\":\"o\",\"topic\":\"t\"},"
                   "{\"name\":\"O\",\"topic\":\"t\"}]}",
                   "there are two outputs 'O'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
