/*
 * The jobs of a server (see connect/jobs.h).
 *
 * A job lives on the shard that its name's hash picks. A call becomes a request that travels there as a message and
 * back with its answer; `list` goes from shard to shard and gathers.
 *
 * Invariants: (1) a list of jobs is touched by its own shard only, but at boot; (2) one change of a job is under way at
 * a time, others are refused as busy; (3) every request is answered once.
 * Ownership: requests belong to the shard that has them. Failure: answered with the error; a definition in the
 * catalogue that cannot be read is reported and left alone. A deletion takes the definition first: one that is cut short
 * leaves a state without a job, which the next job of that name does not inherit.
 */
#include "connect/jobs.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diag.h"
#include "base/hash.h"
#include "broker/broker.h"
#include "codec/json_scan.h"
#include "connect/jobs_int.h"

enum { BOOT_RETRY_US = 1000000 };

static struct jobs_home *home_of(struct jobs *jobs, struct slice name)
{
    return &jobs->homes[hash_bytes(name, 0) % shards_count(jobs->shards)];
}

static struct job *job_find(struct jobs_home *home, struct slice name)
{
    LIST_FOREACH(node, &home->list)
    {
        struct job *job = CONTAINER_OF(node, struct job, node);
        if (slice_equal(job->def.name, name))
            return job;
    }
    return NULL;
}

/* ---- requests ---- */

static void request_answer(struct shard *to, struct shard_msg *msg)
{
    struct request *request = CONTAINER_OF(msg, struct request, msg);
    bool json = request->err == ERR_OK || request->err == ERR_SQL_COMPILE;

    if (request->err == ERR_OK && request->answer.failed)
        request->err = err_info_set(&request->info, ERR_LIMIT, "the answer is too long");
    request->done(request->ctx, request->err, &request->info,
                  json ? bytebuf_slice(&request->answer) : SLICE_NULL);
    bytebuf_deinit(&request->name);
    bytebuf_deinit(&request->body);
    bytebuf_deinit(&request->answer);
    free(request->entries);
    free(request);
}

static void request_finish(struct request *request, struct shard *here, enum err err)
{
    request->err = err;
    if (request->job != NULL && request->job->request == request)
        request->job->request = NULL;
    request->msg.fn = request_answer;
    shard_send(here, request->from, &request->msg);
}

static void finish_status(struct request *request, struct job *job)
{
    struct shard *shard = job->home->shard;

    bytebuf_clear(&request->answer);
    job_write_status(job, &request->answer);
    request_finish(request, shard, ERR_OK);
}

/* ---- create ---- */

static void on_created(struct catalogue_record_op *op)
{
    struct request *request = CONTAINER_OF(op, struct request, op);
    struct job *job = request->job;
    struct jobs_home *home = job->home;

    if (op->err != ERR_OK) {
        request->info = op->info;
        request->job = NULL;
        job_destroy(job);
        home->count--;
        request_finish(request, home->shard, op->err);
        return;
    }
    job->request = NULL;
    finish_status(request, job);
}

/* Nothing is left of an earlier job of this name, whose deletion may have been cut short. */
static void on_orphan_gone(struct catalogue_record_op *op)
{
    struct request *request = CONTAINER_OF(op, struct request, op);
    struct job *job = request->job;

    if (op->err != ERR_OK && op->err != ERR_NOT_FOUND) {
        on_created(op);
        return;
    }
    request->op = (struct catalogue_record_op){.kind = CATALOGUE_JOB,
                                               .key = job->def.name,
                                               .value = job->definition,
                                               .only_new = true,
                                               .done = on_created};
    catalogue_record_put(job->home->jobs->catalogue, job->home->shard, &request->op);
}

