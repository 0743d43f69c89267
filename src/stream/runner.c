/*
 * Runs one job (see stream/runner.h).
 *
 *   STOPPED -> STARTING (sinks, then source, open) -> RUNNING: poll -> work -> commit -> save -> poll ...
 *   any error that may pass: WAITING, then STARTING from the saved state; any other: FAILED
 *   stop: STOPPING until the epoch under way has ended, then STOPPED
 *
 * Invariants: (1) at most one operation is under way; (2) positions are saved only after every row of the events before
 * them is durable; (3) a slice handles at most SLICE_EVENTS events; (4) buffered output stays near BUFFER_MAX.
 * Ownership: one shard. The state saved last is kept as text, for restarts. Failure: as above; the text is in status.
 */
#include "stream/runner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytebuf.h"
#include "base/diag.h"
#include "io/reactor.h"
#include "stream/state_int.h"

enum {
    SLICE_EVENTS = 2048,
    BUFFER_MAX = 16 << 20,
    STATE_MAX = 4 << 20,
    RETRY_US = 500000,
    QUERY_MEMORY_MAX = 512 << 20
};

/* 1970-01-01 in ticks since 0001-01-01. */
#define UNIX_EPOCH_TICKS 621355968000000000LL

struct runner {
    struct runner_config config;
    struct exec_query *query;
    struct runner_status status;
    struct bytebuf saved; /* state as saved last */
    struct bytebuf next_state;
    struct timer timer;
    struct err_info info;
    uint32_t sink_at; /* the sink being opened or committed */
    bool busy;        /* an operation or the timer is under way */
    bool working;     /* events of the last poll are left */
    bool dirty;       /* positions have moved since they were saved */
    bool stop_asked;
    bool told;               /* config.stopped has been called */
    struct exec_counts base; /* counts of queries before this one */
};

