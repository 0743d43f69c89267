/*
 * A job under faults: producers fill a topic (straight into the broker, or through the Kafka door and a bad network); one
 * job filters it into a topic and into a blob, and is created, stopped and started meanwhile.
 *
 * Checked after every loss, when the job has caught up on a sound disk: the input log holds what was acknowledged; each
 * of its events that passes the filter is in both outputs, byte for byte; first occurrences of a partition's events come
 * in its order; nothing is in an output that was not sent or does not pass; counts are those of the input. A job with
 * start: latest owes the events sent since it was first seen running. Some checks look at the input only, so that a job
 * that was stopped before the loss finds a log that has gone on without it.
 *
 *     event   {"p":producer,"n":number,"keep":0 or 1,"pad":"hex drawn from both"}, or text that is no JSON
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "blobstore/blobstore.h"
#include "broker/broker.h"
#include "codec/compress.h"
#include "connect/jobs.h"
#include "front/kafka/kafka.h"
#include "group/group.h"
#include "kafka_link.h"
#include "seglog/batch.h"
#include "world.h"

enum {
    PRODUCERS = 5,
    PARTITIONS_MAX = 3,
    EVENTS_MAX = 3000, /* of one producer */
    BATCH_EVENTS = 8,
    TEXT_MAX = 4096,
    PAD_MAX = 3000,
    OUTPUTS = 2, /* 0: the topic, 1: the blob */
    KAFKA_PORT = 9092,
    POLL_US = 20000,
    BLOB_MAX = 64 << 20
};

struct producer {
    struct world *world;
    unsigned index;
    int32_t partition;
    int8_t acks;
    unsigned next;          /* number of the next event; below: sent, perhaps */
    bool acked[EVENTS_MAX]; /* and not to be lost any more */
    int64_t at[EVENTS_MAX]; /* offset in the input as of this check, -1: not there */
    bool seen[OUTPUTS][EVENTS_MAX];
    unsigned due; /* from this number on the job owes the events; UINT32_MAX: none yet */
    unsigned batch_first;
    unsigned batch_end;
    bool busy;
    struct kafka_link *link;
    struct timer timer;
    struct post post;
};

struct sending {
    struct broker_append op;
    struct producer *producer;
};

struct job_state {
    struct world *world;
    bool wire;
    bool csv;
    bool latest;
    struct reactor *client;
    struct broker *broker;
    struct groups *groups;
    struct blobstore *blobs;
    struct jobs *jobs;
    struct front_kafka *front;
    int32_t partitions;
    struct uuid topic_id;
    bool topic_made;
    bool power_lost; /* ever */
    bool created;    /* the creation was acknowledged */
    struct producer producers[PRODUCERS];
    /* who manages the job during the load */
    struct timer manage;
    bool managing; /* a call is under way */
    unsigned patience;
    /* the check */
    bool checking;
    bool settled; /* the last check is due */
    struct post post;
    struct timer timer;
    struct broker_topic_op topic_op;
    struct broker_fetch fetch;
    struct broker_fetch_part part;
    int64_t ends[PARTITIONS_MAX];
    uint64_t good; /* events of the input that are JSON */
    uint64_t bad;
    int64_t last[OUTPUTS][PARTITIONS_MAX];
    struct blobstore_op blob_op;
    struct arena *arena;
    uint8_t *blob;
    size_t blob_len;
    struct bytebuf scratch;
};

static struct job_state *state_of(struct world *world)
{
    return world->state;
}

static struct broker_shard *part_of(struct world *world, unsigned shard)
{
    return broker_shard_of(state_of(world)->broker, world_shard(world, shard));
}

/* ---- events ---- */

static uint64_t identity(unsigned producer, unsigned number)
{
    uint64_t x = ((uint64_t)producer + 1) * 0x9e3779b97f4a7c15u + number * 0xbf58476d1ce4e5b9u;
    x ^= x >> 29;
    return x * 0x94d049bb133111ebu;
}

static bool event_kept(unsigned producer, unsigned number)
{
    return identity(producer, number) >> 60 < 11;
}

static bool event_bad(unsigned producer, unsigned number)
{
    return (identity(producer, number) >> 40 & 31) == 0;
}

