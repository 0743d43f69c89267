/*
 * Requests on containers, the account, and the two listings.
 */
#include "base/numtext.h"
#include "base/utf8.h"
#include "front/blob/blob_int.h"
#include "wire/base64.h"

enum { INCLUDE_METADATA = 1, INCLUDE_UNCOMMITTED = 2 };

void handle_account_info(struct blob_call *call)
{
    struct bytebuf *out = call_answer(call, 200);
    http_response_field(out, "x-ms-sku-name", SLICE_LIT("Standard_RAGRS"));
    http_response_field(out, "x-ms-account-kind", SLICE_LIT("StorageV2"));
    http_response_field(out, "x-ms-is-hns-enabled", SLICE_LIT("false"));
    web_send(call->req, SLICE_NULL);
}

static void container_changed(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    bool created = op->verb == BLOBSTORE_CONTAINER_CREATE;
    bool deleted = op->verb == BLOBSTORE_CONTAINER_DELETE;
    struct bytebuf *out = call_answer(call, created ? 201 : deleted ? 202 : 200);
    if (!deleted)
        answer_etag(out, op->container_info.etag);
    if (!deleted)
        http_response_field(out, "x-ms-request-server-encrypted", SLICE_LIT("true"));
    web_send(call->req, SLICE_NULL);
}

void handle_container_create(struct blob_call *call)
{
    call_op(call, BLOBSTORE_CONTAINER_CREATE);
    if (call_header(call, "x-ms-blob-public-access").len) {
        call_fail(call, BLOB_PUBLIC_ACCESS);
        return;
    }
    if (call_metadata(call))
        call_submit(call, container_changed);
}

void handle_container_delete(struct blob_call *call)
{
    call_op(call, BLOBSTORE_CONTAINER_DELETE);
    if (call_conditions(call, false))
        call_submit(call, container_changed);
}

void handle_container_set_metadata(struct blob_call *call)
{
    call_op(call, BLOBSTORE_CONTAINER_SET_METADATA);
    if (call_conditions(call, false) && call_metadata(call))
        call_submit(call, container_changed);
}

static void container_got(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    struct bytebuf *out = call_answer(call, 200);
    answer_etag(out, op->container_info.etag);
    answer_metadata(call, out, op->container_info.metadata);
    if (call->comp.len == 0) {
        http_response_field(out, "x-ms-lease-status", SLICE_LIT("unlocked"));
        http_response_field(out, "x-ms-lease-state", SLICE_LIT("available"));
        http_response_field(out, "x-ms-has-immutability-policy", SLICE_LIT("false"));
        http_response_field(out, "x-ms-has-legal-hold", SLICE_LIT("false"));
        http_response_field(out, "x-ms-default-encryption-scope",
                            SLICE_LIT("$account-encryption-key"));
        http_response_field(out, "x-ms-deny-encryption-scope-override", SLICE_LIT("false"));
        http_response_field(out, "x-ms-immutable-storage-with-versioning-enabled",
                            SLICE_LIT("false"));
    }
    web_send(call->req, SLICE_NULL);
}

void handle_container_get(struct blob_call *call)
{
    call_op(call, BLOBSTORE_CONTAINER_GET);
    call_submit(call, container_got);
}

/* ---- listings ---- */

static bool read_max(struct blob_call *call, uint32_t *ret_max)
{
    bool ok = true;
    int64_t value;
    struct slice text = call_query(call, "maxresults", false, &ok);
    *ret_max = BLOBSTORE_LIST_MAX;
    if (text.len == 0)
        return true;
    if (!ok || !numtext_read_int64(text, &value)) {
        call_fail_with(call, BLOB_INVALID_QUERY, "QueryParameterName", SLICE_LIT("maxresults"));
        return false;
    }
    if (value <= 0) {
        call_fail_with(call, BLOB_OUT_OF_RANGE_QUERY, "QueryParameterName",
                       SLICE_LIT("maxresults"));
        return false;
    }
    if (value < BLOBSTORE_LIST_MAX)
        *ret_max = (uint32_t)value;
    return true;
}

/* Markers are Base64url of the next name: no state on the server, nothing expires. */
static bool read_marker(struct blob_call *call, struct slice *ret_marker)
{
    bool ok = true;
    size_t len = 0;
    struct slice text = call_query(call, "marker", false, &ok);
    *ret_marker = SLICE_NULL;
    if (ok && text.len == 0)
        return true;
    uint8_t *out = arena_alloc(call->arena, text.len + 1);
    if (ok && out && text.len <= BASE64_LEN(BLOBSTORE_NAME_MAX) &&
        base64url_decode(text, out, &len)) {
        *ret_marker = slice_make(out, len);
        return true;
    }
    call_fail_with(call, BLOB_INVALID_QUERY, "QueryParameterName", SLICE_LIT("marker"));
    return false;
}