static void do_create(struct jobs_home *home, struct request *request)
{
    struct job *job;
    enum err err =
        job_create(home, bytebuf_slice(&request->body), &request->answer, &job, &request->info);

    if (err == ERR_OK && home_of(home->jobs, job->def.name) != home) {
        err = err_info_set(&request->info, ERR_INVALID_CONFIG,
                           "the name of a job is written without escapes");
    } else if (err == ERR_OK && job_find(home, job->def.name) != NULL) {
        err = err_info_set(&request->info, ERR_EXISTS, "there is a job '%.*s' already",
                           SLICE_FMT(job->def.name));
    } else if (err == ERR_OK && home->count >= JOBS_PER_SHARD_MAX) {
        err = err_info_set(&request->info, ERR_LIMIT, "there are too many jobs");
    }
    if (err != ERR_OK) {
        job_destroy(job);
        request_finish(request, home->shard, err);
        return;
    }
    list_push_back(&home->list, &job->node);
    home->count++;
    job->request = request;
    request->job = job;
    request->op = (struct catalogue_record_op){
        .kind = CATALOGUE_JOB_STATE, .key = job->def.name, .done = on_orphan_gone};
    catalogue_record_delete(home->jobs->catalogue, home->shard, &request->op);
}

/* ---- start, stop, delete ---- */

static void on_start_saved(void *ctx, enum err err, const struct err_info *info)
{
    struct request *request = ctx;
    struct job *job = request->job;

    if (err != ERR_OK) {
        request->info = *info;
        job->wanted = false; /* as the catalogue has it */
    } else if (!job->home->stopping) {
        err = job_run(job, &request->info);
    }
    if (err == ERR_OK)
        finish_status(request, job);
    else
        request_finish(request, job->home->shard, err);
}

static void do_start(struct job *job, struct request *request)
{
    if (job_is_running(job)) {
        finish_status(request, job);
        return;
    }
    job->wanted = true;
    job_save(job, on_start_saved, request);
}

static void on_state_deleted(struct catalogue_record_op *op)
{
    struct request *request = CONTAINER_OF(op, struct request, op);
    struct job *job = request->job;
    struct jobs_home *home = job->home;
    enum err err = op->err == ERR_NOT_FOUND ? ERR_OK : op->err;

    request->info = op->info;
    request->job = NULL;
    job_destroy(job);
    home->count--;
    request_finish(request, home->shard, err);
}

static void on_definition_deleted(struct catalogue_record_op *op)
{
    struct request *request = CONTAINER_OF(op, struct request, op);
    struct job *job = request->job;

    if (op->err != ERR_OK && op->err != ERR_NOT_FOUND) {
        request->info = op->info;
        request_finish(request, job->home->shard, op->err);
        return;
    }
    request->op = (struct catalogue_record_op){
        .kind = CATALOGUE_JOB_STATE, .key = job->def.name, .done = on_state_deleted};
    catalogue_record_delete(job->home->jobs->catalogue, job->home->shard, &request->op);
}

static void on_stop_saved(void *ctx, enum err err, const struct err_info *info)
{
    struct request *request = ctx;

    if (err != ERR_OK) {
        request->info = *info;
        request_finish(request, request->job->home->shard, err);
        return;
    }
    finish_status(request, request->job);
}

/* The runner rests: the change that waited for it goes on. */
static void change_go_on(struct job *job, struct request *request)
{
    if (request->verb == REQUEST_DELETE) {
        request->op = (struct catalogue_record_op){
            .kind = CATALOGUE_JOB, .key = job->def.name, .done = on_definition_deleted};
        catalogue_record_delete(job->home->jobs->catalogue, job->home->shard, &request->op);
        return;
    }
    job_save(job, on_stop_saved, request);
}

static void do_stop(struct job *job, struct request *request)
{
    job->wanted = false;
    if (job_is_running(job))
        runner_stop(job->runner); /* goes on in jobs_job_stopped */
    else
        change_go_on(job, request);
}

