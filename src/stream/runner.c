/*
 * Runs one job (see stream/runner.h).
 *
 *   STOPPED -> STARTING (sinks, then source, open; positions saved) -> RUNNING: poll -> work -> commit -> save -> poll ...
 *   any error that may pass: WAITING, then STARTING from the saved state; any other: FAILED
 *   stop: STOPPING until the epoch under way has ended, then STOPPED
 *
 * Invariants: (1) at most one operation is under way; (2) positions are saved only after every row of the events before
 * them is durable; (3) a slice handles at most SLICE_EVENTS events and little more than SLICE_BYTES of them; (4) buffered
 * output stays near BUFFER_MAX; (5) no event is handled before the positions where the job began are saved; (6) the
 * counts shown are the saved ones and those of the epoch under way: a restart takes the latter back with its events.
 * Ownership: one shard. The state saved last is kept as text, for restarts; it changes only to a whole one.
 * Failure: as above; the text is in status. A saved state that cannot be read is a failure, not a new beginning.
 */
#include "stream/runner.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytebuf.h"
#include "base/diag.h"
#include "io/fault.h"
#include "io/reactor.h"
#include "stream/state_int.h"

FAULT_DEFINE(fault_state, "job.state")

enum {
    SLICE_EVENTS = 2048,
    SLICE_BYTES = 4 << 20,
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
    bool opening;     /* the state being saved is that of the beginning */
    bool stop_asked;
    bool told;    /* config.stopped has been called */
    bool broken;  /* the saved state cannot be read */
    bool polled;  /* since the start: the lag is known */
    bool trouble; /* status.error says what keeps a part of the inputs from being read */
    struct runner_counts saved_counts; /* of the saved state */
    struct runner_counts since;        /* since then, but what the query counts */
    struct exec_counts query_base;     /* the query's counts then */
};

const char *runner_state_name(enum runner_state state)
{
    static const char *const names[] = {"stopped", "starting", "running",
                                        "waiting", "stopping", "failed"};
    ASSERT((unsigned)state < sizeof(names) / sizeof(names[0]));
    return names[state];
}

/* ---- what is known ---- */

static size_t runner_buffered(const struct runner *runner)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < runner->config.plan->output_count; i++)
        bytes += runner->config.sinks[i]->ops->buffered(runner->config.sinks[i]);
    return bytes;
}

/* next_state becomes the saved one. */
static void state_take(struct runner *runner)
{
    struct bytebuf old = runner->saved;

    ASSERT(!runner->next_state.failed);
    runner->saved = runner->next_state;
    runner->next_state = old;
    stream_state_counts(bytebuf_slice(&runner->saved), &runner->saved_counts);
}

void runner_counts_read(struct slice state, struct runner_counts *ret_counts)
{
    stream_state_counts(state, ret_counts);
}

static void runner_turn(struct timer *timer);
static void runner_poll(struct runner *runner);
static void runner_work(struct runner *runner);
static void runner_open(struct runner *runner);
static void runner_save(struct runner *runner);

static enum err take_rows(void *ctx, const struct exec_rows *rows, struct err_info *info)
{
    struct runner *runner = ctx;
    uint32_t output = exec_rows_output(rows);

    ASSERT(output < runner->config.plan->output_count);
    runner->since.rows += exec_rows_count(rows);
    return runner->config.sinks[output]->ops->rows(runner->config.sinks[output], rows, info);
}

struct runner *runner_create(const struct runner_config *config)
{
    struct runner *runner = calloc(1, sizeof(*runner));

