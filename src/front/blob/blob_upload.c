/*
 * Requests that bring content: Put Blob, Put Block, Append Block.
 *
 *     body --window--> buffer --full--> worker (hash, write) ... --end--> sync --> index --> 201
 *
 * Two buffers per upload: one fills from the connection while the other is with the worker. When
 * both are taken the window is shut, and the sender waits; so memory does not depend on the size of
 * the blob. Small bodies skip this: they are collected and kept in the index.
 *
 * Invariants:
 * (1) window + fill <= cap, so on_data always has room.
 * (2) At most one write or finish is with the worker (writing).
 * (3) Whatever happens the upload is given to an op or discarded, and the request gets one answer.
 */
#include <stdlib.h>

#include "base/numtext.h"
#include "front/blob/blob_int.h"
#include "wire/base64.h"

#define MIB UINT64_C(1048576)

static void transfer_fail(struct blob_call *call, enum err err, enum blob_code code)
{
    struct blob_transfer *t = &call->transfer;
    blobstore_upload_discard(t->upload);
    iobuf_unref(t->buf);
    t->upload = NULL;
    t->buf = NULL;
    if (err)
        call_fail_err(call, err);
    else
        call_fail(call, code);
}

/* ---- the answer ---- */

static void upload_done(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    struct bytebuf *out = call_answer(call, 201);
    if (op->verb != BLOBSTORE_STAGE)
        answer_etag(out, op->info.etag);
    if (op->verb == BLOBSTORE_PUT || call->md5_given.len)
        answer_base64(out, "Content-MD5",
                      op->verb == BLOBSTORE_PUT ? op->info.headers.md5 : call->md5_given);
    if (op->verb == BLOBSTORE_PUT || (op->verb != BLOBSTORE_PUT_APPEND && !call->md5_given.len))
        http_response_field(out, "x-ms-content-crc64", call->crc64_given);
    if (op->verb == BLOBSTORE_APPEND_BLOCK) {
        http_response_field_u64(out, "x-ms-blob-append-offset", op->append_offset);
        http_response_field_u64(out, "x-ms-blob-committed-block-count", op->info.block_count);
    }
    http_response_field(out, "x-ms-request-server-encrypted", SLICE_LIT("true"));
    web_send(call->req, SLICE_NULL);
}

/* Compares what the client announced with what came. */
static bool checksums_hold(struct blob_call *call)
{
    const struct blobstore_upload *upload = call->transfer.upload;
    struct slice md5 = blobstore_upload_md5(upload);
    uint64_t crc = blobstore_upload_crc64(upload);
    uint8_t bytes[8];
    bool put = call->op.verb == BLOBSTORE_PUT;
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(crc >> (8 * i));
    if (call->md5_given.len && !slice_equal(call->md5_given, md5)) {
        transfer_fail(call, ERR_OK, BLOB_MD5_MISMATCH);
        return false;
    }
    if (put && call->op.headers.md5.len && !slice_equal(call->op.headers.md5, md5)) {
        transfer_fail(call, ERR_OK, BLOB_MD5_MISMATCH);
        return false;
    }
    if (call->crc64_given.len && !slice_equal(call->crc64_given, slice_make(bytes, 8))) {
        transfer_fail(call, ERR_OK, BLOB_CRC64_MISMATCH);
        return false;
    }
    char *text = arena_alloc(call->arena, BASE64_LEN(8));
    if (text)
        call->crc64_given =
            slice_make(text, base64_encode(slice_make(bytes, 8), text)); /* as it is answered */
    return true;
}

static void upload_complete(struct blob_call *call)
{
    struct blob_transfer *t = &call->transfer;
    ASSERT(t->upload && !t->writing && !call->op.upload);
    enum err err = blobstore_upload_error(t->upload);
    if (err) {
        transfer_fail(call, err, BLOB_INTERNAL);
        return;
    }
    if (!checksums_hold(call))
        return;
    call->op.upload = t->upload;
    t->upload = NULL;
    call_submit(call, upload_done);
}