void jobs_job_stopped(struct job *job)
{
    struct jobs_home *home = job->home;

    ASSERT(home->running > 0);
    home->running--;
    if (job->request != NULL &&
        (job->request->verb == REQUEST_STOP || job->request->verb == REQUEST_DELETE))
        change_go_on(job, job->request);
    if (home->stopping && home->running == 0 && !home->stop.done)
        shard_stop_done(&home->stop);
}

static void do_show(struct job *job, struct request *request)
{
    bytebuf_append_cstr(&request->answer, "{\"definition\":");
    bytebuf_append_slice(&request->answer, job->definition);
    bytebuf_append_cstr(&request->answer, ",\"status\":");
    job_write_status(job, &request->answer);
    bytebuf_append_byte(&request->answer, '}');
    request_finish(request, job->home->shard, ERR_OK);
}

static void do_list(struct jobs_home *home, struct request *request);

static void request_run(struct shard *to, struct shard_msg *msg)
{
    struct request *request = CONTAINER_OF(msg, struct request, msg);
    struct jobs_home *home = &request->jobs->homes[to->index];

    if (request->err != ERR_OK) {
        request_finish(request, to, request->err);
    } else if (home->stopping) {
        request_finish(request, to, ERR_CLOSING);
    } else if (request->verb == REQUEST_CREATE) {
        do_create(home, request);
    } else if (request->verb == REQUEST_LIST) {
        do_list(home, request);
    } else {
        struct job *job = job_find(home, bytebuf_slice(&request->name));
        if (job == NULL) {
            err_info_set(&request->info, ERR_NOT_FOUND, "there is no job '%.*s'",
                         SLICE_FMT(bytebuf_slice(&request->name)));
            request_finish(request, to, ERR_NOT_FOUND);
        } else if (request->verb == REQUEST_SHOW) {
            do_show(job, request);
        } else if (job->request != NULL) {
            err_info_set(&request->info, ERR_BUSY, "another change of the job is under way");
            request_finish(request, to, ERR_BUSY);
        } else {
            job->request = request;
            request->job = job;
            if (request->verb == REQUEST_START)
                do_start(job, request);
            else
                do_stop(job, request);
        }
    }
}

/* Adds this shard's jobs and goes on to the next. */
static void do_list(struct jobs_home *home, struct request *request)
{
    struct jobs *jobs = home->jobs;

    ASSERT(request->at == home->shard->index);
    LIST_FOREACH(node, &home->list)
    {
        jobs_list_add(request, CONTAINER_OF(node, struct job, node));
    }
    if (++request->at < shards_count(jobs->shards)) {
        shard_send(home->shard, shards_get(jobs->shards, request->at), &request->msg);
        return;
    }
    jobs_list_finish(request);
    request_finish(request, home->shard, ERR_OK);
}

static void request_send(struct jobs *jobs, struct shard *caller, enum request_verb verb,
                         struct slice name, struct slice body, jobs_done_fn done, void *ctx)
{
    struct request *request = calloc(1, sizeof(*request));
    struct shard *to = caller;

    ASSERT(request != NULL); /* the size of one: the caller's front has its own limit of calls */
    request->jobs = jobs;
    request->from = caller;
    request->verb = verb;
    request->done = done;
    request->ctx = ctx;
    request->msg.fn = request_run;
    bytebuf_init(&request->name, 1 << 16);
    bytebuf_init(&request->body, JOB_DEFINITION_MAX);
    bytebuf_init(&request->answer, ANSWER_MAX);
    bytebuf_append_slice(&request->name, name);
    bytebuf_append_slice(&request->body, body);
    if (request->name.failed || request->body.failed)
        request->err = err_info_set(&request->info, ERR_INVALID_CONFIG, "the job is too long");
    if (verb == REQUEST_LIST) {
        to = shards_get(jobs->shards, 0);
    } else if (request->err == ERR_OK) {
        to = home_of(jobs, name)->shard;
    }
    shard_send(caller, to, &request->msg);
}