    ASSERT(config->shard != NULL && config->plan != NULL && config->source != NULL);
    ASSERT(config->save != NULL && config->stopped != NULL);
    if (runner == NULL)
        return NULL;
    runner->config = *config;
    runner->status.lag = -1;
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

/* Counts for the status: what was saved, and what came since. */
static void count_add(struct runner *runner)
{
    const struct exec_counts *base = &runner->query_base;
    struct runner_counts *counts = &runner->status.counts;

    *counts = runner->saved_counts;
    counts->malformed += runner->since.malformed;
    counts->rows += runner->since.rows;
    if (runner->query == NULL)
        return;
    const struct exec_counts *now = exec_query_counts(runner->query);
    ASSERT(now->events >= base->events && now->bad >= base->bad);
    counts->events += now->events - base->events;
    counts->malformed += now->bad - base->bad;
    counts->dropped += now->untimed - base->untimed + now->undeclared - base->undeclared;
}

/* Lets go of the query and of everything that is not saved. */
static void runner_unwind(struct runner *runner)
{
    runner->config.source->ops->release(runner->config.source);
    for (uint32_t i = 0; i < runner->config.plan->output_count; i++)
        runner->config.sinks[i]->ops->discard(runner->config.sinks[i]);
    exec_query_destroy(runner->query);
    runner->query = NULL;
    runner->working = false;
    runner->dirty = false;
    runner->opening = false;
    runner->polled = false;
    runner->since = (struct runner_counts){.events = 0};
    count_add(runner);
}

static void runner_rest(struct runner *runner, enum runner_state state)
{
    ASSERT(state == RUNNER_STOPPED || state == RUNNER_FAILED);
    runner_unwind(runner);
    runner->busy = false;
    runner->status.state = state;
    if (!runner->told) {
        runner->told = true;
        runner->config.stopped(runner->config.ctx);
    }
}

/* What may pass is tried again from the saved state; anything else ends the job. */
static void runner_error(struct runner *runner, enum err err, const struct err_info *info)
{
    ASSERT(err != ERR_OK && !runner->busy);
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
    runner_unwind(runner);
    runner->status.state = RUNNER_WAITING;
    runner->status.restarts++;
    runner->busy = true;
    timer_arm(runner->config.shard->reactor, &runner->timer, RETRY_US);
}

/* ---- opening ---- */

static bool runner_write_state(struct runner *runner);

/* Sinks and source stand where the job begins. */
static void runner_opened(struct runner *runner)
{
    runner->opening = false;
    runner->status.state = runner->stop_asked ? RUNNER_STOPPING : RUNNER_RUNNING;
    runner_poll(runner);
}

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
    ASSERT(runner->query == NULL);
    runner->query = exec_query_create(runner->config.plan, &options, &runner->info);
    if (runner->query == NULL) {
        runner_error(runner, runner->info.code, &runner->info);
        return;
    }
    runner->query_base = (struct exec_counts){.events = 0};
    if (!runner_write_state(runner))
        return;
    if (slice_equal(bytebuf_slice(&runner->next_state), bytebuf_slice(&runner->saved))) {
        runner_opened(runner);
        return;
    }
    runner->opening = true; /* (5) */
    runner_save(runner);
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

enum err runner_start(struct runner *runner, struct slice state)
{
    ASSERT(!runner->busy);
    ASSERT(runner->status.state == RUNNER_STOPPED || runner->status.state == RUNNER_FAILED);
    bytebuf_clear(&runner->next_state);
    bytebuf_append_slice(&runner->next_state, state);
    if (runner->next_state.failed || fault_check(&fault_state) != ERR_OK)
        return ERR_NO_MEMORY;
    state_take(runner);
    count_add(runner);
    runner->status.error[0] = '\0';
    runner->stop_asked = false;
    runner->told = false;
    runner->sink_at = 0;
    runner->status.state = RUNNER_STARTING;
    runner->broken = state.len > 0 && !stream_state_valid(state);
    if (!runner->broken) {
        runner_open(runner);
        return ERR_OK;
    }
    runner->busy = true; /* fails on the timer, not inside the call */
    timer_arm(runner->config.shard->reactor, &runner->timer, 0);
    return ERR_OK;
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
    state_take(runner);
    runner->since = (struct runner_counts){.events = 0};
    runner->query_base = *exec_query_counts(runner->query);
    if (runner->opening) {
        runner_opened(runner);
        return;
    }
    runner->dirty = false;
    if (!runner->trouble)
        runner->status.error[0] = '\0';
    if (runner->working)
        runner_work(runner);
    else
        runner_poll(runner);
}

/* The state of now into next_state; false: the job has come to rest, or waits. */
static bool runner_write_state(struct runner *runner)
{
    struct bytebuf *out = &runner->next_state;
    const struct runner_counts *counts = &runner->status.counts;

    count_add(runner);
    bytebuf_clear(out);
    bytebuf_append_cstr(out, "{\"positions\":");
    runner->config.source->ops->positions(runner->config.source, out);
    bytebuf_append_cstr(out, ",\"sinks\":[");
    for (uint32_t i = 0; i < runner->config.plan->output_count; i++) {
        if (i > 0)
            bytebuf_append_byte(out, ',');
        runner->config.sinks[i]->ops->state(runner->config.sinks[i], out);
    }
    bytebuf_printf(out,
                   "],\"counts\":{\"events\":%llu,\"malformed\":%llu,\"dropped\":%llu,"
                   "\"rows\":%llu,\"epochs\":%llu}}",
                   (unsigned long long)counts->events, (unsigned long long)counts->malformed,
                   (unsigned long long)counts->dropped, (unsigned long long)counts->rows,
                   (unsigned long long)counts->epochs + (runner->dirty ? 1 : 0));
    out->failed |= fault_check(&fault_state) != ERR_OK;
    if (!out->failed)
        return true;
    (void)err_info_set(&runner->info, ERR_NO_MEMORY,
                       "no room for the job's state (at most %d bytes)", STATE_MAX);
    runner_error(runner, ERR_NO_MEMORY, &runner->info);
    return false;
}

/* Saves next_state. */
static void runner_save(struct runner *runner)
{
    ASSERT(!runner->busy && !runner->next_state.failed);
    ASSERT(runner_buffered(runner) == 0); /* (2) */
    runner->busy = true;
    runner->config.save(runner->config.ctx, bytebuf_slice(&runner->next_state), on_saved, runner);
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

/* Makes the sinks durable one after another, then saves the positions. */
static void runner_commit(struct runner *runner)
{
    ASSERT(!runner->busy && runner->sink_at <= runner->config.plan->output_count);
    if (runner->sink_at == runner->config.plan->output_count) {
        if (runner_write_state(runner))
            runner_save(runner);
        return;
    }
    struct sink *sink = runner->config.sinks[runner->sink_at];
    runner->busy = true;
    sink->ops->commit(sink, on_commit, runner);
}

/* ---- events ---- */

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

/* Events that the source could not read count as malformed. */
static void count_unreadable(struct runner *runner, const struct source_event *event)
{
    ASSERT(event->unreadable > 0);
    runner->since.malformed += event->unreadable;
    snprintf(runner->status.malformed_text, sizeof(runner->status.malformed_text), "%.*s",
             (int)sizeof(runner->status.malformed_text) - 1, runner->info.text);
}

/* Hands events of the last poll to the query, as many as one slice may; *ret_more: there are others. */
static enum err runner_feed(struct runner *runner, bool *ret_more)
{
    struct source *source = runner->config.source;
    struct source_event event = {.input = 0};
    enum err err = ERR_OK;
    size_t bytes = 0;

    *ret_more = true;
    for (uint32_t count = 0; err == ERR_OK && count < SLICE_EVENTS && bytes < SLICE_BYTES;
         count++) {
        enum source_next next = source->ops->next(source, &event, &runner->info);
        if (next == SOURCE_DRAINED) {
            *ret_more = false;
            break;
        }
        if (next == SOURCE_FAILED)
            return runner->info.code;
        runner->dirty = true;
        if (next == SOURCE_EVENT) {
            bytes += event.value.len;
            err = feed_event(runner, &event);
        } else if (next == SOURCE_UNREADABLE) {
            count_unreadable(runner, &event);
        } else {
            err = exec_query_flush(runner->query, &runner->info);
        }
    }
    return err == ERR_OK ? exec_query_flush(runner->query, &runner->info) : err;
}

/* What was wrong with the last record that is no JSON event. */
static void note_malformed(struct runner *runner, uint64_t before)
{
    const struct exec_counts *counts = exec_query_counts(runner->query);

    if (counts->bad > before)
        memcpy(runner->status.malformed_text, counts->bad_text,
               sizeof(runner->status.malformed_text));
}

/* The poll brought nothing: an error shown from before is over unless it is the poll's. */
static void runner_idle(struct runner *runner)
{
    if (!runner->trouble)
        runner->status.error[0] = '\0';
    runner_poll(runner);
}

/* One slice of the last poll's events. */
static void runner_work(struct runner *runner)
{
    uint64_t bad = exec_query_counts(runner->query)->bad;
    enum err err = runner_feed(runner, &runner->working);

    note_malformed(runner, bad);
    if (err != ERR_OK) {
        runner_error(runner, err, &runner->info);
        return;
    }
    count_add(runner);
    if (!runner->working) {
        runner->config.source->ops->release(runner->config.source);
        if (!runner->dirty) {
            runner_idle(runner);
            return;
        }
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
    runner->trouble = info != NULL && info->text[0] != '\0';
    if (runner->trouble)
        snprintf(runner->status.error, sizeof(runner->status.error), "%s", info->text);
    runner->polled = true;
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

    ASSERT(runner->busy);
    runner->busy = false;
    if (runner->working) {
        runner_work(runner);
    } else if (runner->stop_asked) {
        runner_rest(runner, RUNNER_STOPPED);
    } else if (runner->broken) {
        snprintf(runner->status.error, sizeof(runner->status.error),
                 "the saved state cannot be read");
        runner_rest(runner, RUNNER_FAILED);
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
    if (runner->polled)
        ret_status->lag = (int64_t)runner->config.source->ops->lag(runner->config.source);
}
