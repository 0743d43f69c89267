/*
 * Members of consumer groups join, sync, beat, commit, leave and fall silent while the coordinator
 * loses its process and its power.
 *
 * Checked: all members that learn their assignment of one generation have it from the same leader's
 * plan, and their own part of it; a stored generation never comes back smaller, unless the group
 * was forgotten, which it may be only with no offset in it and no member whose session still runs;
 * whoever takes over a partition reads an offset that is at least the last one acknowledged and at
 * most the last one tried, and so does the checker after every boot; a group whose members all want
 * to go on gets stable again.
 *
 * assignment: group (4) | generation (4) | plan number (8) | partitions of the member, a bit each (8)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "group/group.h"
#include "world.h"

enum {
    GROUPS = 3,
    MEMBERS = 4,
    PARTITIONS = 6,
    ASSIGNMENT_LEN = 24,
    SESSION_MS = 6000,
    REBALANCE_MS = 9000
};

enum member_step {
    STEP_IDLE,
    STEP_JOIN,
    STEP_SYNC,
    STEP_FETCH,
    STEP_BEAT,
    STEP_COMMIT,
    STEP_LEAVE
};

struct consumer {
    struct world *world;
    struct team *team;
    unsigned index;
    unsigned shard;
    bool is_static;
    enum member_step step;
    char id[96];
    char instance[16];
    int32_t generation;
    bool leads;
    uint64_t owned; /* bits of partitions */
    int64_t next[PARTITIONS];
    uint64_t beat_us; /* the newest stored generation has it as a member at least until then */
    unsigned turns;   /* left in this generation before something changes */
    unsigned life;    /* of the node when the request left */
    struct group_op op;
    struct group_protocol protocol;
    char metadata[32];
    struct group_offset offsets[PARTITIONS];
    struct group_assignment assignments[MEMBERS * 2];
    uint8_t assignment_bytes[MEMBERS * 2][ASSIGNMENT_LEN];
    char assignment_ids[MEMBERS * 2][96];
    int64_t floor[PARTITIONS]; /* acknowledged when the fetch was asked */
    struct group_leave_member leaving;
    struct timer timer;
    struct post post;
};

struct team {
    char name[16];
    unsigned index;
    struct consumer consumers[MEMBERS];
    int64_t acked[PARTITIONS];
    int64_t tried[PARTITIONS];
    uint64_t plans;              /* numbers given so far */
    int32_t stored_generation;   /* largest one that a sync has answered */
    uint64_t plan_of_generation; /* its plan */
    uint64_t stable_count;
    struct group_op check_op;
    struct group_offset check_offsets[PARTITIONS];
    struct post check_post;
};

struct group_state_model {
    struct broker *broker;
    struct groups *groups;
    struct team teams[GROUPS];
    unsigned checking;
};

static struct group_state_model *state_of(struct world *world)
{
    return world->state;
}

static void consumer_go(struct consumer *c, uint64_t delay_us);

/* The coordinator took a sync or a beat of the newest generation: nobody else may end the session
 * now. Commits say less: they are also taken while the group rebalances without the member. */
static void consumer_proves(struct consumer *c)
{
    if (c->generation == c->team->stored_generation)
        c->beat_us = sim_now_us(c->world->sim) + SESSION_MS * 1000;
}

static void consumer_init(struct world *world, struct team *team, unsigned index)
{
    struct consumer *c = &team->consumers[index];
    c->world = world;
    c->team = team;
    c->index = index;
    c->is_static = index == MEMBERS - 1;
    snprintf(c->instance, sizeof(c->instance), "inst-%u", index);
}

static void group_init(struct world *world)
{
    struct group_state_model *state = calloc(1, sizeof(*state));
    world->state = state;
    for (unsigned g = 0; g < GROUPS; g++) {
        struct team *team = &state->teams[g];
        team->index = g;
        snprintf(team->name, sizeof(team->name), "team-%u", g);
        for (unsigned m = 0; m < MEMBERS; m++)
            consumer_init(world, team, m);
        for (unsigned p = 0; p < PARTITIONS; p++)
            team->acked[p] = team->tried[p] = -1;
    }
}

