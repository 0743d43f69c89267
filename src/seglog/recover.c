/*
 * Opening a log: from the files of a folder to a log that serves.
 *
 * Role: runs once per log at open, on a worker, and brings the folder and the memory to the state
 * "everything that was acknowledged, nothing torn":
 *
 *   1. list segments; read weir-checkpoint, leader-epoch-checkpoint and the producer snapshot that
 * belongs to the point
 *   2. segments before the point: trusted, their indexes checked by size and order, made again when
 * damaged
 *   3. from the point on: walk batch by batch with checksums, noting indexes, epochs and producers;
 * the first batch that is torn, or does not continue the offsets, ends the log; what lies behind is
 * cut off
 *   4. journals of earlier runs: batches that continue the log are appended
 *      (when a sync had failed before, what was walked is also written again: the kernel may hold it as clean though the
 *      disk does not have it)
 *   5. sync what was walked, cut or appended, so that everything then visible is durable
 *
 * Invariants: (1) offsets of the result have no hole; (2) a batch below the recovery point is never
 * cut; (3) nothing is visible that a power cut could take back; (4) behind the last batch of the
 * active segment lie only zeros or nothing.
 *
 * Ownership: the log is not shared yet; all fields are the worker's.
 *
 * Failure modes: a damaged checkpoint, index, snapshot or epoch file costs a longer walk; one that
 * is there and cannot be read makes this log fail to open (indexes are made again). Damage of a segment behind the point cuts the log there (counted and reported); damage before it is found
 * by the reader of those batches. A disk that fails makes this log fail to open, and no other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "seglog/bytes_int.h"
#include "seglog/commit_int.h"
#include "seglog/recover_int.h"
#include "seglog/walk_int.h"

enum { RECOVER_STATE_MAX = 64 * 1024 * 1024 };

static int base_compare(const void *pa, const void *pb)
{
    int64_t a = *(const int64_t *)pa;
    int64_t b = *(const int64_t *)pb;
    return (a > b) - (a < b);
}

static bool base_add(struct recovery *recovery, int64_t **list, uint32_t *count, uint32_t *cap,
                     int64_t value)
{
    void *grown = *list;
    if (!grow(&grown, cap, *count, 1, sizeof(**list))) {
        recovery->out_of_memory = true;
        return false;
    }
    *list = grown;
    (*list)[(*count)++] = value;
    return true;
}

static bool recovery_list_each(void *arg, const char *name, enum fs_kind kind)
{
    struct recovery *recovery = arg;
    if (strcmp(name, "weir-suspect") == 0)
        recovery->suspect = true;
    if (kind != FS_KIND_FILE || strlen(name) < 20)
        return true;
    int64_t base = segment_name_parse(name, ".log");
    if (base >= 0)
        return base_add(recovery, &recovery->bases, &recovery->base_count, &recovery->base_cap,
                        base);
    base = segment_name_parse(name, ".snapshot");
    if (base >= 0)
        return base_add(recovery, &recovery->snapshots, &recovery->snapshot_count,
                        &recovery->snapshot_cap, base);
    return true;
}

/* Step 1: names and small files. */
static enum err recovery_list(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    enum err err = fs_list(seglog->fs, seglog->dir, recovery_list_each, recovery, recovery->info);
    if (!err && recovery->out_of_memory)
        err = err_info_set(recovery->info, ERR_NO_MEMORY, "opening %s", seglog->name);
    if (err)
        return err;
    ASSERT(recovery->base_count <= recovery->base_cap);
    if (recovery->base_count > 0)
        qsort(recovery->bases, recovery->base_count, sizeof(int64_t), base_compare);
    if (recovery->snapshot_count > 0)
        qsort(recovery->snapshots, recovery->snapshot_count, sizeof(int64_t), base_compare);
    return ERR_OK;
}

