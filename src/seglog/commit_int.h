/*
 * The store, the shard's commit state and its rounds, shared between files of seglog. Private to
 * seglog.
 */
#ifndef WEIR_SEGLOG_COMMIT_INT_H
#define WEIR_SEGLOG_COMMIT_INT_H

#include "seglog/seglog_int.h"

enum {
    JOURNAL_FILES = 2,
    JOURNAL_ALIGN = 4096,
    JOURNAL_FRAME_SIZE = 64,
    JOURNAL_BYTES_DEFAULT = 32 * 1024 * 1024,
    TAIL_BYTES_DEFAULT = 16 * 1024 * 1024,
    PENDING_BYTES_DEFAULT = 64 * 1024 * 1024,
    COLD_BYTES_DEFAULT = 64 * 1024 * 1024,
    ROUND_BYTES_MAX = 64 * 1024 * 1024,
    ROUND_PARTS_MAX = 1 << 18,
    DIRECT_FILES_DEFAULT = 4,
    DIRECT_BYTES_DEFAULT = 1024 * 1024,
    DIRECT_ROUND_MAX = 16, /* logs made durable by one round when the journal cannot be used */
    FLUSHES_MAX = 4,       /* at a time per shard */
    FULL_PAUSE_US = 100 * 1000
};

/* ---- store.c, journal.c
 * ---------------------------------------------------------------------------------------- */

/* One frame of a journal of an earlier run. */
struct journal_ref {
    struct seglog_id id;
    struct record_offset base;
    struct record_offset end;
    uint32_t file; /* index in the store's journal paths */
    uint32_t len;
    struct file_pos pos; /* of the payload */
    uint32_t generation; /* with cycle and pos: the order in which frames were written */
    uint32_t cycle;
    bool needed; /* its log did not open: the file stays for the next start */
};

struct seglog_store {
    struct fs *fs;
    char *root;
    char *folder;
    char *journal_dir;
    uint32_t generation; /* starts before this one */
    char **journal_paths;
    uint32_t journal_path_count;
    struct journal_ref *refs; /* sorted by id, then age */
    uint32_t ref_count;
    uint32_t ref_cap;
};

struct journal_frame {
    uint32_t generation;
    uint32_t cycle;
    struct seglog_id id;
    struct record_offset base;
    struct record_offset end;
    uint32_t len;
};

/* Writes the frame header for a payload whose checksum is given; crc over header and payload. */
void journal_frame_encode(uint8_t out[JOURNAL_FRAME_SIZE], const struct journal_frame *frame,
                          const struct slice *parts, uint32_t part_count);
/* Reads a header; false: not a frame. The payload's checksum is checked by journal_frame_holds. */
bool journal_frame_decode(const uint8_t in[JOURNAL_FRAME_SIZE], struct journal_frame *ret_frame);
bool journal_frame_holds(const uint8_t in[JOURNAL_FRAME_SIZE], struct slice payload);
/* Indexes every journal left in the store's folder. */
MUST_CHECK enum err journal_load(struct seglog_store *store, struct err_info *info);
/* Frames of this log, in order. */
const struct journal_ref *journal_refs_of(const struct seglog_store *store, struct seglog_id id,
                                          uint32_t *ret_count);
/* The log did not open: what the journals hold of it is to stay. Any worker or shard, but one at a time
 * per log, and never beside seglog_store_recovered. */
void journal_keep(struct seglog_store *store, struct seglog_id id);
int journal_id_compare(const struct seglog_id *a, const struct seglog_id *b);

/* ---- commit.c, round.c
 * ----------------------------------------------------------------------------------------- */

enum sync_way { SYNC_NOT, SYNC_DIRECT, SYNC_JOURNAL };

/* Bytes of one log that go to one place of one segment. */
struct round_extent {
    struct segment *segment;
    struct file_pos pos;
    uint32_t part_first;
    uint32_t part_count;
    uint64_t bytes;
};

struct round_job {
    struct seglog *seglog;
    struct record_offset from;
    struct record_offset to;
    uint64_t bytes; /* to write */
    uint32_t batches;
    uint32_t extent_first;
    uint32_t extent_count;
    uint32_t sync_first; /* segments to sync when the way is direct */
    uint32_t sync_count;
    uint32_t journal_part_first; /* batches from `durable` up to `to` */
    uint32_t journal_part_count;
    struct record_offset journal_base;
    uint64_t journal_bytes;
    bool durable;
    enum sync_way way;
    bool zeros; /* the segment is written ahead with zeros */
    bool folder_unsynced;
    bool synced;       /* result: all segments are on stable storage up to `to` */
    bool write_failed; /* result: err came before anything was synced */
    enum err err;
    struct err_info info;
};

