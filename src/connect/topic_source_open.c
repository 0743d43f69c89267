/*
 * Where a topic source begins: the inputs' topics, their partitions, a position for each.
 *
 *   topics, one after another -> partitions with what was saved of them -> for each an offset:
 *
 *     saved with its epoch     as saved, unless the log ends that epoch earlier: then from that end
 *     saved without an epoch   as saved
 *     nothing of this topic    by the start rule, earliest or latest
 *     topic or partition new   from its start, whatever the rule: it was made while the job had its positions
 *
 * Jobs read whatever readers may see, which with acks=1 is what the kernel has: the power may take it back after the
 * job has read it, and the log then goes on below the saved position with other records. They bear the epoch of a later
 * run of the server, since each run has its own; so the position keeps the epoch of the record before it, and the log's
 * list of epochs tells whether that record is still there. Reading up to the durable end only would need no epochs, but
 * would make every job wait for a sync of records that nobody asked to be synced.
 *
 * Invariants: (1) no event that the log holds and the saved positions do not cover is skipped; (2) positions that
 * cannot be read are an error. Ownership: the source's shard. Failure: what may pass (no such topic yet, partitions
 * that are still being recovered or are offline without a position) is a retriable error; an offline partition with a
 * position keeps it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "connect/topic_source_int.h"

enum { PART_BYTES = 4 << 20, PARTS_MAX = 4096 };

static void open_next_topic(struct topic_source *ts);
static void open_next_offset(struct topic_source *ts);

static void open_finish(struct topic_source *ts, enum err err, const struct err_info *info)
{
    json_decref(ts->saved);
    ts->saved = NULL;
    topic_source_finish(ts, err, info);
}

static bool parts_reserve(struct topic_source *ts, uint32_t more)
{
    if (ts->part_count + more <= ts->part_cap)
        return true;
    if (ts->part_count + more > PARTS_MAX)
        return false;
    uint32_t cap = ts->part_count + more + 16;
    struct broker_fetch_part *parts = realloc(ts->parts, cap * sizeof(*parts));
    if (parts == NULL)
        return false;
    ts->parts = parts;
    struct in_part *in = realloc(ts->in, cap * sizeof(*in));
    if (in == NULL)
        return false;
    ts->in = in;
    ts->part_cap = cap;
    return true;
}

/* What was saved for an input; NULL: nothing. */
static const json_t *saved_entry(const struct topic_source *ts, uint32_t input)
{
    char key[TOPIC_NAME_MAX + 16];

    snprintf(key, sizeof(key), "%u:%.*s", input, SLICE_FMT(ts->topics[input]));
    return json_object_get(ts->saved, key);
}

/* A number of the entry's list for a partition of this very topic; -1: none. */
static int64_t saved_number(const json_t *entry, const char *list, const struct topic *topic,
                            int32_t partition)
{
    char id[UUID_TEXT_LEN + 1];
    const char *saved_id = json_string_value(json_object_get(entry, "id"));
    const json_t *number = json_array_get(json_object_get(entry, list), (size_t)partition);

    uuid_write_text(topic->id, id);
    if (saved_id == NULL || strcmp(saved_id, id) != 0 || !json_is_integer(number))
        return -1;
    return json_integer_value(number);
}

bool topic_source_add_parts(struct topic_source *ts, uint32_t at, const struct topic *topic,
                            const json_t *entry)
{
    struct in_topic *input = &ts->inputs[at];

    ASSERT(at < ts->topic_count && input->partitions <= topic->partition_count);
    if (!parts_reserve(ts, (uint32_t)(topic->partition_count - input->partitions)))
        return false;
    input->id = topic->id;
    for (int32_t p = input->partitions; p < topic->partition_count; p++) {
        int64_t epoch = saved_number(entry, "epochs", topic, p);
        struct broker_fetch_part *part = &ts->parts[ts->part_count];
        *part = (struct broker_fetch_part){.topic_id = topic->id,
                                           .partition = p,
                                           .offset = saved_number(entry, "offsets", topic, p),
                                           .max_bytes = PART_BYTES,
                                           .leader_epoch = -1};
        ts->in[ts->part_count++] = (struct in_part){
            .input = at, .epoch = epoch <= INT32_MAX ? (int32_t)epoch : -1, .end = -1};
    }
    input->partitions = topic->partition_count;
    return true;
}

/* A partition whose log cannot be asked; true: its position stands, and the others go on. */
static bool offline_keeps(const struct topic_source *ts, enum err err)
{
    return err == ERR_STORAGE && ts->parts[ts->part_at].offset >= 0;
}

static void offset_failed(struct topic_source *ts, enum err err)
{
    const struct broker_fetch_part *part = &ts->parts[ts->part_at];
    struct slice topic = ts->topics[ts->in[ts->part_at].input];
    struct err_info info;

    /* Offline until the server starts again, or gone and to be looked for anew: not the job's end. */
    enum err shown = err == ERR_STORAGE || err == ERR_UNKNOWN_TOPIC_OR_PARTITION
                         ? ERR_LEADER_NOT_AVAILABLE
                         : err;
    (void)err_info_set(&info, shown, "input topic '%.*s', partition %d: %s", SLICE_FMT(topic),
                       part->partition, err_row(err)->text);
    open_finish(ts, shown, &info);
}

