/*
 * The ends of jobs on a simulated node: what a topic source hands out when batches are damaged, memory is short or the
 * power has taken what was read; what the sinks write, over again after a crash too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../lib/sim_rig.h"
#include "base/crc32c.h"
#include "blobstore/blobstore.h"
#include "connect/topic_source_int.h"
#include "io/fault.h"
#include "plan/plan.h"

enum { VALUES_MAX = 200 };

static struct sim_rig rig;
static struct slice topic_name = {(const uint8_t *)"in", 2};
static struct uuid topic_id;

/* ---- the node ---- */

static void start(uint64_t seed)
{
    sim_rig_init(&rig, seed);
    sim_rig_boot(&rig, 2);
}

/* Without a bound for times, so that the broker keeps batches without a look at their records. */
static void topic_make_new(int32_t partitions)
{
    static char far[] = "9223372036854775807";
    static const struct topic_override lax = {TOPIC_TIMESTAMP_AFTER_MAX_MS, far};
    struct broker_topic_op op = {.action = BROKER_TOPIC_CREATE,
                                 .name = topic_name,
                                 .partition_count = partitions,
                                 .overrides = &lax,
                                 .override_count = 1};
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    topic_id = op.topic->id;
}

static void end(void)
{
    fault_disarm_all();
    sim_rig_stop(&rig);
    sim_rig_deinit(&rig);
}

struct append_call {
    struct broker_append op;
    bool done;
};

static void append_done(struct broker_append *op)
{
    CONTAINER_OF(op, struct append_call, op)->done = true;
}

static void append_start(struct shard *shard, void *arg)
{
    struct append_call *call = arg;
    broker_append(broker_shard_of(rig.broker, shard), &call->op);
}

static void append(struct iobuf_range batch, int32_t partition, int8_t acks)
{
    struct append_call call = {.op = {.topic_id = topic_id,
                                      .partition = partition,
                                      .acks = acks,
                                      .batch = batch,
                                      .done = append_done}};
    sim_rig_call(&rig, 0, append_start, &call);
    sim_rig_until(&rig, &call.done);
    assert_int_equal(call.op.err, ERR_OK);
}

/* Records "<text><i>". */
static struct iobuf_range batch_of(const char *text, int count)
{
    struct batch_builder builder;
    struct iobuf_range range;
    batch_builder_init(&builder, 1 << 20);
    for (int i = 0; i < count; i++) {
        char value[32];
        int len = snprintf(value, sizeof(value), "%s%d", text, i);
        struct batch_build_record record = {.timestamp_ms = 1,
                                            .value = slice_make(value, (size_t)len)};
        assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    }
    batch_builder_finish(&builder, &range);
    return range;
}

static uint8_t *bytes_of(struct iobuf_range range)
{
    return iobuf_data(range.buf);
}

static void checksum_renew(struct iobuf_range range)
{
    uint32_t crc = crc32c(0, bytes_of(range) + BATCH_CRC_START, range.bytes.len - BATCH_CRC_START);
    for (int i = 0; i < 4; i++)
        bytes_of(range)[17 + i] = (uint8_t)(crc >> (24 - 8 * i));
}

/* ---- the source ---- */

struct source_run {
    struct source *source;
    char saved[400];
    enum err err;
    struct err_info info;
    bool done;
    char values[VALUES_MAX][32];
    unsigned count;
    uint32_t unreadable;
    enum source_next last;
};

static struct source_run run;

static void run_done(void *ctx, enum err err, const struct err_info *info)
{
    struct source_run *r = ctx;
    r->err = err;
    r->info = info != NULL ? *info : (struct err_info){.code = err};
    r->done = true;
}

static void run_open(struct shard *shard, void *arg)
{
    struct source_run *r = arg;
    r->source->ops->open(r->source, slice_cstr(r->saved), run_done, r);
}

static void run_poll(struct shard *shard, void *arg)
{
    struct source_run *r = arg;
    r->source->ops->poll(r->source, run_done, r);
}

static void source_make(enum job_start start)
{
    run.source = topic_source_create(rig.broker, shards_get(rig.shards, 0), &topic_name, 1, start);
    assert_non_null(run.source);
    run.count = run.unreadable = 0;
}

static void source_open(void)
{
    run.done = false;
    sim_rig_call(&rig, 0, run_open, &run);
    sim_rig_until(&rig, &run.done);
}

