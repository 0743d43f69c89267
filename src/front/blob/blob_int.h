/* Shared by the files of the blob front. */
#ifndef WEIR_FRONT_BLOB_BLOB_INT_H
#define WEIR_FRONT_BLOB_BLOB_INT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/bytebuf.h"
#include "blobstore/blobstore.h"
#include "front/blob/blob.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "web/web.h"

enum {
    BLOB_KEY_MAX = 128,
    BLOB_ACCOUNT_MAX = 24,
    BLOB_BUFFER = 256 * 1024, /* pieces in which content moves; two per upload, one per download */
    BLOB_XML_MAX = 8 * 1024 * 1024,     /* a block list */
    BLOB_ANSWER_MAX = 32 * 1024 * 1024, /* an XML answer */
    BLOB_RANGE_HASH_MAX = 4 * 1024 * 1024
};

struct blob_account {
    char name[BLOB_ACCOUNT_MAX + 1];
    uint8_t keys[2][BLOB_KEY_MAX];
    size_t key_len[2]; /* 0: not set */
};

struct front_blob {
    struct web_server *web;
    struct blobstore *store;
    struct blob_account accounts[FRONT_BLOB_ACCOUNTS_MAX];
    uint32_t account_count;
    bool any_date;
    _Atomic uint64_t answers[6]; /* by class of status; [0]: all */
};

/* Error codes of the protocol; the table in blob_error.c holds status, name and message. */
enum blob_code {
    BLOB_CONDITION_NOT_MET,
    BLOB_NOT_MODIFIED,
    BLOB_INVALID_HEADER_VALUE,
    BLOB_MISSING_HEADER,
    BLOB_INVALID_QUERY,
    BLOB_MISSING_QUERY,
    BLOB_OUT_OF_RANGE_QUERY,
    BLOB_INVALID_URI,
    BLOB_INVALID_INPUT,
    BLOB_OUT_OF_RANGE_INPUT,
    BLOB_INVALID_RESOURCE_NAME,
    BLOB_INVALID_METADATA,
    BLOB_EMPTY_METADATA_KEY,
    BLOB_METADATA_TOO_LARGE,
    BLOB_INVALID_MD5,
    BLOB_MD5_MISMATCH,
    BLOB_CRC64_MISMATCH,
    BLOB_BOTH_CHECKSUMS,
    BLOB_INVALID_XML,
    BLOB_INVALID_AUTHENTICATION_INFO,
    BLOB_MULTIPLE_CONDITIONS,
    BLOB_UNSATISFIABLE_CONDITION,
    BLOB_INVALID_BLOB_OR_BLOCK,
    BLOB_INVALID_BLOCK_ID,
    BLOB_INVALID_BLOCK_LIST,
    BLOB_BLOCK_LIST_TOO_LONG,
    BLOB_NO_HIERARCHY,
    BLOB_NO_AUTHENTICATION,
    BLOB_AUTHENTICATION_FAILED,
    BLOB_CORS_FAILURE,
    BLOB_CONTAINER_NOT_FOUND,
    BLOB_BLOB_NOT_FOUND,
    BLOB_RESOURCE_NOT_FOUND,
    BLOB_UNSUPPORTED_VERB,
    BLOB_CONTAINER_EXISTS,
    BLOB_BLOB_EXISTS,
    BLOB_INVALID_BLOB_TYPE,
    BLOB_BLOCK_COUNT,
    BLOB_PUBLIC_ACCESS,
    BLOB_LENGTH_REQUIRED,
    BLOB_APPEND_POSITION,
    BLOB_MAX_SIZE,
    BLOB_LEASE_NOT_PRESENT_BLOB,
    BLOB_LEASE_NOT_PRESENT_CONTAINER,
    BLOB_TOO_LARGE,
    BLOB_INVALID_RANGE,
    BLOB_INTERNAL,
    BLOB_SERVER_BUSY,
    BLOB_TIMED_OUT,
    BLOB_DISK_FULL,
    BLOB_NOT_IMPLEMENTED,
    BLOB_CODE_COUNT
};

/* A range of a read: [start, end). */
struct blob_range {
    bool given;
    uint64_t start;
    uint64_t end;
};

/* An upload on its way; see blob_upload.c. */
struct blob_transfer {
    struct blobstore_upload *upload;
    struct iobuf *buf;
    size_t cap;
    size_t fill;
    uint64_t received; /* the upload's own count is the worker's while it writes */
    uint64_t limit;
    bool writing;
    bool ended;
};

/* One request, in its arena. */
struct blob_call {
    struct front_blob *front;
    struct web_request *req;
    const struct http_head *head;
    struct arena *arena;
    struct shard *shard;
    const struct blob_account *account; /* NULL: not known */
    bool host_style;
    struct slice container; /* decoded; empty: account level */
    struct slice blob;      /* decoded; empty: container level */
    struct slice restype;
    struct slice comp;
    struct slice version;
    char request_id[37];

