/*
 * Errors of the blob protocol: codes, statuses, messages, and their body.
 *
 * Clients branch on the code, which travels in x-ms-error-code on every answer, HEAD included, and
 * in the body. What is not implemented answers 501 and never 500, since SDKs retry 500 for a
 * minute.
 */
#include <stdio.h>

#include "base/numtext.h"
#include "front/blob/blob_int.h"

struct code_row {
    uint16_t status;
    const char *name;
    const char *message;
};

static const struct code_row codes[BLOB_CODE_COUNT] = {
    [BLOB_CONDITION_NOT_MET] =
        {412, "ConditionNotMet",
         "The condition specified using HTTP conditional header(s) is not met."},
    [BLOB_NOT_MODIFIED] = {304, "ConditionNotMet",
                           "The condition specified using HTTP conditional header(s) is not met."},
    [BLOB_INVALID_HEADER_VALUE] =
        {400, "InvalidHeaderValue",
         "The value for one of the HTTP headers is not in the correct format."},
    [BLOB_MISSING_HEADER] = {400, "MissingRequiredHeader",
                             "An HTTP header that's mandatory for this request is not specified."},
    [BLOB_INVALID_QUERY] =
        {400, "InvalidQueryParameterValue",
         "Value for one of the query parameters specified in the request URI is invalid."},
    [BLOB_MISSING_QUERY] =
        {400, "MissingRequiredQueryParameter",
         "A query parameter that's mandatory for this request is not specified."},
    [BLOB_OUT_OF_RANGE_QUERY] =
        {400, "OutOfRangeQueryParameterValue",
         "One of the query parameters specified in the request URI is outside the permissible "
         "range."},
    [BLOB_INVALID_URI] = {400, "InvalidUri",
                          "The requested URI does not represent any resource on the server."},
    [BLOB_INVALID_INPUT] = {400, "InvalidInput", "One of the request inputs is not valid."},
    [BLOB_OUT_OF_RANGE_INPUT] = {400, "OutOfRangeInput",
                                 "One of the request inputs is out of range."},
    [BLOB_INVALID_RESOURCE_NAME] = {400, "InvalidResourceName",
                                    "The specifed resource name contains invalid characters."},
    [BLOB_INVALID_METADATA] =
        {400, "InvalidMetadata",
         "The metadata specified is invalid. It has characters that are not permitted."},
    [BLOB_EMPTY_METADATA_KEY] = {400, "EmptyMetadataKey",
                                 "The key for one of the metadata key-value pairs is empty."},
    [BLOB_METADATA_TOO_LARGE] =
        {400, "MetadataTooLarge",
         "The size of the specified metadata exceeds the maximum size permitted."},
    [BLOB_INVALID_MD5] =
        {400, "InvalidMd5",
         "The MD5 value specified in the request is invalid. The MD5 value must be 128 bits and "
         "Base64-encoded."},
    [BLOB_MD5_MISMATCH] = {400, "Md5Mismatch",
                           "The MD5 value specified in the request did not match with the MD5 "
                           "value calculated by the "
                           "server."},
    [BLOB_CRC64_MISMATCH] = {400, "Crc64Mismatch",
                             "The CRC64 value specified in the request did not match with the "
                             "CRC64 value calculated by "
                             "the server."},
    [BLOB_BOTH_CHECKSUMS] = {400, "BothCrc64AndMd5HeaderPresent",
                             "Both x-ms-content-crc64 header and Content-MD5 header are present."},
    [BLOB_INVALID_XML] = {400, "InvalidXmlDocument", "XML specified is not syntactically valid."},
    [BLOB_INVALID_AUTHENTICATION_INFO] =
        {400, "InvalidAuthenticationInfo",
         "Authentication information is not given in the correct format. Check the "
         "value of Authorization header."},
    [BLOB_MULTIPLE_CONDITIONS] = {400, "MultipleConditionHeadersNotSupported",
                                  "Multiple condition headers are not supported."},
    [BLOB_UNSATISFIABLE_CONDITION] =
        {400, "UnsatisfiableCondition",
         "The request includes an unsatisfiable condition for this operation."},
    [BLOB_INVALID_BLOB_OR_BLOCK] = {400, "InvalidBlobOrBlock",
                                    "The specified blob or block content is invalid."},
    [BLOB_INVALID_BLOCK_ID] =
        {400, "InvalidBlockId",
         "The specified block ID is invalid. The block ID must be Base64-encoded."},
    [BLOB_INVALID_BLOCK_LIST] = {400, "InvalidBlockList", "The specified block list is invalid."},
    [BLOB_BLOCK_LIST_TOO_LONG] = {400, "BlockListTooLong",
                                  "The block list may not contain more than 50,000 blocks."},
    [BLOB_NO_HIERARCHY] = {400, "HierarchicalNamespaceNotEnabled",
                           "Hierarchical namespace is not enabled for this account."},
    [BLOB_NO_AUTHENTICATION] =
        {401, "NoAuthenticationInformation",
         "Server failed to authenticate the request. Please refer to the information in the "
         "www-authenticate header."},
    [BLOB_AUTHENTICATION_FAILED] =
        {403, "AuthenticationFailed",
         "Server failed to authenticate the request. Make sure the value of the "
         "Authorization header is formed correctly including the signature."},
    [BLOB_CORS_FAILURE] = {403, "CorsPreflightFailure",
                           "CORS not enabled or no matching rule found for this request."},
    [BLOB_CONTAINER_NOT_FOUND] = {404, "ContainerNotFound",
                                  "The specified container does not exist."},
    [BLOB_BLOB_NOT_FOUND] = {404, "BlobNotFound", "The specified blob does not exist."},
    [BLOB_RESOURCE_NOT_FOUND] = {404, "ResourceNotFound", "The specified resource does not exist."},
    [BLOB_UNSUPPORTED_VERB] = {405, "UnsupportedHttpVerb",
                               "The resource doesn't support specified Http Verb."},
    [BLOB_CONTAINER_EXISTS] = {409, "ContainerAlreadyExists",
                               "The specified container already exists."},
    [BLOB_BLOB_EXISTS] = {409, "BlobAlreadyExists", "The specified blob already exists."},
    [BLOB_INVALID_BLOB_TYPE] = {409, "InvalidBlobType",
                                "The blob type is invalid for this operation."},
    [BLOB_BLOCK_COUNT] =
        {409, "BlockCountExceedsLimit",
         "The committed block count cannot exceed the maximum limit of 50,000 blocks."},
    [BLOB_PUBLIC_ACCESS] = {409, "PublicAccessNotPermitted",
                            "Public access is not permitted on this storage account."},
    [BLOB_LENGTH_REQUIRED] = {411, "MissingContentLengthHeader",
                              "Content-Length HTTP header is required."},
    [BLOB_APPEND_POSITION] = {412, "AppendPositionConditionNotMet",
                              "The append position condition specified was not met."},
    [BLOB_MAX_SIZE] = {412, "MaxBlobSizeConditionNotMet",
                       "The max blob size condition specified was not met."},
    [BLOB_LEASE_NOT_PRESENT_BLOB] = {412, "LeaseNotPresentWithBlobOperation",
                                     "There is currently no lease on the blob."},
    [BLOB_LEASE_NOT_PRESENT_CONTAINER] = {412, "LeaseNotPresentWithContainerOperation",
                                          "There is currently no lease on the container."},
    [BLOB_TOO_LARGE] = {413, "RequestBodyTooLarge",
                        "The request body is too large and exceeds the maximum permissible limit."},
    [BLOB_INVALID_RANGE] = {416, "InvalidRange",
                            "The range specified is invalid for the current size of the resource."},
    [BLOB_INTERNAL] = {500, "InternalError",
                       "The server encountered an internal error. Please retry the request."},
    [BLOB_SERVER_BUSY] = {503, "ServerBusy",
                          "The server is currently unable to receive requests. Please retry your "
                          "request."},
    /* The service has this code with 500; here it is the sender who is late. */
    [BLOB_TIMED_OUT] = {408, "OperationTimedOut",
                        "The operation could not be completed within the permitted time."},
    [BLOB_DISK_FULL] = {507, "InsufficientStorage", "The disk of the server is full."},
    [BLOB_NOT_IMPLEMENTED] =
        {501, "NotImplemented",
         "The requested operation is not implemented on the specified resource."},
};

