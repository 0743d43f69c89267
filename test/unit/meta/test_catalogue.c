/* The catalogue on real shards: writes from all of them, what is there after a reopen, failed
 * syncs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/node_rig.h"
#include "io/fault.h"
#include "meta/catalogue.h"

struct fixture {
    struct node_rig rig;
    struct catalogue *catalogue;
    struct node_event event;
};

static void start(struct fixture *f, unsigned shards)
{
    struct err_info info = {0};
    node_rig_shards(&f->rig, shards);
    enum err err = catalogue_open(f->rig.fs, f->rig.dir, 1, &f->catalogue, &info);
    if (err)
        fail_msg("%s", info.text);
    for (unsigned i = 0; i < shards; i++)
        catalogue_shard_start(f->catalogue, shards_get(f->rig.shards, i));
    node_event_init(&f->event);
}

static void stop(struct fixture *f)
{
    if (f->rig.running)
        node_rig_stop(&f->rig);
    catalogue_close(f->catalogue);
    node_rig_end(&f->rig);
}

struct put {
    struct fixture *fixture;
    struct catalogue_record_op op;
    char key[32];
    void (*call)(struct catalogue *, struct shard *, struct catalogue_record_op *);
};

static void put_done(struct catalogue_record_op *op)
{
    struct put *put = CONTAINER_OF(op, struct put, op);
    node_event_set(&put->fixture->event);
}

static void put_run(struct shard *shard, void *arg)
{
    struct put *put = arg;
    put->op.done = put_done;
    put->call(put->fixture->catalogue, shard, &put->op);
}

static enum err record(struct fixture *f, unsigned shard,
                       void (*call)(struct catalogue *, struct shard *,
                                    struct catalogue_record_op *),
                       struct put *put)
{
    put->fixture = f;
    put->call = call;
    node_event_init(&f->event);
    node_rig_call(&f->rig, shard, put_run, put);
    node_event_wait(&f->event, 1);
    return put->op.err;
}

static void test_records(void **state)
{
    struct fixture f;
    node_rig_folder(&f.rig);
    start(&f, 2);
    node_rig_run(&f.rig);
    struct put put = {.op = {.kind = CATALOGUE_JOB,
                             .key = SLICE_LIT("job-1"),
                             .value = SLICE_LIT("one"),
                             .only_new = true}};
    assert_int_equal(record(&f, 1, catalogue_record_put, &put), ERR_OK);
    assert_int_equal(record(&f, 0, catalogue_record_put, &put), ERR_EXISTS);
    put.op.only_new = false;
    put.op.value = SLICE_LIT("");
    assert_int_equal(record(&f, 0, catalogue_record_put, &put), ERR_OK);
    struct put other = {
        .op = {.kind = CATALOGUE_JOB, .key = SLICE_LIT("job-2"), .value = SLICE_LIT("two")}};
    assert_int_equal(record(&f, 1, catalogue_record_put, &other), ERR_OK);
    struct put group = {
        .op = {.kind = CATALOGUE_HUB_GROUP, .key = SLICE_LIT("job-3"), .value = SLICE_LIT("x")}};
    assert_int_equal(record(&f, 1, catalogue_record_put, &group), ERR_OK);
    struct put get = {.op = {.kind = CATALOGUE_JOB, .key = SLICE_LIT("job-2")}};
    assert_int_equal(record(&f, 0, catalogue_record_get, &get), ERR_OK);
    assert_true(slice_equal(get.op.entries[0].value, SLICE_LIT("two")));
    catalogue_record_op_release(&get.op);
    struct put list = {.op = {.kind = CATALOGUE_JOB, .key = SLICE_LIT("job-")}};
    assert_int_equal(record(&f, 1, catalogue_record_list, &list), ERR_OK);
    assert_int_equal(list.op.entry_count, 2);
    assert_true(slice_equal(list.op.entries[0].key, SLICE_LIT("job-1")));
    assert_int_equal(list.op.entries[0].value.len, 0);
    catalogue_record_op_release(&list.op);
    assert_int_equal(record(&f, 0, catalogue_record_delete, &other), ERR_OK);
    assert_int_equal(record(&f, 0, catalogue_record_delete, &other), ERR_NOT_FOUND);
    assert_int_equal(record(&f, 0, catalogue_record_get, &get), ERR_NOT_FOUND);
    stop(&f);
    struct uuid before = {{0}};
    start(&f, 1);
    before = catalogue_cluster_id(f.catalogue);
    struct catalogue_record_op all = {.kind = CATALOGUE_JOB, .key = SLICE_LIT("")};
    assert_int_equal(catalogue_record_list_now(f.catalogue, &all), ERR_OK);
    assert_int_equal(all.entry_count, 1);
    catalogue_record_op_release(&all);
    stop(&f);
    start(&f, 1);
    assert_true(uuid_equal(before, catalogue_cluster_id(f.catalogue)));
    stop(&f);
    node_rig_remove(&f.rig);
}

enum { MANY = 300 };

static void many_run(struct shard *shard, void *arg)
{
    struct put *puts = arg;
    for (unsigned i = shard->index; i < MANY; i += 3) {
        puts[i].op.done = put_done;
        catalogue_record_put(puts[i].fixture->catalogue, shard, &puts[i].op);
    }
}

static void test_many_writers(void **state)
{
    struct fixture f;
    node_rig_folder(&f.rig);
    start(&f, 3);
    node_rig_run(&f.rig);
    struct put *puts = calloc(MANY, sizeof(*puts));
    for (int i = 0; i < MANY; i++) {
        int len = snprintf(puts[i].key, sizeof(puts[i].key), "key-%03d", i);
        puts[i].fixture = &f;
        puts[i].op.kind = CATALOGUE_SETTING;
        puts[i].op.key = slice_make(puts[i].key, (size_t)len);
        puts[i].op.value = SLICE_LIT("v");
    }
    for (unsigned s = 0; s < 3; s++)
        node_rig_call(&f.rig, s, many_run, puts);
    node_event_wait(&f.event, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(puts[i].op.err, ERR_OK);
    struct put list = {.op = {.kind = CATALOGUE_SETTING, .key = SLICE_LIT("key-")}};
    assert_int_equal(record(&f, 2, catalogue_record_list, &list), ERR_OK);
    assert_int_equal(list.op.entry_count, MANY);
    catalogue_record_op_release(&list.op);
    stop(&f);
    free(puts);
    node_rig_remove(&f.rig);
}

static void test_topics_and_blocks(void **state)
{
    struct fixture f;
    struct random random;
    struct topic_set *set = NULL;
    struct topic_override overrides[] = {{TOPIC_RETENTION_MS, "1000"},
                                         {TOPIC_CLEANUP_POLICY, "compact"}};
    node_rig_folder(&f.rig);
    random_init(&random, 9);
    start(&f, 1);
    struct topic *topic =
        topic_make(uuid_make(&random), SLICE_LIT("flights"), 4, false, 77, overrides, 2);
    assert_int_equal(catalogue_topic_put_now(f.catalogue, topic, NULL), ERR_OK);
    stop(&f);
    start(&f, 1);
    assert_int_equal(catalogue_load_topics(f.catalogue, &set, NULL), ERR_OK);
    assert_int_equal(topic_set_count(set), 1);
    const struct topic *back = topic_set_at(set, 0);
    assert_true(uuid_equal(back->id, topic->id));
    assert_int_equal(back->partition_count, 4);
    assert_int_equal(back->created_ms, 77);
    assert_int_equal(back->override_count, 2);
    assert_int_equal(back->values.retention_ms, 1000);
    assert_int_equal(back->values.cleanup, CLEANUP_COMPACT);
    topic_set_unref(set);
    topic_unref(topic);
    stop(&f);
    node_rig_remove(&f.rig);
}

struct block {
    struct fixture *fixture;
    struct catalogue_op op;
};

static void block_done(struct catalogue_op *op)
{
    node_event_set(&CONTAINER_OF(op, struct block, op)->fixture->event);
}

static void block_run(struct shard *shard, void *arg)
{
    struct block *block = arg;
    block->op.done = block_done;
    catalogue_producer_block(block->fixture->catalogue, shard, &block->op, 1000);
}

static void test_failed_sync(void **state)
{
    struct fixture f;
    node_rig_folder(&f.rig);
    start(&f, 1);
    node_rig_run(&f.rig);
    struct block one = {.fixture = &f};
    struct block two = {.fixture = &f};
    node_rig_call(&f.rig, 0, block_run, &one);
    node_event_wait(&f.event, 1);
    assert_int_equal(one.op.err, ERR_OK);
    assert_true(fault_arm("fs.sync", 0, 1, ERR_DISK_IO));
    node_rig_call(&f.rig, 0, block_run, &two);
    node_event_wait(&f.event, 2);
    assert_int_equal(two.op.err, ERR_DISK_IO);
    fault_disarm_all();
    /* Never retried: the file takes nothing more until the next start. */
    node_rig_call(&f.rig, 0, block_run, &two);
    node_event_wait(&f.event, 3);
    assert_int_equal(two.op.err, ERR_DISK_IO);
    stop(&f);
    start(&f, 1);
    node_rig_run(&f.rig);
    node_rig_call(&f.rig, 0, block_run, &two);
    node_event_wait(&f.event, 1);
    assert_int_equal(two.op.err, ERR_OK);
    assert_true(two.op.ret_block_first >= one.op.ret_block_first + 1000);
    stop(&f);
    node_rig_remove(&f.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_many_writers),
        cmocka_unit_test(test_topics_and_blocks),
        cmocka_unit_test(test_failed_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
