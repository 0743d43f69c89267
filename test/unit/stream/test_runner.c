/*
 * The runner under virtual time, with a source, a sink and a catalogue that fail by chance: positions are never saved
 * before the rows are durable, every event comes out at least once, and nothing is run twice without a failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/random.h"
#include "io/fault.h"
#include "io/fs.h"
#include "io/fs_sim.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "io/sim.h"
#include "plan/plan.h"
#include "stream/runner.h"

enum { EVENTS = 5000, POLL_MAX = 300 };

struct world {
    struct sim *sim;
    struct fs *fs;
    struct shards *shards;
    struct shard *shard;
    struct random random;
    uint32_t fault_odds; /* one in so many operations fails; 0: none */
    struct arena *arena;
    struct plan *plan;
    struct runner *runner;

    struct source source;
    struct sink sink;
    struct sink *sinks[1];
    uint32_t position;
    uint32_t polled;        /* events up to here belong to the last poll */
    uint32_t latest;        /* where a new job begins */
    uint32_t unreadable_at; /* that event cannot be read; 0: none */
    uint32_t fails_at;      /* the source fails once there; 0: never */

    struct bytebuf buffer; /* rows not yet durable: one number a line */
    uint32_t seen[EVENTS]; /* times that an event's row became durable */

    struct timer timer; /* the answer of the operation under way */
    source_done_fn done;
    void *done_ctx;
    enum err answer;
    bool commits; /* that operation makes the buffer durable */
    bool saves;   /* that operation saves this state */
    char next_state[200];
    char state[200];
    unsigned stops;
};

static struct world world;

static void make_durable(struct world *w)
{
    const char *at = (const char *)w->buffer.data;
    const char *end = at + w->buffer.len;
    while (at < end) {
        unsigned long i = strtoul(at + 5, NULL, 10);
        assert_true(i < EVENTS);
        w->seen[i]++;
        at = memchr(at, '\n', (size_t)(end - at));
        at++;
    }
    bytebuf_clear(&w->buffer);
}

static void on_answer(struct timer *timer)
{
    struct world *w = CONTAINER_OF(timer, struct world, timer);
    source_done_fn done = w->done;
    struct err_info info = {.code = w->answer};
    if (w->answer == ERR_OK && w->commits)
        make_durable(w);
    if (w->answer == ERR_OK && w->saves)
        memcpy(w->state, w->next_state, sizeof(w->state));
    w->done = NULL;
    w->commits = w->saves = false;
    snprintf(info.text, sizeof(info.text), "made to fail");
    done(w->done_ctx, w->answer, &info);
}

static void answer_later(struct world *w, source_done_fn done, void *ctx)
{
    assert_null(w->done);
    w->done = done;
    w->done_ctx = ctx;
    w->answer = random_one_in(&w->random, w->fault_odds) ? ERR_BUSY : ERR_OK;
    timer_arm(w->shard->reactor, &w->timer, 50 + random_below(&w->random, 5000));
}

static void source_open(struct source *source, struct slice positions, source_done_fn done,
                        void *ctx)
{
    struct world *w = CONTAINER_OF(source, struct world, source);
    unsigned at = w->latest;
    if (positions.len > 0)
        assert_int_equal(sscanf((const char *)positions.data, "{\"at\":%u}", &at), 1);
    w->position = w->polled = at;
    answer_later(w, done, ctx);
}

static void source_poll(struct source *source, source_done_fn done, void *ctx)
{
    struct world *w = CONTAINER_OF(source, struct world, source);
    uint32_t more = (uint32_t)random_below(&w->random, POLL_MAX);
    w->polled = w->position + more < EVENTS ? w->position + more : EVENTS;
    answer_later(w, done, ctx);
}

static enum source_next source_next(struct source *source, struct source_event *ret_event,
                                    struct err_info *info)
{
    static char text[40];
    struct world *w = CONTAINER_OF(source, struct world, source);
    static bool flushed;
    if (w->position == w->polled)
        return SOURCE_DRAINED;
    if (w->fails_at > 0 && w->position == w->fails_at) {
        w->fails_at = 0;
        (void)err_info_set(info, ERR_NO_MEMORY, "no memory for event %u", w->position);
        return SOURCE_FAILED;
    }
    if (w->unreadable_at > 0 && w->position == w->unreadable_at) {
        w->seen[w->position++]++; /* it is accounted for */
        *ret_event = (struct source_event){.unreadable = 1};
        (void)err_info_set(info, ERR_CORRUPT_MESSAGE, "event %u is damaged", w->position - 1);
        return SOURCE_UNREADABLE;
    }
    if (!flushed) { /* one text at a time: each needs the one before to be let go */
        flushed = true;
        return SOURCE_FLUSH;
    }
    flushed = false;
    int len = snprintf(text, sizeof(text), "{\"i\":%u}", w->position++);
    *ret_event = (struct source_event){.value = slice_make(text, (size_t)len), .arrival_ms = 1000};
    return SOURCE_EVENT;
}

