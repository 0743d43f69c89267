#include "log_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "seglog/commit_int.h"

static void rig_work(struct reactor *reactor, struct work *work)
{
    struct log_rig *rig = CONTAINER_OF(reactor, struct log_rig, reactor);
    list_push_back(&rig->queue, &work->node);
}

static void rig_wake(struct reactor *reactor)
{
    (void)reactor;
}

static const struct reactor_ops rig_ops = {.work = rig_work, .wake = rig_wake};

void log_rig_prepare(struct log_rig *rig, struct fs *fs)
{
    memset(rig, 0, sizeof(*rig));
    reactor_init(&rig->reactor, &rig_ops);
    list_init(&rig->queue);
    rig->reactor.now_us = 1000000;
    rig->reactor.wall_ms = 1700000000000;
    rig->fs = fs;
    if (fs) {
        snprintf(rig->dir, sizeof(rig->dir), "data");
    } else {
        snprintf(rig->dir, sizeof(rig->dir), "/tmp/weir-log-XXXXXX");
        assert_non_null(mkdtemp(rig->dir));
        rig->fs = fs_posix_create();
        rig->own_fs = true;
    }
    assert_non_null(rig->fs);
}

void log_rig_start(struct log_rig *rig, struct fs *fs)
{
    log_rig_prepare(rig, fs);
    assert_true(log_rig_boot(rig));
}

bool log_rig_boot(struct log_rig *rig)
{
    struct err_info info = {.code = ERR_OK};
    enum err err = seglog_store_open(rig->fs, rig->dir, &rig->store, &info);
    if (err) {
        print_error("store: %s\n", info.text);
        return false;
    }
    err = commit_create(rig->store, &rig->reactor, &rig->config, &rig->commit);
    assert_int_equal(err, ERR_OK);
    return true;
}

void log_rig_kill(struct log_rig *rig, struct seglog **logs, unsigned count)
{
    struct list_node *node;
    while ((node = list_pop_front(&rig->queue)) != NULL)
        rig->reactor.works_out--;
    reactor_hook_cancel(&rig->commit->hook);
    struct commit *commit = rig->commit;
    for (unsigned i = 0; i < count; i++) {
        struct seglog *seglog = logs[i];
        seglog->in_round = false;
        list_init(&seglog->waiting);
        list_remove(&seglog->dirty_node);
        list_remove(&seglog->all_node);
        seglog->tail.keep = seglog->end;
        tail_clear(seglog);
        seglog_free(seglog);
    }
    list_init(&commit->dirty);
    list_init(&commit->flushes);
    commit->in_flight = false;
    commit->flushing = commit->opening = 0;
    commit->journal.state = JOURNAL_ABSENT; /* no file of it is removed, as a clean end would */
    for (uint32_t i = 0; i < commit->round.closing_count; i++)
        fs_close(commit->round.closing[i]);
    commit->round.closing_count = 0;
    log_rig_shutdown(rig);
}

void log_rig_shutdown(struct log_rig *rig)
{
    if (!rig->commit)
        return;
    log_rig_quiet(rig);
    commit_destroy(rig->commit);
    seglog_store_close(rig->store);
    rig->commit = NULL;
    rig->store = NULL;
}

void log_rig_end(struct log_rig *rig)
{
    log_rig_shutdown(rig);
    struct err_info info;
    assert_int_equal(fs_remove_tree(rig->fs, rig->dir, &info), ERR_OK);
    reactor_deinit(&rig->reactor);
    if (rig->own_fs)
        fs_destroy(rig->fs);
}

void log_rig_turn(struct log_rig *rig)
{
    struct list_node *node;
    rig->reactor.now_us += 100;
    while (!rig->work_held && (node = list_pop_front(&rig->queue)) != NULL) {
        struct work *work = CONTAINER_OF(node, struct work, node);
        work->fn(work);
        reactor_complete(work);
    }
    reactor_turn_rest(&rig->reactor);
}

