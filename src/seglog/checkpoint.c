/*
 * The recovery point of a log.
 *
 * Role: tells the next start where to begin its walk, and where the log starts. One small text
 * file, replaced atomically:
 *
 *   weir-checkpoint:  "weir-checkpoint 1\n"
 *                     "start <log start offset>\n"
 *                     "point <segment base> <position> <offset>\n"
 *                     "times <first> <greatest timestamp of the segment so far> <last offset of its
 * batch>\n" "crc <CRC-32C of the lines above, decimal>\n"
 *
 * Invariants: (1) everything below `offset` was synced before the file was written, indexes and
 * producer snapshot included; (2) segment <= offset.
 *
 * Ownership: values are the owner shard's; the file is written by a flush on a worker.
 *
 * Failure modes: a missing or damaged file means a walk from the first segment; nothing is lost by
 * it but the start offset of a DeleteRecords inside a segment. One that the segments contradict is
 * replaced by one whose offset is the first segment's base, which trusts nothing.
 */
#include <inttypes.h>

#include "base/crc32c.h"
#include "base/numtext.h"
#include "seglog/seglog_int.h"

static const char checkpoint_magic[] = "weir-checkpoint 1\n";

void checkpoint_encode(const struct checkpoint *checkpoint, struct bytebuf *out)
{
    ASSERT(checkpoint->segment.value <= checkpoint->offset.value); /* (2) */
    ASSERT(checkpoint->log_start.value >= 0 && checkpoint->segment.value >= 0);
    size_t from = out->len;
    bytebuf_append_cstr(out, checkpoint_magic);
    bytebuf_printf(out, "start %" PRId64 "\npoint %" PRId64 " %" PRIu64 " %" PRId64 "\n",
                   checkpoint->log_start.value, checkpoint->segment.value, checkpoint->pos.value,
                   checkpoint->offset.value);
    bytebuf_printf(out, "times %" PRId64 " %" PRId64 " %" PRId64 "\n", checkpoint->first_ms,
                   checkpoint->max_ms, checkpoint->max_ms_last.value);
    if (!out->failed)
        bytebuf_printf(out, "crc %" PRIu32 "\n", crc32c(0, out->data + from, out->len - from));
}

/* Takes `word` off the front. */
static bool word_take(struct slice *text, const char *word)
{
    struct slice prefix = slice_cstr(word);
    if (!slice_starts_with(*text, prefix))
        return false;
    *text = slice_sub(*text, prefix.len, SIZE_MAX);
    return true;
}

static bool number_take(struct slice *text, uint8_t end, int64_t *ret_value)
{
    size_t at = slice_find_byte(*text, end, 0);
    if (at == SIZE_MAX || !numtext_read_int64(slice_sub(*text, 0, at), ret_value))
        return false;
    *text = slice_sub(*text, at + 1, SIZE_MAX);
    return true;
}

enum err checkpoint_decode(struct slice text, struct checkpoint *ret_checkpoint,
                           struct err_info *info)
{
    struct slice all = text;
    int64_t start, segment, pos, offset, first, greatest, last, crc;
    if (!word_take(&text, checkpoint_magic) || !word_take(&text, "start ") ||
        !number_take(&text, '\n', &start) || !word_take(&text, "point ") ||
        !number_take(&text, ' ', &segment) || !number_take(&text, ' ', &pos) ||
        !number_take(&text, '\n', &offset) || !word_take(&text, "times ") ||
        !number_take(&text, ' ', &first) || !number_take(&text, ' ', &greatest) ||
        !number_take(&text, '\n', &last))
        return err_info_set(info, ERR_CORRUPT, "checkpoint is malformed");
    size_t covered = all.len - text.len;
    if (!word_take(&text, "crc ") || !number_take(&text, '\n', &crc) || text.len != 0 ||
        (uint64_t)crc != crc32c(0, all.data, covered))
        return err_info_set(info, ERR_CORRUPT, "checkpoint fails its checksum");
    if (segment < 0 || pos < 0 || start < 0 || segment > offset)
        return err_info_set(info, ERR_CORRUPT, "checkpoint contradicts itself");
    *ret_checkpoint = (struct checkpoint){.log_start = record_offset(start),
                                          .segment = record_offset(segment),
                                          .pos = file_pos((uint64_t)pos),
                                          .offset = record_offset(offset),
                                          .first_ms = first,
                                          .max_ms = greatest,
                                          .max_ms_last = record_offset(last)};
    return ERR_OK;
}
