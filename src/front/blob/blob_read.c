/*
 * Get Blob, Get Properties, Get Metadata; Set Metadata, Set Properties; Delete.
 *
 * A download is a loop: read a piece on a worker, hand it to the connection, go on when there is
 * room. One piece is in memory per download beside what the connection has not sent. The reader
 * keeps the content as it was at the start.
 */
#include <openssl/evp.h>

#include "base/numtext.h"
#include "blobstore/crc64.h"
#include "front/blob/blob_int.h"
#include "wire/base64.h"

/* bytes=a-b, bytes=a-, bytes=-n; anything else counts as no range. */
static void read_range(struct blob_call *call, bool *ret_suffix)
{
    struct slice text = call_header(call, "x-ms-range");
    uint64_t from;
    uint64_t to;
    *ret_suffix = false;
    if (!text.data)
        text = call_header(call, "range");
    if (!slice_equal_nocase(slice_sub(text, 0, 6), SLICE_LIT("bytes=")))
        return;
    text = slice_sub(text, 6, text.len);
    size_t dash = slice_find_byte(text, '-', 0);
    if (dash == SIZE_MAX)
        return;
    struct slice first = slice_sub(text, 0, dash);
    struct slice last = slice_sub(text, dash + 1, text.len);
    if (first.len == 0) {
        if (!numtext_read_uint64(last, &to))
            return;
        *ret_suffix = true;
        call->range = (struct blob_range){true, 0, to};
        return;
    }
    if (!numtext_read_uint64(first, &from))
        return;
    if (last.len == 0)
        call->range = (struct blob_range){true, from, UINT64_MAX};
    else if (numtext_read_uint64(last, &to) && to >= from)
        call->range = (struct blob_range){true, from, to == UINT64_MAX ? to : to + 1};
}

/* Cuts the range to the blob; false: answered with 416. */
static bool settle_range(struct blob_call *call, uint64_t length, bool suffix)
{
    struct blob_range *range = &call->range;
    if (!range->given) {
        *range = (struct blob_range){false, 0, length};
        return true;
    }
    if (suffix)
        *range = (struct blob_range){true, range->end < length ? length - range->end : 0, length};
    if (range->start < length) {
        if (range->end > length)
            range->end = length;
        return true;
    }
    blobstore_reader_close(call->op.reader);
    call->op.reader = NULL;
    call->total = length;
    call_fail(call, BLOB_INVALID_RANGE);
    return false;
}

static void answer_properties(struct blob_call *call, struct bytebuf *out,
                              const struct blobstore_info *info)
{
    const struct blobstore_headers *h = &info->headers;
    char date[HTTP_DATE_SIZE];
    bool block = info->type == BLOBSTORE_BLOCK;
    answer_etag(out, info->etag);
    http_response_field(out, "Content-Type",
                        h->content_type.len ? h->content_type
                                            : SLICE_LIT("application/octet-stream"));
    if (h->content_encoding.len)
        http_response_field(out, "Content-Encoding", h->content_encoding);
    if (h->content_language.len)
        http_response_field(out, "Content-Language", h->content_language);
    if (h->content_disposition.len)
        http_response_field(out, "Content-Disposition", h->content_disposition);
    if (h->cache_control.len)
        http_response_field(out, "Cache-Control", h->cache_control);
    http_response_field(out, "Accept-Ranges", SLICE_LIT("bytes"));
    http_response_field(out, "x-ms-blob-type",
                        block ? SLICE_LIT("BlockBlob") : SLICE_LIT("AppendBlob"));
    http_date_write(date, blobstore_ticks_unix(info->created));
    http_response_field(out, "x-ms-creation-time", slice_make(date, HTTP_DATE_LEN));
    http_response_field(out, "x-ms-lease-status", SLICE_LIT("unlocked"));
    http_response_field(out, "x-ms-lease-state", SLICE_LIT("available"));
    http_response_field(out, "x-ms-server-encrypted", SLICE_LIT("true"));
    if (!block)
        http_response_field_u64(out, "x-ms-blob-committed-block-count", info->block_count);
    answer_metadata(call, out, info->metadata);
}

/* ---- download ---- */

static void download_next(struct blob_call *call);

static void download_end(struct blob_call *call)
{
    blobstore_reader_close(call->op.reader);
    iobuf_unref(call->piece);
    web_stream_end(call->req);
}

static void download_room(struct web_request *req, enum err err, void *arg)
{
    struct blob_call *call = arg;
    if (err)
        download_end(call);
    else
        download_next(call);
}

static void download_head(struct blob_call *call, struct slice checksum);

