/* SQLite over the file seam: what its calls make of the disk's failures, and who may lock what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "io/fault.h"
#include "io/fs_sim.h"
#include "io/sqlite_vfs.h"

struct rig {
    struct fs *fs;
    struct sqlite_vfs *vfs;
    sqlite3_vfs *calls;
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct fs_sim_config disk = {.seed = 7, .short_odds = 8};
    rig->fs = fs_sim_create(&disk);
    assert_int_equal(sqlite_vfs_create(rig->fs, 1, &rig->vfs), ERR_OK);
    rig->calls = sqlite3_vfs_find(sqlite_vfs_name(rig->vfs));
    assert_non_null(rig->calls);
    assert_int_equal(fs_mkdir_all(rig->fs, "d", NULL), ERR_OK);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    fault_disarm_all();
    sqlite_vfs_destroy(rig->vfs);
    fs_destroy(rig->fs);
    free(rig);
    return 0;
}

/* A handle as SQLite would hold it. */
static sqlite3_file *file_open(struct rig *rig, const char *path)
{
    sqlite3_file *file = calloc(1, (size_t)rig->calls->szOsFile);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_DB;
    assert_int_equal(rig->calls->xOpen(rig->calls, path, file, flags, NULL), SQLITE_OK);
    return file;
}

static void file_close(sqlite3_file *file)
{
    assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);
    free(file);
}

/* A journal that cannot be looked for is not an absent one: taking it for absent would skip its
 * roll-back. */
static void test_access(void **state)
{
    struct rig *rig = *state;
    int yes = -1;
    sqlite3_vfs *vfs = rig->calls;
    assert_int_equal(vfs->xAccess(vfs, "d/none", SQLITE_ACCESS_EXISTS, &yes), SQLITE_OK);
    assert_int_equal(yes, 0);
    assert_int_equal(fs_write_atomic(rig->fs, "d/empty", SLICE_NULL, NULL), ERR_OK);
    assert_int_equal(vfs->xAccess(vfs, "d/empty", SQLITE_ACCESS_EXISTS, &yes), SQLITE_OK);
    assert_int_equal(yes, 0); /* an empty journal holds nothing to roll back */
    assert_int_equal(vfs->xAccess(vfs, "d/empty", SQLITE_ACCESS_READWRITE, &yes), SQLITE_OK);
    assert_int_equal(yes, 1);
    assert_int_equal(fs_write_atomic(rig->fs, "d/full", SLICE_LIT("x"), NULL), ERR_OK);
    assert_int_equal(vfs->xAccess(vfs, "d/full", SQLITE_ACCESS_EXISTS, &yes), SQLITE_OK);
    assert_int_equal(yes, 1);
    fs_sim_freeze_after(rig->fs, 0);
    assert_int_equal(vfs->xAccess(vfs, "d/full", SQLITE_ACCESS_EXISTS, &yes), SQLITE_IOERR_ACCESS);
    fs_sim_process_loss(rig->fs);
}

static void test_open_errors(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = rig->calls;
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_JOURNAL;
    static const struct {
        enum err err;
        int code;
    } rows[] = {{ERR_DISK_FULL, SQLITE_FULL},
                {ERR_NO_MEMORY, SQLITE_IOERR_NOMEM},
                {ERR_DISK_IO, SQLITE_CANTOPEN},
                {ERR_LIMIT, SQLITE_CANTOPEN}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(fault_arm("fs.open", 0, 1, rows[i].err));
        assert_int_equal(vfs->xOpen(vfs, "d/a", file, flags, NULL), rows[i].code);
        assert_null(file->pMethods); /* SQLite will not close it */
    }
    assert_int_equal(vfs->xOpen(vfs, NULL, file, flags, NULL), SQLITE_CANTOPEN);
    free(file);
}

static void test_file_calls(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *file = file_open(rig, "d/a");
    const sqlite3_io_methods *m = file->pMethods;
    char data[8192];
    memset(data, 'x', sizeof(data));
    assert_int_equal(m->xWrite(file, data, sizeof(data), 0), SQLITE_OK);
    sqlite3_int64 size;
    assert_int_equal(m->xFileSize(file, &size), SQLITE_OK);
    assert_int_equal(size, sizeof(data));
    assert_int_equal(m->xTruncate(file, 5000), SQLITE_OK);
    assert_int_equal(m->xRead(file, data, 4096, 4096), SQLITE_IOERR_SHORT_READ);
    assert_int_equal(data[903], 'x');
    assert_int_equal(data[904], 0); /* zeros behind the end */
    assert_int_equal(data[4095], 0);
    assert_true(fault_arm("fs.read", 0, 1, ERR_DISK_IO));
    assert_int_equal(m->xRead(file, data, 10, 0), SQLITE_IOERR_READ);
    assert_true(fault_arm("fs.write", 0, 1, ERR_DISK_IO));
    assert_int_equal(m->xWrite(file, data, 10, 0), SQLITE_IOERR_WRITE);
    assert_true(fault_arm("fs.write", 0, 1, ERR_DISK_FULL));
    assert_int_equal(m->xWrite(file, data, 10, 0), SQLITE_FULL);
    assert_true(fault_arm("fs.truncate", 0, 1, ERR_DISK_IO));
    assert_int_equal(m->xTruncate(file, 10), SQLITE_IOERR_TRUNCATE);
    assert_int_equal(m->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_OK);
    assert_true(fault_arm("fs.sync", 0, 1, ERR_DISK_IO));
    assert_int_equal(m->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_IOERR_FSYNC);
    /* What the kernel kept is unknown from here on. */
    assert_int_equal(m->xSync(file, SQLITE_SYNC_NORMAL), SQLITE_IOERR_FSYNC);
    assert_int_equal(m->xWrite(file, data, 10, 0), SQLITE_IOERR_WRITE);
    assert_int_equal(m->xTruncate(file, 10), SQLITE_IOERR_TRUNCATE);
    assert_int_equal(m->xRead(file, data, 10, 0), SQLITE_OK);
    file_close(file);
}

