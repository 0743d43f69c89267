/*
 * Assertions that stay in release builds.
 *
 * A broken invariant ends the process near its cause: continuing could acknowledge data that is not
 * there. Bytes from a peer or a disk are never asserted, they are checked (law 6 in
 * ARCHITECTURE.md).
 */
#ifndef WEIR_BASE_ASSERT_H
#define WEIR_BASE_ASSERT_H

#include <assert.h>

/* Checked in every build. Prints the expression and place, dumps the diagnostic ring, aborts. */
#define ASSERT(cond) ((cond) ? (void)0 : weir_panic(__FILE__, __LINE__, __func__, #cond))

/* Costly walks (whole lists, trees): checked in debug and sanitizer builds only. */
#ifdef WEIR_DEBUG
#define DASSERT(cond) ASSERT(cond)
#else
#define DASSERT(cond) ((void)(0 && (cond)))
#endif

#define UNREACHABLE() weir_panic(__FILE__, __LINE__, __func__, "unreachable")

/* Results that a caller must look at. */
#define MUST_CHECK __attribute__((warn_unused_result))

_Noreturn void weir_panic(const char *file, int line, const char *func, const char *what);

/*
 * Hook run once by weir_panic before abort, to dump what the process knows (the diagnostic ring).
 * Shard: init. It must not allocate and may be called from any thread.
 */
void weir_panic_hook_set(void (*hook)(void));

#endif
