/* The file seam: one body on the real and on the simulated file system, then what only the
 * simulated disk does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/random.h"
#include "io/fault.h"
#include "io/fs.h"
#include "io/fs_sim.h"

struct disk {
    struct fs *fs;
    char root[64];
};

static int setup_posix(void **state)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    snprintf(disk->root, sizeof(disk->root), "/tmp/weir-fs-XXXXXX");
    if (!mkdtemp(disk->root))
        return -1;
    disk->fs = fs_posix_create();
    *state = disk;
    return disk->fs ? 0 : -1;
}

static int setup_sim(void **state)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    snprintf(disk->root, sizeof(disk->root), "/data");
    struct fs_sim_config config = {.seed = 5, .short_odds = 3};
    disk->fs = fs_sim_create(&config);
    *state = disk;
    return fs_mkdir(disk->fs, disk->root, NULL) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct disk *disk = *state;
    fault_disarm_all();
    enum err err = fs_remove_tree(disk->fs, disk->root, NULL);
    fs_destroy(disk->fs);
    free(disk);
    return err == ERR_OK ? 0 : -1;
}

static const char *at(const struct disk *disk, const char *name)
{
    static char path[4][128];
    static unsigned next;
    char *to = path[next++ % 4];
    snprintf(to, 128, "%s/%s", disk->root, name);
    return to;
}

static void test_read_write(void **state)
{
    struct disk *disk = *state;
    struct fs_file *file;
    struct err_info info;
    assert_int_equal(fs_open(disk->fs, at(disk, "a"), FS_READ | FS_WRITE, &file, &info),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(info.text, "/a'"));
    assert_int_equal(fs_open(disk->fs, at(disk, "a"), FS_READ | FS_WRITE | FS_CREATE, &file, &info),
                     ERR_OK);
    struct slice parts[100];
    for (int i = 0; i < 100; i++)
        parts[i] = slice_make("0123456789", 10);
    parts[50].len = 0;
    assert_int_equal(fs_pwritev(file, parts, 100, 5, &info), ERR_OK);
    uint64_t size;
    assert_int_equal(fs_size(file, &size, &info), ERR_OK);
    assert_int_equal(size, 995);
    uint8_t data[2000];
    size_t len;
    assert_int_equal(fs_pread(file, data, sizeof(data), 0, &len, &info), ERR_OK);
    assert_int_equal(len, 995);
    assert_memory_equal(data,
                        "\0\0\0\0\0"
                        "0123456789",
                        15);
    assert_int_equal(fs_pread(file, data, 10, 990, &len, &info), ERR_OK);
    assert_int_equal(len, 5);
    assert_memory_equal(data, "56789", 5);
    assert_int_equal(fs_pread(file, data, 10, 5000, &len, &info), ERR_OK);
    assert_int_equal(len, 0);
    assert_int_equal(fs_truncate(file, 7, &info), ERR_OK);
    assert_int_equal(fs_truncate(file, 9, &info), ERR_OK);
    assert_int_equal(fs_pread(file, data, 20, 4, &len, &info), ERR_OK);
    assert_int_equal(len, 5);
    assert_memory_equal(data,
                        "\0"
                        "01\0\0",
                        5);
    assert_int_equal(fs_zero(file, 6, 300000, &info), ERR_OK);
    assert_int_equal(fs_size(file, &size, &info), ERR_OK);
    assert_int_equal(size, 300006);
    assert_int_equal(fs_pread(file, data, 4, 4, &len, &info), ERR_OK);
    assert_memory_equal(data,
                        "\0"
                        "0\0\0",
                        4);
    assert_int_equal(fs_sync(file, &info), ERR_OK);
    fs_close(file);
    fs_close(NULL);
}

/* Parts larger than one call takes, cut at odd places, come out as they went in. */
static void test_large_write(void **state)
{
    static const size_t lens[] = {5, 1300001, 0, 900003, 2600007, 1};
    struct disk *disk = *state;
    struct slice parts[6];
    struct err_info info;
    size_t total = 0;
    for (int i = 0; i < 6; i++)
        total += lens[i];
    uint8_t *data = malloc(total), *back = malloc(total + 1);
    struct random random;
    random_init(&random, 3);
    random_fill(&random, data, (uint32_t)total);
    for (size_t i = 0, at = 0; i < 6; at += lens[i++])
        parts[i] = slice_make(data + at, lens[i]);
    struct fs_file *file;
    assert_int_equal(fs_open(disk->fs, at(disk, "a"), FS_READ | FS_WRITE | FS_CREATE, &file, &info),
                     ERR_OK);
    assert_int_equal(fs_pwritev(file, parts, 6, 77, &info), ERR_OK);
    size_t len;
    assert_int_equal(fs_pread(file, back, total + 1, 77, &len, &info), ERR_OK);
    assert_int_equal(len, total);
    assert_memory_equal(back, data, total);
    fs_close(file);
    free(data);
    free(back);
}