static enum err group_boot(struct world *world, struct err_info *info)
{
    struct group_state_model *state = state_of(world);
    struct broker_config config = {.dir = WORLD_DIR, .auto_create = true};
    struct groups_config groups = {.rewrite_bytes = 2000 << random_below(&world->random, 5),
                                   .check_ms = 100};
    state->broker = NULL;
    state->groups = NULL;
    world_journal(world, &config);
    enum err err = broker_open(world->shards, &config, &state->broker, info);
    if (err == ERR_OK)
        err = groups_open(world->shards, state->broker, &groups, &state->groups, info);
    if (err == ERR_OK) {
        char text[UUID_TEXT_LEN + 1];
        uuid_write_text(broker_cluster_id(state->broker), text);
        world_say(
            world, "cluster %s, epoch %d, %u topics", text, broker_leader_epoch(state->broker),
            topic_set_count(broker_topics(broker_shard_of(state->broker, world_shard(world, 0)))));
    }
    return err;
}

static bool group_ready(struct world *world)
{
    struct group_state_model *state = state_of(world);
    return state->groups && broker_ready(state->broker) && groups_ready(state->groups);
}

static struct groups_shard *part_of(struct world *world, unsigned shard)
{
    return groups_shard_of(state_of(world)->groups, world_shard(world, shard));
}

/* ---- checking ---- */

static void offsets_verify(struct world *world, struct team *team,
                           const struct group_offset *offsets, const int64_t *floor,
                           const char *who)
{
    for (unsigned p = 0; p < PARTITIONS; p++) {
        int64_t got = offsets[p].offset;
        if (got < floor[p] || got > team->tried[p])
            world_breach(world, "%s: %s partition %u at %lld, acknowledged %lld, tried %lld", who,
                         team->name, p, (long long)got, (long long)team->acked[p],
                         (long long)team->tried[p]);
    }
}

static void check_done(struct group_op *op)
{
    struct team *team = CONTAINER_OF(op, struct team, check_op);
    struct world *world = team->consumers[0].world;
    if (op->err)
        world_breach(world, "%s: offsets cannot be read: %s", team->name, err_row(op->err)->name);
    offsets_verify(world, team, team->check_offsets, team->acked, "after the boot");
    /* What is there now was durable: it counts as acknowledged from here on. */
    for (unsigned p = 0; p < PARTITIONS; p++)
        team->acked[p] = team->tried[p] = team->check_offsets[p].offset;
    group_op_release(op);
    world->checked++;
    state_of(world)->checking--;
}

static void offsets_ask(struct group_op *op, struct team *team, struct group_offset *offsets)
{
    *op = (struct group_op){
        .action = GROUP_FETCH_OFFSETS, .group_id = slice_cstr(team->name), .generation = -1};
    for (unsigned p = 0; p < PARTITIONS; p++)
        offsets[p] = (struct group_offset){.topic = SLICE_LIT("topic"), .partition = (int32_t)p};
    op->fetch = (struct group_fetch_offsets){.offsets = offsets, .offset_count = PARTITIONS};
}

static void check_run(struct post *post)
{
    struct team *team = CONTAINER_OF(post, struct team, check_post);
    struct world *world = team->consumers[0].world;
    offsets_ask(&team->check_op, team, team->check_offsets);
    team->check_op.done = check_done;
    group_submit(part_of(world, team->index % world->shard_count), &team->check_op);
}

static void group_check_start(struct world *world)
{
    struct group_state_model *state = state_of(world);
    state->checking = GROUPS;
    for (unsigned g = 0; g < GROUPS; g++)
        world_post(world, g % world->shard_count, &state->teams[g].check_post, check_run);
}

static bool group_check_done(struct world *world)
{
    return state_of(world)->checking == 0;
}

/* ---- a member's requests ---- */

static void consumer_done(struct group_op *op);

static void consumer_submit(struct consumer *c, enum member_step step)
{
    struct slice instance = c->is_static ? slice_cstr(c->instance) : SLICE_NULL;
    c->step = step;
    c->op.group_id = slice_cstr(c->team->name);
    c->op.member_id = slice_cstr(c->id);
    c->op.instance_id = instance;
    c->op.generation = c->generation;
    c->op.done = consumer_done;
    group_submit(part_of(c->world, c->shard), &c->op);
}

