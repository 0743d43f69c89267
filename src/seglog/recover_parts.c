/*
 * Parts of opening a log: its folder, trusted segments, producers, journals.
 *
 * Role: the steps that recover.c puts in order.
 *
 *   partition.metadata:  "version: 0\ntopic_id: <16 bytes as 22 characters of URL-safe Base64>\n",
 * as Kafka writes it
 *
 * Invariants: (1) a folder of another topic id is never adopted, since a topic of the same name was
 * deleted before; (2) an index is either in order and within its segment, or made again from the
 * batches; (3) journal batches are appended only where they continue the log.
 *
 * Ownership: as recover.c.
 *
 * Failure modes: as recover.c.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/bytes_int.h"
#include "seglog/commit_int.h"
#include "seglog/recover_int.h"
#include "seglog/walk_int.h"

enum {
    INDEX_FILE_MAX = 64 * 1024 * 1024,
    METADATA_MAX = 4096,
    TOPIC_ID_TEXT = 23,
    REWRITE_STEP = 1024 * 1024
};

static void topic_id_text(char out[TOPIC_ID_TEXT], const uint8_t id[16])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t n = 0;
    for (uint32_t i = 0; i < 16; i += 3) {
        uint32_t word = (uint32_t)id[i] << 16;
        if (i + 1 < 16)
            word |= (uint32_t)id[i + 1] << 8;
        if (i + 2 < 16)
            word |= id[i + 2];
        for (uint32_t k = 0; k < 4 && n < TOPIC_ID_TEXT - 1; k++)
            out[n++] = digits[(word >> (18 - 6 * k)) & 63];
    }
    ASSERT(n == TOPIC_ID_TEXT - 1);
    out[n] = 0;
}

/*
 * Whether the folder belongs to this topic id; one without whole metadata counts as ours: its making was cut short.
 * A file that cannot be read decides nothing: what another topic of this name left is not to be served.
 */
static enum err folder_whose(struct recovery *recovery, const char *path, const char *id_text,
                             bool *ret_ours)
{
    uint8_t *data = NULL;
    size_t len = 0;
    *ret_ours = true;
    enum err err =
        fs_read_all(recovery->seglog->fs, path, METADATA_MAX, &data, &len, recovery->info);
    if (err)
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    struct slice text = slice_make(data, len);
    struct slice head = SLICE_LIT("version: 0\ntopic_id: ");
    struct slice id = slice_sub(text, head.len, TOPIC_ID_TEXT - 1);
    bool whole = slice_starts_with(text, head) && text.len == head.len + TOPIC_ID_TEXT &&
                 text.data[text.len - 1] == '\n' && slice_find_byte(id, 0, 0) == SIZE_MAX;
    *ret_ours = !whole || slice_equal(id, slice_cstr(id_text));
    free(data);
    return ERR_OK;
}

static enum err folder_create(struct recovery *recovery, const char *metadata, const char *id_text)
{
    struct seglog *seglog = recovery->seglog;
    enum err err = fs_mkdir(seglog->fs, seglog->dir, recovery->info);
    if (err)
        return err;
    seglog->folder_unsynced = true;
    struct fs_file *file;
    err = fs_open(seglog->fs, metadata, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file, recovery->info);
    if (err)
        return err;
    char text[96];
    int n = snprintf(text, sizeof(text), "version: 0\ntopic_id: %s\n", id_text);
    ASSERT(n > 0 && (size_t)n < sizeof(text));
    err = fs_pwrite(file, text, (size_t)n, 0, recovery->info);
    if (!err)
        err = fs_sync(file, recovery->info);
    fs_close(file);
    return err;
}

/* Moves what a deleted topic of this name left out of the way. */
static enum err folder_move_away(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    char away[SEGLOG_PATH_MAX];
    int n = snprintf(away, sizeof(away), "%s.%" PRIx64 "-delete", seglog->dir,
                     (uint64_t)recovery->now_ms);
    if (n < 0 || (size_t)n >= sizeof(away))
        return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
    enum err err = fs_rename(seglog->fs, seglog->dir, away, recovery->info);
    if (err)
        return err;
    diag(DIAG_WARN, "seglog", "log=%s folder=\"of a deleted topic\" moved_to=%s", seglog->name,
         away);
    struct err_info ignored;
    if (fs_remove_tree(seglog->fs, away, &ignored) != ERR_OK)
        diag(DIAG_WARN, "seglog", "folder=%s error=\"%s\"", away, ignored.text);
    return ERR_OK;
}

