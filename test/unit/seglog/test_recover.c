/* Opening damaged logs, on the simulated disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/diag.h"
#include "io/fault.h"
#include "io/fs_sim.h"
#include "log_rig.h"
#include "seglog/seglog_int.h"

enum { BATCHES = 6 };

static const int64_t t0 = 1699999000000;
static const char *const log_file = "data/topics/t-0/00000000000000000000.log";

struct bench {
    struct log_rig rig;
    struct fs *fs;
    struct seglog_config config;
    struct seglog *seglog;
};

static void bench_start(struct bench *bench)
{
    struct fs_sim_config config = {.seed = 1};
    memset(bench, 0, sizeof(*bench));
    bench->fs = fs_sim_create(&config);
    seglog_config_default(&bench->config);
    bench->config.index_interval_bytes = 200;
    log_rig_start(&bench->rig, bench->fs);
    bench->seglog = log_rig_open(&bench->rig, "t-0", 1, &bench->config);
}

static void bench_end(struct bench *bench)
{
    if (bench->seglog)
        log_rig_close(&bench->rig, bench->seglog);
    log_rig_end(&bench->rig);
    fs_destroy(bench->fs);
}

static void bench_reopen(struct bench *bench, bool killed)
{
    if (killed) {
        log_rig_kill(&bench->rig, &bench->seglog, 1);
    } else {
        log_rig_close(&bench->rig, bench->seglog);
        log_rig_shutdown(&bench->rig);
    }
    bench->seglog = NULL;
}

static struct seglog_open bench_boot(struct bench *bench)
{
    struct seglog_open open;
    assert_true(log_rig_boot(&bench->rig));
    assert_int_equal(log_rig_open_err(&bench->rig, "t-0", 1, &bench->config, &open), ERR_OK);
    bench->seglog = open.seglog;
    return open;
}

static void expect_all(struct bench *bench, int64_t from, int64_t end)
{
    struct bytebuf out;
    bytebuf_init(&out, 1 << 26);
    assert_int_equal(seglog_bounds(bench->seglog).end.value, end);
    assert_int_equal(log_rig_read_all(&bench->rig, bench->seglog, from, &out), ERR_OK);
    log_rig_check(bytebuf_slice(&out), from, end);
    bytebuf_deinit(&out);
}

static void append_some(struct bench *bench, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(log_rig_append(&bench->rig, bench->seglog, log_rig_batch("abc", 1, t0 + i),
                                        SEGLOG_ACK_WRITTEN, NULL),
                         ERR_OK);
}

static void file_load(struct bench *bench, const char *path, struct bytebuf *out)
{
    uint8_t *data;
    size_t len;
    assert_int_equal(fs_read_all(bench->fs, path, 1 << 26, &data, &len, NULL), ERR_OK);
    bytebuf_init(out, 1 << 26);
    bytebuf_append(out, data, len);
    free(data);
}

static void file_store(struct bench *bench, const char *path, struct slice bytes)
{
    struct fs_file *file;
    assert_int_equal(fs_open(bench->fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file, NULL),
                     ERR_OK);
    assert_int_equal(fs_pwrite(file, bytes.data, bytes.len, 0, NULL), ERR_OK);
    fs_close(file);
}

static bool rest_is_zero(const struct bytebuf *bytes, size_t from, size_t end)
{
    while (from < end && bytes->data[from] == 0)
        from++;
    return from == end;
}

/* The file cut at every byte, with nothing, zeros or garbage behind: whole batches before the cut stay. */
static void torn_at_every_byte(void **state)
{
    (void)state;
    struct bench bench;
    struct bytebuf whole;
    bench_start(&bench);
    append_some(&bench, BATCHES);
    bench_reopen(&bench, true);
    file_load(&bench, log_file, &whole);
    size_t size = whole.len / BATCHES;
    assert_int_equal(size * BATCHES, whole.len);
    for (size_t cut = 0; cut <= whole.len; cut++) {
        for (int tail = 0; tail < 3; tail++) {
            struct bytebuf torn;
            bytebuf_init(&torn, 1 << 20);
            bytebuf_append(&torn, whole.data, cut);
            uint8_t *p = bytebuf_reserve(&torn, 1000);
            memset(p, tail == 1 ? 0 : 0xa5, 1000);
            torn.len += tail ? 1000 : 0;
            file_store(&bench, log_file, bytebuf_slice(&torn));
            struct seglog_open open = bench_boot(&bench);
            int64_t end = (int64_t)(cut / size);
            if (tail == 1 && cut % size && rest_is_zero(&whole, cut, (size_t)(end + 1) * size))
                end++; /* the zeros are what was cut off */
            expect_all(&bench, 0, end);
            if (cut % size >= 12 && tail == 2)
                assert_true(open.truncated_bytes > 0);
            append_some(&bench, 1); /* goes on where it ends */
            expect_all(&bench, 0, end + 1);
            bench_reopen(&bench, true);
            bench_boot(&bench);
            expect_all(&bench, 0, end + 1);
            bench_reopen(&bench, true);
            bytebuf_deinit(&torn);
        }
    }
    bytebuf_deinit(&whole);
    bench_end(&bench);
}