static void consumer_join(struct consumer *c)
{
    struct random *random = &c->world->random;
    snprintf(c->metadata, sizeof(c->metadata), "meta-%u", (unsigned)random_below(random, 2));
    c->protocol = (struct group_protocol){SLICE_LIT("range"), slice_cstr(c->metadata)};
    c->op = (struct group_op){.action = GROUP_JOIN};
    c->op.join = (struct group_join){
        .protocol_type = SLICE_LIT("consumer"),
        .protocols = &c->protocol,
        .protocol_count = 1,
        .session_timeout_ms = SESSION_MS,
        .rebalance_timeout_ms = REBALANCE_MS,
        .member_id_required = c->index != 0,
        .may_skip_assignment = c->index % 2 == 0,
        .client_id = SLICE_LIT("sim"),
        .client_host = SLICE_LIT("here"),
    };
    consumer_submit(c, STEP_JOIN);
}

/* The leader's plan: partitions go round the members. */
static void consumer_plan(struct consumer *c, const struct group_join *join)
{
    uint64_t plan = ++c->team->plans;
    uint32_t count = join->member_count;
    if (count > MEMBERS * 2)
        world_breach(c->world, "%s has %u members", c->team->name, count);
    for (uint32_t m = 0; m < count; m++) {
        uint64_t owned = 0;
        uint8_t *bytes = c->assignment_bytes[m];
        for (unsigned p = m; p < PARTITIONS; p += count)
            owned |= 1ull << p;
        memcpy(bytes, &c->team->index, 4);
        memcpy(bytes + 4, &join->generation, 4);
        memcpy(bytes + 8, &plan, 8);
        memcpy(bytes + 16, &owned, 8);
        snprintf(c->assignment_ids[m], sizeof(c->assignment_ids[m]), "%.*s",
                 SLICE_FMT(join->members[m].member_id));
        c->assignments[m] = (struct group_assignment){slice_cstr(c->assignment_ids[m]),
                                                      slice_make(bytes, ASSIGNMENT_LEN)};
    }
    c->op.sync.assignments = c->assignments;
    c->op.sync.assignment_count = count;
}

static void consumer_joined(struct consumer *c)
{
    struct group_join join = c->op.join;
    struct group_op old = c->op;
    snprintf(c->id, sizeof(c->id), "%.*s", SLICE_FMT(join.ret_member_id));
    c->generation = join.generation;
    c->leads = join.member_count > 0 && !join.skip_assignment;
    c->op = (struct group_op){.action = GROUP_SYNC};
    if (c->leads)
        consumer_plan(c, &join);
    group_op_release(&old);
    consumer_submit(c, STEP_SYNC);
}

/* Whether the coordinator may have forgotten the group: an empty one without offsets goes with a
 * tombstone, and whoever joins then starts with generation 1. */
static bool team_forgettable(const struct team *team)
{
    for (unsigned p = 0; p < PARTITIONS; p++) {
        if (team->acked[p] >= 0)
            return false;
    }
    for (unsigned m = 0; m < MEMBERS; m++) {
        const struct consumer *c = &team->consumers[m];
        if (c->beat_us > sim_now_us(c->world->sim))
            return false;
    }
    return true;
}

/* What one member learns must fit what all others of the generation have learnt. */
static void consumer_verify_plan(struct consumer *c, struct slice assignment)
{
    struct team *team = c->team;
    unsigned group = 0;
    int32_t generation = 0;
    uint64_t plan = 0;
    c->owned = 0;
    if (assignment.len == 0)
        return; /* not in the leader's plan: joined as a static member meanwhile */
    if (assignment.len != ASSIGNMENT_LEN)
        world_breach(c->world, "%s: an assignment of %zu bytes", team->name, assignment.len);
    memcpy(&group, assignment.data, 4);
    memcpy(&generation, assignment.data + 4, 4);
    memcpy(&plan, assignment.data + 8, 8);
    memcpy(&c->owned, assignment.data + 16, 8);
    if (group != team->index || generation != c->generation)
        world_breach(c->world, "%s: generation %d got the plan of group %u generation %d",
                     team->name, c->generation, group, generation);
    if (c->generation == team->stored_generation && plan != team->plan_of_generation &&
        !team_forgettable(team))
        world_breach(c->world, "%s: two plans in generation %d", team->name, c->generation);
    if (c->generation < team->stored_generation && !team_forgettable(team))
        world_breach(c->world, "%s: generation %d after %d", team->name, c->generation,
                     team->stored_generation);
    world_say(c->world, "%s: %s learns generation %d", team->name, c->id, c->generation);
    team->stored_generation = c->generation;
    team->plan_of_generation = plan;
    team->stable_count++;
    consumer_proves(c);
}

