/* Shared by the files of the blob store. */
#ifndef WEIR_BLOBSTORE_BLOBSTORE_INT_H
#define WEIR_BLOBSTORE_BLOBSTORE_INT_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/list.h"
#include "blobstore/blobstore.h"
#include "io/fs.h"
#include "io/reactor.h"

enum {
    BLOBSTORE_DIR_FILES = 4096, /* files of one folder below data/ */
    BLOBSTORE_PATH_MAX = FS_PATH_MAX,
    BLOBSTORE_SWEEP_GENS = 64,
    BLOBSTORE_SWEEP_FILES = 256,
    BLOBSTORE_SWEEP_PIECES = 2048,
    BLOBSTORE_DOUBT_MAX = 256,
    BLOBSTORE_LIST_BYTES = 4 * 1024 * 1024, /* of one page; it may end early */
    BLOBSTORE_STAGED_DAYS = 7
};

/* A content generation: what a blob row points to, and pieces and readers belong to. */
struct blobstore_gen {
    int64_t v;
};

enum sweep_step { SWEEP_IDLE, SWEEP_LOAD, SWEEP_UNLINK, SWEEP_WAIT, SWEEP_DELETE };

/* What one round of the sweeper works on; see blobstore_sweep.c. */
struct blobstore_sweep {
    struct blobstore *store;
    struct shard *shard;
    enum sweep_step step;
    struct timer timer;
    struct db_task task;
    struct work work;
    struct shard_stop stop;
    bool stopping;
    int64_t files[BLOBSTORE_SWEEP_FILES];
    uint32_t file_count;
    struct blobstore_gen gens[BLOBSTORE_SWEEP_GENS];
    uint32_t gen_count;
    int64_t gen_after; /* where the next LOAD of generations goes on */
    uint32_t doubt_count; /* the first so many of store->doubt are settled by this round */
    int64_t container;    /* one dead container, 0: none */
    uint64_t ticket;
    int64_t stale_before; /* staged blocks older than this are dropped */
    int64_t next_stale;   /* wall ms of the next look at stale blocks */
    bool more;
};

struct blobstore {
    struct fs *fs;
    char dir[BLOBSTORE_PATH_MAX];
    struct sqlite_vfs *vfs;
    struct db *db;
    uint64_t tick; /* the last ETag given; the writing task's alone */

    _Atomic int64_t next_file;
    _Atomic int64_t dir_ready; /* highest folder below data/ that is durable */
    pthread_mutex_t dir_lock;  /* making folders */

    pthread_mutex_t pin_lock; /* the five below */
    struct list_node opening; /* ops that are about to open a reader, oldest first */
    struct list_node readers;
    uint64_t ticket;
    int64_t doubt[BLOBSTORE_DOUBT_MAX]; /* files of writes whose outcome is not known */
    uint32_t doubt_count;

    _Atomic bool garbage;     /* the sweeper has something to do */
    _Atomic bool pinned_dead; /* the sweeper passed over content that a reader holds */
    _Atomic bool broken;      /* a sync failed: nothing can be written any more */
    struct blobstore_sweep sweep;
    _Atomic uint64_t uploads_open;
    _Atomic uint64_t upload_bytes;
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t files_removed;
};

struct blobstore_upload {
    struct blobstore *store;
    struct shard *shard;
    struct work work;
    enum err err;
    struct err_info info;
    uint64_t length;
    uint8_t *memory; /* content while it is small, BLOBSTORE_INLINE_MAX bytes */
    struct fs_file *file;
    int64_t file_id; /* 0: none */
    void *md5_ctx;
    uint64_t crc;
    uint8_t md5[16];
    bool finished;
    bool busy;    /* work is out */
    bool dropped; /* discard when the work is back */
    struct iobuf_range range;
    blobstore_upload_fn done;
    void *arg;
};

struct blobstore_piece {
    int64_t start;
    int64_t length;
    int64_t file; /* 0: inline */
};

enum { BLOBSTORE_WINDOW = 64 };

struct blobstore_reader {
    struct blobstore *store;
    struct shard *shard;
    struct list_node node; /* in readers, under pin_lock */
    struct blobstore_gen gen;
    uint64_t length;
    struct blobstore_piece window[BLOBSTORE_WINDOW];
    uint32_t window_count;
    struct fs_file *file;
    int64_t file_id;
    struct db_task task;
    struct work work;
    bool busy;
    const struct blobstore_piece *piece; /* of the read under way */
    uint64_t offset;
    uint8_t *data;
    size_t len;
    size_t got;
    enum err err;
    blobstore_read_fn done;
    void *arg;
};

/* The blob row as the operations see it. */
struct blob_row {
    bool exists;
    int64_t container;
    struct blobstore_gen gen;
    struct blobstore_info info; /* headers and metadata in the op's arena when asked for */
};

/* ---- blobstore_sql.c: statements, kept with their connection ---- */

