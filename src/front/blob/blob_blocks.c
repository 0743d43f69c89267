/*
 * Put Block List and Get Block List.
 */
#include <openssl/evp.h>

#include "blobstore/crc64.h"
#include "front/blob/blob_int.h"
#include "wire/base64.h"

static void committed(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    struct bytebuf *out = call_answer(call, 201);
    answer_etag(out, op->info.etag);
    /* These describe the XML that was sent, as the service has it. */
    if (call->md5_given.len)
        answer_base64(out, "Content-MD5", call->md5_given);
    else
        answer_base64(out, "x-ms-content-crc64", call->crc64_given);
    http_response_field(out, "x-ms-request-server-encrypted", SLICE_LIT("true"));
    web_send(call->req, SLICE_NULL);
}

/* Verifies what was announced, and leaves in crc64_given the checksum to answer. */
static bool body_checksums(struct blob_call *call, struct slice body)
{
    uint8_t md5[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    uint64_t crc = crc64(0, body.data, body.len);
    uint8_t *bytes = arena_alloc(call->arena, 8);
    if (!bytes || EVP_Digest(body.data, body.len, md5, &len, EVP_md5(), NULL) != 1) {
        call_fail(call, BLOB_SERVER_BUSY);
        return false;
    }
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(crc >> (8 * i));
    if (call->md5_given.len && !slice_equal(call->md5_given, slice_make(md5, len))) {
        call_fail(call, BLOB_MD5_MISMATCH);
        return false;
    }
    if (call->crc64_given.len && !slice_equal(call->crc64_given, slice_make(bytes, 8))) {
        call_fail(call, BLOB_CRC64_MISMATCH);
        return false;
    }
    call->crc64_given = slice_make(bytes, 8);
    return true;
}

static void on_list(struct web_request *req, enum err err, struct slice body, void *arg)
{
    struct blob_call *call = arg;
    bool ok;
    if (err) {
        if (err == ERR_LIMIT)
            call_fail(call, BLOB_TOO_LARGE);
        else
            call_fail_err(call, err);
        return;
    }
    if (!body_checksums(call, body))
        return;
    enum blob_code code =
        xml_block_list(call->arena, body, &call->op.blocks, &call->op.block_count, &ok);
    if (!ok) {
        call_fail(call, code);
        return;
    }
    call_submit(call, committed);
}

void handle_put_block_list(struct blob_call *call)
{
    call_op(call, BLOBSTORE_COMMIT);
    if (!call->head->has_length && !call->head->chunked) {
        call_fail(call, BLOB_LENGTH_REQUIRED);
        return;
    }
    if (call_conditions(call, false) && call_metadata(call) && call_content_headers(call, false) &&
        call_checksums(call))
        web_body_collect(call->req, BLOB_XML_MAX, on_list, call);
}

static void xml_blocks(struct bytebuf *xml, const char *name, const struct blobstore_block *blocks,
                       uint32_t count)
{
    if (count == 0) {
        bytebuf_printf(xml, "<%s />", name);
        return;
    }
    bytebuf_printf(xml, "<%s>", name);
    for (uint32_t i = 0; i < count; i++) {
        char text[BASE64_LEN(BLOBSTORE_BLOCK_ID_MAX)];
        ASSERT(blocks[i].id.len <= BLOBSTORE_BLOCK_ID_MAX);
        bytebuf_append_cstr(xml, "<Block>");
        xml_element(xml, "Name", slice_make(text, base64_encode(blocks[i].id, text)));
        xml_element_u64(xml, "Size", blocks[i].length);
        bytebuf_append_cstr(xml, "</Block>");
    }
    bytebuf_printf(xml, "</%s>", name);
}

static void blocks_got(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    struct bytebuf xml;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    xml_begin(&xml, BLOB_ANSWER_MAX);
    bytebuf_append_cstr(&xml, "<BlockList>");
    if (call->include & 1)
        xml_blocks(&xml, "CommittedBlocks", op->blocks, op->block_count);
    if (call->include & 2)
        xml_blocks(&xml, "UncommittedBlocks", op->staged, op->staged_count);
    bytebuf_append_cstr(&xml, "</BlockList>");
    struct bytebuf *out = call_answer(call, 200);
    if (op->committed)
        answer_etag(out, op->info.etag);
    http_response_field_u64(out, "x-ms-blob-content-length", op->info.length);
    call_send_xml(call, out, &xml);
    bytebuf_deinit(&xml);
}

void handle_get_block_list(struct blob_call *call)
{
    bool ok = true;
    struct slice type = call_query(call, "blocklisttype", false, &ok);
    call_op(call, BLOBSTORE_BLOCKS);
    if (type.len == 0 || slice_equal_nocase(type, SLICE_LIT("committed")))
        call->include = 1;
    else if (slice_equal_nocase(type, SLICE_LIT("uncommitted")))
        call->include = 2;
    else if (slice_equal_nocase(type, SLICE_LIT("all")))
        call->include = 3;
    else
        ok = false;
    if (ok)
        call_submit(call, blocks_got);
    else
        call_fail_with(call, BLOB_INVALID_QUERY, "QueryParameterName", SLICE_LIT("blocklisttype"));
}
