/*
 * Where a job's rows go. Implemented above (connect); used by the runner.
 *
 * rows buffers; commit makes everything buffered durable and answers exactly once, later on the same shard, or inside
 * the call when there is nothing to do. After a failed commit the runner calls discard and starts again from the positions saved last.
 */
#ifndef WEIR_STREAM_SINK_H
#define WEIR_STREAM_SINK_H

#include <stddef.h>

#include "base/bytebuf.h"
#include "base/error.h"
#include "exec/query.h"

struct sink;

typedef void (*sink_done_fn)(void *ctx, enum err err, const struct err_info *info);

struct sink_ops {
    /* Prepares the place; state: as written by state, empty the first time. */
    void (*open)(struct sink *sink, struct slice state, sink_done_fn done, void *ctx);
    enum err (*rows)(struct sink *sink, const struct exec_rows *rows, struct err_info *info);
    size_t (*buffered)(const struct sink *sink); /* bytes */
    void (*commit)(struct sink *sink, sink_done_fn done, void *ctx);
    void (*discard)(struct sink *sink);
    /* Appends what a later open needs, as a JSON value. */
    void (*state)(const struct sink *sink, struct bytebuf *out);
    /* Nothing may be under way. */
    void (*destroy)(struct sink *sink);
};

struct sink {
    const struct sink_ops *ops;
};

#endif