static bool read_include(struct blob_call *call)
{
    static const char *const known[] = {"snapshots",
                                        "metadata",
                                        "uncommittedblobs",
                                        "copy",
                                        "deleted",
                                        "tags",
                                        "versions",
                                        "deletedwithversions",
                                        "immutabilitypolicy",
                                        "legalhold",
                                        "permissions",
                                        "system"};
    bool ok = true;
    struct slice text = call_query(call, "include", false, &ok);
    for (size_t pos = 0; ok && pos < text.len;) {
        size_t comma = slice_find_byte(text, ',', pos);
        size_t stop = comma == SIZE_MAX ? text.len : comma;
        struct slice one = slice_trim(slice_sub(text, pos, stop - pos));
        bool found = one.len == 0;
        pos = stop + 1;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found |= slice_equal_nocase(one, slice_cstr(known[i]));
        ok = found;
        if (slice_equal_nocase(one, SLICE_LIT("metadata")))
            call->include |= INCLUDE_METADATA;
        if (slice_equal_nocase(one, SLICE_LIT("uncommittedblobs")))
            call->include |= INCLUDE_UNCOMMITTED;
    }
    if (!ok)
        call_fail_with(call, BLOB_INVALID_QUERY, "QueryParameterName", SLICE_LIT("include"));
    return ok;
}

static bool read_listing(struct blob_call *call)
{
    struct blobstore_list *list = &call->op.list;
    bool ok = true;
    list->prefix = call_query(call, "prefix", true, &ok);
    list->delimiter = call_query(call, "delimiter", true, &ok);
    bool prefix = ok && list->prefix.len <= BLOBSTORE_NAME_MAX && utf8_valid(list->prefix);
    bool delimiter = list->delimiter.len <= BLOBSTORE_NAME_MAX && utf8_valid(list->delimiter);
    if (!prefix || !delimiter) {
        call_fail_with(call, BLOB_INVALID_QUERY, "QueryParameterName",
                       prefix ? SLICE_LIT("delimiter") : SLICE_LIT("prefix"));
        return false;
    }
    if (!read_max(call, &list->max) || !read_marker(call, &list->marker) || !read_include(call))
        return false;
    list->metadata = call->include & INCLUDE_METADATA;
    list->uncommitted = call->include & INCLUDE_UNCOMMITTED;
    return true;
}

/* The root element with what was asked. */
static void listing_begin(struct blob_call *call, struct bytebuf *xml)
{
    static const char *const echoed[][2] = {{"prefix", "Prefix"},
                                            {"marker", "Marker"},
                                            {"maxresults", "MaxResults"},
                                            {"delimiter", "Delimiter"}};
    bool ok;
    ASSERT(call->op.item_count <= call->op.list.max);
    xml_begin(xml, BLOB_ANSWER_MAX);
    bytebuf_append_cstr(xml, "<EnumerationResults ServiceEndpoint=\"http://");
    xml_text(xml, call->head->host);
    bytebuf_append_byte(xml, '/');
    if (!call->host_style)
        bytebuf_printf(xml, "%s/", call->account->name);
    bytebuf_append_byte(xml, '"');
    if (call->container.len) {
        bytebuf_append_cstr(xml, " ContainerName=\"");
        xml_text(xml, call->container);
        bytebuf_append_byte(xml, '"');
    }
    bytebuf_append_byte(xml, '>');
    for (size_t i = 0; i < 4; i++) {
        struct slice value = call_query(call, echoed[i][0], true, &ok);
        if (value.data && (value.len || i == 0))
            xml_encoded(xml, echoed[i][1], value);
    }
}

static void listing_end(struct blob_call *call, struct bytebuf *xml, struct slice next)
{
    if (next.len == 0) {
        bytebuf_append_cstr(xml, "<NextMarker />");
    } else {
        uint8_t *room = bytebuf_reserve(xml, BASE64_LEN(next.len) + 64);
        if (room) {
            bytebuf_append_cstr(xml, "<NextMarker>");
            size_t len = base64url_encode(next, (char *)xml->data + xml->len);
            xml->len += len;
            bytebuf_append_cstr(xml, "</NextMarker>");
        }
    }
    bytebuf_append_cstr(xml, "</EnumerationResults>");
    struct bytebuf *out = call_answer(call, 200);
    call_send_xml(call, out, xml);
    bytebuf_deinit(xml);
}

static void xml_metadata(struct bytebuf *xml, struct slice metadata)
{
    struct slice name;
    struct slice value;
    if (metadata.len == 0) {
        bytebuf_append_cstr(xml, "<Metadata />");
        return;
    }
    bytebuf_append_cstr(xml, "<Metadata>");
    for (size_t cursor = 0; blobstore_pair_next(metadata, &cursor, &name, &value);) {
        bytebuf_printf(xml, "<%.*s>", SLICE_FMT(name));
        xml_text(xml, value);
        bytebuf_printf(xml, "</%.*s>", SLICE_FMT(name));
    }
    bytebuf_append_cstr(xml, "</Metadata>");
}