/* The name in a definition, to find the job's shard; what is wrong with the rest is said there. */
static struct slice definition_name(struct slice definition)
{
    struct slice text = slice_trim(definition);

    if (text.len == 0 || text.data[0] != '{')
        return SLICE_NULL;
    struct json_cell cell = json_source_get(text, SLICE_LIT("name"));
    return cell.kind == JSON_KIND_TEXT ? slice_make(cell.data, cell.len) : SLICE_NULL;
}

void jobs_create_job(struct jobs *jobs, struct shard *caller, struct slice definition,
                     jobs_done_fn done, void *ctx)
{
    request_send(jobs, caller, REQUEST_CREATE, definition_name(definition), definition, done, ctx);
}

void jobs_list(struct jobs *jobs, struct shard *caller, jobs_done_fn done, void *ctx)
{
    request_send(jobs, caller, REQUEST_LIST, SLICE_NULL, SLICE_NULL, done, ctx);
}

void jobs_show(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
               void *ctx)
{
    request_send(jobs, caller, REQUEST_SHOW, name, SLICE_NULL, done, ctx);
}

void jobs_start_job(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
                    void *ctx)
{
    request_send(jobs, caller, REQUEST_START, name, SLICE_NULL, done, ctx);
}

void jobs_stop_job(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
                   void *ctx)
{
    request_send(jobs, caller, REQUEST_STOP, name, SLICE_NULL, done, ctx);
}

void jobs_delete_job(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
                     void *ctx)
{
    request_send(jobs, caller, REQUEST_DELETE, name, SLICE_NULL, done, ctx);
}

/* ---- life ---- */

static void on_stop(struct shard_stop *stop)
{
    struct jobs_home *home = CONTAINER_OF(stop, struct jobs_home, stop);

    home->stopping = true;
    timer_cancel(home->shard->reactor, &home->boot);
    if (home->running == 0) {
        shard_stop_done(stop);
        return;
    }
    LIST_FOREACH_SAFE(node, &home->list)
    {
        struct job *job = CONTAINER_OF(node, struct job, node);
        if (job_is_running(job))
            runner_stop(job->runner);
    }
}

/* Starts the jobs that ran before; those that memory does not suffice for are tried again. */
static void on_boot(struct timer *timer)
{
    struct jobs_home *home = CONTAINER_OF(timer, struct jobs_home, boot);
    struct err_info info;
    bool again = false;

    LIST_FOREACH(node, &home->list)
    {
        struct job *job = CONTAINER_OF(node, struct job, node);
        if (home->stopping || !job->wanted || job->request != NULL || !job_is_at_rest(job))
            continue;
        if (job_run(job, &info) == ERR_OK)
            continue;
        diag(DIAG_ERROR, "job", "name=%.*s start=failed reason=\"%s\"", SLICE_FMT(job->def.name),
             info.text);
        again = true;
    }
    if (again)
        timer_arm(home->shard->reactor, &home->boot, BOOT_RETRY_US);
}

/* Whether a record of the catalogue is JSON to its end: what lies in it may be taken apart and shown. */
static bool record_valid(struct slice value)
{
    json_t *root = json_loadb((const char *)value.data, value.len, 0, NULL);
    bool valid = json_is_object(root);

    json_decref(root);
    return valid;
}

/* What was saved of a job. With a state that cannot be read, or is none, the job fails when it starts. */
static enum err load_state(struct jobs *jobs, const struct catalogue_entry *entry)
{
    struct job *job = job_find(home_of(jobs, entry->key), entry->key);
    struct slice value = entry->value;

