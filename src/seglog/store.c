/*
 * The store: what all shards share of the logs.
 *
 * Role: knows the folders, counts the starts, and keeps the index of the journals that the last
 * runs left until every log has taken its part.
 *
 *   <root>/generation               the count of starts, decimal, replaced atomically before
 * anything is served <root>/topics/<topic>-<n>/      one folder per log <root>/journal/ journals,
 * see journal.c
 *
 * Invariants: (1) the generation rises with every start, so epochs and journal names never repeat;
 * (2) a journal of an earlier generation is removed only after every log that it holds something of
 * opened and synced what it took.
 *
 * Ownership: made and closed by the boot thread; read-only in between but for the marks of journals
 * that are still needed: those of a log are set by the shard that opens it.
 *
 * Failure modes: without a readable generation file the start fails, since a repeated epoch would
 * mislead clients; a missing one is a new store.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "base/numtext.h"
#include "seglog/commit_int.h"

bool grow(void **array, uint32_t *cap, uint32_t used, uint32_t count, size_t size)
{
    ASSERT(used <= *cap && size > 0);
    if (count <= *cap - used)
        return true;
    uint64_t wanted = (uint64_t)used + count;
    uint64_t next = *cap ? (uint64_t)*cap * 2 : 16;
    while (next < wanted)
        next *= 2;
    if (next > UINT32_MAX / 2 || next > SIZE_MAX / size)
        return false;
    void *grown = realloc(*array, next * size);
    if (!grown)
        return false;
    *array = grown;
    *cap = (uint32_t)next;
    ASSERT(*cap - used >= count);
    return true;
}

static char *path_make(const char *root, const char *name)
{
    char path[SEGLOG_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", root, name);
    return n > 0 && (size_t)n < sizeof(path) ? strdup(path) : NULL;
}

/* Reads the count of starts and stores one more. */
static enum err generation_step(struct seglog_store *store, struct err_info *info)
{
    char path[SEGLOG_PATH_MAX];
    int len_path = snprintf(path, sizeof(path), "%s/generation", store->root);
    if (len_path < 0 || (size_t)len_path >= sizeof(path))
        return err_info_set(info, ERR_INVALID_ARGUMENT, "path of the data folder is too long");
    int64_t value = 0;
    uint8_t *data = NULL;
    size_t len = 0;
    enum err err = fs_read_all(store->fs, path, 64, &data, &len, info);
    if (err && err != ERR_NOT_FOUND)
        return err; /* whether or not one is there: a count that starts over would repeat epochs */
    if (!err) {
        bool good = numtext_read_int64(slice_trim(slice_make(data, len)), &value) && value >= 0 &&
                    value < INT32_MAX;
        free(data);
        if (!good)
            return err_info_set(info, ERR_CORRUPT, "%s does not hold a count", path);
    }
    ASSERT(value >= 0 && value < INT32_MAX);
    store->generation = (uint32_t)value;
    char text[32];
    int n = snprintf(text, sizeof(text), "%" PRId64 "\n", value + 1);
    ASSERT(n > 0 && (size_t)n < sizeof(text));
    return fs_write_atomic(store->fs, path, slice_make(text, (size_t)n), info);
}

/* Makes the root folder's own entry durable; a parent that may not be opened is somebody else's care. */
static enum err root_sync(struct fs *fs, const char *root, struct err_info *info)
{
    char parent[SEGLOG_PATH_MAX];
    size_t len = strlen(root);
    while (len > 1 && root[len - 1] == '/')
        len--;
    while (len > 0 && root[len - 1] != '/')
        len--;
    while (len > 1 && root[len - 1] == '/')
        len--;
    if (len >= sizeof(parent))
        return err_info_set(info, ERR_INVALID_ARGUMENT, "path of the data folder is too long");
    memcpy(parent, root, len);
    parent[len] = 0;
    enum err err = fs_sync_dir(fs, len > 0 ? parent : ".", info);
    return err == ERR_DISK_IO ? err : ERR_OK;
}

enum err seglog_store_open(struct fs *fs, const char *root, struct seglog_store **ret_store,
                           struct err_info *info)
{
    ASSERT(fs && root && ret_store);
    struct seglog_store *store = calloc(1, sizeof(*store));
    if (!store)
        return err_info_set(info, ERR_NO_MEMORY, "store");
    store->fs = fs;
    store->root = strdup(root);
    store->folder = path_make(root, "topics");
    store->journal_dir = path_make(root, "journal");
    enum err err = ERR_OK;
    if (!store->root || !store->folder || !store->journal_dir)
        err = err_info_set(info, ERR_INVALID_ARGUMENT, "path of the data folder is too long");
    if (!err)
        err = fs_mkdir_all(fs, store->folder, info);
    if (!err)
        err = fs_mkdir_all(fs, store->journal_dir, info);
    if (!err)
        err = fs_sync_dir(fs, root, info);
    if (!err)
        err = root_sync(fs, root, info);
    if (!err)
        err = generation_step(store, info);
    if (!err)
        err = journal_load(store, info);
    if (err) {
        seglog_store_close(store);
        return err;
    }
    *ret_store = store;
    return ERR_OK;
}

/* Which journal files a log that did not open still needs. NULL: out of memory. */
static bool *journals_needed(const struct seglog_store *store)
{
    bool *needed = calloc(store->journal_path_count + 1, sizeof(*needed));
    for (uint32_t i = 0; needed && i < store->ref_count; i++) {
        ASSERT(store->refs[i].file < store->journal_path_count);
        if (store->refs[i].needed)
            needed[store->refs[i].file] = true;
    }
    return needed;
}

void seglog_store_recovered(struct seglog_store *store)
{
    ASSERT(store->journal_path_count == 0 || store->journal_paths);
    bool *needed = journals_needed(store);
    uint32_t removed = 0;
    for (uint32_t i = 0; needed && i < store->journal_path_count; i++) {
        struct err_info info;
        if (needed[i])
            diag(DIAG_WARN, "seglog", "journal=%s kept=yes reason=\"a log did not open\"",
                 store->journal_paths[i]);
        else if (fs_unlink(store->fs, store->journal_paths[i], &info) != ERR_OK)
            diag(DIAG_WARN, "seglog", "journal=%s error=\"%s\"", store->journal_paths[i],
                 info.text);
        removed += !needed[i];
    }
    free(needed);
    if (removed > 0 && fs_sync_dir(store->fs, store->journal_dir, NULL) != ERR_OK)
        diag(DIAG_WARN, "seglog", "folder=%s error=\"not synced\"", store->journal_dir);
}

void seglog_store_close(struct seglog_store *store)
{
    if (!store)
        return;
    for (uint32_t i = 0; i < store->journal_path_count; i++)
        free(store->journal_paths[i]);
    free(store->journal_paths);
    free(store->refs);
    free(store->journal_dir);
    free(store->folder);
    free(store->root);
    free(store);
}

struct leader_epoch seglog_store_epoch(const struct seglog_store *store)
{
    ASSERT(store->generation < INT32_MAX);
    return leader_epoch((int32_t)store->generation);
}

const char *seglog_store_folder(const struct seglog_store *store)
{
    return store->folder;
}
