/*
 * One shard's logs on one thread for unit tests: disk work runs when the rig turns, so that a test
 * decides the order.
 */
#ifndef WEIR_TEST_LOG_RIG_H
#define WEIR_TEST_LOG_RIG_H

#include "io/fs.h"
#include "io/reactor_int.h"
#include "seglog/seglog.h"

struct log_rig {
    struct reactor reactor;
    struct list_node queue; /* works not yet run */
    struct fs *fs;
    bool own_fs;
    char dir[256]; /* the store's root */
    struct seglog_store *store;
    struct commit *commit;
    struct commit_config config;
    bool work_held; /* works wait until it is cleared */
};

/* A fresh folder below /tmp on the real file system; or root "data" on the fs given. Opens store
 * and commit. */
void log_rig_start(struct log_rig *rig, struct fs *fs);
/* The same without opening the store. */
void log_rig_prepare(struct log_rig *rig, struct fs *fs);
/* The store and the commit of a (re)start; false with the error printed. */
bool log_rig_boot(struct log_rig *rig);
/* Forgets store and commit as kill -9 would, logs in them leak into `dead` (freed here): all work
 * is dropped. */
void log_rig_kill(struct log_rig *rig, struct seglog **logs, unsigned count);
/* After all logs are closed. */
void log_rig_shutdown(struct log_rig *rig);
/* Shutdown when booted, and removes the folder. */
void log_rig_end(struct log_rig *rig);

/* Runs queued works and one turn. */
void log_rig_turn(struct log_rig *rig);
/* Turns until *flag; fails the test after many turns. */
void log_rig_until(struct log_rig *rig, const bool *flag);
/* Turns until the commit is idle. */
void log_rig_quiet(struct log_rig *rig);

/* Blocking forms. */
struct seglog *log_rig_open(struct log_rig *rig, const char *name, unsigned number,
                            const struct seglog_config *config);
enum err log_rig_open_err(struct log_rig *rig, const char *name, unsigned number,
                          const struct seglog_config *config, struct seglog_open *ret_open);
void log_rig_close(struct log_rig *rig, struct seglog *seglog);
void log_rig_delete(struct log_rig *rig, struct seglog *seglog);
enum err log_rig_retain(struct log_rig *rig, struct seglog *seglog);
enum err log_rig_trim(struct log_rig *rig, struct seglog *seglog, int64_t start);
/* One batch of `records` records "k<i>"/"<text><i>" with timestamps from ms on. */
struct iobuf_range log_rig_batch(const char *text, uint32_t records, int64_t ms);
/* A batch whose only record has a value of `size` bytes. */
struct iobuf_range log_rig_blob(uint32_t size, int64_t ms);
struct iobuf_range log_rig_producer_batch(int64_t id, int16_t epoch, int32_t sequence,
                                          uint32_t records, int64_t ms);
/* Appends and waits for on_done; ret_append may be NULL. */
enum err log_rig_append(struct log_rig *rig, struct seglog *seglog, struct iobuf_range batch,
                        enum seglog_ack ack, struct seglog_append *ret_append);
/* Reads [from, high watermark) whole into out: all batch bytes. */
enum err log_rig_read_all(struct log_rig *rig, struct seglog *seglog, int64_t from,
                          struct bytebuf *out);
enum err log_rig_read(struct log_rig *rig, struct seglog *seglog, struct seglog_read *read);
enum err log_rig_find(struct log_rig *rig, struct seglog *seglog, int64_t ms,
                      struct seglog_find *find);
/* Checks every batch of bytes and that offsets go from `from` to `end` without a gap. */
void log_rig_check(struct slice bytes, int64_t from, int64_t end);

#endif