    if (job == NULL)
        return ERR_OK;
    if (!record_valid(value)) {
        diag(DIAG_ERROR, "job", "name=%.*s state=unreadable", SLICE_FMT(entry->key));
        bytebuf_append_cstr(&job->state, JOB_STATE_UNREADABLE);
        return job->state.failed ? ERR_NO_MEMORY : ERR_OK;
    }
    struct json_cell wanted = json_source_get(value, SLICE_LIT("wanted"));
    struct json_cell state = json_source_get(value, SLICE_LIT("state"));
    job->wanted = slice_equal(slice_make(wanted.data, wanted.len), SLICE_LIT("running"));
    if (state.kind != JSON_KIND_NULL && state.kind != JSON_KIND_MISSING)
        bytebuf_append_slice(&job->state, json_cell_source(&state));
    return job->state.failed ? ERR_NO_MEMORY : ERR_OK;
}

static enum err load_jobs(struct jobs *jobs, struct err_info *info)
{
    struct catalogue_record_op op = {.kind = CATALOGUE_JOB};
    enum err err = catalogue_record_list_now(jobs->catalogue, &op);
    struct job *job;

    for (uint32_t i = 0; err == ERR_OK && i < op.entry_count; i++) {
        struct jobs_home *home = home_of(jobs, op.entries[i].key);
        struct err_info bad;
        if (job_create(home, op.entries[i].value, NULL, &job, &bad) != ERR_OK) {
            diag(DIAG_ERROR, "job", "name=%.*s load=failed reason=\"%s\"",
                 SLICE_FMT(op.entries[i].key), bad.text);
            continue;
        }
        list_push_back(&home->list, &job->node);
        home->count++;
    }
    if (err != ERR_OK)
        *info = op.info;
    catalogue_record_op_release(&op);
    if (err != ERR_OK)
        return err;
    op = (struct catalogue_record_op){.kind = CATALOGUE_JOB_STATE};
    err = catalogue_record_list_now(jobs->catalogue, &op);
    for (uint32_t i = 0; err == ERR_OK && i < op.entry_count; i++)
        err = load_state(jobs, &op.entries[i]);
    if (err != ERR_OK)
        (void)err_info_set(info, err, "%s",
                           op.err != ERR_OK ? op.info.text : "out of memory for jobs");
    catalogue_record_op_release(&op);
    return err;
}

enum err jobs_open(struct shards *shards, struct broker *broker, struct blobstore *blobs,
                   struct jobs **ret_jobs, struct err_info *info)
{
    struct jobs *jobs = calloc(1, sizeof(*jobs));

    *ret_jobs = NULL;
    if (jobs == NULL)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the jobs");
    jobs->shards = shards;
    jobs->broker = broker;
    jobs->blobs = blobs;
    jobs->catalogue = broker_catalogue(broker);
    for (unsigned i = 0; i < shards_count(shards); i++) {
        jobs->homes[i].jobs = jobs;
        jobs->homes[i].shard = shards_get(shards, i);
        list_init(&jobs->homes[i].list);
    }
    enum err err = load_jobs(jobs, info);
    if (err != ERR_OK) {
        jobs_close(jobs);
        return err;
    }
    for (unsigned i = 0; i < shards_count(shards); i++) {
        struct jobs_home *home = &jobs->homes[i];
        timer_init(&home->boot, on_boot);
        timer_arm(home->shard->reactor, &home->boot, 0);
        shard_at_stop(home->shard, SHARD_STOP_JOBS, &home->stop, on_stop);
    }
    *ret_jobs = jobs;
    return ERR_OK;
}

void jobs_close(struct jobs *jobs)
{
    if (jobs == NULL)
        return;
    for (unsigned i = 0; i < shards_count(jobs->shards); i++) {
        ASSERT(jobs->homes[i].list.next); /* jobs_open made all of them */
        LIST_FOREACH_SAFE(node, &jobs->homes[i].list)
        {
            struct job *job = CONTAINER_OF(node, struct job, node);
            if (job_is_running(job) || job->saved != NULL || job->request != NULL)
                return; /* a stop that took too long: the process ends, its memory with it */
            job_destroy(job);
        }
    }
    free(jobs);
}