static void pad_write(unsigned producer, unsigned number, char *pad)
{
    uint8_t bytes[PAD_MAX / 2];
    uint64_t id = identity(producer, number);
    size_t len = id % 64 == 1 ? id / 64 % (PAD_MAX / 2) : id / 64 % 40;
    world_fill(id, bytes, len);
    for (size_t i = 0; i < len; i++)
        snprintf(pad + 2 * i, 3, "%02x", bytes[i]);
    pad[2 * len] = '\0';
}

static size_t event_write(unsigned producer, unsigned number, char *text)
{
    char pad[PAD_MAX + 1];
    pad_write(producer, number, pad);
    const char *form = event_bad(producer, number)
                           ? "{\"p\":%u,\"n\":%u,\"keep\":%d,\"pad\":\"%s"
                           : "{\"p\":%u,\"n\":%u,\"keep\":%d,\"pad\":\"%s\"}";
    int len = snprintf(text, TEXT_MAX, form, producer, number, event_kept(producer, number), pad);
    return (size_t)len;
}

/* ---- producing ---- */

static void producer_go(struct producer *producer);

static struct reactor *producer_reactor(struct producer *producer)
{
    struct world *world = producer->world;
    if (state_of(world)->wire)
        return state_of(world)->client;
    return world_shard(world, producer->index % world->shard_count)->reactor;
}

static void producer_due(struct timer *timer)
{
    producer_go(CONTAINER_OF(timer, struct producer, timer));
}

static void producer_outcome(struct producer *producer, bool acknowledged)
{
    struct world *world = producer->world;
    producer->busy = false;
    for (unsigned n = producer->batch_first; n < producer->batch_end; n++)
        producer->acked[n] = acknowledged;
    world->acked += acknowledged;
    world->refused += !acknowledged;
    if (world->running)
        timer_arm(producer_reactor(producer), &producer->timer,
                  1 + random_below(&world->random, acknowledged ? 8000 : 60000));
}

static void append_done(struct broker_append *op)
{
    struct sending *sending = CONTAINER_OF(op, struct sending, op);
    struct producer *producer = sending->producer;
    bool acknowledged = op->err == ERR_OK;
    free(sending);
    producer_outcome(producer, acknowledged);
}

static void wire_produced(void *arg, unsigned token, int16_t code, int64_t base_offset)
{
    producer_outcome(arg, code == 0);
}

static void wire_id_given(void *arg, int16_t code, int64_t producer_id)
{
}

static void wire_lost(void *arg)
{
    struct producer *producer = arg;
    producer->link = NULL;
    if (producer->busy)
        producer_outcome(producer, false);
}

static void wire_nonsense(void *arg, const char *what)
{
    struct producer *producer = arg;
    world_breach(producer->world, "producer %u: %s", producer->index, what);
}

static const struct kafka_link_ops wire_ops = {wire_produced, wire_id_given, wire_lost,
                                               wire_nonsense};

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* The batch with its records compressed, as clients send it. */
static struct iobuf_range batch_compress(struct iobuf_range plain, enum compress_kind kind)
{
    struct bytebuf body;
    struct slice records = slice_sub(plain.bytes, BATCH_HEADER_SIZE, plain.bytes.len);
    bytebuf_init(&body, 1 << 20);
    if (compress_compress(kind, records, 0, &body) != ERR_OK)
        abort();
    size_t size = BATCH_HEADER_SIZE + body.len;
    struct iobuf *buf = iobuf_create(size);
    uint8_t *bytes = iobuf_data(buf);
    memcpy(bytes, plain.bytes.data, BATCH_HEADER_SIZE);
    memcpy(bytes + BATCH_HEADER_SIZE, body.data, body.len);
    bytebuf_deinit(&body);
    iobuf_unref(plain.buf);
    put32(bytes + 8, (uint32_t)(size - BATCH_PREFIX_SIZE));
    bytes[22] |= (uint8_t)kind;
    put32(bytes + 17, crc32c(0, bytes + BATCH_CRC_START, size - BATCH_CRC_START));
    return (struct iobuf_range){buf, slice_make(bytes, size)};
}