const char *blob_code_name(enum blob_code code)
{
    ASSERT(code < BLOB_CODE_COUNT);
    return codes[code].name;
}

/* 2019-05-09T00:57:52.5350000Z */
static void write_time(struct bytebuf *xml, int64_t wall_ms)
{
    char date[HTTP_DATE_SIZE];
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int month = 0;
    http_date_write(date, wall_ms / 1000);
    while (month < 11 && memcmp(months + month * 3, date + 8, 3) != 0)
        month++;
    bytebuf_printf(xml, "%.4s-%02d-%.2sT%.8s.%03d0000Z", date + 12, month + 1, date + 5, date + 17,
                   (int)(wall_ms % 1000));
}

void call_fail_with(struct blob_call *call, enum blob_code code, const char *element,
                    struct slice value)
{
    const struct code_row *row = &codes[code];
    struct bytebuf xml;
    ASSERT(row->status != 0);
    struct bytebuf *out = call_answer_reason(call, row->status, row->message);
    http_response_field(out, "x-ms-error-code", slice_cstr(row->name));
    if (code == BLOB_NO_AUTHENTICATION)
        http_response_field(out, "WWW-Authenticate", SLICE_LIT("SharedKey"));
    if (code == BLOB_INVALID_RANGE)
        bytebuf_printf(out, "Content-Range: bytes */%llu\r\n", (unsigned long long)call->total);
    if (row->status == 304) {
        answer_etag(out, call->op.info.etag); /* a cache lives by it */
        web_send_empty(call->req, UINT64_MAX);
        return;
    }
    if (call->head->method == HTTP_METHOD_HEAD) {
        web_send_empty(call->req, 0);
        return;
    }
    xml_begin(&xml, 64 * 1024);
    bytebuf_printf(&xml, "<Error><Code>%s</Code><Message>%s\nRequestId:%s\nTime:", row->name,
                   row->message, call->request_id);
    write_time(&xml, reactor_wall_ms(call->shard->reactor));
    bytebuf_append_cstr(&xml, "</Message>");
    if (element)
        xml_element(&xml, element, value);
    bytebuf_append_cstr(&xml, "</Error>");
    call_send_xml(call, out, &xml);
    bytebuf_deinit(&xml);
}