static void source_poll(void)
{
    run.done = false;
    sim_rig_call(&rig, 0, run_poll, &run);
    sim_rig_until(&rig, &run.done);
    assert_int_equal(run.err, ERR_OK);
}

/* Takes in what the poll brought, until it is drained or fails. */
static void source_take(void)
{
    struct source_event event;
    for (unsigned i = 0; i < 10000; i++) {
        run.last = run.source->ops->next(run.source, &event, &run.info);
        if (run.last == SOURCE_DRAINED || run.last == SOURCE_FAILED)
            break;
        if (run.last == SOURCE_UNREADABLE) {
            run.unreadable += event.unreadable;
        } else if (run.last == SOURCE_EVENT) {
            assert_true(run.count < VALUES_MAX && event.value.len < 32);
            memcpy(run.values[run.count], event.value.data, event.value.len);
            run.values[run.count++][event.value.len] = '\0';
        }
    }
    assert_true(run.last == SOURCE_DRAINED || run.last == SOURCE_FAILED);
    run.source->ops->release(run.source);
}

static void source_save(void)
{
    struct bytebuf out;
    bytebuf_init(&out, sizeof(run.saved) - 1);
    run.source->ops->positions(run.source, &out);
    assert_false(out.failed);
    memset(run.saved, 0, sizeof(run.saved));
    memcpy(run.saved, out.data, out.len);
    bytebuf_deinit(&out);
}

static unsigned times_seen(const char *value)
{
    unsigned times = 0;
    for (unsigned i = 0; i < run.count; i++)
        times += strcmp(run.values[i], value) == 0;
    return times;
}

static void test_reads_and_goes_on(void **state)
{
    start(1);
    topic_make_new(1);
    memset(run.saved, 0, sizeof(run.saved));
    append(batch_of("a", 3), 0, -1);
    source_make(JOB_START_EARLIEST);
    source_open();
    source_poll();
    source_take();
    assert_int_equal(run.count, 3);
    assert_int_equal(run.source->ops->lag(run.source), 0);
    source_save();
    run.source->ops->destroy(run.source);
    append(batch_of("b", 2), 0, -1);
    source_make(JOB_START_LATEST); /* what was saved stands */
    source_open();
    source_poll();
    assert_int_equal(run.source->ops->lag(run.source), 2);
    source_take();
    assert_int_equal(run.count, 2);
    assert_string_equal(run.values[0], "b0");
    run.source->ops->destroy(run.source);
    end();
}

/*
 * Records that were acknowledged by the kernel's word only are read, and the power takes them; those that come in their
 * place are all read.
 */
static void test_power_takes_what_was_read(void **state)
{
    unsigned taken = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        char name[16];
        start(seed);
        topic_make_new(1);
        memset(run.saved, 0, sizeof(run.saved));
        append(batch_of("old", 2), 0, -1);
        for (int i = 0; i < 8; i++)
            append(batch_of("tail", 5), 0, 1);
        source_make(JOB_START_EARLIEST);
        source_open();
        do {
            source_poll();
            source_take();
        } while (run.count < 42);
        source_save();

        sim_host_kill(rig.host); /* the source goes with its node */
        fs_sim_power_loss(rig.fs);
        sim_rig_boot(&rig, 2);
        source_make(JOB_START_EARLIEST);
        for (int i = 0; i < 30; i++) {
            snprintf(name, sizeof(name), "new%d-", i);
            append(batch_of(name, 2), 0, -1);
        }
        source_open();
        assert_int_equal(run.err, ERR_OK);
        for (unsigned i = 0; i < 20; i++) {
            source_poll();
            source_take();
        }
        for (int i = 0; i < 30; i++) {
            snprintf(name, sizeof(name), "new%d-0", i);
            assert_int_equal(times_seen(name), 1);
            snprintf(name, sizeof(name), "new%d-1", i);
            assert_int_equal(times_seen(name), 1);
        }
        source_save();
        long long offset = 0;
        const char *at = strstr(run.saved, "\"offsets\":[");
        assert_non_null(at);
        assert_int_equal(sscanf(at, "\"offsets\":[%lld]", &offset), 1);
        taken += offset < 42 + 60;
        run.source->ops->destroy(run.source);
        end();
    }
    assert_true(taken > 3); /* else nothing was tried */
}

