/*
 * Role: a disk that behaves as badly as a disk may, repeatably.
 *
 *     node (file)   pages[] of 4 KiB: now | durable | dirty bit per sector; size now and durable
 *     node (dir)    entries[]: name -> node now, node durable
 *     changes[]     of names, not yet durable, in order; a rename is one group of two
 *
 * Invariants
 * (1) A page that is absent is all zeros, now and durable.
 * (2) A sector whose dirty bit is clear may differ from its durable content only after a failed
 *     sync forgot it.
 * (3) Applying all of changes to the durable entries gives the current entries.
 * (4) A handle works only in the generation that opened it; each loss begins a new one.
 * (5) All chance comes from the seed.
 *
 * Ownership and shard: one thread. Nodes live until a sweep finds them out of reach of entries,
 * changes and handles.
 *
 * Failure modes: those it is made for, each by its odds; out of memory is ENOMEM.
 */
#include "io/fs_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "io/fs_int.h"

#define SIM_PAGE 4096u
#define SIM_SECTORS (SIM_PAGE / FS_SECTOR)
#define SIM_FILE_MAX ((uint64_t)1 << 32)
#define SIM_NAME_MAX 255
#define SIM_SWEEP_EVERY 256

struct sim_page {
    uint8_t now[SIM_PAGE];
    uint8_t durable[SIM_PAGE];
    uint8_t dirty; /* bit per sector */
};

_Static_assert(SIM_SECTORS == 8, "the dirty bits of a page fill a byte");

struct sim_entry {
    char *name;
    struct sim_node *now;
    struct sim_node *durable;
};

struct sim_node {
    struct sim_node *next; /* all nodes of the disk */
    bool is_dir;
    bool marked;
    bool locked;
    unsigned handles;
    int64_t mtime_ms;
    /* file */
    struct sim_page **pages;
    size_t page_cap;
    uint64_t size_now;
    uint64_t size_durable;
    /* directory */
    struct sim_entry *entries;
    size_t entry_count;
    size_t entry_cap;
};

/* Directory `dir` says from now on that `name` is `node` (NULL: nothing). */
struct sim_change {
    uint64_t group;
    struct sim_node *dir;
    char name[SIM_NAME_MAX + 1];
    struct sim_node *node;
};

struct sim_disk {
    struct fs base;
    struct fs_sim_config config;
    struct random random;
    const int64_t *wall_ms;
    struct sim_node *nodes;
    struct sim_node *root;
    struct sim_change *changes;
    size_t change_count;
    size_t change_cap;
    uint64_t group;
    uint64_t generation;
    uint64_t calls;
    uint64_t freeze_at; /* UINT64_MAX: never */
    uint64_t bytes_used;
    unsigned sweep_in;
};

struct sim_file {
    struct fs_file base;
    struct sim_disk *disk;
    struct sim_node *node;
    uint64_t generation;
    unsigned flags;
    bool holds_lock;
};

static const struct fs_ops sim_ops;

static struct sim_disk *disk_of(struct fs *fs)
{
    ASSERT(fs->ops == &sim_ops);
    return (struct sim_disk *)fs;
}

/* ---- nodes ---- */

static struct sim_node *node_create(struct sim_disk *disk, bool is_dir)
{
    struct sim_node *node = calloc(1, sizeof(*node));
    if (!node)
        return NULL;
    node->is_dir = is_dir;
    node->mtime_ms = disk->wall_ms ? *disk->wall_ms : 0;
    node->next = disk->nodes;
    disk->nodes = node;
    return node;
}

static void node_free(struct sim_node *node)
{
    ASSERT(node->handles == 0 || !node->is_dir);
    for (size_t i = 0; i < node->page_cap; i++)
        free(node->pages[i]);
    for (size_t i = 0; i < node->entry_count; i++)
        free(node->entries[i].name);
    free(node->pages);
    free(node->entries);
    free(node);
}

static struct sim_entry *entry_find(struct sim_node *dir, const char *name)
{
    ASSERT(dir->is_dir);
    for (size_t i = 0; i < dir->entry_count; i++) {
        if (strcmp(dir->entries[i].name, name) == 0)
            return &dir->entries[i];
    }
    return NULL;
}

/* The entry of a name, made empty when absent. NULL: out of memory. */
static struct sim_entry *entry_get(struct sim_node *dir, const char *name)
{
    ASSERT(name[0]);
    struct sim_entry *entry = entry_find(dir, name);
    if (entry)
        return entry;
    ASSERT(dir->entry_count <= dir->entry_cap);
    if (dir->entry_count == dir->entry_cap) {
        size_t cap = dir->entry_cap ? dir->entry_cap * 2 : 8;
        struct sim_entry *entries = realloc(dir->entries, cap * sizeof(*entries));
        if (!entries)
            return NULL;
        dir->entries = entries;
        dir->entry_cap = cap;
    }
    char *copy = strdup(name);
    if (!copy)
        return NULL;
    entry = &dir->entries[dir->entry_count++];
    *entry = (struct sim_entry){.name = copy};
    return entry;
}

