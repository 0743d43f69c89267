/* The classic coordinator under virtual time: phases, timers, static members, offsets, restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/sim_rig.h"

static struct sim_rig rig;

enum { SESSION_MS = 10000, REBALANCE_MS = 30000 };

/* A client: its id and the request that is out. */
struct client {
    char id[128];
    const char *instance;
    int32_t generation;
    bool leads;
    uint32_t members;
    char assignment[64];
    struct group_protocol protocols[2];
    struct sim_group_call call;
};

static int setup(void **state)
{
    sim_rig_init(&rig, 5);
    sim_rig_boot(&rig, 2);
    return 0;
}

static int teardown(void **state)
{
    if (rig.shards)
        sim_rig_stop(&rig);
    sim_rig_deinit(&rig);
    return 0;
}

static struct slice instance_of(const struct client *c)
{
    return c->instance ? slice_cstr(c->instance) : SLICE_NULL;
}

static void join_start(struct client *c, bool id_required, const char *metadata)
{
    c->protocols[0] = (struct group_protocol){SLICE_LIT("range"), slice_cstr(metadata)};
    c->protocols[1] = (struct group_protocol){SLICE_LIT("roundrobin"), slice_cstr(metadata)};
    c->call.op = (struct group_op){.action = GROUP_JOIN,
                                   .group_id = SLICE_LIT("g"),
                                   .member_id = slice_cstr(c->id),
                                   .instance_id = instance_of(c),
                                   .generation = -1};
    c->call.op.join = (struct group_join){.protocol_type = SLICE_LIT("consumer"),
                                          .protocols = c->protocols,
                                          .protocol_count = 2,
                                          .session_timeout_ms = SESSION_MS,
                                          .rebalance_timeout_ms = REBALANCE_MS,
                                          .member_id_required = id_required,
                                          .client_id = SLICE_LIT("client"),
                                          .client_host = SLICE_LIT("/127.0.0.1")};
    sim_group_start(&rig, 1, &c->call);
}

static enum err join_end(struct client *c)
{
    enum err err = sim_group_wait(&c->call);
    struct group_join *join = &c->call.op.join;
    if (!err || err == ERR_MEMBER_ID_REQUIRED)
        snprintf(c->id, sizeof(c->id), "%.*s", SLICE_FMT(join->ret_member_id));
    if (!err) {
        c->generation = join->generation;
        c->leads = slice_equal(join->leader_id, slice_cstr(c->id));
        c->members = join->member_count;
    }
    group_op_release(&c->call.op);
    return err;
}

static enum err join(struct client *c, bool id_required)
{
    join_start(c, id_required, "meta");
    return join_end(c);
}

static void sync_start(struct client *c, const struct group_assignment *assignments, uint32_t count)
{
    c->call.op = (struct group_op){.action = GROUP_SYNC,
                                   .group_id = SLICE_LIT("g"),
                                   .member_id = slice_cstr(c->id),
                                   .instance_id = instance_of(c),
                                   .generation = c->generation};
    c->call.op.sync = (struct group_sync){.assignments = assignments, .assignment_count = count};
    sim_group_start(&rig, 0, &c->call);
}

static enum err sync_end(struct client *c)
{
    enum err err = sim_group_wait(&c->call);
    snprintf(c->assignment, sizeof(c->assignment), "%.*s", SLICE_FMT(c->call.op.sync.assignment));
    group_op_release(&c->call.op);
    return err;
}

static enum err sync_leader(struct client *leader, struct client **all, uint32_t count)
{
    struct group_assignment assignments[8];
    static char texts[8][64];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof(texts[i]), "part-%u", i);
        assignments[i] = (struct group_assignment){slice_cstr(all[i]->id), slice_cstr(texts[i])};
    }
    sync_start(leader, assignments, count);
    return sync_end(leader);
}

static enum err heartbeat(struct client *c)
{
    c->call.op = (struct group_op){.action = GROUP_HEARTBEAT,
                                   .group_id = SLICE_LIT("g"),
                                   .member_id = slice_cstr(c->id),
                                   .instance_id = instance_of(c),
                                   .generation = c->generation};
    enum err err = sim_group_run(&rig, 0, &c->call);
    group_op_release(&c->call.op);
    return err;
}