static void test_damage_is_counted(void **state)
{
    struct iobuf_range half = batch_of("h", 4);
    struct iobuf_range codec = batch_of("c", 3);
    start(2);
    topic_make_new(1);
    memset(run.saved, 0, sizeof(run.saved));
    /* The second record's length passes the batch; each record takes 9 bytes. */
    bytes_of(half)[BATCH_HEADER_SIZE + 9] = 0x7e;
    checksum_renew(half);
    bytes_of(codec)[22] |= BATCH_CODEC_GZIP;
    checksum_renew(codec);
    append(half, 0, -1);
    append(codec, 0, -1);
    append(batch_of("good", 2), 0, -1);
    source_make(JOB_START_EARLIEST);
    source_open();
    source_poll();
    source_take();
    assert_int_equal(run.last, SOURCE_DRAINED);
    assert_int_equal(run.unreadable, 3 + 3);
    assert_int_equal(run.count, 3);
    assert_string_equal(run.values[0], "h0");
    assert_string_equal(run.values[2], "good1");
    source_save();
    assert_non_null(strstr(run.saved, "\"offsets\":[9]"));
    run.source->ops->destroy(run.source);
    end();
}

/* Want of memory for a batch passes nothing. */
static void test_inflate_without_memory(void **state)
{
    start(3);
    topic_make_new(1);
    memset(run.saved, 0, sizeof(run.saved));
    append(batch_of("a", 2), 0, -1);
    append(batch_of("b", 2), 0, -1);
    source_make(JOB_START_EARLIEST);
    source_open();
    source_poll();
    assert_true(fault_arm("job.inflate", 1, 1, ERR_NO_MEMORY));
    source_take();
    assert_int_equal(run.last, SOURCE_FAILED);
    assert_int_equal(run.info.code, ERR_NO_MEMORY);
    assert_int_equal(run.count, 2);
    source_poll();
    source_take();
    assert_int_equal(run.last, SOURCE_DRAINED);
    assert_int_equal(run.count, 4);
    assert_string_equal(run.values[2], "b0");
    run.source->ops->destroy(run.source);
    end();
}

/* Bytes without a batch header end the walk with an error, again and again without passing anything. */
static void test_bad_header_fails(void **state)
{
    start(4);
    topic_make_new(1);
    memset(run.saved, 0, sizeof(run.saved));
    append(batch_of("a", 2), 0, -1);
    source_make(JOB_START_EARLIEST);
    source_open();
    source_poll();
    struct topic_source *ts = CONTAINER_OF(run.source, struct topic_source, base);
    assert_int_equal(ts->parts[0].range_count, 1);
    ts->parts[0].ranges[0].bytes.len = 20;
    source_take();
    assert_int_equal(run.last, SOURCE_FAILED);
    assert_int_equal(run.info.code, ERR_CORRUPT);
    assert_non_null(strstr(run.info.text, "'in', partition 0, offset 0"));
    source_save();
    assert_non_null(strstr(run.saved, "\"offsets\":[0]"));
    run.source->ops->destroy(run.source);
    end();
}

/* Partitions that the topic gets while it is read are read from their start. */
static void test_new_partitions(void **state)
{
    start(5);
    topic_make_new(1);
    memset(run.saved, 0, sizeof(run.saved));
    append(batch_of("a", 1), 0, -1);
    source_make(JOB_START_LATEST);
    source_open();
    struct broker_topic_op op = {
        .action = BROKER_TOPIC_PARTITIONS, .name = topic_name, .partition_count = 4};
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    for (int32_t p = 0; p < 4; p++) {
        char name[8];
        snprintf(name, sizeof(name), "p%d-", p);
        append(batch_of(name, 1), p, -1);
    }
    for (unsigned i = 0; i < 4; i++) {
        source_poll();
        source_take();
    }
    assert_int_equal(run.count, 4);
    for (int32_t p = 0; p < 4; p++) {
        char name[8];
        snprintf(name, sizeof(name), "p%d-0", p);
        assert_int_equal(times_seen(name), 1);
    }
    source_save();
    assert_non_null(strstr(run.saved, "\"offsets\":[2,1,1,1]"));
    run.source->ops->destroy(run.source);
    end();
}

static void test_positions_that_cannot_be_read(void **state)
{
    start(6);
    topic_make_new(1);
    memset(run.saved, 0, sizeof(run.saved));
    memcpy(run.saved, "[7", 2);
    source_make(JOB_START_LATEST);
    source_open();
    assert_int_equal(run.err, ERR_CORRUPT);
    assert_string_equal(run.info.text, "the saved positions cannot be read");
    run.source->ops->destroy(run.source);
    end();
}

