/*
 * One job: its definition, compiled query and runner, and what the catalogue keeps of it.
 *
 *   catalogue   JOB name -> the definition as given; JOB_STATE name -> {"wanted": "running", "state": {...}}
 *
 * Invariants: (1) a job in a list has a plan; (2) one catalogue write of a job is under way at most: changes wait until
 * its runner rests; (3) the runner never outlives the plan; (4) state holds what the catalogue has or nothing, whole: a
 * state that memory cuts short is neither written nor kept. Ownership: the job's shard; at boot the loader.
 * Failure: refused definitions leave nothing behind; want of memory is an answer.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "codec/json_write.h"
#include "connect/ends.h"
#include "connect/jobs_int.h"
#include "io/fault.h"
#include "sql/report.h"

enum { STATE_MAX = 4 << 20 };

FAULT_DEFINE(fault_record, "job.record")

static void write_messages(const struct sql_report *report, struct bytebuf *out)
{
    bytebuf_append_byte(out, '[');
    for (const struct sql_message *m = report->first; m != NULL; m = m->next) {
        bytebuf_printf(out, "%s{\"line\":%u,\"column\":%u,\"severity\":\"%s\",\"text\":",
                       m == report->first ? "" : ",", m->span.line, m->span.column,
                       m->warning ? "warning" : "error");
        json_write_text(out, slice_cstr(m->text));
        if (m->hint != NULL) {
            bytebuf_append_cstr(out, ",\"hint\":");
            json_write_text(out, slice_cstr(m->hint));
        }
        bytebuf_append_byte(out, '}');
    }
    bytebuf_append_byte(out, ']');
}

static enum err job_compile(struct job *job, struct bytebuf *ret_messages, struct err_info *info)
{
    struct sql_report report;

    sql_report_init(&report, job->arena, job->def.query);
    job->plan = plan_compile(job->def.query, NULL, job->arena, &report);
    if (job->plan != NULL)
        return ERR_OK;
    if (ret_messages != NULL)
        write_messages(&report, ret_messages);
    const struct sql_message *m = report.first;
    if (m == NULL)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the query");
    return err_info_set(info, ERR_SQL_COMPILE, "query:%u:%u: error: %s%s%s%s", m->span.line,
                        m->span.column, m->text, m->hint != NULL ? " (hint: " : "",
                        m->hint != NULL ? m->hint : "", m->hint != NULL ? ")" : "");
}

static bool name_in(const struct slice *names, uint32_t count, struct slice name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (slice_equal_nocase(names[i], name))
            return true;
    }
    return false;
}

/* Every end of the definition is used by the query, and every name of the query can be a topic where none is given. */
static enum err job_check_ends(struct job *job, struct err_info *info)
{
    const struct plan *plan = job->plan;
    struct job_def *def = &job->def;

    for (uint32_t i = 0; i < def->input_count; i++) {
        if (!name_in(plan->inputs, plan->input_count, def->inputs[i].name))
            return err_info_set(info, ERR_INVALID_CONFIG,
                                "the query does not read the input '%.*s'",
                                SLICE_FMT(def->inputs[i].name));
    }
    for (uint32_t i = 0; i < def->output_count; i++) {
        if (!name_in(plan->outputs, plan->output_count, def->outputs[i].name))
            return err_info_set(info, ERR_INVALID_CONFIG,
                                "the query does not write to the output '%.*s'",
                                SLICE_FMT(def->outputs[i].name));
    }
    job->topics = ARENA_ARRAY(job->arena, struct slice, plan->input_count + 1);
    if (job->topics == NULL)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the job");
    for (uint32_t i = 0; i < plan->input_count; i++) {
        const struct job_input *input = job_def_input(def, plan->inputs[i]);
        if (input == NULL)
            return err_info_set(info, ERR_INVALID_CONFIG, "the job has too many inputs");
        job->topics[i] = input->topic;
        if (topic_name_check(input->topic, info) != ERR_OK)
            return info->code;
    }
    for (uint32_t i = 0; i < plan->output_count; i++) {
        const struct job_output *output = job_def_output(def, plan->outputs[i]);
        if (output == NULL)
            return err_info_set(info, ERR_INVALID_CONFIG, "the job has too many outputs");
        if (output->topic.data != NULL && topic_name_check(output->topic, info) != ERR_OK)
            return info->code;
    }
    return ERR_OK;
}

