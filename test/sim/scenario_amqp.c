/*
 * Clients on another host send events through the Event Hubs door, singly and in batches, over a network that delays, splits and cuts, and
 * receive them through it; after every loss the log is read on the broker's own calls and compared with the model.
 *
 * Checked: every accepted delivery is there, whole and in one piece, after any loss; nothing is there that nobody sent, nor more often than
 * it was sent; what a receiver was shown stays where it was; receivers miss nothing and get nothing twice; windows, credit and delivery ids
 * are kept (the client looks); after the last load everybody has got through.
 *
 * body of an event: sender (8) | event number (8) | bytes drawn from both
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amqp_link.h"
#include "base/bytebuf.h"
#include "broker/broker.h"
#include "front/eventhubs/eventhubs.h"
#include "seglog/batch.h"
#include "world.h"

enum {
    SENDERS = 6,
    PARTITIONS_MAX = 3,
    DELIVERIES_MAX = 2000,
    BATCH_EVENTS = 4,
    EVENTS_MAX = DELIVERIES_MAX * BATCH_EVENTS,
    BODY_HEAD = 16,
    BODY_MAX = 3000,
    IN_FLIGHT_MAX = 6,
    AMQP_PORT = 5672,
    FORMAT_BATCH = 0x80013700u,
    LOG_EVENTS_MAX = 4 * SENDERS * EVENTS_MAX
};

struct sender {
    struct world *world;
    unsigned index;
    int32_t partition;
    unsigned bases[DELIVERIES_MAX + 1]; /* number of the first event */
    bool accepted[DELIVERIES_MAX];
    uint16_t tries[DELIVERIES_MAX];
    unsigned made;
    unsigned first; /* first one not accepted */
    unsigned next;
    unsigned in_flight;
    bool failing; /* wait for all, then go on from `first` */
    bool waiting; /* the timer is armed */
    struct amqp_link *link;
    struct timer timer;
    struct post post;
    uint16_t found[DELIVERIES_MAX]; /* by this check */
};

/* Who sent the event at an offset; sender SENDERS: nobody knows yet. */
struct slot {
    uint32_t sender;
    uint32_t number;
};

struct hub_log {
    struct world *world;
    int32_t partition;
    struct slot *shown; /* to the receiver: [0, next) */
    int64_t next;
    struct slot *found;
    int64_t found_count;
    int64_t known_end; /* of the last check */
    struct amqp_link *link;
    bool waiting;
    struct timer timer;
    struct post post, check_post;
    struct broker_fetch fetch;
    struct broker_fetch_part part;
};

struct amqp_state {
    struct reactor *client;
    struct broker *broker;
    struct front_eventhubs *front;
    int32_t partitions;
    bool created;
    struct uuid topic_id;
    struct sender senders[SENDERS];
    struct hub_log logs[PARTITIONS_MAX];
    struct broker_topic_op topic_op;
    struct post topic_post;
    unsigned reading;
    bool checking;
    struct bytebuf scratch;
};

static struct amqp_state *state_of(struct world *world)
{
    return world->state;
}

static struct broker_shard *part_of(struct world *world, unsigned shard)
{
    return broker_shard_of(state_of(world)->broker, world_shard(world, shard));
}

/* ---- what is sent ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a * 0x9e3779b97f4a7c15u) ^ (b + 0x7f4a7c159e3779b9u);
    x ^= x >> 31;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ (x >> 29);
}

static size_t body_make(uint64_t sender, uint64_t number, uint8_t *body)
{
    uint64_t identity = mix(sender + 1000, number);
    size_t len =
        BODY_HEAD + (identity % 8 == 0 ? identity % (BODY_MAX - BODY_HEAD) : identity % 100);
    world_fill(identity, body, len);
    memcpy(body, &sender, 8);
    memcpy(body + 8, &number, 8);
    return len;
}

static bool body_read(struct slice body, struct slot *ret_slot)
{
    uint64_t head[2];
    uint8_t expected[BODY_MAX];
    if (body.len < BODY_HEAD || body.len > BODY_MAX)
        return false;
    memcpy(head, body.data, sizeof(head));
    if (head[0] >= SENDERS || head[1] >= EVENTS_MAX)
        return false;
    size_t len = body_make(head[0], head[1], expected);
    *ret_slot = (struct slot){(uint32_t)head[0], (uint32_t)head[1]};
    return len == body.len && memcmp(expected, body.data, len) == 0;
}

/* The message of a delivery: one event as it is, more in a batch. */
static uint32_t message_make(const struct sender *sender, unsigned delivery, struct bytebuf *out)
{
    unsigned first = sender->bases[delivery], end = sender->bases[delivery + 1];
    struct bytebuf event;
    bytebuf_init(&event, BODY_MAX + 64);
    for (unsigned number = first; number < end; number++) {
        uint8_t body[BODY_MAX];
        size_t len = body_make(sender->index, number, body);
        bytebuf_clear(&event);
        amqp_link_put_data(&event, slice_make(body, len));
        if (end - first == 1)
            bytebuf_append_slice(out, bytebuf_slice(&event));
        else
            amqp_link_put_data(out, bytebuf_slice(&event));
    }
    bytebuf_deinit(&event);
    return end - first == 1 ? 0 : FORMAT_BATCH;
}