/* The next events; numbers are used once, whatever becomes of them. */
static struct iobuf_range batch_make(struct producer *producer)
{
    struct batch_builder builder;
    struct iobuf_range range;
    unsigned count = 1 + (unsigned)random_below(&producer->world->random, BATCH_EVENTS);
    batch_builder_init(&builder, 1 << 20);
    producer->batch_first = producer->next;
    for (unsigned i = 0; i < count && producer->next < EVENTS_MAX; i++) {
        char text[TEXT_MAX];
        size_t len = event_write(producer->index, producer->next++, text);
        struct batch_build_record record = {.timestamp_ms = 1700000000000,
                                            .value = slice_make(text, len)};
        if (batch_builder_add(&builder, &record) != ERR_OK)
            abort();
    }
    producer->batch_end = producer->next;
    batch_builder_finish(&builder, &range);
    if (random_one_in(&producer->world->random, 3))
        return batch_compress(range,
                              (enum compress_kind)(1 + random_below(&producer->world->random, 4)));
    return range;
}

static void producer_go(struct producer *producer)
{
    struct world *world = producer->world;
    struct job_state *state = state_of(world);
    if (!world->running || producer->busy || producer->next == EVENTS_MAX)
        return;
    if (state->wire && !producer->link) {
        producer->link = kafka_link_dial(state->client, KAFKA_PORT, &wire_ops, producer);
        if (!producer->link) {
            timer_arm(state->client, &producer->timer, 10000);
            return;
        }
    }
    producer->busy = true;
    struct iobuf_range range = batch_make(producer);
    if (state->wire) {
        kafka_link_produce(producer->link, 0, producer->acks, "in", producer->partition,
                           range.bytes);
        iobuf_unref(range.buf);
        return;
    }
    struct sending *sending = calloc(1, sizeof(*sending));
    sending->producer = producer;
    sending->op = (struct broker_append){.topic_id = state->topic_id,
                                         .partition = producer->partition,
                                         .acks = producer->acks,
                                         .batch = range,
                                         .done = append_done};
    broker_append(part_of(world, producer->index % world->shard_count), &sending->op);
}

static void producer_start(struct post *post)
{
    producer_go(CONTAINER_OF(post, struct producer, post));
}

/* ---- the job during the load ---- */

static void job_definition(const struct job_state *state, struct bytebuf *out)
{
    bytebuf_printf(out,
                   "{\"name\":\"job\",\"start\":\"%s\",\"query\":\"SELECT p, n, pad INTO t FROM "
                   "[in] WHERE keep = 1 SELECT p, n, pad INTO b FROM [in] WHERE keep = 1\","
                   "\"outputs\":[{\"name\":\"t\",\"topic\":\"out\"},{\"name\":\"b\",\"blob\":"
                   "\"con/out\",\"format\":\"%s\"}]}",
                   state->latest ? "latest" : "earliest", state->csv ? "csv" : "jsonl");
}

/* The job has been seen running: what is sent from now on it owes. */
static void job_seen(struct job_state *state, const json_t *status)
{
    const char *text = json_string_value(json_object_get(status, "state"));
    if (!text || strcmp(text, "running") != 0)
        return;
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        if (producer->due == UINT32_MAX)
            producer->due = state->latest ? producer->next : 0;
    }
}

static void manage_later(struct job_state *state)
{
    struct world *world = state->world;
    if (world->running)
        timer_arm(world_shard(world, 0)->reactor, &state->manage,
                  100 + random_below(&world->random, 400000));
}

static void manage_done(void *ctx, enum err err, const struct err_info *info, struct slice json)
{
    struct job_state *state = ctx;
    struct world *world = state->world;
    json_t *answer = err == ERR_OK && json.len > 0
                         ? json_loadb((const char *)json.data, json.len, 0, NULL)
                         : NULL;
    if (err == ERR_OK && json.len > 0 && !answer)
        world_breach(world, "an answer is no JSON: %.*s", (int)json.len, (const char *)json.data);
    state->managing = false;
    if (err == ERR_NOT_FOUND && state->created)
        world_breach(world, "the job is gone");
    job_seen(state, json_object_get(answer, "status"));
    json_decref(answer);
    manage_later(state);
}

static void create_done(void *ctx, enum err err, const struct err_info *info, struct slice json)
{
    struct job_state *state = ctx;
    state->managing = false;
    if (err == ERR_OK || err == ERR_EXISTS)
        state->created = true;
    else if (err_row(err)->class == ERR_CLASS_CLIENT)
        world_breach(state->world, "the job is refused: %s", info->text);
    manage_later(state);
}

