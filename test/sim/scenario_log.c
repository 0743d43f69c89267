/*
 * Idempotent producers append, at acks -1 or 1; after every loss the whole log is read and compared with the model. Scenario `log` calls the broker
 * on its shards; scenario `kafka` has clients on another host, which speak the protocol through a network that delays, splits and cuts.
 *
 * Checked: offsets are dense; every record is whole and was sent; a producer's records come in order, once, without holes; whatever was
 * acknowledged at acks -1 is at its offset after any loss, at acks 1 after the loss of the process; no offset below an acknowledged one ever
 * changes its record.
 *
 * value of a record: producer (8) | record number (8) | bytes drawn from both
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "front/kafka/kafka.h"
#include "group/group.h"
#include "kafka_link.h"
#include "seglog/batch.h"
#include "world.h"

enum {
    PRODUCERS = 8,
    PARTITIONS_MAX = 8,
    BATCHES_MAX = 3000,
    BATCH_RECORDS = 4,
    RECORDS_MAX = BATCHES_MAX * BATCH_RECORDS,
    VALUE_HEAD = 16,
    VALUE_MAX = 2000,
    IN_FLIGHT_MAX = 5,
    KAFKA_PORT = 9092,
    LOG_RECORDS_MAX = PRODUCERS * RECORDS_MAX
};

/* One batch on its way; leaked when the node dies with it. */
struct sending {
    struct broker_append op;
    struct producer *producer;
    unsigned batch;
};

struct producer {
    struct world *world;
    unsigned index;
    int32_t partition;
    int8_t acks;
    unsigned shard; /* where it runs */
    /* batches: sizes are drawn from the number alone, so that a repetition is the same to the byte */
    unsigned bases[BATCHES_MAX + 1]; /* number of the first record */
    bool acked[BATCHES_MAX];
    int64_t offsets[BATCHES_MAX];
    unsigned made;  /* batches ever begun */
    unsigned first; /* first one not acknowledged */
    unsigned next;  /* next one to send */
    unsigned in_flight;
    bool failing; /* something went wrong: wait for all, then go on from `first` */
    bool waiting; /* the timer is armed */
    int64_t producer_id;
    unsigned first_of_id; /* batch that has sequence 0 of this id */
    bool asking;          /* for an id */
    bool failed_by_order;
    struct kafka_link *link; /* scenario kafka */
    struct broker_producer_id_op id_op;
    struct timer timer;
    struct post post;
    /* checker */
    uint64_t seen;
    int64_t last_seen;
};

/* Who wrote the record at an offset. */
struct slot {
    uint32_t producer;
    uint32_t number;
};

struct log {
    struct world *world;
    int32_t partition;
    struct slot *slots; /* what is known to be fixed: [0, fixed) */
    struct slot *found; /* what this check reads */
    int64_t fixed;
    int64_t found_count;
    int64_t known_end; /* of the last check */
    struct broker_fetch fetch;
    struct broker_fetch_part part;
    struct post post;
    bool reading;
    /* reader during the load */
    struct broker_fetch tail;
    struct broker_fetch_part tail_part;
    bool tailing;
    int64_t tail_next;
};

struct log_state {
    bool wire; /* scenario kafka */
    struct reactor *client;
    struct broker *broker;
    struct groups *groups;
    struct front_kafka *front;
    bool power_lost; /* since the last check */
    int32_t partitions;
    bool created;
    struct uuid topic_id;
    struct producer producers[PRODUCERS];
    struct log logs[PARTITIONS_MAX];
    struct broker_topic_op topic_op;
    struct post topic_post;
    unsigned reading;
    bool checking;
    struct bytebuf scratch;
};

static struct log_state *state_of(struct world *world)
{
    return world->state;
}

static struct broker_shard *part_of(struct world *world, unsigned shard)
{
    return broker_shard_of(state_of(world)->broker, world_shard(world, shard));
}