static void consumer_synced(struct consumer *c)
{
    consumer_verify_plan(c, c->op.sync.assignment);
    group_op_release(&c->op);
    c->turns = 1 + (unsigned)random_below(&c->world->random, 12);
    offsets_ask(&c->op, c->team, c->offsets);
    memcpy(c->floor, c->team->acked, sizeof(c->floor));
    consumer_submit(c, STEP_FETCH);
}

static void consumer_fetched(struct consumer *c)
{
    for (unsigned p = 0; p < PARTITIONS; p++)
        c->next[p] = c->offsets[p].offset + 1;
    offsets_verify(c->world, c->team, c->offsets, c->floor, "a member");
    group_op_release(&c->op);
    consumer_go(c, 1000);
}

static void consumer_commit(struct consumer *c)
{
    uint32_t count = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        if (!(c->owned & (1ull << p)) || c->next[p] > 1000000)
            continue;
        struct group_offset *o = &c->offsets[count++];
        *o = (struct group_offset){.topic = SLICE_LIT("topic"),
                                   .partition = (int32_t)p,
                                   .offset = c->next[p]++,
                                   .leader_epoch = -1};
        if (c->team->tried[p] < o->offset)
            c->team->tried[p] = o->offset;
    }
    c->op = (struct group_op){.action = GROUP_COMMIT};
    c->op.commit =
        (struct group_commit){.offsets = c->offsets, .offset_count = count, .retention_ms = -1};
    consumer_submit(c, STEP_COMMIT);
}

static void consumer_committed(struct consumer *c)
{
    for (uint32_t i = 0; i < c->op.commit.offset_count; i++) {
        const struct group_offset *o = &c->offsets[i];
        c->world->acked += !o->err;
        if (!o->err && c->team->acked[o->partition] < o->offset)
            c->team->acked[o->partition] = o->offset;
    }
    group_op_release(&c->op);
    consumer_go(c, 1000 + random_below(&c->world->random, 300000));
}

static void consumer_leave(struct consumer *c)
{
    c->leaving = (struct group_leave_member){.member_id = slice_cstr(c->id),
                                             .instance_id = c->is_static ? slice_cstr(c->instance)
                                                                         : SLICE_NULL};
    c->op = (struct group_op){.action = GROUP_LEAVE};
    c->beat_us = 0; /* even if the answer gets lost */
    c->op.leave = (struct group_leave){.members = &c->leaving, .member_count = 1};
    consumer_submit(c, STEP_LEAVE);
}

/* A new incarnation: as a client that was started again. */
static void consumer_restart(struct consumer *c, uint64_t delay_us)
{
    c->id[0] = 0;
    c->generation = -1;
    c->owned = 0;
    consumer_go(c, delay_us);
}

static void consumer_failed(struct consumer *c, enum err err)
{
    enum member_step step = c->step;
    struct random *random = &c->world->random;
    if (step == STEP_JOIN && err == ERR_MEMBER_ID_REQUIRED) {
        snprintf(c->id, sizeof(c->id), "%.*s", SLICE_FMT(c->op.join.ret_member_id));
        group_op_release(&c->op);
        consumer_go(c, 100);
        return;
    }
    c->world->refused++;
    group_op_release(&c->op);
    c->generation = -1;
    if (err == ERR_UNKNOWN_MEMBER || err == ERR_FENCED_INSTANCE_ID)
        consumer_restart(c, 1000);
    else
        consumer_go(c, 1000 + random_below(random, 50000));
}