/* ---- large bodies ---- */

static void transfer_advance(struct blob_call *call);

static void on_finished(struct blobstore_upload *upload, void *arg)
{
    struct blob_call *call = arg;
    call->transfer.writing = false;
    upload_complete(call);
}

static void on_written(struct blobstore_upload *upload, void *arg)
{
    struct blob_call *call = arg;
    call->transfer.writing = false;
    enum err err = blobstore_upload_error(upload);
    if (err)
        transfer_fail(call, err, BLOB_INTERNAL);
    else
        transfer_advance(call);
}

/* Gives the full buffer to the worker and opens the window for the next one. */
static void transfer_advance(struct blob_call *call)
{
    struct blob_transfer *t = &call->transfer;
    ASSERT(t->fill <= t->cap);
    if (t->writing)
        return;
    if (t->fill == 0 && t->ended) {
        iobuf_unref(t->buf);
        t->buf = NULL;
        t->writing = true;
        blobstore_upload_finish(t->upload, on_finished, call);
        return;
    }
    if (t->fill == 0 || (t->fill < t->cap && !t->ended))
        return;
    struct iobuf_range range = {t->buf, slice_make(iobuf_data(t->buf), t->fill)};
    t->buf = NULL;
    t->fill = 0;
    t->writing = true;
    blobstore_upload_write(t->upload, range, on_written, call);
    if (t->ended)
        return;
    t->buf = iobuf_create(t->cap);
    if (!t->buf)
        transfer_fail(call, ERR_NO_MEMORY, BLOB_SERVER_BUSY);
    else
        web_body_window(call->req, t->cap);
}

static void on_data(struct web_request *req, struct slice bytes, void *arg)
{
    struct blob_call *call = arg;
    struct blob_transfer *t = &call->transfer;
    if (!t->upload)
        return; /* refused already; the rest is drained */
    ASSERT(t->buf && bytes.len <= t->cap - t->fill);
    memcpy(iobuf_data(t->buf) + t->fill, bytes.data, bytes.len);
    t->fill += bytes.len;
    t->received += bytes.len;
    if (t->received > t->limit)
        transfer_fail(call, ERR_OK, BLOB_TOO_LARGE);
    else if (t->fill == t->cap)
        transfer_advance(call);
}

static void on_end(struct web_request *req, enum err err, void *arg)
{
    struct blob_call *call = arg;
    struct blob_transfer *t = &call->transfer;
    if (!t->upload)
        return;
    if (err) {
        transfer_fail(call, err, BLOB_INVALID_INPUT);
        return;
    }
    t->ended = true;
    transfer_advance(call);
}

/* ---- small bodies ---- */

static void on_collected(struct web_request *req, enum err err, struct slice body, void *arg)
{
    struct blob_call *call = arg;
    if (err) {
        transfer_fail(call, err, BLOB_INVALID_INPUT);
        return;
    }
    bool small = blobstore_upload_small(call->transfer.upload, body);
    ASSERT(small);
    upload_complete(call);
}

static void transfer_start(struct blob_call *call, uint64_t limit)
{
    struct blob_transfer *t = &call->transfer;
    const struct http_head *head = call->head;
    ASSERT(!t->upload && !t->buf && limit > 0);
    if (!head->has_length && !head->chunked) {
        call_fail(call, BLOB_LENGTH_REQUIRED);
        return;
    }
    if (head->content_length > limit) {
        char text[NUMTEXT_INT64_MAX];
        call_fail_with(call, BLOB_TOO_LARGE, "MaxLimit",
                       slice_make(text, numtext_write_uint64(text, limit)));
        return;
    }
    t->upload = blobstore_upload_create(call->front->store, call->shard);
    if (!t->upload) {
        call_fail(call, BLOB_SERVER_BUSY);
        return;
    }
    t->limit = limit;
    if (head->has_length && head->content_length <= BLOBSTORE_INLINE_MAX) {
        web_body_collect(call->req, BLOBSTORE_INLINE_MAX, on_collected, call);
        return;
    }
    t->cap = BLOB_BUFFER;
    if (head->has_length && head->content_length < BLOB_BUFFER)
        t->cap = (size_t)head->content_length;
    t->buf = iobuf_create(t->cap);
    if (!t->buf) {
        transfer_fail(call, ERR_NO_MEMORY, BLOB_SERVER_BUSY);
        return;
    }
    web_body_start(call->req, on_data, on_end, call);
    if (t->upload && t->buf)
        web_body_window(call->req, t->cap);
}