/* Forgets entries that name nothing, now or durably. */
static void entries_tidy(struct sim_node *dir)
{
    ASSERT(dir->is_dir);
    size_t kept = 0;
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct sim_entry entry = dir->entries[i];
        if (entry.now || entry.durable)
            dir->entries[kept++] = entry;
        else
            free(entry.name);
    }
    dir->entry_count = kept;
}

static bool dir_is_empty(const struct sim_node *dir)
{
    ASSERT(dir->is_dir);
    for (size_t i = 0; i < dir->entry_count; i++) {
        if (dir->entries[i].now)
            return false;
    }
    return true;
}

/* ---- sweep: frees nodes nobody can reach ---- */

/* Marks everything reachable, level by level: no recursion, since the marked set only grows. */
static void disk_mark(struct sim_disk *disk)
{
    ASSERT(disk->root->is_dir);
    for (struct sim_node *node = disk->nodes; node; node = node->next)
        node->marked = node->handles > 0;
    disk->root->marked = true;
    for (size_t i = 0; i < disk->change_count; i++) {
        disk->changes[i].dir->marked = true;
        if (disk->changes[i].node)
            disk->changes[i].node->marked = true;
    }
    bool grew = true;
    while (grew) {
        grew = false;
        for (struct sim_node *node = disk->nodes; node; node = node->next) {
            for (size_t i = 0; node->marked && i < node->entry_count; i++) {
                struct sim_node *child[2] = {node->entries[i].now, node->entries[i].durable};
                for (int k = 0; k < 2; k++) {
                    if (child[k] && !child[k]->marked)
                        child[k]->marked = grew = true;
                }
            }
        }
    }
}

/*
 * Nodes are counted by no one: entries, changes that are not durable and handles may each keep one
 * alive. Sweeping now and then is simpler than counting, and leaves nothing to get wrong.
 */
static void disk_sweep(struct sim_disk *disk)
{
    ASSERT(disk->root);
    disk_mark(disk);
    disk->sweep_in = SIM_SWEEP_EVERY;
    disk->bytes_used = 0;
    struct sim_node **link = &disk->nodes;
    while (*link) {
        struct sim_node *node = *link;
        if (node->marked) {
            disk->bytes_used += node->size_now;
            link = &node->next;
        } else {
            *link = node->next;
            node_free(node);
        }
    }
}

/* ---- namespace changes ---- */

/*
 * The change is remembered and the current entry set at once: calls see their own effects, the medium
 * does not yet.
 */
static int change_add(struct sim_disk *disk, struct sim_node *dir, const char *name,
                      struct sim_node *node)
{
    ASSERT(name[0] && strlen(name) <= SIM_NAME_MAX);
    ASSERT(dir->is_dir);
    if (disk->change_count == disk->change_cap) {
        size_t cap = disk->change_cap ? disk->change_cap * 2 : 64;
        struct sim_change *changes = realloc(disk->changes, cap * sizeof(*changes));
        if (!changes)
            return ENOMEM;
        disk->changes = changes;
        disk->change_cap = cap;
    }
    struct sim_entry *entry = entry_get(dir, name);
    if (!entry)
        return ENOMEM;
    entry->now = node;
    struct sim_change *change = &disk->changes[disk->change_count++];
    change->group = disk->group;
    change->dir = dir;
    change->node = node;
    memcpy(change->name, name, strlen(name) + 1);
    return 0;
}

static int change_one(struct sim_disk *disk, struct sim_node *dir, const char *name,
                      struct sim_node *node)
{
    disk->group++;
    if (disk->sweep_in == 0)
        disk_sweep(disk);
    else
        disk->sweep_in--;
    return change_add(disk, dir, name, node);
}

/* The entry exists: change_add made it, and it names something until now and durable are both
 * nothing. */
static void change_apply(const struct sim_change *change)
{
    ASSERT(change->dir->is_dir);
    struct sim_entry *entry = entry_get(change->dir, change->name);
    if (entry)
        entry->durable = change->node;
}

static bool group_touches(const struct sim_disk *disk, uint64_t group, const struct sim_node *dir)
{
    for (size_t i = 0; i < disk->change_count; i++) {
        if (disk->changes[i].group == group && disk->changes[i].dir == dir)
            return true;
    }
    return false;
}

/*
 * A later change of the same name is about to become durable: the older one must not come back after
 * it.
 */
static bool change_superseded(const struct sim_disk *disk, size_t index, const struct sim_node *dir)
{
    ASSERT(index < disk->change_count);
    const struct sim_change *change = &disk->changes[index];
    for (size_t i = index + 1; i < disk->change_count; i++) {
        const struct sim_change *later = &disk->changes[i];
        if (later->dir == change->dir && strcmp(later->name, change->name) == 0 &&
            group_touches(disk, later->group, dir))
            return true;
    }
    return false;
}

/* Makes all changes in dir durable, with the other half of renames, and drops older changes of the
 * same names. */