    struct blobstore_op op;
    struct blob_transfer transfer;
    struct blob_range range;
    struct slice md5_given;   /* 16 bytes or empty */
    struct slice crc64_given; /* 8 bytes or empty */
    uint64_t total;           /* of a blob whose range was refused */
    uint64_t position;        /* of a download */
    struct iobuf *piece;
    bool hash_md5; /* the range's checksum was asked for */
    bool hash_crc64;
    uint32_t include; /* of a listing */
};

/* ---- blob.c ---- */

/* A non-empty header of that name; data is NULL when absent or empty. */
struct slice call_header(const struct blob_call *call, const char *name);
/* A decoded query value ('+' is a blank); data is NULL when absent, *ret_ok false when malformed.
 */
struct slice call_query(struct blob_call *call, const char *name, bool plus, bool *ret_ok);
/* Gives the prepared op to the store. */
void call_submit(struct blob_call *call, void (*done)(struct blobstore_op *op));
/* Starts the op for the call's container and blob. */
void call_op(struct blob_call *call, enum blobstore_verb verb);

/* ---- blob_target.c ---- */

/* Account, container and blob from host and path. false: answered. */
bool call_target(struct blob_call *call);

/* ---- blob_auth.c ---- */

/* false: answered with a refusal. */
bool call_authorize(struct blob_call *call);

/* ---- blob_error.c ---- */

const char *blob_code_name(enum blob_code code);
void call_fail(struct blob_call *call, enum blob_code code);
/* With an extra element in the body: name and value, e.g. HeaderName. */
void call_fail_with(struct blob_call *call, enum blob_code code, const char *element,
                    struct slice value);
/* Translates an error of the store. */
void call_fail_err(struct blob_call *call, enum err err);
struct slice blob_refuse(struct arena *arena, const struct http_refusal *refusal,
                         struct bytebuf *head);

/* ---- blob_headers.c ---- */

/* Each returns false after it has answered with a refusal. */
bool call_conditions(struct blob_call *call, bool reading);
bool call_metadata(struct blob_call *call);
bool call_content_headers(struct blob_call *call, bool plain_too);
bool call_checksums(struct blob_call *call);
/* Refuses what would change the meaning of the request and is not implemented. */
bool call_unsupported(struct blob_call *call);

struct bytebuf *call_answer(struct blob_call *call, uint16_t status);
struct bytebuf *call_answer_reason(struct blob_call *call, uint16_t status, const char *reason);
void answer_etag(struct bytebuf *out, uint64_t etag);
void answer_metadata(struct blob_call *call, struct bytebuf *out, struct slice metadata);
void answer_base64(struct bytebuf *out, const char *name, struct slice bytes);
void answer_count(struct blob_call *call, uint16_t status);
/* An XML body: sets the type and sends. */
void call_send_xml(struct blob_call *call, struct bytebuf *out, const struct bytebuf *xml);

/* ---- blob_xml.c ---- */

void xml_begin(struct bytebuf *xml, size_t limit);
void xml_text(struct bytebuf *xml, struct slice text);
/* <name>text</name> */
void xml_element(struct bytebuf *xml, const char *name, struct slice text);
void xml_element_u64(struct bytebuf *xml, const char *name, uint64_t value);
void xml_element_date(struct bytebuf *xml, const char *name, uint64_t ticks);
/* <element>text</element> for text of a client, UTF-8; percent-encoded with Encoded="true" when XML
 * cannot carry it. */
void xml_encoded(struct bytebuf *xml, const char *element, struct slice text);
/* The blocks of a BlockList document, in the arena. */
MUST_CHECK enum blob_code xml_block_list(struct arena *arena, struct slice body,
                                         struct blobstore_block **ret_blocks, uint32_t *ret_count,
                                         bool *ret_ok);

/* ---- handlers; each ends in one answer ---- */

void handle_account_info(struct blob_call *call);
void handle_container_list(struct blob_call *call);
void handle_container_create(struct blob_call *call);
void handle_container_delete(struct blob_call *call);
void handle_container_get(struct blob_call *call);
void handle_container_set_metadata(struct blob_call *call);
void handle_list(struct blob_call *call);
void handle_put(struct blob_call *call);
void handle_put_block(struct blob_call *call);
void handle_append_block(struct blob_call *call);
void handle_put_block_list(struct blob_call *call);
void handle_get_block_list(struct blob_call *call);
void handle_get(struct blob_call *call);
void handle_head(struct blob_call *call);
void handle_get_metadata(struct blob_call *call);
void handle_set_metadata(struct blob_call *call);
void handle_set_properties(struct blob_call *call);
void handle_delete(struct blob_call *call);

#endif