enum err recovery_folder(struct recovery *recovery, bool must_exist)
{
    struct seglog *seglog = recovery->seglog;
    char id_text[TOPIC_ID_TEXT];
    char metadata[SEGLOG_PATH_MAX];
    struct fs_stat stat;
    topic_id_text(id_text, seglog->id.topic_id);
    int n = snprintf(metadata, sizeof(metadata), "%s/partition.metadata", seglog->dir);
    if (n < 0 || (size_t)n >= sizeof(metadata))
        return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
    enum err err = fs_stat(seglog->fs, seglog->dir, &stat, recovery->info);
    if (err && err != ERR_NOT_FOUND)
        return err;
    if (!err) {
        bool ours = false;
        err = folder_whose(recovery, metadata, id_text, &ours);
        if (err || ours)
            return err;
        err = folder_move_away(recovery);
        if (err)
            return err;
    }
    if (must_exist)
        return err_info_set(recovery->info, ERR_NOT_FOUND, "no folder %s", seglog->dir);
    return folder_create(recovery, metadata, id_text);
}

void seglog_suspect(struct seglog *seglog)
{
    char path[SEGLOG_PATH_MAX];
    struct fs_file *file;
    atomic_store(&seglog->suspect, true);
    int n = snprintf(path, sizeof(path), "%s/weir-suspect", seglog->dir);
    if (n > 0 && (size_t)n < sizeof(path) &&
        fs_open(seglog->fs, path, FS_WRITE | FS_CREATE, &file, NULL) == ERR_OK)
        fs_close(file);
}

enum err recovery_rewrite(struct recovery *recovery, struct fs_file *file, uint64_t from,
                          uint64_t to)
{
    ASSERT(from <= to);
    uint8_t *buf = malloc(REWRITE_STEP);
    if (!buf)
        return err_info_set(recovery->info, ERR_NO_MEMORY, "rewriting a segment");
    enum err err = ERR_OK;
    while (from < to && !err) {
        size_t want = to - from < REWRITE_STEP ? (size_t)(to - from) : REWRITE_STEP;
        size_t got = 0;
        err = fs_pread(file, buf, want, from, &got, recovery->info);
        if (!err && got == 0)
            break;
        if (!err)
            err = fs_pwrite(file, buf, got, from, recovery->info);
        from += got;
    }
    free(buf);
    return err;
}

enum err recovery_note(struct recovery *recovery, struct segment *segment,
                       const struct batch_header *header)
{
    struct seglog *seglog = recovery->seglog;
    ASSERT(header->base_offset.value == seglog->end.value);
    if (batch_last_offset(header).value - segment->base.value > INT32_MAX)
        return err_info_set(recovery->info, ERR_CORRUPT, "offsets pass the segment's range");
    segment_note(segment, header, seglog->config.index_interval_bytes);
    if (!producers_note(&seglog->producers, header, header->max_timestamp_ms) ||
        !epochs_note(&seglog->epochs, header->epoch, header->base_offset))
        return err_info_set(recovery->info, ERR_NO_MEMORY, "opening %s", seglog->name);
    seglog->end = batch_end_offset(header);
    ASSERT(record_offset_before(header->base_offset, seglog->end));
    return ERR_OK;
}

/* An index file, whole. False: absent, of a wrong size, or too large. */
static bool index_read(struct seglog *seglog, struct record_offset base, const char *suffix,
                       uint32_t entry_size, uint8_t **ret_data, size_t *ret_len)
{
    char path[SEGLOG_PATH_MAX];
    ASSERT(entry_size > 0 && base.value >= 0);
    *ret_data = NULL;
    if (!segment_path(path, seglog->dir, base, suffix) || !fs_exists(seglog->fs, path) ||
        fs_read_all(seglog->fs, path, INDEX_FILE_MAX, ret_data, ret_len, NULL) != ERR_OK)
        return false;
    if (*ret_len % entry_size == 0)
        return true;
    free(*ret_data);
    *ret_data = NULL;
    return false;
}

