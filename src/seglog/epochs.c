/*
 * Leader epochs: which run of the server wrote from which offset on.
 *
 * Role: answers OffsetForLeaderEpoch, and gives fetch answers the epoch of an offset. Kept in
 * Kafka's text form:
 *
 *   leader-epoch-checkpoint:  "0\n" version, "<count>\n", then "<epoch> <start offset>\n" per row
 *
 * Invariants: (1) epochs and start offsets rise strictly from row to row; (2) the last row's epoch
 * is the one of the newest batch. Every batch carries its epoch, so a lost file is made again from
 * the batches.
 *
 * Ownership: owner shard; recovery fills it on a worker before the log is shared.
 *
 * Failure modes: at EPOCHS_MAX rows the oldest row goes; a damaged file is an error that recovery
 * answers by a walk.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/numtext.h"
#include "seglog/seglog_int.h"

void epochs_deinit(struct epochs *epochs)
{
    free(epochs->rows);
    *epochs = (struct epochs){.rows = NULL};
}

static bool epochs_push(struct epochs *epochs, struct epoch_start row)
{
    if (epochs->count == epochs->cap) {
        uint32_t cap = epochs->cap ? epochs->cap * 2 : 4;
        struct epoch_start *grown = realloc(epochs->rows, cap * sizeof(*grown));
        if (!grown)
            return false;
        epochs->rows = grown;
        epochs->cap = cap;
    }
    if (epochs->count == EPOCHS_MAX) {
        memmove(epochs->rows, epochs->rows + 1, (EPOCHS_MAX - 1) * sizeof(*epochs->rows));
        epochs->count--;
    }
    ASSERT(epochs->count < epochs->cap);
    epochs->rows[epochs->count++] = row;
    ASSERT(epochs->count <= EPOCHS_MAX);
    return true;
}

bool epochs_note(struct epochs *epochs, struct leader_epoch epoch, struct record_offset offset)
{
    ASSERT(offset.value >= 0);
    if (epoch.value < 0)
        return true;
    if (epochs->count > 0 && epochs->rows[epochs->count - 1].epoch.value >= epoch.value)
        return true;
    epochs_rewind(epochs, offset);
    ASSERT(epochs->count == 0 || /* (1) */
           (epochs->rows[epochs->count - 1].epoch.value < epoch.value &&
            record_offset_before(epochs->rows[epochs->count - 1].start, offset)));
    return epochs_push(epochs, (struct epoch_start){epoch, offset});
}

void epochs_rewind(struct epochs *epochs, struct record_offset end)
{
    ASSERT(end.value >= 0 && epochs->count <= epochs->cap);
    while (epochs->count > 0 && !record_offset_before(epochs->rows[epochs->count - 1].start, end))
        epochs->count--;
}

void epochs_trim(struct epochs *epochs, struct record_offset start)
{
    uint32_t drop = 0;
    ASSERT(start.value >= 0);
    while (drop + 1 < epochs->count && !record_offset_before(start, epochs->rows[drop + 1].start))
        drop++;
    if (drop > 0) {
        memmove(epochs->rows, epochs->rows + drop, (epochs->count - drop) * sizeof(*epochs->rows));
        epochs->count -= drop;
    }
    if (epochs->count > 0 && record_offset_before(epochs->rows[0].start, start))
        epochs->rows[0].start = start;
    ASSERT(epochs->count < 2 || /* (1) */
           record_offset_before(epochs->rows[0].start, epochs->rows[1].start));
}

void epochs_encode(const struct epochs *epochs, struct bytebuf *out)
{
    ASSERT(epochs->count <= EPOCHS_MAX);
    bytebuf_printf(out, "0\n%u\n", epochs->count);
    for (uint32_t i = 0; i < epochs->count; i++)
        bytebuf_printf(out, "%" PRId32 " %" PRId64 "\n", epochs->rows[i].epoch.value,
                       epochs->rows[i].start.value);
}

/* Takes the number in front of the byte `end` off the text. */
static bool number_take(struct slice *text, uint8_t end, int64_t *ret_value)
{
    size_t at = slice_find_byte(*text, end, 0);
    if (at == SIZE_MAX || !numtext_read_int64(slice_sub(*text, 0, at), ret_value))
        return false;
    *text = slice_sub(*text, at + 1, SIZE_MAX);
    return true;
}

enum err epochs_decode(struct epochs *epochs, struct slice text, struct err_info *info)
{
    ASSERT(epochs->count == 0);
    int64_t version, count;
    if (!number_take(&text, '\n', &version) || version != 0 || !number_take(&text, '\n', &count) ||
        count < 0 || count > EPOCHS_MAX)
        return err_info_set(info, ERR_CORRUPT, "leader-epoch-checkpoint has no valid head");
    for (int64_t i = 0; i < count; i++) {
        int64_t epoch, start;
        if (!number_take(&text, ' ', &epoch) || !number_take(&text, '\n', &start) || epoch < 0 ||
            epoch > INT32_MAX || start < 0)
            return err_info_set(info, ERR_CORRUPT, "leader-epoch-checkpoint has a bad row");
        const struct epoch_start *last = epochs->count ? &epochs->rows[epochs->count - 1] : NULL;
        if (last && (last->epoch.value >= epoch || last->start.value >= start))
            return err_info_set(info, ERR_CORRUPT, "leader-epoch-checkpoint is not in order");
        if (!epochs_push(epochs,
                         (struct epoch_start){leader_epoch((int32_t)epoch), record_offset(start)}))
            return err_info_set(info, ERR_NO_MEMORY, "leader epochs");
    }
    return ERR_OK;
}