static enum err leave(struct client *c)
{
    struct group_leave_member member = {.member_id = slice_cstr(c->id),
                                        .instance_id = instance_of(c)};
    c->call.op = (struct group_op){.action = GROUP_LEAVE, .group_id = SLICE_LIT("g")};
    c->call.op.leave = (struct group_leave){.members = &member, .member_count = 1};
    enum err err = sim_group_run(&rig, 1, &c->call);
    group_op_release(&c->call.op);
    return err ? err : member.err;
}

static enum group_state state_now(uint32_t *ret_members)
{
    struct sim_group_call call = {.op = {.action = GROUP_DESCRIBE, .group_id = SLICE_LIT("g")}};
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_OK);
    enum group_state state = call.op.describe.state;
    if (ret_members)
        *ret_members = call.op.describe.member_count;
    group_op_release(&call.op);
    return state;
}

static enum err commit(struct client *c, const char *topic, int32_t partition, int64_t offset)
{
    struct group_offset o = {.topic = slice_cstr(topic),
                             .partition = partition,
                             .offset = offset,
                             .leader_epoch = 3,
                             .metadata = SLICE_LIT("note")};
    struct sim_group_call call = {.op = {.action = GROUP_COMMIT,
                                         .group_id = SLICE_LIT("g"),
                                         .member_id = c ? slice_cstr(c->id) : SLICE_LIT(""),
                                         .generation = c ? c->generation : -1}};
    call.op.commit = (struct group_commit){.offsets = &o, .offset_count = 1, .retention_ms = -1};
    enum err err = sim_group_run(&rig, 1, &call);
    group_op_release(&call.op);
    return err ? err : o.err;
}

static int64_t fetch(const char *topic, int32_t partition)
{
    struct group_offset o = {.topic = slice_cstr(topic), .partition = partition};
    struct sim_group_call call = {
        .op = {.action = GROUP_FETCH_OFFSETS, .group_id = SLICE_LIT("g")}};
    call.op.fetch = (struct group_fetch_offsets){.offsets = &o, .offset_count = 1};
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_OK);
    if (o.offset >= 0) {
        assert_int_equal(o.leader_epoch, 3);
        assert_true(slice_equal(o.metadata, SLICE_LIT("note")));
    }
    group_op_release(&call.op);
    return o.offset;
}

/* Two members, stable. */
static void two_stable(struct client *a, struct client *b)
{
    assert_int_equal(join(a, true), ERR_MEMBER_ID_REQUIRED);
    join_start(a, true, "meta");
    assert_int_equal(join_end(a), ERR_OK);
    assert_true(a->leads);
    assert_int_equal(a->members, 1);
    assert_int_equal(a->generation, 1);
    assert_int_equal(sync_leader(a, (struct client *[]){a}, 1), ERR_OK);
    assert_int_equal(join(b, true), ERR_MEMBER_ID_REQUIRED);
    assert_int_equal(heartbeat(a), ERR_OK);
    join_start(b, true, "meta");
    assert_int_equal(heartbeat(a), ERR_REBALANCE_IN_PROGRESS);
    join_start(a, true, "meta");
    assert_int_equal(join_end(a), ERR_OK);
    assert_int_equal(join_end(b), ERR_OK);
    assert_int_equal(a->generation, 2);
    assert_int_equal(b->generation, 2);
    assert_true(a->leads && !b->leads);
    assert_int_equal(a->members, 2);
    assert_int_equal(b->members, 0);
    sync_start(b, NULL, 0);
    assert_int_equal(state_now(NULL), GROUP_COMPLETING);
    assert_int_equal(sync_leader(a, (struct client *[]){a, b}, 2), ERR_OK);
    assert_int_equal(sync_end(b), ERR_OK);
    assert_string_equal(a->assignment, "part-0");
    assert_string_equal(b->assignment, "part-1");
    assert_int_equal(state_now(NULL), GROUP_STABLE);
}