const char *runner_state_name(enum runner_state state)
{
    static const char *const names[] = {"stopped", "starting", "running",
                                        "waiting", "stopping", "failed"};
    ASSERT((unsigned)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

static void runner_turn(struct timer *timer);
static void runner_poll(struct runner *runner);
static void runner_work(struct runner *runner);
static void runner_open(struct runner *runner);

static enum err take_rows(void *ctx, const struct exec_rows *rows, struct err_info *info)
{
    struct runner *runner = ctx;
    struct sink *sink = runner->config.sinks[exec_rows_output(rows)];

    runner->status.rows += exec_rows_count(rows);
    return sink->ops->rows(sink, rows, info);
}

struct runner *runner_create(const struct runner_config *config)
{
    struct runner *runner = calloc(1, sizeof(*runner));

    if (runner == NULL)
        return NULL;
    runner->config = *config;
    bytebuf_init(&runner->saved, STATE_MAX);
    bytebuf_init(&runner->next_state, STATE_MAX);
    timer_init(&runner->timer, runner_turn);
    return runner;
}

void runner_destroy(struct runner *runner)
{
    if (runner == NULL)
        return;
    ASSERT(!runner->busy);
    exec_query_destroy(runner->query);
    for (uint32_t i = 0; i < runner->config.plan->output_count; i++)
        runner->config.sinks[i]->ops->destroy(runner->config.sinks[i]);
    runner->config.source->ops->destroy(runner->config.source);
    bytebuf_deinit(&runner->saved);
    bytebuf_deinit(&runner->next_state);
    free(runner);
}

static void count_add(struct runner *runner)
{
    if (runner->query == NULL)
        return;
    const struct exec_counts *counts = exec_query_counts(runner->query);
    runner->status.events = runner->base.events + counts->events;
    runner->status.malformed = runner->base.bad + counts->bad;
    runner->status.dropped = runner->base.untimed + counts->untimed + counts->undeclared;
    if (counts->bad > 0)
        memcpy(runner->status.malformed_text, counts->bad_text,
               sizeof(runner->status.malformed_text));
}

/* Lets go of the query; its counts stay. */
static void query_drop(struct runner *runner)
{
    count_add(runner);
    runner->base.events = runner->status.events;
    runner->base.bad = runner->status.malformed;
    runner->base.untimed = runner->status.dropped;
    exec_query_destroy(runner->query);
    runner->query = NULL;
}

static void runner_rest(struct runner *runner, enum runner_state state)
{
    runner->busy = false;
    runner->working = false;
    runner->dirty = false;
    runner->status.state = state;
    runner->config.source->ops->release(runner->config.source);
    for (uint32_t i = 0; i < runner->config.plan->output_count; i++)
        runner->config.sinks[i]->ops->discard(runner->config.sinks[i]);
    query_drop(runner);
    if (!runner->told) {
        runner->told = true;
        runner->config.stopped(runner->config.ctx);
    }
}

/* What may pass is tried again from the saved state; anything else ends the job. */
static void runner_error(struct runner *runner, enum err err, const struct err_info *info)
{
    const char *text = info != NULL && info->text[0] != '\0' ? info->text : err_row(err)->text;

    snprintf(runner->status.error, sizeof(runner->status.error), "%s", text);
    diag(DIAG_DEBUG, "job", "state=%s error=\"%s\"", runner_state_name(runner->status.state), text);
    if (runner->stop_asked) {
        runner_rest(runner, RUNNER_STOPPED);
        return;
    }
    if (err_row(err)->class != ERR_CLASS_RETRIABLE) {
        runner_rest(runner, RUNNER_FAILED);
        return;
    }
    runner->config.source->ops->release(runner->config.source);
    for (uint32_t i = 0; i < runner->config.plan->output_count; i++)
        runner->config.sinks[i]->ops->discard(runner->config.sinks[i]);
    query_drop(runner);
    runner->working = false;
    runner->dirty = false;
    runner->status.state = RUNNER_WAITING;
    runner->status.restarts++;
    runner->busy = true;
    timer_arm(runner->config.shard->reactor, &runner->timer, RETRY_US);
}

/* ---- opening ---- */

static void on_source_open(void *ctx, enum err err, const struct err_info *info)
{
    struct runner *runner = ctx;

    runner->busy = false;
    if (err != ERR_OK) {
        runner_error(runner, err, info);
        return;
    }
    struct exec_options options = {.level = JSON_LEVEL_CHECKED,
                                   .memory_max = QUERY_MEMORY_MAX,
                                   .rows = take_rows,
                                   .rows_ctx = runner};
    runner->query = exec_query_create(runner->config.plan, &options, &runner->info);
    if (runner->query == NULL) {
        runner_error(runner, runner->info.code, &runner->info);
        return;
    }
    runner->status.state = runner->stop_asked ? RUNNER_STOPPING : RUNNER_RUNNING;
    runner_poll(runner);
}

static void on_sink_open(void *ctx, enum err err, const struct err_info *info)
{
    struct runner *runner = ctx;

    runner->busy = false;
    if (err != ERR_OK) {
        runner_error(runner, err, info);
        return;
    }
    runner->sink_at++;
    runner_open(runner);
}

/* Opens the sinks one after another, then the source. */
static void runner_open(struct runner *runner)
{
    struct slice saved = bytebuf_slice(&runner->saved);

    runner->busy = true;
    if (runner->sink_at < runner->config.plan->output_count) {
        struct sink *sink = runner->config.sinks[runner->sink_at];
        sink->ops->open(sink, stream_state_sink(saved, runner->sink_at), on_sink_open, runner);
        return;
    }
    struct source *source = runner->config.source;
    source->ops->open(source, stream_state_positions(saved), on_source_open, runner);
}

void runner_start(struct runner *runner, struct slice state)
{
    ASSERT(!runner->busy);
    ASSERT(runner->status.state == RUNNER_STOPPED || runner->status.state == RUNNER_FAILED);
    bytebuf_clear(&runner->saved);
    bytebuf_append_slice(&runner->saved, state);
    runner->status.state = RUNNER_STARTING;
    runner->status.error[0] = '\0';
    runner->stop_asked = false;
    runner->told = false;
    runner->sink_at = 0;
    runner_open(runner);
}

/* ---- the end of an epoch ---- */

static void on_saved(void *ctx, enum err err, const struct err_info *info)
{
    struct runner *runner = ctx;

    runner->busy = false;
    if (err != ERR_OK) {
        runner_error(runner, err, info);
        return;
    }
    bytebuf_clear(&runner->saved);
    bytebuf_append_slice(&runner->saved, bytebuf_slice(&runner->next_state));
    runner->status.epochs++;
    runner->dirty = false;
    runner->status.error[0] = '\0';
    if (runner->working)
        runner_work(runner);
    else
        runner_poll(runner);
}

static void runner_save(struct runner *runner)
{
    struct source *source = runner->config.source;
    struct bytebuf *out = &runner->next_state;

    bytebuf_clear(out);
    bytebuf_append_cstr(out, "{\"positions\":");
    source->ops->positions(source, out);
    bytebuf_append_cstr(out, ",\"sinks\":[");
    for (uint32_t i = 0; i < runner->config.plan->output_count; i++) {
        if (i > 0)
            bytebuf_append_byte(out, ',');
        runner->config.sinks[i]->ops->state(runner->config.sinks[i], out);
    }
    bytebuf_append_cstr(out, "]}");
    if (out->failed) {
        snprintf(runner->status.error, sizeof(runner->status.error),
                 "the job's state exceeds %d bytes", STATE_MAX);
        runner_rest(runner, RUNNER_FAILED);
        return;
    }
    runner->busy = true;
    runner->config.save(runner->config.ctx, bytebuf_slice(out), on_saved, runner);
}

static void runner_commit(struct runner *runner);

static void on_commit(void *ctx, enum err err, const struct err_info *info)
{
    struct runner *runner = ctx;

    runner->busy = false;
    if (err != ERR_OK) {
        runner_error(runner, err, info);
        return;
    }
    runner->sink_at++;
    runner_commit(runner);
}

static void runner_commit(struct runner *runner)
{
    if (runner->sink_at == runner->config.plan->output_count) {
        runner_save(runner);
        return;
    }
    struct sink *sink = runner->config.sinks[runner->sink_at];
    runner->busy = true;
    sink->ops->commit(sink, on_commit, runner);
}

/* ---- events ---- */

static size_t runner_buffered(const struct runner *runner)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < runner->config.plan->output_count; i++)
        bytes += runner->config.sinks[i]->ops->buffered(runner->config.sinks[i]);
    return bytes;
}

