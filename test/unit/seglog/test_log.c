/* Appending, reading, closing, opening: one log on one shard, on the real file system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "log_rig.h"

static const int64_t t0 = 1699999000000;

static void done_nothing(struct seglog_append *append)
{
    (void)append;
}

static void done_never(struct seglog_append *append)
{
    (void)append;
    fail_msg("acknowledged without a round");
}

static void expect_range(struct log_rig *rig, struct seglog *seglog, int64_t from, int64_t end)
{
    struct bytebuf out;
    bytebuf_init(&out, 1 << 30);
    assert_int_equal(log_rig_read_all(rig, seglog, from, &out), ERR_OK);
    log_rig_check(bytebuf_slice(&out), from, end);
    bytebuf_deinit(&out);
}

static void append_and_read(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    struct seglog_append append;
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_batch("a", 3, t0), SEGLOG_ACK_DURABLE, &append),
        ERR_OK);
    assert_int_equal(append.base_offset.value, 0);
    assert_int_equal(append.last_offset.value, 2);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_batch("b", 2, t0 + 10), SEGLOG_ACK_WRITTEN, &append),
        ERR_OK);
    assert_int_equal(append.base_offset.value, 3);
    struct seglog_bounds bounds = seglog_bounds(seglog);
    assert_int_equal(bounds.high_watermark.value, 5);
    assert_int_equal(bounds.end.value, 5);
    assert_int_equal(bounds.epoch.value, 0);
    expect_range(&rig, seglog, 0, 5);
    expect_range(&rig, seglog, 3, 5);

    /* an offset inside a batch gives that batch */
    struct seglog_read read = {
        .from = record_offset(1), .below = record_offset(INT64_MAX), .bytes_max = 1};
    assert_int_equal(log_rig_read(&rig, seglog, &read), ERR_OK);
    assert_int_equal(read.bytes, 0);
    read.first_whole = true;
    assert_int_equal(log_rig_read(&rig, seglog, &read), ERR_OK);
    assert_int_equal(read.range_count, 1);
    assert_int_equal(read.next.value, 3);
    seglog_read_release(&read);

    read.from = record_offset(6);
    assert_int_equal(log_rig_read(&rig, seglog, &read), ERR_OFFSET_OUT_OF_RANGE);
    read.from = record_offset(5);
    assert_int_equal(log_rig_read(&rig, seglog, &read), ERR_OK);
    assert_int_equal(read.bytes, 0);
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

static uint64_t blocks_of(const struct log_rig *rig, uint64_t *ret_size)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof(path), "%s/topics/orders-0/00000000000000000000.log", rig->dir);
    assert_int_equal(stat(path, &st), 0);
    *ret_size = (uint64_t)st.st_size;
    return (uint64_t)st.st_blocks * 512;
}

/* Large writes go to blocks set aside ahead, durable or not; the file ends with the data, and a close
 * gives the rest back. */
static void large_writes_reserve(void **state)
{
    (void)state;
    for (enum seglog_ack ack = SEGLOG_ACK_WRITTEN; ack <= SEGLOG_ACK_DURABLE; ack++) {
        struct log_rig rig;
        log_rig_start(&rig, NULL);
        struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
        struct iobuf_range batch = log_rig_blob(3 << 20, t0);
        uint64_t bytes = batch.bytes.len, size;
        assert_int_equal(log_rig_append(&rig, seglog, batch, ack, NULL), ERR_OK);
        uint64_t blocks = blocks_of(&rig, &size);
        assert_int_equal(size, bytes);
        assert_true(blocks > 2 * bytes - 65536 && blocks < 2 * bytes + 65536);
        expect_range(&rig, seglog, 0, 1);
        log_rig_close(&rig, seglog);
        assert_true(blocks_of(&rig, &size) < bytes + 65536);
        assert_int_equal(size, bytes);
        log_rig_end(&rig);
    }
}

static void invisible_until_written(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    rig.work_held = true;
    struct seglog_append append = {
        .batch = log_rig_batch("a", 1, t0), .ack = SEGLOG_ACK_DURABLE, .on_done = done_never};
    assert_int_equal(seglog_append(seglog, &append, NULL), ERR_OK);
    log_rig_turn(&rig);
    assert_int_equal(seglog_bounds(seglog).end.value, 1);
    assert_int_equal(seglog_bounds(seglog).high_watermark.value, 0);
    struct seglog_read read = {
        .from = record_offset(0), .below = record_offset(INT64_MAX), .bytes_max = 1000};
    assert_int_equal(log_rig_read(&rig, seglog, &read), ERR_OK);
    assert_int_equal(read.bytes, 0);
    log_rig_kill(&rig, &seglog, 1);
    log_rig_end(&rig);
}

