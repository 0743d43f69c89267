/*
 * Stream Analytics jobs of one server: create, list, show, start, stop, delete, and the background work of those that
 * run.
 *
 * A job is a definition (JSON, or the YAML file that the command line turns into the same JSON) kept in the
 * catalogue:
 *
 *   {"name": "late-flights",
 *    "query": "SELECT * INTO late FROM flights WHERE dep_delay > 60",
 *    "start": "earliest",                                   -- or "latest"; where a new job begins; default earliest
 *    "inputs":  [{"name": "flights", "topic": "flights"}],  -- or "hub": "name"
 *    "outputs": [{"name": "late", "blob": "results/late.csv", "format": "csv"},
 *                {"name": "copy", "topic": "late"},         -- or "hub": "name"; one JSON object per record
 *                {"name": "file", "blob": "results/late.jsonl", "format": "jsonl"}]}
 *
 * An input that the query names and the definition does not is the topic of that name; so is an output.
 * Unknown keys, missing keys and queries that do not compile are refused with a text that says where.
 *
 * Shard: every call is made on a shard; the completion arrives on the same shard, never inside the call.
 */
#ifndef WEIR_CONNECT_JOBS_H
#define WEIR_CONNECT_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/slice.h"

struct jobs;
struct broker;
struct blobstore;
struct shard;
struct shards;

/*
 * Loads the definitions and prepares every shard; jobs that ran when the server stopped run again. They end at
 * SHARD_STOP_JOBS. Shard: init.
 */
MUST_CHECK enum err jobs_open(struct shards *shards, struct broker *broker, struct blobstore *blobs,
                              struct jobs **ret_jobs, struct err_info *info);
/* After shards_run has returned. NULL is allowed. Shard: init. */
void jobs_close(struct jobs *jobs);

/*
 * json: the answer, valid during the call: for list {"jobs": [status, ...]}, for show {"definition": ..., "status":
 * ...}, for delete nothing, else the status. On failure info says what is wrong, and json is empty or, for a query that
 * does not compile, the array of its messages: [{"line", "column", "text", "hint"}, ...].
 */
typedef void (*jobs_done_fn)(void *ctx, enum err err, const struct err_info *info,
                             struct slice json);

/* The job is not started. ERR_EXISTS, ERR_INVALID_CONFIG, ERR_SQL_COMPILE. */
void jobs_create_job(struct jobs *jobs, struct shard *caller, struct slice definition,
                     jobs_done_fn done, void *ctx);
void jobs_list(struct jobs *jobs, struct shard *caller, jobs_done_fn done, void *ctx);
void jobs_show(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
               void *ctx);
/* Harmless when it runs. ERR_NOT_FOUND here and below. */
void jobs_start_job(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
                    void *ctx);
/* Answers when the epoch under way has ended. */
void jobs_stop_job(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
                   void *ctx);
/* Stops it first. What it wrote stays. */
void jobs_delete_job(struct jobs *jobs, struct shard *caller, struct slice name, jobs_done_fn done,
                     void *ctx);

#endif