static void manage_due(struct timer *timer)
{
    struct job_state *state = CONTAINER_OF(timer, struct job_state, manage);
    struct world *world = state->world;
    struct shard *shard = world_shard(world, 0);
    struct slice name = SLICE_LIT("job");
    if (!world->running)
        return;
    state->managing = true;
    if (!state->created) {
        struct bytebuf text;
        bytebuf_init(&text, 4096);
        job_definition(state, &text);
        jobs_create_job(state->jobs, shard, bytebuf_slice(&text), create_done, state);
        bytebuf_deinit(&text);
        return;
    }
    switch (random_below(&world->random, 8)) {
    case 0:
        jobs_stop_job(state->jobs, shard, name, manage_done, state);
        break;
    case 1:
    case 2:
    case 3:
        jobs_start_job(state->jobs, shard, name, manage_done, state);
        break;
    default:
        jobs_show(state->jobs, shard, name, manage_done, state);
        break;
    }
}

static void manage_start(struct post *post)
{
    struct job_state *state = CONTAINER_OF(post, struct job_state, post);
    manage_later(state);
}

/* ---- checking: the outputs ---- */

static void check_row(struct job_state *state, unsigned output, const char *text, size_t len)
{
    struct world *world = state->world;
    char copy[TEXT_MAX];
    char expected[TEXT_MAX];
    char pad[PAD_MAX + 1];
    unsigned p, n;
    bool csv = output == 1 && state->csv;
    if (len >= sizeof(copy))
        world_breach(world, "output %u: a row of %zu bytes", output, len);
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (sscanf(copy, csv ? "%u,%u," : "{\"p\":%u,\"n\":%u,", &p, &n) != 2 || p >= PRODUCERS ||
        n >= state->producers[p].next)
        world_breach(world, "output %u has what nobody sent: %s", output, copy);
    struct producer *producer = &state->producers[p];
    pad_write(p, n, pad);
    snprintf(expected, sizeof(expected), csv ? "%u,%u,%s" : "{\"p\":%u,\"n\":%u,\"pad\":\"%s\"}", p,
             n, pad);
    if (strcmp(copy, expected) != 0 || !event_kept(p, n) || event_bad(p, n))
        world_breach(world, "output %u has a row that is not so: %s", output, copy);
    world->checked++;
    if (producer->seen[output][n])
        return;
    producer->seen[output][n] = true;
    int64_t *last = &state->last[output][producer->partition];
    if (producer->at[n] >= 0 && producer->at[n] <= *last)
        world_breach(world, "output %u: the event at offset %lld of partition %d comes behind %lld",
                     output, (long long)producer->at[n], producer->partition, (long long)*last);
    if (producer->at[n] >= 0)
        *last = producer->at[n];
}

static void check_owed(struct job_state *state)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        for (unsigned n = producer->due; n < producer->next; n++) {
            bool passes = event_kept(i, n) && !event_bad(i, n) && producer->at[n] >= 0;
            for (unsigned output = 0; output < OUTPUTS; output++) {
                if (passes && !producer->seen[output][n])
                    world_breach(state->world,
                                 "output %u has not event %u of producer %u, offset %lld of "
                                 "partition %d",
                                 output, n, i, (long long)producer->at[n], producer->partition);
            }
        }
    }
}

static void check_blob_text(struct job_state *state)
{
    const char *at = (const char *)state->blob;
    const char *end = at + state->blob_len;
    for (bool first = true; at < end; first = false) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        if (!line)
            world_breach(state->world, "the blob ends within a row");
        size_t len = (size_t)(line - at);
        if (state->csv && len > 0 && at[len - 1] == '\r')
            len--;
        if (first && state->csv) {
            if (len != 7 || memcmp(at, "p,n,pad", 7) != 0)
                world_breach(state->world, "the blob has no header");
        } else {
            check_row(state, 1, at, len);
        }
        at = line + 1;
    }
}

static void check_end(struct job_state *state)
{
    free(state->blob);
    state->blob = NULL;
    arena_destroy(state->arena);
    state->arena = NULL;
    check_owed(state);
    state->checking = false;
}

