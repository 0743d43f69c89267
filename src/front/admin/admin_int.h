/* Shared by the files of the admin front. */
#ifndef WEIR_FRONT_ADMIN_ADMIN_INT_H
#define WEIR_FRONT_ADMIN_ADMIN_INT_H

#include <jansson.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/bytebuf.h"
#include "broker/broker.h"
#include "front/admin/admin.h"
#include "io/reactor.h"
#include "io/shard.h"
#include "web/web.h"

enum {
    ADMIN_BODY_MAX = 4 * 1024 * 1024,
    ADMIN_ANSWER_MAX = 64 * 1024 * 1024,
    ADMIN_LISTENERS_MAX = 8,
    ADMIN_TEXT_MAX = 96,
    ADMIN_JSON_DEPTH = 64
};

struct admin_listener {
    char name[16];
    char address[ADMIN_TEXT_MAX];
};

struct front_admin {
    struct front_admin_config config;
    struct web_server *web;
    struct shards *shards;
    struct broker *broker;
    struct admin_listener listeners[ADMIN_LISTENERS_MAX];
    uint32_t listener_count;
    uint64_t start_us; /* of shard 0's clock */
};

/* One request, in its arena. */
struct admin_call {
    struct front_admin *admin;
    struct web_request *req;
    const struct http_head *head;
    struct arena *arena;
    struct shard *shard;
    struct broker_shard *bs;
    enum admin_job_verb verb;
    struct slice name; /* decoded last segment, for topics and jobs */
    struct broker_topic_op topic_op;
    struct broker_offset_op offset_op;
    const struct topic *topic; /* with a reference, while its partitions are asked */
    int32_t partition;
    json_t *document; /* being built */
};

/* ---- admin.c: answers; each ends the request ---- */

void admin_send_text(struct admin_call *call, uint16_t status, const char *type, struct slice text);
/* Takes the reference of document. */
void admin_send_json(struct admin_call *call, uint16_t status, json_t *document);
void admin_send_empty(struct admin_call *call, uint16_t status);
void admin_fail(struct admin_call *call, enum err err, const char *message);
/* diagnostics: an array or NULL; takes the reference. */
void admin_fail_with(struct admin_call *call, enum err err, const char *message,
                     json_t *diagnostics);
/* Parses a JSON object of a request body; NULL: answered. */
json_t *admin_read_object(struct admin_call *call, struct slice body);

/* ---- admin_guard.c ---- */

/* Whether the request may go on by its Host and Origin; false: answered. */
bool admin_guard(struct admin_call *call);
/* Whether a Host value names this server; more: a comma list of further names, or NULL. */
bool admin_host_trusted(struct slice host, const char *more);
/* Whether an Origin value is this server under the name of host. */
bool admin_origin_same(struct slice origin, struct slice host);

/* ---- admin_topics.c ---- */

void admin_topics_list(struct admin_call *call);
void admin_topics_create(struct admin_call *call);
void admin_topics_show(struct admin_call *call);
void admin_topics_delete(struct admin_call *call);

/* ---- admin_metrics.c ---- */

void admin_metrics(struct admin_call *call);
void admin_cluster(struct admin_call *call);

#endif
