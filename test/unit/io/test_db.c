/*
 * The shared database on a simulated node: group commit, tasks that fail alone, what a crash takes,
 * what a sick disk does to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "io/db.h"
#include "io/fault.h"
#include "io/fs_sim.h"
#include "io/reactor.h"
#include "io/sim.h"
#include "io/sqlite_vfs.h"

#define SHARDS 2

static const char *const steps[] = {
    "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT NOT NULL)",
    "CREATE TABLE u (k INTEGER PRIMARY KEY)",
};

struct node {
    struct fs *fs;
    struct sim *sim;
    struct sim_host *host;
    struct shards *shards;
    struct sqlite_vfs *vfs;
    struct db *db;
    struct err_info info;
};

/* A row to write (or, with count_ok, a table to count), and how the task is to end. */
struct row {
    struct db_task task;
    struct node *node;
    unsigned shard;
    int64_t key;
    const char *before; /* SQL run in front of the insert, may be NULL */
    const char *after;  /* SQL run behind it */
    enum err result;
    int64_t counted;
    unsigned done;
    unsigned order;
};

static unsigned done_order;

static void row_done(struct db_task *task)
{
    struct row *row = CONTAINER_OF(task, struct row, task);
    assert_ptr_equal(task->shard, shards_get(row->node->shards, row->shard));
    row->done++;
    row->order = ++done_order;
}

static enum err row_put(struct db_task *task, struct sqlite3 *sqlite)
{
    struct row *row = CONTAINER_OF(task, struct row, task);
    char sql[128];
    snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (%lld, 'value')", (long long)row->key);
    const char *texts[3] = {row->before, sql, row->after};
    for (int i = 0; i < 3; i++) {
        int code = texts[i] ? sqlite3_exec(sqlite, texts[i], NULL, NULL, NULL) : SQLITE_OK;
        if (code != SQLITE_OK)
            return db_error(sqlite, code, &task->info, texts[i]);
    }
    return row->result;
}