static uint64_t blocks_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* What is set aside takes space but is not part of the file; a truncation gives it back. */
static void test_reserve(void **state)
{
    struct disk *disk = *state;
    const char *path = at(disk, "a");
    struct err_info info;
    struct fs_file *file;
    assert_int_equal(fs_open(disk->fs, path, FS_READ | FS_WRITE | FS_CREATE, &file, &info), ERR_OK);
    assert_int_equal(fs_pwrite(file, "0123456789", 10, 0, &info), ERR_OK);
    assert_true(fs_reserve(file, 10, 1 << 20));
    uint64_t size;
    assert_int_equal(fs_size(file, &size, &info), ERR_OK);
    assert_int_equal(size, 10);
    assert_true(blocks_of(path) >= 1 << 20);
    assert_int_equal(fs_truncate(file, 10, &info), ERR_OK);
    assert_true(blocks_of(path) < 1 << 20);
    char data[11];
    size_t len;
    assert_int_equal(fs_pread(file, data, sizeof(data), 0, &len, &info), ERR_OK);
    assert_int_equal(len, 10);
    assert_memory_equal(data, "0123456789", 10);
    assert_true(fault_arm("fs.reserve", 0, 1, ERR_DISK_FULL));
    assert_false(fs_reserve(file, 10, 1 << 20));
    fs_close(file);
}

static void test_open_flags(void **state)
{
    struct disk *disk = *state;
    struct fs_file *file;
    struct err_info info;
    unsigned make = FS_WRITE | FS_CREATE | FS_EXCLUSIVE;
    assert_int_equal(fs_open(disk->fs, at(disk, "x"), make, &file, &info), ERR_OK);
    assert_int_equal(fs_pwrite(file, "abc", 3, 0, &info), ERR_OK);
    fs_close(file);
    assert_int_equal(fs_open(disk->fs, at(disk, "x"), make, &file, &info), ERR_EXISTS);
    assert_null(file);
    assert_int_equal(fs_open(disk->fs, at(disk, "x"), FS_WRITE | FS_TRUNCATE, &file, &info),
                     ERR_OK);
    uint64_t size;
    assert_int_equal(fs_size(file, &size, &info), ERR_OK);
    assert_int_equal(size, 0);
    fs_close(file);
    char longest[FS_PATH_MAX + 2];
    memset(longest, 'p', sizeof(longest));
    longest[FS_PATH_MAX + 1] = 0;
    assert_int_equal(fs_open(disk->fs, longest, FS_READ, &file, &info), ERR_INVALID_ARGUMENT);
    assert_int_equal(fs_open(disk->fs, "", FS_READ, &file, &info), ERR_INVALID_ARGUMENT);
}