static uint64_t source_lag(const struct source *source)
{
    return EVENTS - world.position;
}

static void source_nothing(struct source *source)
{
}

static void source_positions(const struct source *source, struct bytebuf *out)
{
    const struct world *w = &world;
    bytebuf_printf(out, "{\"at\":%u}", w->position);
}

static void sink_open(struct sink *sink, struct slice state, sink_done_fn done, void *ctx)
{
    answer_later(CONTAINER_OF(sink, struct world, sink), done, ctx);
}

static enum err sink_rows(struct sink *sink, const struct exec_rows *rows, struct err_info *info)
{
    struct world *w = CONTAINER_OF(sink, struct world, sink);
    return exec_rows_json_lines(rows, &w->buffer, info);
}

static size_t sink_buffered(const struct sink *sink)
{
    return world.buffer.len;
}

static void sink_commit(struct sink *sink, sink_done_fn done, void *ctx)
{
    struct world *w = CONTAINER_OF(sink, struct world, sink);
    w->commits = true;
    answer_later(w, done, ctx);
}

static void sink_discard(struct sink *sink)
{
    bytebuf_clear(&world.buffer);
}

static void sink_state(const struct sink *sink, struct bytebuf *out)
{
    bytebuf_append_cstr(out, "null");
}

static void sink_destroy(struct sink *sink)
{
}

/* All rows of the events before the position are durable when it is saved. */
static void save(void *ctx, struct slice state, source_done_fn done, void *done_ctx)
{
    struct world *w = ctx;
    unsigned at = 0;
    assert_true(state.len < sizeof(w->next_state));
    memset(w->next_state, 0, sizeof(w->next_state));
    memcpy(w->next_state, state.data, state.len);
    assert_int_equal(sscanf(w->next_state, "{\"positions\":{\"at\":%u}", &at), 1);
    for (unsigned i = w->latest; i < at; i++)
        assert_true(w->seen[i] > 0);
    w->saves = true;
    answer_later(w, done, done_ctx);
}

static void stopped(void *ctx)
{
    ((struct world *)ctx)->stops++;
}

static void world_start(uint64_t seed, uint32_t fault_odds, const char *query)
{
    static const struct source_ops source_ops = {source_open,    source_poll,    source_next,
                                                 source_nothing, source_nothing, source_positions,
                                                 source_lag,     source_nothing};
    static const struct sink_ops sink_ops = {sink_open,    sink_rows,  sink_buffered, sink_commit,
                                             sink_discard, sink_state, sink_destroy};
    struct world *w = &world;
    struct sim_config config;
    struct fs_sim_config disk = {.seed = seed};
    struct shards_config shards = {.count = 1, .seed = seed};
    struct sql_report report;
    struct err_info info;

    memset(w, 0, sizeof(*w));
    sim_config_init(&config, seed);
    w->sim = sim_create(&config);
    w->fs = fs_sim_create(&disk);
    shards.fs = w->fs;
    assert_int_equal(sim_shards_create(sim_host_create(w->sim, NULL), &shards, &w->shards, &info),
                     ERR_OK);
    w->shard = shards_get(w->shards, 0);
    random_init(&w->random, seed);
    w->fault_odds = fault_odds;
    w->arena = arena_create(NULL, "test", 8 << 20);
    sql_report_init(&report, w->arena, slice_cstr(query));
    w->plan = plan_compile(report.script, NULL, w->arena, &report);
    assert_non_null(w->plan);
    w->source.ops = &source_ops;
    w->sink.ops = &sink_ops;
    w->sinks[0] = &w->sink;
    bytebuf_init(&w->buffer, 1 << 20);
    timer_init(&w->timer, on_answer);
    struct runner_config runner = {.shard = w->shard,
                                   .plan = w->plan,
                                   .source = &w->source,
                                   .sinks = w->sinks,
                                   .save = save,
                                   .stopped = stopped,
                                   .ctx = w};
    w->runner = runner_create(&runner);
    assert_non_null(w->runner);
}

