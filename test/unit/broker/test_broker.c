/* The broker on real shards: topics, appends, fetches with waiting, offsets, restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/broker_rig.h"
#include "io/fault.h"

enum { SHARDS = 3 };

static struct broker_rig rig;

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int setup(void **state)
{
    memset(&rig, 0, sizeof(rig));
    node_rig_folder(&rig.node);
    rig.config.auto_create = true;
    broker_rig_start(&rig, SHARDS);
    return 0;
}

static int teardown(void **state)
{
    if (rig.broker)
        broker_rig_stop(&rig);
    node_rig_remove(&rig.node);
    return 0;
}

static enum err append(struct uuid id, int32_t partition, const char *text, int count, int8_t acks,
                       int64_t *ret_base)
{
    struct broker_append op = {.topic_id = id,
                               .partition = partition,
                               .acks = acks,
                               .batch = rig_batch(text, count, 0, now_ms())};
    enum err err = rig_append(&rig, (unsigned)partition % SHARDS, &op);
    if (err)
        print_message("append: %s\n", op.info.text);
    else if (ret_base)
        *ret_base = op.base_offset;
    return err;
}

static int64_t records_in(const struct broker_fetch_part *part, int64_t *ret_first)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < part->range_count; i++) {
        struct slice bytes = part->ranges[i].bytes;
        while (bytes.len) {
            struct batch_header header;
            assert_int_equal(batch_header_read(bytes, &header, NULL), ERR_OK);
            assert_true(batch_crc_holds(slice_sub(bytes, 0, header.size)));
            if (count == 0 && ret_first)
                *ret_first = header.base_offset.value;
            count += header.record_count;
            bytes = slice_sub(bytes, header.size, bytes.len);
        }
    }
    return count;
}

static void wait_parts(struct rig_wait *wait, struct uuid id, int32_t count, uint32_t min_bytes,
                       uint32_t wait_ms)
{
    memset(wait, 0, sizeof(*wait));
    for (int32_t p = 0; p < count; p++)
        wait->parts[p] = (struct broker_fetch_part){
            .topic_id = id, .partition = p, .max_bytes = 1 << 20, .leader_epoch = -1};
    wait->op.part_count = (uint32_t)count;
    wait->op.min_bytes = min_bytes;
    wait->op.max_bytes = 4 << 20;
    wait->op.max_wait_ms = wait_ms;
}

static void test_create_append_fetch(void **state)
{
    struct uuid id;
    assert_int_equal(rig_topic_create(&rig, "flights", 4, &id), ERR_OK);
    for (int32_t p = 0; p < 4; p++) {
        int64_t base = -1;
        assert_int_equal(append(id, p, "a", 3, -1, &base), ERR_OK);
        assert_int_equal(base, 0);
        assert_int_equal(append(id, p, "b", 2, 1, &base), ERR_OK);
        assert_int_equal(base, 3);
    }
    for (unsigned shard = 0; shard < SHARDS; shard++) {
        struct broker_fetch_part parts[4];
        memset(parts, 0, sizeof(parts));
        for (int32_t p = 0; p < 4; p++)
            parts[p] = (struct broker_fetch_part){.topic_id = id,
                                                  .partition = p,
                                                  .offset = p,
                                                  .max_bytes = 1 << 20,
                                                  .leader_epoch = -1};
        struct broker_fetch fetch = {.parts = parts,
                                     .part_count = 4,
                                     .min_bytes = 1,
                                     .max_bytes = 4 << 20,
                                     .max_wait_ms = 5000};
        rig_fetch(&rig, shard, &fetch);
        for (int32_t p = 0; p < 4; p++) {
            int64_t first = -1;
            assert_int_equal(parts[p].err, ERR_OK);
            assert_int_equal(parts[p].high_watermark, 5);
            assert_int_equal(parts[p].log_start_offset, 0);
            assert_int_equal(records_in(&parts[p], &first),
                             p < 3 ? 5 : 2); /* the batch that holds the offset comes whole */
            assert_int_equal(first, p < 3 ? 0 : 3);
        }
        broker_fetch_release(&fetch);
    }
}

