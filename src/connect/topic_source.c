/*
 * Events from topics: every partition of every input, one fetch for all of them.
 *
 *   positions   {"0:topic name": {"id": "uuid", "offsets": [o0, o1, ...]}, ...}   0: the number of the input
 *
 * Invariants: (1) a position is the offset behind the last record handed out of its partition; (2) values of compressed
 * batches lie in one scratch buffer, so a flush is asked for before the next such batch; (3) at most one operation is
 * under way. A topic that was deleted and made anew has another id and is read from its start; new partitions too.
 * Ownership: one job on one shard; the fetch pins its batches until release. Failure: errors of the broker are handed
 * on; an offset that retention has removed moves the position to the log's start.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "broker/broker.h"
#include "connect/ends.h"

enum {
    FETCH_BYTES = 8 << 20,
    PART_BYTES = 4 << 20,
    GATHER_BYTES = 256 << 10, /* an epoch is worth its commit: wait for so much, */
    WAIT_MS = 250,            /* but no longer than this */
    RETRY_US = 200000,
    PARTS_MAX = 4096,
    SCRATCH_MAX = BATCH_INFLATED_MAX
};

struct topic_source {
    struct source base;
    struct broker_shard *bs;
    struct shard *shard;
    const struct slice *topics;
    uint32_t topic_count;
    enum job_start start;

    source_done_fn done;
    void *done_ctx;
    struct slice saved; /* during open */
    uint32_t topic_at;  /* being opened */
    uint32_t part_at;   /* whose first offset is being asked for */

    struct broker_topic_op topic_op;
    struct broker_offset_op offset_op;
    struct broker_fetch fetch;
    struct broker_fetch_part *parts;
    uint32_t *part_input; /* of each part */
    uint32_t part_count;
    uint32_t part_cap;
    bool fetched; /* the fetch's answers are pinned */
    bool polling;
    struct timer timer; /* before another poll after an error */

    /* the walk over the answers */
    uint32_t walk_part;
    uint32_t walk_range;
    struct slice rest; /* batches of the range not yet walked */
    struct batch_iter iter;
    bool in_batch;
    bool scratch_used; /* values that the caller holds lie in scratch */
    struct bytebuf scratch;
};

static struct topic_source *of(struct source *source)
{
    return CONTAINER_OF(source, struct topic_source, base);
}

static void finish(struct topic_source *ts, enum err err, const struct err_info *info)
{
    source_done_fn done = ts->done;

    ASSERT(done != NULL);
    ts->done = NULL;
    done(ts->done_ctx, err, info);
}

/* ---- open ---- */

static void open_next_topic(struct topic_source *ts);

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
    uint32_t *inputs = realloc(ts->part_input, cap * sizeof(*inputs));
    if (inputs == NULL)
        return false;
    ts->part_input = inputs;
    ts->part_cap = cap;
    return true;
}

/* What was saved for an input; NULL: nothing. */
static const json_t *saved_entry(const json_t *saved, uint32_t input, struct slice topic)
{
    char key[TOPIC_NAME_MAX + 16];

    snprintf(key, sizeof(key), "%u:%.*s", input, SLICE_FMT(topic));
    return json_object_get(saved, key);
}

/* Offset saved for a partition of this very topic; -1: none. */
static int64_t saved_offset(const json_t *entry, const struct topic *topic, int32_t partition)
{
    char id[UUID_TEXT_LEN + 1];
    const char *saved_id = json_string_value(json_object_get(entry, "id"));
    const json_t *offset = json_array_get(json_object_get(entry, "offsets"), (size_t)partition);

    uuid_write_text(topic->id, id);
    if (saved_id == NULL || strcmp(saved_id, id) != 0 || !json_is_integer(offset))
        return -1;
    return json_integer_value(offset);
}

/* Partitions of the topic, with their saved positions; a topic that was read before is not begun at its end. */
static bool add_parts(struct topic_source *ts, const struct topic *topic)
{
    json_t *saved = json_loadb((const char *)ts->saved.data, ts->saved.len, 0, NULL);
    const json_t *entry = saved_entry(saved, ts->topic_at, topic->name);
    bool ok = parts_reserve(ts, (uint32_t)topic->partition_count);

    for (int32_t p = 0; ok && p < topic->partition_count; p++) {
        struct broker_fetch_part *part = &ts->parts[ts->part_count];
        *part = (struct broker_fetch_part){.topic_id = topic->id,
                                           .partition = p,
                                           .offset = saved_offset(entry, topic, p),
                                           .max_bytes = PART_BYTES,
                                           .leader_epoch = -1};
        if (part->offset < 0 && entry != NULL)
            part->offset = 0;
        ts->part_input[ts->part_count++] = ts->topic_at;
    }
    json_decref(saved);
    return ok;
}

static void open_next_offset(struct topic_source *ts);