/* ---- what producers write ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a * 0x9e3779b97f4a7c15u) ^ (b + 0x7f4a7c159e3779b9u);
    x ^= x >> 31;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 29);
}

static size_t value_make(uint64_t producer, uint64_t number, uint8_t *value)
{
    uint64_t identity = mix(producer, number);
    size_t len =
        VALUE_HEAD + (identity % 16 == 0 ? identity % (VALUE_MAX - VALUE_HEAD) : identity % 200);
    world_fill(identity, value, len);
    memcpy(value, &producer, 8);
    memcpy(value + 8, &number, 8);
    return len;
}

static bool value_read(struct slice value, struct slot *ret_slot)
{
    uint64_t head[2];
    uint8_t expected[VALUE_MAX];
    if (value.len < VALUE_HEAD || value.len > VALUE_MAX)
        return false;
    memcpy(head, value.data, sizeof(head));
    if (head[0] >= PRODUCERS || head[1] >= RECORDS_MAX)
        return false;
    size_t len = value_make(head[0], head[1], expected);
    *ret_slot = (struct slot){(uint32_t)head[0], (uint32_t)head[1]};
    return len == value.len && memcmp(expected, value.data, len) == 0;
}

static unsigned batch_records(unsigned producer, unsigned batch)
{
    return 1 + (unsigned)(mix(producer + 100, batch) % BATCH_RECORDS);
}

static struct iobuf_range batch_make(struct producer *producer, unsigned batch)
{
    struct batch_builder builder;
    struct iobuf_range range;
    batch_builder_init(&builder, 1 << 20);
    for (unsigned number = producer->bases[batch]; number < producer->bases[batch + 1]; number++) {
        uint8_t value[VALUE_MAX];
        size_t len = value_make(producer->index, number, value);
        struct batch_build_record record = {.timestamp_ms = 1700000000000 + number,
                                            .value = slice_make(value, len)};
        if (batch_builder_add(&builder, &record) != ERR_OK)
            abort();
    }
    builder.producer_id = producer->producer_id;
    builder.producer_epoch = 0;
    builder.base_sequence =
        (int32_t)(producer->bases[batch] - producer->bases[producer->first_of_id]);
    batch_builder_finish(&builder, &range);
    return range;
}

/* ---- load ---- */

static void producer_go(struct producer *producer);

static struct reactor *producer_reactor(struct producer *producer)
{
    struct log_state *state = state_of(producer->world);
    return state->wire ? state->client : world_shard(producer->world, producer->shard)->reactor;
}

static void producer_later(struct producer *producer)
{
    if (producer->waiting)
        return;
    producer->waiting = true;
    struct world *world = producer->world;
    timer_arm(producer_reactor(producer), &producer->timer,
              500 + random_below(&world->random, 20000));
}

static void producer_due(struct timer *timer)
{
    struct producer *producer = CONTAINER_OF(timer, struct producer, timer);
    producer->waiting = false;
    producer_go(producer);
}

static void producer_outcome(struct producer *producer, unsigned batch, bool acknowledged,
                             int64_t base_offset)
{
    struct world *world = producer->world;
    producer->in_flight--;
    if (acknowledged) {
        if (producer->acked[batch])
            world_breach(world, "producer %u: batch %u acknowledged twice", producer->index, batch);
        producer->acked[batch] = true;
        producer->offsets[batch] = base_offset;
        world->acked++;
        while (producer->first < producer->made && producer->acked[producer->first])
            producer->first++;
    } else {
        world->refused++;
        producer->failing = true;
    }
    if (producer->failing)
        producer_later(producer);
    else
        producer_go(producer);
}

static void producer_answered(struct broker_append *op)
{
    struct sending *sending = CONTAINER_OF(op, struct sending, op);
    producer_outcome(sending->producer, sending->batch, op->err == ERR_OK, op->base_offset);
    free(sending);
}

/* ---- through the door ---- */

