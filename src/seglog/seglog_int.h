/*
 * Structures of the log shared between its files. Private to seglog.
 *
 * Two halves never touch the same field at the same time: the shard half (offsets, tail, indexes,
 * producers) belongs to the owner shard; the worker half (marked "worker") belongs to whichever
 * disk work item currently holds the log.
 */
#ifndef WEIR_SEGLOG_SEGLOG_INT_H
#define WEIR_SEGLOG_SEGLOG_INT_H

#include "base/map.h"
#include "io/fs.h"
#include "io/reactor.h"
#include "seglog/seglog.h"

enum {
    SEGLOG_PATH_MAX = FS_PATH_MAX,
    SEGLOG_FILE_NAME_MAX = 40,
    INDEX_ENTRY_SIZE = 8,
    TIME_ENTRY_SIZE = 12,
    PRODUCER_BATCHES = 5,
    PRODUCERS_MAX = 1 << 20,
    EPOCHS_MAX = 1 << 16,
    SEGMENTS_MAX = 1 << 20,
    CHECKPOINT_EVERY_BYTES = 64 * 1024 * 1024,
    ZERO_STEP_MIN = 1024 * 1024,
    ZERO_STEP_MAX = 8 * 1024 * 1024,
    RESERVE_STEP_MIN = 256 * 1024,
    RESERVE_STEP_MAX = 8 * 1024 * 1024,
    RESERVE_DIRECT_MIN = 1024 * 1024 /* bytes of one write that are synced without zeros ahead */
};

/* ---- segment.c
 * -------------------------------------------------------------------------------------------------
 */

/* Entries of one index that are not yet in its file, in the file's own bytes. */
struct index_part {
    uint8_t *bytes;
    uint32_t len;
    uint32_t cap;
    uint64_t flushed; /* bytes in the file before these */
};

/* What an unwritten append changed in a segment, to take it back. */
struct segment_mark {
    uint64_t bytes;
    int64_t max_ms;
    struct record_offset max_ms_last;
    uint64_t index_bytes; /* flushed + len */
    uint64_t time_bytes;
    uint64_t since_index;
    int64_t indexed_ms;
};

struct segment {
    struct record_offset base;
    uint64_t bytes;   /* appended, pending ones included */
    uint64_t written; /* by finished rounds */
    int64_t created_ms;
    int64_t first_ms;                 /* time of the first batch; -1: none */
    int64_t max_ms;                   /* -1: none */
    struct record_offset max_ms_last; /* last offset of the batch that holds max_ms */
    uint64_t since_index;
    int64_t indexed_ms; /* of the last time index entry */
    struct index_part index;
    struct index_part time;
    bool dir_unsynced;    /* worker: the file's entry in the folder */
    bool sealed;          /* a later segment exists: no more appends */
    bool named;           /* the file's entry in the folder is on stable storage */
    bool unsynced;        /* has written bytes that were not synced */
    bool finished;        /* sealed, synced, trimmed, indexes whole in their files */
    struct fs_file *file; /* worker; NULL: to be opened by the next write */
    uint64_t zeroed;      /* worker: size of the file, bytes behind the data are zeros */
    uint32_t zero_step;   /* worker */
    uint64_t reserved;    /* worker: blocks are set aside up to here; UINT64_MAX: not to be had */
};

struct segment *segment_create(struct record_offset base, int64_t now_ms);
/* The file must be closed. */
void segment_destroy(struct segment *segment);
/* "<dir>/<20 digits><suffix>". False: too long. */
bool segment_path(char ret_path[SEGLOG_PATH_MAX], const char *dir, struct record_offset base,
                  const char *suffix);
/* Base offset of "<20 digits>.log"; -1 for any other name. */
int64_t segment_name_parse(const char *name, const char *suffix);
/* Accounts for an appended batch at the segment's end and makes index entries. False: out of memory
 * (index is then sparser, nothing else). */
void segment_note(struct segment *segment, const struct batch_header *header, uint32_t interval);
struct segment_mark segment_mark(const struct segment *segment);
void segment_rewind(struct segment *segment, const struct segment_mark *mark);
/* Makes the last time index entry tell the segment's max timestamp. */
void segment_index_close(struct segment *segment);
/* Greatest entry in memory whose offset is not above the one asked; false: none in memory. */
bool segment_index_find(const struct segment *segment, struct record_offset offset,
                        struct file_pos *ret_pos);
/* Offset behind the greatest time entry in memory whose time is below the one asked; false: none.
 */
bool segment_time_find(const struct segment *segment, int64_t timestamp_ms,
                       struct record_offset *ret_offset);

/* ---- tail.c
 * ----------------------------------------------------------------------------------------------------
 */

/* One batch in memory. */
struct tail_entry {
    struct record_offset base;
    struct record_offset end;
    struct iobuf *buf; /* one reference */
    const uint8_t *data;
    uint32_t size;
    uint32_t charge; /* bytes given back when the entry goes; only the last entry of a shared block
                        carries it */
    int64_t max_ms;
};

