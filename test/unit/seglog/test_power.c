/*
 * Power cuts and kills at every step of a log's life, on the simulated disk: nothing acknowledged as durable is lost, nothing
 * written is lost by a kill, nothing is torn, reordered or stored twice.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/random.h"
#include "io/fs_sim.h"
#include "log_rig.h"

enum { LOGS = 5, APPENDS_MAX = 4000, CYCLES = 6, STEPS = 60 };

enum fate { FATE_OPEN, FATE_WRITTEN, FATE_DURABLE, FATE_FAILED };

/* What the test knows of one append. */
struct sent {
    struct seglog_append append;
    int64_t base;
    int64_t end;
    uint64_t tag; /* in the value of its records */
    int32_t sequence;
    enum fate fate;
    struct world *world;
};

struct model {
    struct seglog *seglog;
    struct sent *sent[APPENDS_MAX];
    uint32_t count;
    int32_t next_sequence;
};

struct world {
    struct log_rig rig;
    struct fs *fs;
    struct random random;
    struct model logs[LOGS];
    uint64_t next_tag;
    uint64_t seed;
    uint32_t cycle;
};

static void sent_done(struct seglog_append *append)
{
    struct sent *sent = CONTAINER_OF(append, struct sent, append);
    if (append->err)
        sent->fate = FATE_FAILED;
    else
        sent->fate = append->ack == SEGLOG_ACK_DURABLE ? FATE_DURABLE : FATE_WRITTEN;
}

static struct iobuf_range tagged_batch(uint64_t tag, uint32_t records, int64_t producer_id,
                                       int32_t sequence, uint32_t pad)
{
    struct batch_builder builder;
    uint8_t value[3000];
    batch_builder_init(&builder, 1024 * 1024);
    memset(value, (int)tag, sizeof(value));
    for (uint32_t i = 0; i < records; i++) {
        memcpy(value, &tag, sizeof(tag));
        struct batch_build_record record = {.timestamp_ms = 1700000000000,
                                            .value = slice_make(value, sizeof(tag) + pad)};
        assert_int_equal(batch_builder_add(&builder, &record), ERR_OK);
    }
    builder.producer_id = producer_id;
    builder.producer_epoch = 0;
    builder.base_sequence = sequence;
    struct iobuf_range range;
    batch_builder_finish(&builder, &range);
    return range;
}

/* Appends that were taken back for lack of space are gone for certain while the log serves. */
static void model_purge(struct model *model)
{
    while (model->count > 0 && model->sent[model->count - 1]->fate == FATE_FAILED &&
           seglog_state(model->seglog) == ERR_OK) {
        struct sent *sent = model->sent[--model->count];
        model->next_sequence = sent->sequence;
        free(sent);
    }
}

static void world_append(struct world *world, struct model *model)
{
    model_purge(model);
    if (model->count == APPENDS_MAX)
        return;
    struct sent *sent = calloc(1, sizeof(*sent));
    assert_non_null(sent);
    uint32_t records = 1 + (uint32_t)random_below(&world->random, 3);
    sent->tag = world->next_tag++;
    sent->sequence = model->next_sequence;
    sent->world = world;
    uint32_t pad = random_one_in(&world->random, 8) ? (uint32_t)random_below(&world->random, 2900)
                                                    : (uint32_t)random_below(&world->random, 100);
    sent->append = (struct seglog_append){
        .batch = tagged_batch(sent->tag, records, 77, sent->sequence, pad),
        .ack = random_one_in(&world->random, 3) ? SEGLOG_ACK_WRITTEN : SEGLOG_ACK_DURABLE,
        .on_done = sent_done};
    if (seglog_append(model->seglog, &sent->append, NULL) != ERR_OK) {
        iobuf_unref(sent->append.batch.buf);
        free(sent);
        return;
    }
    assert_false(sent->append.duplicate);
    sent->base = sent->append.base_offset.value;
    sent->end = sent->append.last_offset.value + 1;
    model->next_sequence += (int32_t)records;
    model->sent[model->count++] = sent;
}

/* The tag in a batch's first record. */
static uint64_t batch_tag(struct slice batch)
{
    struct batch_iter iter;
    struct batch_record record;
    uint64_t tag = 0;
    assert_int_equal(batch_iter_init(&iter, batch, NULL, NULL), ERR_OK);
    assert_true(batch_iter_next(&iter, &record));
    assert_true(record.value.len >= sizeof(tag));
    memcpy(&tag, record.value.data, sizeof(tag));
    return tag;
}

