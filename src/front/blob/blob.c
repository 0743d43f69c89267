/*
 * The blob front: accounts, and the way from a request to its handler.
 *
 *     head --> account, container, blob --> signature --> table of operations --> handler --> one
 * answer
 *
 * The signature is checked before anything is looked up, so that names do not leak. What the table
 * does not have answers 501.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "front/blob/blob_int.h"
#include "wire/base64.h"

static const char development_account[] = "devstoreaccount1";
static const char development_key[] =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

enum level { LEVEL_ACCOUNT, LEVEL_CONTAINER, LEVEL_BLOB, LEVEL_ANY };

struct operation {
    enum level level;
    enum http_method method;
    const char *restype;
    const char *comp;
    void (*handle)(struct blob_call *call);
};

static const struct operation operations[] = {
    {LEVEL_ANY, HTTP_METHOD_GET, "account", "properties", handle_account_info},
    {LEVEL_ANY, HTTP_METHOD_HEAD, "account", "properties", handle_account_info},
    {LEVEL_ACCOUNT, HTTP_METHOD_GET, "", "list", handle_container_list},
    {LEVEL_CONTAINER, HTTP_METHOD_PUT, "container", "", handle_container_create},
    {LEVEL_CONTAINER, HTTP_METHOD_DELETE, "container", "", handle_container_delete},
    {LEVEL_CONTAINER, HTTP_METHOD_GET, "container", "", handle_container_get},
    {LEVEL_CONTAINER, HTTP_METHOD_HEAD, "container", "", handle_container_get},
    {LEVEL_CONTAINER, HTTP_METHOD_GET, "container", "metadata", handle_container_get},
    {LEVEL_CONTAINER, HTTP_METHOD_HEAD, "container", "metadata", handle_container_get},
    {LEVEL_CONTAINER, HTTP_METHOD_PUT, "container", "metadata", handle_container_set_metadata},
    {LEVEL_CONTAINER, HTTP_METHOD_GET, "container", "list", handle_list},
    {LEVEL_BLOB, HTTP_METHOD_PUT, "", "", handle_put},
    {LEVEL_BLOB, HTTP_METHOD_GET, "", "", handle_get},
    {LEVEL_BLOB, HTTP_METHOD_HEAD, "", "", handle_head},
    {LEVEL_BLOB, HTTP_METHOD_DELETE, "", "", handle_delete},
    {LEVEL_BLOB, HTTP_METHOD_GET, "", "metadata", handle_get_metadata},
    {LEVEL_BLOB, HTTP_METHOD_HEAD, "", "metadata", handle_get_metadata},
    {LEVEL_BLOB, HTTP_METHOD_PUT, "", "metadata", handle_set_metadata},
    {LEVEL_BLOB, HTTP_METHOD_PUT, "", "properties", handle_set_properties},
    {LEVEL_BLOB, HTTP_METHOD_PUT, "", "block", handle_put_block},
    {LEVEL_BLOB, HTTP_METHOD_PUT, "", "blocklist", handle_put_block_list},
    {LEVEL_BLOB, HTTP_METHOD_GET, "", "blocklist", handle_get_block_list},
    {LEVEL_BLOB, HTTP_METHOD_PUT, "", "appendblock", handle_append_block},
};

struct slice call_header(const struct blob_call *call, const char *name)
{
    struct slice value = http_head_field(call->head, name);
    return value.len > 0 ? value : SLICE_NULL;
}

struct slice call_query(struct blob_call *call, const char *name, bool plus, bool *ret_ok)
{
    struct slice raw = http_query_get(call->head->query, name);
    size_t len = 0;
    if (!raw.data)
        return SLICE_NULL;
    uint8_t *out = arena_alloc(call->arena, raw.len + 1);
    if (!out || !http_percent_decode(raw, plus, out, &len)) {
        *ret_ok = false;
        return SLICE_NULL;
    }
    return slice_make(out, len);
}

void call_op(struct blob_call *call, enum blobstore_verb verb)
{
    blobstore_op_init(&call->op, verb, call->arena);
    call->op.container = call->container;
    call->op.blob = call->blob;
    call->op.arg = call;
}

void call_submit(struct blob_call *call, void (*done)(struct blobstore_op *op))
{
    ASSERT(call->op.arg == call);
    call->op.done = done;
    blobstore_submit(call->front->store, call->shard, &call->op);
}

static void make_request_id(struct blob_call *call)
{
    uint8_t b[16];
    random_fill(&call->shard->random, b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    int len = snprintf(call->request_id, sizeof(call->request_id),
                       "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
                       b[13], b[14], b[15]);
    ASSERT(len == 36);
}

/* Any YYYY-MM-DD is a version; newer ones than we know behave by the newest rules we know. */
static bool version_valid(struct slice version)
{
    if (version.len != 10)
        return version.len == 0;
    for (size_t i = 0; i < 10; i++) {
        uint8_t c = version.data[i];
        if (i == 4 || i == 7 ? c != '-' : c < '0' || c > '9')
            return false;
    }
    return true;
}