static void survives_close_and_kill(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog_config config;
    seglog_config_default(&config);
    config.segment_bytes = 20000;
    int64_t end = 0;
    for (int round = 0; round < 6; round++) {
        struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, &config);
        assert_int_equal(seglog_bounds(seglog).epoch.value, round);
        assert_int_equal(seglog_bounds(seglog).end.value, end);
        expect_range(&rig, seglog, 0, end);
        for (int i = 0; i < 40; i++) {
            enum seglog_ack ack = i % 3 == 0 ? SEGLOG_ACK_DURABLE : SEGLOG_ACK_WRITTEN;
            struct iobuf_range batch = i % 5 == 0 ? log_rig_blob(1000 + (uint32_t)i * 100, t0 + i)
                                                  : log_rig_batch("x", 5, t0 + i);
            end += i % 5 == 0 ? 1 : 5;
            assert_int_equal(log_rig_append(&rig, seglog, batch, ack, NULL), ERR_OK);
        }
        expect_range(&rig, seglog, 0, end);
        struct seglog_stats stats;
        seglog_stats(seglog, &stats);
        assert_true(stats.segments > 1);
        if (round % 2 == 0) {
            log_rig_close(&rig, seglog);
            log_rig_shutdown(&rig);
        } else {
            log_rig_kill(&rig, &seglog, 1);
        }
        assert_true(log_rig_boot(&rig));
    }
    log_rig_end(&rig);
}

static void cold_reads(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    log_rig_shutdown(&rig);
    rig.config.tail_bytes_max = 64 * 1024;
    assert_true(log_rig_boot(&rig));
    struct seglog_config config;
    seglog_config_default(&config);
    config.segment_bytes = 300000;
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, &config);
    for (int i = 0; i < 500; i++)
        assert_int_equal(log_rig_append(&rig, seglog, log_rig_blob(2000 + (uint32_t)i, t0 + i),
                                        SEGLOG_ACK_WRITTEN, NULL),
                         ERR_OK);
    struct commit_stats stats;
    commit_stats_get(rig.commit, &stats);
    assert_true(stats.tail_bytes <= 128 * 1024);
    struct seglog_read read = {.from = record_offset(7),
                               .below = record_offset(INT64_MAX),
                               .bytes_max = 100000,
                               .first_whole = true};
    assert_int_equal(log_rig_read(&rig, seglog, &read), ERR_OK);
    assert_true(read.cold && read.bytes > 90000);
    seglog_read_release(&read);
    for (int64_t from = 0; from < 500; from += 37)
        expect_range(&rig, seglog, from, 500);
    for (int64_t i = 0; i < 500; i += 13) {
        struct seglog_find find;
        assert_int_equal(log_rig_find(&rig, seglog, t0 + i, &find), ERR_OK);
        assert_int_equal(find.offset.value, i);
        assert_int_equal(find.found_timestamp_ms, t0 + i);
    }
    struct seglog_find find;
    assert_int_equal(log_rig_find(&rig, seglog, t0 + 500, &find), ERR_OK);
    assert_int_equal(find.offset.value, -1);
    assert_int_equal(log_rig_find(&rig, seglog, SEGLOG_FIND_MAX, &find), ERR_OK);
    assert_int_equal(find.offset.value, 499);
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

static void read_counted(struct seglog_read *read)
{
    ++*(int *)read->ctx;
}