static void wire_produced(void *arg, unsigned token, int16_t code, int64_t base_offset)
{
    producer_outcome(arg, token, code == 0, base_offset);
}

static void producer_id_take(struct producer *producer, bool given, int64_t producer_id);

static void wire_id_given(void *arg, int16_t code, int64_t producer_id)
{
    producer_id_take(arg, code == 0, producer_id);
}

static void wire_lost(void *arg)
{
    struct producer *producer = arg;
    producer->link = NULL;
    producer->world->refused += producer->in_flight;
    producer->in_flight = 0;
    producer->asking = false;
    producer->failing = true;
    producer_later(producer);
}

static void wire_nonsense(void *arg, const char *what)
{
    struct producer *producer = arg;
    world_breach(producer->world, "producer %u: %s", producer->index, what);
}

static const struct kafka_link_ops wire_ops = {wire_produced, wire_id_given, wire_lost,
                                               wire_nonsense};

static void wire_send(struct producer *producer, unsigned batch)
{
    struct iobuf_range range = batch_make(producer, batch);
    producer->in_flight++;
    kafka_link_produce(producer->link, batch, producer->acks, "sim", producer->partition,
                       range.bytes);
    iobuf_unref(range.buf);
}

static void producer_send(struct producer *producer, unsigned batch)
{
    struct world *world = producer->world;
    if (state_of(world)->wire) {
        wire_send(producer, batch);
        return;
    }
    struct sending *sending = calloc(1, sizeof(*sending));
    sending->producer = producer;
    sending->batch = batch;
    sending->op = (struct broker_append){.topic_id = state_of(world)->topic_id,
                                         .partition = producer->partition,
                                         .acks = producer->acks,
                                         .batch = batch_make(producer, batch),
                                         .done = producer_answered};
    producer->in_flight++;
    broker_append(part_of(world, producer->shard), &sending->op);
}

static void producer_id_take(struct producer *producer, bool given, int64_t producer_id)
{
    producer->asking = false;
    if (!given) {
        producer_later(producer);
        return;
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        if (state_of(producer->world)->producers[i].producer_id == producer_id)
            world_breach(producer->world, "producer id %lld given out twice",
                         (long long)producer_id);
    }
    producer->producer_id = producer_id;
    producer->first_of_id = producer->next;
    producer_go(producer);
}

static void producer_id_got(struct broker_producer_id_op *op)
{
    producer_id_take(CONTAINER_OF(op, struct producer, id_op), op->err == ERR_OK, op->producer_id);
}

static void producer_ask(struct producer *producer)
{
    producer->asking = true;
    if (state_of(producer->world)->wire) {
        kafka_link_ask_id(producer->link);
        return;
    }
    producer->id_op = (struct broker_producer_id_op){.done = producer_id_got};
    broker_producer_id(part_of(producer->world, producer->shard), &producer->id_op);
}

static void producer_go(struct producer *producer)
{
    struct world *world = producer->world;
    if (producer->waiting || producer->asking)
        return;
    if (producer->failing && producer->in_flight == 0) {
        producer->failing = false;
        producer->next = producer->first;
    }
    if (producer->failing)
        return;
    if (world->running && state_of(world)->wire && !producer->link) {
        producer->link = kafka_link_dial(state_of(world)->client, KAFKA_PORT, &wire_ops, producer);
        if (!producer->link) {
            producer_later(producer);
            return;
        }
    }
    if (producer->producer_id < 0) {
        if (world->running)
            producer_ask(producer);
        return;
    }
    while (producer->in_flight < IN_FLIGHT_MAX && producer->next < BATCHES_MAX) {
        if (!world->running)
            return;
        unsigned batch = producer->next++;
        if (batch == producer->made) {
            producer->bases[batch + 1] =
                producer->bases[batch] + batch_records(producer->index, batch);
            producer->made++;
        }
        if (!producer->acked[batch])
            producer_send(producer, batch);
        if (random_one_in(&world->random, 4)) {
            producer_later(producer);
            return;
        }
    }
}