/* ---- the three requests ---- */

static void put_append(struct blob_call *call)
{
    if (call->head->content_length > 0) {
        call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", SLICE_LIT("Content-Length"));
        return;
    }
    call->op.verb = BLOBSTORE_PUT_APPEND;
    call_submit(call, upload_done);
}

void handle_put(struct blob_call *call)
{
    struct slice type = call_header(call, "x-ms-blob-type");
    call_op(call, BLOBSTORE_PUT);
    if (type.len == 0) {
        call_fail_with(call, BLOB_MISSING_HEADER, "HeaderName", SLICE_LIT("x-ms-blob-type"));
        return;
    }
    bool append = slice_equal(type, SLICE_LIT("AppendBlob"));
    if (!append && !slice_equal(type, SLICE_LIT("BlockBlob"))) {
        bool page = slice_equal(type, SLICE_LIT("PageBlob"));
        call_fail_with(call, page ? BLOB_NOT_IMPLEMENTED : BLOB_INVALID_HEADER_VALUE, "HeaderName",
                       SLICE_LIT("x-ms-blob-type"));
        return;
    }
    if (!call_conditions(call, false) || !call_metadata(call) ||
        !call_content_headers(call, true) || !call_checksums(call))
        return;
    if (append)
        put_append(call);
    else
        transfer_start(call, 5000 * MIB);
}

void handle_put_block(struct blob_call *call)
{
    bool ok = true;
    size_t len = 0;
    struct slice text = call_query(call, "blockid", false, &ok);
    call_op(call, BLOBSTORE_STAGE);
    if (text.len == 0) {
        call_fail_with(call, BLOB_MISSING_QUERY, "QueryParameterName", SLICE_LIT("blockid"));
        return;
    }
    uint8_t *id = arena_alloc(call->arena, text.len + 4);
    if (!ok || !id || !base64_decode(text, id, &len) || len == 0 || len > BLOBSTORE_BLOCK_ID_MAX) {
        call_fail_with(call, BLOB_INVALID_QUERY, "QueryParameterName", SLICE_LIT("blockid"));
        return;
    }
    call->op.block_id = slice_make(id, len);
    if (call->head->has_length && call->head->content_length == 0) {
        call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", SLICE_LIT("Content-Length"));
        return;
    }
    if (call_checksums(call))
        transfer_start(call, 4000 * MIB);
}

static bool read_position(struct blob_call *call, const char *name, int64_t *ret_value)
{
    struct slice text = call_header(call, name);
    if (text.len == 0 || (numtext_read_int64(text, ret_value) && *ret_value >= 0))
        return true;
    call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", slice_cstr(name));
    return false;
}

void handle_append_block(struct blob_call *call)
{
    call_op(call, BLOBSTORE_APPEND_BLOCK);
    if (!call_conditions(call, false) ||
        !read_position(call, "x-ms-blob-condition-appendpos", &call->op.append_position) ||
        !read_position(call, "x-ms-blob-condition-maxsize", &call->op.max_size) ||
        !call_checksums(call))
        return;
    if (call->head->has_length && call->head->content_length == 0) {
        call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName", SLICE_LIT("Content-Length"));
        return;
    }
    transfer_start(call, 100 * MIB);
}
