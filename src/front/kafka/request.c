/*
 * Role: one request from its frame to its answer: header, routing by key and version, the answer's
 * header and length.
 *
 *     request:  key int16 | version int16 | correlation int32 | client id (int16 length, never
 * compact) | [tags] | body answer:   length int32 | correlation int32 | [tags] | body
 *
 * Invariants: (1) the tagged section of a request's header stands there exactly in flexible
 * versions; that of an answer likewise, but never in ApiVersions; (2) a request answers exactly
 * once; (3) what a handler points to lives in the request's arena or frame, and both stay until the
 * answer is written.
 *
 * Ownership: the shard of the connection. Requests are pooled with their arenas, so that a steady
 * load allocates nothing. Failure modes: a short header, a key or version not served (the
 * connection closes), an answer that does not fit its limits (likewise).
 */
#include <stdlib.h>

#include "base/diag.h"
#include "front/kafka/kafka_int.h"

struct kafka_request *kafka_request_create(struct kafka_shard *ks)
{
    struct list_node *node = list_pop_front(&ks->pool);
    struct kafka_request *req;
    if (node) {
        ASSERT(ks->pool_count > 0);
        ks->pool_count--;
        req = CONTAINER_OF(node, struct kafka_request, node);
    } else {
        req = calloc(1, sizeof(*req));
        if (!req)
            return NULL;
        req->arena = arena_create(NULL, "kafka_request", KAFKA_REQUEST_ARENA);
        if (!req->arena) {
            free(req);
            return NULL;
        }
        bytebuf_init(&req->out, KAFKA_RESPONSE_MAX);
    }
    struct arena *arena = req->arena;
    struct bytebuf out = req->out;
    memset(req, 0, sizeof(*req));
    req->arena = arena;
    req->out = out;
    req->ks = ks;
    list_init(&req->node);
    return req;
}

void kafka_request_destroy(struct kafka_request *req)
{
    struct kafka_shard *ks = req->ks;
    if (req->cleanup)
        req->cleanup(req);
    ASSERT(ks->inflight_bytes >= req->frame_size);
    ks->inflight_bytes -= req->frame_size;
    kafka_shard_wake(ks);
    iobuf_unref(req->pin.buf);
    req->pin.buf = NULL;
    if (ks->pool_count >= KAFKA_POOL_MAX || req->out.cap > KAFKA_COPY_MAX) {
        bytebuf_deinit(&req->out);
        arena_destroy(req->arena);
        free(req);
        return;
    }
    arena_reset(req->arena);
    bytebuf_clear(&req->out);
    list_init(&req->node);
    list_push_front(&ks->pool, &req->node);
    ks->pool_count++;
}

void kafka_request_pool_drain(struct kafka_shard *ks)
{
    struct list_node *node;
    while ((node = list_pop_front(&ks->pool))) {
        struct kafka_request *req = CONTAINER_OF(node, struct kafka_request, node);
        bytebuf_deinit(&req->out);
        arena_destroy(req->arena);
        free(req);
    }
    ks->pool_count = 0;
}

static const struct kafka_api *api_find(int16_t key)
{
    for (size_t i = 0; i < KAFKA_API_COUNT; i++)
        if (kafka_apis[i].key == key)
            return &kafka_apis[i];
    return NULL;
}

/* ApiVersions of an unknown version is read no further than the correlation id. */
bool kafka_request_header(struct kafka_request *req)
{
    struct wire_reader *in = &req->body;
    req->key = wire_reader_i16(in);
    req->version = wire_reader_i16(in);
    req->correlation = wire_reader_i32(in);
    const struct kafka_api *api = api_find(req->key);
    if (in->failed || !api)
        return false;
    if (req->version < api->version_min || req->version > api->version_max)
        return req->key == KAFKA_API_VERSIONS;
    req->client_id = wire_reader_string(in, true);
    if (req->version >= api->flexible_from)
        wire_reader_tags_skip(in);
    return !in->failed && req->client_id.len <= KAFKA_CLIENT_ID_MAX;
}

bool kafka_request_route(struct kafka_request *req)
{
    static const struct kafka_handler unsupported = {
        KAFKA_API_VERSIONS, 0, 0, KAFKA_OVERLAP, kafka_reply_api_versions_unsupported,
    };
    uint32_t count;
    const struct kafka_handler *handlers = kafka_handlers(&count);
    for (uint32_t i = 0; i < count; i++) {
        const struct kafka_handler *handler = &handlers[i];
        if (handler->key != req->key)
            continue;
        req->handler = handler;
        if (req->version >= handler->version_min && req->version <= handler->version_max)
            return true;
        req->handler = &unsupported;
        return req->key == KAFKA_API_VERSIONS;
    }
    return false;
}

struct wire_writer *kafka_reply_begin(struct kafka_request *req)
{
    ASSERT(req->state == KAFKA_RUNNING);
    bytebuf_clear(&req->out);
    req->writer = wire_writer_make(&req->out, req->arena);
    wire_writer_u32(&req->writer, 0);
    wire_writer_u32(&req->writer, (uint32_t)req->correlation);
    const struct kafka_api *api = api_find(req->key);
    if (req->key != KAFKA_API_VERSIONS && req->version >= api->flexible_from)
        wire_writer_uvarint(&req->writer, 0);
    return &req->writer;
}

/* The handler is through with the request, however it ended. */
static void request_finish(struct kafka_request *req)
{
    ASSERT(req->state == KAFKA_RUNNING);
    req->state = KAFKA_DONE;
    struct kafka_conn *conn = req->conn;
    if (!conn) {
        kafka_request_destroy(req);
        return;
    }
    ASSERT(conn->running > 0);
    conn->running--;
    if (req->handler->class == KAFKA_EXCLUSIVE)
        conn->running_exclusive = false;
    if (req->handler->class == KAFKA_FETCH_CLASS)
        conn->running_fetch = false;
    kafka_conn_progress(conn);
}

void kafka_reply_end(struct kafka_request *req)
{
    size_t len = req->out.len + req->writer.splice_bytes;
    if (!wire_writer_ok(&req->writer) || len - 4 > INT32_MAX) {
        kafka_request_reject(req, "answer_too_large");
        return;
    }
    wire_writer_patch_u32(&req->writer, 0, (uint32_t)(len - 4));
    request_finish(req);
}

void kafka_reply_none(struct kafka_request *req)
{
    req->silent = true;
    request_finish(req);
}

void kafka_request_reject(struct kafka_request *req, const char *why)
{
    diag(DIAG_WARN, "kafka", "event=rejected why=%s peer=%s key=%d version=%d correlation=%d", why,
         req->conn ? req->conn->peer : "gone", req->key, req->version, req->correlation);
    atomic_fetch_add_explicit(&req->ks->request_errors, 1, memory_order_relaxed);
    if (req->conn)
        req->conn->ending = true;
    req->silent = true;
    request_finish(req);
}