static void blob_more(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct job_state *state = arg;
    size_t total = (size_t)state->blob_op.info.length;
    if (err != ERR_OK || (len == 0 && state->blob_len < total))
        world_breach(state->world, "the blob cannot be read on a sound disk: %s",
                     err_row(err)->name);
    state->blob_len += len;
    if (state->blob_len < total) {
        blobstore_reader_read(reader, state->blob_len, state->blob + state->blob_len,
                              total - state->blob_len, blob_more, state);
        return;
    }
    blobstore_reader_close(reader);
    check_blob_text(state);
    check_end(state);
}

static void blob_opened(struct blobstore_op *op)
{
    struct job_state *state = op->arg;
    if (op->err == ERR_BLOB_NOT_FOUND || op->err == ERR_CONTAINER_NOT_FOUND) {
        check_end(state);
        return;
    }
    if (op->err != ERR_OK || op->info.length == 0 || op->info.length > BLOB_MAX)
        world_breach(state->world, "the blob is %llu bytes, %s",
                     (unsigned long long)op->info.length, err_row(op->err)->name);
    state->blob = malloc(op->info.length);
    state->blob_len = 0;
    blobstore_reader_read(op->reader, 0, state->blob, op->info.length, blob_more, state);
}

static void check_blob(struct job_state *state)
{
    state->arena = arena_create(NULL, "check", 1 << 20);
    blobstore_op_init(&state->blob_op, BLOBSTORE_READ, state->arena);
    state->blob_op.container = SLICE_LIT("con");
    state->blob_op.blob = SLICE_LIT("out");
    state->blob_op.done = blob_opened;
    state->blob_op.arg = state;
    blobstore_submit(state->blobs, world_shard(state->world, 0), &state->blob_op);
}

/* ---- checking: topics ---- */

/* Hands each record of a fetch to each; returns the offset behind the last one. */
static int64_t records_walk(struct job_state *state, int64_t next,
                            void (*each)(struct job_state *state,
                                         const struct batch_record *record))
{
    struct world *world = state->world;
    struct err_info info;
    for (uint32_t r = 0; r < state->part.range_count; r++) {
        struct slice rest = state->part.ranges[r].bytes;
        while (rest.len > 0) {
            uint32_t size = batch_size_peek(rest);
            struct batch_iter iter;
            struct batch_record record;
            if (size == 0 || size > rest.len ||
                batch_iter_init(&iter, slice_sub(rest, 0, size), &state->scratch, &info) != ERR_OK)
                world_breach(world, "a damaged batch at offset %lld", (long long)next);
            while (batch_iter_next(&iter, &record)) {
                if (record.offset.value < next)
                    continue;
                if (record.offset.value != next)
                    world_breach(world, "offset %lld where %lld is due",
                                 (long long)record.offset.value, (long long)next);
                each(state, &record);
                next++;
            }
            rest = slice_sub(rest, size, rest.len);
        }
    }
    return next;
}

static void fetch_next(struct job_state *state, struct uuid topic, int32_t partition,
                       int64_t offset, void (*done)(struct broker_fetch *op))
{
    state->part = (struct broker_fetch_part){.topic_id = topic,
                                             .partition = partition,
                                             .offset = offset,
                                             .max_bytes = 1 << 20,
                                             .leader_epoch = -1};
    state->fetch = (struct broker_fetch){
        .parts = &state->part, .part_count = 1, .max_bytes = 1 << 20, .done = done};
    broker_fetch(part_of(state->world, 0), &state->fetch);
}

/* Takes in what a fetch brought; true: there is more. */
static bool fetch_take(struct job_state *state,
                       void (*each)(struct job_state *state, const struct batch_record *record))
{
    if (state->part.err != ERR_OK)
        world_breach(state->world, "a topic cannot be read on a sound disk: %s",
                     err_row(state->part.err)->name);
    int64_t next = records_walk(state, state->part.offset, each);
    bool more = next < state->part.high_watermark;
    if (more && next == state->part.offset)
        world_breach(state->world, "nothing at %lld below the end %lld", (long long)next,
                     (long long)state->part.high_watermark);
    state->part.offset = next;
    broker_fetch_release(&state->fetch);
    return more;
}

static void check_out_record(struct job_state *state, const struct batch_record *record)
{
    check_row(state, 0, (const char *)record->value.data, record->value.len);
}