/* ---- senders ---- */

static void sender_go(struct sender *sender);

static void sender_later(struct sender *sender)
{
    if (sender->waiting)
        return;
    sender->waiting = true;
    timer_arm(state_of(sender->world)->client, &sender->timer,
              500 + random_below(&sender->world->random, 20000));
}

static void sender_due(struct timer *timer)
{
    struct sender *sender = CONTAINER_OF(timer, struct sender, timer);
    sender->waiting = false;
    sender_go(sender);
}

static void sender_credit(void *arg)
{
    sender_go(arg);
}

static void sender_settled(void *arg, unsigned token, bool accepted)
{
    struct sender *sender = arg;
    sender->in_flight--;
    if (accepted && sender->accepted[token])
        world_breach(sender->world, "sender %u: delivery %u accepted twice", sender->index, token);
    if (accepted) {
        sender->accepted[token] = true;
        sender->world->acked++;
        while (sender->first < sender->made && sender->accepted[sender->first])
            sender->first++;
    } else {
        sender->world->refused++;
        sender->failing = true;
    }
    if (sender->failing)
        sender_later(sender);
    else
        sender_go(sender);
}

static void sender_lost(void *arg)
{
    struct sender *sender = arg;
    sender->link = NULL;
    sender->world->refused += sender->in_flight;
    sender->in_flight = 0;
    sender->failing = true;
    sender_later(sender);
}

static void sender_nonsense(void *arg, const char *what)
{
    struct sender *sender = arg;
    world_breach(sender->world, "sender %u: %s", sender->index, what);
}

static const struct amqp_link_ops sender_ops = {
    .credit = sender_credit,
    .settled = sender_settled,
    .lost = sender_lost,
    .nonsense = sender_nonsense,
};

static bool sender_dial(struct sender *sender)
{
    struct world *world = sender->world;
    char address[64];
    static const uint32_t pieces[] = {100, 1000, 60000};
    (void)snprintf(address, sizeof(address), "sim/Partitions/%d", sender->partition);
    struct amqp_link_config config = {.address = address,
                                      .frame_max = 65536,
                                      .window = 1000,
                                      .piece = pieces[random_below(&world->random, 3)]};
    sender->link = amqp_link_dial(state_of(world)->client, AMQP_PORT, &config, &sender_ops, sender);
    return sender->link;
}

static void sender_send(struct sender *sender, unsigned delivery)
{
    struct bytebuf message;
    bytebuf_init(&message, 1 << 20);
    uint32_t format = message_make(sender, delivery, &message);
    sender->tries[delivery]++;
    sender->in_flight++;
    amqp_link_send(sender->link, delivery, format, bytebuf_slice(&message));
    bytebuf_deinit(&message);
}

static void sender_go(struct sender *sender)
{
    struct world *world = sender->world;
    if (sender->waiting)
        return;
    if (sender->failing && sender->in_flight == 0) {
        sender->failing = false;
        sender->next = sender->first;
    }
    if (sender->failing || !world->running)
        return;
    if (!sender->link && !sender_dial(sender)) {
        sender_later(sender);
        return;
    }
    while (sender->in_flight < IN_FLIGHT_MAX && sender->next < DELIVERIES_MAX &&
           amqp_link_credit(sender->link) > 0) {
        unsigned delivery = sender->next++;
        if (delivery == sender->made) {
            uint64_t count = mix(sender->index + 100, delivery) % (BATCH_EVENTS + 2);
            sender->bases[delivery + 1] =
                sender->bases[delivery] + (count < BATCH_EVENTS ? 1 + (unsigned)count : 1);
            sender->made++;
        }
        if (!sender->accepted[delivery])
            sender_send(sender, delivery);
        if (random_one_in(&world->random, 4)) {
            sender_later(sender);
            return;
        }
    }
}

static void sender_start(struct post *post)
{
    sender_go(CONTAINER_OF(post, struct sender, post));
}

/* ---- receivers ---- */

static void receiver_go(struct hub_log *log);