/* Compares the log with the model after a restart and forgets what was lost. */
static void model_check(struct world *world, struct model *model, bool power)
{
    struct seglog_bounds bounds = seglog_bounds(model->seglog);
    struct bytebuf out;
    bytebuf_init(&out, 1 << 30);
    assert_int_equal(log_rig_read_all(&world->rig, model->seglog, bounds.start.value, &out),
                     ERR_OK);
    struct slice rest = bytebuf_slice(&out);
    struct batch_header first = {.base_offset = bounds.end};
    if (rest.len > 0)
        assert_int_equal(batch_header_read(rest, &first, NULL), ERR_OK);
    struct seglog_scan scan;
    seglog_scan_bytes(rest, first.base_offset, &scan);
    if (scan.good_bytes != rest.len || scan.end.value != bounds.end.value)
        fail_msg("seed %" PRIu64 " cycle %u log %td: offsets %" PRId64 " to %" PRId64
                 ", good only to %" PRId64 ", bytes %zu of %zu",
                 world->seed, world->cycle, model - world->logs, bounds.start.value,
                 bounds.end.value, scan.end.value, (size_t)scan.good_bytes, rest.len);
    uint32_t i = 0;
    while (i < model->count && model->sent[i]->end <= bounds.start.value)
        i++;
    uint32_t kept = i;
    for (; rest.len > 0; kept++) {
        uint32_t size = batch_size_peek(rest);
        if (kept >= model->count)
            fail_msg("seed %" PRIu64 " cycle %u log %td power %d: more than was sent, %" PRId64
                     " to %" PRId64 ", sent %u",
                     world->seed, world->cycle, model - world->logs, power, bounds.start.value,
                     bounds.end.value, model->count);
        if (batch_tag(slice_sub(rest, 0, size)) != model->sent[kept]->tag)
            fail_msg("seed %" PRIu64 " cycle %u: another batch at offset %" PRId64, world->seed,
                     world->cycle, model->sent[kept]->base);
        model->sent[kept]->fate = FATE_DURABLE; /* what a start serves is durable */
        rest = slice_sub(rest, size, SIZE_MAX);
    }
    for (uint32_t k = kept; k < model->count; k++) {
        struct sent *sent = model->sent[k];
        if (sent->fate == FATE_DURABLE || (sent->fate == FATE_WRITTEN && !power))
            fail_msg("seed %" PRIu64 " cycle %u: lost offset %" PRId64
                     " of log %td, fate %d; log %" PRId64 " to %" PRId64,
                     world->seed, world->cycle, sent->base, model - world->logs, sent->fate,
                     bounds.start.value, bounds.end.value);
        free(sent);
    }
    model->count = kept;
    /* the producer goes on where the log stands: the state must agree */
    model->next_sequence =
        kept > 0 ? model->sent[kept - 1]->sequence +
                       (int32_t)(model->sent[kept - 1]->end - model->sent[kept - 1]->base)
                 : 0;
    struct seglog_producer producer;
    if (kept > i) {
        assert_true(seglog_producer_get(model->seglog, 77, &producer));
        assert_int_equal(producer.last_sequence, model->next_sequence - 1);
    }
    bytebuf_deinit(&out);
}

static const struct seglog_config *log_config(void)
{
    static struct seglog_config config;
    seglog_config_default(&config);
    config.segment_bytes = 8000;
    config.index_interval_bytes = 500;
    return &config;
}

static bool world_open(struct world *world, uint32_t i)
{
    char name[32];
    struct seglog_open open;
    snprintf(name, sizeof(name), "t-%u", i);
    world->logs[i].seglog = NULL;
    if (log_rig_open_err(&world->rig, name, i, log_config(), &open) != ERR_OK)
        return false;
    world->logs[i].seglog = open.seglog;
    return true;
}

static void op_ignored(struct seglog_op *op)
{
    free(op);
}

/* Faults besides the freeze, by seed. */
static void world_faults(struct world *world, bool on)
{
    struct fs_sim_config config = {.tear_sectors = true};
    if (on) {
        config.short_odds = 10;
        config.write_full_odds = world->seed % 4 == 1 ? 30 : 0;
        config.sync_eio_odds = world->seed % 4 == 2 ? 100 : 0;
        config.write_eio_odds = world->seed % 4 == 3 ? 100 : 0;
    }
    fs_sim_config_set(world->fs, &config);
}