static void out_fetched(struct broker_fetch *op)
{
    struct job_state *state = CONTAINER_OF(op, struct job_state, fetch);
    if (fetch_take(state, check_out_record))
        fetch_next(state, state->part.topic_id, 0, state->part.offset, out_fetched);
    else
        check_blob(state);
}

static void check_out(struct job_state *state)
{
    const struct topic *topic = broker_topic_find(part_of(state->world, 0), SLICE_LIT("out"));
    if (!topic || topic->partition_count != 1)
        world_breach(state->world, "the output topic is not there");
    fetch_next(state, topic->id, 0, 0, out_fetched);
}

/* ---- checking: the job catches up ---- */

static void check_show(struct job_state *state);

static void check_poll_due(struct timer *timer)
{
    check_show(CONTAINER_OF(timer, struct job_state, timer));
}

static bool caught_up(struct job_state *state, const json_t *status)
{
    const json_t *positions = json_object_get(json_object_get(status, "saved"), "positions");
    const json_t *offsets = json_object_get(json_object_get(positions, "0:in"), "offsets");
    if (json_array_size(offsets) != (size_t)state->partitions)
        return false;
    for (int32_t p = 0; p < state->partitions; p++) {
        if (json_integer_value(json_array_get(offsets, (size_t)p)) != state->ends[p])
            return false;
    }
    return json_integer_value(json_object_get(status, "lag")) == 0;
}

/* Each event of the input counts once, however often it was read. */
static void check_counts(struct job_state *state, const json_t *status)
{
    uint64_t good = (uint64_t)json_integer_value(json_object_get(status, "events"));
    uint64_t bad = (uint64_t)json_integer_value(json_object_get(status, "malformed"));
    bool all_kept = true;
    for (unsigned i = 0; i < PRODUCERS; i++)
        all_kept &= state->producers[i].acks == -1 || !state->power_lost;
    if (!state->latest && all_kept && (good != state->good || bad != state->bad))
        world_breach(state->world, "the job counts %llu events and %llu malformed, not %llu, %llu",
                     (unsigned long long)good, (unsigned long long)bad,
                     (unsigned long long)state->good, (unsigned long long)state->bad);
}

static void check_shown(void *ctx, enum err err, const struct err_info *info, struct slice json)
{
    struct job_state *state = ctx;
    struct world *world = state->world;
    if (err != ERR_OK)
        world_breach(world, "the job cannot be shown: %s", info->text);
    json_t *answer = json_loadb((const char *)json.data, json.len, 0, NULL);
    const json_t *status = json_object_get(answer, "status");
    const char *text = json_string_value(json_object_get(status, "state"));
    if (!text)
        world_breach(world, "a status is not so: %.*s", (int)json.len, (const char *)json.data);
    if (strcmp(text, "failed") == 0 || strcmp(text, "stopped") == 0 || state->patience-- == 0)
        world_breach(world, "the job does not get through on a sound disk: %.*s", (int)json.len,
                     (const char *)json.data);
    job_seen(state, status);
    bool done = strcmp(text, "running") == 0 && caught_up(state, status);
    if (done)
        check_counts(state, status);
    json_decref(answer);
    if (done)
        check_out(state);
    else
        timer_arm(world_shard(world, 0)->reactor, &state->timer, POLL_US);
}

static void check_show(struct job_state *state)
{
    jobs_show(state->jobs, world_shard(state->world, 0), SLICE_LIT("job"), check_shown, state);
}

static void check_started(void *ctx, enum err err, const struct err_info *info, struct slice json)
{
    struct job_state *state = ctx;
    if (err == ERR_NOT_FOUND) {
        if (state->created)
            world_breach(state->world, "the job is gone");
        state->checking = false;
        return;
    }
    if (err != ERR_OK)
        world_breach(state->world, "the job cannot be started on a sound disk: %s", info->text);
    state->created = true;
    state->patience = 3000;
    check_show(state);
}

/* ---- checking: the input ---- */