static void test_topic_errors(void **state)
{
    struct uuid id;
    assert_int_equal(rig_topic_create(&rig, "bad name", 1, &id), ERR_INVALID_TOPIC);
    assert_int_equal(rig_topic_create(&rig, "zero", 0, &id), ERR_INVALID_PARTITIONS);
    assert_int_equal(rig_topic_create(&rig, "minus", -2, &id), ERR_INVALID_PARTITIONS);
    assert_int_equal(rig_topic_create(&rig, "a.b", 1, &id), ERR_OK);
    assert_int_equal(rig_topic_create(&rig, "a.b", 1, &id), ERR_TOPIC_EXISTS);
    assert_int_equal(rig_topic_create(&rig, "a_b", 1, &id), ERR_INVALID_TOPIC);
    struct topic_override wrong = {TOPIC_RETENTION_MS, "soon"};
    struct broker_topic_op op = {.action = BROKER_TOPIC_CREATE,
                                 .name = SLICE_LIT("c"),
                                 .partition_count = 1,
                                 .overrides = &wrong,
                                 .override_count = 1};
    assert_int_equal(rig_topic(&rig, 1, &op), ERR_INVALID_CONFIG);
    op = (struct broker_topic_op){.action = BROKER_TOPIC_CREATE,
                                  .name = SLICE_LIT("dry"),
                                  .partition_count = 1,
                                  .check_only = true};
    assert_int_equal(rig_topic(&rig, 1, &op), ERR_OK);
    op = (struct broker_topic_op){.action = BROKER_TOPIC_DELETE, .name = SLICE_LIT("dry")};
    assert_int_equal(rig_topic(&rig, 2, &op), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    op = (struct broker_topic_op){.action = BROKER_TOPIC_DELETE, .id = {{1}}};
    assert_int_equal(rig_topic(&rig, 2, &op), ERR_UNKNOWN_TOPIC_ID);
    op = (struct broker_topic_op){
        .action = BROKER_TOPIC_ENSURE, .name = SLICE_LIT("auto"), .partition_count = -1};
    assert_int_equal(rig_topic(&rig, 2, &op), ERR_OK);
    assert_non_null(op.topic);
    struct uuid first = op.id;
    assert_int_equal(append(first, 0, "at once", 1, -1, NULL), ERR_OK);
    op = (struct broker_topic_op){
        .action = BROKER_TOPIC_ENSURE, .name = SLICE_LIT("auto"), .partition_count = -1};
    assert_int_equal(rig_topic(&rig, 1, &op), ERR_OK);
    assert_true(uuid_equal(op.id, first));
}

static void test_append_errors(void **state)
{
    struct uuid id;
    assert_int_equal(rig_topic_create(&rig, "t", 2, &id), ERR_OK);
    assert_int_equal(append(id, 2, "x", 1, -1, NULL), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(append(id, -1, "x", 1, -1, NULL), ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(append((struct uuid){{9}}, 0, "x", 1, -1, NULL),
                     ERR_UNKNOWN_TOPIC_OR_PARTITION);
    assert_int_equal(append(id, 0, "x", 1, 2, NULL), ERR_INVALID_REQUIRED_ACKS);
    struct broker_append op = {.topic_id = id, .acks = -1, .batch = rig_batch("x", 1, 0, now_ms())};
    iobuf_data(op.batch.buf)[70] ^= 1;
    assert_int_equal(rig_append(&rig, 0, &op), ERR_CORRUPT_MESSAGE);
    op = (struct broker_append){
        .topic_id = id, .acks = -1, .batch = rig_batch("x", 2, 600 * 1024, now_ms())};
    assert_int_equal(rig_append(&rig, 0, &op), ERR_MESSAGE_TOO_LARGE);
    op = (struct broker_append){
        .topic_id = id, .acks = -1, .batch = rig_batch("x", 1, 0, now_ms() + 2 * 3600 * 1000)};
    assert_int_equal(rig_append(&rig, 0, &op), ERR_INVALID_TIMESTAMP);
}

static void test_two_batches(void **state)
{
    struct uuid id;
    assert_int_equal(rig_topic_create(&rig, "two", 1, &id), ERR_OK);
    struct iobuf_range one = rig_batch("x", 1, 0, now_ms());
    size_t len = one.bytes.len;
    for (size_t extra = 0; extra <= len; extra += len / 2) {
        struct broker_append op = {.topic_id = id, .acks = -1};
        op.batch.buf = iobuf_create(2 * len);
        memcpy(iobuf_data(op.batch.buf), one.bytes.data, len);
        memcpy(iobuf_data(op.batch.buf) + len, one.bytes.data, len);
        op.batch.bytes = slice_make(iobuf_data(op.batch.buf), len + extra);
        /* A partial batch behind the first is dropped, a whole one is too many. */
        enum err expected = extra >= len ? ERR_INVALID_RECORD : ERR_OK;
        assert_int_equal(rig_append(&rig, 0, &op), expected);
        if (extra + len / 2 > len)
            break;
    }
    iobuf_unref(one.buf);
}

static void test_full_disk(void **state)
{
    struct uuid id;
    struct uuid other;
    assert_int_equal(rig_topic_create(&rig, "full", 3, &id), ERR_OK);
    assert_int_equal(append(id, 0, "x", 1, -1, NULL), ERR_OK);
    assert_true(fault_arm("fs.write", 0, UINT64_MAX, ERR_DISK_FULL));
    for (int32_t p = 0; p < 3; p++)
        assert_int_equal(append(id, p, "y", 1, -1, NULL), ERR_DISK_FULL);
    assert_int_equal(rig_topic_create(&rig, "fuller", 1, &other), ERR_DISK_FULL);
    fault_disarm_all();
    /* Reading went on, and writing does again when there is room. */
    struct rig_wait wait;
    wait_parts(&wait, id, 3, 1, 5000);
    rig_fetch_start(&rig, 1, &wait);
    node_event_wait(&wait.done, 1);
    assert_int_equal(records_in(&wait.parts[0], NULL), 1);
    broker_fetch_release(&wait.op);
    enum err err = ERR_DISK_FULL;
    for (int i = 0; i < 100 && err == ERR_DISK_FULL; i++) {
        struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
        err = append(id, 0, "z", 1, -1, NULL);
    }
    assert_int_equal(err, ERR_OK);
    assert_int_equal(rig_topic_create(&rig, "fuller", 1, &other), ERR_OK);
}

/* A file where the folder of a log should be. */
static void damage(const char *path)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite("damaged beyond repair, all of it", 1, 32, file), 32);
    fclose(file);
}

static void test_damaged_partition(void **state)
{
    struct uuid id;
    char path[512];
    assert_int_equal(rig_topic_create(&rig, "hurt", 3, &id), ERR_OK);
    for (int32_t p = 0; p < 3; p++)
        assert_int_equal(append(id, p, "x", 2, -1, NULL), ERR_OK);
    broker_rig_stop(&rig);
    snprintf(path, sizeof(path), "%s/log/topics/hurt-1", rig.node.dir);
    assert_int_equal(fs_remove_tree(rig.node.fs, path, NULL), ERR_OK);
    damage(path);
    broker_rig_start(&rig, SHARDS);
    assert_int_equal(append(id, 0, "y", 1, -1, NULL), ERR_OK);
    assert_int_equal(append(id, 1, "y", 1, -1, NULL), ERR_STORAGE);
    assert_int_equal(append(id, 2, "y", 1, -1, NULL), ERR_OK);
    struct rig_wait wait;
    wait_parts(&wait, id, 3, 1, 5000);
    rig_fetch_start(&rig, 1, &wait);
    node_event_wait(&wait.done, 1);
    assert_int_equal(wait.parts[1].err, ERR_STORAGE);
    assert_int_equal(records_in(&wait.parts[0], NULL), 3);
    broker_fetch_release(&wait.op);
    /* The topic can be deleted and made again. */
    struct broker_topic_op gone = {.action = BROKER_TOPIC_DELETE, .name = SLICE_LIT("hurt")};
    assert_int_equal(rig_topic(&rig, 0, &gone), ERR_OK);
    assert_int_equal(rig_topic_create(&rig, "hurt", 3, &id), ERR_OK);
    assert_int_equal(append(id, 1, "y", 1, -1, NULL), ERR_OK);
}

static void test_internal_topic_refused(void **state)
{
    struct broker_topic_op op = {.action = BROKER_TOPIC_ENSURE,
                                 .name = SLICE_LIT("__consumer_offsets"),
                                 .partition_count = -1};
    assert_int_equal(rig_topic(&rig, 0, &op), ERR_OK);
    assert_int_equal(append(op.id, 0, "x", 1, -1, NULL), ERR_INVALID_TOPIC);
}

static void test_wait_wakes(void **state)
{
    struct uuid id;
    struct rig_wait waits[SHARDS];
    assert_int_equal(rig_topic_create(&rig, "w", 4, &id), ERR_OK);
    for (unsigned s = 0; s < SHARDS; s++) {
        wait_parts(&waits[s], id, 4, 1, 15000);
        rig_fetch_start(&rig, s, &waits[s]);
    }
    assert_int_equal(append(id, 2, "wake", 1, -1, NULL), ERR_OK);
    for (unsigned s = 0; s < SHARDS; s++) {
        node_event_wait(&waits[s].done, 1);
        assert_int_equal(records_in(&waits[s].parts[2], NULL), 1);
        assert_int_equal(waits[s].parts[1].bytes, 0);
        broker_fetch_release(&waits[s].op);
    }
}

/* A partition named twice is woken once: an append is enough for both parts at the same time. */
static void test_wait_of_one_partition_twice(void **state)
{
    struct uuid id;
    struct rig_wait wait;
    assert_int_equal(rig_topic_create(&rig, "twice", 1, &id), ERR_OK);
    wait_parts(&wait, id, 2, 1, 10000);
    wait.parts[1].partition = 0;
    rig_fetch_start(&rig, 0, &wait);
    assert_int_equal(append(id, 0, "x", 3, -1, NULL), ERR_OK);
    node_event_wait(&wait.done, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wait.parts[i].err, ERR_OK);
        assert_int_equal(records_in(&wait.parts[i], NULL), 3);
    }
    broker_fetch_release(&wait.op);
}

