/*
 * The blob store: containers, block blobs and append blobs, durable before they are acknowledged.
 *
 * Content of up to BLOBSTORE_INLINE_MAX bytes lies in the index (SQLite, DIR/index.db); larger
 * content in numbered files (DIR/data/NNNN/NNNNNNNNNNNN.dat), one per upload, written and synced
 * before the index names them. Content never changes once it is named; a reader keeps what it
 * opened although the blob is replaced or deleted meanwhile.
 *
 * Uploads and operations are asynchronous: disk work runs on workers, `done` runs on the shard that
 * asked, later, never inside the call. Calls may be made on any shard. Knows no HTTP: fronts
 * translate conditions and errors.
 */
#ifndef WEIR_BLOBSTORE_BLOBSTORE_H
#define WEIR_BLOBSTORE_BLOBSTORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/iobuf.h"
#include "base/slice.h"
#include "io/db.h"
#include "io/shard.h"

struct arena;
struct blobstore;
struct blobstore_reader;
struct blobstore_upload;
struct fs;

enum {
    BLOBSTORE_INLINE_MAX = 16 * 1024,
    BLOBSTORE_NAME_MAX = 4096, /* bytes of a blob name */
    BLOBSTORE_CONTAINER_MAX = 63,
    BLOBSTORE_MD5_MAX = 32, /* bytes of a stored MD5, which may be another sum of the client's */
    BLOBSTORE_METADATA_MAX = 8 * 1024, /* names and values together */
    BLOBSTORE_BLOCK_ID_MAX = 64,
    BLOBSTORE_BLOCKS_MAX = 50000,  /* committed, of one blob */
    BLOBSTORE_STAGED_MAX = 100000, /* staged, of one blob */
    BLOBSTORE_LIST_MAX = 5000,     /* entries of one page */
    BLOBSTORE_UPLOADS_MAX = 512    /* open at once in the process */
};

/* ---- life ---- */

/*
 * Opens or makes the store below dir, recovers the index and collects files that no blob names.
 * wall_ms: now. Shard: init.
 */
MUST_CHECK enum err blobstore_open(struct fs *fs, const char *dir, uint64_t seed, int64_t wall_ms,
                                   struct blobstore **ret_store, struct err_info *info);
/* To be called on every shard (or at boot for every shard) before it uses the store. Shard: owner.
 */
void blobstore_shard_start(struct blobstore *store, struct shard *shard);
/* Nothing may be outstanding. NULL is allowed. Shard: init, after the shards have stopped. */
void blobstore_close(struct blobstore *store);

/* ---- values ---- */

enum blobstore_type { BLOBSTORE_BLOCK = 1, BLOBSTORE_APPEND = 2 };

/* Content headers; empty slices are absent. md5: at most BLOBSTORE_MD5_MAX bytes. */
struct blobstore_headers {
    struct slice content_type;
    struct slice content_encoding;
    struct slice content_language;
    struct slice content_disposition;
    struct slice cache_control;
    struct slice md5;
};

/* Times are ticks of 100 ns since 0001-01-01. The ETag is the time of the last change, made unique.
 */
struct blobstore_info {
    enum blobstore_type type;
    uint64_t length;
    uint64_t etag;
    uint64_t created;
    uint32_t block_count;
    struct blobstore_headers headers;
    struct slice metadata; /* packed, see blobstore_pair_next */
};

struct blobstore_container_info {
    struct slice name;
    uint64_t etag;
    struct slice metadata;
};

/* Metadata is one packed slice: pairs in the order given, names kept as sent. */
bool blobstore_pair_next(struct slice packed, size_t *cursor, struct slice *ret_name,
                         struct slice *ret_value);
/* Appends a pair to out (of cap bytes, *len used); false: no room. */
bool blobstore_pair_append(uint8_t *out, size_t cap, size_t *len, struct slice name,
                           struct slice value);

/* Ticks of a wall clock in milliseconds since 1970, and whole seconds since 1970 of ticks. */
uint64_t blobstore_ticks(int64_t wall_ms);
int64_t blobstore_ticks_unix(uint64_t ticks);

/* ---- uploads: content on its way in ---- */

typedef void (*blobstore_upload_fn)(struct blobstore_upload *upload, void *arg);