static enum err row_count(struct db_task *task, struct sqlite3 *sqlite)
{
    struct row *row = CONTAINER_OF(task, struct row, task);
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(sqlite, "SELECT count(*) FROM t WHERE k >= 0", -1, &stmt, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(stmt);
    if (code == SQLITE_ROW)
        row->counted = sqlite3_column_int64(stmt, 0);
    enum err err =
        code == SQLITE_ROW ? ERR_OK : db_error(sqlite, code, &task->info, "counting rows");
    sqlite3_finalize(stmt);
    return err;
}

static enum err node_open(struct node *node)
{
    struct db_config config = {
        .vfs = node->vfs, .path = "d/test.db", .name = "test", .steps = steps, .step_count = 2};
    return db_open(&config, &node->db, &node->info);
}

static void node_boot(struct node *node)
{
    node->host = sim_host_create(node->sim, node->fs);
    struct shards_config config = {.count = SHARDS, .fs = node->fs};
    assert_int_equal(sim_shards_create(node->host, &config, &node->shards, &node->info), ERR_OK);
    assert_int_equal(sqlite_vfs_create(node->fs, 1, &node->vfs), ERR_OK);
    enum err err = node_open(node);
    if (err)
        fail_msg("%s", node->info.text);
    for (unsigned i = 0; i < SHARDS; i++)
        db_shard_start(node->db, shards_get(node->shards, i));
}

static void node_stop(struct node *node)
{
    db_close(node->db);
    sqlite_vfs_destroy(node->vfs);
    shards_destroy(node->shards);
}

static int setup(void **state)
{
    struct node *node = calloc(1, sizeof(*node));
    struct sim_config config;
    struct fs_sim_config disk = {.seed = 5, .short_odds = 16};
    sim_config_init(&config, 3);
    node->sim = sim_create(&config);
    node->fs = fs_sim_create(&disk);
    assert_int_equal(fs_mkdir_all(node->fs, "d", &node->info), ERR_OK);
    node_boot(node);
    *state = node;
    return 0;
}

static int teardown(void **state)
{
    struct node *node = *state;
    fault_disarm_all();
    node_stop(node);
    sim_destroy(node->sim);
    fs_destroy(node->fs);
    free(node);
    return 0;
}

static void row_submit(struct node *node, struct row *row, unsigned shard)
{
    row->node = node;
    row->shard = shard;
    row->task.run = row_put;
    row->task.done = row_done;
    db_write(node->db, shards_get(node->shards, shard), &row->task);
    assert_int_equal(row->done, 0); /* never inside the call */
}

static bool row_is_done(void *arg)
{
    return ((struct row *)arg)->done > 0;
}

static void row_wait(struct row *row)
{
    assert_true(sim_run_until(row->node->sim, row_is_done, row, 100000000));
    assert_int_equal(row->done, 1);
}

static enum err put(struct node *node, int64_t key, unsigned shard)
{
    struct row row = {.key = key};
    row_submit(node, &row, shard);
    row_wait(&row);
    return row.task.err;
}

static int64_t count(struct node *node, unsigned shard)
{
    struct row row = {.node = node, .shard = shard, .task = {.run = row_count, .done = row_done}};
    db_read(node->db, shards_get(node->shards, shard), &row.task);
    row_wait(&row);
    assert_int_equal(row.task.err, ERR_OK);
    return row.counted;
}

/* Answers come on the shard that asked, in the order of the questions; a failure takes only itself
 * back. */
static void test_tasks(void **state)
{
    struct node *node = *state;
    struct row rows[6];
    memset(rows, 0, sizeof(rows));
    for (int i = 0; i < 6; i++) {
        rows[i].key = i;
        rows[i].result = i == 2 ? ERR_EXISTS : ERR_OK;
        row_submit(node, &rows[i], i < 3 ? 0 : 1);
    }
    for (int i = 0; i < 6; i++)
        row_wait(&rows[i]);
    for (int i = 0; i < 6; i++)
        assert_int_equal(rows[i].task.err, i == 2 ? ERR_EXISTS : ERR_OK);
    assert_true(rows[0].order < rows[1].order && rows[1].order < rows[2].order);
    assert_true(rows[3].order < rows[4].order && rows[4].order < rows[5].order);
    assert_int_equal(count(node, 0), 5);
    assert_int_equal(count(node, 1), 5);
    assert_int_equal(put(node, 2, 1), ERR_OK); /* its row is free again */
    assert_int_equal(put(node, 2, 1), ERR_INTERNAL);
}

/* A batch of three, gathered while the writer is busy with a first task. */
static void batch_run(struct node *node, struct row rows[3])
{
    struct row first = {.key = 1000};
    row_submit(node, &first, 0);
    for (int i = 0; i < 3; i++)
        row_submit(node, &rows[i], 0);
    row_wait(&first);
    assert_int_equal(first.task.err, ERR_OK);
    for (int i = 0; i < 3; i++)
        row_wait(&rows[i]);
}

/* Where a failed task cannot be taken back alone, the whole batch is: half of a task must not be
 * committed with the others. */
static void test_undo_fails(void **state)
{
    struct node *node = *state;
    struct row rows[3] = {{.key = 1}, {.key = 2, .after = "RELEASE task"}, {.key = 3}};
    rows[1].result = ERR_EXISTS;
    batch_run(node, rows);
    assert_int_equal(rows[1].task.err, ERR_EXISTS);
    assert_int_equal(rows[0].task.err, ERR_INTERNAL); /* not what is the other's own */
    assert_int_equal(rows[2].task.err, ERR_INTERNAL);
    assert_int_equal(count(node, 0), 1);
    assert_int_equal(put(node, 2, 0), ERR_OK); /* the connection is sound */
    assert_int_equal(count(node, 0), 2);
}

/* SQLite rolled everything back by itself. */
static void test_rolled_back(void **state)
{
    struct node *node = *state;
    struct row rows[3] = {{.key = 1}, {.key = 2, .after = "ROLLBACK"}, {.key = 3}};
    batch_run(node, rows);
    for (int i = 0; i < 3; i++)
        assert_int_not_equal(rows[i].task.err, ERR_OK);
    assert_int_equal(count(node, 1), 1);
    assert_int_equal(put(node, 2, 1), ERR_OK);
}

static void test_limit(void **state)
{
    enum { COUNT = DB_TASKS_MAX + 3 };
    struct node *node = *state;
    struct row *rows = calloc(COUNT, sizeof(*rows));
    for (int i = 0; i < COUNT; i++) {
        rows[i].key = i;
        row_submit(node, &rows[i], 0);
    }
    unsigned refused = 0;
    for (int i = 0; i < COUNT; i++) {
        row_wait(&rows[i]);
        refused += rows[i].task.err == ERR_BUSY;
        assert_true(rows[i].task.err == ERR_OK || rows[i].task.err == ERR_BUSY);
    }
    assert_int_equal(refused, 2); /* one is with the writer, DB_TASKS_MAX wait */
    assert_int_equal(count(node, 0), COUNT - 2);
    free(rows);
}

static void test_full_disk(void **state)
{
    struct node *node = *state;
    assert_int_equal(put(node, 1, 0), ERR_OK);
    assert_true(fault_arm("fs.write", 0, UINT64_MAX, ERR_DISK_FULL));
    assert_int_equal(put(node, 2, 0), ERR_DISK_FULL);
    fault_disarm_all();
    assert_int_equal(put(node, 3, 1), ERR_OK);
    assert_int_equal(count(node, 0), 2);
}

/* After a failed sync nothing is acknowledged any more; reads go on, and a restart heals. */
static void test_failed_sync(void **state)
{
    struct node *node = *state;
    assert_int_equal(put(node, 1, 0), ERR_OK);
    assert_true(fault_arm("fs.sync", 0, 1, ERR_DISK_IO));
    assert_int_equal(put(node, 2, 0), ERR_DISK_IO);
    assert_int_equal(fault_fired("fs.sync"), 1);
    fault_disarm_all();
    assert_int_equal(put(node, 3, 1), ERR_DISK_IO);
    assert_int_equal(count(node, 1), 1);
    node_stop(node);
    node_boot(node);
    assert_int_equal(put(node, 4, 0), ERR_OK);
    assert_true(count(node, 0) >= 2);
}

static void test_versions(void **state)
{
    struct node *node = *state;
    assert_int_equal(put(node, 1, 0), ERR_OK);
    node_stop(node);
    node_boot(node); /* the steps are not run twice */
    assert_int_equal(count(node, 0), 1);
    struct row row = {.key = 2, .after = "PRAGMA user_version=3"};
    row_submit(node, &row, 0);
    row_wait(&row);
    assert_int_equal(row.task.err, ERR_OK);
    db_close(node->db);
    assert_int_equal(node_open(node), ERR_UNSUPPORTED_VERSION);
    assert_non_null(strstr(node->info.text, "newer version"));
    assert_int_equal(fs_remove_tree(node->fs, "d", NULL), ERR_OK);
    assert_int_equal(fs_mkdir_all(node->fs, "d", NULL), ERR_OK);
    assert_int_equal(fs_write_atomic(node->fs, "d/test.db",
                                     SLICE_LIT("this is no database at all, but long enough"),
                                     NULL),
                     ERR_OK);
    assert_int_equal(node_open(node), ERR_CORRUPT);
    assert_int_equal(fs_unlink(node->fs, "d/test.db", NULL), ERR_OK);
    assert_int_equal(node_open(node), ERR_OK);
    for (unsigned i = 0; i < SHARDS; i++)
        db_shard_start(node->db, shards_get(node->shards, i));
    assert_int_equal(count(node, 0), 0);
}

/* Whatever moment the power fails at, the rows that were answered are there, whole, afterwards. */
static void test_power_loss(void **state)
{
    static struct row rows[60];
    struct node *node = *state;
    for (unsigned life = 0; life < 30; life++) {
        memset(rows, 0, sizeof(rows));
        int64_t before = count(node, 0);
        fs_sim_freeze_after(node->fs, 3 * life);
        for (int i = 0; i < 60; i++) {
            rows[i].key = 1000 * (int64_t)(life + 1) + i;
            row_submit(node, &rows[i], (unsigned)i % SHARDS);
        }
        sim_run_for(node->sim, 50000);
        int64_t acked = 0;
        for (int i = 0; i < 60; i++)
            acked += rows[i].done && rows[i].task.err == ERR_OK;
        if (sim_host_alive(node->host)) {
            fs_sim_freeze_after(node->fs, UINT64_MAX);
            for (int i = 0; i < 60; i++)
                row_wait(&rows[i]);
            acked = 60;
        }
        sim_host_kill(node->host);
        fs_sim_power_loss(node->fs);
        node_boot(node);
        int64_t after = count(node, 1);
        assert_true(after >= before + acked);
        assert_true(after <= before + 60);
    }
}

/* What a simulated process held when it died stays allocated. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tasks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undo_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rolled_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_power_loss, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