static void test_wait_sums_over_shards(void **state)
{
    struct uuid id;
    struct rig_wait wait;
    assert_int_equal(rig_topic_create(&rig, "sum", 4, &id), ERR_OK);
    wait_parts(&wait, id, 4, 3 * 80, 15000); /* one batch of a record is some 75 to 80 bytes */
    rig_fetch_start(&rig, 1, &wait);
    for (int32_t p = 0; p < 4; p++)
        assert_int_equal(append(id, p, "part", 1, -1, NULL), ERR_OK);
    node_event_wait(&wait.done, 1);
    assert_true(wait.op.bytes >= 3 * 80);
    broker_fetch_release(&wait.op);
}

static void test_wait_ends(void **state)
{
    struct uuid id;
    struct rig_wait wait;
    assert_int_equal(rig_topic_create(&rig, "e", 4, &id), ERR_OK);
    wait_parts(&wait, id, 4, 1, 50);
    rig_fetch_start(&rig, 0, &wait);
    node_event_wait(&wait.done, 1);
    assert_int_equal(wait.op.bytes, 0);
    assert_int_equal(wait.parts[0].high_watermark, 0);
    broker_fetch_release(&wait.op);
    wait_parts(&wait, id, 4, 1, 15000);
    rig_fetch_start(&rig, 0, &wait);
    rig_fetch_cancel(&rig, 0, &wait);
    node_event_wait(&wait.done, 1);
    assert_true(wait.op.cancelled);
    broker_fetch_release(&wait.op);
    /* A topic that goes wakes its readers. */
    wait_parts(&wait, id, 4, 1, 15000);
    rig_fetch_start(&rig, 2, &wait);
    struct broker_topic_op op = {.action = BROKER_TOPIC_DELETE, .name = SLICE_LIT("e")};
    assert_int_equal(rig_topic(&rig, 1, &op), ERR_OK);
    node_event_wait(&wait.done, 1);
    int gone = 0;
    for (int p = 0; p < 4; p++)
        gone += wait.parts[p].err == ERR_UNKNOWN_TOPIC_OR_PARTITION;
    assert_true(gone > 0);
    broker_fetch_release(&wait.op);
    /* Parts that fail, range errors and unknown topics answer at once. */
    wait_parts(&wait, id, 1, 1, 15000);
    rig_fetch_start(&rig, 2, &wait);
    node_event_wait(&wait.done, 1);
    assert_int_equal(wait.parts[0].err, ERR_UNKNOWN_TOPIC_OR_PARTITION);
    broker_fetch_release(&wait.op);
}

