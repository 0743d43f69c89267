/*
 * The admin front: paths, answers, jobs.
 *
 * Calls answer JSON. Errors carry a name of the error table and one sentence. The job manager is known only as the table
 * of calls that the server wires in.
 */
#include "front/admin/admin_int.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- answers ---- */

void admin_send_text(struct admin_call *call, uint16_t status, const char *type, struct slice text)
{
    struct bytebuf *out = web_answer(call->req, status, NULL);
    ASSERT(type);
    http_response_field(out, "Content-Type", slice_cstr(type));
    http_response_field(out, "Cache-Control", SLICE_LIT("no-store"));
    web_send(call->req, text);
}

void admin_send_json(struct admin_call *call, uint16_t status, json_t *document)
{
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(document);
    if (text)
        admin_send_text(call, status, "application/json", slice_cstr(text));
    else
        admin_send_text(
            call, 503, "application/json",
            SLICE_LIT("{\"error\":{\"code\":\"no_memory\",\"message\":\"Memory is exhausted.\"}}"));
    free(text);
}

void admin_send_empty(struct admin_call *call, uint16_t status)
{
    web_answer(call->req, status, NULL);
    if (status == 204)
        web_send_empty(call->req, UINT64_MAX);
    else
        web_send(call->req, SLICE_NULL);
}

void admin_fail_with(struct admin_call *call, enum err err, const char *message,
                     json_t *diagnostics)
{
    const struct err_row *row = err_row(err);
    ASSERT(err != ERR_OK);
    /* Names and texts of peers may not be text: they are shown as far as they are. */
    json_t *text = json_string(message && message[0] ? message : row->text);
    if (!text)
        text = json_string(row->text);
    json_t *body = json_pack("{s:s, s:o}", "code", row->name, "message", text);
    if (diagnostics)
        json_object_set_new(body, "diagnostics", diagnostics);
    admin_send_json(call, row->http_status, json_pack("{s:o}", "error", body));
}

void admin_fail(struct admin_call *call, enum err err, const char *message)
{
    admin_fail_with(call, err, message, NULL);
}

/* Nesting is bounded before the recursive parser sees the text. */
static bool depth_bounded(struct slice text)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > ADMIN_JSON_DEPTH)
                return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

json_t *admin_read_object(struct admin_call *call, struct slice body)
{
    json_error_t error;
    char text[200];
    if (!depth_bounded(body)) {
        admin_fail(call, ERR_INVALID_REQUEST, "the body is nested too deeply");
        return NULL;
    }
    json_t *document =
        json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, &error);
    if (!document) {
        snprintf(text, sizeof(text), "the body is not JSON: line %d, column %d: %.120s", error.line,
                 error.column, error.text);
        admin_fail(call, ERR_INVALID_REQUEST, text);
        return NULL;
    }
    if (!json_is_object(document)) {
        json_decref(document);
        admin_fail(call, ERR_INVALID_REQUEST, "the body is not a JSON object");
        return NULL;
    }
    return document;
}

/* ---- health ---- */

static void send_state(struct admin_call *call, const char *ready)
{
    const char *state = ready;
    if (shards_stopping(call->admin->shards))
        state = "stopping";
    else if (!broker_ready(call->admin->broker))
        state = "starting";
    admin_send_json(call, state == ready ? 200 : 503, json_pack("{s:s}", "status", state));
}

static void handle_live(struct admin_call *call)
{
    admin_send_json(call, 200, json_pack("{s:s}", "status", "ok"));
}

static void handle_ready(struct admin_call *call)
{
    send_state(call, "ready");
}

static void handle_health(struct admin_call *call)
{
    send_state(call, "healthy");
}

/* ---- jobs ---- */

static uint16_t job_status(enum admin_job_verb verb)
{
    switch (verb) {
    case ADMIN_JOB_CREATE:
        return 201;
    case ADMIN_JOB_START:
    case ADMIN_JOB_STOP:
        return 202;
    case ADMIN_JOB_DELETE:
        return 204;
    case ADMIN_JOB_LIST:
    case ADMIN_JOB_SHOW:
        return 200;
    }
    UNREACHABLE();
}