static void producer_start(struct post *post)
{
    producer_go(CONTAINER_OF(post, struct producer, post));
}

/* ---- reading back ---- */

/* Hands every record of the ranges to the log's `each`. */
static void ranges_walk(struct log *log, const struct broker_fetch_part *part, int64_t *next,
                        bool keep)
{
    struct world *world = log->world;
    struct err_info info;
    for (uint32_t r = 0; r < part->range_count; r++) {
        struct slice rest = part->ranges[r].bytes;
        while (rest.len > 0) {
            uint32_t size = batch_size_peek(rest);
            if (size == 0 || size > rest.len || !batch_crc_holds(slice_sub(rest, 0, size)))
                world_breach(world, "partition %d: a damaged batch at offset %lld", log->partition,
                             (long long)*next);
            struct batch_iter iter;
            if (batch_iter_init(&iter, slice_sub(rest, 0, size), &state_of(world)->scratch,
                                &info) != ERR_OK)
                world_breach(world, "partition %d: %s", log->partition, info.text);
            struct batch_record record;
            while (batch_iter_next(&iter, &record)) {
                struct slot slot;
                if (record.offset.value < *next)
                    continue; /* the first batch may begin before what was asked */
                if (record.offset.value != *next)
                    world_breach(world, "partition %d: offset %lld where %lld is due",
                                 log->partition, (long long)record.offset.value, (long long)*next);
                if (!value_read(record.value, &slot))
                    world_breach(world, "partition %d: offset %lld holds what nobody sent",
                                 log->partition, (long long)*next);
                if (keep)
                    log->found[log->found_count++] = slot;
                ++*next;
            }
            if (iter.err != ERR_OK)
                world_breach(world, "partition %d: records of a batch do not parse",
                             log->partition);
            rest = slice_sub(rest, size, rest.len - size);
        }
    }
}

static void check_order(struct log *log)
{
    struct world *world = log->world;
    struct log_state *state = state_of(world);
    for (int64_t offset = 0; offset < log->found_count; offset++) {
        struct slot slot = log->found[offset];
        struct producer *producer = &state->producers[slot.producer];
        if (producer->partition != log->partition)
            world_breach(world, "partition %d: a record of another partition", log->partition);
        if ((int64_t)slot.number != producer->last_seen + 1 && producer->acks == -1)
            world_breach(world, "partition %d, offset %lld: record %u of producer %u follows %lld",
                         log->partition, (long long)offset, slot.number, slot.producer,
                         (long long)producer->last_seen);
        if ((int64_t)slot.number <= producer->last_seen)
            world_breach(world, "partition %d, offset %lld: record %u of producer %u after %lld",
                         log->partition, (long long)offset, slot.number, slot.producer,
                         (long long)producer->last_seen);
        producer->last_seen = slot.number;
        producer->seen++;
        world->checked++;
    }
    for (int64_t offset = 0; offset < log->fixed; offset++) {
        if (offset >= log->found_count)
            world_breach(world, "partition %d ends at %lld, acknowledged up to %lld",
                         log->partition, (long long)log->found_count, (long long)log->fixed);
        if (memcmp(&log->slots[offset], &log->found[offset], sizeof(struct slot)) != 0)
            world_breach(world, "partition %d: offset %lld changed its record", log->partition,
                         (long long)offset);
    }
}