static void test_two_members(void **state)
{
    struct client a = {0};
    struct client b = {0};
    uint32_t members = 0;
    two_stable(&a, &b);
    /* A retry of sync gets the same; a follower's rejoin without changes does not disturb. */
    sync_start(&b, NULL, 0);
    assert_int_equal(sync_end(&b), ERR_OK);
    assert_string_equal(b.assignment, "part-1");
    assert_int_equal(join(&b, true), ERR_OK);
    assert_int_equal(b.generation, 2);
    assert_int_equal(heartbeat(&a), ERR_OK);
    b.generation = 1;
    assert_int_equal(heartbeat(&b), ERR_ILLEGAL_GENERATION);
    b.generation = 2;
    assert_int_equal(leave(&b), ERR_OK);
    assert_int_equal(leave(&b), ERR_UNKNOWN_MEMBER);
    assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(join(&a, true), ERR_OK);
    assert_int_equal(a.generation, 3);
    assert_int_equal(sync_leader(&a, (struct client *[]){&a}, 1), ERR_OK);
    assert_int_equal(state_now(&members), GROUP_STABLE);
    assert_int_equal(members, 1);
    assert_int_equal(leave(&a), ERR_OK);
    assert_int_equal(state_now(&members), GROUP_EMPTY);
    assert_int_equal(members, 0);
}

static void test_session_expiry(void **state)
{
    struct client a = {0};
    struct client b = {0};
    two_stable(&a, &b);
    for (int i = 0; i < 4; i++) {
        sim_run_for(rig.sim, SESSION_MS * 1000 / 3);
        enum err err = heartbeat(&a);
        if (i < 2)
            assert_int_equal(err, ERR_OK);
    }
    /* b is silent: it expires, and a is told to rejoin. */
    assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(heartbeat(&b), ERR_UNKNOWN_MEMBER);
    assert_int_equal(join(&a, true), ERR_OK);
    assert_int_equal(a.members, 1);
}

static void test_rebalance_timeout(void **state)
{
    struct client a = {0};
    struct client b = {0};
    struct client c = {0};
    two_stable(&a, &b);
    assert_int_equal(join(&c, true), ERR_MEMBER_ID_REQUIRED);
    join_start(&c, true, "meta");
    join_start(&a, true, "meta");
    uint64_t start = sim_now_us(rig.sim);
    /* b keeps beating but never rejoins: it is left behind at the rebalance timeout. */
    while (!a.call.done) {
        sim_run_for(rig.sim, 3000000);
        if (!a.call.done)
            assert_int_equal(heartbeat(&b), ERR_REBALANCE_IN_PROGRESS);
    }
    assert_int_equal(join_end(&a), ERR_OK);
    assert_int_equal(join_end(&c), ERR_OK);
    uint64_t waited = a.call.done_us - start;
    assert_true(waited > (REBALANCE_MS - 2000) * 1000ull &&
                waited < (REBALANCE_MS + 2000) * 1000ull);
    assert_int_equal(a.members, 2);
    assert_int_equal(heartbeat(&b), ERR_UNKNOWN_MEMBER);
}

