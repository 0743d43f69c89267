/*
 * Opening a log from any bytes: segment, indexes, checkpoint, snapshot and journal of arbitrary content give a log whose
 * batches are whole and without a gap, or a clean error; a second opening finds the same.
 *
 * Input: a byte that names a file, two bytes of its length, its content; and again.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "fuzz.h"
#include "io/fs_sim.h"
#include "io/reactor_int.h"
#include "seglog/seglog.h"

static const char *const names[] = {"topics/t-0/00000000000000000000.log",
                                    "topics/t-0/00000000000000000000.index",
                                    "topics/t-0/00000000000000000000.timeindex",
                                    "topics/t-0/00000000000000000003.log",
                                    "topics/t-0/00000000000000000003.snapshot",
                                    "topics/t-0/weir-checkpoint",
                                    "topics/t-0/leader-epoch-checkpoint",
                                    "topics/t-0/partition.metadata",
                                    "topics/t-0/weir-suspect",
                                    "journal/0000000000-000-0.journal"};

static void work_now(struct reactor *reactor, struct work *work)
{
    (void)reactor;
    work->fn(work);
    reactor_complete(work);
}

static void wake_not(struct reactor *reactor)
{
    (void)reactor;
}

static const struct reactor_ops ops = {.work = work_now, .wake = wake_not};

static void file_put(struct fs *fs, const char *name, struct slice content)
{
    char path[128];
    struct fs_file *file;
    snprintf(path, sizeof(path), "data/%s", name);
    FUZZ_CHECK(fs_open(fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file, NULL) == ERR_OK);
    FUZZ_CHECK(fs_pwrite(file, content.data, content.len, 0, NULL) == ERR_OK);
    fs_close(file);
}

static void open_done(struct seglog_open *open)
{
    *(bool *)open->ctx = true;
}

static void op_done(struct seglog_op *op)
{
    *(bool *)op->ctx = true;
}

static void read_done(struct seglog_read *read)
{
    *(bool *)read->ctx = true;
}

static void turn_until(struct reactor *reactor, const bool *flag)
{
    for (int i = 0; i < 1000 && !*flag; i++)
        reactor_turn_rest(reactor);
    FUZZ_CHECK(*flag);
}

/* The first batches are readable and whole, or corrupt below the recovery point. */
static void read_some(struct reactor *reactor, struct seglog *seglog)
{
    bool done = false;
    struct seglog_read read = {.from = seglog_bounds(seglog).start,
                               .below = record_offset(INT64_MAX),
                               .bytes_max = 1 << 16,
                               .first_whole = true,
                               .on_done = read_done,
                               .ctx = &done};
    if (!seglog_read(seglog, &read))
        turn_until(reactor, &done);
    for (uint32_t i = 0; i < read.range_count; i++) {
        struct slice rest = read.ranges[i].bytes;
        while (rest.len > 0) {
            uint32_t size = batch_size_peek(rest);
            FUZZ_CHECK(size >= BATCH_HEADER_SIZE && size <= rest.len);
            FUZZ_CHECK(batch_crc_holds(slice_sub(rest, 0, size)));
            rest = slice_sub(rest, size, SIZE_MAX);
        }
    }
    seglog_read_release(&read);
}

/* Opens, reads, closes. The end offset; -1: a clean error. */
static int64_t open_once(struct fs *fs)
{
    struct reactor reactor;
    struct seglog_store *store;
    struct commit *commit;
    struct commit_config config = {.shard_index = 0};
    reactor_init(&reactor, &ops);
    if (seglog_store_open(fs, "data", &store, NULL) != ERR_OK) {
        reactor_deinit(&reactor);
        return -1;
    }
    FUZZ_CHECK(commit_create(store, &reactor, &config, &commit) == ERR_OK);
    bool done = false;
    struct seglog_open open = {.commit = commit, .name = "t-0", .on_done = open_done, .ctx = &done};
    seglog_config_default(&open.config);
    seglog_open_start(&open);
    turn_until(&reactor, &done);
    int64_t end = -1;
    if (open.err == ERR_OK) {
        struct seglog_bounds bounds = seglog_bounds(open.seglog);
        FUZZ_CHECK(bounds.start.value <= bounds.end.value);
        end = bounds.end.value;
        read_some(&reactor, open.seglog);
        struct seglog_op op = {.on_done = op_done, .ctx = &done};
        done = false;
        seglog_close(open.seglog, &op);
        turn_until(&reactor, &done);
    }
    FUZZ_CHECK(commit_idle(commit));
    commit_destroy(commit);
    seglog_store_close(store);
    reactor_deinit(&reactor);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fs_sim_config config = {.seed = 1};
    struct fs *fs = fs_sim_create(&config);
    FUZZ_CHECK(fs);
    diag_level_set(DIAG_ERROR);
    FUZZ_CHECK(fs_mkdir_all(fs, "data/topics/t-0", NULL) == ERR_OK);
    FUZZ_CHECK(fs_mkdir_all(fs, "data/journal", NULL) == ERR_OK);
    struct slice rest = slice_make(data, size);
    while (rest.len >= 3) {
        size_t len = (size_t)rest.data[1] << 8 | rest.data[2];
        file_put(fs, names[rest.data[0] % (sizeof(names) / sizeof(names[0]))],
                 slice_sub(rest, 3, len));
        rest = slice_sub(rest, 3 + len, SIZE_MAX);
    }
    int64_t first = open_once(fs);
    int64_t second = open_once(fs);
    FUZZ_CHECK(first < 0 || first == second);
    fs_destroy(fs);
    struct seglog_scan scan;
    struct slice copy = fuzz_copy(slice_make(data, size));
    seglog_scan_bytes(copy, record_offset(0), &scan);
    FUZZ_CHECK(scan.good_bytes <= size);
    fuzz_free(copy);
    return 0;
}