enum err job_create(struct jobs_home *home, struct slice definition, struct bytebuf *ret_messages,
                    struct job **ret_job, struct err_info *info)
{
    struct job *job = calloc(1, sizeof(*job));
    enum err err = ERR_OK;

    *ret_job = NULL;
    if (job == NULL)
        return err_info_set(info, ERR_NO_MEMORY, "out of memory for the job");
    list_init(&job->node);
    job->home = home;
    bytebuf_init(&job->state, STATE_MAX);
    bytebuf_init(&job->next, STATE_MAX);
    bytebuf_init(&job->record, STATE_MAX);
    job->arena = arena_create(NULL, "job", JOB_ARENA_MAX);
    if (job->arena == NULL)
        err = err_info_set(info, ERR_NO_MEMORY, "out of memory for the job");
    if (err == ERR_OK)
        err = job_def_parse(definition, job->arena, &job->def, info);
    if (err == ERR_OK)
        err = job_compile(job, ret_messages, info);
    if (err == ERR_OK)
        err = job_check_ends(job, info);
    if (err == ERR_OK) {
        job->definition = arena_copy(job->arena, definition);
        if (job->definition.data == NULL)
            err = err_info_set(info, ERR_NO_MEMORY, "out of memory for the job");
    }
    if (err != ERR_OK) {
        job_destroy(job);
        return err;
    }
    *ret_job = job;
    return ERR_OK;
}

void job_destroy(struct job *job)
{
    if (job == NULL)
        return;
    ASSERT(job->saved == NULL);
    list_remove(&job->node);
    runner_destroy(job->runner);
    bytebuf_deinit(&job->state);
    bytebuf_deinit(&job->next);
    bytebuf_deinit(&job->record);
    arena_destroy(job->arena);
    free(job);
}

static void save_finish(struct job *job, enum err err, const struct err_info *info)
{
    source_done_fn saved = job->saved;

    ASSERT(saved != NULL);
    job->saved = NULL;
    saved(job->saved_ctx, err, info);
}

static void on_record(struct catalogue_record_op *op)
{
    struct job *job = CONTAINER_OF(op, struct job, op);

    if (op->err == ERR_OK && job->next.len > 0) {
        struct bytebuf old = job->state;
        job->state = job->next;
        job->next = old;
    }
    bytebuf_clear(&job->next);
    save_finish(job, op->err, &op->info);
}

/* Writes wanted and the state; next has a new one, or is empty. */
static void record_put(struct job *job, source_done_fn saved, void *ctx)
{
    struct slice state = bytebuf_slice(job->next.len > 0 ? &job->next : &job->state);
    struct err_info info;

    ASSERT(job->saved == NULL && saved != NULL);
    job->saved = saved;
    job->saved_ctx = ctx;
    bytebuf_clear(&job->record);
    bytebuf_printf(&job->record,
                   "{\"wanted\":\"%s\",\"state\":", job->wanted ? "running" : "stopped");
    bytebuf_append_slice(&job->record, state.len > 0 ? state : SLICE_LIT("null"));
    bytebuf_append_byte(&job->record, '}');
    if (job->record.failed || job->next.failed || fault_check(&fault_record) != ERR_OK) {
        bytebuf_clear(&job->next);
        (void)err_info_set(&info, ERR_NO_MEMORY, "out of memory for the job's state");
        save_finish(job, ERR_NO_MEMORY, &info);
        return;
    }
    job->op = (struct catalogue_record_op){.kind = CATALOGUE_JOB_STATE,
                                           .key = job->def.name,
                                           .value = bytebuf_slice(&job->record),
                                           .done = on_record};
    catalogue_record_put(job->home->jobs->catalogue, job->home->shard, &job->op);
}

void job_save(struct job *job, source_done_fn saved, void *ctx)
{
    ASSERT(job->next.len == 0);
    record_put(job, saved, ctx);
}

static void runner_save(void *ctx, struct slice state, source_done_fn done, void *done_ctx)
{
    struct job *job = ctx;

    ASSERT(state.len > 0);
    bytebuf_clear(&job->next);
    bytebuf_append_slice(&job->next, state);
    record_put(job, done, done_ctx);
}

static void runner_stopped(void *ctx)
{
    jobs_job_stopped(ctx);
}

static struct sink *sink_for(struct job *job, uint32_t i)
{
    const struct jobs *jobs = job->home->jobs;
    const struct job_output *output = job_def_output(&job->def, job->plan->outputs[i]);

