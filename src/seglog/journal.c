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
 * Failure modes: a torn frame ends the file: its round was never acknowledged. A file that cannot
 * be read is reported and its frames are lost to the logs, which then recover from their segments
 * alone.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/diag.h"
#include "seglog/bytes_int.h"
#include "seglog/commit_int.h"

enum { JOURNAL_MAGIC = 0x574a4631, JOURNAL_FILE_MAX = 1 << 30, JOURNAL_PATHS_MAX = 4096 };

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

static bool ref_add(struct seglog_store *store, const struct journal_frame *frame, uint32_t file,
                    struct file_pos pos)
{
    void *refs = store->refs;
    if (!grow(&refs, &store->ref_cap, store->ref_count, 1, sizeof(*store->refs)))
        return false;
    store->refs = refs;
    store->refs[store->ref_count++] = (struct journal_ref){.id = frame->id,
                                                           .base = frame->base,
                                                           .end = frame->end,
                                                           .file = file,
                                                           .len = frame->len,
                                                           .pos = pos,
                                                           .generation = frame->generation,
                                                           .cycle = frame->cycle};
    return true;
}

/* Reads one frame at pos into *payload (grown as needed). False: none that holds. */
static bool frame_read(struct fs_file *file, uint64_t size, uint64_t pos, uint8_t **payload,
                       uint32_t *payload_cap, struct journal_frame *ret_frame)
{
    uint8_t head[JOURNAL_FRAME_SIZE];
    size_t got;
    if (pos + JOURNAL_FRAME_SIZE > size ||
        fs_pread(file, head, sizeof(head), pos, &got, NULL) != ERR_OK || got != sizeof(head) ||
        !journal_frame_decode(head, ret_frame) || ret_frame->len > size - pos - JOURNAL_FRAME_SIZE)
        return false;
    if (*payload_cap < ret_frame->len) {
        uint8_t *grown = realloc(*payload, ret_frame->len); /* bounded by the file's size */
        if (!grown)
            return false;
        *payload = grown;
        *payload_cap = ret_frame->len;
    }
    if (fs_pread(file, *payload, ret_frame->len, pos + JOURNAL_FRAME_SIZE, &got, NULL) != ERR_OK ||
        got != ret_frame->len)
        return false;
    return journal_frame_holds(head, slice_make(*payload, ret_frame->len));
}

static uint64_t align_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

/* Walks one file; frames of another cycle than the first one's are leftovers. */
static enum err journal_scan(struct seglog_store *store, uint32_t index, struct err_info *info)
{
    struct fs_file *file;
    enum err err = fs_open(store->fs, store->journal_paths[index], FS_READ, &file, info);
    if (err)
        return err;
    uint64_t size = 0;
    err = fs_size(file, &size, info);
    uint8_t *payload = NULL;
    uint32_t payload_cap = 0;
    struct journal_frame frame;
    uint32_t generation = 0, cycle = 0;
    uint64_t pos = 0;
    while (!err && pos < size) {
        bool held = frame_read(file, size, pos, &payload, &payload_cap, &frame);
        if (held && pos == 0) {
            generation = frame.generation;
            cycle = frame.cycle;
        }
        if (held && frame.generation == generation && frame.cycle == cycle) {
            if (!ref_add(store, &frame, index, file_pos(pos + JOURNAL_FRAME_SIZE)))
                err = err_info_set(info, ERR_NO_MEMORY, "journal index");
            pos = align_up(pos + JOURNAL_FRAME_SIZE + frame.len, 8);
        } else if (pos % JOURNAL_ALIGN != 0) {
            pos = align_up(pos, JOURNAL_ALIGN); /* the next round */
        } else {
            break;
        }
    }
    free(payload);
    fs_close(file);
    return err;
}

static bool journal_list_each(void *arg, const char *name, enum fs_kind kind)
{
    struct seglog_store *store = arg;
    size_t len = strlen(name);
    if (kind != FS_KIND_FILE || len < 8 || strcmp(name + len - 8, ".journal") != 0 ||
        store->journal_path_count == JOURNAL_PATHS_MAX)
        return true;
    char path[SEGLOG_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", store->journal_dir, name);
    if (n > 0 && (size_t)n < sizeof(path)) {
        char *copy = strdup(path);
        if (copy)
            store->journal_paths[store->journal_path_count++] = copy;
    }
    return true;
}

enum err journal_load(struct seglog_store *store, struct err_info *info)
{
    ASSERT(store->ref_count == 0 && !store->journal_paths);
    store->journal_paths = calloc(JOURNAL_PATHS_MAX, sizeof(char *));
    if (!store->journal_paths)
        return err_info_set(info, ERR_NO_MEMORY, "journal paths");
    enum err err = fs_list(store->fs, store->journal_dir, journal_list_each, store, info);
    for (uint32_t i = 0; !err && i < store->journal_path_count; i++) {
        struct err_info why;
        enum err scan = journal_scan(store, i, &why);
        if (scan == ERR_NO_MEMORY)
            err = err_info_set(info, scan, "%s", why.text);
        else if (scan)
            diag(DIAG_ERROR, "seglog", "journal=%s error=\"%s\"", store->journal_paths[i],
                 why.text);
    }
    if (store->ref_count > 0)
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
    uint32_t end = low;
    while (end < store->ref_count && journal_id_compare(&store->refs[end].id, &id) == 0)
        end++;
    *ret_count = end - low;
    return store->refs + low;
}