/* Any flipped bit behind the recovery point ends the log before its batch. */
static void flipped_bits_behind_the_point(void **state)
{
    (void)state;
    struct bench bench;
    struct bytebuf whole;
    bench_start(&bench);
    append_some(&bench, BATCHES);
    bench_reopen(&bench, true);
    file_load(&bench, log_file, &whole);
    size_t size = whole.len / BATCHES;
    for (size_t bit = 0; bit < whole.len * 8; bit += 3) {
        size_t in_batch = bit / 8 % size;
        file_store(&bench, log_file, bytebuf_slice(&whole));
        assert_int_equal(fs_sim_bit_flip(bench.fs, log_file, bit, NULL), ERR_OK);
        bench_boot(&bench);
        int64_t end = seglog_bounds(bench.seglog).end.value;
        if (in_batch >= 12 && in_batch < 16) /* the epoch is not under the checksum */
            assert_int_equal(end, BATCHES);
        else
            assert_int_equal(end, bit / 8 / size);
        expect_all(&bench, 0, end);
        bench_reopen(&bench, true);
    }
    bytebuf_deinit(&whole);
    bench_end(&bench);
}

/* A batch that reads as zeros ends the log like any damage, and is told: zeros written ahead have nothing behind them. */
static void zeros_amid_the_data(void **state)
{
    (void)state;
    for (int lost = 0; lost <= BATCHES; lost++) {
        struct bench bench;
        struct bytebuf whole;
        bench_start(&bench);
        append_some(&bench, BATCHES);
        bench_reopen(&bench, true);
        file_load(&bench, log_file, &whole);
        size_t size = whole.len / BATCHES;
        if (lost < BATCHES)
            memset(whole.data + (size_t)lost * size, 0, size);
        file_store(&bench, log_file, bytebuf_slice(&whole));
        struct seglog_open open = bench_boot(&bench);
        expect_all(&bench, 0, lost);
        if (lost < BATCHES - 1)
            assert_int_equal(open.truncated_bytes, (size_t)(BATCHES - lost) * size);
        else
            assert_int_equal(open.truncated_bytes, 0);
        bytebuf_deinit(&whole);
        bench_end(&bench);
    }
}

/* A trim of a log that went offline fails as such, not for lack of space. */
static void trim_of_an_offline_log(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    append_some(&bench, BATCHES);
    seglog_offline(bench.seglog, &(struct err_info){.code = ERR_DISK_IO, .text = "test"});
    assert_int_equal(log_rig_trim(&bench.rig, bench.seglog, 2), ERR_STORAGE);
    bench_end(&bench);
}