static int changes_commit(struct sim_disk *disk, struct sim_node *dir)
{
    bool *done = calloc(disk->change_count + 1, sizeof(*done));
    if (!done)
        return ENOMEM;
    for (size_t i = 0; i < disk->change_count; i++) {
        bool mine = group_touches(disk, disk->changes[i].group, dir);
        done[i] = mine || change_superseded(disk, i, dir);
        if (mine)
            change_apply(&disk->changes[i]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        if (!done[i])
            disk->changes[kept++] = disk->changes[i];
    }
    ASSERT(kept <= disk->change_count);
    disk->change_count = kept;
    free(done);
    entries_tidy(dir);
    return 0;
}

/* ---- paths ---- */

/* Finds the directory of the last component and copies that component to name; empty for the root.
 */
static int path_parent(struct sim_disk *disk, const char *path, struct sim_node **ret_dir,
                       char *name)
{
    struct sim_node *dir = disk->root;
    name[0] = 0;
    while (*path) {
        size_t len = strcspn(path, "/");
        if (len > SIM_NAME_MAX)
            return ENAMETOOLONG;
        bool skip = len == 0 || (len == 1 && path[0] == '.');
        if (!skip && name[0]) {
            struct sim_entry *entry = entry_find(dir, name);
            if (!entry || !entry->now)
                return ENOENT;
            if (!entry->now->is_dir)
                return ENOTDIR;
            dir = entry->now;
        }
        if (!skip) {
            memcpy(name, path, len);
            name[len] = 0;
        }
        path += len + (path[len] == '/');
    }
    ASSERT(dir->is_dir && strlen(name) <= SIM_NAME_MAX);
    *ret_dir = dir;
    return 0;
}

static int path_find(struct sim_disk *disk, const char *path, struct sim_node **ret_node)
{
    char name[SIM_NAME_MAX + 1];
    struct sim_node *dir;
    int rc = path_parent(disk, path, &dir, name);
    if (rc != 0)
        return rc;
    struct sim_entry *entry = name[0] ? entry_find(dir, name) : NULL;
    if (name[0] && (!entry || !entry->now))
        return ENOENT;
    *ret_node = name[0] ? entry->now : dir;
    return 0;
}

/* Counts a changing call. 0, or EIO when the disk is frozen. */
static int disk_change(struct sim_disk *disk)
{
    if (disk->calls >= disk->freeze_at)
        return EIO;
    ASSERT(disk->calls < UINT64_MAX);
    disk->calls++;
    return 0;
}

static bool disk_frozen(const struct sim_disk *disk)
{
    return disk->calls >= disk->freeze_at;
}

static void node_touch(struct sim_disk *disk, struct sim_node *node)
{
    if (disk->wall_ms)
        node->mtime_ms = *disk->wall_ms;
}

/* ---- open files ---- */

static struct sim_file *file_of(struct fs_file *file)
{
    ASSERT(file->fs->ops == &sim_ops);
    return (struct sim_file *)file;
}

/* 0, or EIO for a handle of an earlier life. */
static int file_check(const struct sim_file *file)
{
    if (file->generation != file->disk->generation || disk_frozen(file->disk))
        return EIO;
    ASSERT(!file->node->is_dir);
    return 0;
}

/* The page of a file position. NULL: absent, and not made (make false) or out of memory. */
static struct sim_page *node_page(struct sim_node *node, uint64_t index, bool make)
{
    if (index >= node->page_cap) {
        if (!make)
            return NULL;
        size_t cap = node->page_cap ? node->page_cap : 16;
        while (cap <= index)
            cap *= 2;
        struct sim_page **pages = realloc(node->pages, cap * sizeof(struct sim_page *));
        if (!pages)
            return NULL;
        memset(pages + node->page_cap, 0, (cap - node->page_cap) * sizeof(struct sim_page *));
        node->pages = pages;
        node->page_cap = cap;
    }
    ASSERT(index < node->page_cap);
    if (!node->pages[index] && make)
        node->pages[index] = calloc(1, sizeof(struct sim_page));
    return node->pages[index];
}

static void page_dirty(struct sim_page *page, size_t from, size_t len)
{
    ASSERT(len > 0 && from + len <= SIM_PAGE);
    for (size_t sector = from / FS_SECTOR; sector <= (from + len - 1) / FS_SECTOR; sector++)
        page->dirty |= (uint8_t)(1u << sector);
}

static bool bytes_are_zero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i])
            return false;
    }
    return true;
}

/*
 * Zeros over an absent page stay absent: files are written ahead with zeros, which would fill the
 * memory of the test machine, and invariant (1) makes both the same.
 */
static int node_put(struct sim_node *node, uint64_t pos, const uint8_t *data, size_t len)
{
    ASSERT(!node->is_dir);
    ASSERT(pos <= SIM_FILE_MAX - len);
    while (len > 0) {
        size_t at = (size_t)(pos % SIM_PAGE);
        size_t part = SIM_PAGE - at < len ? SIM_PAGE - at : len;
        struct sim_page *page = node_page(node, pos / SIM_PAGE, false);
        if (page || !bytes_are_zero(data, part)) {
            page = node_page(node, pos / SIM_PAGE, true);
            if (!page)
                return ENOMEM;
            memcpy(page->now + at, data, part);
            page_dirty(page, at, part);
        }
        pos += part;
        data += part;
        len -= part;
    }
    return 0;
}

