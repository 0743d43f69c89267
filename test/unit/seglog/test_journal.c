/*
 * Starts that meet faults while the journals are read, on the simulated disk: a start either refuses, or leaves a log out,
 * or serves all that was acknowledged; and whatever it did, the next start on a sound disk has everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/diag.h"
#include "io/fault.h"
#include "io/fs_sim.h"
#include "log_rig.h"
#include "seglog/commit_int.h"

enum { LOGS = 4, ROUNDS = 6, RECORDS = 2 };

static const int64_t t0 = 1700000000000;

struct bench {
    struct log_rig rig;
    struct fs *fs;
    char names[LOGS][8];
    struct seglog *logs[LOGS];
    int64_t ends[LOGS];
};

static void append_counted(struct seglog_append *append)
{
    (void)append;
}

static void round_of(struct bench *bench, unsigned first, unsigned count)
{
    struct seglog_append appends[LOGS];
    for (unsigned i = first; i < first + count; i++) {
        appends[i] = (struct seglog_append){.batch = log_rig_batch("journal", RECORDS, t0),
                                            .ack = SEGLOG_ACK_DURABLE,
                                            .on_done = append_counted};
        assert_int_equal(seglog_append(bench->logs[i], &appends[i], NULL), ERR_OK);
    }
    log_rig_quiet(&bench->rig);
    for (unsigned i = first; i < first + count; i++) {
        assert_int_equal(appends[i].err, ERR_OK);
        bench->ends[i] += RECORDS;
    }
}

static void logs_open(struct bench *bench)
{
    for (unsigned i = 0; i < LOGS; i++)
        bench->logs[i] = log_rig_open(&bench->rig, bench->names[i], i, NULL);
}

/* Logs whose newest records are stable in the journal alone, after the power was lost. */
static void bench_start(struct bench *bench, uint64_t seed)
{
    struct fs_sim_config config = {.seed = seed};
    memset(bench, 0, sizeof(*bench));
    bench->fs = fs_sim_create(&config);
    for (unsigned i = 0; i < LOGS; i++)
        snprintf(bench->names[i], sizeof(bench->names[i]), "j-%u", i);
    log_rig_prepare(&bench->rig, bench->fs);
    bench->rig.config = (struct commit_config){.journal_bytes = 1 << 20, .direct_files_max = 1};
    assert_true(log_rig_boot(&bench->rig));
    logs_open(bench);
    for (int round = 0; round < ROUNDS; round++)
        round_of(bench, 0, LOGS);
    struct commit_stats stats;
    commit_stats_get(bench->rig.commit, &stats);
    assert_true(stats.journal_syncs >= ROUNDS - 2);
    log_rig_kill(&bench->rig, bench->logs, LOGS);
    fs_sim_power_loss(bench->fs);
}

static void bench_end(struct bench *bench)
{
    log_rig_end(&bench->rig);
    fs_destroy(bench->fs);
}

/* Offset up to which the log serves; -1: it did not open. */
static int64_t log_end(struct bench *bench, unsigned i)
{
    struct seglog_open open;
    bench->logs[i] = NULL;
    if (log_rig_open_err(&bench->rig, bench->names[i], i, NULL, &open) != ERR_OK)
        return -1;
    bench->logs[i] = open.seglog;
    return seglog_bounds(open.seglog).end.value;
}

static void logs_expect(struct bench *bench, bool all)
{
    for (unsigned i = 0; i < LOGS; i++) {
        int64_t end = log_end(bench, i);
        if (end >= 0 || all)
            assert_int_equal(end, bench->ends[i]);
    }
}

static void logs_close(struct bench *bench)
{
    for (unsigned i = 0; i < LOGS; i++)
        if (bench->logs[i])
            log_rig_close(&bench->rig, bench->logs[i]);
    log_rig_shutdown(&bench->rig);
}

