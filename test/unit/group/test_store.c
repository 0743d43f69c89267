/* The coordinator's records under load and faults: rewriting, failed appends, short memory, losses of power. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/sim_rig.h"
#include "base/diag.h"
#include "io/fault.h"

enum { WRITERS = 4, MANY = 400, METADATA = 4000 };

static struct sim_rig rig;

static int setup(void **state)
{
    (void)state;
    sim_rig_init(&rig, 7);
    rig.broker_config.offsets_partitions = 1; /* all groups share it */
    rig.groups_config = (struct groups_config){.rewrite_bytes = 4000, .check_ms = 100};
    sim_rig_boot(&rig, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_disarm_all();
    if (rig.shards)
        sim_rig_stop(&rig);
    sim_rig_deinit(&rig);
    return 0;
}

/* A consumer that assigns itself; each has its partition. */
struct writer {
    struct group_offset offset;
    struct sim_group_call call;
    int64_t next;
    int64_t acked;
    bool out;
};

/* Not on a test's stack: an assertion that fails leaves it while they are out. */
static struct writer writers[WRITERS];

static void writer_start(struct writer *w, int32_t partition)
{
    w->offset = (struct group_offset){
        .topic = SLICE_LIT("t"), .partition = partition, .offset = w->next++, .leader_epoch = -1};
    w->call = (struct sim_group_call){
        .op = {.action = GROUP_COMMIT, .group_id = SLICE_LIT("g"), .generation = -1}};
    w->call.op.commit =
        (struct group_commit){.offsets = &w->offset, .offset_count = 1, .retention_ms = -1};
    w->out = true;
    sim_group_start(&rig, 0, &w->call);
}

static enum err writer_end(struct writer *w)
{
    enum err err = sim_group_wait(&w->call);
    err = err ? err : w->offset.err;
    if (!err)
        w->acked = w->offset.offset;
    group_op_release(&w->call.op);
    w->out = false;
    return err;
}

static int64_t fetch(int32_t partition)
{
    struct group_offset o = {.topic = SLICE_LIT("t"), .partition = partition};
    struct sim_group_call call = {
        .op = {.action = GROUP_FETCH_OFFSETS, .group_id = SLICE_LIT("g")}};
    call.op.fetch = (struct group_fetch_offsets){.offsets = &o, .offset_count = 1};
    assert_int_equal(sim_group_run(&rig, 0, &call), ERR_OK);
    group_op_release(&call.op);
    return o.offset;
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

/* How many records lie in the offsets topic's logs. */
static int64_t log_lengths(void)
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
        sum += bounds.op.high_watermark - bounds.op.log_start_offset;
    }
    return sum;
}

/* Commits without a pause: while one is answered, others are always on their way. Returns how many were refused. */
static unsigned writers_run(unsigned turns)
{
    unsigned refused = 0;
    for (unsigned i = 0; i < turns; i++) {
        struct writer *w = &writers[i % WRITERS];
        if (w->out)
            refused += writer_end(w) != ERR_OK;
        writer_start(w, (int32_t)(i % WRITERS));
        sim_run_for(rig.sim, 150);
    }
    return refused;
}

static void writers_finish(void)
{
    for (unsigned i = 0; i < WRITERS; i++)
        if (writers[i].out)
            (void)writer_end(&writers[i]);
}

static void rig_lose_power(void)
{
    sim_host_kill(rig.host);
    fs_sim_power_loss(rig.fs);
    rig.shards = NULL;
    sim_rig_boot(&rig, 1);
}

/* The log stays short also when there is never a moment without a commit under way. */
static void steady_commits(void **state)
{
    (void)state;
    memset(writers, 0, sizeof(writers));
    assert_int_equal(writers_run(8000), 0);
    assert_true(log_lengths() < 1000);
    writers_finish();
    rig_lose_power();
    for (int32_t p = 0; p < WRITERS; p++)
        assert_int_equal(fetch(p), writers[p].acked);
}

/* One failed append fails what was under way with it, and nothing afterwards. */
static void a_full_disk_passes(void **state)
{
    (void)state;
    memset(writers, 0, sizeof(writers));
    assert_int_equal(writers_run(100), 0);
    assert_true(fault_arm("fs.write", 0, 1, ERR_DISK_FULL));
    unsigned refused = writers_run(2000);
    assert_int_equal(fault_fired("fs.write"), 1);
    fault_disarm_all();
    assert_true(refused > 0);
    assert_int_equal(writers_run(100), 0);
    writers_finish();
    rig_lose_power();
    for (int32_t p = 0; p < WRITERS; p++)
        assert_int_equal(fetch(p), writers[p].acked);
}