/* Zeros what lies behind the end, so that a later growth shows zeros. */
static void node_cut(struct sim_node *node, uint64_t size)
{
    ASSERT(!node->is_dir);
    for (uint64_t index = size / SIM_PAGE; index < node->page_cap; index++) {
        struct sim_page *page = node->pages[index];
        if (!page)
            continue;
        size_t at = index == size / SIM_PAGE ? (size_t)(size % SIM_PAGE) : 0;
        memset(page->now + at, 0, SIM_PAGE - at);
        page_dirty(page, at, SIM_PAGE - at);
    }
}

static void node_size_set(struct sim_disk *disk, struct sim_node *node, uint64_t size)
{
    ASSERT(!node->is_dir && size <= SIM_FILE_MAX);
    ASSERT(disk->bytes_used >= node->size_now);
    disk->bytes_used = disk->bytes_used - node->size_now + size;
    node->size_now = size;
}

/* Makes the node at the end of path, or finds it, as the flags say. */
static int open_node(struct sim_disk *disk, const char *path, unsigned flags,
                     struct sim_node **ret_node)
{
    char name[SIM_NAME_MAX + 1];
    struct sim_node *dir;
    int rc = path_parent(disk, path, &dir, name);
    if (rc != 0)
        return rc;
    if (!name[0])
        return EISDIR;
    struct sim_entry *entry = entry_find(dir, name);
    if (entry && entry->now) {
        if ((flags & (FS_CREATE | FS_EXCLUSIVE)) == (FS_CREATE | FS_EXCLUSIVE))
            return EEXIST;
        *ret_node = entry->now;
        return entry->now->is_dir ? EISDIR : 0;
    }
    if (!(flags & FS_CREATE))
        return ENOENT;
    rc = disk_change(disk);
    if (rc != 0)
        return rc;
    ASSERT(!entry || !entry->now);
    *ret_node = node_create(disk, false);
    if (!*ret_node)
        return ENOMEM;
    (*ret_node)->handles++; /* the sweep must not take it before it has its entry */
    rc = change_one(disk, dir, name, *ret_node);
    (*ret_node)->handles--;
    return rc;
}

/* Truncation here is as volatile as any other: until a sync the old content may return. */
static int sim_open(struct fs *fs, const char *path, unsigned flags, struct fs_file **ret_file)
{
    struct sim_disk *disk = disk_of(fs);
    if (disk_frozen(disk))
        return EIO;
    struct sim_node *node;
    int rc = open_node(disk, path, flags, &node);
    if (rc != 0)
        return rc;
    if ((flags & FS_TRUNCATE) && node->size_now > 0) {
        rc = disk_change(disk);
        if (rc != 0)
            return rc;
        node_cut(node, 0);
        node_size_set(disk, node, 0);
    }
    struct sim_file *file = calloc(1, sizeof(*file));
    if (!file)
        return ENOMEM;
    file->disk = disk;
    file->node = node;
    file->flags = flags;
    file->generation = disk->generation;
    node->handles++;
    *ret_file = &file->base;
    return 0;
}

/* A lock is not a change of the disk: it falls with the process and does not count towards a freeze. */
static int sim_lock(struct fs_file *base)
{
    struct sim_file *file = file_of(base);
    int rc = file_check(file);
    if (rc != 0)
        return rc;
    ASSERT(!file->holds_lock);
    if (file->node->locked)
        return EWOULDBLOCK;
    file->node->locked = file->holds_lock = true;
    return 0;
}

/* A handle of an earlier life is only memory: its node's counts were reset by the loss. */
static void sim_close(struct fs_file *base)
{
    struct sim_file *file = file_of(base);
    if (file->generation == file->disk->generation) {
        ASSERT(file->node->handles > 0);
        file->node->handles--;
        ASSERT(!file->holds_lock || file->node->locked);
        if (file->holds_lock)
            file->node->locked = false;
    }
    free(file);
}

static size_t disk_shorten(struct sim_disk *disk, size_t len)
{
    /* At least one byte: a transfer of none means the end of a file or a full disk. */
    if (len > 1 && random_one_in(&disk->random, disk->config.short_odds))
        return 1 + (size_t)random_below(&disk->random, len - 1);
    return len;
}