/* ---- the sinks ---- */

struct sink_run {
    struct sink *sink;
    struct exec_query *query;
    char *event; /* fed */
    const char *state;
    enum err err;
    struct err_info info;
    bool done;
};

static struct sink_run out;

static void out_done(void *ctx, enum err err, const struct err_info *info)
{
    struct sink_run *o = ctx;
    o->err = err;
    o->info = info != NULL ? *info : (struct err_info){.code = err};
    o->done = true;
}

static void out_open(struct shard *shard, void *arg)
{
    struct sink_run *o = arg;
    o->sink->ops->open(o->sink, slice_cstr(o->state), out_done, o);
}

static enum err out_rows(void *ctx, const struct exec_rows *rows, struct err_info *info)
{
    struct sink_run *o = ctx;
    return o->sink->ops->rows(o->sink, rows, info);
}

static void out_feed(struct shard *shard, void *arg)
{
    struct sink_run *o = arg;
    size_t used;
    assert_int_equal(exec_query_feed(o->query, 0, slice_cstr(o->event), 0, true, &used, &o->info),
                     ERR_OK);
    assert_int_equal(exec_query_flush(o->query, &o->info), ERR_OK);
}

static void out_commit(struct shard *shard, void *arg)
{
    struct sink_run *o = arg;
    o->sink->ops->commit(o->sink, out_done, o);
}

static struct arena *plan_arena;

static void sink_begin(struct sink *sink, const char *state)
{
    struct sql_report report;
    struct exec_options options = {.rows = out_rows, .rows_ctx = &out};
    struct err_info info;
    assert_non_null(sink);
    plan_arena = arena_create(NULL, "test", 8 << 20);
    sql_report_init(&report, plan_arena, SLICE_LIT("SELECT * INTO o FROM e"));
    struct plan *plan = plan_compile(report.script, NULL, plan_arena, &report);
    assert_non_null(plan);
    out = (struct sink_run){.sink = sink, .state = state};
    out.query = exec_query_create(plan, &options, &info);
    assert_non_null(out.query);
    sim_rig_call(&rig, 0, out_open, &out);
    sim_rig_until(&rig, &out.done);
    assert_int_equal(out.err, ERR_OK);
}

static void sink_write(const char *event)
{
    out.event = (char *)(uintptr_t)event;
    sim_rig_call(&rig, 0, out_feed, &out);
}

static enum err sink_commit(void)
{
    out.done = false;
    sim_rig_call(&rig, 0, out_commit, &out);
    sim_rig_until(&rig, &out.done);
    return out.err;
}

static void sink_end(void)
{
    out.sink->ops->discard(out.sink);
    out.sink->ops->destroy(out.sink);
    exec_query_destroy(out.query);
    arena_destroy(plan_arena);
}

/* An event whose text has so many bytes. */
static char *event_of(size_t len)
{
    char *text = malloc(len + 1);
    memset(text, 'x', len);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + len - 2, "\"}", 3);
    return text;
}

/* Rows that fit each into a record of the topic are not refused for standing in one batch. */
static void test_large_rows_fit(void **state)
{
    char *half = event_of(500 << 10);
    char *large = event_of(1000 << 10);
    start(7);
    topic_make_new(1);
    sink_begin(topic_sink_create(rig.broker, shards_get(rig.shards, 0), topic_name), "null");
    sink_write(half);
    sink_write(large);
    sink_write("{\"a\":1}");
    assert_true(out.sink->ops->buffered(out.sink) > 1500 << 10);
    assert_int_equal(sink_commit(), ERR_OK);
    assert_int_equal(out.sink->ops->buffered(out.sink), 0);
    sink_end();

    memset(run.saved, 0, sizeof(run.saved));
    source_make(JOB_START_EARLIEST);
    source_open();
    source_poll();
    struct source_event event;
    assert_int_equal(run.source->ops->next(run.source, &event, &run.info), SOURCE_EVENT);
    assert_int_equal(event.value.len, 500 << 10);
    assert_int_equal(run.source->ops->next(run.source, &event, &run.info), SOURCE_EVENT);
    assert_int_equal(event.value.len, 1000 << 10);
    assert_int_equal(run.source->ops->next(run.source, &event, &run.info), SOURCE_EVENT);
    assert_int_equal(event.value.len, 7);
    run.source->ops->release(run.source);
    run.source->ops->destroy(run.source);
    free(half);
    free(large);
    end();
}