/* A commit of more offsets than one batch holds. */
static void commit_many(struct group_offset *offsets, int64_t value)
{
    static char metadata[METADATA];
    memset(metadata, 'm', sizeof(metadata));
    for (int32_t i = 0; i < MANY; i++)
        offsets[i] = (struct group_offset){.topic = SLICE_LIT("t"),
                                           .partition = i,
                                           .offset = value,
                                           .leader_epoch = -1,
                                           .metadata = slice_make(metadata, sizeof(metadata))};
    struct sim_group_call call = {
        .op = {.action = GROUP_COMMIT, .group_id = SLICE_LIT("g"), .generation = -1}};
    call.op.commit =
        (struct group_commit){.offsets = offsets, .offset_count = MANY, .retention_ms = -1};
    enum err err = sim_group_run(&rig, 0, &call);
    for (int32_t i = 0; i < MANY && err; i++)
        offsets[i].err = err;
    group_op_release(&call.op);
}

/* Wherever memory is short: what was acknowledged is there after a loss of power. */
static void short_memory(void **state)
{
    static struct group_offset offsets[MANY];
    bool fired = true;
    for (uint64_t nth = 0; fired; nth++) {
        int64_t acked[MANY];
        commit_many(offsets, 1);
        for (int32_t i = 0; i < MANY; i++) {
            assert_int_equal(offsets[i].err, ERR_OK);
            acked[i] = 1;
        }
        assert_true(fault_arm("group.store.memory", nth, 1, ERR_NO_MEMORY));
        commit_many(offsets, 2);
        for (int32_t i = 0; i < MANY; i++)
            acked[i] = offsets[i].err ? acked[i] : 2;
        sim_run_for(rig.sim, 1000000); /* a rewrite, whether or not something fails in it */
        fired = fault_fired("group.store.memory") > 0;
        fault_disarm_all();
        rig_lose_power();
        for (int32_t i = 0; i < MANY; i++) {
            int64_t got = fetch(i);
            assert_true(got >= acked[i] && got <= 2);
        }
        teardown(state);
        setup(state);
    }
}

/* Each write that fails in turn, while a state of several batches is written anew. */
static void failed_writes(void **state)
{
    static struct group_offset offsets[MANY];
    for (uint64_t nth = 0; nth < 12; nth++) {
        int64_t acked[MANY];
        commit_many(offsets, 1);
        for (int32_t i = 0; i < MANY; i++)
            acked[i] = offsets[i].err ? -1 : 1;
        assert_true(fault_arm("fs.write", nth, 1, nth % 2 ? ERR_DISK_FULL : ERR_DISK_IO));
        commit_many(offsets, 2);
        for (int32_t i = 0; i < MANY; i++)
            acked[i] = offsets[i].err ? acked[i] : 2;
        sim_run_for(rig.sim, 1000000);
        fault_disarm_all();
        rig_lose_power();
        for (int32_t i = 0; i < MANY; i++) {
            int64_t got = fetch(i);
            assert_true(got >= acked[i] && got <= 2);
        }
        teardown(state);
        setup(state);
    }
}

/* ---- a rewrite amid a rebalance ---- */

struct client {
    char id[96];
    const char *instance;
    int32_t generation;
    struct group_protocol protocol;
    struct sim_group_call call;
    char assignment[32];
};

static struct slice instance_of(const struct client *c)
{
    return c->instance ? slice_cstr(c->instance) : SLICE_NULL;
}

static void join_start(struct client *c)
{
    c->protocol = (struct group_protocol){SLICE_LIT("range"), SLICE_LIT("meta")};
    c->call = (struct sim_group_call){.op = {.action = GROUP_JOIN,
                                             .group_id = SLICE_LIT("g"),
                                             .member_id = slice_cstr(c->id),
                                             .instance_id = instance_of(c),
                                             .generation = -1}};
    c->call.op.join = (struct group_join){.protocol_type = SLICE_LIT("consumer"),
                                          .protocols = &c->protocol,
                                          .protocol_count = 1,
                                          .session_timeout_ms = 10000,
                                          .rebalance_timeout_ms = 30000,
                                          .client_id = SLICE_LIT("client"),
                                          .client_host = SLICE_LIT("here")};
    sim_group_start(&rig, 0, &c->call);
}

static void join_end(struct client *c)
{
    assert_int_equal(sim_group_wait(&c->call), ERR_OK);
    snprintf(c->id, sizeof(c->id), "%.*s", SLICE_FMT(c->call.op.join.ret_member_id));
    c->generation = c->call.op.join.generation;
    group_op_release(&c->call.op);
}

