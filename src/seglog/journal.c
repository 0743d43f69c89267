/*
 * The journal's format, and reading what an earlier run left.
 *
 * Role: when a round makes many logs durable at once, their batches go one behind another into one
 * file that one sync covers, instead of one sync per segment file. At the next start every log
 * takes from the journal what its segments lack.
 *
 *   <root>/journal/<generation>-<shard>-<0|1>.journal, made of zeros at full size, then overwritten
 * in place:
 *
 *   round: frame, frame, ... each at a multiple of 8; a round begins at a multiple of 4096, so that
 * no synced sector is ever written again within a cycle frame: | u32 magic | u32 CRC-32C of the
 * rest and the payload | u32 generation | u32 cycle | 16 topic id | | i32 partition | u32 payload
 * length | i64 base offset | i64 end offset | 8 zeros | payload: whole batches |
 *
 * Invariants: (1) frames of a file are valid from its start up to the first invalid one, all of one
 * generation and cycle; bytes of older cycles lie behind; (2) segments (synced part) and frames of
 * a log leave no gap between them; (3) a file is overwritten only when every log whose frames it
 * holds has been synced in its segments.
 *
 * Ownership: read at boot; the index is then read-only for any thread.
 *
 * Failure modes: a torn frame ends the file: its round was never acknowledged. A file that cannot be
 * read, or for whose index there is no memory, refuses the start, since what it holds may have been
 * acknowledged and be nowhere else; nobody knows which logs it would be missing from.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "io/fault.h"
#include "seglog/bytes_int.h"
#include "seglog/commit_int.h"

enum { JOURNAL_MAGIC = 0x574a4631, JOURNAL_FILE_MAX = 1 << 30, JOURNAL_PATHS_MAX = 1 << 20 };

FAULT_DEFINE(journal_memory, "seglog.journal.memory")

_Static_assert(JOURNAL_FRAME_SIZE == 64, "on-disk size");

void journal_frame_encode(uint8_t out[JOURNAL_FRAME_SIZE], const struct journal_frame *frame,
                          const struct slice *parts, uint32_t part_count)
{
    ASSERT(record_offset_before(frame->base, frame->end));
    memset(out, 0, JOURNAL_FRAME_SIZE);
    be32_store(out, JOURNAL_MAGIC);
    be32_store(out + 8, frame->generation);
    be32_store(out + 12, frame->cycle);
    memcpy(out + 16, frame->id.topic_id, sizeof(frame->id.topic_id));
    be32_store(out + 32, (uint32_t)frame->id.partition);
    be32_store(out + 36, frame->len);
    be64_store(out + 40, (uint64_t)frame->base.value);
    be64_store(out + 48, (uint64_t)frame->end.value);
    uint32_t crc = crc32c(0, out + 8, JOURNAL_FRAME_SIZE - 8);
    size_t total = 0;
    for (uint32_t i = 0; i < part_count; i++) {
        crc = crc32c(crc, parts[i].data, parts[i].len);
        total += parts[i].len;
    }
    ASSERT(total == frame->len);
    be32_store(out + 4, crc);
}

bool journal_frame_decode(const uint8_t in[JOURNAL_FRAME_SIZE], struct journal_frame *ret_frame)
{
    if (be32_load(in) != JOURNAL_MAGIC)
        return false;
    *ret_frame = (struct journal_frame){.generation = be32_load(in + 8),
                                        .cycle = be32_load(in + 12),
                                        .len = be32_load(in + 36),
                                        .base = record_offset((int64_t)be64_load(in + 40)),
                                        .end = record_offset((int64_t)be64_load(in + 48))};
    memcpy(ret_frame->id.topic_id, in + 16, sizeof(ret_frame->id.topic_id));
    ret_frame->id.partition = (int32_t)be32_load(in + 32);
    return ret_frame->base.value >= 0 && ret_frame->end.value > ret_frame->base.value &&
           ret_frame->len >= BATCH_HEADER_SIZE && ret_frame->len < JOURNAL_FILE_MAX;
}

bool journal_frame_holds(const uint8_t in[JOURNAL_FRAME_SIZE], struct slice payload)
{
    uint32_t crc = crc32c(0, in + 8, JOURNAL_FRAME_SIZE - 8);
    return be32_load(in + 4) == crc32c(crc, payload.data, payload.len);
}

int journal_id_compare(const struct seglog_id *a, const struct seglog_id *b)
{
    int order = memcmp(a->topic_id, b->topic_id, sizeof(a->topic_id));
    if (order != 0)
        return order;
    return (a->partition > b->partition) - (a->partition < b->partition);
}

static int ref_compare(const void *pa, const void *pb)
{
    const struct journal_ref *a = pa;
    const struct journal_ref *b = pb;
    int order = journal_id_compare(&a->id, &b->id);
    if (order != 0)
        return order;
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    if (a->cycle != b->cycle)
        return a->cycle < b->cycle ? -1 : 1;
    return (a->pos.value > b->pos.value) - (a->pos.value < b->pos.value);
}

static enum err ref_add(struct seglog_store *store, const struct journal_frame *frame,
                        uint32_t file, struct file_pos pos, struct err_info *info)
{
    void *refs = store->refs;
    ASSERT(file < store->journal_path_count);
    if (fault_check(&journal_memory) ||
        !grow(&refs, &store->ref_cap, store->ref_count, 1, sizeof(*store->refs)))
        return err_info_set(info, ERR_NO_MEMORY, "journal index: out of memory");
    store->refs = refs;
    store->refs[store->ref_count++] = (struct journal_ref){.id = frame->id,
                                                           .base = frame->base,
                                                           .end = frame->end,
                                                           .file = file,
                                                           .len = frame->len,
                                                           .pos = pos,
                                                           .generation = frame->generation,
                                                           .cycle = frame->cycle};
    return ERR_OK;
}

/* One file while it is walked. */
struct journal_reader {
    struct fs_file *file;
    uint64_t size;
    uint8_t *payload; /* grown as needed */
    uint32_t payload_cap;
};