/* A start on a sound disk has everything. */
static void boot_expect_all(struct bench *bench)
{
    assert_true(log_rig_boot(&bench->rig));
    logs_expect(bench, true);
    seglog_store_recovered(bench->rig.store);
    logs_close(bench);
}

struct names {
    char path[64][64];
    unsigned count;
};

static bool names_add(void *arg, const char *name, enum fs_kind kind)
{
    struct names *names = arg;
    assert_int_equal(kind, FS_KIND_FILE);
    assert_true(names->count < 64);
    snprintf(names->path[names->count++], 64, "data/journal/%s", name);
    return true;
}

static unsigned journals_count(struct bench *bench)
{
    struct names names = {.count = 0};
    assert_int_equal(fs_list(bench->fs, "data/journal", names_add, &names, NULL), ERR_OK);
    return names.count;
}

/* A start that may be refused. */
static bool boot_try(struct bench *bench)
{
    struct err_info info;
    struct log_rig *rig = &bench->rig;
    if (seglog_store_open(bench->fs, rig->dir, &rig->store, &info) != ERR_OK)
        return false;
    assert_int_equal(commit_create(rig->store, &rig->reactor, &rig->config, &rig->commit), ERR_OK);
    return true;
}

/* What the tests below rely on: without the journals something would be missing. */
static void the_journals_hold_the_newest_records(void **state)
{
    (void)state;
    struct bench bench;
    struct names names = {.count = 0};
    unsigned missing = 0;
    bench_start(&bench, 1);
    assert_int_equal(fs_list(bench.fs, "data/journal", names_add, &names, NULL), ERR_OK);
    assert_true(names.count > 0);
    for (unsigned i = 0; i < names.count; i++)
        assert_int_equal(fs_unlink(bench.fs, names.path[i], NULL), ERR_OK);
    assert_true(log_rig_boot(&bench.rig));
    for (unsigned i = 0; i < LOGS; i++)
        missing += log_end(&bench, i) < bench.ends[i];
    assert_true(missing > 0);
    logs_close(&bench);
    bench_end(&bench);
}

/* A start with the point failing at its nth pass, then one without; until the start passes it no more. */
static void start_under_fault(const char *point, enum err err, uint64_t seed)
{
    bool fired = true;
    uint64_t refused = 0;
    for (uint64_t nth = 0; fired; nth++) {
        struct bench bench;
        bench_start(&bench, seed);
        assert_true(fault_arm(point, nth, 1, err));
        if (boot_try(&bench)) {
            logs_expect(&bench, false);
            seglog_store_recovered(bench.rig.store);
            fired = fault_fired(point) > 0;
            fault_disarm_all();
            logs_close(&bench);
        } else {
            refused++;
            fault_disarm_all();
        }
        boot_expect_all(&bench);
        bench_end(&bench);
    }
    assert_true(refused > 0);
}

static void reads_fail_during_a_start(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++)
        start_under_fault("fs.read", ERR_DISK_IO, seed);
}

static void files_do_not_open_during_a_start(void **state)
{
    (void)state;
    start_under_fault("fs.open", ERR_DISK_IO, 2);
    start_under_fault("fs.open", ERR_LIMIT, 3);
}

static void memory_is_short_during_a_start(void **state)
{
    (void)state;
    start_under_fault("seglog.journal.memory", ERR_NO_MEMORY, 1);
}

/* The refusal says which file, and what may be done. */
static void the_refusal_names_the_file(void **state)
{
    (void)state;
    struct bench bench;
    struct seglog_store *store = NULL;
    struct err_info info = {.code = ERR_OK};
    bench_start(&bench, 1);
    assert_true(fault_arm("fs.read", 2, 1, ERR_DISK_IO)); /* after the generation */
    assert_int_equal(seglog_store_open(bench.fs, "data", &store, &info), ERR_DISK_IO);
    fault_disarm_all();
    assert_non_null(strstr(info.text, ".journal"));
    assert_non_null(strstr(info.text, "move"));
    boot_expect_all(&bench);
    bench_end(&bench);
}