/* Behind a batch that is refused nothing of its partition is written: the repetition keeps the order. */
static void test_nothing_behind_a_failure(void **state)
{
    char *half = event_of(400 << 10);
    char *large = event_of(1100 << 10);
    start(12);
    topic_make_new(1);
    sink_begin(topic_sink_create(rig.broker, shards_get(rig.shards, 0), topic_name), "null");
    sink_write("{\"a\":1}");
    sink_write(large);
    sink_write(half);
    sink_write("{\"a\":2}");
    assert_int_equal(sink_commit(), ERR_MESSAGE_TOO_LARGE);
    assert_non_null(strstr(out.info.text, "output topic 'in'"));
    sink_end();
    memset(run.saved, 0, sizeof(run.saved));
    source_make(JOB_START_EARLIEST);
    source_open();
    source_poll();
    source_take();
    assert_int_equal(run.count, 1);
    assert_string_equal(run.values[0], "{\"a\":1}");
    run.source->ops->destroy(run.source);
    free(half);
    free(large);
    end();
}

/* Want of memory for a batch fails the commit; after a discard the same rows are written once. */
static void test_sink_without_memory(void **state)
{
    start(8);
    topic_make_new(3);
    sink_begin(topic_sink_create(rig.broker, shards_get(rig.shards, 0), topic_name), "null");
    sink_write("{\"a\":1}");
    assert_true(fault_arm("job.batch", 0, 1, ERR_NO_MEMORY));
    assert_int_equal(sink_commit(), ERR_NO_MEMORY);
    out.sink->ops->discard(out.sink);
    sink_write("{\"a\":1}");
    assert_int_equal(sink_commit(), ERR_OK);
    sink_end();
    memset(run.saved, 0, sizeof(run.saved));
    source_make(JOB_START_EARLIEST);
    source_open();
    source_poll();
    source_take();
    assert_int_equal(run.count, 1);
    run.source->ops->destroy(run.source);
    end();
}

/* ---- blobs ---- */

static struct blobstore *blobs;
static const struct job_output csv_output = {.name = {(const uint8_t *)"o", 1},
                                             .container = {(const uint8_t *)"con", 3},
                                             .blob = {(const uint8_t *)"a/b.csv", 7},
                                             .format = JOB_FORMAT_CSV};

static void blobs_start(uint64_t seed)
{
    struct err_info info;
    start(seed);
    assert_int_equal(fs_mkdir_all(rig.fs, "/blobs", &info), ERR_OK);
    assert_int_equal(blobstore_open(rig.fs, "/blobs", seed, 0, &blobs, &info), ERR_OK);
    for (unsigned i = 0; i < rig.shard_count; i++)
        blobstore_shard_start(blobs, shards_get(rig.shards, i));
}

static void blobs_end(void)
{
    fault_disarm_all();
    sim_rig_stop(&rig);
    blobstore_close(blobs);
    sim_rig_deinit(&rig);
}

struct blob_call {
    struct blobstore_op op;
    char text[400];
    bool done;
};

static void blob_read_done(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct blob_call *call = arg;
    assert_int_equal(err, ERR_OK);
    size_t have = strlen(call->text) + len;
    call->text[have] = '\0';
    if (len > 0 && have < call->op.info.length) {
        blobstore_reader_read(reader, have, call->text + have, sizeof(call->text) - 1 - have,
                              blob_read_done, call);
        return;
    }
    blobstore_reader_close(reader);
    call->done = true;
}

static void blob_done(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err != ERR_OK || op->verb != BLOBSTORE_READ)
        call->done = true;
    else
        blobstore_reader_read(op->reader, 0, call->text, sizeof(call->text) - 1, blob_read_done,
                              call);
}

static void blob_submit(struct shard *shard, void *arg)
{
    blobstore_submit(blobs, shard, &((struct blob_call *)arg)->op);
}

/* Reads or deletes a blob; its text, "" when there is none. */
static const char *blob_do(enum blobstore_verb verb, const char *name)
{
    static struct blob_call call;
    struct arena *arena = arena_create(NULL, "test", 1 << 20);
    memset(&call, 0, sizeof(call));
    blobstore_op_init(&call.op, verb, arena);
    call.op.container = csv_output.container;
    call.op.blob = slice_cstr(name);
    call.op.done = blob_done;
    call.op.arg = &call;
    sim_rig_call(&rig, 0, blob_submit, &call);
    sim_rig_until(&rig, &call.done);
    arena_destroy(arena);
    return call.text;
}

