/*
 * Events from topics: every partition of every input, one fetch for all of them.
 *
 *   positions   {"0:topic name": {"id": "uuid", "offsets": [o0, o1, ...], "epochs": [e0, e1, ...]}, ...}
 *               0: the number of the input; an epoch is that of the record before the offset, -1: not known
 *
 * Where it begins is in topic_source_open.c, which says what the epochs are for; what it hands out in
 * topic_source_walk.c. A topic that was deleted and made anew has another id and is read from its start; partitions that
 * a topic gets later too, from the next poll on.
 *
 * Invariants: (1) at most one operation is under way; (2) the partitions of a poll's fetch do not change until its
 * answers are released. Ownership: one job on one shard; the fetch pins its batches until release.
 * Failure: a partition that cannot be read is tried again while the others go on, and the status says so; an offset that
 * retention has removed moves the position to the log's start; a deleted topic is looked for anew.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "connect/topic_source_int.h"

enum {
    FETCH_BYTES = 8 << 20,
    GATHER_BYTES = 256 << 10, /* an epoch is worth its commit: wait for so much, */
    WAIT_MS = 250,            /* but no longer than this */
    RETRY_US = 200000,
    SCRATCH_MAX = BATCH_INFLATED_MAX
};

static struct topic_source *of(struct source *source)
{
    return CONTAINER_OF(source, struct topic_source, base);
}

void topic_source_finish(struct topic_source *ts, enum err err, const struct err_info *info)
{
    source_done_fn done = ts->done;

    ASSERT(done != NULL);
    ts->done = NULL;
    done(ts->done_ctx, err, info);
}

/* ---- open ---- */

static void on_retry(struct timer *timer)
{
    struct topic_source *ts = CONTAINER_OF(timer, struct topic_source, timer);
    enum err err = ts->trouble.code;

    /* An empty poll, or an open that could not begin: the runner asks again. */
    topic_source_finish(ts, err, &ts->trouble);
}

/* Answers a little later. */
static void finish_later(struct topic_source *ts, uint64_t us)
{
    timer_arm(ts->shard->reactor, &ts->timer, us);
}

static void source_open(struct source *source, struct slice positions, source_done_fn done,
                        void *ctx)
{
    struct topic_source *ts = of(source);
    json_error_t error;

    ASSERT(ts->done == NULL && !ts->fetched && ts->saved == NULL);
    ts->done = done;
    ts->done_ctx = ctx;
    if (positions.len > 0)
        ts->saved = json_loadb((const char *)positions.data, positions.len, 0, &error);
    if (positions.len == 0 || json_is_object(ts->saved)) {
        topic_source_open(ts);
        return;
    }
    bool memory = ts->saved == NULL && json_error_code(&error) == json_error_out_of_memory;
    json_decref(ts->saved);
    ts->saved = NULL;
    if (memory)
        (void)err_info_set(&ts->trouble, ERR_NO_MEMORY, "out of memory for the saved positions");
    else
        (void)err_info_set(&ts->trouble, ERR_CORRUPT, "the saved positions cannot be read");
    finish_later(ts, 0);
}

/* ---- poll ---- */

/* Takes in partitions that a topic has got since; false: too many, or memory. */
static bool new_parts(struct topic_source *ts)
{
    for (uint32_t i = 0; i < ts->topic_count; i++) {
        const struct topic *topic = broker_topic_find(ts->bs, ts->topics[i]);
        if (topic == NULL || !uuid_equal(topic->id, ts->inputs[i].id) ||
            topic->partition_count <= ts->inputs[i].partitions)
            continue;
        uint32_t first = ts->part_count;
        if (!topic_source_add_parts(ts, i, topic, NULL))
            return false;
        for (; first < ts->part_count; first++)
            ts->parts[first].offset = 0;
    }
    return true;
}

/* Notes what is wrong with a partition, for the status; the first one stands. */
static void part_trouble(struct topic_source *ts, const struct broker_fetch_part *part,
                         const char *text)
{
    struct slice topic = ts->topics[ts->in[part - ts->parts].input];

    if (ts->trouble.text[0] == '\0')
        (void)err_info_set(&ts->trouble, ERR_OK, "input topic '%.*s', partition %d: %s",
                           SLICE_FMT(topic), part->partition, text);
}

/* Looks at a partition's error; true: the poll has to be tried again a little later. */
static bool part_error(struct topic_source *ts, struct broker_fetch_part *part)
{
    if (part->err == ERR_OK)
        return false;
    if (part->err != ERR_OFFSET_OUT_OF_RANGE || part->log_start_offset < 0) {
        part_trouble(ts, part, err_row(part->err)->text);
        return true;
    }
    diag(DIAG_WARN, "job", "partition=%d offset=%lld log_start=%lld high_watermark=%lld",
         part->partition, (long long)part->offset, (long long)part->log_start_offset,
         (long long)part->high_watermark);
    if (part->offset < part->log_start_offset) {
        if (part->offset > 0)
            part_trouble(ts, part, "events were deleted before they were read");
        part->offset = part->log_start_offset;
    } else if (part->high_watermark >= 0) {
        part->offset = part->high_watermark;
    }
    return true;
}

