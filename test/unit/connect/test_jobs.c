/*
 * The jobs of a simulated node: what calls answer, what the catalogue keeps of a job, and what becomes of it when memory
 * is short, a state is damaged, or a deletion was cut short.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "../../lib/sim_rig.h"
#include "blobstore/blobstore.h"
#include "connect/jobs.h"
#include "io/fault.h"
#include "meta/catalogue.h"

static struct sim_rig rig;
static struct blobstore *blobs;
static struct jobs *jobs;

static void node_boot(void)
{
    struct err_info info;
    sim_rig_boot(&rig, 3);
    assert_int_equal(fs_mkdir_all(rig.fs, "/blobs", &info), ERR_OK);
    assert_int_equal(blobstore_open(rig.fs, "/blobs", 1, 0, &blobs, &info), ERR_OK);
    for (unsigned i = 0; i < rig.shard_count; i++)
        blobstore_shard_start(blobs, shards_get(rig.shards, i));
    assert_int_equal(jobs_open(rig.shards, rig.broker, blobs, &jobs, &info), ERR_OK);
}

static bool node_stopped(void *arg)
{
    return sim_host_stopped(rig.host);
}

static void node_stop(void)
{
    shards_stop(rig.shards);
    assert_true(sim_run_until(rig.sim, node_stopped, NULL, 600000000));
    jobs_close(jobs);
    blobstore_close(blobs);
    groups_close(rig.groups);
    broker_close(rig.broker);
    shards_destroy(rig.shards);
}

static int setup(void **state)
{
    sim_rig_init(&rig, 1);
    node_boot();
    return 0;
}

static int teardown(void **state)
{
    fault_disarm_all();
    node_stop();
    sim_rig_deinit(&rig);
    return 0;
}

/* ---- calls ---- */

enum verb { CREATE, LIST, SHOW, START, STOP, DELETE };

struct call {
    enum verb verb;
    const char *text; /* the name, or the definition */
    enum err err;
    struct err_info info;
    json_t *answer;
    bool done;
};

static struct call call;

static void call_done(void *ctx, enum err err, const struct err_info *info, struct slice json)
{
    call.err = err;
    call.info = *info;
    call.answer = json.len > 0 ? json_loadb((const char *)json.data, json.len, 0, NULL) : NULL;
    assert_true(json.len == 0 || call.answer != NULL);
    call.done = true;
}

static void call_start(struct shard *shard, void *arg)
{
    struct slice text = slice_cstr(call.text);
    switch (call.verb) {
    case CREATE:
        jobs_create_job(jobs, shard, text, call_done, NULL);
        break;
    case LIST:
        jobs_list(jobs, shard, call_done, NULL);
        break;
    case SHOW:
        jobs_show(jobs, shard, text, call_done, NULL);
        break;
    case START:
        jobs_start_job(jobs, shard, text, call_done, NULL);
        break;
    case STOP:
        jobs_stop_job(jobs, shard, text, call_done, NULL);
        break;
    case DELETE:
        jobs_delete_job(jobs, shard, text, call_done, NULL);
        break;
    }
}

static enum err ask(enum verb verb, const char *text)
{
    json_decref(call.answer);
    call = (struct call){.verb = verb, .text = text};
    sim_rig_call(&rig, 1, call_start, NULL);
    sim_rig_until(&rig, &call.done);
    return call.err;
}

static enum err create(const char *name)
{
    char text[300];
    snprintf(text, sizeof(text),
             "{\"name\":\"%s\",\"start\":\"latest\",\"query\":\"SELECT a INTO o FROM i\"}", name);
    return ask(CREATE, text);
}

static const char *status_text(const char *name, const char *field)
{
    assert_int_equal(ask(SHOW, name), ERR_OK);
    const char *text =
        json_string_value(json_object_get(json_object_get(call.answer, "status"), field));
    return text != NULL ? text : "null";
}

/* Runs the world until the job's field has this text. */
static void wait_for(const char *name, const char *field, const char *text)
{
    for (unsigned i = 0; strcmp(status_text(name, field), text) != 0; i++) {
        assert_true(i < 1000);
        sim_run_for(rig.sim, 10000);
    }
}

/* ---- the catalogue ---- */

struct record_call {
    struct catalogue_record_op op;
    bool done;
};

static void record_done(struct catalogue_record_op *op)
{
    CONTAINER_OF(op, struct record_call, op)->done = true;
}

static void record_put(struct shard *shard, void *arg)
{
    catalogue_record_put(broker_catalogue(rig.broker), shard, &((struct record_call *)arg)->op);
}

static void state_put(const char *name, const char *value)
{
    struct record_call record = {.op = {.kind = CATALOGUE_JOB_STATE,
                                        .key = slice_cstr(name),
                                        .value = slice_cstr(value),
                                        .done = record_done}};
    sim_rig_call(&rig, 0, record_put, &record);
    sim_rig_until(&rig, &record.done);
    assert_int_equal(record.op.err, ERR_OK);
}

/* ---- tests ---- */