/* Below the point nothing is cut: the reader of the damaged batch is told, the others are served. */
static void damage_below_the_point_is_told(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    append_some(&bench, BATCHES);
    bench_reopen(&bench, false);
    assert_int_equal(fs_sim_bit_flip(bench.fs, log_file, 3 * 8 * 72 + 8 * 40, NULL), ERR_OK);
    bench_boot(&bench);
    assert_int_equal(seglog_bounds(bench.seglog).end.value, BATCHES);
    int64_t bad = -1;
    for (int64_t from = 0; from < BATCHES; from++) {
        struct seglog_read read = {.from = record_offset(from),
                                   .below = record_offset(INT64_MAX),
                                   .bytes_max = 1,
                                   .first_whole = true};
        enum err err = log_rig_read(&bench.rig, bench.seglog, &read);
        if (err) {
            assert_int_equal(err, ERR_CORRUPT);
            assert_int_equal(bad, -1);
            bad = from;
        }
        seglog_read_release(&read);
    }
    assert_true(bad >= 0);
    assert_int_equal(seglog_state(bench.seglog), ERR_OK);
    append_some(&bench, 1);
    bench_end(&bench);
}

/* Zeros in the place of a batch, or a file that ends early, are damage too: readers and searches by time are told,
 * and do not pass on to the next segment as if nothing had been there. */
static void lost_bytes_below_the_point_are_told(void **state)
{
    (void)state;
    static const char *const second = "data/topics/t-0/00000000000000000013.log";
    for (int how = 0; how < 2; how++) {
        struct bench bench;
        struct bytebuf whole;
        bench_start(&bench);
        bench.config.segment_bytes = 1000; /* 13 batches */
        seglog_config_set(bench.seglog, &bench.config);
        append_some(&bench, 30);
        bench_reopen(&bench, false);
        file_load(&bench, second, &whole);
        size_t size = whole.len / 13;
        assert_int_equal(size * 13, whole.len);
        if (how == 0)
            memset(whole.data + size * 5, 0, size * 3);
        file_store(&bench, second, slice_make(whole.data, how == 0 ? whole.len : size * 5));
        bench_boot(&bench);
        for (int64_t from = 13; from < 30; from++) {
            struct seglog_read read = {.from = record_offset(from),
                                       .below = record_offset(INT64_MAX),
                                       .bytes_max = 1,
                                       .first_whole = true};
            enum err err = log_rig_read(&bench.rig, bench.seglog, &read);
            bool lost = from >= 18 && from < (how == 0 ? 21 : 26);
            if (how == 0 && from >= 21 && from < 26)
                lost =
                    err != ERR_OK; /* what lies behind the zeros may be found by the index or not */
            assert_int_equal(err, lost ? ERR_CORRUPT : ERR_OK);
            if (!lost)
                assert_int_equal(read.next.value, from + 1);
            seglog_read_release(&read);
        }
        struct seglog_find find;
        assert_int_equal(log_rig_find(&bench.rig, bench.seglog, t0 + 15, &find), ERR_OK);
        assert_int_equal(find.offset.value, 15);
        if (how == 0) /* of a file that ends early the times are not known any more */
            assert_int_equal(log_rig_find(&bench.rig, bench.seglog, t0 + 19, &find), ERR_CORRUPT);
        bytebuf_deinit(&whole);
        bench_end(&bench);
    }
}

/* Files beside the segment, missing or of any content, cost nothing but time. */
static void damaged_helpers(void **state)
{
    (void)state;
    static const char *const names[] = {"00000000000000000000.index",
                                        "00000000000000000000.timeindex",
                                        "weir-checkpoint",
                                        "leader-epoch-checkpoint",
                                        "partition.metadata",
                                        "00000000000000000030.snapshot",
                                        "00000000000000000012.index",
                                        "00000000000000000012.timeindex"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (int how = 0; how < 4; how++) {
            struct bench bench;
            bench_start(&bench);
            bench.config.segment_bytes = 1000; /* 12 batches */
            seglog_config_set(bench.seglog, &bench.config);
            append_some(&bench, 30);
            bench_reopen(&bench, false);
            char path[128];
            snprintf(path, sizeof(path), "data/topics/t-0/%s", names[i]);
            if (how == 0 && fs_exists(bench.fs, path))
                assert_int_equal(fs_unlink(bench.fs, path, NULL), ERR_OK);
            if (how == 1)
                file_store(&bench, path, SLICE_LIT("garbage that is no file of ours"));
            if (how == 2)
                file_store(&bench, path, SLICE_NULL);
            if (how == 3) {
                uint8_t ones[96];
                memset(ones, 0xff, sizeof(ones));
                file_store(&bench, path, slice_make(ones, sizeof(ones)));
            }
            bench_boot(&bench);
            for (int64_t from = 0; from < 30; from += 7)
                expect_all(&bench, from, 30);
            struct seglog_find find;
            assert_int_equal(log_rig_find(&bench.rig, bench.seglog, t0 + 17, &find), ERR_OK);
            assert_int_equal(find.offset.value, 17);
            bench_end(&bench);
        }
    }
}

