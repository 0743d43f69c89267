/*
 * The walk over what a fetch brought: record by record, partition after partition.
 *
 *   parts -> ranges of a part -> batches of a range -> records of a batch
 *
 * Invariants: (1) a position is the offset behind the last record handed out of its partition, with the epoch of that
 * record; it never goes back; (2) values of compressed batches lie in one scratch buffer, so a flush is asked for before
 * the next such batch; (3) every call hands something out, moves a position, or ends the walk.
 * Ownership: the source's shard; values are views of the pinned answers and of scratch.
 * Failure: a batch that does not inflate, or whose records end in damage, is passed and its records are counted as
 * unreadable (producers may send such bytes: the broker keeps compressed batches as they are). Want of memory, and bytes
 * without a batch header, pass nothing: the first may be over soon, behind the second nobody knows where to go on.
 */
#include "base/assert.h"
#include "base/diag.h"
#include "connect/topic_source_int.h"
#include "io/fault.h"

FAULT_DEFINE(fault_inflate, "job.inflate")

/* What a call of the walk gives back. */
struct walk_answer {
    enum source_next next;
    struct source_event *ret_event;
    struct err_info *info;
};

void topic_source_walk_start(struct topic_source *ts)
{
    ASSERT(ts->fetched);
    ts->walk_part = 0;
    ts->walk_range = 0;
    ts->rest = SLICE_NULL;
    ts->in_batch = false;
}

/* The next range with bytes; false: all have been walked. */
static bool next_range(struct topic_source *ts)
{
    while (ts->fetched && ts->walk_part < ts->part_count) {
        const struct broker_fetch_part *part = &ts->parts[ts->walk_part];
        if (part->err == ERR_OK && ts->walk_range < part->range_count) {
            ts->rest = part->ranges[ts->walk_range++].bytes;
            if (ts->rest.len > 0)
                return true;
            continue;
        }
        ts->walk_part++;
        ts->walk_range = 0;
    }
    return false;
}

static void position_move(struct topic_source *ts, const struct batch_header *header,
                          int64_t offset)
{
    struct broker_fetch_part *part = &ts->parts[ts->walk_part];

    ASSERT(ts->walk_part < ts->part_count);
    if (part->offset >= offset)
        return;
    part->offset = offset;
    ts->in[ts->walk_part].epoch = header->epoch.value;
}

/* Passes what is left of a batch; true: count records of it could not be read, and *ret_next says so. */
static bool pass_batch(struct topic_source *ts, const struct batch_header *header, int64_t count,
                       const char *why, struct walk_answer *answer)
{
    const struct broker_fetch_part *part = &ts->parts[ts->walk_part];
    uint32_t input = ts->in[ts->walk_part].input;

    position_move(ts, header, batch_end_offset(header).value);
    if (count <= 0)
        return false;
    *answer->ret_event = (struct source_event){.input = input, .unreadable = (uint32_t)count};
    (void)err_info_set(answer->info, ERR_CORRUPT_MESSAGE, "%s (%.*s-%d, offset %lld)", why,
                       SLICE_FMT(ts->topics[input]), part->partition,
                       (long long)header->base_offset.value);
    diag(DIAG_WARN, "job", "batch=unreadable records=%lld reason=\"%s\"", (long long)count,
         answer->info->text);
    answer->next = SOURCE_UNREADABLE;
    return true;
}

/* Records that a header promises: never more than the offsets it takes. */
static int64_t header_records(const struct batch_header *header)
{
    int64_t most = (int64_t)header->last_offset_delta + 1;

    return header->record_count < most ? header->record_count : most;
}

static bool fail(struct topic_source *ts, enum err err, const char *why, struct walk_answer *answer)
{
    const struct broker_fetch_part *part = &ts->parts[ts->walk_part];
    struct slice topic = ts->topics[ts->in[ts->walk_part].input];

    (void)err_info_set(answer->info, err, "input topic '%.*s', partition %d, offset %lld: %s",
                       SLICE_FMT(topic), part->partition, (long long)part->offset, why);
    answer->next = SOURCE_FAILED;
    return true;
}

/* Begins the batch at the front of rest, or passes it when it has no events for us. true: there is an answer. */
static bool begin_batch(struct topic_source *ts, struct walk_answer *answer)
{
    struct batch_header header;
    struct err_info why;

    if (batch_header_read(ts->rest, &header, &why) != ERR_OK)
        return fail(ts, ERR_CORRUPT, "there is no record batch where one is due", answer);
    bool inflates = batch_codec(&header) != BATCH_CODEC_NONE;
    if (inflates && ts->scratch_used) { /* (2) */
        ts->scratch_used = false;
        answer->next = SOURCE_FLUSH;
        return true;
    }
    bool control = header.attributes & BATCH_ATTR_CONTROL;
    enum err err = control ? ERR_OK : fault_check(&fault_inflate);
    if (err == ERR_OK && !control)
        err = batch_iter_init(&ts->iter, slice_sub(ts->rest, 0, header.size), &ts->scratch, &why);
    if (err == ERR_NO_MEMORY)
        return fail(ts, err, "out of memory for a batch", answer);
    ts->rest = slice_sub(ts->rest, header.size, ts->rest.len);
    ts->scratch_used |= inflates;
    if (control)
        return pass_batch(ts, &header, 0, NULL, answer);
    if (err != ERR_OK)
        return pass_batch(ts, &header, header_records(&header), why.text, answer);
    ts->in_batch = true;
    return false;
}

/* The batch has no more records: all were walked, or what follows is damaged. true: there is an answer. */
static bool end_batch(struct topic_source *ts, struct walk_answer *answer)
{
    const struct batch_iter *iter = &ts->iter;
    int64_t left = iter->err != ERR_OK ? header_records(&iter->header) - iter->index : 0;

    ts->in_batch = false;
    return pass_batch(ts, &iter->header, left, iter->fault, answer);
}

/* The next record of the batch that is for us; false: the batch has ended. */
static bool next_record(struct topic_source *ts, struct source_event *ret_event)
{
    struct batch_record record;

    while (batch_iter_next(&ts->iter, &record)) {
        if (record.offset.value < ts->parts[ts->walk_part].offset)
            continue; /* the first batch may begin before the position */
        position_move(ts, &ts->iter.header, record.offset.value + 1);
        *ret_event = (struct source_event){.input = ts->in[ts->walk_part].input,
                                           .value = record.value,
                                           .arrival_ms = record.timestamp_ms};
        return true;
    }
    return false;
}

enum source_next topic_source_walk(struct topic_source *ts, struct source_event *ret_event,
                                   struct err_info *info)
{
    struct walk_answer answer = {SOURCE_DRAINED, ret_event, info};

    for (;;) {
        if (ts->in_batch && next_record(ts, ret_event))
            return SOURCE_EVENT;
        if (ts->in_batch) {
            if (end_batch(ts, &answer))
                return answer.next;
            continue;
        }
        if (ts->rest.len == 0 && !next_range(ts))
            return SOURCE_DRAINED;
        if (begin_batch(ts, &answer))
            return answer.next;
    }
}