void call_fail(struct blob_call *call, enum blob_code code)
{
    call_fail_with(call, code, NULL, SLICE_NULL);
}

static enum blob_code code_of(enum err err)
{
    switch (err) {
    case ERR_CONTAINER_NOT_FOUND:
        return BLOB_CONTAINER_NOT_FOUND;
    case ERR_CONTAINER_EXISTS:
        return BLOB_CONTAINER_EXISTS;
    case ERR_BLOB_NOT_FOUND:
        return BLOB_BLOB_NOT_FOUND;
    case ERR_BLOB_EXISTS:
        return BLOB_BLOB_EXISTS;
    case ERR_CONDITION_NOT_MET:
        return BLOB_CONDITION_NOT_MET;
    case ERR_NOT_MODIFIED:
        return BLOB_NOT_MODIFIED;
    case ERR_BLOB_TYPE:
        return BLOB_INVALID_BLOB_TYPE;
    case ERR_INVALID_BLOCK_LIST:
        return BLOB_INVALID_BLOCK_LIST;
    case ERR_INVALID_BLOCK:
        return BLOB_INVALID_BLOB_OR_BLOCK;
    case ERR_BLOCK_COUNT:
        return BLOB_BLOCK_COUNT;
    case ERR_APPEND_POSITION:
        return BLOB_APPEND_POSITION;
    case ERR_BLOB_MAX_SIZE:
        return BLOB_MAX_SIZE;
    case ERR_DISK_FULL:
        return BLOB_DISK_FULL;
    case ERR_INVALID_REQUEST:
    case ERR_CONNECTION_LOST: /* the body was cut off; nobody may be reading this */
        return BLOB_INVALID_INPUT;
    case ERR_TIMEOUT:
        return BLOB_TIMED_OUT;
    case ERR_BUSY:
    case ERR_LIMIT:
    case ERR_NO_MEMORY:
    case ERR_CLOSING:
        return BLOB_SERVER_BUSY;
    default:
        return BLOB_INTERNAL;
    }
}

void call_fail_err(struct blob_call *call, enum err err)
{
    ASSERT(err != ERR_OK);
    call_fail(call, code_of(err));
}

struct slice blob_refuse(struct arena *arena, const struct http_refusal *refusal,
                         struct bytebuf *head)
{
    const char *name = "InvalidInput";
    if (refusal->status == 501)
        name = "NotImplemented";
    else if (refusal->status == 503)
        name = "ServerBusy";
    else if (refusal->status == 408)
        name = "OperationTimedOut";
    char *xml =
        arena_printf(arena,
                     "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s."
                     "</Message></Error>",
                     name, refusal->reason);
    ASSERT(refusal->status >= 400);
    http_response_field(head, "x-ms-error-code", slice_cstr(name));
    http_response_field(head, "Content-Type", SLICE_LIT("application/xml"));
    return xml ? slice_cstr(xml) : SLICE_NULL;
}