static void consumer_done(struct group_op *op)
{
    struct consumer *c = CONTAINER_OF(op, struct consumer, op);
    enum member_step step = c->step;
    if (op->err) {
        consumer_failed(c, op->err);
        return;
    }
    switch (step) {
    case STEP_JOIN:
        consumer_joined(c);
        return;
    case STEP_SYNC:
        consumer_synced(c);
        return;
    case STEP_FETCH:
        consumer_fetched(c);
        return;
    case STEP_COMMIT:
        consumer_committed(c);
        return;
    case STEP_BEAT:
        consumer_proves(c);
        group_op_release(op);
        consumer_go(c, 1000 + random_below(&c->world->random, 1000000));
        return;
    case STEP_LEAVE:
        group_op_release(op);
        consumer_restart(c, random_below(&c->world->random, 2000000));
        return;
    case STEP_IDLE:
        world_breach(c->world, "an answer to nothing");
    }
}

static void consumer_beat(struct consumer *c)
{
    c->op = (struct group_op){.action = GROUP_HEARTBEAT};
    consumer_submit(c, STEP_BEAT);
}

static void consumer_turn(struct timer *timer)
{
    struct consumer *c = CONTAINER_OF(timer, struct consumer, timer);
    struct random *random = &c->world->random;
    if (!c->world->running)
        return;
    if (c->generation < 0) {
        consumer_join(c);
        return;
    }
    if (c->turns-- == 0) {
        switch (random_below(random, 4)) {
        case 0:
            consumer_leave(c);
            return;
        case 1: /* silence: as a client that was killed */
            consumer_restart(c, random_below(random, 2 * SESSION_MS * 1000));
            return;
        case 2: /* joins again, perhaps with other metadata */
            consumer_join(c);
            return;
        default:
            c->turns = 5;
        }
    }
    if (random_one_in(random, 2))
        consumer_beat(c);
    else
        consumer_commit(c);
}

static void consumer_go(struct consumer *c, uint64_t delay_us)
{
    c->step = STEP_IDLE;
    if (c->world->running)
        timer_arm(world_shard(c->world, c->shard)->reactor, &c->timer, delay_us);
}

/* ---- load ---- */

static void consumer_start(struct post *post)
{
    struct consumer *c = CONTAINER_OF(post, struct consumer, post);
    timer_init(&c->timer, consumer_turn);
    c->turns = 3;
    /* Some go on with what they had before the loss, as clients do. */
    if (random_one_in(&c->world->random, 2))
        consumer_restart(c, random_below(&c->world->random, 20000));
    else
        consumer_go(c, random_below(&c->world->random, 20000));
}

static void group_load(struct world *world)
{
    struct group_state_model *state = state_of(world);
    for (unsigned g = 0; g < GROUPS; g++) {
        for (unsigned m = 0; m < MEMBERS; m++) {
            struct consumer *c = &state->teams[g].consumers[m];
            c->shard = (g + m) % world->shard_count;
            world_post(world, c->shard, &c->post, consumer_start);
        }
    }
}

static bool group_idle(struct world *world)
{
    struct group_state_model *state = state_of(world);
    for (unsigned g = 0; g < GROUPS; g++) {
        for (unsigned m = 0; m < MEMBERS; m++) {
            if (state->teams[g].consumers[m].step != STEP_IDLE)
                return false;
        }
    }
    return true;
}

static void group_lost(struct world *world, bool power)
{
    (void)power;
    struct group_state_model *state = state_of(world);
    state->broker = NULL;
    state->groups = NULL;
    state->checking = 0;
    for (unsigned g = 0; g < GROUPS; g++) {
        for (unsigned m = 0; m < MEMBERS; m++)
            state->teams[g].consumers[m].step = STEP_IDLE;
    }
}

static void group_close(struct world *world)
{
    struct group_state_model *state = state_of(world);
    groups_close(state->groups);
    broker_close(state->broker);
    state->groups = NULL;
    state->broker = NULL;
}

const struct scenario scenario_group = {
    .name = "group",
    .init = group_init,
    .boot = group_boot,
    .ready = group_ready,
    .check = group_check_start,
    .check_done = group_check_done,
    .load = group_load,
    .idle = group_idle,
    .lost = group_lost,
    .close = group_close,
};