void log_rig_until(struct log_rig *rig, const bool *flag)
{
    for (int i = 0; i < 100000 && !*flag; i++)
        log_rig_turn(rig);
    assert_true(*flag);
}

void log_rig_quiet(struct log_rig *rig)
{
    for (int i = 0; i < 100000; i++) {
        if (commit_idle(rig->commit) && !reactor_busy(&rig->reactor) && list_empty(&rig->queue))
            return;
        log_rig_turn(rig);
    }
    fail_msg("the commit does not come to rest");
}

struct waiter {
    bool done;
};

static void open_done(struct seglog_open *open)
{
    ((struct waiter *)open->ctx)->done = true;
}

enum err log_rig_open_err(struct log_rig *rig, const char *name, unsigned number,
                          const struct seglog_config *config, struct seglog_open *ret_open)
{
    struct waiter waiter = {false};
    memset(ret_open, 0, sizeof(*ret_open));
    ret_open->commit = rig->commit;
    ret_open->name = name;
    memset(ret_open->id.topic_id, (int)number, sizeof(ret_open->id.topic_id));
    ret_open->id.partition = (int32_t)number;
    if (config)
        ret_open->config = *config;
    else
        seglog_config_default(&ret_open->config);
    ret_open->on_done = open_done;
    ret_open->ctx = &waiter;
    seglog_open_start(ret_open);
    log_rig_until(rig, &waiter.done);
    return ret_open->err;
}

struct seglog *log_rig_open(struct log_rig *rig, const char *name, unsigned number,
                            const struct seglog_config *config)
{
    struct seglog_open open;
    if (log_rig_open_err(rig, name, number, config, &open) != ERR_OK)
        fail_msg("open %s: %s", name, open.info.text);
    assert_non_null(open.seglog);
    return open.seglog;
}

static void op_done(struct seglog_op *op)
{
    ((struct waiter *)op->ctx)->done = true;
}

void log_rig_close(struct log_rig *rig, struct seglog *seglog)
{
    struct waiter waiter = {false};
    struct seglog_op op = {.on_done = op_done, .ctx = &waiter};
    seglog_close(seglog, &op);
    log_rig_until(rig, &waiter.done);
}

void log_rig_delete(struct log_rig *rig, struct seglog *seglog)
{
    struct waiter waiter = {false};
    struct seglog_op op = {.on_done = op_done, .ctx = &waiter};
    seglog_delete(seglog, &op);
    log_rig_until(rig, &waiter.done);
    assert_int_equal(op.err, ERR_OK);
}

enum err log_rig_retain(struct log_rig *rig, struct seglog *seglog)
{
    struct waiter waiter = {false};
    struct seglog_op op = {.on_done = op_done, .ctx = &waiter};
    seglog_retain(seglog, &op);
    log_rig_until(rig, &waiter.done);
    return op.err;
}

enum err log_rig_trim(struct log_rig *rig, struct seglog *seglog, int64_t start)
{
    struct waiter waiter = {false};
    struct seglog_op op = {.on_done = op_done, .ctx = &waiter};
    seglog_trim(seglog, record_offset(start), &op);
    log_rig_until(rig, &waiter.done);
    return op.err;
}

struct iobuf_range log_rig_batch(const char *text, uint32_t records, int64_t ms)
{
    struct batch_builder builder;
    batch_builder_init(&builder, 1024 * 1024);
    for (uint32_t i = 0; i < records; i++) {
        char key[32], value[64];
        snprintf(key, sizeof(key), "k%u", i);
        snprintf(value, sizeof(value), "%s%u", text, i);
        struct batch_build_record record = {
            .timestamp_ms = ms + i, .key = slice_cstr(key), .value = slice_cstr(value)};
        assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    }
    struct iobuf_range range;
    batch_builder_finish(&builder, &range);
    return range;
}

