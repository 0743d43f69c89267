/*
 * The disk workers of a process: a few threads that run blocking work for all shards.
 *
 * Two lanes share the threads. Items of a lane start in order; slow items never occupy every
 * thread, so a commit does not wait behind a recovery. Any thread pushes; the completion goes to
 * the owner's reactor (reactor_int.h).
 */
#ifndef WEIR_IO_WORKPOOL_H
#define WEIR_IO_WORKPOOL_H

#include "base/assert.h"
#include "base/error.h"

struct work;
struct workpool;

#define WORKPOOL_THREADS_MIN 2
#define WORKPOOL_THREADS_MAX 16

MUST_CHECK enum err workpool_create(unsigned threads, struct workpool **ret_pool,
                                    struct err_info *info);
/* Finishes everything queued, then joins. */
void workpool_destroy(struct workpool *pool);
void workpool_push(struct workpool *pool, struct work *work);

#endif
