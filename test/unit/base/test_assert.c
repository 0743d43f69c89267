/* A failed assertion prints its place, runs the hook and ends the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/diag.h"

static void hook(void)
{
    if (write(STDERR_FILENO, "hook ran\n", 9) != 9)
        _exit(9);
}

static void bad_hook(void)
{
    ASSERT(!"inside the hook");
}

/* Runs body in a child with stderr caught; fails unless it aborts. */
static void expect_abort(void (*body)(void), char *ret_text, size_t cap)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], ret_text + len, cap - 1 - len)) > 0)
        len += (size_t)got;
    ret_text[len] = '\0';
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void fail_with_hook(void)
{
    weir_panic_hook_set(hook);
    ASSERT(1 + 1 == 3);
}

static void fail_in_hook(void)
{
    weir_panic_hook_set(bad_hook);
    UNREACHABLE();
}

static void fail_with_ring(void)
{
    diag(DIAG_DEBUG, "test", "seen=%d", 77);
    ASSERT(0);
}

static void test_abort(void **state)
{
    char text[8192];
    expect_abort(fail_with_hook, text, sizeof(text));
    assert_non_null(strstr(text, "1 + 1 == 3"));
    assert_non_null(strstr(text, "fail_with_hook"));
    assert_non_null(strstr(text, "hook ran"));
    expect_abort(fail_in_hook, text, sizeof(text));
    assert_non_null(strstr(text, "inside the hook"));
    expect_abort(fail_with_ring, text, sizeof(text));
    assert_non_null(strstr(text, "area=test seen=77\n"));
}

static void test_pass(void **state)
{
    ASSERT(1);
    DASSERT(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_abort), cmocka_unit_test(test_pass)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