static void test_sync_timeout(void **state)
{
    struct client a = {0};
    struct client b = {0};
    two_stable(&a, &b);
    join_start(&a, true, "changed");
    assert_int_equal(heartbeat(&b), ERR_REBALANCE_IN_PROGRESS);
    join_start(&b, true, "meta");
    assert_int_equal(join_end(&a), ERR_OK);
    assert_int_equal(join_end(&b), ERR_OK);
    struct client *leader = a.leads ? &a : &b;
    struct client *other = a.leads ? &b : &a;
    sync_start(other, NULL, 0);
    /* The leader never syncs: its session ends, the other is told to start anew. */
    assert_int_equal(sync_end(other), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(heartbeat(leader), ERR_UNKNOWN_MEMBER);
    assert_int_equal(join(other, true), ERR_OK);
    assert_true(other->leads);
    assert_int_equal(other->members, 1);
}

/* One that joined and beats, but never asks for its part, holds that part up for the others: it goes as it would have
 * before the leader's plan came. One that asks in time stays. */
static void test_sync_timeout_when_stable(void **state)
{
    struct client a = {0};
    struct client b = {0};
    assert_int_equal(join(&a, true), ERR_MEMBER_ID_REQUIRED);
    assert_int_equal(join(&b, true), ERR_MEMBER_ID_REQUIRED);
    join_start(&a, true, "meta");
    join_start(&b, true, "meta");
    assert_int_equal(join_end(&a), ERR_OK);
    assert_int_equal(join_end(&b), ERR_OK);
    struct client *leader = a.leads ? &a : &b;
    struct client *silent = a.leads ? &b : &a;
    assert_int_equal(sync_leader(leader, (struct client *[]){leader, silent}, 2), ERR_OK);
    assert_int_equal(state_now(NULL), GROUP_STABLE);
    for (int ms = 0; ms < REBALANCE_MS - 4000; ms += 4000) {
        assert_int_equal(heartbeat(leader), ERR_OK);
        assert_int_equal(heartbeat(silent), ERR_OK);
        sim_run_for(rig.sim, 4000000);
    }
    sim_run_for(rig.sim, 4000000);
    assert_int_equal(heartbeat(silent), ERR_UNKNOWN_MEMBER);
    assert_int_equal(heartbeat(leader), ERR_REBALANCE_IN_PROGRESS);
    assert_int_equal(join(leader, true), ERR_OK);
    assert_int_equal(leader->members, 1);
    assert_int_equal(sync_leader(leader, (struct client *[]){leader}, 1), ERR_OK);
    for (int ms = 0; ms < 2 * REBALANCE_MS; ms += 4000) {
        assert_int_equal(heartbeat(leader), ERR_OK);
        sim_run_for(rig.sim, 4000000);
    }
    assert_int_equal(state_now(NULL), GROUP_STABLE);
}

static void test_join_errors(void **state)
{
    struct client a = {0};
    struct client b = {0};
    two_stable(&a, &b);
    struct client c = {.id = "nobody"};
    assert_int_equal(join(&c, true), ERR_UNKNOWN_MEMBER);
    struct client d = {0};
    join_start(&d, true, "meta");
    assert_int_equal(join_end(&d), ERR_MEMBER_ID_REQUIRED);
    struct sim_group_call call = {
        .op = {.action = GROUP_JOIN, .group_id = SLICE_LIT("g"), .member_id = SLICE_LIT("")}};
    struct group_protocol other = {SLICE_LIT("sticky"), SLICE_LIT("")};
    call.op.join = (struct group_join){.protocol_type = SLICE_LIT("consumer"),
                                       .protocols = &other,
                                       .protocol_count = 1,
                                       .session_timeout_ms = SESSION_MS};
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_INCONSISTENT_GROUP_PROTOCOL);
    group_op_release(&call.op);
    call.op.join.protocol_type = SLICE_LIT("connect");
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_INCONSISTENT_GROUP_PROTOCOL);
    group_op_release(&call.op);
    call.op.join.session_timeout_ms = 10;
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_INVALID_SESSION_TIMEOUT);
    group_op_release(&call.op);
    call.op.group_id = SLICE_LIT("");
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_INVALID_GROUP_ID);
    group_op_release(&call.op);
    /* The reservation of d runs out. */
    sim_run_for(rig.sim, (SESSION_MS + 1000) * 1000);
    assert_int_equal(join(&d, true), ERR_UNKNOWN_MEMBER);
}

static void test_old_join(void **state)
{
    struct client a = {0};
    assert_int_equal(join(&a, false), ERR_OK);
    assert_true(a.leads);
    assert_true(strncmp(a.id, "client-", 7) == 0);
}

static void test_static_members(void **state)
{
    struct client a = {.instance = "one"};
    struct client b = {.instance = "two"};
    assert_int_equal(join(&a, true), ERR_OK);
    assert_int_equal(sync_leader(&a, (struct client *[]){&a}, 1), ERR_OK);
    join_start(&b, true, "meta");
    join_start(&a, true, "meta");
    assert_int_equal(join_end(&a), ERR_OK);
    assert_int_equal(join_end(&b), ERR_OK);
    sync_start(&b, NULL, 0);
    assert_int_equal(sync_leader(&a, (struct client *[]){&a, &b}, 2), ERR_OK);
    assert_int_equal(sync_end(&b), ERR_OK);
    int32_t generation = b.generation;
    /* b restarts: new member id, same place, no rebalance, same assignment; the old id is fenced. */
    struct client old = b;
    struct client fresh = {.instance = "two"};
    assert_int_equal(join(&fresh, true), ERR_OK);
    assert_int_equal(fresh.generation, generation);
    assert_string_not_equal(fresh.id, old.id);
    sync_start(&fresh, NULL, 0);
    assert_int_equal(sync_end(&fresh), ERR_OK);
    assert_string_equal(fresh.assignment, "part-1");
    assert_int_equal(heartbeat(&old), ERR_FENCED_INSTANCE_ID);
    assert_int_equal(heartbeat(&a), ERR_OK);
    /* The leader restarts with an old client: it is told the id that led, so it assigns nothing. */
    struct client leader = {.instance = "one"};
    assert_int_equal(join(&leader, true), ERR_OK);
    assert_false(leader.leads);
    assert_int_equal(leader.members, 0);
    /* With a new client it leads and is told to skip. */
    struct client again = {.instance = "one"};
    join_start(&again, true, "meta");
    (void)sim_group_wait(&again.call);
    group_op_release(&again.call.op);
    again.call.op.join.may_skip_assignment = true;
    again.call.op.member_id = SLICE_LIT("");
    assert_int_equal(sim_group_run(&rig, 0, &again.call), ERR_OK);
    assert_true(again.call.op.join.skip_assignment);
    assert_int_equal(again.call.op.join.member_count, 2);
    group_op_release(&again.call.op);
}

