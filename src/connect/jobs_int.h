/* What the files of the job manager share. */
#ifndef WEIR_CONNECT_JOBS_INT_H
#define WEIR_CONNECT_JOBS_INT_H

#include "base/arena.h"
#include "base/bytebuf.h"
#include "base/list.h"
#include "connect/job_def.h"
#include "connect/jobs.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "meta/catalogue.h"
#include "plan/plan.h"
#include "stream/runner.h"

enum { JOBS_PER_SHARD_MAX = 1000, JOB_ARENA_MAX = 64 << 20, ANSWER_MAX = 16 << 20 };

/* Stands for a state that the catalogue has, and that cannot be read: JSON, but no state. */
#define JOB_STATE_UNREADABLE "\"unreadable\""

struct list_entry;
struct request;

/* The jobs of one shard. */
struct jobs_home {
    struct jobs *jobs;
    struct shard *shard;
    struct list_node list;
    uint32_t count;
    uint32_t running; /* runners with something under way */
    bool stopping;
    struct shard_stop stop;
    struct timer boot; /* starts the jobs that ran before */
};

struct jobs {
    struct shards *shards;
    struct broker *broker;
    struct blobstore *blobs;
    struct catalogue *catalogue;
    struct jobs_home homes[SHARD_MAX];
};

struct job {
    struct list_node node;
    struct jobs_home *home;
    struct arena *arena;
    struct slice definition; /* as given */
    struct job_def def;
    struct plan *plan;
    struct slice *topics; /* of each input of the plan */
    struct runner *runner;
    bool wanted;             /* to run */
    struct bytebuf state;    /* of the runner, as saved last: whole */
    struct bytebuf next;     /* the one being saved */
    struct bytebuf record;   /* being written: wanted and state */
    struct request *request; /* the change under way */

    struct catalogue_record_op op; /* one write at a time */
    source_done_fn saved;          /* whom to tell */
    void *saved_ctx;
};

enum request_verb {
    REQUEST_CREATE,
    REQUEST_LIST,
    REQUEST_SHOW,
    REQUEST_START,
    REQUEST_STOP,
    REQUEST_DELETE
};

/* A call on its way to the job's shard and back. */
struct request {
    struct shard_msg msg;
    struct jobs *jobs;
    struct shard *from;
    enum request_verb verb;
    struct bytebuf name;
    struct bytebuf body;
    unsigned at; /* list: the shard being asked, and what was gathered (jobs_list.c) */
    struct list_entry *entries;
    uint32_t entry_count;
    uint32_t entry_cap;
    jobs_done_fn done;
    void *ctx;
    enum err err;
    struct err_info info;
    struct bytebuf answer;
    struct job *job;
    struct catalogue_record_op op;
};

/* Parses and compiles; ret_messages (may be NULL) gets the query's messages as a JSON array. */
MUST_CHECK enum err job_create(struct jobs_home *home, struct slice definition,
                               struct bytebuf *ret_messages, struct job **ret_job,
                               struct err_info *info);
/* Nothing may be under way. NULL is allowed. */
void job_destroy(struct job *job);
/* Makes the runner at need and starts it from the saved state. ERR_NO_MEMORY. */
MUST_CHECK enum err job_run(struct job *job, struct err_info *info);
bool job_is_running(const struct job *job);
/* Stopped, or never started: neither running nor failed. */
bool job_is_at_rest(const struct job *job);
/* Writes wanted and state durably; one at a time. saved is called inside the call when memory does not suffice. */
void job_save(struct job *job, source_done_fn saved, void *ctx);
void job_write_status(const struct job *job, struct bytebuf *out);
/* Adds a job's status to a list, and makes the answer when all shards have been asked (jobs_list.c). */
void jobs_list_add(struct request *request, const struct job *job);
void jobs_list_finish(struct request *request);
/* The runner has come to rest (jobs.c). */
void jobs_job_stopped(struct job *job);

#endif