static int sim_pread(struct fs_file *base, void *data, size_t len, uint64_t pos, size_t *ret_len)
{
    struct sim_file *file = file_of(base);
    int rc = file_check(file);
    if (rc != 0)
        return rc;
    if (!(file->flags & FS_READ))
        return EBADF;
    if (random_one_in(&file->disk->random, file->disk->config.read_eio_odds))
        return EIO;
    uint64_t size = file->node->size_now;
    uint64_t left = pos < size ? size - pos : 0;
    len = disk_shorten(file->disk, left < len ? (size_t)left : len);
    *ret_len = len;
    uint8_t *to = data;
    while (len > 0) {
        size_t at = (size_t)(pos % SIM_PAGE);
        size_t part = SIM_PAGE - at < len ? SIM_PAGE - at : len;
        const struct sim_page *page = node_page(file->node, pos / SIM_PAGE, false);
        if (page)
            memcpy(to, page->now + at, part);
        else
            memset(to, 0, part);
        pos += part;
        to += part;
        len -= part;
    }
    return 0;
}

/* How large the file may become. Removed files count until a sweep found them. */
static uint64_t disk_most(struct sim_disk *disk, const struct sim_node *node, uint64_t wanted)
{
    for (int attempt = 0;; attempt++) {
        ASSERT(disk->bytes_used >= node->size_now);
        uint64_t others = disk->bytes_used - node->size_now;
        uint64_t most = disk->config.capacity > others ? disk->config.capacity - others : 0;
        if (most >= wanted || attempt > 0)
            return most;
        disk_sweep(disk);
    }
}

/* How much of a write of len bytes happens, and with which outcome for the caller. */
static size_t write_fate(struct sim_file *file, uint64_t pos, size_t len, int *ret_rc)
{
    struct sim_disk *disk = file->disk;
    *ret_rc = 0;
    if (random_one_in(&disk->random, disk->config.write_eio_odds))
        *ret_rc = EIO;
    else if (random_one_in(&disk->random, disk->config.write_full_odds))
        *ret_rc = ENOSPC;
    if (*ret_rc != 0)
        return (size_t)random_below(&disk->random, len + 1);
    uint64_t end = pos + len;
    if (disk->config.capacity && end > file->node->size_now) {
        uint64_t most = disk_most(disk, file->node, end);
        if (end > most && most <= pos)
            *ret_rc = ENOSPC;
        if (end > most)
            return most > pos ? (size_t)(most - pos) : 0;
    }
    return disk_shorten(disk, len);
}

/*
 * A write that fails may have moved some leading bytes before: whoever goes on after an error has to
 * live with them.
 */
static int sim_pwritev(struct fs_file *base, const struct iovec *iov, int count, uint64_t pos,
                       size_t *ret_len)
{
    struct sim_file *file = file_of(base);
    int rc = file_check(file);
    if (rc == 0)
        rc = disk_change(file->disk);
    if (rc != 0)
        return rc;
    if (!(file->flags & FS_WRITE))
        return EBADF;
    size_t len = 0;
    for (int i = 0; i < count; i++)
        len += iov[i].iov_len;
    if (len > SIM_FILE_MAX || pos > SIM_FILE_MAX - len)
        return EFBIG;
    int fate;
    size_t left = write_fate(file, pos, len, &fate);
    ASSERT(left <= len);
    *ret_len = left;
    bool grows = left > 0 && pos + left > file->node->size_now;
    for (int i = 0; rc == 0 && i < count && left > 0; i++) {
        size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;
        rc = node_put(file->node, pos, iov[i].iov_base, part);
        pos += part;
        left -= part;
    }
    if (grows && pos > file->node->size_now)
        node_size_set(file->disk, file->node, pos);
    node_touch(file->disk, file->node);
    return rc != 0 ? rc : fate;
}

/*
 * A failed sync, as kernels do it: some dirty sectors reached the disk, none is remembered as dirty.
 * A later sync that succeeds therefore proves nothing about them, and reads still show them.
 */
static void node_sync_failed(struct sim_disk *disk, struct sim_node *node)
{
    ASSERT(!node->is_dir);
    for (size_t i = 0; i < node->page_cap; i++) {
        struct sim_page *page = node->pages[i];
        for (size_t s = 0; page && s < SIM_SECTORS; s++) {
            if ((page->dirty & (1u << s)) && random_one_in(&disk->random, 2))
                memcpy(page->durable + s * FS_SECTOR, page->now + s * FS_SECTOR, FS_SECTOR);
        }
        if (page)
            page->dirty = 0;
    }
}

/*
 * Makes what is dirty now durable. Sectors that an earlier failed sync forgot are not dirty and stay
 * behind: invariant (2).
 */
static int sim_sync(struct fs_file *base)
{
    struct sim_file *file = file_of(base);
    int rc = file_check(file);
    if (rc == 0)
        rc = disk_change(file->disk);
    if (rc != 0)
        return rc;
    struct sim_node *node = file->node;
    if (random_one_in(&file->disk->random, file->disk->config.sync_eio_odds)) {
        node_sync_failed(file->disk, node);
        return EIO;
    }
    for (size_t i = 0; i < node->page_cap; i++) {
        struct sim_page *page = node->pages[i];
        for (size_t s = 0; page && page->dirty && s < SIM_SECTORS; s++) {
            if (page->dirty & (1u << s))
                memcpy(page->durable + s * FS_SECTOR, page->now + s * FS_SECTOR, FS_SECTOR);
        }
        if (page)
            page->dirty = 0;
    }
    node->size_durable = node->size_now;
    ASSERT(node->size_durable <= SIM_FILE_MAX);
    return 0;
}