void front_admin_job_done(struct admin_call *call, enum err err, const struct err_info *info,
                          struct slice json)
{
    ASSERT(call && call->req);
    if (err) {
        json_t *diagnostics = NULL;
        if (json.len)
            diagnostics = json_loadb((const char *)json.data, json.len, 0, NULL);
        admin_fail_with(call, err, info ? info->text : NULL, diagnostics);
        return;
    }
    uint16_t status = job_status(call->verb);
    if (status == 204) {
        admin_send_empty(call, status);
        return;
    }
    if (call->verb == ADMIN_JOB_LIST && json.len > 0 && json.data[0] == '[') {
        char *wrapped = arena_printf(call->arena, "{\"jobs\":%.*s}", SLICE_FMT(json));
        if (!wrapped) {
            admin_fail(call, ERR_NO_MEMORY, NULL);
            return;
        }
        json = slice_cstr(wrapped);
    }
    admin_send_text(call, status, "application/json", json.len ? json : SLICE_LIT("{}"));
}

static void job_call(struct admin_call *call, enum admin_job_verb verb, struct slice body)
{
    const struct admin_jobs *jobs = &call->admin->config.jobs;
    call->verb = verb;
    if (!jobs->call)
        admin_fail(call, ERR_NOT_IMPLEMENTED, "this server runs no jobs");
    else
        jobs->call(jobs->arg, call->shard, verb, call->name, body, call);
}

static void job_body(struct web_request *req, enum err err, struct slice body, void *arg)
{
    struct admin_call *call = arg;
    if (err) {
        admin_fail(call, err == ERR_LIMIT ? ERR_MESSAGE_TOO_LARGE : err, NULL);
        return;
    }
    json_t *document = admin_read_object(call, body);
    if (!document)
        return;
    json_decref(document);
    job_call(call, ADMIN_JOB_CREATE, body);
}

static void handle_jobs_list(struct admin_call *call)
{
    job_call(call, ADMIN_JOB_LIST, SLICE_NULL);
}

static void handle_jobs_create(struct admin_call *call)
{
    web_body_collect(call->req, ADMIN_BODY_MAX, job_body, call);
}

static void handle_job_show(struct admin_call *call)
{
    job_call(call, ADMIN_JOB_SHOW, SLICE_NULL);
}

static void handle_job_start(struct admin_call *call)
{
    job_call(call, ADMIN_JOB_START, SLICE_NULL);
}

static void handle_job_stop(struct admin_call *call)
{
    job_call(call, ADMIN_JOB_STOP, SLICE_NULL);
}

static void handle_job_delete(struct admin_call *call)
{
    job_call(call, ADMIN_JOB_DELETE, SLICE_NULL);
}

/* ---- routes ---- */

/* '*' stands for one segment, which becomes the call's name. */
struct route {
    enum http_method method;
    const char *path;
    void (*handle)(struct admin_call *call);
};

static const struct route routes[] = {
    {HTTP_METHOD_GET, "/livez", handle_live},
    {HTTP_METHOD_GET, "/readyz", handle_ready},
    {HTTP_METHOD_GET, "/health", handle_health},
    {HTTP_METHOD_GET, "/metrics", admin_metrics},
    {HTTP_METHOD_GET, "/api/v1/cluster", admin_cluster},
    {HTTP_METHOD_GET, "/api/v1/topics", admin_topics_list},
    {HTTP_METHOD_POST, "/api/v1/topics", admin_topics_create},
    {HTTP_METHOD_GET, "/api/v1/topics/*", admin_topics_show},
    {HTTP_METHOD_DELETE, "/api/v1/topics/*", admin_topics_delete},
    {HTTP_METHOD_GET, "/api/v1/jobs", handle_jobs_list},
    {HTTP_METHOD_POST, "/api/v1/jobs", handle_jobs_create},
    {HTTP_METHOD_GET, "/api/v1/jobs/*", handle_job_show},
    {HTTP_METHOD_DELETE, "/api/v1/jobs/*", handle_job_delete},
    {HTTP_METHOD_POST, "/api/v1/jobs/*/start", handle_job_start},
    {HTTP_METHOD_POST, "/api/v1/jobs/*/stop", handle_job_stop},
};