/* NULL: too many uploads, or out of memory. */
struct blobstore_upload *blobstore_upload_create(struct blobstore *store, struct shard *shard);
/* Adds bytes; takes the reference of range. One write or finish at a time; done may be NULL only
 * with memory content. */
void blobstore_upload_write(struct blobstore_upload *upload, struct iobuf_range range,
                            blobstore_upload_fn done, void *arg);
/* Makes the content durable. After it the upload may be given to an operation or discarded. */
void blobstore_upload_finish(struct blobstore_upload *upload, blobstore_upload_fn done, void *arg);
/*
 * For small content all at once: hashes and keeps it, and finishes the upload, without a worker.
 * false, and nothing done: larger than BLOBSTORE_INLINE_MAX. The upload must be new.
 */
MUST_CHECK bool blobstore_upload_small(struct blobstore_upload *upload, struct slice bytes);
/* First failure, sticky. */
enum err blobstore_upload_error(const struct blobstore_upload *upload);
/* Valid after finish. md5: 16 bytes. */
struct slice blobstore_upload_md5(const struct blobstore_upload *upload);
uint64_t blobstore_upload_crc64(const struct blobstore_upload *upload);
/* Drops the content at once or, with a write under way, after it. NULL is allowed. */
void blobstore_upload_discard(struct blobstore_upload *upload);

/* ---- operations ---- */

enum blobstore_verb {
    BLOBSTORE_CONTAINER_CREATE, /* metadata; ERR_CONTAINER_EXISTS */
    BLOBSTORE_CONTAINER_DELETE,
    BLOBSTORE_CONTAINER_GET,
    BLOBSTORE_CONTAINER_SET_METADATA,
    BLOBSTORE_CONTAINER_LIST, /* list.prefix, list.marker, list.max */
    BLOBSTORE_PUT,            /* upload, headers, metadata: a whole block blob */
    BLOBSTORE_PUT_APPEND,     /* headers, metadata: an empty append blob */
    BLOBSTORE_STAGE,          /* upload, block_id */
    BLOBSTORE_COMMIT,         /* blocks, headers, metadata */
    BLOBSTORE_BLOCKS,         /* answers committed and staged */
    BLOBSTORE_APPEND_BLOCK,   /* upload, append_position, max_size; answers append_offset */
    BLOBSTORE_GET,            /* answers info */
    BLOBSTORE_READ,           /* answers info and reader */
    BLOBSTORE_SET_METADATA,
    BLOBSTORE_SET_HEADERS,
    BLOBSTORE_DELETE,
    BLOBSTORE_LIST /* list.*: answers items and next_marker */
};

/* A list of ETags of a condition; unreadable ones count as tags that equal nothing. */
enum { BLOBSTORE_ETAGS_MAX = 16 };
struct blobstore_etags {
    bool present;
    bool any; /* "*" */
    uint8_t count;
    uint64_t tags[BLOBSTORE_ETAGS_MAX];
};

struct blobstore_conditions {
    struct blobstore_etags match;
    struct blobstore_etags none_match;
    bool has_modified_since;
    bool has_unmodified_since;
    int64_t modified_since; /* seconds since 1970 */
    int64_t unmodified_since;
};

enum blobstore_block_source {
    BLOBSTORE_FROM_COMMITTED,
    BLOBSTORE_FROM_STAGED,
    BLOBSTORE_FROM_LATEST
};

struct blobstore_block {
    struct slice id; /* decoded */
    enum blobstore_block_source source;
    uint64_t length; /* answers of BLOBSTORE_BLOCKS */
};

/* One entry of a listing: a blob, or a common prefix. */
struct blobstore_item {
    struct slice name;
    bool is_prefix;
    bool uncommitted; /* staged blocks only: no info */
    struct blobstore_info info;
};

struct blobstore_list {
    struct slice prefix;
    struct slice delimiter; /* empty: flat */
    struct slice marker;    /* first name to return; empty: from the start */
    uint32_t max;           /* entries wanted, 1 to BLOBSTORE_LIST_MAX */
    bool metadata;          /* read metadata too */
    bool uncommitted;       /* blobs with staged blocks only, too */
};