static void world_end(void)
{
    struct world *w = &world;
    runner_destroy(w->runner);
    bytebuf_deinit(&w->buffer);
    arena_destroy(w->arena);
    sim_destroy(w->sim);
    fs_destroy(w->fs);
}

static bool all_saved(void *arg)
{
    unsigned at = 0;
    return sscanf(world.state, "{\"positions\":{\"at\":%u}", &at) == 1 && at == EVENTS;
}

static bool is_running(void *arg)
{
    struct runner_status status;
    runner_status_read(world.runner, &status);
    return status.state == RUNNER_RUNNING;
}

static bool is_stopped(void *arg)
{
    return world.stops > 0;
}

static void test_every_event_once(void **state)
{
    struct runner_status status;
    world_start(1, 0, "SELECT i INTO o FROM e");
    assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
    assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(world.seen[i], 1);
    runner_stop(world.runner);
    assert_true(sim_run_until(world.sim, is_stopped, NULL, 10000000));
    runner_status_read(world.runner, &status);
    assert_int_equal(status.state, RUNNER_STOPPED);
    assert_int_equal(status.counts.events, EVENTS);
    assert_int_equal(status.counts.rows, EVENTS);
    assert_int_equal(status.restarts, 0);
    world_end();
}

static void test_faults_lose_nothing(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct runner_status status;
        world_start(seed, 20, "SELECT i INTO o FROM e");
        assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
        assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
        for (unsigned i = 0; i < EVENTS; i++)
            assert_true(world.seen[i] > 0);
        runner_status_read(world.runner, &status);
        assert_true(status.restarts > 0);
        assert_int_equal(status.counts.events, EVENTS); /* those fed twice count once */
        assert_int_equal(status.counts.rows, EVENTS);
        runner_stop(world.runner);
        assert_true(sim_run_until(world.sim, is_stopped, NULL, 10000000));
        world_end();
    }
}

/* A stop in the middle, then a start from the state saved: each event once. */
static void test_stop_and_start(void **state)
{
    char saved[200];
    world_start(3, 0, "SELECT i INTO o FROM e");
    assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
    for (unsigned cycle = 0; cycle < 10; cycle++) {
        sim_run_for(world.sim, 20000);
        world.stops = 0;
        runner_stop(world.runner);
        assert_true(sim_run_until(world.sim, is_stopped, NULL, 10000000));
        memcpy(saved, world.state, sizeof(saved));
        assert_int_equal(runner_start(world.runner, slice_make(saved, strlen(saved))), ERR_OK);
    }
    assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(world.seen[i], 1);
    world.stops = 0;
    runner_stop(world.runner);
    assert_true(sim_run_until(world.sim, is_stopped, NULL, 10000000));
    world_end();
}

static void test_runtime_error_fails(void **state)
{
    struct runner_status status;
    world_start(4, 0, "SELECT i, 10 / (i - 700) AS x INTO o FROM e");
    assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
    assert_true(sim_run_until(world.sim, is_stopped, NULL, 3600000000ULL));
    runner_status_read(world.runner, &status);
    assert_int_equal(status.state, RUNNER_FAILED);
    assert_string_equal(status.error, "line 1, column 11: division by zero");
    assert_int_equal(world.seen[700], 0);
    world_end();
}

static void stop(void)
{
    world.stops = 0;
    runner_stop(world.runner);
    assert_true(sim_run_until(world.sim, is_stopped, NULL, 10000000));
}

/* A job that begins at the end has its positions from the moment on that it is said to run. */
static void test_start_is_saved(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        unsigned at = 0;
        world_start(seed, 3, "SELECT i INTO o FROM e");
        world.latest = 1000;
        assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
        assert_true(sim_run_until(world.sim, is_running, NULL, 3600000000ULL));
        assert_int_equal(sscanf(world.state, "{\"positions\":{\"at\":%u}", &at), 1);
        assert_int_equal(at, 1000);
        assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
        for (unsigned i = 0; i < EVENTS; i++)
            assert_int_equal(world.seen[i] > 0, i >= 1000);
        stop();
        world_end();
    }
}