/* Reads the frame at pos. *ret_held: a whole one is there; otherwise the journal, or its round, ends. */
static enum err frame_read(struct journal_reader *reader, uint64_t pos,
                           struct journal_frame *ret_frame, bool *ret_held, struct err_info *info)
{
    uint8_t head[JOURNAL_FRAME_SIZE];
    size_t got;
    *ret_held = false;
    ASSERT(pos <= reader->size);
    if (reader->size - pos < JOURNAL_FRAME_SIZE)
        return ERR_OK;
    enum err err = fs_pread(reader->file, head, sizeof(head), pos, &got, info);
    if (err || got != sizeof(head) || !journal_frame_decode(head, ret_frame) ||
        ret_frame->len > reader->size - pos - JOURNAL_FRAME_SIZE)
        return err;
    if (reader->payload_cap < ret_frame->len) {
        uint8_t *grown = fault_check(&journal_memory)
                             ? NULL
                             : realloc(reader->payload, ret_frame->len); /* within the file */
        if (!grown)
            return err_info_set(info, ERR_NO_MEMORY, "journal frame: out of memory");
        reader->payload = grown;
        reader->payload_cap = ret_frame->len;
    }
    err = fs_pread(reader->file, reader->payload, ret_frame->len, pos + JOURNAL_FRAME_SIZE, &got,
                   info);
    if (!err)
        *ret_held = got == ret_frame->len &&
                    journal_frame_holds(head, slice_make(reader->payload, ret_frame->len));
    return err;
}

static uint64_t align_up(uint64_t value, uint64_t to)
{
    ASSERT(to > 0 && value <= UINT64_MAX - to);
    return (value + to - 1) / to * to;
}