static void check_in_record(struct job_state *state, const struct batch_record *record)
{
    char expected[TEXT_MAX];
    char copy[TEXT_MAX];
    unsigned p, n;
    if (record->value.len >= sizeof(copy))
        world_breach(state->world, "the input has an event of %zu bytes", record->value.len);
    memcpy(copy, record->value.data, record->value.len);
    copy[record->value.len] = '\0';
    if (sscanf(copy, "{\"p\":%u,\"n\":%u,", &p, &n) != 2 || p >= PRODUCERS ||
        n >= state->producers[p].next || state->producers[p].partition != state->part.partition ||
        event_write(p, n, expected) != record->value.len || strcmp(copy, expected) != 0)
        world_breach(state->world, "the input has what nobody sent: %s", copy);
    state->producers[p].at[n] = record->offset.value;
    state->good += !event_bad(p, n);
    state->bad += event_bad(p, n);
}

static void check_acked(struct job_state *state)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        for (unsigned n = 0; n < producer->next; n++) {
            if (producer->acked[n] && producer->at[n] < 0 &&
                (producer->acks == -1 || !state->power_lost))
                world_breach(state->world, "event %u of producer %u was acknowledged and is lost",
                             n, i);
        }
    }
}

static void in_fetched(struct broker_fetch *op)
{
    struct job_state *state = CONTAINER_OF(op, struct job_state, fetch);
    int32_t partition = state->part.partition;
    if (fetch_take(state, check_in_record)) {
        fetch_next(state, state->topic_id, partition, state->part.offset, in_fetched);
        return;
    }
    state->ends[partition] = state->part.offset;
    if (++partition < state->partitions) {
        fetch_next(state, state->topic_id, partition, 0, in_fetched);
        return;
    }
    check_acked(state);
    if (!state->settled && random_one_in(&state->world->random, 3)) {
        state->checking = false;
        return;
    }
    jobs_start_job(state->jobs, world_shard(state->world, 0), SLICE_LIT("job"), check_started,
                   state);
}

static void check_topic_there(struct broker_topic_op *op)
{
    struct job_state *state = CONTAINER_OF(op, struct job_state, topic_op);
    if (op->err != ERR_OK)
        world_breach(state->world, "the topic cannot be made on a sound disk: %s", op->info.text);
    if (state->topic_made && !uuid_equal(state->topic_id, op->topic->id))
        world_breach(state->world, "the topic was lost");
    state->topic_made = true;
    state->topic_id = op->topic->id;
    fetch_next(state, state->topic_id, 0, 0, in_fetched);
}

static void check_start(struct post *post)
{
    struct job_state *state = CONTAINER_OF(post, struct job_state, post);
    state->good = state->bad = 0;
    for (unsigned output = 0; output < OUTPUTS; output++) {
        for (int32_t p = 0; p < PARTITIONS_MAX; p++)
            state->last[output][p] = -1;
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        memset(producer->seen, 0, sizeof(producer->seen));
        for (unsigned n = 0; n < producer->next; n++)
            producer->at[n] = -1;
    }
    state->topic_op = (struct broker_topic_op){.action = BROKER_TOPIC_ENSURE,
                                               .name = SLICE_LIT("in"),
                                               .partition_count = state->partitions,
                                               .done = check_topic_there};
    broker_topic_submit(part_of(state->world, 0), &state->topic_op);
}

/* ---- the scenario ---- */

static void network_set(struct world *world)
{
    struct sim_config config;
    static const uint32_t cuts[] = {0, 30, 100, 1000};
    sim_config_init(&config, 0);
    config.cut_odds = cuts[random_below(&world->random, 4)];
    config.partial_odds = 1 + (uint32_t)random_below(&world->random, 10);
    config.delay_max_us = 100 + random_below(&world->random, 20000);
    sim_config_set(world->sim, &config);
}

static void job_init(struct world *world)
{
    struct job_state *state = calloc(1, sizeof(*state));
    bool may_lose = random_one_in(&world->random, 2);
    world->state = state;
    state->world = world;
    state->partitions = 1 + (int32_t)random_below(&world->random, PARTITIONS_MAX);
    state->wire = random_one_in(&world->random, 3);
    state->csv = random_one_in(&world->random, 2);
    state->latest = random_one_in(&world->random, 3);
    bytebuf_init(&state->scratch, 16 << 20);
    timer_init(&state->manage, manage_due);
    timer_init(&state->timer, check_poll_due);
    if (state->wire) {
        state->client = sim_host_reactor(sim_host_create(world->sim, NULL));
        network_set(world);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        producer->world = world;
        producer->index = i;
        producer->partition = (int32_t)i % state->partitions;
        producer->acks = may_lose && i % 2 == 1 ? 1 : -1;
        producer->due = UINT32_MAX;
        timer_init(&producer->timer, producer_due);
    }
}