static void test_lock(void **state)
{
    struct disk *disk = *state;
    struct fs_file *first;
    struct fs_file *second;
    struct err_info info;
    assert_int_equal(fs_lock(disk->fs, at(disk, "lock"), &first, &info), ERR_OK);
    assert_int_equal(fs_lock(disk->fs, at(disk, "lock"), &second, &info), ERR_LOCKED);
    assert_null(second);
    assert_non_null(strstr(info.text, "locked"));
    fs_close(first);
    assert_int_equal(fs_lock(disk->fs, at(disk, "lock"), &second, &info), ERR_OK);
    fs_close(second);
}

struct listing {
    char names[256];
    unsigned dirs;
};

static bool listing_add(void *arg, const char *name, enum fs_kind kind)
{
    struct listing *listing = arg;
    size_t len = strlen(listing->names);
    snprintf(listing->names + len, sizeof(listing->names) - len, "%s ", name);
    listing->dirs += kind == FS_KIND_DIR;
    return strcmp(name, "stop") != 0;
}

static void touch(struct disk *disk, const char *name)
{
    struct fs_file *file;
    assert_int_equal(fs_open(disk->fs, at(disk, name), FS_WRITE | FS_CREATE, &file, NULL), ERR_OK);
    fs_close(file);
}

static void test_names(void **state)
{
    struct disk *disk = *state;
    struct err_info info;
    assert_int_equal(fs_mkdir_all(disk->fs, at(disk, "d/e/f"), &info), ERR_OK);
    assert_int_equal(fs_mkdir_all(disk->fs, at(disk, "d/e/f"), &info), ERR_OK);
    assert_int_equal(fs_mkdir(disk->fs, at(disk, "no/parent"), &info), ERR_NOT_FOUND);
    touch(disk, "b");
    touch(disk, "a");
    touch(disk, "d/e/f/g");
    assert_int_not_equal(fs_mkdir(disk->fs, at(disk, "a"), &info), ERR_OK);
    struct listing listing = {0};
    assert_int_equal(fs_list(disk->fs, disk->root, listing_add, &listing, &info), ERR_OK);
    assert_string_equal(listing.names, "a b d ");
    assert_int_equal(listing.dirs, 1);
    assert_int_equal(fs_rename(disk->fs, at(disk, "a"), at(disk, "d/z"), &info), ERR_OK);
    assert_false(fs_exists(disk->fs, at(disk, "a")));
    assert_true(fs_exists(disk->fs, at(disk, "d/z")));
    assert_int_equal(fs_rename(disk->fs, at(disk, "d/z"), at(disk, "b"), &info), ERR_OK);
    assert_int_equal(fs_rename(disk->fs, at(disk, "gone"), at(disk, "b"), &info), ERR_NOT_FOUND);
    assert_int_not_equal(fs_rmdir(disk->fs, at(disk, "d"), &info), ERR_OK);
    assert_int_not_equal(fs_unlink(disk->fs, at(disk, "d"), &info), ERR_OK);
    assert_int_equal(fs_sync_dir(disk->fs, disk->root, &info), ERR_OK);
    struct fs_stat stat;
    assert_int_equal(fs_stat(disk->fs, at(disk, "d"), &stat, &info), ERR_OK);
    assert_int_equal(stat.kind, FS_KIND_DIR);
    assert_int_equal(fs_remove_tree(disk->fs, at(disk, "d"), &info), ERR_OK);
    assert_int_equal(fs_remove_tree(disk->fs, at(disk, "d"), &info), ERR_OK);
    assert_int_equal(fs_unlink(disk->fs, at(disk, "b"), &info), ERR_OK);
    assert_int_equal(fs_unlink(disk->fs, at(disk, "b"), &info), ERR_NOT_FOUND);
    uint64_t space;
    assert_int_equal(fs_space(disk->fs, disk->root, &space, &info), ERR_OK);
    assert_true(space > 0);
}