/* Every acknowledged batch is at its offset. */
static void check_acked(struct log *log, struct producer *producer)
{
    struct world *world = log->world;
    bool may_lose = producer->acks == 1 && state_of(world)->power_lost;
    for (unsigned batch = 0; batch < producer->made; batch++) {
        if (!producer->acked[batch])
            continue;
        unsigned count = producer->bases[batch + 1] - producer->bases[batch];
        for (unsigned i = 0; i < count; i++) {
            int64_t offset = producer->offsets[batch] + i;
            struct slot want = {producer->index, producer->bases[batch] + i};
            bool there =
                offset < log->found_count && memcmp(&log->found[offset], &want, sizeof(want)) == 0;
            if (!there && !may_lose)
                world_breach(world,
                             "partition %d: record %u of producer %u, acknowledged (acks %d) at "
                             "offset %lld, is lost",
                             log->partition, want.number, want.producer, producer->acks,
                             (long long)offset);
            if (!there)
                producer->acked[batch] = false; /* the power took it; it is not sent again */
        }
        if (producer->acks == -1 && producer->offsets[batch] + count > log->fixed)
            log->fixed = producer->offsets[batch] + count;
    }
}

static void check_log(struct log *log)
{
    struct log_state *state = state_of(log->world);
    check_order(log);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        if (state->producers[i].partition == log->partition)
            check_acked(log, &state->producers[i]);
    }
    if (log->fixed > log->found_count)
        log->fixed = log->found_count;
    memcpy(log->slots, log->found, (size_t)log->fixed * sizeof(struct slot));
    log->known_end = log->found_count;
}

static void check_next(struct log *log);

static void check_fetched(struct broker_fetch *op)
{
    struct log *log = CONTAINER_OF(op, struct log, fetch);
    struct log_state *state = state_of(log->world);
    if (log->part.err != ERR_OK)
        world_breach(log->world, "partition %d cannot be read on a sound disk: %s", log->partition,
                     err_row(log->part.err)->name);
    int64_t next = log->found_count;
    ranges_walk(log, &log->part, &next, true);
    int64_t end = log->part.high_watermark;
    bool progress = log->part.range_count > 0;
    broker_fetch_release(&log->fetch);
    if (log->found_count < end) {
        if (!progress)
            world_breach(log->world, "partition %d: nothing at %lld below the end %lld",
                         log->partition, (long long)log->found_count, (long long)end);
        check_next(log);
        return;
    }
    log->reading = false;
    check_log(log);
    if (--state->reading == 0) {
        state->power_lost = false;
        state->checking = false;
    }
}

static void check_next(struct log *log)
{
    log->part = (struct broker_fetch_part){.topic_id = state_of(log->world)->topic_id,
                                           .partition = log->partition,
                                           .offset = log->found_count,
                                           .max_bytes = 1 << 20,
                                           .leader_epoch = -1};
    log->fetch = (struct broker_fetch){
        .parts = &log->part, .part_count = 1, .max_bytes = 1 << 20, .done = check_fetched};
    broker_fetch(part_of(log->world, (unsigned)log->partition % log->world->shard_count),
                 &log->fetch);
}

static void check_log_start(struct post *post)
{
    check_next(CONTAINER_OF(post, struct log, post));
}

static void check_topic_there(struct broker_topic_op *op)
{
    struct log_state *state = CONTAINER_OF(op, struct log_state, topic_op);
    struct world *world = state->logs[0].world;
    if (op->err != ERR_OK)
        world_breach(world, "the topic cannot be made on a sound disk: %s", op->info.text);
    if (state->created && !uuid_equal(state->topic_id, op->topic->id))
        world_breach(world, "the topic was lost");
    state->created = true;
    state->topic_id = op->topic->id;
    for (unsigned i = 0; i < PRODUCERS; i++) {
        state->producers[i].last_seen = -1;
        state->producers[i].seen = 0;
    }
    state->reading = (unsigned)state->partitions;
    for (int32_t i = 0; i < state->partitions; i++) {
        state->logs[i].found_count = 0;
        state->logs[i].reading = true;
        world_post(world, (unsigned)i % world->shard_count, &state->logs[i].post, check_log_start);
    }
}

