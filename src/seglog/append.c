/*
 * Append: from a validated batch to a place in the log.
 *
 * Role: assigns offsets on the owner shard, at once; the bytes follow in the next commit round.
 *
 *   check producer -> roll? -> patch offset, epoch, time -> tail -> counts, indexes, producer state
 * -> dirty list
 *
 * Invariants: (1) nothing of the log changes before every check has passed and all memory is there;
 * (2) offsets are assigned without gaps; (3) what changed can be taken back until the round that
 * writes it ends well: undo entries for producers, marks for segments.
 *
 * Ownership: owner shard. The batch's reference moves into the tail on success.
 *
 * Failure modes: refusals leave the log and the reference untouched. While the disk was full
 * moments ago appends are refused at once instead of queueing behind writes that will fail.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "seglog/commit_int.h"

enum { UNDO_MAX = 1 << 20 };

static enum err append_gate(struct seglog *seglog, const struct slice bytes, struct err_info *info)
{
    struct commit *commit = seglog->commit;
    if (seglog->ending)
        return err_info_set(info, ERR_CLOSING, "log %s is closing", seglog->name);
    if (seglog->life == SEGLOG_OFFLINE)
        return err_info_set(info, ERR_STORAGE, "log %s is offline", seglog->name);
    if (commit->pending_bytes > 0 &&
        commit->pending_bytes + bytes.len > commit->config.pending_bytes_max)
        return err_info_set(info, ERR_BUSY, "%zu bytes wait to be written", commit->pending_bytes);
    if (seglog->full_until_us > reactor_now_us(commit->reactor))
        return err_info_set(info, ERR_DISK_FULL, "no space for log %s", seglog->name);
    if (bytes.len > seglog->config.segment_bytes)
        return err_info_set(info, ERR_RECORD_LIST_TOO_LARGE,
                            "batch of %zu bytes, segments hold %" PRIu64, bytes.len,
                            seglog->config.segment_bytes);
    return ERR_OK;
}

/* Whether the batch needs a new segment. */
static bool roll_needed(const struct seglog *seglog, const struct batch_header *header,
                        int64_t now_ms)
{
    const struct segment *active = seglog_active(seglog);
    if (active->bytes == 0)
        return false;
    if (active->bytes + header->size > seglog->config.segment_bytes)
        return true;
    if (batch_last_offset(header).value - active->base.value > INT32_MAX)
        return true;
    if (active->index.flushed + active->index.len >= 10 * 1024 * 1024)
        return true;
    return now_ms - active->created_ms > seglog->config.segment_ms;
}

/* Seals the active segment and makes a new one at the log's end. False: out of memory. */
bool seglog_roll(struct seglog *seglog, int64_t now_ms)
{
    struct segment *sealed = seglog_active(seglog);
    struct segment *segment = segment_create(seglog->end, now_ms);
    if (!segment || !seglog_segment_add(seglog, segment)) {
        segment_destroy(segment);
        return false;
    }
    ASSERT(record_offset_before(sealed->base, segment->base));
    sealed->sealed = true;
    return true;
}

/* Remembers what the batch will change in its producer's state. False: out of memory. */
static bool undo_push(struct seglog *seglog, const struct batch_header *header)
{
    if (header->producer_id < 0)
        return true;
    void *undo = seglog->undo;
    if (seglog->undo_count >= UNDO_MAX ||
        !grow(&undo, &seglog->undo_cap, seglog->undo_count, 1, sizeof(*seglog->undo)))
        return false;
    seglog->undo = undo;
    const struct producer *known = producers_get(&seglog->producers, header->producer_id);
    struct producer_undo *entry = &seglog->undo[seglog->undo_count++];
    entry->base = header->base_offset;
    entry->former = known ? *known : (struct producer){.id = header->producer_id};
    return true;
}

static void append_wait(struct seglog *seglog, struct seglog_append *append)
{
    if (seglog->config.always_durable)
        append->ack = SEGLOG_ACK_DURABLE;
    if (append->ack == SEGLOG_ACK_DURABLE)
        seglog->durable_wanted = record_offset_max(seglog->durable_wanted, append->wait_end);
    append->seglog = seglog;
    append->err = ERR_OK;
    list_push_back(&seglog->waiting, &append->node);
    commit_mark(seglog->commit, seglog);
}