/* A log that does not open keeps the files that hold something of it, and no others. */
static void only_what_is_needed_is_kept(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 1);
    /* A second generation of journals, without the last log. */
    assert_true(log_rig_boot(&bench.rig));
    logs_expect(&bench, true);
    for (int round = 0; round < ROUNDS; round++)
        round_of(&bench, 0, LOGS - 1);
    unsigned both = journals_count(&bench);
    log_rig_kill(&bench.rig, bench.logs, LOGS);
    fs_sim_power_loss(bench.fs);
    assert_int_equal(both, journals_count(&bench));
    /* The last log fails: the second generation's files are of no use to it. */
    assert_true(log_rig_boot(&bench.rig));
    for (unsigned i = 0; i < LOGS - 1; i++)
        assert_int_equal(log_end(&bench, i), bench.ends[i]);
    assert_true(fault_arm("fs.open", 0, 1, ERR_DISK_IO));
    assert_int_equal(log_end(&bench, LOGS - 1), -1);
    fault_disarm_all();
    seglog_store_recovered(bench.rig.store);
    unsigned kept = journals_count(&bench);
    assert_true(kept > 0 && kept < both);
    logs_close(&bench);
    boot_expect_all(&bench);
    assert_int_equal(journals_count(&bench), 0);
    bench_end(&bench);
}

/* Bytes that held when they were indexed and no longer do are an error, not the end of the journal. */
static void a_replay_that_reads_badly(void **state)
{
    (void)state;
    struct bench bench;
    struct names names = {.count = 0};
    struct fs_file *file;
    uint8_t *data = NULL;
    size_t len = 0;
    unsigned failed = 0;
    for (int how = 0; how < 2; how++) {
        bench_start(&bench, 1);
        assert_true(log_rig_boot(&bench.rig));
        names.count = 0;
        assert_int_equal(fs_list(bench.fs, "data/journal", names_add, &names, NULL), ERR_OK);
        assert_int_equal(fs_read_all(bench.fs, names.path[0], 1 << 24, &data, &len, NULL), ERR_OK);
        assert_int_equal(fs_open(bench.fs, names.path[0], FS_WRITE, &file, NULL), ERR_OK);
        assert_int_equal(how == 0 ? fs_truncate(file, 100, NULL) : fs_zero(file, 0, len, NULL),
                         ERR_OK);
        failed = 0;
        for (unsigned i = 0; i < LOGS; i++) {
            int64_t end = log_end(&bench, i);
            failed += end < 0;
            assert_true(end < 0 || end == bench.ends[i]);
        }
        assert_true(failed > 0);
        seglog_store_recovered(bench.rig.store);
        assert_int_equal(fs_pwrite(file, data, len, 0, NULL), ERR_OK);
        fs_close(file);
        free(data);
        logs_close(&bench);
        boot_expect_all(&bench);
        bench_end(&bench);
    }
}

/* However many files lie there, those of the last run are read. */
static void many_files(void **state)
{
    (void)state;
    struct bench bench;
    bench_start(&bench, 1);
    for (unsigned i = 0; i < 4200; i++) {
        char path[64];
        struct fs_file *file;
        snprintf(path, sizeof(path), "data/journal/!%05u.journal", i); /* before all others */
        assert_int_equal(fs_open(bench.fs, path, FS_WRITE | FS_CREATE, &file, NULL), ERR_OK);
        fs_close(file);
    }
    boot_expect_all(&bench);
    assert_int_equal(journals_count(&bench), 0);
    bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_journals_hold_the_newest_records),
        cmocka_unit_test(reads_fail_during_a_start),
        cmocka_unit_test(files_do_not_open_during_a_start),
        cmocka_unit_test(memory_is_short_during_a_start),
        cmocka_unit_test(the_refusal_names_the_file),
        cmocka_unit_test(only_what_is_needed_is_kept),
        cmocka_unit_test(a_replay_that_reads_badly),
        cmocka_unit_test(many_files),
    };
    diag_level_set(DIAG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