/* Many readers of old data at once: the buffers under way are bounded, all are served. */
static void cold_reads_take_turns(void **state)
{
    (void)state;
    enum { READERS = 20 };
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    log_rig_shutdown(&rig);
    rig.config.tail_bytes_max = 1;
    rig.config.cold_bytes_max = 1;
    assert_true(log_rig_boot(&rig));
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    for (int i = 0; i < 50; i++)
        assert_int_equal(
            log_rig_append(&rig, seglog, log_rig_blob(2000, t0 + i), SEGLOG_ACK_WRITTEN, NULL),
            ERR_OK);
    static struct seglog_read reads[READERS];
    int served = 0;
    for (int i = 0; i < READERS; i++) {
        reads[i] = (struct seglog_read){.from = record_offset(i),
                                        .below = record_offset(INT64_MAX),
                                        .bytes_max = 5000,
                                        .on_done = read_counted,
                                        .ctx = &served};
        assert_false(seglog_read(seglog, &reads[i]));
    }
    log_rig_turn(&rig);
    log_rig_turn(&rig);
    assert_true(served < READERS);
    for (int i = 0; i < 100 && served < READERS; i++)
        log_rig_turn(&rig);
    assert_int_equal(served, READERS);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(reads[i].err, ERR_OK);
        assert_int_equal(reads[i].next.value, i + 2);
        seglog_read_release(&reads[i]);
    }
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

static void retention_by_size_and_time(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog_config config;
    seglog_config_default(&config);
    config.segment_bytes = 10000;
    config.retention_bytes = 30000;
    config.retention_ms = -1;
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, &config);
    for (int i = 0; i < 100; i++)
        assert_int_equal(
            log_rig_append(&rig, seglog, log_rig_blob(1000, t0 + i), SEGLOG_ACK_WRITTEN, NULL),
            ERR_OK);
    assert_int_equal(log_rig_retain(&rig, seglog), ERR_OK);
    struct seglog_stats stats;
    seglog_stats(seglog, &stats);
    assert_true(stats.bytes >= 30000 && stats.bytes < 40000);
    int64_t start = seglog_bounds(seglog).start.value;
    assert_true(start > 60);
    expect_range(&rig, seglog, start, 100);
    struct seglog_read read = {
        .from = record_offset(start - 1), .below = record_offset(INT64_MAX), .bytes_max = 1000};
    assert_int_equal(log_rig_read(&rig, seglog, &read), ERR_OFFSET_OUT_OF_RANGE);

    config.retention_ms = 1000; /* everything is older: the active segment too */
    seglog_config_set(seglog, &config);
    assert_int_equal(log_rig_retain(&rig, seglog), ERR_OK);
    assert_int_equal(seglog_bounds(seglog).start.value, 100);
    seglog_stats(seglog, &stats);
    assert_int_equal(stats.bytes, 0);
    log_rig_kill(&rig, &seglog, 1);
    assert_true(log_rig_boot(&rig));
    seglog = log_rig_open(&rig, "orders-0", 1, &config);
    assert_int_equal(seglog_bounds(seglog).start.value, 100);
    assert_int_equal(seglog_bounds(seglog).end.value, 100);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_batch("z", 1, t0), SEGLOG_ACK_DURABLE, NULL), ERR_OK);
    expect_range(&rig, seglog, 100, 101);
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

static void trimmed_start_is_kept(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    for (int i = 0; i < 10; i++)
        assert_int_equal(
            log_rig_append(&rig, seglog, log_rig_batch("a", 1, t0 + i), SEGLOG_ACK_WRITTEN, NULL),
            ERR_OK);
    assert_int_equal(log_rig_trim(&rig, seglog, 11), ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(log_rig_trim(&rig, seglog, 4), ERR_OK);
    assert_int_equal(seglog_bounds(seglog).start.value, 4);
    struct seglog_find find;
    assert_int_equal(log_rig_find(&rig, seglog, 0, &find), ERR_OK);
    assert_int_equal(find.offset.value, 4);
    log_rig_kill(&rig, &seglog, 1);
    assert_true(log_rig_boot(&rig));
    seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    assert_int_equal(seglog_bounds(seglog).start.value, 4);
    expect_range(&rig, seglog, 4, 10);
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

static void deleted_name_is_free(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_batch("a", 5, t0), SEGLOG_ACK_DURABLE, NULL), ERR_OK);
    log_rig_delete(&rig, seglog);
    seglog = log_rig_open(&rig, "orders-0", 2, NULL);
    assert_int_equal(seglog_bounds(seglog).end.value, 0);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_batch("b", 1, t0), SEGLOG_ACK_DURABLE, NULL), ERR_OK);
    log_rig_close(&rig, seglog);
    /* the folder of a topic that was deleted while the server was down is not adopted */
    seglog = log_rig_open(&rig, "orders-0", 3, NULL);
    assert_int_equal(seglog_bounds(seglog).end.value, 0);
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