static enum err sync_plan(struct client *c, const struct group_assignment *plan, uint32_t count)
{
    c->call = (struct sim_group_call){.op = {.action = GROUP_SYNC,
                                             .group_id = SLICE_LIT("g"),
                                             .member_id = slice_cstr(c->id),
                                             .instance_id = instance_of(c),
                                             .generation = c->generation}};
    c->call.op.sync = (struct group_sync){.assignments = plan, .assignment_count = count};
    enum err err = sim_group_run(&rig, 0, &c->call);
    snprintf(c->assignment, sizeof(c->assignment), "%.*s", SLICE_FMT(c->call.op.sync.assignment));
    group_op_release(&c->call.op);
    return err;
}

static enum err heartbeat(struct client *c)
{
    c->call = (struct sim_group_call){.op = {.action = GROUP_HEARTBEAT,
                                             .group_id = SLICE_LIT("g"),
                                             .member_id = slice_cstr(c->id),
                                             .instance_id = instance_of(c),
                                             .generation = c->generation}};
    enum err err = sim_group_run(&rig, 0, &c->call);
    group_op_release(&c->call.op);
    return err;
}

/* Nobody is handed the last generation's assignment as this one's, and nobody goes on as if a member that left were
 * still there. */
static void a_rewrite_amid_a_rebalance(void **state)
{
    (void)state;
    static struct client a;
    static struct client b;
    static struct writer filler;
    join_start(&a);
    join_end(&a);
    struct group_assignment plan = {slice_cstr(a.id), SLICE_LIT("all of it")};
    assert_int_equal(sync_plan(&a, &plan, 1), ERR_OK);
    join_start(&b);
    assert_int_equal(heartbeat(&a), ERR_REBALANCE_IN_PROGRESS);
    join_start(&a);
    join_end(&a);
    join_end(&b);
    assert_int_equal(a.generation, 2);
    /* Both have joined, nobody has synced. Another group on the same partition fills the log until it is rewritten. */
    int64_t longest = 0;
    for (int i = 0; i < 2000 && log_lengths() >= longest; i++) {
        longest = log_lengths();
        filler.offset = (struct group_offset){
            .topic = SLICE_LIT("t"), .partition = 0, .offset = i, .leader_epoch = -1};
        filler.call = (struct sim_group_call){
            .op = {.action = GROUP_COMMIT, .group_id = SLICE_LIT("filler"), .generation = -1}};
        filler.call.op.commit =
            (struct group_commit){.offsets = &filler.offset, .offset_count = 1, .retention_ms = -1};
        sim_group_start(&rig, 0, &filler.call);
        assert_int_equal(writer_end(&filler), ERR_OK);
        sim_run_for(rig.sim, 1000);
    }
    assert_true(log_lengths() < longest);
    rig_lose_power();
    struct group_assignment plans[2] = {{slice_cstr(a.id), SLICE_LIT("half")},
                                        {slice_cstr(b.id), SLICE_LIT("other half")}};
    enum err err = sync_plan(&a, plans, 2);
    assert_true(err || strcmp(a.assignment, "half") == 0);
    assert_true(heartbeat(&a) != ERR_OK || strcmp(a.assignment, "half") == 0);
}

/* A static member that was started again is known by its new id from the moment it hears of it, whatever happens then. */
static void a_static_member_comes_back(void **state)
{
    (void)state;
    static struct client first = {.instance = "one"};
    static struct client again = {.instance = "one"};
    join_start(&first);
    join_end(&first);
    struct group_assignment plan = {slice_cstr(first.id), SLICE_LIT("all of it")};
    assert_int_equal(sync_plan(&first, &plan, 1), ERR_OK);
    join_start(&again);
    join_end(&again);
    assert_string_not_equal(again.id, first.id);
    assert_int_equal(again.generation, first.generation);
    rig_lose_power();
    assert_int_equal(heartbeat(&again), ERR_OK);
    assert_int_equal(heartbeat(&first), ERR_FENCED_INSTANCE_ID);
    assert_int_equal(sync_plan(&again, NULL, 0), ERR_OK);
    assert_string_equal(again.assignment, "all of it");
}