static void check_topic(struct post *post)
{
    struct log_state *state = CONTAINER_OF(post, struct log_state, topic_post);
    struct world *world = state->logs[0].world;
    state->topic_op = (struct broker_topic_op){.action = BROKER_TOPIC_ENSURE,
                                               .name = SLICE_LIT("sim"),
                                               .partition_count = state->partitions,
                                               .done = check_topic_there};
    broker_topic_submit(part_of(world, 0), &state->topic_op);
}

static void log_check(struct world *world)
{
    struct log_state *state = state_of(world);
    state->checking = true;
    world_post(world, 0, &state->topic_post, check_topic);
}

static bool log_check_done(struct world *world)
{
    return !state_of(world)->checking;
}

/* ---- readers during the load ---- */

static void tail_next(struct log *log);

static void tail_fetched(struct broker_fetch *op)
{
    struct log *log = CONTAINER_OF(op, struct log, tail);
    log->tailing = false;
    if (log->tail_part.err == ERR_OK)
        ranges_walk(log, &log->tail_part, &log->tail_next, false);
    bool again = log->tail_part.err == ERR_OK;
    broker_fetch_release(op);
    if (again && log->world->running)
        tail_next(log);
}

static void tail_next(struct log *log)
{
    log->tail_part = (struct broker_fetch_part){.topic_id = state_of(log->world)->topic_id,
                                                .partition = log->partition,
                                                .offset = log->tail_next,
                                                .max_bytes = 50000,
                                                .leader_epoch = -1};
    log->tail = (struct broker_fetch){.parts = &log->tail_part,
                                      .part_count = 1,
                                      .min_bytes = 1000,
                                      .max_bytes = 50000,
                                      .max_wait_ms = 50,
                                      .done = tail_fetched};
    log->tailing = true;
    broker_fetch(part_of(log->world, (unsigned)log->partition % log->world->shard_count),
                 &log->tail);
}

static void tail_start(struct post *post)
{
    tail_next(CONTAINER_OF(post, struct log, post));
}

/* ---- the scenario ---- */

static void log_init(struct world *world)
{
    struct log_state *state = calloc(1, sizeof(*state));
    world->state = state;
    state->partitions = 1 + (int32_t)random_below(&world->random, PARTITIONS_MAX);
    bytebuf_init(&state->scratch, 16 << 20);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        producer->world = world;
        producer->index = i;
        producer->partition = (int32_t)i % state->partitions;
        producer->acks = random_one_in(&world->random, 4) ? 1 : -1;
        producer->shard = (unsigned)random_below(&world->random, world->shard_count);
        producer->producer_id = -1;
        timer_init(&producer->timer, producer_due);
    }
    for (int32_t i = 0; i < PARTITIONS_MAX; i++) {
        struct log *log = &state->logs[i];
        log->world = world;
        log->partition = i;
        log->slots = calloc(LOG_RECORDS_MAX, sizeof(struct slot));
        log->found = calloc(LOG_RECORDS_MAX, sizeof(struct slot));
    }
}

static enum err log_boot(struct world *world, struct err_info *info)
{
    struct log_state *state = state_of(world);
    state->broker = NULL;
    enum err err = fs_mkdir_all(world->fs, WORLD_DIR, info);
    if (err == ERR_OK)
        err = fs_sync_dir(world->fs, "/", info);
    struct broker_config config = {.dir = WORLD_DIR,
                                   .default_partitions = state->partitions,
                                   .auto_create = true,
                                   .tail_cache_bytes = world->seed % 5 == 0 ? 64 << 10 : 0};
    world_journal(world, &config);
    if (err == ERR_OK)
        err = broker_open(world->shards, &config, &state->broker, info);
    if (err != ERR_OK || !state->wire)
        return err;
    struct groups_config groups = {0};
    struct front_kafka_config front = {.host = "127.0.0.1", .port = KAFKA_PORT};
    err = groups_open(world->shards, state->broker, &groups, &state->groups, info);
    if (err == ERR_OK)
        err = front_kafka_open(world->shards, state->broker, state->groups, &front, &state->front,
                               info);
    return err;
}

