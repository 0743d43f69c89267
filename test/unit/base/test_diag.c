/* Diagnostic lines: form, levels, cutting, and the ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"

static char caught[256 * 512];

/* Runs body with stderr in a file and reads it into `caught`. */
static void catch_stderr(void (*body)(void))
{
    FILE *file = tmpfile();
    assert_non_null(file);
    int saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
    body();
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size_t len = fread(caught, 1, sizeof(caught) - 1, file);
    caught[len] = '\0';
    fclose(file);
}

static void write_two(void)
{
    diag(DIAG_WARN, "seglog", "partition=%s offset=%d", "t-0", 5);
    diag(DIAG_DEBUG, "seglog", "hidden=1");
}

static void write_long(void)
{
    diag(DIAG_ERROR, "test", "%0900d", 1);
}

static void write_many_and_dump(void)
{
    diag_level_set(DIAG_ERROR);
    for (int i = 0; i < 1000; i++)
        diag(DIAG_INFO, "test", "n=%d.", i);
    diag_level_set(DIAG_INFO);
    diag_ring_dump();
}

static void test_lines(void **state)
{
    assert_int_equal(diag_level_get(), DIAG_INFO);
    catch_stderr(write_two);
    assert_non_null(strstr(caught, "Z level=warn area=seglog partition=t-0 offset=5\n"));
    assert_memory_equal(caught, "ts=20", 5);
    assert_null(strstr(caught, "hidden"));
    catch_stderr(write_long);
    assert_int_equal(strchr(caught, '\n') - caught, strlen(caught) - 1);
    assert_true(strlen(caught) <= 512);
}

static void write_hostile(void)
{
    diag(DIAG_WARN, "test", "name=%s", "a\nts=0 level=error\r\x1b[2J\x7f\tb\xc3\xa9");
}

/* What a peer named something can neither begin a line nor steer a terminal. */
static void test_control_characters(void **state)
{
    catch_stderr(write_hostile);
    assert_int_equal(strchr(caught, '\n') - caught, strlen(caught) - 1);
    assert_non_null(strstr(caught, "name=a?ts=0 level=error??[2J??b\xc3\xa9\n"));
}

static void test_ring(void **state)
{
    catch_stderr(write_many_and_dump);
    assert_non_null(strstr(caught, "n=999.\n"));
    assert_non_null(strstr(caught, "n=744.\n"));
    assert_null(strstr(caught, "n=743.\n"));
    assert_true(strstr(caught, "n=744.") < strstr(caught, "n=999."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_control_characters),
                                       cmocka_unit_test(test_ring)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