static void test_fetch_limits(void **state)
{
    struct uuid id;
    assert_int_equal(rig_topic_create(&rig, "lim", 4, &id), ERR_OK);
    for (int32_t p = 0; p < 4; p++) {
        for (int i = 0; i < 4; i++) {
            struct broker_append op = {.topic_id = id,
                                       .partition = p,
                                       .acks = 1,
                                       .batch = rig_batch("big", 1, 10000, now_ms())};
            assert_int_equal(rig_append(&rig, 0, &op), ERR_OK);
        }
    }
    struct rig_wait wait;
    wait_parts(&wait, id, 4, 1, 1000);
    wait.op.max_bytes = 100; /* the first batch comes whole all the same, alone */
    rig_fetch_start(&rig, 1, &wait);
    node_event_wait(&wait.done, 1);
    assert_int_equal(records_in(&wait.parts[0], NULL), 1);
    assert_int_equal(wait.parts[1].bytes + wait.parts[2].bytes + wait.parts[3].bytes, 0);
    broker_fetch_release(&wait.op);
    wait_parts(&wait, id, 4, 1, 1000);
    wait.op.max_bytes = 65000; /* 6 batches and a bit */
    rig_fetch_start(&rig, 1, &wait);
    node_event_wait(&wait.done, 1);
    assert_true(wait.op.bytes <= 65000);
    assert_int_equal(records_in(&wait.parts[0], NULL), 4);
    assert_int_equal(records_in(&wait.parts[1], NULL), 2);
    broker_fetch_release(&wait.op);
    wait_parts(&wait, id, 4, 1, 1000);
    for (int p = 0; p < 4; p++)
        wait.parts[p].max_bytes = 21000;
    rig_fetch_start(&rig, 1, &wait);
    node_event_wait(&wait.done, 1);
    for (int p = 0; p < 4; p++)
        assert_int_equal(records_in(&wait.parts[p], NULL), 2);
    broker_fetch_release(&wait.op);
}

