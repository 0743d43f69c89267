/*
 * Threads of the process: named, with a small fixed stack, all signals blocked (they belong to the
 * waiting main thread).
 */
#ifndef WEIR_IO_THREAD_H
#define WEIR_IO_THREAD_H

#include <pthread.h>
#include <stddef.h>

#include "base/assert.h"
#include "base/error.h"

/* name: at most 15 bytes. stack: bytes, raised to what the build needs (sanitizers use more). */
MUST_CHECK enum err thread_start(pthread_t *ret_thread, const char *name, size_t stack,
                                 void *(*fn)(void *arg), void *arg, struct err_info *info);

#endif