/* Entries of an offset index that rise and lie below limit; 0xffffffff: damaged. */
static uint32_t index_good(const uint8_t *data, size_t len, uint64_t limit)
{
    int64_t last_offset = -1, last_pos = -1;
    uint32_t good = 0;
    for (size_t at = 0; at + INDEX_ENTRY_SIZE <= len; at += INDEX_ENTRY_SIZE) {
        int64_t offset = be32_load(data + at);
        int64_t pos = be32_load(data + at + 4);
        if (offset <= last_offset || pos <= last_pos)
            return UINT32_MAX;
        if ((uint64_t)pos >= limit)
            break;
        last_offset = offset;
        last_pos = pos;
        good++;
    }
    return good;
}

/* Entries of a time index that rise and lie below the offset limit; the last good one is returned.
 */
static uint32_t time_good(const uint8_t *data, size_t len, int64_t limit, int64_t *ret_ms,
                          int64_t *ret_offset)
{
    uint32_t good = 0;
    *ret_ms = *ret_offset = -1;
    for (size_t at = 0; at + TIME_ENTRY_SIZE <= len; at += TIME_ENTRY_SIZE) {
        int64_t ms = (int64_t)be64_load(data + at);
        int64_t offset = be32_load(data + at + 8);
        if (offset <= *ret_offset || ms <= *ret_ms)
            return UINT32_MAX;
        if (offset >= limit)
            break;
        *ret_ms = ms;
        *ret_offset = offset;
        good++;
    }
    return good;
}

static enum err index_rewrite(struct recovery *recovery, struct segment *segment,
                              struct index_part *part, const char *suffix)
{
    char path[SEGLOG_PATH_MAX];
    struct fs_file *file;
    if (!segment_path(path, recovery->seglog->dir, segment->base, suffix))
        return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
    enum err err = fs_open(recovery->seglog->fs, path, FS_WRITE | FS_CREATE | FS_TRUNCATE, &file,
                           recovery->info);
    if (err)
        return err;
    if (part->len > 0)
        err = fs_pwrite(file, part->bytes, part->len, 0, recovery->info);
    if (!err)
        err = fs_sync(file, recovery->info);
    fs_close(file);
    ASSERT(part->flushed == 0); /* the file was made anew */
    part->flushed = part->len;
    part->len = part->cap = 0;
    free(part->bytes);
    part->bytes = NULL;
    return err;
}

/* Makes both indexes again from the headers of [0, limit) and writes them. */
static enum err index_rebuild(struct recovery *recovery, struct segment *segment, uint64_t limit)
{
    struct seglog *seglog = recovery->seglog;
    char path[SEGLOG_PATH_MAX];
    struct fs_file *file;
    if (!segment_path(path, seglog->dir, segment->base, ".log"))
        return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
    diag(DIAG_WARN, "seglog", "log=%s segment=%" PRId64 " index=\"made again\"", seglog->name,
         segment->base.value);
    enum err err = fs_open(seglog->fs, path, FS_READ, &file, recovery->info);
    if (err)
        return err;
    ASSERT(limit <= segment->zeroed && segment->index.len == 0 && segment->time.len == 0);
    segment->bytes = segment->since_index = 0;
    segment->index.flushed = segment->time.flushed = 0;
    segment->indexed_ms = segment->max_ms = -1;
    struct walk walk;
    walk_init(&walk, file, 0, limit, false);
    struct batch_header header;
    while (walk_next_header(&walk, &header) &&
           !record_offset_before(header.base_offset, segment->base) &&
           batch_last_offset(&header).value - segment->base.value <= INT32_MAX)
        segment_note(segment, &header, seglog->config.index_interval_bytes);
    if (walk.err)
        err = err_info_set(recovery->info, walk.err, "%s", walk.info.text);
    walk_deinit(&walk);
    fs_close(file);
    if (segment->sealed)
        segment_index_close(segment);
    if (!err)
        err = index_rewrite(recovery, segment, &segment->index, ".index");
    if (!err)
        err = index_rewrite(recovery, segment, &segment->time, ".timeindex");
    return err;
}