/* Feeds one record; one that holds no text of events is counted as malformed by the query. */
static enum err feed_event(struct runner *runner, const struct source_event *event)
{
    int64_t ticks = UNIX_EPOCH_TICKS;
    size_t used;

    if (event->arrival_ms > 0 && event->arrival_ms < 253402300800000LL)
        ticks += event->arrival_ms * 10000;
    struct slice text = event->value;
    if (text.data == NULL || text.len == 0)
        text = SLICE_LIT("null");
    return exec_query_feed(runner->query, event->input, text, ticks, true, &used, &runner->info);
}

/* One slice of the last poll's events. */
static void runner_work(struct runner *runner)
{
    struct source *source = runner->config.source;
    struct source_event event;
    enum err err = ERR_OK;
    uint32_t count = 0;
    enum source_next next = SOURCE_EVENT;

    while (err == ERR_OK && count < SLICE_EVENTS) {
        next = source->ops->next(source, &event);
        if (next == SOURCE_DRAINED)
            break;
        runner->dirty = true;
        if (next == SOURCE_EVENT)
            err = feed_event(runner, &event);
        else
            err = exec_query_flush(runner->query, &runner->info);
        count++;
    }
    if (err == ERR_OK)
        err = exec_query_flush(runner->query, &runner->info);
    count_add(runner);
    if (err != ERR_OK) {
        runner_error(runner, err, &runner->info);
        return;
    }
    runner->working = next != SOURCE_DRAINED;
    if (!runner->working)
        source->ops->release(source);
    if (!runner->working && !runner->dirty) {
        runner_poll(runner);
        return;
    }
    if (!runner->working || runner_buffered(runner) >= BUFFER_MAX) {
        runner->sink_at = 0;
        runner_commit(runner);
        return;
    }
    runner->busy = true;
    timer_arm(runner->config.shard->reactor, &runner->timer, 0);
}

static void on_polled(void *ctx, enum err err, const struct err_info *info)
{
    struct runner *runner = ctx;

    runner->busy = false;
    if (err != ERR_OK) {
        runner_error(runner, err, info);
        return;
    }
    runner->working = true;
    runner_work(runner);
}

static void runner_poll(struct runner *runner)
{
    ASSERT(!runner->busy);
    if (runner->stop_asked) {
        runner_rest(runner, RUNNER_STOPPED);
        return;
    }
    runner->busy = true;
    runner->config.source->ops->poll(runner->config.source, on_polled, runner);
}

/* The timer: the next slice, or another try. */
static void runner_turn(struct timer *timer)
{
    struct runner *runner = CONTAINER_OF(timer, struct runner, timer);

    runner->busy = false;
    if (runner->working) {
        runner_work(runner);
    } else if (runner->stop_asked) {
        runner_rest(runner, RUNNER_STOPPED);
    } else {
        runner->status.state = RUNNER_STARTING;
        runner->sink_at = 0;
        runner_open(runner);
    }
}

void runner_stop(struct runner *runner)
{
    runner->stop_asked = true;
    if (runner->status.state == RUNNER_STOPPED || runner->status.state == RUNNER_FAILED) {
        runner->status.state = RUNNER_STOPPED;
        if (!runner->told) {
            runner->told = true;
            runner->config.stopped(runner->config.ctx);
        }
        return;
    }
    if (runner->status.state == RUNNER_WAITING) {
        timer_cancel(runner->config.shard->reactor, &runner->timer);
        runner_rest(runner, RUNNER_STOPPED);
        return;
    }
    runner->status.state = RUNNER_STOPPING;
    runner->config.source->ops->cancel(runner->config.source);
}

void runner_status_read(const struct runner *runner, struct runner_status *ret_status)
{
    *ret_status = runner->status;
}