static void receiver_due(struct timer *timer)
{
    struct hub_log *log = CONTAINER_OF(timer, struct hub_log, timer);
    log->waiting = false;
    receiver_go(log);
}

static void receiver_later(struct hub_log *log)
{
    if (log->waiting)
        return;
    log->waiting = true;
    timer_arm(state_of(log->world)->client, &log->timer,
              500 + random_below(&log->world->random, 20000));
}

static void receiver_event(void *arg, int64_t sequence, int64_t offset, struct slice body)
{
    struct hub_log *log = arg;
    if (sequence != log->next || offset != log->next)
        world_breach(log->world, "receiver %d: event %lld at offset %lld where %lld is due",
                     log->partition, (long long)sequence, (long long)offset, (long long)log->next);
    if (!body_read(body, &log->shown[log->next]))
        world_breach(log->world, "receiver %d: event %lld is what nobody sent", log->partition,
                     (long long)log->next);
    log->next++;
    log->world->checked++;
}

static void receiver_lost(void *arg)
{
    struct hub_log *log = arg;
    log->link = NULL;
    receiver_later(log);
}

static void receiver_nonsense(void *arg, const char *what)
{
    struct hub_log *log = arg;
    world_breach(log->world, "receiver %d: %s", log->partition, what);
}

static const struct amqp_link_ops receiver_ops = {
    .event = receiver_event,
    .lost = receiver_lost,
    .nonsense = receiver_nonsense,
};

static void receiver_go(struct hub_log *log)
{
    struct world *world = log->world;
    char address[80], filter[80];
    static const uint32_t frames[] = {512, 1000, 65536};
    static const uint32_t windows[] = {1, 3, 50, 5000};
    if (log->waiting || log->link || !world->running)
        return;
    (void)snprintf(address, sizeof(address), "sim/ConsumerGroups/g/Partitions/%d", log->partition);
    (void)snprintf(filter, sizeof(filter), "amqp.annotation.x-opt-offset > '%lld'",
                   (long long)log->next - 1);
    struct amqp_link_config config = {
        .address = address,
        .filter = filter,
        .frame_max = frames[random_below(&world->random, 3)],
        .window = windows[random_below(&world->random, 4)],
        .credit = 1 + (uint32_t)random_below(&world->random, 300),
    };
    log->link = amqp_link_dial(state_of(world)->client, AMQP_PORT, &config, &receiver_ops, log);
    if (!log->link)
        receiver_later(log);
}

static void receiver_start(struct post *post)
{
    receiver_go(CONTAINER_OF(post, struct hub_log, post));
}

/* ---- reading back ---- */

/* Takes what a fetch brought into log->found. */
static void ranges_take(struct hub_log *log)
{
    struct world *world = log->world;
    struct err_info info;
    for (uint32_t r = 0; r < log->part.range_count; r++) {
        struct slice rest = log->part.ranges[r].bytes;
        while (rest.len > 0) {
            struct batch_iter iter;
            struct batch_record record;
            uint32_t size = batch_size_peek(rest);
            if (size == 0 || size > rest.len ||
                batch_iter_init(&iter, slice_sub(rest, 0, size), &state_of(world)->scratch,
                                &info) != ERR_OK)
                world_breach(world, "partition %d: a damaged batch", log->partition);
            while (batch_iter_next(&iter, &record)) {
                if (record.offset.value < log->found_count)
                    continue;
                if (record.offset.value != log->found_count ||
                    !body_read(record.value, &log->found[log->found_count]))
                    world_breach(world, "partition %d: offset %lld holds what nobody sent",
                                 log->partition, (long long)record.offset.value);
                log->found_count++;
            }
            rest = slice_sub(rest, size, SIZE_MAX);
        }
    }
}

/* The delivery that begins with this event; a breach when none does or it is not whole here. */
static unsigned delivery_at(struct hub_log *log, int64_t offset)
{
    struct world *world = log->world;
    struct slot slot = log->found[offset];
    struct sender *sender = &state_of(world)->senders[slot.sender];
    unsigned low = 0, high = sender->made;
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (sender->bases[middle] <= slot.number)
            low = middle;
        else
            high = middle;
    }
    if (sender->made == 0 || sender->bases[low] != slot.number ||
        sender->partition != log->partition)
        world_breach(world, "partition %d, offset %lld: event %u of sender %u out of its batch",
                     log->partition, (long long)offset, slot.number, slot.sender);
    for (unsigned i = 1; i < sender->bases[low + 1] - sender->bases[low]; i++) {
        const struct slot *next = &log->found[offset + i];
        if (offset + i >= log->found_count || next->sender != slot.sender ||
            next->number != slot.number + i)
            world_breach(world, "partition %d, offset %lld: a batch that is not whole",
                         log->partition, (long long)offset);
    }
    return low;
}