/* Recent batches of one log, oldest first. */
struct tail {
    struct tail_entry *entries; /* ring, cap is a power of two */
    uint32_t cap;
    uint32_t first;
    uint32_t count;
    struct iobuf *block; /* small batches are copied in here, one after another */
    uint32_t block_used;
    uint32_t block_next;       /* size of the next block */
    struct record_offset keep; /* entries ending above this must stay: not written, or in a round */
};

static inline struct tail_entry *tail_at(const struct tail *tail, uint32_t i)
{
    return &tail->entries[(tail->first + i) & (tail->cap - 1)];
}

struct commit;
/* Adds a batch, copying a small one; takes the reference in range on success. NULL: out of memory.
 */
struct tail_entry *tail_push(struct seglog *seglog, struct iobuf_range *range,
                             const struct batch_header *header);
/* Drops entries at or behind the offset (an append taken back). */
void tail_rewind(struct seglog *seglog, struct record_offset end);
void tail_clear(struct seglog *seglog);
/* Index of the first entry whose end is above the offset; count when there is none. */
uint32_t tail_find(const struct tail *tail, struct record_offset offset);
/* Drops oldest batches of the shard until the budget holds. */
void tail_evict(struct commit *commit);

/* ---- producers.c
 * -----------------------------------------------------------------------------------------------
 */

struct producer_batch {
    int32_t last_sequence;
    int32_t delta; /* last offset - base offset, also of sequences */
    struct record_offset last_offset;
    int64_t timestamp_ms;
};

struct producer {
    int64_t id;
    int16_t epoch;
    uint8_t count; /* batches known, newest last */
    struct producer_batch batches[PRODUCER_BATCHES];
};

struct producers {
    struct map *map; /* id -> struct producer * */
    size_t limit;    /* PRODUCERS_MAX */
    size_t hand;     /* in the map: where the next one to forget is looked for */
};

MUST_CHECK bool producers_init(struct producers *producers);
void producers_deinit(struct producers *producers);
const struct producer *producers_get(const struct producers *producers, int64_t id);
/* Section "Exactly-once appends" of the README. On a duplicate ret_duplicate tells the first time's
 * batch, else its delta is -1. */
MUST_CHECK enum err producers_check(const struct producers *producers,
                                    const struct batch_header *header,
                                    struct producer_batch *ret_duplicate, struct err_info *info);
/* Notes an appended batch (offsets already assigned). False: out of memory. */
MUST_CHECK bool producers_note(struct producers *producers, const struct batch_header *header,
                               int64_t timestamp_ms);
/* Puts back a former state; count 0 removes it. */
void producers_restore(struct producers *producers, const struct producer *former);
void producers_expire(struct producers *producers, int64_t before_ms);
struct producer_undo {
    struct record_offset base; /* of the batch that changed it */
    struct producer former;
};
/*
 * Snapshot file in Kafka's format, as of `written`: what later batches changed is taken from undo
 * (oldest first).
 */
void producers_encode(const struct producers *producers, struct record_offset written,
                      const struct producer_undo *undo, uint32_t undo_count, struct bytebuf *out);
MUST_CHECK enum err producers_decode(struct producers *producers, struct slice bytes,
                                     struct err_info *info);
void producers_clear(struct producers *producers);

/* ---- epochs.c
 * --------------------------------------------------------------------------------------------------
 */

struct epoch_start {
    struct leader_epoch epoch;
    struct record_offset start;
};

struct epochs {
    struct epoch_start *rows; /* epochs and offsets rise strictly */
    uint32_t count;
    uint32_t cap;
};

void epochs_deinit(struct epochs *epochs);
/* Notes that offset was written with epoch, when that is news. False: out of memory. */
MUST_CHECK bool epochs_note(struct epochs *epochs, struct leader_epoch epoch,
                            struct record_offset offset);
void epochs_rewind(struct epochs *epochs, struct record_offset end);
void epochs_trim(struct epochs *epochs, struct record_offset start);
void epochs_encode(const struct epochs *epochs, struct bytebuf *out);
MUST_CHECK enum err epochs_decode(struct epochs *epochs, struct slice text, struct err_info *info);

/* ---- checkpoint.c
 * ---------------------------------------------------------------------------------------------- */

/* "weir-checkpoint": what recovery may rely on. */
struct checkpoint {
    struct record_offset log_start;
    struct record_offset segment; /* base of the segment that holds the point */
    struct file_pos pos;
    struct record_offset offset; /* everything below is synced and verified */
    int64_t first_ms;            /* times of the segment's part before the point */
    int64_t max_ms;
    struct record_offset max_ms_last;
};

void checkpoint_encode(const struct checkpoint *checkpoint, struct bytebuf *out);
MUST_CHECK enum err checkpoint_decode(struct slice text, struct checkpoint *ret_checkpoint,
                                      struct err_info *info);

/* ---- the log
 * ---------------------------------------------------------------------------------------------------
 */