/* What was counted goes on from the state saved last, in another runner as well. */
static void test_counts_go_on(void **state)
{
    struct runner_status status;
    char saved[sizeof(world.state)];
    world_start(5, 0, "SELECT i INTO o FROM e");
    assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
    sim_run_for(world.sim, 30000);
    stop();
    memcpy(saved, world.state, sizeof(saved));
    world_end();

    world_start(6, 0, "SELECT i INTO o FROM e");
    struct runner_counts counts;
    runner_counts_read(slice_make(saved, strlen(saved)), &counts);
    assert_true(counts.events > 0 && counts.events < EVENTS && counts.epochs > 0);
    world.latest = (uint32_t)counts.events; /* those before it came out in the other world */
    assert_int_equal(runner_start(world.runner, slice_make(saved, strlen(saved))), ERR_OK);
    assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
    runner_status_read(world.runner, &status);
    assert_int_equal(status.counts.events, EVENTS);
    assert_int_equal(status.counts.rows, EVENTS);
    assert_true(status.counts.epochs > counts.epochs);
    assert_int_equal(status.lag, 0);
    stop();
    world_end();
}

static void test_unreadable_is_counted(void **state)
{
    struct runner_status status;
    world_start(7, 0, "SELECT i INTO o FROM e");
    world.unreadable_at = 2345;
    assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
    assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
    runner_status_read(world.runner, &status);
    assert_int_equal(status.counts.events, EVENTS - 1);
    assert_int_equal(status.counts.malformed, 1);
    assert_string_equal(status.malformed_text, "event 2345 is damaged");
    stop();
    world_end();
}

/* A source that cannot go on is opened anew; nothing is passed. */
static void test_source_failure_passes_nothing(void **state)
{
    struct runner_status status;
    world_start(8, 0, "SELECT i INTO o FROM e");
    world.fails_at = 1234;
    assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
    assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
    for (unsigned i = 0; i < EVENTS; i++)
        assert_true(world.seen[i] > 0);
    runner_status_read(world.runner, &status);
    assert_int_equal(status.restarts, 1);
    assert_int_equal(status.counts.events, EVENTS);
    stop();
    world_end();
}

/* Want of memory for the state: the job waits, what was saved stays, and it goes on. */
static void test_state_without_memory(void **state)
{
    struct runner_status status;
    world_start(9, 0, "SELECT i INTO o FROM e");
    assert_true(fault_arm("job.state", 5, 2, ERR_NO_MEMORY));
    assert_int_equal(runner_start(world.runner, SLICE_NULL), ERR_OK);
    assert_true(sim_run_until(world.sim, all_saved, NULL, 3600000000ULL));
    assert_int_equal(fault_fired("job.state"), 2);
    fault_disarm("job.state");
    for (unsigned i = 0; i < EVENTS; i++)
        assert_true(world.seen[i] > 0);
    runner_status_read(world.runner, &status);
    assert_int_equal(status.counts.events, EVENTS);
    stop();
    assert_true(fault_arm("job.state", 0, 1, ERR_NO_MEMORY));
    assert_int_equal(runner_start(world.runner, slice_cstr(world.state)), ERR_NO_MEMORY);
    fault_disarm("job.state");
    world_end();
}

/* A state that cannot be read is no new beginning. */
static void test_broken_state_fails(void **state)
{
    static const char *const broken[] = {"x", "{", "{}", "{\"positions\":7}", "null"};
    for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct runner_status status;
        world_start(10, 0, "SELECT i INTO o FROM e");
        assert_int_equal(runner_start(world.runner, slice_cstr(broken[i])), ERR_OK);
        assert_true(sim_run_until(world.sim, is_stopped, NULL, 10000000));
        runner_status_read(world.runner, &status);
        assert_int_equal(status.state, RUNNER_FAILED);
        assert_string_equal(status.error, "the saved state cannot be read");
        world_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event_once),
        cmocka_unit_test(test_faults_lose_nothing),
        cmocka_unit_test(test_stop_and_start),
        cmocka_unit_test(test_runtime_error_fails),
        cmocka_unit_test(test_start_is_saved),
        cmocka_unit_test(test_counts_go_on),
        cmocka_unit_test(test_unreadable_is_counted),
        cmocka_unit_test(test_source_failure_passes_nothing),
        cmocka_unit_test(test_state_without_memory),
        cmocka_unit_test(test_broken_state_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
