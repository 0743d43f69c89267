/*
 * One partition's log: segments of v2 batches with offset and time index, producer state and leader
 * epochs.
 *
 * A log belongs to one shard; every function runs there ("Shard: owner") and never blocks: file
 * calls happen on disk workers through the shard's `struct commit`. Requests are structs owned by
 * the caller and linked in place; each accepted request ends with exactly one on_done, on the owner
 * shard, never inside the call that started it.
 *
 * Visible to readers is what lies below the high watermark: a batch becomes visible when the
 * promise of its acknowledgement holds (in the kernel for SEGLOG_ACK_WRITTEN, on stable storage for
 * SEGLOG_ACK_DURABLE).
 */
#ifndef WEIR_SEGLOG_SEGLOG_H
#define WEIR_SEGLOG_SEGLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/iobuf.h"
#include "base/list.h"
#include "io/reactor.h"
#include "seglog/batch.h"
#include "seglog/commit.h"
#include "seglog/types.h"

struct seglog;

/* ---- Configuration
 * -------------------------------------------------------------------------------------------- */

/* Applied hot by seglog_config_set. Names in comments are those of Kafka's topic configs. */
struct seglog_config {
    uint64_t segment_bytes;         /* segment.bytes */
    int64_t segment_ms;             /* segment.ms */
    int64_t retention_ms;           /* retention.ms; -1: unlimited */
    int64_t retention_bytes;        /* retention.bytes; -1: unlimited */
    uint32_t index_interval_bytes;  /* index.interval.bytes */
    int64_t producer_expiration_ms; /* producer.id.expiration.ms */
    bool always_durable; /* flush.messages=1: every append is synced before it is acknowledged */
    bool deletion;       /* cleanup.policy contains delete: retention applies */
    bool append_time;    /* message.timestamp.type=LogAppendTime */
};

/* Kafka's defaults. */
void seglog_config_default(struct seglog_config *ret_config);

/* ---- Opening and closing
 * -------------------------------------------------------------------------------------- */

/* Identity of a log across renames and re-creation: topic id and partition. */
struct seglog_id {
    uint8_t topic_id[16];
    int32_t partition;
};

/* Told on the owner shard when the high watermark or the log start moved, or the log went offline.
 */
typedef void seglog_moved_fn(struct seglog *seglog, void *ctx);

struct seglog_open {
    /* set by the caller; name is "<topic>-<partition>", the folder below seglog_store_folder */
    struct commit *commit;
    const char *name; /* copied */
    struct seglog_id id;
    struct seglog_config config;
    bool must_exist; /* false: an absent folder is a new, empty log; true: it is ERR_NOT_FOUND */
    seglog_moved_fn *moved; /* may be NULL */
    void *moved_ctx;
    void (*on_done)(struct seglog_open *open);
    void *ctx;
    /* set when done */
    enum err err;
    struct err_info info;
    struct seglog *seglog;    /* NULL on error */
    uint64_t recovered_bytes; /* walked behind the recovery point */
    uint64_t truncated_bytes; /* torn tail cut off */
    /* private */
    struct work work;
    struct seglog *opening;
    int64_t now_ms;
};

/*
 * Opens or creates the log: recovers segments behind the last clean point, cuts a torn tail,
 * replays the journals. Runs on a disk worker; several logs open in parallel. on_done always comes.
 */
void seglog_open_start(struct seglog_open *open);

/* A request without further arguments: close, delete, retain, trim. */
struct seglog_op {
    void (*on_done)(struct seglog_op *op);
    void *ctx;
    enum err err;
    struct err_info info;
    /* private */
    struct work work;
    struct list_node node;
    struct seglog *seglog;
    int kind;
    int step;
    int64_t arg;
    struct record_offset *removed; /* bases of segments to remove */
    uint32_t removed_count;
};

/*
 * Waits for everything in flight, syncs, trims the write-ahead, writes snapshots and the clean
 * mark, frees the log. No append, read or find is accepted from the call on; those waiting end
 * first. seglog is gone at on_done.
 */
void seglog_close(struct seglog *seglog, struct seglog_op *op);
/* Removes the log's folder (renamed at once, so that the name is free at on_done) and frees the
 * log. */
void seglog_delete(struct seglog *seglog, struct seglog_op *op);