static void test_life(void **state)
{
    assert_int_equal(ask(SHOW, "a"), ERR_NOT_FOUND);
    assert_int_equal(create("a"), ERR_OK);
    assert_int_equal(create("a"), ERR_EXISTS);
    assert_string_equal(status_text("a", "state"), "stopped");
    assert_int_equal(ask(START, "a"), ERR_OK);
    wait_for("a", "state", "running");
    /* It runs, so it has its positions. */
    const json_t *saved = json_object_get(json_object_get(call.answer, "status"), "saved");
    assert_true(json_is_object(json_object_get(saved, "positions")));
    assert_int_equal(ask(START, "a"), ERR_OK);
    assert_int_equal(ask(STOP, "a"), ERR_OK);
    assert_string_equal(status_text("a", "state"), "stopped");
    assert_int_equal(ask(START, "a"), ERR_OK);
    node_stop();
    node_boot();
    wait_for("a", "state", "running");
    assert_int_equal(ask(DELETE, "a"), ERR_OK);
    assert_int_equal(ask(SHOW, "a"), ERR_NOT_FOUND);
    assert_int_equal(ask(STOP, "a"), ERR_NOT_FOUND);
    node_stop();
    node_boot();
    assert_int_equal(ask(SHOW, "a"), ERR_NOT_FOUND);
}

static void test_list_is_in_order(void **state)
{
    static const char *const names[] = {"delta", "alpha", "golf", "charlie", "alp", "echo"};
    static const char *const sorted[] = {"alp", "alpha", "charlie", "delta", "echo", "golf"};
    assert_int_equal(ask(LIST, ""), ERR_OK);
    assert_int_equal(json_array_size(json_object_get(call.answer, "jobs")), 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(create(names[i]), ERR_OK);
    assert_int_equal(ask(LIST, ""), ERR_OK);
    const json_t *list = json_object_get(call.answer, "jobs");
    assert_int_equal(json_array_size(list), 6);
    for (unsigned i = 0; i < 6; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "name")),
                            sorted[i]);
}

/* Want of memory for the record: the call fails, nothing has changed, the next one gets through. */
static void test_record_without_memory(void **state)
{
    assert_int_equal(create("a"), ERR_OK);
    assert_true(fault_arm("job.record", 0, 1, ERR_NO_MEMORY));
    assert_int_equal(ask(START, "a"), ERR_NO_MEMORY);
    assert_string_equal(status_text("a", "state"), "stopped");
    node_stop();
    node_boot();
    sim_run_for(rig.sim, 2000000);
    assert_string_equal(status_text("a", "state"), "stopped");
    /* The second record is that of the positions: the job tries again. */
    assert_true(fault_arm("job.record", 1, 1, ERR_NO_MEMORY));
    assert_int_equal(ask(START, "a"), ERR_OK);
    wait_for("a", "state", "running");
    assert_int_equal(fault_fired("job.record"), 1);
    const json_t *status = json_object_get(call.answer, "status");
    assert_int_equal(json_integer_value(json_object_get(status, "restarts_since_start")), 1);
    wait_for("a", "error", "null");
}

/* Want of memory for the state of a job that ran: it is tried again, not forgotten. */
static void test_boot_without_memory(void **state)
{
    assert_int_equal(create("a"), ERR_OK);
    assert_int_equal(ask(START, "a"), ERR_OK);
    wait_for("a", "state", "running");
    node_stop();
    assert_true(fault_arm("job.state", 0, 1, ERR_NO_MEMORY));
    node_boot();
    wait_for("a", "state", "running");
    assert_int_equal(fault_fired("job.state"), 1);
}

/* A state that cannot be read fails its job; others go on, and the job is there to be deleted. */
static void test_damaged_state(void **state)
{
    static const char *const damaged[] = {"rubbish", "{\"wanted\":\"running\",\"state\":7}",
                                          "{\"wanted\":\"running\",\"state\":{\"positions\":[]}}"};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(create("a"), ERR_OK);
        assert_int_equal(create("b"), ERR_OK);
        assert_int_equal(ask(START, "b"), ERR_OK);
        state_put("a", damaged[i]);
        node_stop();
        node_boot();
        if (i == 0) /* the wish to run is lost with the rest */
            assert_int_equal(ask(START, "a"), ERR_OK);
        wait_for("a", "state", "failed");
        assert_string_equal(status_text("a", "error"), "the saved state cannot be read");
        wait_for("b", "state", "running");
        assert_int_equal(ask(DELETE, "a"), ERR_OK);
        assert_int_equal(ask(DELETE, "b"), ERR_OK);
    }
}

/* What a deletion that was cut short left behind is not the next job's. */
static void test_orphan_state(void **state)
{
    state_put("a", "{\"wanted\":\"running\",\"state\":{\"positions\":{\"0:i\":{\"id\":\"x\","
                   "\"offsets\":[5]}},\"counts\":{\"events\":77}}}");
    assert_int_equal(create("a"), ERR_OK);
    node_stop();
    node_boot();
    sim_run_for(rig.sim, 2000000);
    assert_string_equal(status_text("a", "state"), "stopped");
    const json_t *status = json_object_get(call.answer, "status");
    assert_int_equal(json_integer_value(json_object_get(status, "events")), 0);
    assert_true(json_is_null(json_object_get(status, "saved")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_is_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_record_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_boot_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orphan_state, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