static void many_logs_share_a_journal(void **state)
{
    (void)state;
    enum { LOGS = 20 };
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    log_rig_shutdown(&rig);
    rig.config.journal_bytes = 256 * 1024;
    rig.config.direct_files_max = 2;
    assert_true(log_rig_boot(&rig));
    struct seglog *logs[LOGS];
    for (unsigned i = 0; i < LOGS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "orders-%u", i);
        logs[i] = log_rig_open(&rig, name, i, NULL);
    }
    int64_t end = 0;
    for (int round = 0; round < 60; round++) {
        struct seglog_append appends[LOGS];
        for (unsigned i = 0; i < LOGS; i++) {
            appends[i] = (struct seglog_append){.batch = log_rig_batch("j", 10, t0 + round),
                                                .ack = SEGLOG_ACK_DURABLE,
                                                .on_done = done_nothing,
                                                .err = ERR_BUSY};
            assert_int_equal(seglog_append(logs[i], &appends[i], NULL), ERR_OK);
        }
        end += 10;
        log_rig_quiet(&rig);
        for (unsigned i = 0; i < LOGS; i++) {
            assert_int_equal(appends[i].err, ERR_OK);
            assert_int_equal(seglog_bounds(logs[i]).high_watermark.value, end);
        }
    }
    struct commit_stats stats;
    commit_stats_get(rig.commit, &stats);
    assert_true(stats.journal_syncs > 40);
    log_rig_kill(&rig, logs, LOGS);
    assert_true(log_rig_boot(&rig));
    for (unsigned i = 0; i < LOGS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "orders-%u", i);
        logs[i] = log_rig_open(&rig, name, i, NULL);
        expect_range(&rig, logs[i], 0, end);
    }
    seglog_store_recovered(rig.store);
    for (unsigned i = 0; i < LOGS; i++)
        log_rig_close(&rig, logs[i]);
    log_rig_end(&rig);
}

/* Bytes of zeros behind the data of log orders-0. */
static uint64_t zeros_of(struct log_rig *rig, struct seglog *seglog)
{
    struct bytebuf out;
    uint64_t size;
    bytebuf_init(&out, 1 << 30);
    assert_int_equal(log_rig_read_all(rig, seglog, 0, &out), ERR_OK);
    blocks_of(rig, &size);
    assert_true(size >= out.len);
    size -= out.len;
    bytebuf_deinit(&out);
    return size;
}

/* A log on its own is synced directly, behind zeros. One whose shard uses the journal goes through it
 * also alone, and gets no zeros for the round or two before the journal stood. */
static void busy_shard_keeps_to_the_journal(void **state)
{
    (void)state;
    enum { LOGS = 20 };
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog *logs[LOGS];
    struct seglog_append appends[LOGS];
    struct commit_stats before, after;
    for (unsigned i = 0; i < LOGS; i++) {
        char name[32];
        snprintf(name, sizeof(name), "orders-%u", i);
        logs[i] = log_rig_open(&rig, name, i, NULL);
    }
    for (int round = 0; round < 5; round++) {
        for (unsigned i = 0; i < LOGS; i++) {
            appends[i] = (struct seglog_append){.batch = log_rig_batch("j", 10, t0),
                                                .ack = SEGLOG_ACK_DURABLE,
                                                .on_done = done_nothing};
            assert_int_equal(seglog_append(logs[i], &appends[i], NULL), ERR_OK);
        }
        log_rig_quiet(&rig);
    }
    commit_stats_get(rig.commit, &before);
    assert_true(before.journal_syncs > 0);
    assert_int_equal(log_rig_append(&rig, logs[0], log_rig_batch("j", 10, t0), SEGLOG_ACK_DURABLE,
                                    NULL),
                     ERR_OK);
    commit_stats_get(rig.commit, &after);
    assert_int_equal(after.journal_syncs, before.journal_syncs + 1);
    assert_int_equal(after.segment_syncs, before.segment_syncs);
    assert_int_equal(zeros_of(&rig, logs[0]), 0);
    for (unsigned i = 0; i < LOGS; i++)
        log_rig_close(&rig, logs[i]);
    log_rig_end(&rig);

    log_rig_start(&rig, NULL);
    logs[0] = log_rig_open(&rig, "orders-0", 0, NULL);
    assert_int_equal(log_rig_append(&rig, logs[0], log_rig_batch("j", 10, t0), SEGLOG_ACK_DURABLE,
                                    NULL),
                     ERR_OK);
    assert_true(zeros_of(&rig, logs[0]) >= 1 << 20);
    commit_stats_get(rig.commit, &after);
    assert_int_equal(after.journal_syncs, 0);
    log_rig_close(&rig, logs[0]);
    log_rig_end(&rig);
}

