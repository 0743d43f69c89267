/*
 * Where a job's events come from. Implemented above (connect); used by the runner.
 *
 * A source belongs to one job on one shard. Calls that take a `done` answer later on the same shard, never inside the
 * call, exactly once. Values handed out by next stay until the next SOURCE_FLUSH or release.
 */
#ifndef WEIR_STREAM_SOURCE_H
#define WEIR_STREAM_SOURCE_H

#include <stdint.h>

#include "base/bytebuf.h"
#include "base/error.h"
#include "base/slice.h"

struct source;

struct source_event {
    uint32_t input;
    struct slice value;  /* data NULL: the record has none */
    int64_t arrival_ms;  /* since 1970 UTC */
    uint32_t unreadable; /* of SOURCE_UNREADABLE: how many */
};

enum source_next {
    SOURCE_EVENT,
    SOURCE_FLUSH,      /* the caller must let go of earlier values, then ask again */
    SOURCE_DRAINED,    /* all of the last poll has been handed out */
    SOURCE_UNREADABLE, /* events of this number are damaged and passed; info says how */
    SOURCE_FAILED      /* cannot go on from here; info has the error. Nothing was passed */
};

typedef void (*source_done_fn)(void *ctx, enum err err, const struct err_info *info);

struct source_ops {
    /*
     * Finds the inputs and where to begin: positions as written by positions (empty: from the start rule).
     * Positions that cannot be read are an error, never a new beginning.
     */
    void (*open)(struct source *source, struct slice positions, source_done_fn done, void *ctx);
    /* Gets more events, waiting a while for them. With ERR_OK, info (may be NULL) may hold a text: what keeps a part
     * of the inputs from being read, for the status. */
    void (*poll)(struct source *source, source_done_fn done, void *ctx);
    enum source_next (*next)(struct source *source, struct source_event *ret_event,
                             struct err_info *info);
    /* Lets go of the last poll's events. */
    void (*release)(struct source *source);
    /* Ends a waiting poll soon. */
    void (*cancel)(struct source *source);
    /* Appends, as a JSON object, where a later open goes on: behind the last event handed out. */
    void (*positions)(const struct source *source, struct bytebuf *out);
    /* Records between the positions and the ends of the inputs, as of the last poll. */
    uint64_t (*lag)(const struct source *source);
    /* Nothing may be under way. */
    void (*destroy)(struct source *source);
};

struct source {
    const struct source_ops *ops;
};

#endif