/* State at a boundary between appends, to take back what could not be written. */
struct log_mark {
    struct record_offset end;
    uint32_t segment_count;
    struct segment_mark active;
};

enum seglog_life { SEGLOG_SERVING, SEGLOG_OFFLINE, SEGLOG_CLOSING };

struct seglog {
    struct commit *commit;
    struct fs *fs;
    char *name;
    char *dir;
    struct seglog_id id;
    struct seglog_config config;
    seglog_moved_fn *moved;
    void *moved_ctx;
    enum seglog_life life;

    struct segment **segments; /* oldest first; the last is active */
    uint32_t segment_count;
    uint32_t segment_cap;

    struct record_offset start;
    struct record_offset end;
    struct record_offset written;        /* high watermark: rounds up to here are done */
    struct record_offset synced;         /* segments are on stable storage below this */
    struct record_offset journaled;      /* the journal holds [synced, journaled) */
    struct record_offset durable_wanted; /* some waiter needs durability up to here */
    struct leader_epoch epoch;
    struct log_mark mark_written; /* state at `written` */
    struct log_mark mark_round;   /* state at the end of the round in flight */
    uint64_t unsynced_bytes;      /* written since `synced` */
    uint64_t point_bytes;         /* appended since the last recovery point */
    struct checkpoint point;      /* last written recovery point */
    uint64_t full_until_us;       /* appends are refused for lack of space until then */

    struct tail tail;
    struct producers producers;
    struct epochs epochs;
    struct producer_undo *undo;
    uint32_t undo_count;
    uint32_t undo_cap;

    struct list_node waiting; /* seglog_append, by wait_end */
    struct list_node dirty_node;
    struct list_node all_node; /* in commit->logs */
    struct list_node flush_node;
    uint64_t pending_bytes; /* appended, not written */
    _Atomic bool suspect;   /* a sync failed: any thread */
    bool in_round;
    bool flushing;
    bool flush_wanted;                 /* another flush after the one running */
    bool point_wanted;                 /* it is to write a recovery point too */
    bool folder_unsynced;              /* the folder's entry in its parent */
    bool epochs_changed;               /* since the last recovery point */
    struct record_offset snapshots[2]; /* offsets of snapshot files, newest first; -1: none */
    uint32_t busy;                     /* reads, finds, housekeeping on workers */
    uint32_t journal_cycle[2]; /* cycle of each journal file that holds unsynced bytes of this log;
                                  0: none */
    struct record_offset journal_end[2];
    struct list_node ops;     /* housekeeping waiting for its turn */
    struct seglog_op *op;     /* the one running */
    struct seglog_op *ending; /* close or delete */
    struct {
        struct record_offset offset; /* where a sequential reader will go on */
        struct record_offset segment;
        struct file_pos pos;
    } hints[8];
    uint32_t hint_next;
};

static inline struct segment *seglog_active(const struct seglog *seglog)
{
    return seglog->segments[seglog->segment_count - 1];
}

/* Index of the segment that holds the offset (the last whose base is not above it). */
uint32_t seglog_segment_find(const struct seglog *seglog, struct record_offset offset);
/* Appends a segment to the table. False: out of memory or limit. */
MUST_CHECK bool seglog_segment_add(struct seglog *seglog, struct segment *segment);
struct log_mark seglog_mark(const struct seglog *seglog);
void seglog_check(const struct seglog *seglog);
/* Seals the active segment and makes a new one at the log end. False: out of memory. */
MUST_CHECK bool seglog_roll(struct seglog *seglog, int64_t now_ms);
/* Frees everything; nothing in flight. */
void seglog_free(struct seglog *seglog);
/* Gives up: waiting appends fail with ERR_STORAGE, readers are refused. */
void seglog_offline(struct seglog *seglog, const struct err_info *why);
/* Takes back everything that was not written; waiters get err. */
void seglog_rollback(struct seglog *seglog, enum err err);
/* Completes appends whose promise holds. */
void seglog_waiters_run(struct seglog *seglog);
/* Closes handles of finished segments, when no round uses them. */
void seglog_files_sweep(struct seglog *seglog);
/* Starts what waits for quiet: housekeeping, closing. */
void seglog_settle(struct seglog *seglog);
void seglog_moved_call(struct seglog *seglog);
static inline struct record_offset seglog_durable(const struct seglog *seglog)
{
    return record_offset_max(seglog->synced, seglog->journaled);
}

/*
 * Worker: a sync of the log's files failed. The kernel may now hold bytes as clean that are not on the disk, and would go
 * on to do so for the next process: leaves a mark in the folder that makes the next opening write them again.
 */
void seglog_suspect(struct seglog *seglog);

/* recover.c: runs on a worker, fills the log from its folder. */
MUST_CHECK enum err seglog_recover(struct seglog *seglog, const struct seglog_open *open,
                                   int64_t now_ms, uint64_t *ret_walked, uint64_t *ret_cut,
                                   struct err_info *info);

#endif