/* ---- State
 * ----------------------------------------------------------------------------------------------------
 */

struct seglog_bounds {
    struct record_offset start;          /* log start: first readable */
    struct record_offset high_watermark; /* readers see below this */
    struct record_offset stable; /* last stable offset: readers of committed data see below this */
    struct record_offset end;    /* next offset to assign */
    struct leader_epoch epoch;   /* the one appends are stamped with */
};

struct seglog_bounds seglog_bounds(const struct seglog *seglog);
/* ERR_OK: serving. ERR_STORAGE: offline after a disk error. ERR_CLOSING: being closed or deleted.
 */
enum err seglog_state(const struct seglog *seglog);
void seglog_config_set(struct seglog *seglog, const struct seglog_config *config);

struct seglog_stats {
    uint64_t bytes; /* of all segments */
    uint32_t segments;
    uint32_t producers;
    uint64_t unsynced_bytes;
    int64_t last_timestamp_ms; /* largest of all records, -1: none */
};

void seglog_stats(const struct seglog *seglog, struct seglog_stats *ret_stats);

/*
 * Largest epoch not above `asked` and the offset where it ends (start of the next, or the log end).
 * For one older than all that are left, that one and the start of the oldest: a reader that stands
 * there has lost nothing. false: asked is negative.
 */
bool seglog_epoch_end(const struct seglog *seglog, struct leader_epoch asked,
                      struct leader_epoch *ret_epoch, struct record_offset *ret_end);
/* Epoch of the record at this offset; -1 when unknown. */
struct leader_epoch seglog_epoch_at(const struct seglog *seglog, struct record_offset offset);

/* ---- Append
 * ---------------------------------------------------------------------------------------------------
 */

enum seglog_ack {
    SEGLOG_ACK_WRITTEN, /* in the kernel: survives kill -9 */
    SEGLOG_ACK_DURABLE  /* on stable storage: survives power loss */
};

struct seglog_append {
    /* set by the caller; zero the rest */
    struct iobuf_range
        batch; /* one whole validated batch; one reference, taken by seglog_append on success */
    enum seglog_ack ack;
    void (*on_done)(struct seglog_append *append);
    void *ctx;
    /* known when seglog_append returns ERR_OK */
    struct record_offset base_offset;
    struct record_offset last_offset;
    int64_t append_time_ms; /* -1 unless the topic stamps times */
    bool duplicate; /* an idempotent producer's repetition: offsets are those of the first time */
    /* known at on_done */
    enum err err; /* ERR_OK, ERR_STORAGE, ERR_DISK_FULL */
    /* private */
    struct list_node node;
    struct seglog *seglog;
    struct record_offset wait_end;
};

/*
 * Assigns offsets and queues the batch for the next commit round. The batch bytes are patched in
 * place (base offset, epoch, append time): nobody else may hold them as writable. At return the
 * batch is in the tail but not yet visible. ERR_OK: on_done comes once. Anything else: refused,
 * nothing happened, on_done never comes, the reference stays with the caller:
 * ERR_OUT_OF_ORDER_SEQUENCE, ERR_INVALID_PRODUCER_EPOCH, ERR_RECORD_LIST_TOO_LARGE, ERR_BUSY (too
 * much pending), ERR_STORAGE (offline), ERR_CLOSING, ERR_DISK_FULL (recently refused for lack of
 * space), ERR_NO_MEMORY.
 */
MUST_CHECK enum err seglog_append(struct seglog *seglog, struct seglog_append *append,
                                  struct err_info *info);

/* ---- Read
 * -----------------------------------------------------------------------------------------------------
 */

enum { SEGLOG_READ_RANGES_MAX = 32 };

/* Where on disk a read or a search goes on; private. */
struct seglog_cold {
    struct record_offset segment;      /* base */
    struct record_offset next_segment; /* base of the one behind it; -1: none */
    struct record_offset bound;        /* only batches that begin below */
    struct file_pos pos;               /* a batch begins here, at or before the one wanted */
    bool exact;                        /* pos is the very batch wanted */
    bool indexed;                      /* pos comes from the index in memory */
    uint64_t end;                      /* bytes of the segment that are written */
    uint64_t index_bytes;              /* good bytes of its index files */
    uint64_t time_bytes;
    struct file_pos next_pos;
    struct record_offset next_pos_segment;
};