static void test_offsets(void **state)
{
    struct uuid id;
    int64_t t0 = now_ms() - 100000;
    assert_int_equal(rig_topic_create(&rig, "o", 1, &id), ERR_OK);
    struct broker_offset_op op = {
        .topic_id = id, .query = BROKER_OFFSET_MAX_TIMESTAMP, .current_epoch = -1};
    assert_int_equal(rig_offset(&rig, 0, &op), ERR_OK);
    assert_int_equal(op.offset, -1);
    for (int i = 0; i < 3; i++) {
        struct broker_append append_op = {
            .topic_id = id, .acks = -1, .batch = rig_batch("t", 10, 0, t0 + i * 1000)};
        assert_int_equal(rig_append(&rig, 1, &append_op), ERR_OK);
    }
    op = (struct broker_offset_op){.topic_id = id,
                                   .query = BROKER_OFFSET_BY_TIME,
                                   .timestamp_ms = t0 + 1005,
                                   .current_epoch = -1};
    assert_int_equal(rig_offset(&rig, 2, &op), ERR_OK);
    assert_int_equal(op.offset, 15);
    assert_int_equal(op.ret_timestamp_ms, t0 + 1005);
    op.timestamp_ms = t0 + 500000;
    assert_int_equal(rig_offset(&rig, 2, &op), ERR_OK);
    assert_int_equal(op.offset, -1);
    op.query = BROKER_OFFSET_MAX_TIMESTAMP;
    assert_int_equal(rig_offset(&rig, 0, &op), ERR_OK);
    assert_int_equal(op.offset, 29);
    op.query = BROKER_OFFSET_LATEST;
    assert_int_equal(rig_offset(&rig, 0, &op), ERR_OK);
    assert_int_equal(op.offset, 30);
    op.query = BROKER_OFFSET_EARLIEST;
    assert_int_equal(rig_offset(&rig, 0, &op), ERR_OK);
    assert_int_equal(op.offset, 0);
    op.query = BROKER_OFFSET_OF_EPOCH;
    op.epoch = broker_leader_epoch(rig.broker);
    assert_int_equal(rig_offset(&rig, 1, &op), ERR_OK);
    assert_int_equal(op.offset, 30);
    op.current_epoch = op.epoch + 1;
    assert_int_equal(rig_offset(&rig, 1, &op), ERR_UNKNOWN_LEADER_EPOCH);
    struct broker_trim_op trim = {.topic_id = id, .offset = 12};
    assert_int_equal(rig_trim(&rig, 1, &trim), ERR_OK);
    assert_int_equal(trim.log_start_offset, 12);
    trim.offset = 31;
    assert_int_equal(rig_trim(&rig, 1, &trim), ERR_OFFSET_OUT_OF_RANGE);
    struct rig_wait wait;
    wait_parts(&wait, id, 1, 1, 5000);
    rig_fetch_start(&rig, 0, &wait);
    node_event_wait(&wait.done, 1);
    assert_int_equal(wait.parts[0].err, ERR_OFFSET_OUT_OF_RANGE);
    assert_int_equal(wait.parts[0].log_start_offset, 12);
    broker_fetch_release(&wait.op);
}