/* Whether path fits the pattern; the segment under '*' is left raw in *ret_name. */
static bool route_fits(struct slice path, const char *pattern, struct slice *ret_name)
{
    struct slice p = slice_cstr(pattern);
    size_t star = slice_find_byte(p, '*', 0);
    *ret_name = SLICE_NULL;
    if (star == SIZE_MAX)
        return slice_equal(path, p);
    if (!slice_starts_with(path, slice_sub(p, 0, star)))
        return false;
    size_t slash = slice_find_byte(path, '/', star);
    size_t stop = slash == SIZE_MAX ? path.len : slash;
    *ret_name = slice_sub(path, star, stop - star);
    return ret_name->len > 0 &&
           slice_equal(slice_sub(path, stop, path.len), slice_sub(p, star + 1, p.len));
}

static bool decode_name(struct admin_call *call, struct slice raw)
{
    uint8_t *out = arena_alloc(call->arena, raw.len + 1);
    size_t len = 0;
    if (!out || !http_percent_decode(raw, false, out, &len))
        return false;
    call->name = slice_make(out, len);
    return true;
}

static void route(struct admin_call *call)
{
    enum http_method method =
        call->head->method == HTTP_METHOD_HEAD ? HTTP_METHOD_GET : call->head->method;
    bool known = false;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        struct slice raw;
        if (!route_fits(call->head->path, routes[i].path, &raw))
            continue;
        known = true;
        if (routes[i].method != method)
            continue;
        if (raw.data && !decode_name(call, raw))
            admin_fail(call, ERR_INVALID_REQUEST, "the path is not well encoded");
        else
            routes[i].handle(call);
        return;
    }
    if (known)
        admin_send_text(
            call, 405, "application/json",
            SLICE_LIT("{\"error\":{\"code\":\"invalid_request\",\"message\":\"This method is not "
                      "offered here.\"}}"));
    else
        admin_fail(call, ERR_NOT_FOUND, "there is nothing at this path");
}

static void on_request(struct web_request *req, void *arg)
{
    struct admin_call *call = ARENA_NEW(web_arena(req), struct admin_call);
    if (!call) {
        web_answer(req, 503, NULL);
        web_send(req, SLICE_NULL);
        return;
    }
    call->admin = arg;
    call->req = req;
    call->head = web_head(req);
    call->arena = web_arena(req);
    call->shard = web_shard(req);
    call->bs = broker_shard_of(call->admin->broker, call->shard);
    if (admin_guard(call))
        route(call);
}

/* ---- life ---- */

enum err front_admin_open(struct shards *shards, const struct front_admin_config *config,
                          struct broker *broker, struct front_admin **ret_admin,
                          struct err_info *info)
{
    ASSERT(shards && config && config->host && broker && ret_admin);
    struct front_admin *admin = calloc(1, sizeof(*admin));
    if (!admin)
        return err_info_set(info, ERR_NO_MEMORY, "no memory for the admin service");
    admin->config = *config;
    admin->shards = shards;
    admin->broker = broker;
    admin->start_us = reactor_now_us(shards_get(shards, 0)->reactor);
    struct web_config web = {
        .host = config->host,
        .port = config->port,
        .server_name = "Weir-Admin/1.0",
        .connections_max = config->connections_max ? config->connections_max : 256,
        .on_request = on_request,
        .arg = admin,
    };
    enum err err = web_server_open(shards, &web, &admin->web, info);
    if (err) {
        free(admin);
        return err;
    }
    *ret_admin = admin;
    return ERR_OK;
}

const char *front_admin_address(const struct front_admin *admin)
{
    return web_server_address(admin->web);
}

void front_admin_listener_add(struct front_admin *admin, const char *name, const char *address)
{
    ASSERT(admin && name && address);
    if (admin->listener_count == ADMIN_LISTENERS_MAX)
        return;
    struct admin_listener *listener = &admin->listeners[admin->listener_count++];
    snprintf(listener->name, sizeof(listener->name), "%s", name);
    snprintf(listener->address, sizeof(listener->address), "%s", address);
}

void front_admin_close(struct front_admin *admin)
{
    if (!admin)
        return;
    web_server_close(admin->web);
    free(admin);
}