static void check_log(struct hub_log *log)
{
    struct world *world = log->world;
    struct amqp_state *state = state_of(world);
    for (int64_t offset = 0; offset < log->found_count;) {
        struct sender *sender = &state->senders[log->found[offset].sender];
        unsigned delivery = delivery_at(log, offset);
        if (++sender->found[delivery] > sender->tries[delivery])
            world_breach(world, "sender %u: delivery %u is there more often than it was sent",
                         sender->index, delivery);
        offset += sender->bases[delivery + 1] - sender->bases[delivery];
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        struct sender *sender = &state->senders[i];
        for (unsigned d = 0; sender->partition == log->partition && d < sender->made; d++) {
            if (sender->accepted[d] && sender->found[d] == 0)
                world_breach(world, "sender %u: accepted delivery %u is lost", i, d);
            world->checked++;
        }
    }
    if (log->next > log->found_count)
        world_breach(world, "partition %d ends at %lld, receivers saw %lld", log->partition,
                     (long long)log->found_count, (long long)log->next);
    if (memcmp(log->shown, log->found, (size_t)log->next * sizeof(struct slot)) != 0)
        world_breach(world, "partition %d: what a receiver saw is another event now",
                     log->partition);
    log->known_end = log->found_count;
}

static void check_next(struct hub_log *log);

static void check_fetched(struct broker_fetch *op)
{
    struct hub_log *log = CONTAINER_OF(op, struct hub_log, fetch);
    struct amqp_state *state = state_of(log->world);
    if (log->part.err != ERR_OK)
        world_breach(log->world, "partition %d cannot be read on a sound disk: %s", log->partition,
                     err_row(log->part.err)->name);
    int64_t before = log->found_count, end = log->part.high_watermark;
    ranges_take(log);
    broker_fetch_release(&log->fetch);
    if (log->found_count < end) {
        if (log->found_count == before)
            world_breach(log->world, "partition %d: nothing at %lld below the end", log->partition,
                         (long long)before);
        check_next(log);
        return;
    }
    check_log(log);
    if (--state->reading == 0)
        state->checking = false;
}

static void check_next(struct hub_log *log)
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
    check_next(CONTAINER_OF(post, struct hub_log, check_post));
}

static void check_topic_there(struct broker_topic_op *op)
{
    struct amqp_state *state = CONTAINER_OF(op, struct amqp_state, topic_op);
    struct world *world = state->logs[0].world;
    if (op->err != ERR_OK)
        world_breach(world, "the hub cannot be made on a sound disk: %s", op->info.text);
    if (state->created && !uuid_equal(state->topic_id, op->topic->id))
        world_breach(world, "the hub was lost");
    state->created = true;
    state->topic_id = op->topic->id;
    for (unsigned i = 0; i < SENDERS; i++)
        memset(state->senders[i].found, 0, sizeof(state->senders[i].found));
    state->reading = (unsigned)state->partitions;
    for (int32_t i = 0; i < state->partitions; i++) {
        state->logs[i].found_count = 0;
        world_post(world, (unsigned)i % world->shard_count, &state->logs[i].check_post,
                   check_log_start);
    }
}

static void check_topic(struct post *post)
{
    struct amqp_state *state = CONTAINER_OF(post, struct amqp_state, topic_post);
    state->topic_op = (struct broker_topic_op){.action = BROKER_TOPIC_ENSURE,
                                               .name = SLICE_LIT("sim"),
                                               .partition_count = state->partitions,
                                               .done = check_topic_there};
    broker_topic_submit(part_of(state->logs[0].world, 0), &state->topic_op);
}

static void amqp_check(struct world *world)
{
    state_of(world)->checking = true;
    world_post(world, 0, &state_of(world)->topic_post, check_topic);
}

static bool amqp_check_done(struct world *world)
{
    return !state_of(world)->checking;
}

/* ---- the scenario ---- */