static void test_producer_ids(void **state)
{
    int64_t last = -1;
    for (unsigned i = 0; i < 2500; i++) {
        int64_t id = rig_producer_id(&rig, i % SHARDS);
        assert_true(id > last);
        last = id;
    }
    broker_rig_stop(&rig);
    broker_rig_start(&rig, 1);
    assert_true(rig_producer_id(&rig, 0) > last);
}

static void test_restart(void **state)
{
    struct uuid id;
    int64_t base = -1;
    struct topic_override overrides[] = {{TOPIC_RETENTION_MS, "-1"}};
    struct broker_topic_op op = {.action = BROKER_TOPIC_CREATE,
                                 .name = SLICE_LIT("keep"),
                                 .partition_count = 5,
                                 .overrides = overrides,
                                 .override_count = 1};
    assert_int_equal(rig_topic(&rig, 2, &op), ERR_OK);
    id = op.id;
    for (int32_t p = 0; p < 5; p++)
        assert_int_equal(append(id, p, "one", p + 1, -1, NULL), ERR_OK);
    struct uuid cluster = broker_cluster_id(rig.broker);
    int32_t epoch = broker_leader_epoch(rig.broker);
    broker_rig_stop(&rig);
    broker_rig_start(&rig, 2); /* fewer shards than before */
    assert_true(uuid_equal(cluster, broker_cluster_id(rig.broker)));
    assert_true(broker_leader_epoch(rig.broker) > epoch);
    for (int32_t p = 0; p < 5; p++) {
        struct broker_append again = {
            .topic_id = id, .partition = p, .acks = -1, .batch = rig_batch("two", 1, 0, now_ms())};
        assert_int_equal(rig_append(&rig, 1, &again), ERR_OK);
        base = again.base_offset;
        assert_int_equal(base, p + 1);
    }
    struct broker_topic_op gone = {.action = BROKER_TOPIC_DELETE, .name = SLICE_LIT("keep")};
    assert_int_equal(rig_topic(&rig, 0, &gone), ERR_OK);
    struct uuid fresh;
    assert_int_equal(rig_topic_create(&rig, "keep", 1, &fresh), ERR_OK);
    assert_false(uuid_equal(fresh, id));
    struct broker_append first = {
        .topic_id = fresh, .acks = -1, .batch = rig_batch("new", 1, 0, now_ms())};
    assert_int_equal(rig_append(&rig, 0, &first), ERR_OK);
    assert_int_equal(first.base_offset, 0);
}