static void dispatch(struct blob_call *call)
{
    ASSERT(call->account && (call->container.len > 0 || call->blob.len == 0));
    enum level level = call->blob.len        ? LEVEL_BLOB
                       : call->container.len ? LEVEL_CONTAINER
                                             : LEVEL_ACCOUNT;
    /* How clients of the Data Lake find out what kind of account this is: an ordinary one. */
    if (slice_equal(http_query_get(call->head->query, "action"), SLICE_LIT("getAccessControl"))) {
        call_fail(call, BLOB_NO_HIERARCHY);
        return;
    }
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        const struct operation *op = &operations[i];
        bool here = op->level == level || op->level == LEVEL_ANY;
        if (here && op->method == call->head->method &&
            slice_equal_nocase(call->comp, slice_cstr(op->comp)) &&
            (op->level == LEVEL_BLOB ||
             slice_equal_nocase(call->restype, slice_cstr(op->restype)))) {
            op->handle(call);
            return;
        }
    }
    call_fail(call, call->head->method == HTTP_METHOD_OTHER ? BLOB_UNSUPPORTED_VERB
                                                            : BLOB_NOT_IMPLEMENTED);
}

static void on_request(struct web_request *req, void *arg)
{
    struct blob_call *call = ARENA_NEW(web_arena(req), struct blob_call);
    bool ok = true;
    if (!call) {
        web_answer(req, 503, NULL);
        web_send(req, SLICE_NULL);
        return;
    }
    call->front = arg;
    call->req = req;
    call->head = web_head(req);
    call->arena = web_arena(req);
    call->shard = web_shard(req);
    make_request_id(call);
    call->restype = call_query(call, "restype", false, &ok);
    call->comp = call_query(call, "comp", false, &ok);
    struct slice version = call_header(call, "x-ms-version");
    if (!version_valid(version)) {
        call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", SLICE_LIT("x-ms-version"));
        return;
    }
    call->version = version;
    if (!ok) {
        call_fail(call, BLOB_INVALID_URI);
        return;
    }
    if (call->head->method == HTTP_METHOD_OPTIONS) {
        call_fail(call, BLOB_CORS_FAILURE); /* no rule exists, so none matches */
        return;
    }
    if (call_target(call) && call_authorize(call) && call_unsupported(call))
        dispatch(call);
}

static bool key_read(const char *text, uint8_t out[BLOB_KEY_MAX], size_t *ret_len)
{
    struct slice key = slice_cstr(text);
    return key.len <= BLOB_KEY_MAX && base64_decode(key, out, ret_len) && *ret_len > 0;
}

static enum err account_add(struct front_blob *front, const struct front_blob_account *account,
                            struct err_info *info)
{
    struct blob_account *slot = &front->accounts[front->account_count];
    size_t len = strlen(account->name);
    if (len < 3 || len > BLOB_ACCOUNT_MAX)
        return err_info_set(info, ERR_INVALID_ARGUMENT,
                            "the account name %s is not 3 to 24 characters long", account->name);
    memcpy(slot->name, account->name, len + 1);
    if (!account->key1 || !key_read(account->key1, slot->keys[0], &slot->key_len[0]) ||
        (account->key2 && !key_read(account->key2, slot->keys[1], &slot->key_len[1])))
        return err_info_set(info, ERR_INVALID_ARGUMENT,
                            "a key of account %s is not Base64 of at most 96 bytes", account->name);
    front->account_count++;
    return ERR_OK;
}