static void test_offsets(void **state)
{
    struct client a = {0};
    struct client b = {0};
    assert_int_equal(fetch("t", 0), -1);
    assert_int_equal(commit(NULL, "t", 0, 42), ERR_OK); /* a consumer that assigns itself */
    assert_int_equal(fetch("t", 0), 42);
    two_stable(&a, &b);
    assert_int_equal(commit(NULL, "t", 0, 43), ERR_UNKNOWN_MEMBER);
    assert_int_equal(commit(&a, "t", 0, 44), ERR_OK);
    assert_int_equal(commit(&b, "t", 1, 7), ERR_OK);
    a.generation++;
    assert_int_equal(commit(&a, "t", 0, 45), ERR_ILLEGAL_GENERATION);
    a.generation--;
    assert_int_equal(fetch("t", 0), 44);
    assert_int_equal(fetch("t", 1), 7);
    assert_int_equal(fetch("t", 2), -1);
    struct sim_group_call call = {
        .op = {.action = GROUP_FETCH_OFFSETS, .group_id = SLICE_LIT("g")}};
    call.op.fetch.all = true;
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_OK);
    assert_int_equal(call.op.fetch.offset_count, 2);
    assert_int_equal(call.op.fetch.offsets[1].partition, 1);
    group_op_release(&call.op);
    char *metadata = malloc(5000);
    memset(metadata, 'm', 5000);
    struct group_offset o[2] = {{.topic = SLICE_LIT("t"),
                                 .partition = 5,
                                 .offset = 1,
                                 .metadata = slice_make(metadata, 5000)},
                                {.topic = SLICE_LIT("t"), .partition = 6, .offset = 1}};
    call = (struct sim_group_call){.op = {.action = GROUP_COMMIT,
                                          .group_id = SLICE_LIT("g"),
                                          .member_id = slice_cstr(a.id),
                                          .generation = a.generation}};
    call.op.commit = (struct group_commit){.offsets = o, .offset_count = 2, .retention_ms = -1};
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_OK);
    assert_int_equal(o[0].err, ERR_OFFSET_METADATA_TOO_LARGE);
    assert_int_equal(o[1].err, ERR_OK);
    group_op_release(&call.op);
    free(metadata);
}

static void test_offsets_of_deleted_topic(void **state)
{
    struct broker_topic_op op = {
        .action = BROKER_TOPIC_CREATE, .name = SLICE_LIT("gone"), .partition_count = 1};
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    assert_int_equal(commit(NULL, "gone", 0, 42), ERR_OK);
    assert_int_equal(commit(NULL, "stays", 0, 43), ERR_OK);
    op = (struct broker_topic_op){.action = BROKER_TOPIC_DELETE, .name = SLICE_LIT("gone")};
    assert_int_equal(sim_topic(&rig, &op), ERR_OK);
    assert_int_equal(fetch("gone", 0), -1);
    assert_int_equal(fetch("stays", 0), 43);
}

static void test_restart_keeps(void **state)
{
    struct client a = {0};
    struct client b = {0};
    two_stable(&a, &b);
    assert_int_equal(commit(&a, "t", 0, 100), ERR_OK);
    assert_int_equal(commit(&b, "t", 1, 200), ERR_OK);
    sim_rig_stop(&rig);
    sim_rig_boot(&rig, 3);
    assert_int_equal(fetch("t", 0), 100);
    assert_int_equal(fetch("t", 1), 200);
    /* The members go on without a rebalance. */
    assert_int_equal(state_now(NULL), GROUP_STABLE);
    assert_int_equal(heartbeat(&a), ERR_OK);
    assert_int_equal(heartbeat(&b), ERR_OK);
    sync_start(&b, NULL, 0);
    assert_int_equal(sync_end(&b), ERR_OK);
    assert_string_equal(b.assignment, "part-1");
    assert_int_equal(commit(&b, "t", 1, 201), ERR_OK);
    sim_run_for(rig.sim, (SESSION_MS + 1000) * 1000ull);
    assert_int_equal(heartbeat(&a), ERR_UNKNOWN_MEMBER);
    assert_int_equal(state_now(NULL), GROUP_EMPTY);
    assert_int_equal(fetch("t", 1), 201);
}