/* A small file of the folder; *ret_data is the caller's to free, NULL: there is none. */
static enum err small_file_read(struct recovery *recovery, const char *name, uint8_t **ret_data,
                                struct slice *ret_text)
{
    char path[SEGLOG_PATH_MAX];
    size_t len = 0;
    *ret_data = NULL;
    int n = snprintf(path, sizeof(path), "%s/%s", recovery->seglog->dir, name);
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
    enum err err =
        fs_read_all(recovery->seglog->fs, path, RECOVER_STATE_MAX, ret_data, &len, recovery->info);
    ASSERT(err || *ret_data);
    *ret_text = slice_make(*ret_data, len);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/*
 * What the last flush left. A file that is there and cannot be read is an error of the disk, not a
 * log without a point: that would be walked from its start, and damage below the point would cut it.
 */
static enum err recovery_read_point(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    uint8_t *data = NULL;
    struct slice text;
    struct err_info why;
    enum err err = small_file_read(recovery, "weir-checkpoint", &data, &text);
    if (data && checkpoint_decode(text, &recovery->point, &why) == ERR_OK)
        recovery->has_point = recovery->point_told = true;
    else if (data)
        diag(DIAG_WARN, "seglog", "log=%s error=\"%s\"", seglog->name, why.text);
    free(data);
    data = NULL;
    if (!err && recovery->has_point)
        err = small_file_read(recovery, "leader-epoch-checkpoint", &data, &text);
    if (data) {
        if (epochs_decode(&seglog->epochs, text, &why) != ERR_OK) {
            diag(DIAG_WARN, "seglog", "log=%s error=\"%s\"", seglog->name, why.text);
            epochs_deinit(&seglog->epochs);
            recovery->has_point = false; /* walk everything: batches carry their epochs */
        }
        epochs_rewind(&seglog->epochs, recovery->point.offset);
        free(data);
    } else {
        recovery->has_point = recovery->has_point && recovery->point.offset.value == 0;
    }
    return err;
}

static enum err segment_size(struct seglog *seglog, struct record_offset base, uint64_t *ret_size,
                             struct err_info *info)
{
    char path[SEGLOG_PATH_MAX];
    struct fs_stat stat;
    if (!segment_path(path, seglog->dir, base, ".log"))
        return err_info_set(info, ERR_INVALID_ARGUMENT, "path too long");
    enum err err = fs_stat(seglog->fs, path, &stat, info);
    if (!err)
        *ret_size = stat.size;
    return err;
}

/* Makes the table of segments; the point counts only when its segment is there and long enough. */
static enum err recovery_segments(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    if (recovery->base_count == 0) {
        int64_t base = recovery->has_point ? recovery->point.offset.value : 0;
        if (!base_add(recovery, &recovery->bases, &recovery->base_count, &recovery->base_cap, base))
            return err_info_set(recovery->info, ERR_NO_MEMORY, "opening %s", seglog->name);
        recovery->fresh = true;
    }
    bool found = false;
    ASSERT(recovery->base_count > 0 && seglog->segment_count == 0);
    for (uint32_t i = 0; i < recovery->base_count; i++) {
        struct segment *segment =
            segment_create(record_offset(recovery->bases[i]), recovery->now_ms);
        if (!segment || !seglog_segment_add(seglog, segment)) {
            segment_destroy(segment);
            return err_info_set(recovery->info, ERR_NO_MEMORY, "opening %s", seglog->name);
        }
        uint64_t size = 0;
        if (!recovery->fresh) {
            enum err err = segment_size(seglog, segment->base, &size, recovery->info);
            if (err)
                return err;
        }
        segment->zeroed = size;
        segment->sealed = i + 1 < recovery->base_count;
        if (recovery->has_point && segment->base.value == recovery->point.segment.value &&
            size >= recovery->point.pos.value) {
            recovery->walk_index = i;
            found = true;
        }
    }
    if (recovery->has_point && !found &&
        recovery->point.offset.value == seglog->segments[0]->base.value)
        found = true; /* everything below was deleted: nothing to trust, nothing lost */
    ASSERT(seglog->segment_count == recovery->base_count);
    recovery->point_false = recovery->has_point && !found;
    recovery->has_point = recovery->has_point && found;
    if (!recovery->has_point) {
        recovery->walk_index = 0;
        epochs_deinit(&seglog->epochs);
    }
    return ERR_OK;
}

/* Producer state as of the point: the snapshot there, else made again from all batches before it.
 */
static enum err recovery_producers(struct recovery *recovery, struct record_offset upto)
{
    struct seglog *seglog = recovery->seglog;
    bool good = !recovery->has_point;
    for (uint32_t i = recovery->snapshot_count; i-- > 0 && !good;) {
        if (recovery->snapshots[i] != upto.value)
            continue;
        char path[SEGLOG_PATH_MAX];
        uint8_t *data = NULL;
        size_t len = 0;
        struct err_info why;
        if (!segment_path(path, seglog->dir, upto, ".snapshot"))
            break;
        enum err err =
            fs_read_all(seglog->fs, path, RECOVER_STATE_MAX, &data, &len, recovery->info);
        if (err)
            return err; /* the batches tell less: those of deleted segments are gone */
        err = producers_decode(&seglog->producers, slice_make(data, len), &why);
        free(data);
        good = err == ERR_OK;
        seglog->snapshots[0] = good ? upto : record_offset(-1);
        if (!good) {
            producers_clear(&seglog->producers);
            diag(DIAG_WARN, "seglog", "log=%s snapshot=%s error=\"%s\"", seglog->name, path,
                 why.text);
        }
    }
    if (good || upto.value == seglog->segments[0]->base.value)
        return ERR_OK;
    ASSERT(map_count(seglog->producers.map) == 0);
    return recovery_producers_rebuild(recovery, upto);
}

/* Step 3 for one segment, from pos. Sets *ret_whole when the segment was good to its end. */
static enum err recovery_walk(struct recovery *recovery, struct segment *segment, uint64_t pos,
                              bool *ret_whole)
{
    struct seglog *seglog = recovery->seglog;
    char path[SEGLOG_PATH_MAX];
    struct fs_file *file = NULL;
    *ret_whole = true;
    if (segment->zeroed == 0)
        return ERR_OK;
    if (!segment_path(path, seglog->dir, segment->base, ".log"))
        return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
    enum err err = fs_open(seglog->fs, path, FS_READ | FS_WRITE, &file, recovery->info);
    if (err)
        return err;
    struct walk walk;
    walk_init(&walk, file, pos, segment->zeroed, true);
    struct batch_header header;
    struct slice bytes;
    while (!err && walk_next(&walk, &header, &bytes)) {
        if (header.base_offset.value != seglog->end.value) {
            walk.stop = "offsets do not continue";
            break;
        }
        err = recovery_note(recovery, segment, &header);
    }
    if (!err && walk.err)
        err = err_info_set(recovery->info, walk.err, "%s", walk.info.text);
    ASSERT(segment->bytes >= pos && segment->bytes <= segment->zeroed);
    recovery->walked += segment->bytes - pos;
    if (!err && segment->bytes < segment->zeroed) {
        if (!walk.stop && walk_more_ahead(&walk))
            walk.stop = "zeros amid the data";
        if (walk.stop) {
            recovery->cut += segment->zeroed - segment->bytes;
            *ret_whole = false;
            diag(DIAG_WARN, "seglog", "log=%s segment=%s cut_at=%" PRIu64 " reason=\"%s\"",
                 seglog->name, path, segment->bytes, walk.stop);
        }
        err = fs_truncate(file, segment->bytes, recovery->info);
        segment->zeroed = segment->bytes;
        recovery->changed = true;
    }
    if (!err && recovery->suspect)
        err = recovery_rewrite(recovery, file, pos, segment->bytes);
    if (!err && (recovery->changed || segment->bytes > pos)) {
        err = fs_sync(file, recovery->info);
        if (err)
            seglog_suspect(seglog);
    }
    walk_deinit(&walk);
    fs_close(file);
    return err;
}

/* Removes the segments behind the one where the log was found to end. */
static enum err recovery_drop_behind(struct recovery *recovery, uint32_t last)
{
    struct seglog *seglog = recovery->seglog;
    static const char *const suffixes[] = {".log", ".index", ".timeindex"};
    while (seglog->segment_count > last + 1) {
        struct segment *segment = seglog->segments[seglog->segment_count - 1];
        for (uint32_t k = 0; k < 3; k++) {
            char path[SEGLOG_PATH_MAX];
            if (!segment_path(path, seglog->dir, segment->base, suffixes[k]))
                return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
            enum err err = fs_unlink(seglog->fs, path, recovery->info);
            if (err && err != ERR_NOT_FOUND)
                return err;
        }
        diag(DIAG_WARN, "seglog", "log=%s segment=%" PRId64 " dropped=yes", seglog->name,
             segment->base.value);
        recovery->cut += segment->zeroed;
        recovery->changed = true;
        seglog->segment_count--;
        segment_destroy(segment);
    }
    ASSERT(seglog->segment_count > 0);
    seglog_active(seglog)->sealed = false;
    return ERR_OK;
}

/* Steps 2 and 3 over all segments. */
static enum err recovery_run(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < recovery->walk_index && !err; i++)
        err = recovery_trust(recovery, i);
    ASSERT(recovery->walk_index < seglog->segment_count);
    struct segment *first = seglog->segments[recovery->walk_index];
    bool at_point = recovery->has_point && first->base.value == recovery->point.segment.value;
    uint64_t pos = at_point ? recovery->point.pos.value : 0;
    seglog->end = at_point ? recovery->point.offset : first->base;
    if (!err && at_point)
        err = recovery_trust_part(recovery, first, pos);
    if (!err)
        err = recovery_producers(recovery, seglog->end);
    for (uint32_t i = recovery->walk_index; i < seglog->segment_count && !err; i++) {
        struct segment *segment = seglog->segments[i];
        if (segment->base.value != seglog->end.value && i > recovery->walk_index)
            return recovery_drop_behind(recovery, i - 1);
        bool whole;
        err = recovery_walk(recovery, segment, i == recovery->walk_index ? pos : 0, &whole);
        if (!err && !whole)
            return recovery_drop_behind(recovery, i);
    }
    return err;
}