extern const char *const blobstore_steps[];
extern const int blobstore_step_count;

/* A kept statement of that text, reset and without bindings. The text must be one of the program's.
 */
MUST_CHECK enum err sql_get(struct sqlite3 *sqlite, const char *text,
                            struct sqlite3_stmt **ret_stmt, struct err_info *info);
/* Steps to the next row; *ret_row false at the end, and the statement is reset then. */
MUST_CHECK enum err sql_row(struct sqlite3_stmt *stmt, bool *ret_row, struct err_info *info);
/* Runs a statement that returns no rows. */
MUST_CHECK enum err sql_run(struct sqlite3_stmt *stmt, struct err_info *info);
/* Binds bytes that live until the statement is reset; an empty slice is an empty blob. */
void sql_bind_bytes(struct sqlite3_stmt *stmt, int index, struct slice bytes);
void sql_bind_int(struct sqlite3_stmt *stmt, int index, int64_t value);
/* Copies a column into the arena. */
MUST_CHECK enum err sql_copy(struct sqlite3_stmt *stmt, int column, struct arena *arena,
                             struct slice *ret_bytes, struct err_info *info);

/* ---- blobstore_pack.c ---- */

MUST_CHECK enum err headers_pack(const struct blobstore_headers *headers, struct arena *arena,
                                 struct slice *ret_bytes, struct err_info *info);
/* Slices into bytes. false: damaged. */
MUST_CHECK bool headers_unpack(struct slice bytes, struct blobstore_headers *ret_headers);

/* ---- blobstore_blob.c ---- */

enum condition_mode { CONDITION_READ, CONDITION_WRITE, CONDITION_CREATE, CONDITION_DELETE };
enum err conditions_check(const struct blobstore_conditions *conditions, enum condition_mode mode,
                          bool exists, uint64_t etag);
/* Id of a container: ERR_CONTAINER_NOT_FOUND. */
enum err container_find(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t *ret_id);
/* The op's blob; a missing one is no error (exists false), a missing container is. */
enum err blob_find(struct blobstore_op *op, struct sqlite3 *sqlite, struct blob_row *ret_row);
/* Reads the info columns that begin at column of a row. */
enum err blob_info_read(struct sqlite3_stmt *stmt, int column, struct arena *arena, bool metadata,
                        struct blobstore_info *ret_info, struct err_info *info);
/* Writes the row; the old content, if any, becomes garbage when its generation changes. */
enum err blob_store(struct blobstore_op *op, struct sqlite3 *sqlite, const struct blob_row *old,
                    const struct blob_row *row);
/* The next ETag; it is stored, so that none is ever given twice. */
enum err tick_next(struct blobstore_op *op, struct sqlite3 *sqlite, uint64_t *ret_tick);
/* Adds the upload's content as a piece of gen at start. */
enum err piece_add(struct blobstore_op *op, struct sqlite3 *sqlite, struct blobstore_gen gen,
                   uint64_t start, struct slice block_id);
/* Names the upload's file in the index (no reference yet); does nothing for inline content. */
enum err file_add(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err staged_drop(struct blobstore_op *op, struct sqlite3 *sqlite, int64_t container);

enum err run_put(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_get(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_read(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_set(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_delete(struct blobstore_op *op, struct sqlite3 *sqlite);
/* blobstore_container.c */
enum err run_container(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_container_list(struct blobstore_op *op, struct sqlite3 *sqlite);
/* blobstore_block.c */
enum err run_stage(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_commit(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_blocks(struct blobstore_op *op, struct sqlite3 *sqlite);
enum err run_append(struct blobstore_op *op, struct sqlite3 *sqlite);
/* blobstore_list.c */
enum err run_list(struct blobstore_op *op, struct sqlite3 *sqlite);

/* ---- blobstore_upload.c, blobstore_reader.c, blobstore_sweep.c ---- */

/* DIR/data/NNNN/NNNNNNNNNNNN.dat */
void blobstore_file_path(const struct blobstore *store, int64_t id, char out[BLOBSTORE_PATH_MAX]);
void blobstore_folder_path(const struct blobstore *store, int64_t folder,
                           char out[BLOBSTORE_PATH_MAX]);
/* Frees an upload whose file, if any, now belongs to the index or to the sweeper. */
void blobstore_upload_release(struct blobstore_upload *upload);
/* A pinned reader, NULL: out of memory. Worker. */
struct blobstore_reader *blobstore_reader_create(struct blobstore *store, struct shard *shard,
                                                 struct blobstore_gen gen, uint64_t length);
/* Removes files that the index does not name; raises next_file above all seen. Shard: init. */
MUST_CHECK enum err blobstore_collect(struct blobstore *store, struct err_info *info);
/* The file of a failed write: the sweeper finds out whether the index names it. Any thread. */
void blobstore_doubt(struct blobstore *store, int64_t file_id);
void blobstore_sweep_start(struct blobstore *store, struct shard *shard);

#endif