static enum err job_boot_parts(struct world *world, struct err_info *info)
{
    struct job_state *state = state_of(world);
    struct groups_config groups = {0};
    struct front_kafka_config front = {.host = "127.0.0.1", .port = KAFKA_PORT};
    enum err err = blobstore_open(world->fs, WORLD_DIR "/blobs", random_u64(&world->random),
                                  *sim_wall_ms(world->sim), &state->blobs, info);
    for (unsigned i = 0; err == ERR_OK && i < world->shard_count; i++)
        blobstore_shard_start(state->blobs, world_shard(world, i));
    if (err == ERR_OK)
        err = jobs_open(world->shards, state->broker, state->blobs, &state->jobs, info);
    if (err == ERR_OK && state->wire)
        err = groups_open(world->shards, state->broker, &groups, &state->groups, info);
    if (err == ERR_OK && state->wire)
        err = front_kafka_open(world->shards, state->broker, state->groups, &front, &state->front,
                               info);
    return err;
}

static enum err job_boot(struct world *world, struct err_info *info)
{
    struct job_state *state = state_of(world);
    state->broker = NULL;
    state->jobs = NULL;
    state->front = NULL;
    state->groups = NULL;
    enum err err = fs_mkdir_all(world->fs, WORLD_DIR "/blobs", info);
    if (err == ERR_OK)
        err = fs_sync_dir(world->fs, "/", info);
    if (err == ERR_OK)
        err = fs_sync_dir(world->fs, WORLD_DIR, info);
    struct broker_config config = {.dir = WORLD_DIR, .default_partitions = 1, .auto_create = true};
    if (err == ERR_OK)
        err = broker_open(world->shards, &config, &state->broker, info);
    return err == ERR_OK ? job_boot_parts(world, info) : err;
}

static bool job_ready(struct world *world)
{
    struct job_state *state = state_of(world);
    return state->jobs && broker_ready(state->broker);
}

static void job_check(struct world *world)
{
    struct job_state *state = state_of(world);
    state->checking = true;
    world_post(world, 0, &state->post, check_start);
}

static bool job_check_done(struct world *world)
{
    return !state_of(world)->checking;
}

static void job_load(struct world *world)
{
    struct job_state *state = state_of(world);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        reactor_post(producer_reactor(producer), &producer->post, producer_start);
    }
    world_post(world, 0, &state->post, manage_start);
}

static bool job_idle(struct world *world)
{
    struct job_state *state = state_of(world);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        if (state->producers[i].busy)
            return false;
    }
    return !state->managing;
}

static void job_forget(struct job_state *state)
{
    state->broker = NULL;
    state->jobs = NULL;
    state->blobs = NULL;
    state->front = NULL;
    state->groups = NULL;
    state->managing = state->checking = false;
    timer_init(&state->manage, manage_due);
    timer_init(&state->timer, check_poll_due);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        producer->busy = false;
        if (state->wire)
            timer_cancel(state->client, &producer->timer);
        else
            timer_init(&producer->timer, producer_due);
        if (producer->link)
            kafka_link_drop(producer->link);
        producer->link = NULL;
    }
}

static void job_lost(struct world *world, bool power)
{
    struct job_state *state = state_of(world);
    state->power_lost |= power;
    job_forget(state);
}

static void job_close(struct world *world)
{
    struct job_state *state = state_of(world);
    if (state->front)
        front_kafka_close(state->front);
    jobs_close(state->jobs);
    blobstore_close(state->blobs);
    if (state->groups)
        groups_close(state->groups);
    broker_close(state->broker);
    job_forget(state);
}

static void job_settled(struct world *world)
{
    struct job_state *state = state_of(world);
    if (state->producers[0].next == 0)
        world_breach(world, "nothing was sent");
    state->settled = true;
}

const struct scenario scenario_job = {
    .name = "job",
    .init = job_init,
    .boot = job_boot,
    .ready = job_ready,
    .check = job_check,
    .check_done = job_check_done,
    .load = job_load,
    .idle = job_idle,
    .lost = job_lost,
    .close = job_close,
    .settled = job_settled,
};