static void test_whole_files(void **state)
{
    struct disk *disk = *state;
    struct err_info info;
    uint8_t *data;
    size_t len;
    assert_int_equal(fs_write_atomic(disk->fs, at(disk, "conf"), SLICE_LIT("first"), &info),
                     ERR_OK);
    assert_int_equal(fs_write_atomic(disk->fs, at(disk, "conf"), SLICE_LIT("second!"), &info),
                     ERR_OK);
    assert_int_equal(fs_read_all(disk->fs, at(disk, "conf"), 100, &data, &len, &info), ERR_OK);
    assert_int_equal(len, 7);
    assert_string_equal((char *)data, "second!");
    free(data);
    assert_int_equal(fs_read_all(disk->fs, at(disk, "conf"), 6, &data, &len, &info), ERR_LIMIT);
    assert_null(data);
    assert_false(fs_exists(disk->fs, at(disk, "conf.tmp")));
}

/* Each point on the way of an atomic write fails once; the old content stays whole, until a run has
 * no failure. */
static void test_fault_loop(void **state)
{
    static const char *const points[] = {"fs.open", "fs.write", "fs.sync", "fs.rename",
                                         "fs.sync_dir"};
    struct disk *disk = *state;
    struct err_info info;
    for (size_t p = 0; p < sizeof(points) / sizeof(points[0]); p++) {
        enum err want = p == 1 ? ERR_DISK_FULL : ERR_DISK_IO;
        assert_int_equal(fs_write_atomic(disk->fs, at(disk, "conf"), SLICE_LIT("old"), &info),
                         ERR_OK);
        assert_true(fault_arm(points[p], 0, 1, want));
        assert_int_equal(fs_write_atomic(disk->fs, at(disk, "conf"), SLICE_LIT("new"), &info),
                         want);
        assert_non_null(strstr(info.text, "injected"));
        assert_int_equal(fault_fired(points[p]), 1);
        fault_disarm(points[p]);
        uint8_t *data;
        size_t len;
        assert_int_equal(fs_read_all(disk->fs, at(disk, "conf"), 100, &data, &len, &info), ERR_OK);
        assert_string_equal((char *)data, p == 4 ? "new" : "old");
        free(data);
        assert_false(fs_exists(disk->fs, at(disk, "conf.tmp")));
    }
}

static void test_fault_spec(void **state)
{
    assert_true(fault_arm_spec("fs.write:1:2:disk_full,fs.sync:0:1:disk_io"));
    assert_false(fault_arm_spec("fs.write:1:2"));
    assert_false(fault_arm_spec("fs.nothing:1:2:disk_io"));
    assert_false(fault_arm_spec("fs.write:x:2:disk_io"));
    assert_false(fault_arm_spec("fs.write:1:2:no_such_error"));
    struct disk *disk = *state;
    struct fs_file *file;
    assert_int_equal(fs_open(disk->fs, at(disk, "f"), FS_WRITE | FS_CREATE, &file, NULL), ERR_OK);
    assert_int_equal(fs_pwrite(file, "x", 1, 0, NULL), ERR_OK);
    assert_int_equal(fs_pwrite(file, "x", 1, 0, NULL), ERR_DISK_FULL);
    assert_int_equal(fs_pwrite(file, "x", 1, 0, NULL), ERR_DISK_FULL);
    assert_int_equal(fs_pwrite(file, "x", 1, 0, NULL), ERR_OK);
    assert_int_equal(fault_passes("fs.write"), 4);
    fs_close(file);
}

/* ---- only the simulated disk ---- */

static void write_file(struct fs *fs, const char *path, uint8_t fill, size_t len, bool sync)
{
    struct fs_file *file;
    uint8_t *data = malloc(len);
    memset(data, fill, len);
    assert_int_equal(fs_open(fs, path, FS_WRITE | FS_CREATE, &file, NULL), ERR_OK);
    assert_int_equal(fs_pwrite(file, data, len, 0, NULL), ERR_OK);
    if (sync)
        assert_int_equal(fs_sync(file, NULL), ERR_OK);
    fs_close(file);
    free(data);
}

/* Synced bytes under synced names survive every power loss; unsynced sectors are old or new, each
 * for itself. */