/* A recovery point that the files contradict is given up for good: it says nothing of what is appended afterwards. */
static void point_contradicted(int64_t start)
{
    struct bench bench;
    struct bytebuf whole;
    bench_start(&bench);
    append_some(&bench, BATCHES);
    assert_int_equal(log_rig_trim(&bench.rig, bench.seglog, start), ERR_OK);
    bench_reopen(&bench, false);
    file_load(&bench, log_file, &whole);
    size_t size = whole.len / BATCHES;
    file_store(&bench, log_file, slice_make(whole.data, size * 2));
    bench_boot(&bench);
    start = start < 2 ? start : 2;
    expect_all(&bench, start, 2);
    int64_t end = 2;
    for (; end <= BATCHES + 4; end++) /* of another size: no batch begins where the point was */
        assert_int_equal(log_rig_append(&bench.rig, bench.seglog, log_rig_batch("longer", 1, t0),
                                        SEGLOG_ACK_DURABLE, NULL),
                         ERR_OK);
    bench_reopen(&bench, true);
    bench_boot(&bench);
    assert_int_equal(seglog_bounds(bench.seglog).start.value, start);
    expect_all(&bench, start, end);
    bytebuf_deinit(&whole);
    bench_end(&bench);
}

static void point_behind_the_end(void **state)
{
    (void)state;
    point_contradicted(1);
    point_contradicted(5); /* the log start lies behind the end as well */
}

/* A full disk is a refusal that can be repeated; nothing of it stays. */
static void full_disk(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    append_some(&bench, 3);
    struct fs_sim_config config = {.write_full_odds = 1};
    fs_sim_config_set(bench.fs, &config);
    struct seglog_append append;
    assert_int_equal(log_rig_append(&bench.rig, bench.seglog,
                                    log_rig_producer_batch(5, 0, 0, 2, t0), SEGLOG_ACK_DURABLE,
                                    &append),
                     ERR_DISK_FULL);
    struct seglog_producer producer;
    assert_false(seglog_producer_get(bench.seglog, 5, &producer));
    assert_int_equal(log_rig_append(&bench.rig, bench.seglog, log_rig_batch("x", 1, t0),
                                    SEGLOG_ACK_DURABLE, NULL),
                     ERR_DISK_FULL); /* at once, for a moment */
    expect_all(&bench, 0, 3);
    config.write_full_odds = 0;
    fs_sim_config_set(bench.fs, &config);
    bench.rig.reactor.now_us += 1000000;
    assert_int_equal(log_rig_append(&bench.rig, bench.seglog,
                                    log_rig_producer_batch(5, 0, 0, 2, t0), SEGLOG_ACK_DURABLE,
                                    &append),
                     ERR_OK);
    assert_int_equal(append.base_offset.value, 3);
    assert_false(append.duplicate);
    expect_all(&bench, 0, 5);
    bench_reopen(&bench, true);
    bench_boot(&bench);
    expect_all(&bench, 0, 5);
    bench_end(&bench);
}