static void on_offset(struct broker_offset_op *op)
{
    struct topic_source *ts = CONTAINER_OF(op, struct topic_source, offset_op);

    if (op->err != ERR_OK) {
        finish(ts, op->err, NULL);
        return;
    }
    ts->parts[ts->part_at++].offset = op->offset < 0 ? 0 : op->offset;
    open_next_offset(ts);
}

/* First offsets of the partitions that have none. */
static void open_next_offset(struct topic_source *ts)
{
    while (ts->part_at < ts->part_count && ts->parts[ts->part_at].offset >= 0)
        ts->part_at++;
    if (ts->part_at == ts->part_count) {
        finish(ts, ERR_OK, NULL);
        return;
    }
    ts->offset_op = (struct broker_offset_op){
        .topic_id = ts->parts[ts->part_at].topic_id,
        .partition = ts->parts[ts->part_at].partition,
        .query = ts->start == JOB_START_LATEST ? BROKER_OFFSET_LATEST : BROKER_OFFSET_EARLIEST,
        .current_epoch = -1,
        .done = on_offset};
    broker_offset(ts->bs, &ts->offset_op);
}

static void on_topic(struct broker_topic_op *op)
{
    struct topic_source *ts = CONTAINER_OF(op, struct topic_source, topic_op);

    if (op->err != ERR_OK) {
        err_info_wrap(&op->info, "input topic '%.*s'", SLICE_FMT(op->name));
        finish(ts, op->err, &op->info);
    } else if (!add_parts(ts, op->topic)) {
        finish(ts, ERR_LIMIT, NULL);
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

static void source_open(struct source *source, struct slice positions, source_done_fn done,
                        void *ctx)
{
    struct topic_source *ts = of(source);

    ASSERT(ts->done == NULL && !ts->fetched);
    ts->done = done;
    ts->done_ctx = ctx;
    ts->saved = positions;
    ts->topic_at = 0;
    ts->part_count = 0;
    open_next_topic(ts);
}

/* ---- poll ---- */

static void fetch_again(struct topic_source *ts)
{
    ts->fetch = (struct broker_fetch){.parts = ts->parts,
                                      .part_count = ts->part_count,
                                      .min_bytes = GATHER_BYTES,
                                      .max_bytes = FETCH_BYTES,
                                      .max_wait_ms = WAIT_MS,
                                      .done = ts->fetch.done};
    ts->polling = true;
    broker_fetch(ts->bs, &ts->fetch);
}

/* Looks at a partition's error; true: the poll has to be tried again a little later. */
static bool part_error(struct broker_fetch_part *part)
{
    if (part->err == ERR_OK)
        return false;
    if (part->err == ERR_OFFSET_OUT_OF_RANGE && part->log_start_offset >= 0) {
        diag(DIAG_DEBUG, "job", "partition=%d offset=%lld log_start=%lld", part->partition,
             (long long)part->offset, (long long)part->log_start_offset);
        if (part->offset < part->log_start_offset)
            part->offset = part->log_start_offset;
        else if (part->high_watermark >= 0)
            part->offset = part->high_watermark;
    }
    return true;
}

static void on_fetch(struct broker_fetch *fetch)
{
    struct topic_source *ts = CONTAINER_OF(fetch, struct topic_source, fetch);
    bool wait = false;

    ts->polling = false;
    ts->fetched = true;
    ts->walk_part = 0;
    ts->walk_range = 0;
    ts->rest = SLICE_NULL;
    ts->in_batch = false;
    for (uint32_t i = 0; i < ts->part_count; i++) {
        enum err err = ts->parts[i].err;
        wait |= part_error(&ts->parts[i]);
        if (err == ERR_UNKNOWN_TOPIC_OR_PARTITION || err == ERR_UNKNOWN_TOPIC_ID) {
            /* Gone: look for the topic anew. */
            struct err_info info;
            (void)err_info_set(&info, ERR_LEADER_NOT_AVAILABLE, "an input topic was deleted");
            finish(ts, ERR_LEADER_NOT_AVAILABLE, &info);
            return;
        }
    }
    if (wait && fetch->bytes == 0) {
        broker_fetch_release(fetch);
        ts->fetched = false;
        timer_arm(ts->shard->reactor, &ts->timer, RETRY_US);
        return;
    }
    finish(ts, ERR_OK, NULL);
}

static void on_retry(struct timer *timer)
{
    struct topic_source *ts = CONTAINER_OF(timer, struct topic_source, timer);
    finish(ts, ERR_OK, NULL); /* an empty poll: the runner asks again */
}

static void source_poll(struct source *source, source_done_fn done, void *ctx)
{
    struct topic_source *ts = of(source);

    ASSERT(ts->done == NULL && !ts->fetched);
    ts->done = done;
    ts->done_ctx = ctx;
    ts->fetch.done = on_fetch;
    fetch_again(ts);
}

static void source_cancel(struct source *source)
{
    struct topic_source *ts = of(source);
    if (ts->polling)
        broker_fetch_cancel(&ts->fetch);
}

static void source_release(struct source *source)
{
    struct topic_source *ts = of(source);

    if (ts->fetched)
        broker_fetch_release(&ts->fetch);
    ts->fetched = false;
    ts->in_batch = false;
    ts->scratch_used = false;
    ts->rest = SLICE_NULL;
}

/* ---- the walk ---- */

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

/* Moves the partition's position to the batch's end: what is left of it holds no events. */
static void pass_batch(struct topic_source *ts, const struct batch_header *header)
{
    struct broker_fetch_part *part = &ts->parts[ts->walk_part];
    int64_t end = batch_end_offset(header).value;

    if (part->offset < end)
        part->offset = end;
}

/* Begins the batch at the front of rest, or passes it when it has no events for us. */
static void begin_batch(struct topic_source *ts, const struct batch_header *header)
{
    struct err_info info;
    struct slice batch = slice_sub(ts->rest, 0, header->size);

    ts->rest = slice_sub(ts->rest, header->size, ts->rest.len);
    if (header->attributes & BATCH_ATTR_CONTROL) {
        pass_batch(ts, header);
    } else if (batch_iter_init(&ts->iter, batch, &ts->scratch, &info) != ERR_OK) {
        diag(DIAG_WARN, "job", "partition=%d batch=unreadable reason=\"%s\"",
             ts->parts[ts->walk_part].partition, info.text);
        pass_batch(ts, header);
    } else {
        ts->in_batch = true;
    }
}

static enum source_next source_next(struct source *source, struct source_event *ret_event)
{
    struct topic_source *ts = of(source);
    struct batch_record record;
    struct batch_header header;
    struct err_info info;

    for (;;) {
        if (ts->in_batch && batch_iter_next(&ts->iter, &record)) {
            struct broker_fetch_part *part = &ts->parts[ts->walk_part];
            if (record.offset.value < part->offset)
                continue;
            part->offset = record.offset.value + 1;
            *ret_event = (struct source_event){ts->part_input[ts->walk_part], record.value,
                                               record.timestamp_ms};
            return SOURCE_EVENT;
        }
        if (ts->in_batch)
            pass_batch(ts, &ts->iter.header);
        ts->in_batch = false;
        if (ts->rest.len == 0 && !next_range(ts))
            return SOURCE_DRAINED;
        if (batch_header_read(ts->rest, &header, &info) != ERR_OK) {
            ts->rest = SLICE_NULL;
            continue;
        }
        bool inflates = batch_codec(&header) != BATCH_CODEC_NONE;
        if (inflates && ts->scratch_used) { /* values that the caller holds lie in scratch */
            ts->scratch_used = false;
            return SOURCE_FLUSH;
        }
        begin_batch(ts, &header);
        ts->scratch_used |= inflates;
    }
}

/* ---- positions, life ---- */

static void positions_of_topic(const struct topic_source *ts, uint32_t input, struct bytebuf *out)
{
    char id[UUID_TEXT_LEN + 1];
    bool first = true;

    for (uint32_t i = 0; i < ts->part_count; i++) {
        if (ts->part_input[i] != input)
            continue;
        if (first) {
            uuid_write_text(ts->parts[i].topic_id, id);
            bytebuf_printf(out, "{\"id\":\"%s\",\"offsets\":[", id);
        }
        bytebuf_printf(out, "%s%lld", first ? "" : ",", (long long)ts->parts[i].offset);
        first = false;
    }
    bytebuf_append_cstr(out, first ? "null" : "]}");
}

static void source_positions(const struct source *source, struct bytebuf *out)
{
    const struct topic_source *ts =
        CONTAINER_OF((struct source *)(uintptr_t)source, struct topic_source, base);

    bytebuf_append_byte(out, '{');
    for (uint32_t i = 0; i < ts->topic_count; i++) {
        bytebuf_printf(out, "%s\"%u:%.*s\":", i == 0 ? "" : ",", i, SLICE_FMT(ts->topics[i]));
        positions_of_topic(ts, i, out);
    }
    bytebuf_append_byte(out, '}');
}

static void source_destroy(struct source *source)
{
    struct topic_source *ts = of(source);

    ASSERT(ts->done == NULL);
    source_release(source);
    bytebuf_deinit(&ts->scratch);
    free(ts->parts);
    free(ts->part_input);
    free(ts);
}

struct source *topic_source_create(struct broker *broker, struct shard *shard,
                                   const struct slice *topics, uint32_t count, enum job_start start)
{
    static const struct source_ops ops = {.open = source_open,
                                          .poll = source_poll,
                                          .next = source_next,
                                          .release = source_release,
                                          .cancel = source_cancel,
                                          .positions = source_positions,
                                          .destroy = source_destroy};
    struct topic_source *ts = calloc(1, sizeof(*ts));

    if (ts == NULL)
        return NULL;
    ts->base.ops = &ops;
    ts->shard = shard;
    ts->bs = broker_shard_of(broker, shard);
    ts->topics = topics;
    ts->topic_count = count;
    ts->start = start;
    timer_init(&ts->timer, on_retry);
    bytebuf_init(&ts->scratch, SCRATCH_MAX);
    return &ts->base;
}