/* What a deleted topic left is out of the way before any log opens, whatever the topic was called: its removal in the
 * background must not meet a new topic of that name. */
static void test_orphans(void **state)
{
    static const char *const names[] = {"gone-0", "a.orphan.1-0", "b.orphan.x", "c-0.orphan.7"};
    char path[FS_PATH_MAX];
    broker_rig_stop(&rig);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/log/topics/%s", rig.node.dir, names[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    broker_rig_open(&rig, SHARDS);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/log/topics/%s", rig.node.dir, names[i]);
        assert_int_equal(access(path, F_OK), i < 3 ? -1 : 0); /* the last one was aside already */
    }
    broker_rig_run(&rig);
    assert_int_equal(access(path, F_OK), -1);
}

/* A raise that cannot be made, of any of its partitions, leaves the topic as it was, and can be asked for again. */
static void test_partitions_taken_back(void **state)
{
    struct uuid id;
    assert_int_equal(rig_topic_create(&rig, "some", 2, &id), ERR_OK);
    assert_int_equal(append(id, 1, "one", 3, -1, NULL), ERR_OK);
    for (uint64_t nth = 0; nth < 5; nth++) {
        assert_true(fault_arm("fs.mkdir", nth, 1, ERR_DISK_FULL));
        struct broker_topic_op raise = {
            .action = BROKER_TOPIC_PARTITIONS, .name = SLICE_LIT("some"), .partition_count = 7};
        assert_int_equal(rig_topic(&rig, 0, &raise), ERR_DISK_FULL);
        fault_disarm_all();
        for (int again = 0; again < 2; again++) {
            struct broker_shard *bs = broker_shard_of(rig.broker, shards_get(rig.node.shards, 0));
            assert_int_equal(broker_topic_find(bs, SLICE_LIT("some"))->partition_count, 2);
            int64_t base = -1;
            assert_int_equal(append(id, 1, "two", 1, -1, &base), ERR_OK);
            assert_int_equal(base, 3 + (int64_t)nth * 2 + again);
            if (again == 0 && nth == 0) {
                broker_rig_stop(&rig);
                broker_rig_start(&rig, SHARDS);
            }
        }
    }
    struct broker_topic_op raise = {
        .action = BROKER_TOPIC_PARTITIONS, .name = SLICE_LIT("some"), .partition_count = 7};
    assert_int_equal(rig_topic(&rig, 1, &raise), ERR_OK);
    for (int32_t p = 2; p < 7; p++)
        assert_int_equal(append(id, p, "new", 1, -1, NULL), ERR_OK);
}