/* A failed sync fails those who wait for it, takes this log offline and no other. */
static void failed_sync(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench);
    struct seglog *other = log_rig_open(&bench.rig, "t-1", 2, NULL);
    append_some(&bench, 3);
    struct fs_sim_config config = {.sync_eio_odds = 1};
    fs_sim_config_set(bench.fs, &config);
    assert_int_equal(log_rig_append(&bench.rig, bench.seglog, log_rig_batch("x", 1, t0),
                                    SEGLOG_ACK_DURABLE, NULL),
                     ERR_STORAGE);
    assert_int_equal(seglog_state(bench.seglog), ERR_STORAGE);
    config.sync_eio_odds = 0;
    fs_sim_config_set(bench.fs, &config);
    assert_int_equal(log_rig_append(&bench.rig, bench.seglog, log_rig_batch("x", 1, t0),
                                    SEGLOG_ACK_WRITTEN, NULL),
                     ERR_STORAGE);
    assert_int_equal(
        log_rig_append(&bench.rig, other, log_rig_batch("x", 1, t0), SEGLOG_ACK_DURABLE, NULL),
        ERR_OK);
    log_rig_close(&bench.rig, other);
    bench_end(&bench);
}

static void append_counted(struct seglog_append *append)
{
    (void)append;
}

/* A log that goes offline keeps its part of the journal: the file is put aside and read by the next start. */
static void offline_log_keeps_its_journal(void **state)
{
    (void)state;
    enum { LOGS = 6 };
    struct bench bench;
    struct seglog *logs[LOGS];
    bench_start(&bench);
    log_rig_close(&bench.rig, bench.seglog);
    log_rig_shutdown(&bench.rig);
    bench.seglog = NULL;
    bench.rig.config = (struct commit_config){.journal_bytes = 32768, .direct_files_max = 1};
    assert_true(log_rig_boot(&bench.rig));
    char names[LOGS][8];
    int64_t ends[LOGS] = {0};
    for (unsigned i = 0; i < LOGS; i++) {
        snprintf(names[i], sizeof(names[i]), "o-%u", i);
        logs[i] = log_rig_open(&bench.rig, names[i], 10 + i, NULL);
    }
    for (int round = 0; round < 60; round++) {
        struct seglog_append appends[LOGS];
        if (round == 5) { /* the next background or direct sync of this log fails */
            seglog_offline(logs[0], &(struct err_info){.code = ERR_DISK_IO, .text = "test"});
        }
        for (unsigned i = 0; i < LOGS; i++) {
            appends[i] = (struct seglog_append){.batch = log_rig_batch("j", 2, t0),
                                                .ack = SEGLOG_ACK_DURABLE,
                                                .on_done = append_counted};
            if (seglog_append(logs[i], &appends[i], NULL) == ERR_OK)
                ends[i] += 2;
            else
                iobuf_unref(appends[i].batch.buf);
        }
        log_rig_quiet(&bench.rig);
    }
    assert_int_equal(ends[0], 10);
    struct commit_stats stats;
    commit_stats_get(bench.rig.commit, &stats);
    assert_true(stats.journal_syncs > 40); /* the journal stayed in use */
    log_rig_kill(&bench.rig, logs, LOGS);
    fs_sim_power_loss(bench.fs);
    assert_true(log_rig_boot(&bench.rig));
    for (unsigned i = 0; i < LOGS; i++) {
        bench.seglog = log_rig_open(&bench.rig, names[i], 10 + i, NULL);
        expect_all(&bench, 0, ends[i]);
        log_rig_close(&bench.rig, bench.seglog);
        bench.seglog = NULL;
    }
    bench_end(&bench);
}

/* ---- faults while a log opens ---- */

enum { OPEN_END = 30, OPEN_START = 17, OPEN_PRODUCER = 7 };

/* A log of several segments, closed well: records were deleted from its front, a producer is known. */
static void open_prepare(struct bench *bench, bool damaged)
{
    bench_start(bench);
    bench->config.segment_bytes = 1000;
    seglog_config_set(bench->seglog, &bench->config);
    append_some(bench, OPEN_END - 1);
    assert_int_equal(log_rig_append(&bench->rig, bench->seglog,
                                    log_rig_producer_batch(OPEN_PRODUCER, 3, 5, 1, t0),
                                    SEGLOG_ACK_DURABLE, NULL),
                     ERR_OK);
    assert_int_equal(log_rig_trim(&bench->rig, bench->seglog, OPEN_START), ERR_OK);
    bench_reopen(bench, false);
    if (damaged) /* a batch far below the recovery point */
        assert_int_equal(fs_sim_bit_flip(bench->fs, "data/topics/t-0/00000000000000000013.log",
                                         5 * 8 * 72 + 8 * 40, NULL),
                         ERR_OK);
    assert_true(log_rig_boot(&bench->rig));
}