/* Some random doings until the disk freezes or the steps are through. */
static void world_run(struct world *world)
{
    for (uint32_t step = 0; step < STEPS && !fs_sim_frozen(world->fs); step++) {
        for (uint32_t i = 0; i < LOGS; i++) {
            struct model *model = &world->logs[i];
            uint64_t appends = random_below(&world->random, 4);
            while (appends-- > 0)
                world_append(world, model);
            if (random_one_in(&world->random, 40)) {
                struct seglog_op *op = calloc(1, sizeof(*op));
                assert_non_null(op);
                op->on_done = op_ignored;
                if (random_one_in(&world->random, 2))
                    seglog_retain(model->seglog, op);
                else
                    seglog_trim(
                        model->seglog,
                        record_offset(seglog_bounds(model->seglog).high_watermark.value * 3 / 4),
                        op);
            }
        }
        uint64_t turns = random_below(&world->random, 3);
        while (turns-- > 0)
            log_rig_turn(&world->rig);
    }
}

static void world_stop(struct world *world)
{
    struct seglog *logs[LOGS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < LOGS; i++)
        if (world->logs[i].seglog)
            logs[count++] = world->logs[i].seglog;
    log_rig_kill(&world->rig, logs, count);
}

static void world_seed(uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    struct fs_sim_config config = {.seed = seed, .tear_sectors = true};
    world->seed = seed;
    world->fs = fs_sim_create(&config);
    world->next_tag = 1;
    random_init(&world->random, seed);
    world->rig.config.journal_bytes = 64 * 1024;
    log_rig_start(&world->rig, world->fs);
    log_rig_shutdown(&world->rig);
    world->rig.config = (struct commit_config){.journal_bytes = 64 * 1024,
                                               .direct_files_max = seed % 3 == 0 ? 100 : 1,
                                               .tail_bytes_max = 32 * 1024};
    assert_true(log_rig_boot(&world->rig));
    bool power = false;
    for (world->cycle = 0; world->cycle < CYCLES; world->cycle++) {
        for (uint32_t i = 0; i < LOGS; i++)
            assert_true(world_open(world, i));
        seglog_store_recovered(world->rig.store);
        for (uint32_t i = 0; i < LOGS; i++)
            model_check(world, &world->logs[i], power);
        fs_sim_freeze_after(world->fs, 20 + random_below(&world->random, 600));
        world_faults(world, true);
        world_run(world);
        world_faults(world, false);
        power = random_one_in(&world->random, 2);
        world_stop(world);
        if (power)
            fs_sim_power_loss(world->fs);
        else
            fs_sim_process_loss(world->fs);
        /* the start may be cut short too */
        if (random_one_in(&world->random, 3)) {
            fs_sim_freeze_after(world->fs, 1 + random_below(&world->random, 40));
            struct seglog_store *store = NULL;
            struct err_info info;
            if (seglog_store_open(world->fs, world->rig.dir, &store, &info) == ERR_OK) {
                world->rig.store = store;
                assert_int_equal(commit_create(store, &world->rig.reactor, &world->rig.config,
                                               &world->rig.commit),
                                 ERR_OK);
                bool all = true;
                for (uint32_t i = 0; i < LOGS; i++)
                    all = world_open(world, i) && all;
                if (all)
                    seglog_store_recovered(store);
                world_stop(world);
            }
            fs_sim_power_loss(world->fs);
            power = true;
        }
        assert_true(log_rig_boot(&world->rig));
    }
    log_rig_shutdown(&world->rig);
    for (uint32_t i = 0; i < LOGS; i++)
        for (uint32_t k = 0; k < world->logs[i].count; k++)
            free(world->logs[i].sent[k]);
    reactor_deinit(&world->rig.reactor);
    fs_destroy(world->fs);
    free(world);
}

static void power_cuts(void **state)
{
    (void)state;
    const char *text = getenv("WEIR_SEED");
    if (text) {
        world_seed(strtoull(text, NULL, 10));
        return;
    }
    text = getenv("WEIR_SEEDS");
    uint64_t seeds = text ? strtoull(text, NULL, 10) : 60;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        world_seed(seed);
}

/* Killed logs leave what was in flight behind. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(power_cuts)};
    if (!getenv("WEIR_SEED"))
        diag_level_set(DIAG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