static void csv_begin(const char *state)
{
    sink_begin(blob_sink_create(blobs, shards_get(rig.shards, 0), &csv_output), state);
}

static void csv_write(const char *event)
{
    sink_write(event);
    assert_int_equal(sink_commit(), ERR_OK);
}

/* A next part that was begun before a crash gets no second header when the rows come again. */
static void test_next_part_after_a_crash(void **state)
{
    blobs_start(9);
    csv_begin("0");
    csv_write("{\"a\":1,\"b\":\"x\"}");
    assert_true(fault_arm("job.full", 0, 1, ERR_BLOCK_COUNT));
    csv_write("{\"b\":\"y\",\"a\":2}");
    struct bytebuf saved;
    bytebuf_init(&saved, 100);
    out.sink->ops->state(out.sink, &saved);
    assert_int_equal(saved.len, 1);
    assert_int_equal(saved.data[0], '1');
    bytebuf_deinit(&saved);
    sink_end();
    /* The state with the new part was not saved. */
    csv_begin("0");
    assert_true(fault_arm("job.full", 0, 1, ERR_BLOCK_COUNT));
    csv_write("{\"b\":\"y\",\"a\":2}");
    csv_write("{\"b\":\"z\",\"a\":3}");
    sink_end();
    assert_string_equal(blob_do(BLOBSTORE_READ, "a/b.csv"), "a,b\r\n1,x\r\n");
    assert_string_equal(blob_do(BLOBSTORE_READ, "a/b_1.csv"), "a,b\r\n2,y\r\n2,y\r\n3,z\r\n");
    blobs_end();
}

/* A blob that is deleted under the job begins anew, with a header. */
static void test_deleted_blob(void **state)
{
    blobs_start(10);
    csv_begin("0");
    csv_write("{\"a\":1}");
    csv_write("{\"a\":2}");
    (void)blob_do(BLOBSTORE_DELETE, "a/b.csv");
    csv_write("{\"a\":3}");
    csv_write("{\"a\":4}");
    assert_string_equal(blob_do(BLOBSTORE_READ, "a/b.csv"), "a\r\n3\r\n4\r\n");
    (void)blob_do(BLOBSTORE_CONTAINER_DELETE, "");
    assert_true(fault_arm("job.header", 0, 1, ERR_NO_MEMORY));
    sink_write("{\"a\":5}");
    assert_int_equal(sink_commit(), ERR_NO_MEMORY);
    assert_int_equal(sink_commit(), ERR_OK); /* the rows are there still */
    assert_string_equal(blob_do(BLOBSTORE_READ, "a/b.csv"), "a\r\n5\r\n");
    sink_end();
    blobs_end();
}

/* Two writers of one blob: whole lines of both, one header. */
static void test_two_writers(void **state)
{
    blobs_start(11);
    csv_begin("0");
    struct sink_run first = out;
    struct arena *first_arena = plan_arena;
    csv_begin("0");
    csv_write("{\"a\":2}");
    struct sink_run second = out;
    struct arena *second_arena = plan_arena;
    out = first;
    plan_arena = first_arena;
    sink_write("{\"a\":1}"); /* callbacks go to `out` */
    assert_int_equal(sink_commit(), ERR_OK);
    sink_end();
    out = second;
    plan_arena = second_arena;
    csv_write("{\"a\":3}");
    sink_end();
    assert_string_equal(blob_do(BLOBSTORE_READ, "a/b.csv"), "a\r\n2\r\n1\r\n3\r\n");
    blobs_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_goes_on),
        cmocka_unit_test(test_power_takes_what_was_read),
        cmocka_unit_test(test_damage_is_counted),
        cmocka_unit_test(test_inflate_without_memory),
        cmocka_unit_test(test_bad_header_fails),
        cmocka_unit_test(test_new_partitions),
        cmocka_unit_test(test_positions_that_cannot_be_read),
        cmocka_unit_test(test_large_rows_fit),
        cmocka_unit_test(test_nothing_behind_a_failure),
        cmocka_unit_test(test_sink_without_memory),
        cmocka_unit_test(test_next_part_after_a_crash),
        cmocka_unit_test(test_deleted_blob),
        cmocka_unit_test(test_two_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