static void idempotent_producers(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    struct seglog_append append;
    enum seglog_ack ack = SEGLOG_ACK_DURABLE;
    for (int pass = 0; pass < 3; pass++) {
        for (int32_t i = 0; i < 7; i++) {
            enum err err = log_rig_append(&rig, seglog, log_rig_producer_batch(9, 0, i * 3, 3, t0),
                                          ack, &append);
            if (pass == 0 || i >= 2) {
                assert_int_equal(err, ERR_OK);
                assert_int_equal(append.duplicate, pass > 0);
                assert_int_equal(append.base_offset.value, i * 3);
                assert_int_equal(append.last_offset.value, i * 3 + 2);
            } else {
                assert_int_equal(err, ERR_OUT_OF_ORDER_SEQUENCE); /* older than five batches */
            }
        }
        if (pass == 1) { /* the five are remembered over a clean and an unclean start */
            log_rig_close(&rig, seglog);
            log_rig_shutdown(&rig);
        } else {
            log_rig_kill(&rig, &seglog, 1);
        }
        assert_true(log_rig_boot(&rig));
        seglog = log_rig_open(&rig, "orders-0", 1, NULL);
    }
    /* a gap; a newer epoch from 0; an older epoch; an unknown producer at any sequence; the wrap */
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_producer_batch(9, 0, 25, 1, t0), ack, NULL),
        ERR_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_producer_batch(9, 1, 3, 1, t0), ack, NULL),
        ERR_OUT_OF_ORDER_SEQUENCE);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_producer_batch(9, 1, 0, 1, t0), ack, NULL), ERR_OK);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_producer_batch(9, 0, 21, 1, t0), ack, NULL),
        ERR_INVALID_PRODUCER_EPOCH);
    assert_int_equal(log_rig_append(&rig, seglog,
                                    log_rig_producer_batch(10, 4, INT32_MAX - 1, 3, t0), ack, NULL),
                     ERR_OK);
    assert_int_equal(
        log_rig_append(&rig, seglog, log_rig_producer_batch(10, 4, 1, 1, t0), ack, NULL), ERR_OK);
    struct seglog_producer producer;
    assert_true(seglog_producer_get(seglog, 10, &producer));
    assert_int_equal(producer.last_sequence, 1);
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

/* The greatest time is that of a record that can be read, also when a greater one was deleted. */
static void greatest_time_of_what_is_left(void **state)
{
    (void)state;
    struct log_rig rig;
    struct seglog_find find;
    struct seglog_config config;
    static const int64_t times[] = {900, 100, 300, 200, 300, 50};
    seglog_config_default(&config);
    config.retention_ms = -1; /* these times are long ago */
    for (int segments = 0; segments < 2; segments++) {
        config.segment_bytes = segments ? 150 : 1 << 20; /* two batches each, or all in one */
        log_rig_start(&rig, NULL);
        struct seglog *seglog = log_rig_open(&rig, "t-0", 1, &config);
        for (int i = 0; i < 6; i++)
            assert_int_equal(log_rig_append(&rig, seglog, log_rig_batch("x", 1, times[i]),
                                            SEGLOG_ACK_WRITTEN, NULL),
                             ERR_OK);
        assert_int_equal(log_rig_find(&rig, seglog, SEGLOG_FIND_MAX, &find), ERR_OK);
        assert_int_equal(find.offset.value, 0);
        assert_int_equal(find.found_timestamp_ms, 900);
        static const int64_t expected[][3] = {{1, 2, 300}, {3, 4, 300}, {5, 5, 50}, {6, -1, -1}};
        for (int i = 0; i < 4; i++) {
            assert_int_equal(log_rig_trim(&rig, seglog, expected[i][0]), ERR_OK);
            assert_int_equal(log_rig_find(&rig, seglog, SEGLOG_FIND_MAX, &find), ERR_OK);
            assert_int_equal(find.offset.value, expected[i][1]);
            assert_int_equal(find.found_timestamp_ms, expected[i][2]);
        }
        log_rig_close(&rig, seglog);
        log_rig_end(&rig);
    }
}

