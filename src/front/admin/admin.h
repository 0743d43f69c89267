/*
 * The admin front: health, metrics and the JSON interface that the command line uses
 * (docs/admin-api.md).
 *
 * Protocol only. What it asks of the rest of the process goes to the broker, and through the two
 * tables below to parts that it must not know: the job manager and whoever else has figures to
 * show.
 */
#ifndef WEIR_FRONT_ADMIN_ADMIN_H
#define WEIR_FRONT_ADMIN_ADMIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct admin_call;
struct broker;
struct bytebuf;
struct front_admin;
struct shard;
struct shards;

enum admin_job_verb {
    ADMIN_JOB_LIST,   /* answer: {"jobs": [...]} */
    ADMIN_JOB_CREATE, /* body: the definition; answer: status */
    ADMIN_JOB_SHOW,   /* answer: {"definition": ..., "status": ...} */
    ADMIN_JOB_START,  /* answer: status */
    ADMIN_JOB_STOP,   /* answer: status */
    ADMIN_JOB_DELETE  /* answer: none */
};

/* The job manager as the admin front sees it; the server wires it in. */
struct admin_jobs {
    void *arg;
    /*
     * Carries out one call. name is percent-decoded, body is valid JSON text (checked, at most 4
     * MiB); both live until the answer. Ends with exactly one front_admin_job_done(call, ...) on
     * the same shard, at once or later. Shard: any, `shard` is the running one.
     */
    void (*call)(void *arg, struct shard *shard, enum admin_job_verb verb, struct slice name,
                 struct slice body, struct admin_call *call);
};

/*
 * Answers a job call. err ERR_OK: json is the answer's document (copied). Else info (may be NULL)
 * is the message, and json, when not empty, a JSON array that becomes "diagnostics".
 */
void front_admin_job_done(struct admin_call *call, enum err err, const struct err_info *info,
                          struct slice json);

/* Figures of another part for /metrics: writes lines in Prometheus text format. Any shard; must not
 * block. */
struct admin_metrics {
    void *arg;
    void (*write)(void *arg, struct bytebuf *out);
};

enum { ADMIN_METRICS_MAX = 8 };

struct front_admin_config {
    const char *host;         /* numeric address to listen on */
    uint16_t port;            /* 0: a free one */
    uint32_t connections_max; /* in the process; 0: 256 */
    const char *hosts; /* names besides its addresses that Host may hold, by commas; may be NULL */
    const char *version;
    struct admin_jobs jobs; /* call NULL: job calls answer not_implemented */
    struct admin_metrics metrics[ADMIN_METRICS_MAX]; /* write NULL: unused */
};

/* Listens and prepares every shard. Shard: init. */
MUST_CHECK enum err front_admin_open(struct shards *shards, const struct front_admin_config *config,
                                     struct broker *broker, struct front_admin **ret_admin,
                                     struct err_info *info);
/* "127.0.0.1:5300"; lives as long as the front. */
const char *front_admin_address(const struct front_admin *admin);
/* Names the other listeners for /api/v1/cluster, copied: "kafka", "127.0.0.1:9092". Shard: init. */
void front_admin_listener_add(struct front_admin *admin, const char *name, const char *address);
/* After the shards have stopped. NULL is allowed. Shard: init. */
void front_admin_close(struct front_admin *admin);

#endif