/* Holds a saved position against the end of its epoch. */
static void position_check(struct topic_source *ts, const struct broker_offset_op *op)
{
    struct broker_fetch_part *part = &ts->parts[ts->part_at];
    int64_t end = op->offset >= 0 ? op->offset : op->log_start_offset;

    ASSERT(part->offset >= 0);
    if (part->offset <= end)
        return;
    diag(DIAG_WARN, "job",
         "topic=%.*s partition=%d position=%lld epoch=%d end=%lld reason=\"records that were read "
         "are gone; reading goes on from the end of their epoch\"",
         SLICE_FMT(ts->topics[ts->in[ts->part_at].input]), part->partition, (long long)part->offset,
         ts->in[ts->part_at].epoch, (long long)end);
    part->offset = end;
    ts->in[ts->part_at].epoch = op->leader_epoch;
}

static void on_offset(struct broker_offset_op *op)
{
    struct topic_source *ts = CONTAINER_OF(op, struct topic_source, offset_op);
    struct broker_fetch_part *part = &ts->parts[ts->part_at];

    if (op->err != ERR_OK && !offline_keeps(ts, op->err)) {
        offset_failed(ts, op->err);
        return;
    }
    if (op->err == ERR_OK && op->query == BROKER_OFFSET_OF_EPOCH) {
        position_check(ts, op);
    } else if (op->err == ERR_OK) {
        part->offset = op->offset < 0 ? 0 : op->offset;
        ts->in[ts->part_at].epoch = op->leader_epoch;
    }
    ts->part_at++;
    open_next_offset(ts);
}

/* Positions of the partitions that have none, or one to be checked. */
static void open_next_offset(struct topic_source *ts)
{
    while (ts->part_at < ts->part_count && ts->parts[ts->part_at].offset >= 0 &&
           ts->in[ts->part_at].epoch < 0)
        ts->part_at++;
    if (ts->part_at == ts->part_count) {
        open_finish(ts, ERR_OK, NULL);
        return;
    }
    const struct broker_fetch_part *part = &ts->parts[ts->part_at];
    enum broker_offset_query start =
        ts->start == JOB_START_LATEST ? BROKER_OFFSET_LATEST : BROKER_OFFSET_EARLIEST;
    ts->offset_op =
        (struct broker_offset_op){.topic_id = part->topic_id,
                                  .partition = part->partition,
                                  .query = part->offset >= 0 ? BROKER_OFFSET_OF_EPOCH : start,
                                  .epoch = ts->in[ts->part_at].epoch,
                                  .current_epoch = -1,
                                  .done = on_offset};
    broker_offset(ts->bs, &ts->offset_op);
}

/* Partitions of the topic, with their saved positions; a topic that was read before is not begun at its end. */
static bool add_topic(struct topic_source *ts, const struct topic *topic)
{
    const json_t *entry = saved_entry(ts, ts->topic_at);
    uint32_t first = ts->part_count;

    ts->inputs[ts->topic_at].partitions = 0;
    if (!topic_source_add_parts(ts, ts->topic_at, topic, entry))
        return false;
    for (uint32_t i = first; i < ts->part_count && entry != NULL; i++) {
        if (ts->parts[i].offset < 0)
            ts->parts[i].offset = 0;
    }
    return true;
}

static void on_topic(struct broker_topic_op *op)
{
    struct topic_source *ts = CONTAINER_OF(op, struct topic_source, topic_op);

    if (op->err == ERR_UNKNOWN_TOPIC_OR_PARTITION) {
        /* Topics are not made by themselves here: it may be made later. */
        op->err = err_info_set(&op->info, ERR_LEADER_NOT_AVAILABLE,
                               "the input topic '%.*s' does not exist", SLICE_FMT(op->name));
        open_finish(ts, op->err, &op->info);
    } else if (op->err != ERR_OK) {
        err_info_wrap(&op->info, "input topic '%.*s'", SLICE_FMT(op->name));
        open_finish(ts, op->err, &op->info);
    } else if (!add_topic(ts, op->topic)) {
        (void)err_info_set(&op->info, ERR_LIMIT, "a job reads at most %d partitions", PARTS_MAX);
        open_finish(ts, ERR_LIMIT, &op->info);
    } else {
        ts->topic_at++;
        open_next_topic(ts);
    }
}

static void open_next_topic(struct topic_source *ts)
{
    if (ts->topic_at == ts->topic_count) {
        ts->part_at = 0;
        open_next_offset(ts);
        return;
    }
    ts->topic_op = (struct broker_topic_op){.action = BROKER_TOPIC_ENSURE,
                                            .name = ts->topics[ts->topic_at],
                                            .partition_count = -1,
                                            .done = on_topic};
    broker_topic_submit(ts->bs, &ts->topic_op);
}

void topic_source_open(struct topic_source *ts)
{
    ASSERT(ts->done != NULL && !ts->fetched);
    ts->topic_at = 0;
    ts->part_count = 0;
    open_next_topic(ts);
}