/*
 * One operation. The caller fills the first part, keeps the struct and all that it points to until
 * done, and reads the answers then. Answers live in the caller's arena, which nobody else may touch
 * meanwhile.
 *
 * Errors: ERR_CONTAINER_NOT_FOUND, ERR_BLOB_NOT_FOUND, ERR_CONTAINER_EXISTS, ERR_BLOB_EXISTS
 * (none_match "*" on a creating verb), ERR_CONDITION_NOT_MET, ERR_NOT_MODIFIED (a read whose
 * none_match or modified_since fails), ERR_BLOB_TYPE, ERR_INVALID_BLOCK_LIST, ERR_INVALID_BLOCK,
 * ERR_BLOCK_COUNT, ERR_APPEND_POSITION, ERR_BLOB_MAX_SIZE, and those of disk and limits.
 */
struct blobstore_op {
    enum blobstore_verb verb;
    struct arena *arena;
    struct slice container;
    struct slice blob;
    struct blobstore_conditions conditions;
    struct blobstore_headers headers;
    struct slice metadata;
    struct blobstore_upload *upload; /* finished; the operation takes it, whatever the outcome */
    struct slice block_id;
    struct blobstore_block *blocks;
    uint32_t block_count;
    int64_t append_position; /* required length before the append; -1: any */
    int64_t max_size;        /* largest length after the append; -1: any */
    struct blobstore_list list;
    void (*done)(struct blobstore_op *op);
    void *arg;
    /* answers */
    enum err err;
    struct err_info err_info;
    struct blobstore_info info;
    struct blobstore_container_info container_info;
    bool committed; /* BLOCKS: info is valid, there is a committed blob */
    uint64_t append_offset;
    struct blobstore_item *items;                /* LIST */
    struct blobstore_container_info *containers; /* CONTAINER_LIST */
    uint32_t item_count;
    struct slice next_marker;       /* empty: the listing is complete */
    struct blobstore_block *staged; /* BLOCKS: staged; the committed ones are in blocks */
    uint32_t staged_count;
    struct blobstore_reader *reader; /* READ: to be closed by the caller */
    /* private */
    struct db_task task;
    struct blobstore *store;
    struct shard *shard;
    struct list_node opening;
    uint64_t born;
    uint64_t now_ticks;
};

/* Sets the struct to "nothing given". */
void blobstore_op_init(struct blobstore_op *op, enum blobstore_verb verb, struct arena *arena);
/* Shard: any, `shard` is the running one. */
void blobstore_submit(struct blobstore *store, struct shard *shard, struct blobstore_op *op);

/* ---- readers: a blob's content as it was when opened ---- */

typedef void (*blobstore_read_fn)(struct blobstore_reader *reader, enum err err, size_t len,
                                  void *arg);

/*
 * Reads up to len bytes at offset into data; done tells how many came (fewer only at the end of the
 * blob, or at a boundary between pieces: ask again). One read at a time.
 */
void blobstore_reader_read(struct blobstore_reader *reader, uint64_t offset, void *data, size_t len,
                           blobstore_read_fn done, void *arg);
/* NULL is allowed. No read may be under way. */
void blobstore_reader_close(struct blobstore_reader *reader);

/* ---- whole writes from memory, for outputs of jobs ---- */

struct blobstore_write;
typedef void (*blobstore_write_fn)(enum err err, const struct err_info *info, void *arg);

enum blobstore_write_how {
    BLOBSTORE_WRITE_PUT,    /* replaces the block blob */
    BLOBSTORE_WRITE_APPEND, /* appends one block; makes the append blob when it is not there */
    BLOBSTORE_WRITE_STAGE   /* stages a block under block_id */
};

/*
 * Makes the container when it is missing, then writes the bytes (copied before return).
 * append_position: as in blobstore_op, -1 for any: with it a repeated append is refused instead of
 * doubled. done runs once, when durable.
 */
void blobstore_write_bytes(struct blobstore *store, struct shard *shard,
                           enum blobstore_write_how how, struct slice container, struct slice blob,
                           struct slice block_id, struct slice content_type, struct slice bytes,
                           int64_t append_position, blobstore_write_fn done, void *arg);

/* ---- figures ---- */

struct blobstore_stats {
    uint64_t uploads_open;
    uint64_t upload_bytes;
    uint64_t read_bytes;
    uint64_t files_removed;
    bool writable; /* false after a failed sync: writes are refused until a restart */
};

/* Any thread. */
void blobstore_stats_read(const struct blobstore *store, struct blobstore_stats *ret_stats);

#endif