static int sim_truncate(struct fs_file *base, uint64_t size)
{
    struct sim_file *file = file_of(base);
    int rc = file_check(file);
    if (rc == 0)
        rc = disk_change(file->disk);
    if (rc != 0)
        return rc;
    if (size > SIM_FILE_MAX)
        return EFBIG;
    if (size < file->node->size_now)
        node_cut(file->node, size);
    node_size_set(file->disk, file->node, size);
    node_touch(file->disk, file->node);
    return 0;
}

/* Space is not told apart from bytes here: nothing to set aside. */
static int sim_reserve(struct fs_file *base, uint64_t pos, uint64_t len)
{
    return len > SIM_FILE_MAX - pos ? EFBIG : file_check(file_of(base));
}

static int sim_size(struct fs_file *base, uint64_t *ret_size)
{
    struct sim_file *file = file_of(base);
    int rc = file_check(file);
    if (rc == 0)
        *ret_size = file->node->size_now;
    return rc;
}

/* ---- names ---- */

/* Parent and entry of an existing path. */
static int find_entry(struct sim_disk *disk, const char *path, struct sim_node **ret_dir,
                      char *name, struct sim_node **ret_node)
{
    int rc = path_parent(disk, path, ret_dir, name);
    if (rc != 0)
        return rc;
    if (!name[0])
        return EBUSY;
    ASSERT((*ret_dir)->is_dir);
    struct sim_entry *entry = entry_find(*ret_dir, name);
    *ret_node = entry ? entry->now : NULL;
    return *ret_node ? 0 : ENOENT;
}

/*
 * Both names change in one group, so that a loss never keeps one half: the file is under the old name
 * or the new one, never under both or neither. Errors are those of rename(2).
 */
static int sim_rename(struct fs *fs, const char *from, const char *to)
{
    struct sim_disk *disk = disk_of(fs);
    char from_name[SIM_NAME_MAX + 1];
    char to_name[SIM_NAME_MAX + 1];
    struct sim_node *from_dir;
    struct sim_node *to_dir;
    struct sim_node *node;
    struct sim_node *target;
    int rc = find_entry(disk, from, &from_dir, from_name, &node);
    if (rc != 0)
        return rc;
    rc = find_entry(disk, to, &to_dir, to_name, &target);
    if (rc != 0 && rc != ENOENT)
        return rc;
    if (rc == ENOENT && !to_name[0])
        return ENOENT;
    if (rc == 0 && target->is_dir != node->is_dir)
        return target->is_dir ? EISDIR : ENOTDIR;
    if (rc == 0 && target->is_dir && !dir_is_empty(target))
        return ENOTEMPTY;
    if (rc == 0 && target == node)
        return 0;
    rc = disk_change(disk);
    if (rc == 0)
        rc = change_one(disk, to_dir, to_name, node);
    if (rc == 0)
        rc = change_add(disk, from_dir, from_name, NULL);
    return rc;
}

/* Takes a name away from a file, or from an empty folder. */
static int sim_remove(struct fs *fs, const char *path, bool is_dir)
{
    struct sim_disk *disk = disk_of(fs);
    char name[SIM_NAME_MAX + 1];
    struct sim_node *dir;
    struct sim_node *node;
    int rc = find_entry(disk, path, &dir, name, &node);
    if (rc == 0 && node->is_dir != is_dir)
        rc = is_dir ? ENOTDIR : EISDIR;
    if (rc == 0 && is_dir && !dir_is_empty(node))
        rc = ENOTEMPTY;
    if (rc == 0)
        rc = disk_change(disk);
    return rc == 0 ? change_one(disk, dir, name, NULL) : rc;
}

static int sim_unlink(struct fs *fs, const char *path)
{
    return sim_remove(fs, path, false);
}

static int sim_rmdir(struct fs *fs, const char *path)
{
    return sim_remove(fs, path, true);
}

/* A folder is a change of its parent like a file; its own entries need a sync of its own. */
static int sim_mkdir(struct fs *fs, const char *path)
{
    struct sim_disk *disk = disk_of(fs);
    char name[SIM_NAME_MAX + 1];
    struct sim_node *dir;
    struct sim_node *node;
    int rc = find_entry(disk, path, &dir, name, &node);
    if (rc == 0 || rc == EBUSY)
        return EEXIST;
    if (rc != ENOENT || !name[0])
        return rc;
    struct sim_entry *again = NULL;
    rc = path_parent(disk, path, &dir, name);
    if (rc == 0)
        again = entry_find(dir, name);
    if (rc != 0 || (again && again->now))
        return rc != 0 ? rc : EEXIST;
    rc = disk_change(disk);
    if (rc != 0)
        return rc;
    node = node_create(disk, true);
    if (!node)
        return ENOMEM;
    node->handles++; /* see open_node */
    rc = change_one(disk, dir, name, node);
    node->handles--;
    return rc;
}