enum err recovery_trust(struct recovery *recovery, uint32_t index)
{
    struct seglog *seglog = recovery->seglog;
    struct segment *segment = seglog->segments[index];
    ASSERT(segment->sealed && index + 1 < seglog->segment_count);
    uint8_t *data = NULL;
    uint8_t *times = NULL;
    size_t len = 0, times_len = 0;
    int64_t span = seglog->segments[index + 1]->base.value - segment->base.value;
    int64_t ms = -1, offset = -1;
    segment->finished = true;
    segment->bytes = segment->zeroed;
    bool good =
        index_read(seglog, segment->base, ".index", INDEX_ENTRY_SIZE, &data, &len) &&
        index_read(seglog, segment->base, ".timeindex", TIME_ENTRY_SIZE, &times, &times_len) &&
        index_good(data, len, segment->bytes) == len / INDEX_ENTRY_SIZE &&
        time_good(times, times_len, span, &ms, &offset) == times_len / TIME_ENTRY_SIZE;
    free(data);
    free(times);
    if (!good) {
        enum err err = index_rebuild(recovery, segment, segment->bytes);
        segment->bytes = segment->zeroed;
        return err;
    }
    ASSERT(len % INDEX_ENTRY_SIZE == 0 && times_len % TIME_ENTRY_SIZE == 0);
    segment->index.flushed = len;
    segment->time.flushed = times_len;
    segment->max_ms = segment->indexed_ms = segment->first_ms = ms;
    segment->max_ms_last = record_offset(offset < 0 ? -1 : segment->base.value + offset);
    return ERR_OK;
}

enum err recovery_trust_part(struct recovery *recovery, struct segment *segment, uint64_t pos)
{
    struct seglog *seglog = recovery->seglog;
    uint8_t *data = NULL;
    uint8_t *times = NULL;
    size_t len = 0, times_len = 0;
    int64_t ms = -1, offset = -1;
    uint32_t entries = 0, time_entries = 0;
    enum err err = ERR_OK;
    ASSERT(recovery->has_point && pos <= segment->zeroed);
    if (index_read(seglog, segment->base, ".index", INDEX_ENTRY_SIZE, &data, &len))
        entries = index_good(data, len, pos);
    else if (pos > seglog->config.index_interval_bytes)
        entries = UINT32_MAX;
    if (index_read(seglog, segment->base, ".timeindex", TIME_ENTRY_SIZE, &times, &times_len))
        time_entries = time_good(times, times_len,
                                 recovery->point.offset.value - segment->base.value, &ms, &offset);
    free(data);
    free(times);
    if (entries == UINT32_MAX || time_entries == UINT32_MAX) {
        err = index_rebuild(recovery, segment, pos);
    } else {
        segment->index.flushed = (uint64_t)entries * INDEX_ENTRY_SIZE;
        segment->time.flushed = (uint64_t)time_entries * TIME_ENTRY_SIZE;
        segment->indexed_ms = ms;
    }
    segment->bytes = pos;
    segment->first_ms = recovery->point.first_ms;
    segment->max_ms = recovery->point.max_ms;
    segment->max_ms_last = recovery->point.max_ms_last;
    return err;
}

enum err recovery_producers_rebuild(struct recovery *recovery, struct record_offset upto)
{
    struct seglog *seglog = recovery->seglog;
    ASSERT(upto.value >= 0 && seglog->segment_count > 0);
    diag(DIAG_WARN, "seglog", "log=%s producers=\"made again\" below=%" PRId64, seglog->name,
         upto.value);
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < seglog->segment_count && !err; i++) {
        struct segment *segment = seglog->segments[i];
        char path[SEGLOG_PATH_MAX];
        struct fs_file *file;
        if (!record_offset_before(segment->base, upto) || segment->zeroed == 0)
            continue;
        if (!segment_path(path, seglog->dir, segment->base, ".log"))
            return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
        err = fs_open(seglog->fs, path, FS_READ, &file, recovery->info);
        if (err)
            return err;
        struct walk walk;
        walk_init(&walk, file, 0, segment->zeroed, false);
        struct batch_header header;
        while (!err && walk_next_header(&walk, &header) &&
               record_offset_before(header.base_offset, upto))
            if (!producers_note(&seglog->producers, &header, header.max_timestamp_ms))
                err = err_info_set(recovery->info, ERR_NO_MEMORY, "producer state");
        if (!err && walk.err)
            err = err_info_set(recovery->info, walk.err, "%s", walk.info.text);
        walk_deinit(&walk);
        fs_close(file);
    }
    return err;
}

/* Appends the batches of one frame that the log lacks. The frame held when it was indexed: what does
 * not hold now was read badly, and must not pass for a torn one. */