static void download_read(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct blob_call *call = arg;
    bool first = call->position == call->range.start;
    if ((err || len == 0) && first) { /* nothing has been said yet, so it can be said well */
        blobstore_reader_close(call->op.reader);
        iobuf_unref(call->piece);
        call_fail_err(call, err ? err : ERR_CORRUPT);
        return;
    }
    if (err || len == 0) {
        download_end(call); /* the head is out: cutting the connection is all that is left to say */
        return;
    }
    if (first) {
        download_head(call, SLICE_NULL);
        web_stream_begin(call->req, call->range.end - call->range.start);
    }
    struct iobuf_range range = {call->piece, slice_make(iobuf_data(call->piece), len)};
    call->piece = NULL;
    call->position += len;
    ASSERT(call->position <= call->range.end);
    web_stream_write(call->req, range);
    if (!web_alive(call->req) || call->position == call->range.end)
        download_end(call);
    else if (web_stream_ready(call->req, download_room, call))
        download_next(call);
}

static void download_next(struct blob_call *call)
{
    uint64_t left = call->range.end - call->position;
    size_t len = left < BLOB_BUFFER ? (size_t)left : BLOB_BUFFER;
    ASSERT(left > 0 && !call->piece);
    call->piece = iobuf_create(len);
    if (!call->piece) {
        if (call->position == call->range.start) {
            blobstore_reader_close(call->op.reader);
            call_fail(call, BLOB_SERVER_BUSY);
        } else {
            download_end(call);
        }
        return;
    }
    blobstore_reader_read(call->op.reader, call->position, iobuf_data(call->piece), len,
                          download_read, call);
}

/* The head of a download; checksum NULL: none was asked for. */
static void download_head(struct blob_call *call, struct slice checksum)
{
    const struct blobstore_info *info = &call->op.info;
    const struct blob_range *range = &call->range;
    ASSERT(range->start <= range->end && range->end <= info->length);
    struct bytebuf *out = call_answer(call, range->given ? 206 : 200);
    if (range->given)
        bytebuf_printf(out, "Content-Range: bytes %llu-%llu/%llu\r\n",
                       (unsigned long long)range->start, (unsigned long long)range->end - 1,
                       (unsigned long long)info->length);
    answer_properties(call, out, info);
    if (info->headers.md5.len)
        answer_base64(out, range->given ? "x-ms-blob-content-md5" : "Content-MD5",
                      info->headers.md5);
    if (checksum.len)
        answer_base64(out, call->hash_md5 ? "Content-MD5" : "x-ms-content-crc64", checksum);
}

/* ---- a range with its checksum: read whole first, it is small ---- */

static void hashed_send(struct blob_call *call, size_t len)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    unsigned sum_len = 8;
    const uint8_t *data = iobuf_data(call->piece);
    ASSERT(len == call->range.end - call->range.start && len <= BLOB_RANGE_HASH_MAX);
    ASSERT(call->hash_md5 != call->hash_crc64);
    if (call->hash_md5) {
        if (EVP_Digest(data, len, sum, &sum_len, EVP_md5(), NULL) != 1)
            sum_len = 0;
    } else {
        uint64_t crc = crc64(0, data, len);
        for (int i = 0; i < 8; i++)
            sum[i] = (uint8_t)(crc >> (8 * i));
    }
    download_head(call, slice_make(sum, sum_len));
    web_stream_begin(call->req, len);
    struct iobuf_range range = {call->piece, slice_make(data, len)};
    call->piece = NULL;
    web_stream_write(call->req, range);
    download_end(call);
}

static void hashed_read(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct blob_call *call = arg;
    size_t total = (size_t)(call->range.end - call->range.start);
    if (err || len == 0) {
        blobstore_reader_close(call->op.reader);
        iobuf_unref(call->piece);
        call_fail_err(call, err ? err : ERR_CORRUPT);
        return;
    }
    call->position += len;
    size_t got = (size_t)(call->position - call->range.start);
    if (got == total)
        hashed_send(call, total);
    else
        blobstore_reader_read(reader, call->position, iobuf_data(call->piece) + got, total - got,
                              hashed_read, call);
}

static bool wants_hash(struct blob_call *call)
{
    call->hash_md5 =
        slice_equal_nocase(call_header(call, "x-ms-range-get-content-md5"), SLICE_LIT("true"));
    call->hash_crc64 =
        slice_equal_nocase(call_header(call, "x-ms-range-get-content-crc64"), SLICE_LIT("true"));
    if (!call->hash_md5 && !call->hash_crc64)
        return true;
    bool fits = call->range.given && call->range.end - call->range.start <= BLOB_RANGE_HASH_MAX;
    if (fits && !(call->hash_md5 && call->hash_crc64))
        return true;
    blobstore_reader_close(call->op.reader);
    call->op.reader = NULL;
    call_fail(call, fits ? BLOB_BOTH_CHECKSUMS : BLOB_INVALID_HEADER_VALUE);
    return false;
}