/* The first sync makes the name durable as well. */
static void test_sync_names(void **state)
{
    struct rig *rig = *state;
    for (unsigned round = 0; round < 20; round++) {
        char path[32];
        snprintf(path, sizeof(path), "d/n%u", round);
        sqlite3_file *file = file_open(rig, path);
        assert_int_equal(file->pMethods->xWrite(file, "abc", 3, 0), SQLITE_OK);
        assert_int_equal(file->pMethods->xSync(file, SQLITE_SYNC_FULL), SQLITE_OK);
        file_close(file);
        fs_sim_power_loss(rig->fs);
        uint8_t *data;
        size_t len;
        assert_int_equal(fs_read_all(rig->fs, path, 100, &data, &len, NULL), ERR_OK);
        assert_int_equal(len, 3);
        free(data);
    }
}

static void test_delete(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = rig->calls;
    assert_int_equal(vfs->xDelete(vfs, "d/none", 0), SQLITE_IOERR_DELETE_NOENT);
    for (unsigned round = 0; round < 20; round++) {
        assert_int_equal(fs_write_atomic(rig->fs, "d/gone", SLICE_LIT("x"), NULL), ERR_OK);
        assert_int_equal(vfs->xDelete(vfs, "d/gone", 1), SQLITE_OK);
        fs_sim_power_loss(rig->fs);
        assert_false(fs_exists(rig->fs, "d/gone"));
    }
    assert_int_equal(fs_write_atomic(rig->fs, "d/gone", SLICE_LIT("x"), NULL), ERR_OK);
    assert_true(fault_arm("fs.sync_dir", 0, 1, ERR_DISK_IO));
    assert_int_equal(vfs->xDelete(vfs, "d/gone", 1), SQLITE_IOERR_DELETE);
}

static int lock(sqlite3_file *file, int level)
{
    return file->pMethods->xLock(file, level);
}

static int unlock(sqlite3_file *file, int level)
{
    return file->pMethods->xUnlock(file, level);
}