static void test_delete(void **state)
{
    struct client a = {0};
    struct client b = {0};
    struct sim_group_call call = {.op = {.action = GROUP_DELETE, .group_id = SLICE_LIT("g")}};
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_GROUP_ID_NOT_FOUND);
    two_stable(&a, &b);
    assert_int_equal(commit(&a, "t", 0, 100), ERR_OK);
    assert_int_equal(sim_group_run(&rig, 1, &call), ERR_NON_EMPTY_GROUP);
    assert_int_equal(leave(&a), ERR_OK);
    assert_int_equal(leave(&b), ERR_OK);
    struct sim_group_call list = {.op = {.action = GROUP_LIST}};
    assert_int_equal(sim_group_run(&rig, 1, &list), ERR_OK);
    assert_int_equal(list.op.list.group_count, 1);
    assert_int_equal(list.op.list.groups[0].state, GROUP_EMPTY);
    assert_true(slice_equal(list.op.list.groups[0].protocol_type, SLICE_LIT("consumer")));
    group_op_release(&list.op);
    assert_int_equal(sim_group_run(&rig, 1, &call), ERR_OK);
    assert_int_equal(fetch("t", 0), -1);
    assert_int_equal(state_now(NULL), GROUP_DEAD);
    sim_rig_stop(&rig);
    sim_rig_boot(&rig, 1);
    assert_int_equal(fetch("t", 0), -1);
    assert_int_equal(state_now(NULL), GROUP_DEAD);
}

static void test_expiry(void **state)
{
    struct client a = {0};
    assert_int_equal(commit(NULL, "t", 0, 42), ERR_OK);
    sim_run_for(rig.sim, 6ull * 24 * 3600 * 1000000);
    assert_int_equal(fetch("t", 0), 42);
    sim_run_for(rig.sim, 1ull * 24 * 3600 * 1000000 + 120000000);
    assert_int_equal(fetch("t", 0), -1);
    assert_int_equal(state_now(NULL), GROUP_DEAD);
    /* A consumer group's clock starts when it becomes empty. */
    assert_int_equal(join(&a, false), ERR_OK);
    assert_int_equal(sync_leader(&a, (struct client *[]){&a}, 1), ERR_OK);
    assert_int_equal(commit(&a, "t", 0, 50), ERR_OK);
    assert_int_equal(leave(&a), ERR_OK);
    sim_run_for(rig.sim, 6ull * 24 * 3600 * 1000000);
    assert_int_equal(fetch("t", 0), 50);
    sim_run_for(rig.sim, 1ull * 24 * 3600 * 1000000 + 120000000);
    assert_int_equal(fetch("t", 0), -1);
}

/* The check for expiry meets a group that rebalances without members: one was given an id and has not come yet, and
 * the one that had come left. */
static void test_expiry_amid_rebalance(void **state)
{
    struct client a = {0};
    struct client b = {0};
    sim_rig_stop(&rig);
    rig.groups_config.check_ms = 100;
    sim_rig_boot(&rig, 2);
    two_stable(&a, &b);
    assert_int_equal(commit(&a, "t", 0, 50), ERR_OK);
    assert_int_equal(leave(&a), ERR_OK);
    assert_int_equal(leave(&b), ERR_OK);
    assert_int_equal(state_now(NULL), GROUP_EMPTY);
    struct client comes = {0};
    struct client waits = {0};
    assert_int_equal(join(&comes, true), ERR_MEMBER_ID_REQUIRED);
    assert_int_equal(join(&waits, true), ERR_MEMBER_ID_REQUIRED);
    join_start(&comes, true, "meta"); /* parked: the other one is expected */
    assert_int_equal(state_now(NULL), GROUP_PREPARING);
    struct client leaves = comes;
    assert_int_equal(leave(&leaves), ERR_OK);
    assert_int_equal(join_end(&comes), ERR_UNKNOWN_MEMBER);
    uint32_t members = 7;
    assert_int_equal(state_now(&members), GROUP_PREPARING);
    assert_int_equal(members, 0);
    sim_run_for(rig.sim, 1000000);
    assert_int_equal(fetch("t", 0), 50);
    assert_int_equal(join(&waits, true), ERR_OK);
    assert_int_equal(sync_leader(&waits, (struct client *[]){&waits}, 1), ERR_OK);
    assert_int_equal(fetch("t", 0), 50);
}