/*
 * Replaces a recovery point that the files contradict by one that trusts nothing: once the log has grown past its
 * position, the next start would take it for true.
 */
static enum err recovery_point_reset(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    struct record_offset base = seglog->segments[0]->base;
    struct bytebuf text;
    char path[SEGLOG_PATH_MAX];
    diag(DIAG_ERROR, "seglog",
         "log=%s point=%" PRId64 " error=\"not in the segments; they were walked\"", seglog->name,
         recovery->point.offset.value);
    recovery->point = (struct checkpoint){.log_start = seglog->start,
                                          .segment = base,
                                          .offset = base,
                                          .first_ms = -1,
                                          .max_ms = -1,
                                          .max_ms_last = record_offset(-1)};
    int n = snprintf(path, sizeof(path), "%s/weir-checkpoint", seglog->dir);
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_info_set(recovery->info, ERR_INVALID_ARGUMENT, "path too long");
    bytebuf_init(&text, 4096);
    checkpoint_encode(&recovery->point, &text);
    enum err err = text.failed
                       ? err_info_set(recovery->info, ERR_NO_MEMORY, "opening %s", seglog->name)
                       : fs_write_atomic(seglog->fs, path, bytebuf_slice(&text), recovery->info);
    bytebuf_deinit(&text);
    return err;
}