/* Readers beside one writer; EXCLUSIVE waits for the readers, and PENDING keeps new ones out. */
static void test_locks(void **state)
{
    struct rig *rig = *state;
    sqlite3_file *a = file_open(rig, "d/a");
    sqlite3_file *b = file_open(rig, "d/a");
    sqlite3_file *c = file_open(rig, "d/a");
    sqlite3_file *other = file_open(rig, "d/b");
    int reserved = -1;
    assert_int_equal(lock(a, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_int_equal(lock(b, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_int_equal(a->pMethods->xCheckReservedLock(a, &reserved), SQLITE_OK);
    assert_int_equal(reserved, 0);
    assert_int_equal(lock(a, SQLITE_LOCK_RESERVED), SQLITE_OK);
    assert_int_equal(b->pMethods->xCheckReservedLock(b, &reserved), SQLITE_OK);
    assert_int_equal(reserved, 1);
    assert_int_equal(lock(b, SQLITE_LOCK_RESERVED), SQLITE_BUSY);
    assert_int_equal(lock(c, SQLITE_LOCK_SHARED), SQLITE_OK); /* RESERVED lets readers in */
    assert_int_equal(lock(a, SQLITE_LOCK_EXCLUSIVE), SQLITE_BUSY);
    assert_int_equal(unlock(c, SQLITE_LOCK_NONE), SQLITE_OK);
    assert_int_equal(lock(c, SQLITE_LOCK_SHARED), SQLITE_BUSY); /* PENDING does not */
    assert_int_equal(unlock(b, SQLITE_LOCK_NONE), SQLITE_OK);
    assert_int_equal(lock(a, SQLITE_LOCK_EXCLUSIVE), SQLITE_OK);
    assert_int_equal(lock(b, SQLITE_LOCK_SHARED), SQLITE_BUSY);
    assert_int_equal(lock(other, SQLITE_LOCK_SHARED), SQLITE_OK); /* another file */
    assert_int_equal(unlock(a, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_int_equal(lock(b, SQLITE_LOCK_SHARED), SQLITE_OK);
    assert_int_equal(unlock(a, SQLITE_LOCK_NONE), SQLITE_OK);
    assert_int_equal(unlock(b, SQLITE_LOCK_NONE), SQLITE_OK);
    assert_int_equal(unlock(other, SQLITE_LOCK_NONE), SQLITE_OK);
    file_close(a);
    file_close(b);
    file_close(c);
    file_close(other);
}

static int slot(sqlite3_file *file, int first, int count, int flags)
{
    return file->pMethods->xShmLock(file, first, count, flags);
}

/* The WAL index: one memory for all handles of a path, slots shared or exclusive. */
static void test_wal_index(void **state)
{
    enum { SHARED = SQLITE_SHM_SHARED, EXCLUSIVE = SQLITE_SHM_EXCLUSIVE };
    struct rig *rig = *state;
    sqlite3_file *a = file_open(rig, "d/a");
    sqlite3_file *b = file_open(rig, "d/a");
    const sqlite3_io_methods *m = a->pMethods;
    void volatile *region = NULL;
    void volatile *same = NULL;
    assert_int_equal(m->xShmMap(b, 0, 32768, 0, &region), SQLITE_OK);
    assert_null((void *)region); /* not made unless asked */
    assert_int_equal(m->xShmMap(a, 3, 32768, 1, &region), SQLITE_OK);
    assert_non_null((void *)region);
    for (int i = 0; i < 32768; i++)
        assert_int_equal(((uint8_t volatile *)region)[i], 0);
    assert_int_equal(m->xShmMap(a, 700, 32768, 1, &same), SQLITE_OK);
    assert_int_equal(m->xShmMap(b, 3, 32768, 0, &same), SQLITE_OK);
    assert_ptr_equal((void *)region, (void *)same); /* growth moves nothing */
    assert_int_equal(slot(a, 3, 1, SQLITE_SHM_LOCK | SHARED), SQLITE_OK);
    assert_int_equal(slot(b, 3, 1, SQLITE_SHM_LOCK | SHARED), SQLITE_OK);
    assert_int_equal(slot(b, 0, 8, SQLITE_SHM_LOCK | EXCLUSIVE), SQLITE_BUSY);
    assert_int_equal(slot(b, 4, 4, SQLITE_SHM_LOCK | EXCLUSIVE), SQLITE_OK);
    assert_int_equal(slot(a, 7, 1, SQLITE_SHM_LOCK | SHARED), SQLITE_BUSY);
    assert_int_equal(slot(a, 7, 1, SQLITE_SHM_LOCK | EXCLUSIVE), SQLITE_BUSY);
    assert_int_equal(slot(b, 4, 4, SQLITE_SHM_UNLOCK | EXCLUSIVE), SQLITE_OK);
    assert_int_equal(slot(a, 7, 1, SQLITE_SHM_LOCK | EXCLUSIVE), SQLITE_OK);
    assert_int_equal(slot(a, 3, 1, SQLITE_SHM_UNLOCK | SHARED), SQLITE_OK);
    assert_int_equal(slot(a, 3, 1, SQLITE_SHM_LOCK | EXCLUSIVE), SQLITE_BUSY); /* b reads */
    m->xShmBarrier(a);
    assert_int_equal(m->xShmUnmap(a, 0), SQLITE_OK); /* its slots fall */
    assert_int_equal(slot(b, 7, 1, SQLITE_SHM_LOCK | EXCLUSIVE), SQLITE_OK);
    assert_int_equal(m->xShmUnmap(b, 1), SQLITE_OK);
    file_close(a);
    file_close(b);
}

static void test_names(void **state)
{
    struct rig *rig = *state;
    sqlite3_vfs *vfs = rig->calls;
    char out[64];
    assert_int_equal(vfs->xFullPathname(vfs, "d/a", sizeof(out), out), SQLITE_OK);
    assert_string_equal(out, "d/a");
    assert_int_equal(vfs->xFullPathname(vfs, "d/a", 3, out), SQLITE_CANTOPEN);
    struct sqlite_vfs *second;
    assert_int_equal(sqlite_vfs_create(rig->fs, 1, &second), ERR_OK);
    assert_string_not_equal(sqlite_vfs_name(second), sqlite_vfs_name(rig->vfs));
    /* One seed, one sequence: a simulated run repeats. */
    sqlite3_vfs *other = sqlite3_vfs_find(sqlite_vfs_name(second));
    char first_bytes[16];
    char other_bytes[16];
    assert_int_equal(vfs->xRandomness(vfs, 16, first_bytes), 16);
    assert_int_equal(other->xRandomness(other, 16, other_bytes), 16);
    assert_memory_equal(first_bytes, other_bytes, 16);
    sqlite_vfs_destroy(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_access, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sync_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wal_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