/* An epoch whose records are all deleted ended where the log starts: whoever read them is not told of a truncation. */
static void epochs_of_deleted_records(void **state)
{
    (void)state;
    struct log_rig rig;
    struct leader_epoch epoch;
    struct record_offset end;
    log_rig_start(&rig, NULL);
    struct seglog *seglog = log_rig_open(&rig, "t-0", 1, NULL);
    for (int run = 0; run < 3; run++) { /* epochs 0, 1, 2 write two records each */
        assert_int_equal(log_rig_append(&rig, seglog, log_rig_batch("x", 2, 1700000000000),
                                        SEGLOG_ACK_DURABLE, NULL),
                         ERR_OK);
        if (run == 2)
            break;
        log_rig_close(&rig, seglog);
        log_rig_shutdown(&rig);
        assert_true(log_rig_boot(&rig));
        seglog = log_rig_open(&rig, "t-0", 1, NULL);
    }
    assert_int_equal(log_rig_trim(&rig, seglog, 4), ERR_OK); /* only epoch 2 is left */
    for (int again = 0; again < 2; again++) {
        for (int32_t asked = 0; asked < 2; asked++) {
            assert_true(seglog_epoch_end(seglog, leader_epoch(asked), &epoch, &end));
            assert_int_equal(epoch.value, asked);
            assert_int_equal(end.value, 4);
        }
        assert_true(seglog_epoch_end(seglog, leader_epoch(2), &epoch, &end));
        assert_int_equal(epoch.value, 2);
        assert_int_equal(end.value, 6);
        assert_false(seglog_epoch_end(seglog, leader_epoch(-1), &epoch, &end));
        log_rig_close(&rig, seglog);
        log_rig_shutdown(&rig);
        assert_true(log_rig_boot(&rig));
        seglog = log_rig_open(&rig, "t-0", 1, NULL);
    }
    /* Nothing is left at all. */
    assert_int_equal(log_rig_trim(&rig, seglog, 6), ERR_OK);
    log_rig_close(&rig, seglog);
    log_rig_shutdown(&rig);
    assert_true(log_rig_boot(&rig));
    seglog = log_rig_open(&rig, "t-0", 1, NULL);
    assert_true(seglog_epoch_end(seglog, leader_epoch(1), &epoch, &end));
    assert_int_equal(end.value, 6);
    log_rig_close(&rig, seglog);
    log_rig_end(&rig);
}

static void epochs_are_kept(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_start(&rig, NULL);
    for (int i = 0; i < 4; i++) {
        struct seglog *seglog = log_rig_open(&rig, "orders-0", 1, NULL);
        assert_int_equal(
            log_rig_append(&rig, seglog, log_rig_batch("a", 2, t0), SEGLOG_ACK_DURABLE, NULL),
            ERR_OK);
        for (int k = 0; k <= i; k++) {
            struct leader_epoch epoch;
            struct record_offset end;
            assert_true(seglog_epoch_end(seglog, leader_epoch(k), &epoch, &end));
            assert_int_equal(epoch.value, k);
            assert_int_equal(end.value, 2 * (k + 1));
            assert_int_equal(seglog_epoch_at(seglog, record_offset(2 * k)).value, k);
        }
        if (i % 2)
            log_rig_close(&rig, seglog), log_rig_shutdown(&rig);
        else
            log_rig_kill(&rig, &seglog, 1);
        assert_true(log_rig_boot(&rig));
    }
    log_rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_writes_reserve),
        cmocka_unit_test(busy_shard_keeps_to_the_journal),
        cmocka_unit_test(append_and_read),
        cmocka_unit_test(invisible_until_written),
        cmocka_unit_test(survives_close_and_kill),
        cmocka_unit_test(cold_reads),
        cmocka_unit_test(cold_reads_take_turns),
        cmocka_unit_test(retention_by_size_and_time),
        cmocka_unit_test(trimmed_start_is_kept),
        cmocka_unit_test(deleted_name_is_free),
        cmocka_unit_test(many_logs_share_a_journal),
        cmocka_unit_test(idempotent_producers),
        cmocka_unit_test(greatest_time_of_what_is_left),
        cmocka_unit_test(epochs_of_deleted_records),
        cmocka_unit_test(epochs_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