static void test_power_loss_sectors(void **state)
{
    unsigned kept = 0;
    unsigned dropped = 0;
    unsigned mixed = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct fs_sim_config config = {.seed = seed};
        struct fs *fs = fs_sim_create(&config);
        write_file(fs, "/f", 'a', 8192, true);
        assert_int_equal(fs_sync_dir(fs, "/", NULL), ERR_OK);
        write_file(fs, "/f", 'b', 4096, false);
        fs_sim_power_loss(fs);
        uint8_t *data;
        size_t len;
        assert_int_equal(fs_read_all(fs, "/f", 1 << 20, &data, &len, NULL), ERR_OK);
        assert_int_equal(len, 8192);
        unsigned changed = 0;
        for (size_t s = 0; s < len / FS_SECTOR; s++) {
            uint8_t first = data[s * FS_SECTOR];
            for (size_t i = 0; i < FS_SECTOR; i++)
                assert_int_equal(data[s * FS_SECTOR + i], first);
            assert_true(first == 'a' || (first == 'b' && s < 8));
            changed += first == 'b';
        }
        kept += changed == 8;
        dropped += changed == 0;
        mixed += changed > 0 && changed < 8;
        free(data);
        fs_destroy(fs);
    }
    assert_true(kept > 20 && dropped > 20 && mixed > 20);
}

static void test_power_loss_names(void **state)
{
    unsigned old_seen = 0;
    unsigned new_seen = 0;
    unsigned lost = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct fs_sim_config config = {.seed = seed};
        struct fs *fs = fs_sim_create(&config);
        write_file(fs, "/f", 'a', 100, true);
        assert_int_equal(fs_sync_dir(fs, "/", NULL), ERR_OK);
        write_file(fs, "/g", 'b', 100, true);
        assert_int_equal(fs_rename(fs, "/g", "/f", NULL), ERR_OK);
        fs_sim_power_loss(fs);
        uint8_t *data;
        size_t len;
        assert_int_equal(fs_read_all(fs, "/f", 1 << 20, &data, &len, NULL), ERR_OK);
        assert_int_equal(len, 100);
        assert_true(data[0] == 'a' || data[0] == 'b');
        assert_true(data[0] != 'b' || !fs_exists(fs, "/g"));
        old_seen += data[0] == 'a';
        new_seen += data[0] == 'b';
        lost += data[0] == 'a' && !fs_exists(fs, "/g");
        free(data);
        fs_destroy(fs);
    }
    assert_true(old_seen > 20 && new_seen > 20 && lost > 20);
}

/* Whatever moment the power fails at, an atomic write leaves one of the contents, and the new one
 * once it has returned. */
static void test_power_loss_atomic_write(void **state)
{
    for (uint64_t point = 0; point < 12; point++) {
        for (uint64_t seed = 1; seed <= 40; seed++) {
            struct fs_sim_config config = {.seed = seed, .short_odds = 2, .tear_sectors = true};
            struct fs *fs = fs_sim_create(&config);
            assert_int_equal(fs_write_atomic(fs, "/f", SLICE_LIT("old"), NULL), ERR_OK);
            fs_sim_freeze_after(fs, point);
            enum err err = fs_write_atomic(fs, "/f", SLICE_LIT("new"), NULL);
            assert_true(err == ERR_OK || fs_sim_frozen(fs));
            fs_sim_power_loss(fs);
            uint8_t *data;
            size_t len;
            assert_int_equal(fs_read_all(fs, "/f", 100, &data, &len, NULL), ERR_OK);
            if (err == ERR_OK)
                assert_string_equal((char *)data, "new");
            else
                assert_true(strcmp((char *)data, "old") == 0 || strcmp((char *)data, "new") == 0);
            free(data);
            fs_destroy(fs);
        }
    }
}