    ASSERT(output != NULL);
    if (output->topic.data != NULL)
        return topic_sink_create(jobs->broker, job->home->shard, output->topic);
    return blob_sink_create(jobs->blobs, job->home->shard, output);
}

static enum err job_make_runner(struct job *job, struct err_info *info)
{
    struct shard *shard = job->home->shard;
    struct runner_config config = {.shard = shard,
                                   .plan = job->plan,
                                   .save = runner_save,
                                   .stopped = runner_stopped,
                                   .ctx = job};
    uint32_t made = 0;

    config.sinks = ARENA_ARRAY(job->arena, struct sink *, job->plan->output_count + 1);
    config.source = topic_source_create(job->home->jobs->broker, shard, job->topics,
                                        job->plan->input_count, job->def.start);
    for (; config.sinks != NULL && made < job->plan->output_count; made++) {
        config.sinks[made] = sink_for(job, made);
        if (config.sinks[made] == NULL)
            break;
    }
    if (config.source != NULL && made == job->plan->output_count)
        job->runner = runner_create(&config);
    if (job->runner != NULL)
        return ERR_OK;
    if (config.source != NULL)
        config.source->ops->destroy(config.source);
    while (made-- > 0)
        config.sinks[made]->ops->destroy(config.sinks[made]);
    return err_info_set(info, ERR_NO_MEMORY, "out of memory for the job's inputs and outputs");
}

bool job_is_running(const struct job *job)
{
    struct runner_status status;

    if (job->runner == NULL)
        return false;
    runner_status_read(job->runner, &status);
    return status.state != RUNNER_STOPPED && status.state != RUNNER_FAILED;
}

bool job_is_at_rest(const struct job *job)
{
    struct runner_status status = {.state = RUNNER_STOPPED};

    if (job->runner != NULL)
        runner_status_read(job->runner, &status);
    return status.state == RUNNER_STOPPED;
}

enum err job_run(struct job *job, struct err_info *info)
{
    ASSERT(!job_is_running(job));
    if (job->runner == NULL) {
        enum err err = job_make_runner(job, info);
        if (err != ERR_OK)
            return err;
    }
    enum err err = runner_start(job->runner, bytebuf_slice(&job->state));
    if (err != ERR_OK)
        return err_info_set(info, err, "out of memory for the job's state");
    job->home->running++;
    return ERR_OK;
}

static void write_number(struct bytebuf *out, const char *name, uint64_t number)
{
    bytebuf_printf(out, ",\"%s\":%llu", name, (unsigned long long)number);
}

static void write_text_or_null(struct bytebuf *out, const char *name, const char *text)
{
    bytebuf_printf(out, ",\"%s\":", name);
    if (text[0] != '\0')
        json_write_text(out, slice_cstr(text));
    else
        bytebuf_append_cstr(out, "null");
}

void job_write_status(const struct job *job, struct bytebuf *out)
{
    struct runner_status status = {.state = RUNNER_STOPPED, .lag = -1};
    struct slice state = bytebuf_slice(&job->state);

    if (job->runner != NULL)
        runner_status_read(job->runner, &status);
    else
        runner_counts_read(state, &status.counts);
    bytebuf_append_cstr(out, "{\"name\":");
    json_write_text(out, job->def.name);
    bytebuf_printf(out, ",\"state\":\"%s\"", runner_state_name(status.state));
    write_number(out, "events", status.counts.events);
    write_number(out, "malformed", status.counts.malformed);
    write_number(out, "dropped", status.counts.dropped);
    write_number(out, "rows", status.counts.rows);
    write_number(out, "epochs", status.counts.epochs);
    write_number(out, "restarts_since_start", status.restarts);
    bytebuf_append_cstr(out, ",\"lag\":");
    if (status.lag >= 0)
        json_write_int(out, status.lag);
    else
        bytebuf_append_cstr(out, "null");
    write_text_or_null(out, "malformed_text", status.malformed_text);
    write_text_or_null(out, "error", status.error);
    bytebuf_append_cstr(out,
                        ",\"guarantee\":\"at least once: no event is lost; after a crash, rows of "
                        "the last unfinished epoch may come twice\",\"saved\":");
    bytebuf_append_slice(out, state.len > 0 ? state : SLICE_LIT("null"));
    bytebuf_append_byte(out, '}');
}