struct round {
    struct work work;
    struct commit *commit;
    struct round_job *jobs;
    uint32_t job_count;
    uint32_t job_cap;
    struct slice *parts;
    uint32_t part_count;
    uint32_t part_cap;
    struct round_extent *extents;
    uint32_t extent_count;
    uint32_t extent_cap;
    struct segment **syncs;
    uint32_t sync_count;
    uint32_t sync_cap;
    uint8_t *frames; /* journal frame headers */
    uint32_t frame_cap;
    struct slice *frame_parts; /* what one pwritev of the journal takes */
    uint32_t frame_part_cap;
    uint32_t journal_jobs;
    struct file_pos journal_pos;
    uint32_t journal_file;
    uint32_t journal_cycle;
    uint64_t journal_bytes;   /* room set aside */
    uint64_t journal_written; /* result: less, when a job failed before */
    enum err journal_err;
    struct err_info journal_info;
    uint32_t synced_files;    /* result */
    struct fs_file **closing; /* handles to close first */
    uint32_t closing_count;
    uint32_t closing_cap;
};

enum journal_state { JOURNAL_ABSENT, JOURNAL_MAKING, JOURNAL_READY, JOURNAL_BROKEN };

struct journal {
    enum journal_state state;
    struct fs_file *files[JOURNAL_FILES];
    uint32_t serials[JOURNAL_FILES]; /* in the names */
    uint32_t next_serial;
    uint32_t cycles[JOURNAL_FILES];     /* 0: never used */
    uint32_t dirty_logs[JOURNAL_FILES]; /* logs whose only stable copy of something is in there */
    uint32_t current;
    uint32_t next_cycle;
    struct file_pos pos;
    uint64_t retry_us; /* no new attempt to make the files before */
    struct work work;
    enum err err;
    struct err_info info;
};

struct commit {
    struct seglog_store *store;
    struct fs *fs;
    struct reactor *reactor;
    struct commit_config config;
    struct commit_stats stats;
    struct hook hook;
    struct round round;
    bool in_flight;
    bool hook_armed;
    struct list_node dirty; /* logs with something to write or to make durable */
    struct list_node logs;
    struct list_node flushes; /* logs waiting for a flush */
    uint32_t flushing;
    uint32_t opening;
    size_t pending_bytes;
    size_t cold_bytes;             /* set aside for reads under way */
    struct list_node cold_waiting; /* seglog_read that wait for them */
    size_t tail_bytes;
    struct seglog **tail_fifo; /* owner of each tail entry, oldest first; ring */
    uint64_t fifo_cap;
    uint64_t fifo_first;
    uint64_t fifo_count;
    struct fs_file **closing; /* handles to close on a worker */
    uint32_t closing_count;
    uint32_t closing_cap;
    struct journal journal;
};

/* Puts the log on the dirty list and asks for a round at the end of the turn. */
void commit_mark(struct commit *commit, struct seglog *seglog);
/* round.c: the worker's part. */
void round_run(struct work *work);
/* Room for count more items of size behind *used; false: out of memory. */
MUST_CHECK bool grow(void **array, uint32_t *cap, uint32_t used, uint32_t count, size_t size);
/* Hands a handle over to be closed on a worker. */
void commit_close_later(struct commit *commit, struct fs_file *file);
/* journal_write.c: shard part of the journal. */
/* False: rounds must sync directly, and had better be small. */
bool journal_usable(const struct commit *commit);
void journal_plan(struct commit *commit, struct round *round);
void journal_note(struct commit *commit, struct round *round, struct round_job *job);
/* The log's segments are synced up to `synced`: its journal bytes may go. */
void journal_release(struct commit *commit, struct seglog *seglog);
void journal_forget(struct commit *commit, struct seglog *seglog);
/* Closes the journal, and removes it when no log needs it. Blocking. */
void journal_end(struct commit *commit);
/* round.c, on the worker: frames of all journal jobs, one write, one sync. */
MUST_CHECK enum err journal_write(struct round *round, struct err_info *info);

/* ---- flush.c
 * ---------------------------------------------------------------------------------------------------
 */

/* Queues a flush: sync all written bytes, finish sealed segments, write indexes, snapshot and
 * recovery point. */
void seglog_flush(struct seglog *seglog);
void commit_flush_next(struct commit *commit);

#endif