static void test_process_loss(void **state)
{
    struct fs_sim_config config = {.seed = 3};
    struct fs *fs = fs_sim_create(&config);
    struct fs_file *lock;
    assert_int_equal(fs_lock(fs, "/lock", &lock, NULL), ERR_OK);
    write_file(fs, "/f", 'a', 100, false);
    fs_sim_process_loss(fs);
    uint64_t size;
    assert_int_equal(fs_size(lock, &size, NULL), ERR_DISK_IO);
    fs_close(lock);
    struct fs_stat stat;
    assert_int_equal(fs_stat(fs, "/f", &stat, NULL), ERR_OK);
    assert_int_equal(stat.size, 100);
    assert_int_equal(fs_lock(fs, "/lock", &lock, NULL), ERR_OK);
    fs_close(lock);
    fs_destroy(fs);
}

static void test_disk_full(void **state)
{
    struct fs_sim_config config = {.seed = 3, .capacity = 10000};
    struct fs *fs = fs_sim_create(&config);
    struct fs_file *file;
    assert_int_equal(fs_open(fs, "/f", FS_WRITE | FS_CREATE, &file, NULL), ERR_OK);
    assert_int_equal(fs_zero(file, 0, 8000, NULL), ERR_OK);
    assert_int_equal(fs_zero(file, 8000, 8000, NULL), ERR_DISK_FULL);
    assert_int_equal(fs_zero(file, 0, 8000, NULL), ERR_OK);
    assert_int_equal(fs_truncate(file, 0, NULL), ERR_OK);
    assert_int_equal(fs_zero(file, 0, 9000, NULL), ERR_OK);
    fs_close(file);
    fs_destroy(fs);
}

/* What was removed is room again at once, and a write that found none moves nothing. */
static void test_disk_room(void **state)
{
    struct fs_sim_config config = {.seed = 3, .capacity = 10000};
    struct fs *fs = fs_sim_create(&config);
    for (int round = 0; round < 5; round++) {
        write_file(fs, "/f", 'a', 8000, true);
        assert_int_equal(fs_unlink(fs, "/f", NULL), ERR_OK);
        assert_int_equal(fs_sync_dir(fs, "/", NULL), ERR_OK);
    }
    struct fs_file *file;
    assert_int_equal(fs_open(fs, "/g", FS_WRITE | FS_CREATE, &file, NULL), ERR_OK);
    assert_int_equal(fs_pwrite(file, "x", 1, 20000, NULL), ERR_DISK_FULL);
    uint64_t size;
    assert_int_equal(fs_size(file, &size, NULL), ERR_OK);
    assert_int_equal(size, 0);
    assert_int_equal(fs_pwrite(file, "xyz", 3, UINT64_MAX - 1, NULL), ERR_DISK_FULL);
    assert_int_equal(fs_size(file, &size, NULL), ERR_OK);
    assert_int_equal(size, 0);
    fs_close(file);
    fs_destroy(fs);
}

/* A folder that cannot be looked at is not an absent one. */
static void test_remove_tree_error(void **state)
{
    struct fs_sim_config config = {.seed = 3};
    struct fs *fs = fs_sim_create(&config);
    assert_int_equal(fs_mkdir(fs, "/d", NULL), ERR_OK);
    fs_sim_freeze_after(fs, 0);
    struct err_info info;
    assert_int_equal(fs_remove_tree(fs, "/d", &info), ERR_DISK_IO);
    assert_non_null(strstr(info.text, "/d"));
    fs_sim_process_loss(fs);
    assert_true(fs_exists(fs, "/d"));
    fs_destroy(fs);
}

