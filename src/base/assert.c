/*
 * The end of the process on a broken invariant.
 *
 * weir_panic writes one line with the place, runs the hook (by default the dump of the diagnostic
 * ring) and aborts. A panic inside the hook aborts at once. Nothing allocates: the heap may be what
 * is broken. Any thread.
 */
#include "base/assert.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/diag.h"

static _Atomic(void (*)(void)) panic_hook = diag_ring_dump;
static atomic_bool panicking;

void weir_panic_hook_set(void (*hook)(void))
{
    atomic_store(&panic_hook, hook ? hook : diag_ring_dump);
    atomic_store(&panicking, false);
}

void weir_panic(const char *file, int line, const char *func, const char *what)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "panic: %s:%d: %s: %s\n", file, line, func, what);
    if (len >= (int)sizeof(text))
        len = sizeof(text) - 1;
    ssize_t written = len > 0 ? write(STDERR_FILENO, text, (size_t)len) : 0;
    (void)written; /* nothing better can be done about it */
    if (!atomic_exchange(&panicking, true)) {
        void (*hook)(void) = atomic_load(&panic_hook);
        hook();
    }
    abort();
}