/* Its records cannot be written: it is told so, and comes again. */
static void a_static_member_on_a_full_disk(void **state)
{
    (void)state;
    static struct client first = {.instance = "one"};
    static struct client again = {.instance = "one"};
    join_start(&first);
    join_end(&first);
    struct group_assignment plan = {slice_cstr(first.id), SLICE_LIT("all of it")};
    assert_int_equal(sync_plan(&first, &plan, 1), ERR_OK);
    assert_true(fault_arm("fs.write", 0, 1, ERR_DISK_FULL));
    join_start(&again);
    assert_int_equal(sim_group_wait(&again.call), ERR_COORDINATOR_NOT_AVAILABLE);
    group_op_release(&again.call.op);
    fault_disarm_all();
    sim_run_for(rig.sim, 200000);
    join_start(&again);
    join_end(&again);
    assert_int_equal(heartbeat(&again), ERR_OK);
    rig_lose_power();
    assert_int_equal(heartbeat(&again), ERR_OK);
}

/* A group that is deleted while a commit of it is on its way does not come back with that commit's offset. */
static void a_deletion_meets_a_commit(void **state)
{
    (void)state;
    static struct writer w;
    static struct sim_group_call deletion;
    for (unsigned wait = 0; wait < 12; wait++) {
        w = (struct writer){.next = wait, .acked = -1};
        writer_start(&w, (int32_t)wait);
        sim_run_for(rig.sim, wait * 50);
        deletion = (struct sim_group_call){
            .op = {.action = GROUP_DELETE, .group_id = SLICE_LIT("g"), .generation = -1}};
        sim_group_start(&rig, 0, &deletion);
        assert_int_equal(writer_end(&w), ERR_OK);
        enum err err = sim_group_wait(&deletion);
        group_op_release(&deletion.op);
        assert_true(err == ERR_OK || err == ERR_COORDINATOR_NOT_AVAILABLE ||
                    err == ERR_GROUP_ID_NOT_FOUND);
        int64_t before = fetch((int32_t)wait);
        rig_lose_power();
        assert_int_equal(fetch((int32_t)wait), before);
        deletion = (struct sim_group_call){
            .op = {.action = GROUP_DELETE, .group_id = SLICE_LIT("g"), .generation = -1}};
        (void)sim_group_run(&rig, 0, &deletion);
        group_op_release(&deletion.op);
    }
}

static bool all_ready(void *arg)
{
    (void)arg;
    return broker_ready(rig.broker) && groups_ready(rig.groups);
}

/* One read that fails while the groups are loaded does not cost them until the next start: as long as their log serves,
 * they do. */
static void a_read_fails_at_the_start(void **state)
{
    (void)state;
    memset(writers, 0, sizeof(writers));
    assert_int_equal(writers_run(40), 0);
    writers_finish();
    bool fired = true;
    unsigned served = 0;
    for (uint64_t nth = 0; fired; nth++) {
        struct err_info info = {0};
        struct shards_config config = {.count = 1, .fs = rig.fs};
        sim_rig_stop(&rig);
        rig.host = sim_host_create(rig.sim, rig.fs);
        assert_int_equal(sim_shards_create(rig.host, &config, &rig.shards, &info), ERR_OK);
        assert_int_equal(broker_open(rig.shards, &rig.broker_config, &rig.broker, &info), ERR_OK);
        assert_int_equal(
            groups_open(rig.shards, rig.broker, &rig.groups_config, &rig.groups, &info), ERR_OK);
        assert_true(fault_arm("fs.read", nth, 1, ERR_DISK_IO));
        assert_true(sim_run_until(rig.sim, all_ready, NULL, 60000000));
        fired = fault_fired("fs.read") > 0;
        fault_disarm_all();
        struct broker_shard *bs = broker_shard_of(rig.broker, shards_get(rig.shards, 0));
        struct bounds bounds = {
            .op = {.topic_id = broker_topic_find(bs, SLICE_LIT("__consumer_offsets"))->id,
                   .query = BROKER_OFFSET_STATE,
                   .current_epoch = -1}};
        sim_rig_call(&rig, 0, bounds_ask, &bounds);
        sim_rig_until(&rig, &bounds.done);
        for (int32_t p = 0; p < WRITERS && !bounds.op.err; p++)
            assert_int_equal(fetch(p), writers[p].acked);
        served += fired && !bounds.op.err;
    }
    assert_true(served > 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(steady_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_passes, setup, teardown),
        cmocka_unit_test_setup_teardown(short_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rewrite_amid_a_rebalance, setup, teardown),
        cmocka_unit_test_setup_teardown(a_static_member_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_static_member_on_a_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deletion_meets_a_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_fails_at_the_start, setup, teardown),
    };
    diag_level_set(DIAG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Hosts that lost their power leave their memory behind. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