struct iobuf_range log_rig_blob(uint32_t size, int64_t ms)
{
    struct batch_builder builder;
    batch_builder_init(&builder, size + 1024);
    uint8_t *value = malloc(size);
    assert_non_null(value);
    for (uint32_t i = 0; i < size; i++)
        value[i] = (uint8_t)(i * 7 + size + (uint32_t)ms);
    struct batch_build_record record = {.timestamp_ms = ms, .value = slice_make(value, size)};
    assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    free(value);
    struct iobuf_range range;
    batch_builder_finish(&builder, &range);
    return range;
}

struct iobuf_range log_rig_producer_batch(int64_t id, int16_t epoch, int32_t sequence,
                                          uint32_t records, int64_t ms)
{
    struct batch_builder builder;
    batch_builder_init(&builder, 1024 * 1024);
    for (uint32_t i = 0; i < records; i++) {
        struct batch_build_record record = {.timestamp_ms = ms, .value = SLICE_LIT("v")};
        assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    }
    builder.producer_id = id;
    builder.producer_epoch = epoch;
    builder.base_sequence = sequence;
    struct iobuf_range range;
    batch_builder_finish(&builder, &range);
    return range;
}

static void append_done(struct seglog_append *append)
{
    ((struct waiter *)append->ctx)->done = true;
}

enum err log_rig_append(struct log_rig *rig, struct seglog *seglog, struct iobuf_range batch,
                        enum seglog_ack ack, struct seglog_append *ret_append)
{
    struct waiter waiter = {false};
    struct seglog_append append = {
        .batch = batch, .ack = ack, .on_done = append_done, .ctx = &waiter};
    struct err_info info;
    enum err err = seglog_append(seglog, &append, &info);
    if (err) {
        iobuf_unref(batch.buf);
        if (ret_append)
            *ret_append = append;
        return err;
    }
    log_rig_until(rig, &waiter.done);
    if (ret_append)
        *ret_append = append;
    return append.err;
}

static void read_done(struct seglog_read *read)
{
    ((struct waiter *)read->ctx)->done = true;
}

enum err log_rig_read(struct log_rig *rig, struct seglog *seglog, struct seglog_read *read)
{
    struct waiter waiter = {false};
    read->on_done = read_done;
    read->ctx = &waiter;
    if (!seglog_read(seglog, read))
        log_rig_until(rig, &waiter.done);
    return read->err;
}

enum err log_rig_read_all(struct log_rig *rig, struct seglog *seglog, int64_t from,
                          struct bytebuf *out)
{
    struct record_offset next = record_offset(from);
    for (;;) {
        struct seglog_read read = {.from = next,
                                   .below = record_offset(INT64_MAX),
                                   .bytes_max = 256 * 1024,
                                   .first_whole = true};
        enum err err = log_rig_read(rig, seglog, &read);
        if (err)
            return err;
        if (read.bytes == 0)
            return ERR_OK;
        for (uint32_t i = 0; i < read.range_count; i++)
            bytebuf_append_slice(out, read.ranges[i].bytes);
        assert_true(read.next.value > next.value);
        next = read.next;
        seglog_read_release(&read);
    }
}

static void find_done(struct seglog_find *find)
{
    ((struct waiter *)find->ctx)->done = true;
}

enum err log_rig_find(struct log_rig *rig, struct seglog *seglog, int64_t ms,
                      struct seglog_find *find)
{
    struct waiter waiter = {false};
    *find = (struct seglog_find){.timestamp_ms = ms,
                                 .below = record_offset(INT64_MAX),
                                 .on_done = find_done,
                                 .ctx = &waiter};
    seglog_find(seglog, find);
    log_rig_until(rig, &waiter.done);
    return find->err;
}

void log_rig_check(struct slice bytes, int64_t from, int64_t end)
{
    struct seglog_scan scan;
    seglog_scan_bytes(bytes, record_offset(from), &scan);
    assert_int_equal(scan.good_bytes, bytes.len);
    assert_int_equal(scan.end.value, end);
}