/* A repetition: answered with the first time's offsets, as soon as the first time's promise holds.
 */
static enum err append_duplicate(struct seglog *seglog, struct seglog_append *append,
                                 const struct producer_batch *first)
{
    append->duplicate = true;
    append->last_offset = first->last_offset;
    append->base_offset = record_offset_add(first->last_offset, -(int64_t)first->delta);
    append->append_time_ms = seglog->config.append_time ? first->timestamp_ms : -1;
    append->wait_end = record_offset_add(first->last_offset, 1);
    iobuf_unref(append->batch.buf);
    append->batch = (struct iobuf_range){NULL, SLICE_NULL};
    append_wait(seglog, append);
    return ERR_OK;
}

/* Patches the batch for its place. bytes belong to the request alone. */
static void append_patch(struct seglog *seglog, struct seglog_append *append,
                         struct batch_header *header, int64_t now_ms)
{
    uint8_t *data = (uint8_t *)(uintptr_t)append->batch.bytes.data;
    header->base_offset = seglog->end;
    header->epoch = seglog->epoch;
    batch_patch_position(data, seglog->end, seglog->epoch);
    append->append_time_ms = -1;
    if (seglog->config.append_time) {
        batch_patch_append_time(data, header->size, now_ms);
        header->max_timestamp_ms = now_ms;
        append->append_time_ms = now_ms;
    }
    append->duplicate = false;
    append->base_offset = header->base_offset;
    append->last_offset = batch_last_offset(header);
    append->wait_end = batch_end_offset(header);
}

/* Puts the patched batch at the log's end. */
static enum err append_place(struct seglog *seglog, struct seglog_append *append,
                             const struct batch_header *header, struct err_info *info)
{
    if (!undo_push(seglog, header))
        return err_info_set(info, ERR_NO_MEMORY, "producer state of log %s", seglog->name);
    bool noted = producers_note(&seglog->producers, header, header->max_timestamp_ms);
    if (!noted || !epochs_note(&seglog->epochs, header->epoch, header->base_offset) ||
        !tail_push(seglog, &append->batch, header)) {
        if (header->producer_id >= 0) {
            seglog->undo_count--;
            if (noted)
                producers_restore(&seglog->producers, &seglog->undo[seglog->undo_count].former);
        }
        epochs_rewind(&seglog->epochs, seglog->end);
        return err_info_set(info, ERR_NO_MEMORY, "tail of log %s", seglog->name);
    }
    segment_note(seglog_active(seglog), header, seglog->config.index_interval_bytes);
    seglog->end = batch_end_offset(header);
    seglog->pending_bytes += header->size;
    seglog->commit->pending_bytes += header->size;
    return ERR_OK;
}

enum err seglog_append(struct seglog *seglog, struct seglog_append *append, struct err_info *info)
{
    ASSERT(append->on_done && append->batch.bytes.data);
    enum err err = append_gate(seglog, append->batch.bytes, info);
    struct batch_header header;
    if (!err)
        err = batch_header_read(append->batch.bytes, &header, info);
    if (!err && header.size != append->batch.bytes.len)
        err = err_info_set(info, ERR_INVALID_RECORD, "not one whole batch");
    struct producer_batch first = {.delta = -1};
    if (!err)
        err = producers_check(&seglog->producers, &header, &first, info);
    if (err)
        return err;
    if (first.delta >= 0)
        return append_duplicate(seglog, append, &first);
    if (seglog->end.value > INT64_MAX - INT32_MAX - 1)
        return err_info_set(info, ERR_LIMIT, "log %s has no offsets left", seglog->name);
    int64_t now_ms = reactor_wall_ms(seglog->commit->reactor);
    append_patch(seglog, append, &header, now_ms);
    if (roll_needed(seglog, &header, now_ms) && !seglog_roll(seglog, now_ms))
        return err_info_set(info, ERR_NO_MEMORY, "new segment of log %s", seglog->name);
    err = append_place(seglog, append, &header, info);
    if (err)
        return err;
    append_wait(seglog, append);
    tail_evict(seglog->commit);
    DASSERT((seglog_check(seglog), true));
    return ERR_OK;
}