static void on_fetch(struct broker_fetch *fetch)
{
    struct topic_source *ts = CONTAINER_OF(fetch, struct topic_source, fetch);
    bool wait = false;
    bool gone = false;

    ts->polling = false;
    ts->fetched = true;
    topic_source_walk_start(ts);
    ts->trouble = (struct err_info){.code = ERR_OK};
    for (uint32_t i = 0; i < ts->part_count; i++) {
        enum err err = ts->parts[i].err;
        gone |= err == ERR_UNKNOWN_TOPIC_OR_PARTITION || err == ERR_UNKNOWN_TOPIC_ID;
        wait |= part_error(ts, &ts->parts[i]);
        if (ts->parts[i].high_watermark >= 0)
            ts->in[i].end = ts->parts[i].high_watermark;
    }
    if (gone) { /* look for the topic anew */
        (void)err_info_set(&ts->trouble, ERR_LEADER_NOT_AVAILABLE, "an input topic was deleted");
        topic_source_finish(ts, ERR_LEADER_NOT_AVAILABLE, &ts->trouble);
        return;
    }
    if (wait && fetch->bytes == 0) {
        broker_fetch_release(fetch);
        ts->fetched = false;
        finish_later(ts, RETRY_US);
        return;
    }
    topic_source_finish(ts, ERR_OK, &ts->trouble);
}

static void source_poll(struct source *source, source_done_fn done, void *ctx)
{
    struct topic_source *ts = of(source);

    ASSERT(ts->done == NULL && !ts->fetched && !ts->polling);
    ts->done = done;
    ts->done_ctx = ctx;
    if (!new_parts(ts)) {
        (void)err_info_set(&ts->trouble, ERR_LIMIT, "the inputs have too many partitions");
        finish_later(ts, 0);
        return;
    }
    ts->fetch = (struct broker_fetch){.parts = ts->parts,
                                      .part_count = ts->part_count,
                                      .min_bytes = GATHER_BYTES,
                                      .max_bytes = FETCH_BYTES,
                                      .max_wait_ms = WAIT_MS,
                                      .done = on_fetch};
    ts->polling = true;
    broker_fetch(ts->bs, &ts->fetch);
}

static enum source_next source_next(struct source *source, struct source_event *ret_event,
                                    struct err_info *info)
{
    return topic_source_walk(of(source), ret_event, info);
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

/* ---- positions, life ---- */

static void write_list(const struct topic_source *ts, uint32_t input, bool epochs,
                       struct bytebuf *out)
{
    bool first = true;

    for (uint32_t i = 0; i < ts->part_count; i++) {
        if (ts->in[i].input != input)
            continue;
        int64_t number = epochs ? ts->in[i].epoch : ts->parts[i].offset;
        bytebuf_printf(out, "%s%lld", first ? "" : ",", (long long)number);
        first = false;
    }
}

static void source_positions(const struct source *source, struct bytebuf *out)
{
    const struct topic_source *ts =
        CONTAINER_OF((struct source *)(uintptr_t)source, struct topic_source, base);
    char id[UUID_TEXT_LEN + 1];

    bytebuf_append_byte(out, '{');
    for (uint32_t i = 0; i < ts->topic_count; i++) {
        uuid_write_text(ts->inputs[i].id, id);
        bytebuf_printf(out, "%s\"%u:%.*s\":{\"id\":\"%s\",\"offsets\":[", i == 0 ? "" : ",", i,
                       SLICE_FMT(ts->topics[i]), id);
        write_list(ts, i, false, out);
        bytebuf_append_cstr(out, "],\"epochs\":[");
        write_list(ts, i, true, out);
        bytebuf_append_cstr(out, "]}");
    }
    bytebuf_append_byte(out, '}');
}

static uint64_t source_lag(const struct source *source)
{
    const struct topic_source *ts =
        CONTAINER_OF((struct source *)(uintptr_t)source, struct topic_source, base);
    uint64_t lag = 0;

    for (uint32_t i = 0; i < ts->part_count; i++) {
        if (ts->in[i].end > ts->parts[i].offset)
            lag += (uint64_t)(ts->in[i].end - ts->parts[i].offset);
    }
    return lag;
}

static void source_destroy(struct source *source)
{
    struct topic_source *ts = of(source);

    ASSERT(ts->done == NULL && !ts->polling && ts->saved == NULL);
    source_release(source);
    bytebuf_deinit(&ts->scratch);
    free(ts->parts);
    free(ts->in);
    free(ts->inputs);
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
                                          .lag = source_lag,
                                          .destroy = source_destroy};
    struct topic_source *ts = calloc(1, sizeof(*ts));

    ASSERT(count == 0 || topics != NULL);
    if (ts == NULL)
        return NULL;
    ts->inputs = calloc(count + 1, sizeof(*ts->inputs));
    if (ts->inputs == NULL) {
        free(ts);
        return NULL;
    }
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