/* A failed sync forgets: a second sync that succeeds makes nothing durable. */
static void test_failed_sync_forgets(void **state)
{
    bool lost = false;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fs_sim_config config = {.seed = seed};
        struct fs *fs = fs_sim_create(&config);
        write_file(fs, "/f", 'a', 4096, true);
        assert_int_equal(fs_sync_dir(fs, "/", NULL), ERR_OK);
        struct fs_file *file;
        assert_int_equal(fs_open(fs, "/f", FS_WRITE, &file, NULL), ERR_OK);
        uint8_t data[4096];
        memset(data, 'b', sizeof(data));
        assert_int_equal(fs_pwrite(file, data, sizeof(data), 0, NULL), ERR_OK);
        config.sync_eio_odds = 1;
        fs_sim_config_set(fs, &config);
        assert_int_equal(fs_sync(file, NULL), ERR_DISK_IO);
        config.sync_eio_odds = 0;
        fs_sim_config_set(fs, &config);
        assert_int_equal(fs_sync(file, NULL), ERR_OK);
        fs_close(file);
        fs_sim_power_loss(fs);
        uint8_t *back;
        size_t len;
        assert_int_equal(fs_read_all(fs, "/f", 1 << 20, &back, &len, NULL), ERR_OK);
        lost |= memchr(back, 'a', len) != NULL;
        free(back);
        fs_destroy(fs);
    }
    assert_true(lost);
}

/* What a failed sync forgot becomes durable by writing it again. */
static void test_reseal(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fs_sim_config config = {.seed = seed, .sync_eio_odds = 1};
        struct fs *fs = fs_sim_create(&config);
        struct fs_file *file;
        assert_int_equal(fs_reseal(fs, "/f", 0, NULL), ERR_OK);
        assert_int_equal(fs_open(fs, "/f", FS_WRITE | FS_CREATE, &file, NULL), ERR_OK);
        uint8_t data[10000];
        memset(data, 'b', sizeof(data));
        assert_int_equal(fs_pwrite(file, data, sizeof(data), 0, NULL), ERR_OK);
        assert_int_equal(fs_sync(file, NULL), ERR_DISK_IO);
        fs_close(file);
        config.sync_eio_odds = 0;
        fs_sim_config_set(fs, &config);
        assert_int_equal(fs_sync_dir(fs, "/", NULL), ERR_OK);
        fs_sim_process_loss(fs);
        assert_int_equal(fs_reseal(fs, "/f", 0, NULL), ERR_OK);
        fs_sim_power_loss(fs);
        uint8_t *back;
        size_t len;
        assert_int_equal(fs_read_all(fs, "/f", 1 << 20, &back, &len, NULL), ERR_OK);
        assert_int_equal(len, sizeof(data));
        assert_memory_equal(back, data, len);
        free(back);
        fs_destroy(fs);
    }
}

static void test_bit_flip(void **state)
{
    struct fs_sim_config config = {.seed = 3};
    struct fs *fs = fs_sim_create(&config);
    write_file(fs, "/f", 0, 10, true);
    assert_int_equal(fs_sim_bit_flip(fs, "/f", 17, NULL), ERR_OK);
    assert_int_equal(fs_sim_bit_flip(fs, "/f", 80, NULL), ERR_NOT_FOUND);
    uint8_t *data;
    size_t len;
    assert_int_equal(fs_read_all(fs, "/f", 100, &data, &len, NULL), ERR_OK);
    assert_int_equal(data[2], 2);
    free(data);
    fs_destroy(fs);
}

#define BOTH(test)                                                                                 \
    {#test " on POSIX", test, setup_posix, teardown, NULL},                                        \
    {                                                                                              \
#test " on the simulated disk", test, setup_sim, teardown, NULL                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_read_write),
        BOTH(test_large_write),
        {"test_reserve on POSIX", test_reserve, setup_posix, teardown, NULL},
        BOTH(test_open_flags),
        BOTH(test_lock),
        BOTH(test_names),
        BOTH(test_whole_files),
        BOTH(test_fault_loop),
        BOTH(test_fault_spec),
        cmocka_unit_test(test_power_loss_sectors),
        cmocka_unit_test(test_power_loss_names),
        cmocka_unit_test(test_power_loss_atomic_write),
        cmocka_unit_test(test_process_loss),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_disk_room),
        cmocka_unit_test(test_remove_tree_error),
        cmocka_unit_test(test_failed_sync_forgets),
        cmocka_unit_test(test_reseal),
        cmocka_unit_test(test_bit_flip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