static int sim_sync_dir(struct fs *fs, const char *path)
{
    struct sim_disk *disk = disk_of(fs);
    struct sim_node *dir;
    int rc = path_find(disk, path, &dir);
    if (rc == 0 && !dir->is_dir)
        rc = ENOTDIR;
    if (rc == 0)
        rc = disk_change(disk);
    if (rc != 0)
        return rc;
    if (random_one_in(&disk->random, disk->config.sync_eio_odds))
        return EIO;
    return changes_commit(disk, dir);
}

static int sim_stat(struct fs *fs, const char *path, struct fs_stat *ret_stat)
{
    struct sim_disk *disk = disk_of(fs);
    struct sim_node *node;
    int rc = disk_frozen(disk) ? EIO : path_find(disk, path, &node);
    if (rc != 0)
        return rc;
    *ret_stat =
        (struct fs_stat){node->is_dir ? FS_KIND_DIR : FS_KIND_FILE, node->size_now, node->mtime_ms};
    return 0;
}

static int sim_list(struct fs *fs, const char *path, fs_entry_fn each, void *arg)
{
    struct sim_disk *disk = disk_of(fs);
    struct sim_node *dir;
    int rc = disk_frozen(disk) ? EIO : path_find(disk, path, &dir);
    if (rc != 0)
        return rc;
    if (!dir->is_dir)
        return ENOTDIR;
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct sim_node *node = dir->entries[i].now;
        if (node && !each(arg, dir->entries[i].name, node->is_dir ? FS_KIND_DIR : FS_KIND_FILE))
            break;
    }
    return 0;
}

static int sim_space(struct fs *fs, const char *path, uint64_t *ret_free)
{
    struct sim_disk *disk = disk_of(fs);
    disk_sweep(disk);
    uint64_t capacity = disk->config.capacity ? disk->config.capacity : (uint64_t)1 << 40;
    *ret_free = capacity > disk->bytes_used ? capacity - disk->bytes_used : 0;
    return 0;
}

/* ---- losses ---- */

enum fate { FATE_KEEP, FATE_DROP, FATE_MIX, FATE_COUNT };

/*
 * What was not synced is kept or dropped by the sector. With tear_sectors a dropped sector may keep
 * some leading new bytes, as a disk without power protection leaves it.
 */
static void page_lose(struct sim_disk *disk, struct sim_page *page, enum fate fate)
{
    ASSERT(fate < FATE_COUNT);
    for (size_t s = 0; s < SIM_SECTORS; s++) {
        uint8_t *now = page->now + s * FS_SECTOR;
        uint8_t *durable = page->durable + s * FS_SECTOR;
        bool keep = fate == FATE_KEEP || (fate == FATE_MIX && random_one_in(&disk->random, 2));
        size_t len = 0;
        if (page->dirty & (1u << s))
            len = keep ? FS_SECTOR : 0;
        if (len == 0 && (page->dirty & (1u << s)) && disk->config.tear_sectors &&
            random_one_in(&disk->random, 4))
            len = (size_t)random_below(&disk->random, FS_SECTOR);
        memcpy(durable, now, len);
    }
    memcpy(page->now, page->durable, SIM_PAGE);
    page->dirty = 0;
}

/*
 * One fate per file, so that all-or-nothing losses are as likely as mixtures; within a mixture each
 * sector is decided alone, which tears writes in every way that a disk without a cache flush may.
 */
static void node_lose(struct sim_disk *disk, struct sim_node *node)
{
    ASSERT(!node->is_dir);
    enum fate fate = (enum fate)random_below(&disk->random, FATE_COUNT);
    for (size_t i = 0; i < node->page_cap; i++) {
        if (node->pages[i])
            page_lose(disk, node->pages[i], fate);
    }
    uint64_t size = node->size_durable;
    if (node->size_now != size && fate != FATE_DROP) {
        uint64_t low = node->size_now < size ? node->size_now : size;
        uint64_t high = node->size_now < size ? size : node->size_now;
        size =
            fate == FATE_KEEP ? node->size_now : low + random_below(&disk->random, high - low + 1);
    }
    node_cut(node, size);
    for (size_t i = 0; i < node->page_cap; i++) {
        struct sim_page *page = node->pages[i];
        if (page && page->dirty) {
            memcpy(page->durable, page->now, SIM_PAGE);
            page->dirty = 0;
        }
    }
    node->size_now = node->size_durable = size;
}

/*
 * Names are lost in one of three ways: all kept, none kept, or mixed, where half of the mixtures keep
 * a prefix as a journal would and the others any subset. Both halves of a rename share their fate.
 */
