/*
 * Runs one job: source -> query -> sinks, in epochs.
 *
 * An epoch is what one poll of the source brings (less when much output gathers): its events are run through the query
 * in slices of a bounded number of events, so that foreground work of the shard goes first; then the sinks are made
 * durable, then the positions are saved, then the next epoch begins. After a crash the job goes on from the saved
 * positions: no event is lost, rows of the unfinished epoch may come twice.
 *
 * Shard: owner for everything.
 */
#ifndef WEIR_STREAM_RUNNER_H
#define WEIR_STREAM_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/query.h"
#include "io/shard.h"
#include "stream/sink.h"
#include "stream/source.h"

struct runner;

enum runner_state {
    RUNNER_STOPPED,
    RUNNER_STARTING,
    RUNNER_RUNNING,
    RUNNER_WAITING,
    RUNNER_STOPPING,
    RUNNER_FAILED
};

/* Saves the state (positions, sinks and counts, a JSON object); done answers when it is durable, or inside the call when
 * it cannot be tried. The text is read before the call returns. */
typedef void (*runner_save_fn)(void *ctx, struct slice state, source_done_fn done, void *done_ctx);

struct runner_config {
    struct shard *shard;
    const struct plan *plan; /* must outlive the runner */
    struct source *source;   /* both become the runner's */
    struct sink **sinks;     /* one for each output of the plan */
    runner_save_fn save;
    void (*stopped)(void *ctx); /* after runner_stop or a failure: nothing is under way */
    void *ctx;
};

/* Saved with the positions: each event counts once over restarts of the job and of the server. */
struct runner_counts {
    uint64_t events;    /* read from the inputs */
    uint64_t malformed; /* records that are no JSON events, or cannot be read */
    uint64_t dropped;   /* without a usable time, or not of the declared types */
    uint64_t rows;      /* written to outputs */
    uint64_t epochs;
};

struct runner_status {
    enum runner_state state;
    struct runner_counts counts;
    uint64_t restarts; /* from saved positions after an error, since the runner was made */
    int64_t lag;       /* records behind the ends of the inputs, at the last poll; -1: not known */
    char error[248];   /* why it failed, or waits, or reads only a part of its inputs */
    char malformed_text[96]; /* what was wrong with the last malformed record; empty: not known */
};

/* NULL: out of memory; source and sinks are the caller's still. */
struct runner *runner_create(const struct runner_config *config);
/* Must be stopped or failed. Destroys source and sinks. NULL is allowed. */
void runner_destroy(struct runner *runner);
/*
 * state: as saved last; empty: a new job. One that cannot be read fails the job: to begin anew could skip events. The job
 * runs when its positions are saved, so that a job that begins at its inputs' ends has them from then on.
 * ERR_NO_MEMORY: nothing has begun.
 */
MUST_CHECK enum err runner_start(struct runner *runner, struct slice state);
/* Ends at the next end of an epoch; config.stopped is called then. */
void runner_stop(struct runner *runner);
void runner_status_read(const struct runner *runner, struct runner_status *ret_status);
/* Counts of a saved state, for a job that has no runner. */
void runner_counts_read(struct slice state, struct runner_counts *ret_counts);
const char *runner_state_name(enum runner_state state);

#endif