/* Walks one file; frames of another cycle than the first one's are leftovers. */
static enum err journal_walk(struct seglog_store *store, struct journal_reader *reader,
                             uint32_t index, struct err_info *info)
{
    struct journal_frame frame;
    uint32_t generation = 0, cycle = 0;
    uint64_t pos = 0;
    while (pos < reader->size) {
        bool held;
        enum err err = frame_read(reader, pos, &frame, &held, info);
        if (err)
            return err;
        if (held && pos == 0) {
            generation = frame.generation;
            cycle = frame.cycle;
        }
        if (held && frame.generation == generation && frame.cycle == cycle) {
            err = ref_add(store, &frame, index, file_pos(pos + JOURNAL_FRAME_SIZE), info);
            if (err)
                return err;
            pos = align_up(pos + JOURNAL_FRAME_SIZE + frame.len, 8);
        } else if (pos % JOURNAL_ALIGN != 0) {
            pos = align_up(pos, JOURNAL_ALIGN); /* the next round */
        } else {
            break;
        }
    }
    return ERR_OK;
}

static enum err journal_scan(struct seglog_store *store, uint32_t index, struct err_info *info)
{
    struct journal_reader reader = {.file = NULL};
    ASSERT(index < store->journal_path_count);
    enum err err = fs_open(store->fs, store->journal_paths[index], FS_READ, &reader.file, info);
    if (err)
        return err;
    err = fs_size(reader.file, &reader.size, info);
    if (!err)
        err = journal_walk(store, &reader, index, info);
    free(reader.payload);
    fs_close(reader.file);
    return err;
}

/* Gathers the names of the files. */
struct journal_list {
    struct seglog_store *store;
    uint32_t cap;
    enum err err;
    struct err_info *info;
};

static bool journal_list_each(void *arg, const char *name, enum fs_kind kind)
{
    struct journal_list *list = arg;
    struct seglog_store *store = list->store;
    size_t len = strlen(name);
    if (kind != FS_KIND_FILE || len < 8 || strcmp(name + len - 8, ".journal") != 0)
        return true;
    char path[SEGLOG_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", store->journal_dir, name);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        list->err =
            err_info_set(list->info, ERR_INVALID_ARGUMENT, "the path of %s is too long", name);
        return false;
    }
    void *paths = store->journal_paths;
    char *copy = fault_check(&journal_memory) ? NULL : strdup(path);
    if (!copy || store->journal_path_count == JOURNAL_PATHS_MAX ||
        !grow(&paths, &list->cap, store->journal_path_count, 1, sizeof(*store->journal_paths))) {
        free(copy);
        list->err = err_info_set(list->info, ERR_NO_MEMORY, "journal %s: out of memory", name);
        return false;
    }
    store->journal_paths = (char **)paths;
    store->journal_paths[store->journal_path_count++] = copy;
    return true;
}

enum err journal_load(struct seglog_store *store, struct err_info *info)
{
    struct journal_list list = {.store = store, .info = info};
    ASSERT(store->ref_count == 0 && !store->journal_paths);
    enum err err = fs_list(store->fs, store->journal_dir, journal_list_each, &list, info);
    if (!err)
        err = list.err;
    for (uint32_t i = 0; !err && i < store->journal_path_count; i++) {
        err = journal_scan(store, i, info);
        if (err && info)
            err_info_wrap(info, "acknowledged records may be in this journal alone; repeat the "
                                "start, or move it away to go on without them");
    }
    if (!err && store->ref_count > 0)
        qsort(store->refs, store->ref_count, sizeof(*store->refs), ref_compare);
    return err;
}

const struct journal_ref *journal_refs_of(const struct seglog_store *store, struct seglog_id id,
                                          uint32_t *ret_count)
{
    uint32_t low = 0;
    uint32_t high = store->ref_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (journal_id_compare(&store->refs[mid].id, &id) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    ASSERT(low <= store->ref_count);
    uint32_t end = low;
    while (end < store->ref_count && journal_id_compare(&store->refs[end].id, &id) == 0)
        end++;
    *ret_count = end - low;
    return store->refs + low;
}

void journal_keep(struct seglog_store *store, struct seglog_id id)
{
    uint32_t count = 0;
    const struct journal_ref *refs = journal_refs_of(store, id, &count);
    uint32_t first = count > 0 ? (uint32_t)(refs - store->refs) : 0;
    ASSERT(first + count <= store->ref_count);
    for (uint32_t i = 0; i < count; i++)
        store->refs[first + i].needed = true;
}