/* The well-known key opens everything, so it is for addresses that only this machine reaches. */
static bool host_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static enum err accounts_load(struct front_blob *front, const struct front_blob_config *config,
                              struct err_info *info)
{
    ASSERT(config->account_count <= FRONT_BLOB_ACCOUNTS_MAX);
    for (uint32_t i = 0; i < config->account_count; i++) {
        enum err err = account_add(front, &config->accounts[i], info);
        if (err)
            return err;
    }
    if (front->account_count > 0)
        return ERR_OK;
    if (!host_loopback(config->host))
        return err_info_set(info, ERR_INVALID_ARGUMENT,
                            "the blob service on %s needs an account of its own: the development "
                            "key is for loopback",
                            config->host);
    return account_add(
        front, &(struct front_blob_account){development_account, development_key, NULL}, info);
}

enum err front_blob_open(struct shards *shards, const struct front_blob_config *config,
                         struct blobstore *store, struct front_blob **ret_front,
                         struct err_info *info)
{
    ASSERT(shards && config && config->host && store && ret_front);
    struct front_blob *front = calloc(1, sizeof(*front));
    if (!front)
        return err_info_set(info, ERR_NO_MEMORY, "no memory for the blob service");
    front->store = store;
    front->any_date = config->any_date;
    struct web_config web = {
        .host = config->host,
        .port = config->port,
        .server_name = "Weir-Blob/1.0",
        .connections_max = config->connections_max ? config->connections_max : 4096,
        .arena_limit = 32 * 1024 * 1024,
        .on_request = on_request,
        .on_refuse = blob_refuse,
        .arg = front,
    };
    enum err err = accounts_load(front, config, info);
    if (!err)
        err = web_server_open(shards, &web, &front->web, info);
    if (err) {
        free(front);
        return err;
    }
    *ret_front = front;
    return ERR_OK;
}

const char *front_blob_address(const struct front_blob *front)
{
    return web_server_address(front->web);
}

void front_blob_metrics(void *arg, struct bytebuf *out)
{
    struct front_blob *front = arg;
    struct web_stats web;
    struct blobstore_stats store;
    ASSERT(front && out);
    web_server_stats(front->web, &web);
    blobstore_stats_read(front->store, &store);
    bytebuf_append_cstr(out, "# TYPE weir_blob_connections gauge\n");
    bytebuf_printf(out, "weir_blob_connections %llu\n", (unsigned long long)web.connections);
    bytebuf_append_cstr(out, "# TYPE weir_blob_requests_total counter\n");
    for (int i = 2; i < 6; i++)
        bytebuf_printf(
            out, "weir_blob_requests_total{status=\"%dxx\"} %llu\n", i,
            (unsigned long long)atomic_load_explicit(&front->answers[i], memory_order_relaxed));
    bytebuf_append_cstr(out, "# TYPE weir_blob_bad_heads_total counter\n");
    bytebuf_printf(out, "weir_blob_bad_heads_total %llu\n", (unsigned long long)web.refused);
    bytebuf_append_cstr(out, "# TYPE weir_blob_connections_refused_total counter\n");
    bytebuf_printf(out, "weir_blob_connections_refused_total %llu\n",
                   (unsigned long long)web.turned_away);
    bytebuf_append_cstr(out, "# TYPE weir_blob_connections_timed_out_total counter\n");
    bytebuf_printf(out, "weir_blob_connections_timed_out_total %llu\n",
                   (unsigned long long)web.timed_out);
    bytebuf_append_cstr(out, "# TYPE weir_blob_upload_bytes_total counter\n");
    bytebuf_printf(out, "weir_blob_upload_bytes_total %llu\n",
                   (unsigned long long)store.upload_bytes);
    bytebuf_append_cstr(out, "# TYPE weir_blob_read_bytes_total counter\n");
    bytebuf_printf(out, "weir_blob_read_bytes_total %llu\n", (unsigned long long)store.read_bytes);
    bytebuf_append_cstr(out, "# TYPE weir_blob_uploads_open gauge\n");
    bytebuf_printf(out, "weir_blob_uploads_open %llu\n", (unsigned long long)store.uploads_open);
    bytebuf_append_cstr(out, "# TYPE weir_blob_writable gauge\n");
    bytebuf_printf(out, "weir_blob_writable %d\n", store.writable);
}

void front_blob_close(struct front_blob *front)
{
    if (!front)
        return;
    web_server_close(front->web);
    free(front);
}