static void amqp_init(struct world *world)
{
    struct amqp_state *state = calloc(1, sizeof(*state));
    struct sim_config config;
    static const uint32_t cuts[] = {0, 30, 100, 1000};
    world->state = state;
    state->partitions = 1 + (int32_t)random_below(&world->random, PARTITIONS_MAX);
    bytebuf_init(&state->scratch, 16 << 20);
    state->client = sim_host_reactor(sim_host_create(world->sim, NULL));
    sim_config_init(&config, 0);
    config.cut_odds = cuts[random_below(&world->random, 4)];
    config.partial_odds = 1 + (uint32_t)random_below(&world->random, 10);
    config.delay_max_us = 100 + random_below(&world->random, 20000);
    sim_config_set(world->sim, &config);
    for (unsigned i = 0; i < SENDERS; i++) {
        struct sender *sender = &state->senders[i];
        sender->world = world;
        sender->index = i;
        sender->partition = (int32_t)i % state->partitions;
        timer_init(&sender->timer, sender_due);
    }
    for (unsigned i = 0; i < PARTITIONS_MAX; i++) {
        struct hub_log *log = &state->logs[i];
        log->world = world;
        log->partition = (int32_t)i;
        log->shown = calloc(LOG_EVENTS_MAX, sizeof(struct slot));
        log->found = calloc(LOG_EVENTS_MAX, sizeof(struct slot));
        timer_init(&log->timer, receiver_due);
    }
}

static enum err amqp_boot(struct world *world, struct err_info *info)
{
    struct amqp_state *state = state_of(world);
    state->broker = NULL;
    enum err err = fs_mkdir_all(world->fs, WORLD_DIR, info);
    if (err == ERR_OK)
        err = fs_sync_dir(world->fs, "/", info);
    struct broker_config config = {
        .dir = WORLD_DIR, .default_partitions = state->partitions, .auto_create = true};
    if (err == ERR_OK)
        err = broker_open(world->shards, &config, &state->broker, info);
    if (err != ERR_OK)
        return err;
    struct eventhubs_config *eventhubs = eventhubs_config_create();
    return front_eventhubs_start(world->shards, state->broker, eventhubs, "127.0.0.1", AMQP_PORT,
                                 &state->front, info);
}

static bool amqp_ready(struct world *world)
{
    struct amqp_state *state = state_of(world);
    return state->broker && broker_ready(state->broker);
}

static void amqp_load(struct world *world)
{
    struct amqp_state *state = state_of(world);
    for (unsigned i = 0; i < SENDERS; i++) {
        state->senders[i].next = state->senders[i].first;
        reactor_post(state->client, &state->senders[i].post, sender_start);
    }
    for (int32_t i = 0; i < state->partitions; i++)
        reactor_post(state->client, &state->logs[i].post, receiver_start);
}

static bool amqp_idle(struct world *world)
{
    for (unsigned i = 0; i < SENDERS; i++) {
        if (state_of(world)->senders[i].in_flight > 0)
            return false;
    }
    return true;
}

static void amqp_forget(struct amqp_state *state)
{
    for (unsigned i = 0; i < SENDERS; i++) {
        struct sender *sender = &state->senders[i];
        sender->in_flight = 0;
        sender->failing = sender->waiting = false;
        timer_cancel(state->client, &sender->timer);
        if (sender->link)
            amqp_link_drop(sender->link);
        sender->link = NULL;
    }
    for (unsigned i = 0; i < PARTITIONS_MAX; i++) {
        struct hub_log *log = &state->logs[i];
        log->waiting = false;
        timer_cancel(state->client, &log->timer);
        if (log->link)
            amqp_link_drop(log->link);
        log->link = NULL;
    }
}

static void amqp_lost(struct world *world, bool power)
{
    struct amqp_state *state = state_of(world);
    state->broker = NULL;
    state->checking = false;
    amqp_forget(state);
}

static void amqp_close(struct world *world)
{
    struct amqp_state *state = state_of(world);
    front_eventhubs_destroy(state->front);
    broker_close(state->broker);
    state->broker = NULL;
    amqp_forget(state);
}

/* After a last stretch on a sound disk every sender got on, and no receiver has seen nothing at all. */
static void amqp_settled(struct world *world)
{
    struct amqp_state *state = state_of(world);
    for (unsigned i = 0; i < SENDERS; i++) {
        struct sender *sender = &state->senders[i];
        if (sender->first + IN_FLIGHT_MAX < sender->next)
            world_breach(world, "sender %u is stuck at delivery %u of %u", i, sender->first,
                         sender->made);
        if (sender->made > 0 && sender->first == 0)
            world_breach(world, "sender %u never got through", i);
    }
    for (int32_t i = 0; i < state->partitions; i++) {
        if (state->logs[i].next == 0 && state->logs[i].known_end > 0)
            world_breach(world, "receiver %d never got through", i);
    }
}

const struct scenario scenario_amqp = {
    .name = "amqp",
    .init = amqp_init,
    .boot = amqp_boot,
    .ready = amqp_ready,
    .check = amqp_check,
    .check_done = amqp_check_done,
    .load = amqp_load,
    .idle = amqp_idle,
    .lost = amqp_lost,
    .close = amqp_close,
    .settled = amqp_settled,
};