/* Step 5, and the rest of the fields. */
static enum err recovery_finish(struct recovery *recovery)
{
    struct seglog *seglog = recovery->seglog;
    enum err err = ERR_OK;
    /* A folder found here may never have been synced by the run that made it. */
    if (recovery->changed || recovery->walked > 0 || !seglog->folder_unsynced) {
        err = fs_sync_dir(seglog->fs, seglog->dir, recovery->info);
        if (!err)
            err = fs_sync_dir(seglog->fs, seglog->commit->store->folder, recovery->info);
    }
    seglog->start = seglog->segments[0]->base;
    if (recovery->point_told)
        seglog->start = record_offset_max(seglog->start, recovery->point.log_start);
    if (record_offset_before(seglog->end, seglog->start)) {
        seglog->start = seglog->end;
        recovery->point_false = true; /* its start would hide what is appended now */
    }
    if (!err && recovery->point_false)
        err = recovery_point_reset(recovery);
    for (uint32_t i = 0; i < seglog->segment_count; i++) {
        struct segment *segment = seglog->segments[i];
        segment->written = segment->bytes;
        segment->unsynced = false;
        segment->named =
            segment->zeroed > 0; /* the walk synced the folder, or a flush did long ago */
    }
    ASSERT(err || !record_offset_before(seglog->end, seglog->start));
    ASSERT(seglog_active(seglog)->bytes == seglog_active(seglog)->zeroed || err); /* (4) */
    seglog->written = seglog->synced = seglog->journaled = seglog->durable_wanted = seglog->end;
    seglog->tail.keep = seglog->end;
    seglog->point = recovery->point;
    seglog->point_bytes = recovery->walked;
    seglog->mark_written = seglog->mark_round = seglog_mark(seglog);
    struct leader_epoch last = seglog->epochs.count
                                   ? seglog->epochs.rows[seglog->epochs.count - 1].epoch
                                   : leader_epoch(-1);
    seglog->epoch = seglog_store_epoch(seglog->commit->store);
    if (seglog->epoch.value <= last.value)
        seglog->epoch = leader_epoch(last.value + 1);
    ASSERT(seglog->epoch.value > last.value && seglog->epoch.value >= 0);
    return err;
}

enum err seglog_recover(struct seglog *seglog, const struct seglog_open *open, int64_t now_ms,
                        uint64_t *ret_walked, uint64_t *ret_cut, struct err_info *info)
{
    ASSERT(seglog->segment_count == 0 && !seglog->in_round && seglog->tail.count == 0);
    struct recovery recovery = {.seglog = seglog, .now_ms = now_ms, .info = info};
    seglog->snapshots[0] = seglog->snapshots[1] = record_offset(-1);
    enum err err = recovery_folder(&recovery, open->must_exist);
    if (!err)
        err = recovery_list(&recovery);
    if (!err)
        err = recovery_read_point(&recovery);
    if (!err)
        err = recovery_segments(&recovery);
    if (!err)
        err = recovery_run(&recovery);
    if (!err)
        err = recovery_replay(&recovery);
    if (!err)
        err = recovery_finish(&recovery);
    if (!err)
        recovery_clean(&recovery);
    ASSERT(err || seglog->segment_count > 0);
    *ret_walked = recovery.walked;
    *ret_cut = recovery.cut;
    free(recovery.bases);
    free(recovery.snapshots);
    return err;
}