static void opened(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    bool suffix;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    read_range(call, &suffix);
    if (!settle_range(call, op->info.length, suffix) || !wants_hash(call))
        return;
    call->position = call->range.start;
    uint64_t len = call->range.end - call->range.start;
    if (len > 0 && (call->hash_md5 || call->hash_crc64)) {
        call->piece = iobuf_create((size_t)len);
        if (call->piece) {
            blobstore_reader_read(op->reader, call->position, iobuf_data(call->piece), (size_t)len,
                                  hashed_read, call);
            return;
        }
        blobstore_reader_close(op->reader);
        call_fail(call, BLOB_SERVER_BUSY);
        return;
    }
    if (len > 0) {
        download_next(call);
        return;
    }
    download_head(call, SLICE_NULL);
    web_stream_begin(call->req, 0);
    download_end(call);
}

void handle_get(struct blob_call *call)
{
    call_op(call, BLOBSTORE_READ);
    if (call_conditions(call, true))
        call_submit(call, opened);
}

/* ---- properties ---- */

static void headed(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    struct bytebuf *out = call_answer(call, 200);
    answer_properties(call, out, &op->info);
    if (op->info.headers.md5.len)
        answer_base64(out, "Content-MD5", op->info.headers.md5);
    if (op->info.type == BLOBSTORE_BLOCK) {
        http_response_field(out, "x-ms-access-tier", SLICE_LIT("Hot"));
        http_response_field(out, "x-ms-access-tier-inferred", SLICE_LIT("true"));
    }
    web_send_empty(call->req, op->info.length);
}

void handle_head(struct blob_call *call)
{
    call_op(call, BLOBSTORE_GET);
    if (call_conditions(call, true))
        call_submit(call, headed);
}

static void metadata_got(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    struct bytebuf *out = call_answer(call, 200);
    answer_etag(out, op->info.etag);
    answer_metadata(call, out, op->info.metadata);
    web_send(call->req, SLICE_NULL);
}

void handle_get_metadata(struct blob_call *call)
{
    call_op(call, BLOBSTORE_GET);
    if (call_conditions(call, true))
        call_submit(call, metadata_got);
}

static void changed(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    if (op->verb == BLOBSTORE_DELETE || op->verb == BLOBSTORE_GET) {
        struct bytebuf *out = call_answer(call, 202);
        http_response_field(out, "x-ms-delete-type-permanent", SLICE_LIT("true"));
        web_send(call->req, SLICE_NULL);
        return;
    }
    struct bytebuf *out = call_answer(call, 200);
    answer_etag(out, op->info.etag);
    if (op->verb == BLOBSTORE_SET_METADATA)
        http_response_field(out, "x-ms-request-server-encrypted", SLICE_LIT("true"));
    web_send(call->req, SLICE_NULL);
}

void handle_set_metadata(struct blob_call *call)
{
    call_op(call, BLOBSTORE_SET_METADATA);
    if (call_conditions(call, false) && call_metadata(call))
        call_submit(call, changed);
}

void handle_set_properties(struct blob_call *call)
{
    call_op(call, BLOBSTORE_SET_HEADERS);
    if (call_header(call, "x-ms-blob-content-length").len ||
        call_header(call, "x-ms-sequence-number-action").len) {
        call_fail(call, BLOB_NOT_IMPLEMENTED);
        return;
    }
    if (call_conditions(call, false) && call_content_headers(call, false))
        call_submit(call, changed);
}

void handle_delete(struct blob_call *call)
{
    struct slice snapshots = call_header(call, "x-ms-delete-snapshots");
    bool only = slice_equal_nocase(snapshots, SLICE_LIT("only"));
    /* There are no snapshots yet: without them there is nothing to delete, and the blob stays. */
    call_op(call, only ? BLOBSTORE_GET : BLOBSTORE_DELETE);
    if (snapshots.len > 0 && !only && !slice_equal_nocase(snapshots, SLICE_LIT("include"))) {
        call_fail_with(call, BLOB_INVALID_HEADER_VALUE, "HeaderName",
                       SLICE_LIT("x-ms-delete-snapshots"));
        return;
    }
    if (call_conditions(call, only))
        call_submit(call, changed);
}