static void changes_lose(struct sim_disk *disk)
{
    enum fate fate = (enum fate)random_below(&disk->random, FATE_COUNT);
    bool prefix = random_one_in(&disk->random, 2);
    uint64_t group = UINT64_MAX;
    bool keep = fate == FATE_KEEP;
    bool cut = false;
    for (size_t i = 0; i < disk->change_count; i++) {
        if (disk->changes[i].group != group && fate == FATE_MIX) {
            cut |= random_one_in(&disk->random, 4);
            keep = prefix ? !cut : random_one_in(&disk->random, 2);
        }
        group = disk->changes[i].group;
        if (keep)
            change_apply(&disk->changes[i]);
    }
    disk->change_count = 0;
    for (struct sim_node *node = disk->nodes; node; node = node->next) {
        for (size_t i = 0; i < node->entry_count; i++)
            node->entries[i].now = node->entries[i].durable;
        if (node->is_dir)
            entries_tidy(node);
    }
}

/* After a loss: nothing is dirty, what is there is what is durable. */
static bool disk_settled(const struct sim_disk *disk)
{
    for (const struct sim_node *node = disk->nodes; node; node = node->next) {
        bool settled = node->size_now == node->size_durable && node->handles == 0 && !node->locked;
        for (size_t i = 0; i < node->page_cap && settled; i++)
            settled = !node->pages[i] || node->pages[i]->dirty == 0;
        for (size_t i = 0; i < node->entry_count && settled; i++)
            settled = node->entries[i].now == node->entries[i].durable;
        if (!settled)
            return false;
    }
    return disk->change_count == 0;
}

static void handles_lose(struct sim_disk *disk)
{
    ASSERT(disk->generation < UINT64_MAX);
    disk->generation++;
    disk->freeze_at = UINT64_MAX;
    for (struct sim_node *node = disk->nodes; node; node = node->next) {
        node->handles = 0;
        node->locked = false;
    }
}

/*
 * Contents and names are lost independently of each other: a file may keep its bytes and lose its
 * name, or the other way round.
 */
void fs_sim_power_loss(struct fs *fs)
{
    struct sim_disk *disk = disk_of(fs);
    handles_lose(disk);
    for (struct sim_node *node = disk->nodes; node; node = node->next) {
        if (!node->is_dir)
            node_lose(disk, node);
    }
    changes_lose(disk);
    disk_sweep(disk);
    DASSERT(disk_settled(disk));
}

void fs_sim_process_loss(struct fs *fs)
{
    struct sim_disk *disk = disk_of(fs);
    handles_lose(disk);
    disk_sweep(disk);
    ASSERT(!disk_frozen(disk));
}

void fs_sim_freeze_after(struct fs *fs, uint64_t calls)
{
    struct sim_disk *disk = disk_of(fs);
    disk->freeze_at = calls > UINT64_MAX - disk->calls ? UINT64_MAX : disk->calls + calls;
}

bool fs_sim_frozen(const struct fs *fs)
{
    return disk_frozen((const struct sim_disk *)fs);
}

enum err fs_sim_bit_flip(struct fs *fs, const char *path, uint64_t bit, struct err_info *info)
{
    struct sim_node *node;
    uint64_t pos = bit / 8;
    if (path_find(disk_of(fs), path, &node) != 0 || node->is_dir || pos >= node->size_now)
        return err_info_set(info, ERR_NOT_FOUND, "no bit %llu in '%s'", (unsigned long long)bit,
                            path);
    struct sim_page *page = node_page(node, pos / SIM_PAGE, true);
    if (!page)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory");
    /* Both contents: the bit rotted on the medium, no later loss brings it back. */
    page->now[pos % SIM_PAGE] ^= (uint8_t)(1u << (bit % 8));
    page->durable[pos % SIM_PAGE] ^= (uint8_t)(1u << (bit % 8));
    return ERR_OK;
}

/* ---- life ---- */

static void sim_destroy_disk(struct fs *fs)
{
    struct sim_disk *disk = disk_of(fs);
    while (disk->nodes) {
        struct sim_node *node = disk->nodes;
        disk->nodes = node->next;
        node_free(node);
    }
    free(disk->changes);
    free(disk);
}

static const struct fs_ops sim_ops = {
    .destroy = sim_destroy_disk,
    .open = sim_open,
    .lock = sim_lock,
    .close = sim_close,
    .pread = sim_pread,
    .pwritev = sim_pwritev,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .reserve = sim_reserve,
    .size = sim_size,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .rmdir = sim_rmdir,
    .sync_dir = sim_sync_dir,
    .stat = sim_stat,
    .list = sim_list,
    .space = sim_space,
};

struct fs *fs_sim_create(const struct fs_sim_config *config)
{
    struct sim_disk *disk = calloc(1, sizeof(*disk));
    if (!disk)
        return NULL;
    disk->base.ops = &sim_ops;
    disk->config = *config;
    disk->freeze_at = UINT64_MAX;
    disk->sweep_in = SIM_SWEEP_EVERY;
    random_init(&disk->random, config->seed);
    disk->root = node_create(disk, true);
    if (!disk->root) {
        free(disk);
        return NULL;
    }
    return &disk->base;
}

void fs_sim_config_set(struct fs *fs, const struct fs_sim_config *config)
{
    ASSERT(config);
    disk_of(fs)->config = *config;
}

void fs_sim_clock_set(struct fs *fs, const int64_t *wall_ms)
{
    disk_of(fs)->wall_ms = wall_ms;
}