static void containers_listed(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    struct bytebuf xml;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    listing_begin(call, &xml);
    bytebuf_append_cstr(&xml, "<Containers>");
    for (uint32_t i = 0; i < op->item_count; i++) {
        const struct blobstore_container_info *item = &op->containers[i];
        bytebuf_append_cstr(&xml, "<Container>");
        xml_encoded(&xml, "Name", item->name);
        bytebuf_append_cstr(&xml, "<Properties>");
        xml_element_date(&xml, "Last-Modified", item->etag);
        bytebuf_printf(&xml, "<Etag>\"0x%llX\"</Etag>", (unsigned long long)item->etag);
        bytebuf_append_cstr(
            &xml, "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
                  "<HasImmutabilityPolicy>false</HasImmutabilityPolicy>"
                  "<HasLegalHold>false</HasLegalHold>"
                  "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
                  "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>"
                  "<ImmutableStorageWithVersioningEnabled>false"
                  "</ImmutableStorageWithVersioningEnabled></Properties>");
        if (op->list.metadata)
            xml_metadata(&xml, item->metadata);
        bytebuf_append_cstr(&xml, "</Container>");
    }
    bytebuf_append_cstr(&xml, "</Containers>");
    listing_end(call, &xml, op->next_marker);
}

void handle_container_list(struct blob_call *call)
{
    call_op(call, BLOBSTORE_CONTAINER_LIST);
    if (read_listing(call))
        call_submit(call, containers_listed);
}

static void xml_md5(struct bytebuf *xml, struct slice md5)
{
    char text[BASE64_LEN(BLOBSTORE_MD5_MAX)];
    ASSERT(md5.len <= BLOBSTORE_MD5_MAX);
    xml_element(xml, "Content-MD5", slice_make(text, md5.len ? base64_encode(md5, text) : 0));
}

static void xml_blob(struct bytebuf *xml, const struct blobstore_item *item, bool metadata)
{
    const struct blobstore_info *info = &item->info;
    bytebuf_append_cstr(xml, "<Blob>");
    xml_encoded(xml, "Name", item->name);
    bytebuf_append_cstr(xml, "<Properties>");
    if (item->uncommitted) {
        bytebuf_append_cstr(
            xml, "<Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties>"
                 "</Blob>");
        return;
    }
    bool block = info->type == BLOBSTORE_BLOCK;
    xml_element_date(xml, "Creation-Time", info->created);
    xml_element_date(xml, "Last-Modified", info->etag);
    bytebuf_printf(xml, "<Etag>0x%llX</Etag>", (unsigned long long)info->etag);
    xml_element_u64(xml, "Content-Length", info->length);
    xml_element(xml, "Content-Type",
                info->headers.content_type.len ? info->headers.content_type
                                               : SLICE_LIT("application/octet-stream"));
    xml_element(xml, "Content-Encoding", info->headers.content_encoding);
    xml_element(xml, "Content-Language", info->headers.content_language);
    xml_md5(xml, info->headers.md5);
    xml_element(xml, "Cache-Control", info->headers.cache_control);
    xml_element(xml, "Content-Disposition", info->headers.content_disposition);
    bytebuf_append_cstr(xml, block ? "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
                                     "<AccessTierInferred>true</AccessTierInferred>"
                                   : "<BlobType>AppendBlob</BlobType>");
    bytebuf_append_cstr(xml, "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"
                             "<ServerEncrypted>true</ServerEncrypted></Properties>");
    /* The Python SDK makes None of an empty element and an empty dictionary of a missing one. */
    if (metadata && info->metadata.len > 0)
        xml_metadata(xml, info->metadata);
    bytebuf_append_cstr(xml, "<OrMetadata /></Blob>");
}

static void blobs_listed(struct blobstore_op *op)
{
    struct blob_call *call = op->arg;
    struct bytebuf xml;
    if (op->err) {
        call_fail_err(call, op->err);
        return;
    }
    listing_begin(call, &xml);
    bytebuf_append_cstr(&xml, "<Blobs>");
    for (uint32_t i = 0; i < op->item_count; i++) {
        const struct blobstore_item *item = &op->items[i];
        if (item->is_prefix) {
            bytebuf_append_cstr(&xml, "<BlobPrefix>");
            xml_encoded(&xml, "Name", item->name);
            bytebuf_append_cstr(&xml, "</BlobPrefix>");
        } else {
            xml_blob(&xml, item, op->list.metadata);
        }
    }
    bytebuf_append_cstr(&xml, "</Blobs>");
    listing_end(call, &xml, op->next_marker);
}

void handle_list(struct blob_call *call)
{
    call_op(call, BLOBSTORE_LIST);
    if (read_listing(call))
        call_submit(call, blobs_listed);
}