struct bounds {
    struct broker_offset_op op;
    bool done;
};

static void bounds_done(struct broker_offset_op *op)
{
    CONTAINER_OF(op, struct bounds, op)->done = true;
}

static void bounds_ask(struct shard *shard, void *arg)
{
    struct bounds *bounds = arg;
    bounds->op.done = bounds_done;
    broker_offset(broker_shard_of(rig.broker, shard), &bounds->op);
}

/* Log starts of the offsets topic's partitions, together. */
static int64_t log_starts(void)
{
    struct broker_shard *bs = broker_shard_of(rig.broker, shards_get(rig.shards, 0));
    const struct topic *topic = broker_topic_find(bs, SLICE_LIT("__consumer_offsets"));
    int64_t sum = 0;
    for (int32_t p = 0; p < topic->partition_count; p++) {
        struct bounds bounds = {.op = {.topic_id = topic->id,
                                       .partition = p,
                                       .query = BROKER_OFFSET_STATE,
                                       .current_epoch = -1}};
        sim_rig_call(&rig, 0, bounds_ask, &bounds);
        sim_rig_until(&rig, &bounds.done);
        assert_int_equal(bounds.op.err, ERR_OK);
        sum += bounds.op.log_start_offset;
    }
    return sum;
}

static void test_rewrite(void **state)
{
    struct client a = {0};
    struct client b = {0};
    sim_rig_stop(&rig);
    rig.groups_config.rewrite_bytes = 4000;
    rig.groups_config.check_ms = 1000;
    sim_rig_boot(&rig, 2);
    two_stable(&a, &b);
    assert_int_equal(commit(&b, "early", 7, 3), ERR_OK);
    assert_int_equal(log_starts(), 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(commit(&a, "t", i % 3, i), ERR_OK);
        sim_run_for(rig.sim, 20000);
        if (i % 50 == 0) {
            assert_int_equal(heartbeat(&a), ERR_OK);
            assert_int_equal(heartbeat(&b), ERR_OK);
        }
    }
    assert_true(log_starts() > 100);
    sim_rig_stop(&rig);
    sim_rig_boot(&rig, 1);
    assert_int_equal(fetch("t", 0), 198);
    assert_int_equal(fetch("t", 1), 199);
    assert_int_equal(fetch("t", 2), 197);
    assert_int_equal(fetch("early", 7), 3);
    assert_int_equal(state_now(NULL), GROUP_STABLE);
    assert_int_equal(heartbeat(&a), ERR_OK);
    assert_int_equal(heartbeat(&b), ERR_OK);
    sync_start(&b, NULL, 0);
    assert_int_equal(sync_end(&b), ERR_OK);
    assert_string_equal(b.assignment, "part-1");
}

static void test_initial_delay(void **state)
{
    struct client a = {0};
    struct client b = {0};
    sim_rig_stop(&rig);
    rig.groups_config.initial_rebalance_delay_ms = 3000;
    sim_rig_boot(&rig, 2);
    rig.groups_config.initial_rebalance_delay_ms = 0;
    uint64_t start = sim_now_us(rig.sim);
    join_start(&a, false, "meta");
    sim_run_for(rig.sim, 2000000);
    join_start(&b, false, "meta"); /* a newcomer extends the delay */
    assert_int_equal(join_end(&a), ERR_OK);
    assert_int_equal(join_end(&b), ERR_OK);
    assert_int_equal(a.generation, 1);
    assert_int_equal(a.members, 2);
    uint64_t waited = a.call.done_us - start;
    assert_true(waited >= 5900000 && waited < 6500000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_two_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_session_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rebalance_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sync_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sync_timeout_when_stable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_join, setup, teardown),
        cmocka_unit_test_setup_teardown(test_static_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offsets_of_deleted_topic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_keeps, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry_amid_rebalance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewrite, setup, teardown),
        cmocka_unit_test_setup_teardown(test_initial_delay, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