/* Without its catalogue the folder is refused, as often as one tries, and nothing in it is touched. */
static void test_lost_catalogue(void **state)
{
    struct uuid id;
    char from[FS_PATH_MAX];
    char to[FS_PATH_MAX];
    assert_int_equal(rig_topic_create(&rig, "keep", 2, &id), ERR_OK);
    assert_int_equal(append(id, 1, "one", 3, -1, NULL), ERR_OK);
    broker_rig_stop(&rig);
    snprintf(from, sizeof(from), "%s/meta", rig.node.dir);
    snprintf(to, sizeof(to), "%s/away", rig.node.dir);
    assert_int_equal(rename(from, to), 0);
    for (int i = 0; i < 2; i++) {
        struct broker *broker = NULL;
        struct err_info info = {0};
        node_rig_shards(&rig.node, SHARDS);
        assert_int_equal(broker_open(rig.node.shards, &rig.config, &broker, &info), ERR_CORRUPT);
        assert_non_null(strstr(info.text, "catalogue.db"));
        shards_destroy(rig.node.shards);
    }
    assert_int_equal(rename(to, from), 0);
    broker_rig_start(&rig, SHARDS);
    int64_t base = -1;
    assert_int_equal(append(id, 1, "two", 1, -1, &base), ERR_OK);
    assert_int_equal(base, 3);
}

static void test_folder_in_use(void **state)
{
    struct shards *shards = NULL;
    struct broker *broker = NULL;
    struct err_info info = {0};
    struct shards_config config = {.count = 1, .seed = 1, .fs = rig.node.fs};
    struct broker_config broker_config = {.dir = rig.node.dir};
    assert_int_equal(shards_create(&config, &shards, &info), ERR_OK);
    assert_int_equal(broker_open(shards, &broker_config, &broker, &info), ERR_LOCKED);
    assert_non_null(strstr(info.text, "in use"));
    assert_non_null(strstr(info.text, rig.node.dir));
    shards_destroy(shards);
}

static void test_partitions_and_config(void **state)
{
    struct uuid id;
    assert_int_equal(rig_topic_create(&rig, "grow", 1, &id), ERR_OK);
    struct broker_topic_op op = {
        .action = BROKER_TOPIC_PARTITIONS, .name = SLICE_LIT("grow"), .partition_count = 1};
    assert_int_equal(rig_topic(&rig, 0, &op), ERR_INVALID_PARTITIONS);
    op = (struct broker_topic_op){
        .action = BROKER_TOPIC_PARTITIONS, .name = SLICE_LIT("grow"), .partition_count = 3};
    assert_int_equal(rig_topic(&rig, 1, &op), ERR_OK);
    assert_int_equal(op.topic->partition_count, 3);
    assert_int_equal(append(id, 2, "x", 1, -1, NULL), ERR_OK);
    struct topic_override stamp = {TOPIC_TIMESTAMP_TYPE, "LogAppendTime"};
    op = (struct broker_topic_op){.action = BROKER_TOPIC_CONFIG,
                                  .name = SLICE_LIT("grow"),
                                  .overrides = &stamp,
                                  .override_count = 1};
    assert_int_equal(rig_topic(&rig, 1, &op), ERR_OK);
    struct broker_append append_op = {.topic_id = id, .acks = -1, .batch = rig_batch("x", 1, 0, 5)};
    assert_int_equal(rig_append(&rig, 1, &append_op), ERR_OK);
    assert_true(append_op.log_append_time_ms > 1000000);
    struct topic_override compact = {TOPIC_CLEANUP_POLICY, "compact"};
    op = (struct broker_topic_op){.action = BROKER_TOPIC_CONFIG,
                                  .name = SLICE_LIT("grow"),
                                  .overrides = &compact,
                                  .override_count = 1};
    assert_int_equal(rig_topic(&rig, 1, &op), ERR_OK);
    struct batch_builder builder;
    struct batch_build_record record = {.timestamp_ms = now_ms(), .value = SLICE_LIT("no key")};
    batch_builder_init(&builder, 1 << 20);
    assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    append_op = (struct broker_append){.topic_id = id, .acks = -1};
    batch_builder_finish(&builder, &append_op.batch);
    assert_int_equal(rig_append(&rig, 0, &append_op), ERR_INVALID_RECORD);
    assert_int_equal(append_op.fault_count, 1);
    assert_int_equal(append_op.faults[0].record_index, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_append_fetch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_topic_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_append_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_internal_topic_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_batches, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_partition, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_wakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_of_one_partition_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_sums_over_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fetch_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_producer_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orphans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partitions_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_catalogue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partitions_and_config, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