static bool log_ready(struct world *world)
{
    struct log_state *state = state_of(world);
    return state->broker && broker_ready(state->broker);
}

static void log_load(struct world *world)
{
    struct log_state *state = state_of(world);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        producer->next = producer->first;
        if (producer->acks == 1) {
            /* What the power may have taken leaves a hole: a fresh id, and on with the next batch. */
            producer->first = producer->next = producer->made;
            producer->producer_id = -1;
        }
        reactor_post(producer_reactor(producer), &producer->post, producer_start);
    }
    for (int32_t i = 0; i < state->partitions; i++) {
        state->logs[i].tail_next = state->logs[i].known_end;
        world_post(world, (unsigned)i % world->shard_count, &state->logs[i].post, tail_start);
    }
}

static bool log_idle(struct world *world)
{
    struct log_state *state = state_of(world);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        if (state->producers[i].in_flight > 0 || state->producers[i].asking)
            return false;
    }
    for (int32_t i = 0; i < state->partitions; i++) {
        if (state->logs[i].tailing)
            return false;
    }
    return true;
}

static void log_forget(struct log_state *state)
{
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        producer->in_flight = 0;
        producer->failing = producer->waiting = producer->asking = false;
        if (state->wire)
            timer_cancel(state->client, &producer->timer);
        else
            timer_init(&producer->timer, producer_due);
        if (producer->link)
            kafka_link_drop(producer->link);
        producer->link = NULL;
    }
    for (int32_t i = 0; i < PARTITIONS_MAX; i++)
        state->logs[i].tailing = state->logs[i].reading = false;
}

static void log_lost(struct world *world, bool power)
{
    struct log_state *state = state_of(world);
    state->broker = NULL;
    state->checking = false;
    state->power_lost |= power;
    log_forget(state);
}

static void log_close(struct world *world)
{
    struct log_state *state = state_of(world);
    if (state->wire) {
        front_kafka_close(state->front);
        groups_close(state->groups);
    }
    broker_close(state->broker);
    state->broker = NULL;
    log_forget(state);
}

/* After a last stretch on a sound disk every producer that waits for durability has got all its acknowledgements. */
static void log_settled(struct world *world)
{
    struct log_state *state = state_of(world);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        struct producer *producer = &state->producers[i];
        if (producer->acks == -1 && producer->first + IN_FLIGHT_MAX < producer->next)
            world_breach(world, "producer %u is stuck at batch %u of %u", i, producer->first,
                         producer->made);
        if (producer->acks == -1 && producer->first == 0 && producer->made > 0)
            world_breach(world, "producer %u never got an acknowledgement", i);
    }
}

static void kafka_init(struct world *world)
{
    log_init(world);
    struct log_state *state = state_of(world);
    state->wire = true;
    state->client = sim_host_reactor(sim_host_create(world->sim, NULL));
    struct sim_config config;
    sim_config_init(&config, 0);
    static const uint32_t cuts[] = {0, 30, 100, 1000};
    config.cut_odds = cuts[random_below(&world->random, 4)];
    config.partial_odds = 1 + (uint32_t)random_below(&world->random, 10);
    config.delay_max_us = 100 + random_below(&world->random, 20000);
    sim_config_set(world->sim, &config);
}

const struct scenario scenario_log = {
    .name = "log",
    .init = log_init,
    .boot = log_boot,
    .ready = log_ready,
    .check = log_check,
    .check_done = log_check_done,
    .load = log_load,
    .idle = log_idle,
    .lost = log_lost,
    .close = log_close,
    .settled = log_settled,
};

const struct scenario scenario_kafka = {
    .name = "kafka",
    .init = kafka_init,
    .boot = log_boot,
    .ready = log_ready,
    .check = log_check,
    .check_done = log_check_done,
    .load = log_load,
    .idle = log_idle,
    .lost = log_lost,
    .close = log_close,
    .settled = log_settled,
};