struct seglog_read {
    /* set by the caller; zero the rest */
    struct record_offset from;
    struct record_offset below; /* upper bound besides the high watermark; INT64_MAX for none */
    uint32_t bytes_max;
    bool first_whole; /* give the first batch even if it is larger than bytes_max */
    void (*on_done)(struct seglog_read *read);
    void *ctx;
    /* results: whole batches, the first one holds `from` or is the first behind it */
    enum err err; /* ERR_OK, ERR_OFFSET_OUT_OF_RANGE, ERR_STORAGE, ERR_CORRUPT, ERR_NO_MEMORY,
                     ERR_CLOSING */
    uint32_t range_count;
    uint64_t bytes;
    struct iobuf_range ranges[SEGLOG_READ_RANGES_MAX]; /* one reference each, the caller's */
    struct record_offset next; /* offset behind the last batch returned; `from` when nothing was */
    bool cold;                 /* came from disk */
    /* private */
    struct work work;
    struct list_node node;
    struct seglog *seglog;
    struct seglog_cold cold_read;
};

/*
 * true: served at once (results are set, on_done does not come): from the tail, empty, or an error.
 * false: on_done comes from a disk read.
 * Fewer bytes than there are may come: read again from `next`. An empty result with ERR_OK means
 * `from` is at the bound.
 */
bool seglog_read(struct seglog *seglog, struct seglog_read *read);
/* Drops the references of the ranges. */
void seglog_read_release(struct seglog_read *read);

/*
 * Bytes readable from `from` without touching the disk, to decide about min_bytes of a waiting
 * fetch; counts whole batches up to the high watermark and stops at limit. When the tail does not
 * reach back to `from`, an estimate of the bytes on disk.
 */
uint64_t seglog_bytes_behind(const struct seglog *seglog, struct record_offset from,
                             uint64_t limit);

/* ---- Find by time
 * --------------------------------------------------------------------------------------------- */

struct seglog_find {
    /* set by the caller */
    int64_t timestamp_ms; /* first record at or behind this time; SEGLOG_FIND_MAX: the record with
                             the greatest time */
    struct record_offset below; /* only records below this offset; INT64_MAX: the high watermark */
    void (*on_done)(struct seglog_find *find);
    void *ctx;
    /* results; offset -1 when there is none */
    enum err err;
    struct record_offset offset;
    int64_t found_timestamp_ms;
    struct leader_epoch epoch;
    /* private */
    struct work work;
    struct seglog *seglog;
    struct seglog_cold cold_read;
    struct record_offset from;
    struct record_offset bound;
    int64_t wanted_ms;
    bool whole; /* looks at all records for the greatest time */
};

#define SEGLOG_FIND_MAX INT64_MIN

/* on_done always comes. */
void seglog_find(struct seglog *seglog, struct seglog_find *find);

/* ---- Housekeeping
 * --------------------------------------------------------------------------------------------- */

/* Rolls and deletes by retention.ms and retention.bytes; expires producers; writes the recovery
 * point. */
void seglog_retain(struct seglog *seglog, struct seglog_op *op);
/* Raises the log start (DeleteRecords), durably; whole segments below it are removed.
 * ERR_OFFSET_OUT_OF_RANGE. */
void seglog_trim(struct seglog *seglog, struct record_offset start, struct seglog_op *op);

/* What is known of an idempotent producer here. */
struct seglog_producer {
    int64_t producer_id;
    int16_t epoch;
    int32_t last_sequence; /* -1: none yet */
    struct record_offset last_offset;
    int64_t last_timestamp_ms;
};

/* false: unknown. */
bool seglog_producer_get(const struct seglog *seglog, int64_t producer_id,
                         struct seglog_producer *ret_producer);

/* ---- For fuzzing and tools
 * ------------------------------------------------------------------------------------ */

struct seglog_scan {
    uint64_t good_bytes; /* whole, valid batches from the start */
    uint64_t batches;
    uint64_t records;
    struct record_offset end; /* offset behind the last good batch */
    bool torn;                /* bytes other than zeros follow */
};

/* Walks segment bytes as recovery does: stops at zeros, at a torn or damaged batch, at offsets that
 * go back. */
void seglog_scan_bytes(struct slice segment, struct record_offset base,
                       struct seglog_scan *ret_scan);

#endif