static enum err frame_replay(struct recovery *recovery, struct fs_file *file,
                             struct segment *segment, struct slice payload)
{
    struct seglog *seglog = recovery->seglog;
    struct batch_header header;
    while (payload.len > 0) {
        uint32_t size = batch_size_peek(payload);
        struct slice batch = slice_sub(payload, 0, size);
        if (size < BATCH_HEADER_SIZE || size > payload.len ||
            batch_header_read(batch, &header, NULL) != ERR_OK || !batch_crc_holds(batch))
            return err_info_set(recovery->info, ERR_CORRUPT,
                                "a journal frame no longer holds at offset %" PRId64,
                                seglog->end.value);
        payload = slice_sub(payload, size, SIZE_MAX);
        if (record_offset_before(header.base_offset, seglog->end))
            continue;
        if (header.base_offset.value != seglog->end.value) {
            if (!recovery->hole_told)
                diag(DIAG_ERROR, "seglog", "log=%s journal_hole_at=%" PRId64 " next=%" PRId64,
                     seglog->name, seglog->end.value, header.base_offset.value);
            recovery->hole_told = true;
            return ERR_OK;
        }
        ASSERT(segment == seglog_active(seglog));
        enum err err = fs_pwrite(file, batch.data, batch.len, segment->bytes, recovery->info);
        if (!err)
            err = recovery_note(recovery, segment, &header);
        if (err)
            return err;
        segment->zeroed = segment->bytes;
        recovery->changed = true;
        recovery->walked += size;
    }
    return ERR_OK;
}

static enum err ref_replay(struct recovery *recovery, const struct journal_ref *ref,
                           struct fs_file *file, struct segment *segment)
{
    struct seglog *seglog = recovery->seglog;
    struct seglog_store *store = seglog->commit->store;
    struct fs_file *journal;
    ASSERT(ref->file < store->journal_path_count && ref->len >= BATCH_HEADER_SIZE);
    enum err err =
        fs_open(seglog->fs, store->journal_paths[ref->file], FS_READ, &journal, recovery->info);
    if (err)
        return err;
    uint8_t *payload = malloc(ref->len); /* checked against the journal's size when indexed */
    size_t got = 0;
    if (!payload)
        err = err_info_set(recovery->info, ERR_NO_MEMORY, "journal replay");
    if (!err)
        err = fs_pread(journal, payload, ref->len, ref->pos.value, &got, recovery->info);
    if (!err && got != ref->len)
        err = err_info_set(recovery->info, ERR_CORRUPT, "a journal became shorter");
    if (!err)
        err = frame_replay(recovery, file, segment, slice_make(payload, got));
    free(payload);
    fs_close(journal);
    return err;
}

enum err recovery_replay(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    uint32_t count = 0;
    const struct journal_ref *refs = journal_refs_of(seglog->commit->store, seglog->id, &count);
    struct segment *segment = seglog_active(seglog);
    ASSERT(!segment->sealed && segment->bytes == segment->zeroed);
    struct fs_file *file = NULL;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < count && !err; i++) {
        if (!record_offset_before(seglog->end, refs[i].end))
            continue;
        char path[SEGLOG_PATH_MAX];
        if (!file) {
            if (!segment_path(path, seglog->dir, segment->base, ".log"))
                return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
            err = fs_open(seglog->fs, path, FS_READ | FS_WRITE | FS_CREATE, &file, recovery->info);
        }
        if (!err)
            err = ref_replay(recovery, &refs[i], file, segment);
    }
    if (file && !err) {
        err = fs_sync(file, recovery->info);
        if (err)
            seglog_suspect(seglog);
    }
    fs_close(file);
    return err;
}

void recovery_clean(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    ASSERT(seglog->segment_count > 0 && seglog->synced.value == seglog->end.value);
    if (recovery->suspect) {
        char path[SEGLOG_PATH_MAX];
        int n = snprintf(path, sizeof(path), "%s/weir-suspect", seglog->dir);
        struct err_info why;
        if (n > 0 && (size_t)n < sizeof(path) && fs_unlink(seglog->fs, path, &why) != ERR_OK)
            diag(DIAG_WARN, "seglog", "file=%s error=\"%s\"", path, why.text);
    }
    for (uint32_t i = 0; i < recovery->snapshot_count; i++) {
        char path[SEGLOG_PATH_MAX];
        struct err_info ignored;
        if (recovery->snapshots[i] == seglog->snapshots[0].value ||
            !segment_path(path, seglog->dir, record_offset(recovery->snapshots[i]), ".snapshot"))
            continue;
        if (fs_unlink(seglog->fs, path, &ignored) != ERR_OK)
            diag(DIAG_DEBUG, "seglog", "snapshot=%s error=\"%s\"", path, ignored.text);
    }
}