static void open_expect_whole(struct bench *bench, bool damaged)
{
    struct seglog_producer producer;
    struct seglog_bounds bounds = seglog_bounds(bench->seglog);
    assert_int_equal(bounds.start.value, OPEN_START);
    assert_int_equal(bounds.end.value, OPEN_END);
    if (!damaged)
        expect_all(bench, OPEN_START, OPEN_END);
    assert_true(seglog_producer_get(bench->seglog, OPEN_PRODUCER, &producer));
    assert_int_equal(producer.last_sequence, 5);
}

/* Whichever call fails: the log does not open, or nothing of it is missing; and so it is at the next start. */
static void open_under_fault(const char *point, enum err err, bool damaged)
{
    bool fired = true;
    for (uint64_t nth = 0; fired; nth++) {
        struct bench bench;
        struct seglog_open open;
        open_prepare(&bench, damaged);
        assert_true(fault_arm(point, nth, 1, err));
        if (log_rig_open_err(&bench.rig, "t-0", 1, &bench.config, &open) == ERR_OK) {
            bench.seglog = open.seglog;
            fired = fault_fired(point) > 0;
            fault_disarm_all();
            open_expect_whole(&bench, damaged);
            bench_reopen(&bench, nth % 2 == 0);
        } else {
            fault_disarm_all();
            log_rig_shutdown(&bench.rig);
        }
        bench_boot(&bench);
        open_expect_whole(&bench, damaged);
        bench_end(&bench);
    }
}

static void reads_fail_while_a_log_opens(void **state)
{
    (void)state;
    open_under_fault("fs.read", ERR_DISK_IO, false);
    open_under_fault("fs.read", ERR_DISK_IO, true);
}

static void files_do_not_open_while_a_log_does(void **state)
{
    (void)state;
    open_under_fault("fs.open", ERR_DISK_IO, true);
    open_under_fault("fs.open", ERR_LIMIT, false);
}

static void names_are_not_found_out_while_a_log_opens(void **state)
{
    (void)state;
    open_under_fault("fs.stat", ERR_DISK_IO, true);
    open_under_fault("fs.list", ERR_DISK_IO, false);
}

/* What a topic of the same name left is never served, whether or not it can be told at once. */
static void another_topics_folder_under_fault(void **state)
{
    (void)state;
    static const char *const points[] = {"fs.read", "fs.open", "fs.stat"};
    for (size_t i = 0; i < 3; i++) {
        bool fired = true;
        for (uint64_t nth = 0; fired; nth++) {
            struct bench bench;
            struct seglog_open open;
            open_prepare(&bench, false);
            assert_true(fault_arm(points[i], nth, 1, ERR_DISK_IO));
            enum err err = log_rig_open_err(&bench.rig, "t-0", 2, &bench.config, &open);
            fired = fault_fired(points[i]) > 0;
            fault_disarm_all();
            if (err)
                assert_int_equal(log_rig_open_err(&bench.rig, "t-0", 2, &bench.config, &open),
                                 ERR_OK);
            bench.seglog = open.seglog;
            expect_all(&bench, 0, 0);
            bench_end(&bench);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torn_at_every_byte),
        cmocka_unit_test(flipped_bits_behind_the_point),
        cmocka_unit_test(zeros_amid_the_data),
        cmocka_unit_test(trim_of_an_offline_log),
        cmocka_unit_test(damage_below_the_point_is_told),
        cmocka_unit_test(lost_bytes_below_the_point_are_told),
        cmocka_unit_test(damaged_helpers),
        cmocka_unit_test(point_behind_the_end),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(failed_sync),
        cmocka_unit_test(offline_log_keeps_its_journal),
        cmocka_unit_test(reads_fail_while_a_log_opens),
        cmocka_unit_test(files_do_not_open_while_a_log_does),
        cmocka_unit_test(names_are_not_found_out_while_a_log_opens),
        cmocka_unit_test(another_topics_folder_under_fault),
    };
    diag_level_set(DIAG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
