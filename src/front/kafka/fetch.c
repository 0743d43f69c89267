/*
 * Role: Fetch. Turns a request (with its session) into one list of partitions, lets the broker wait
 * and read, and answers with the log's own bytes: batches are spliced into the answer, never
 * copied.
 *
 *     request + session -> parts in order of service -> broker_fetch -> answer: prefix | ranges |
 * prefix | ranges ...
 *
 * Invariants: (1) parts of the request and of the broker's operation have the same index; (2) an
 * incremental answer leaves out only partitions without records, error or moved bounds; (3) ranges
 * stay pinned until the answer is written; (4) a session is looked up again after the wait: it may
 * have gone meanwhile.
 *
 * Ownership: the shard of the connection. Failure modes, in order: session errors (70, 71, 106) for
 * the whole request; per partition unknown topic or partition (3, 100, 103), then what the broker
 * finds. A peer that leaves ends the wait. Old versions (0 to 3) get message sets made from the
 * batches, in memory bounded by the request's arena.
 */
#include "front/kafka/fetch_session.h"
#include "front/kafka/kafka_int.h"
#include "kafka_fetch.h"
#include "seglog/batch.h"

enum { FETCH_BYTES_MAX = 55 * 1024 * 1024, FETCH_WAIT_MAX_MS = 30 * 60 * 1000 };

struct fetch_part {
    struct slice topic;
    struct uuid topic_id;
    int32_t partition;
    int16_t code;
    bool left_out; /* nothing new for an incremental answer */
};

struct fetch {
    struct kafka_request *req;
    struct kafka_fetch_request msg;
    struct broker_fetch op;
    struct fetch_part *parts; /* beside op.parts */
    uint32_t part_cap;
    int16_t code; /* of the whole request */
    int32_t session_id;
    bool incremental;
    bool running; /* the broker has op */
};

/* ---- request to parts ---- */

static void part_resolve(struct fetch *fetch, struct fetch_part *part,
                         struct broker_fetch_part *ask, struct slice known_as)
{
    struct kafka_request *req = fetch->req;
    bool by_id = req->version >= 13;
    const struct topic *topic =
        kafka_topic_find(req, by_id, part->topic, kafka_uuid_out(part->topic_id), &part->code);
    if (!topic && by_id && fetch->incremental && known_as.len &&
        broker_topic_find(req->ks->bs, known_as))
        part->code = KAFKA_INCONSISTENT_TOPIC_ID;
    if (topic && (part->partition < 0 || part->partition >= topic->partition_count))
        part->code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (part->code == KAFKA_NONE && req->version < 10 &&
        topic->values.compression == COMPRESSION_ZSTD)
        part->code = KAFKA_UNSUPPORTED_COMPRESSION_TYPE;
    ask->partition = part->partition;
    ask->high_watermark = ask->last_stable_offset = ask->log_start_offset = -1;
    ask->skip = part->code != KAFKA_NONE;
    if (ask->skip)
        ask->err = ERR_UNKNOWN_TOPIC_OR_PARTITION;
    else
        ask->topic_id = topic->id;
}

static void part_add(struct fetch *fetch, struct slice topic, struct uuid topic_id,
                     int32_t partition, int64_t offset, int32_t max_bytes, int32_t leader_epoch,
                     struct slice known_as)
{
    ASSERT(fetch->op.part_count < fetch->part_cap);
    uint32_t at = fetch->op.part_count++;
    struct fetch_part *part = &fetch->parts[at];
    struct broker_fetch_part *ask = &fetch->op.parts[at];
    *part = (struct fetch_part){.topic = topic, .topic_id = topic_id, .partition = partition};
    *ask = (struct broker_fetch_part){.offset = offset,
                                      .max_bytes = max_bytes < 0 ? 0 : (uint32_t)max_bytes,
                                      .leader_epoch = leader_epoch};
    part_resolve(fetch, part, ask, known_as);
}

static bool parts_reserve(struct fetch *fetch, size_t count)
{
    fetch->parts = ARENA_ARRAY(fetch->req->arena, struct fetch_part, count);
    fetch->op.parts = ARENA_ARRAY(fetch->req->arena, struct broker_fetch_part, count);
    fetch->part_cap = (uint32_t)count;
    return fetch->parts && fetch->op.parts;
}

/* A full request names all its partitions. */
static bool parts_from_request(struct fetch *fetch)
{
    const struct kafka_fetch_request *msg = &fetch->msg;
    size_t count = 0;
    for (int32_t t = 0; t < msg->topics_count; t++)
        count += (size_t)msg->topics[t].partitions_count;
    if (!parts_reserve(fetch, count))
        return false;
    for (int32_t t = 0; t < msg->topics_count; t++) {
        const struct kafka_fetch_request_topic *topic = &msg->topics[t];
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            const struct kafka_fetch_request_partition *asked = &topic->partitions[p];
            part_add(fetch, topic->topic, kafka_uuid_in(topic->topic_id), asked->partition,
                     asked->fetch_offset, asked->partition_max_bytes, asked->current_leader_epoch,
                     SLICE_NULL);
        }
    }
    ASSERT(fetch->op.part_count == fetch->part_cap);
    return true;
}

/* Names live in the session: they are copied, since it may go while the request waits. */
static bool parts_from_session(struct fetch *fetch, struct fetch_session *session)
{
    if (!parts_reserve(fetch, fetch_session_count(session)))
        return false;
    bool by_id = fetch_session_by_id(session);
    LIST_FOREACH(node, fetch_session_entries(session))
    {
        struct fetch_entry *entry = CONTAINER_OF(node, struct fetch_entry, node);
        struct slice topic = SLICE_NULL;
        if (!by_id) {
            topic = arena_copy(fetch->req->arena, entry->topic);
            if (!topic.data)
                return false;
        }
        part_add(fetch, topic, entry->topic_id, entry->partition, entry->offset, entry->max_bytes,
                 entry->leader_epoch, entry->topic);
    }
    return true;
}

/* ---- sessions ---- */

static bool session_update(struct fetch *fetch, struct fetch_session *session)
{
    const struct kafka_fetch_request *msg = &fetch->msg;
    bool by_id = fetch_session_by_id(session);
    for (int32_t t = 0; t < msg->topics_count; t++) {
        const struct kafka_fetch_request_topic *topic = &msg->topics[t];
        struct uuid id = kafka_uuid_in(topic->topic_id);
        const struct topic *known = by_id ? broker_topic_find_id(fetch->req->ks->bs, id) : NULL;
        struct slice name = known ? known->name : topic->topic;
        for (int32_t p = 0; p < topic->partitions_count; p++) {
            const struct kafka_fetch_request_partition *asked = &topic->partitions[p];
            struct fetch_entry *entry = fetch_session_put(session, name, id, asked->partition);
            if (!entry)
                return false;
            entry->offset = asked->fetch_offset;
            entry->max_bytes = asked->partition_max_bytes;
            entry->leader_epoch = asked->current_leader_epoch;
        }
    }
    for (int32_t t = 0; t < msg->forgotten_topics_data_count; t++) {
        const struct kafka_fetch_request_forgotten *topic = &msg->forgotten_topics_data[t];
        for (int32_t p = 0; p < topic->partitions_count; p++)
            fetch_session_forget(session, topic->topic, kafka_uuid_in(topic->topic_id),
                                 topic->partitions[p]);
    }
    return true;
}

static void session_drop(struct fetch *fetch, int32_t id)
{
    struct fetch_sessions *sessions = fetch->req->ks->sessions;
    struct fetch_session *session = id ? fetch_session_find(sessions, id) : NULL;
    if (session)
        fetch_session_destroy(sessions, session);
}

/* Parts of a full request; a new session is made when it asks for one and there is room. */
static bool fetch_full(struct fetch *fetch)
{
    const struct kafka_fetch_request *msg = &fetch->msg;
    struct fetch_sessions *sessions = fetch->req->ks->sessions;
    session_drop(fetch, msg->session_id);
    if (!parts_from_request(fetch))
        return false;
    if (msg->session_epoch != 0 || fetch->req->version < 7 || fetch->op.part_count == 0)
        return true;
    struct fetch_session *session = fetch_session_create(sessions, fetch->req->version >= 13);
    if (!session)
        return true;
    if (!session_update(fetch, session)) {
        fetch_session_destroy(sessions, session);
        return true;
    }
    fetch->session_id = fetch_session_id(session);
    return true;
}

static bool fetch_incremental(struct fetch *fetch)
{
    const struct kafka_fetch_request *msg = &fetch->msg;
    struct fetch_sessions *sessions = fetch->req->ks->sessions;
    struct fetch_session *session =
        msg->session_id ? fetch_session_find(sessions, msg->session_id) : NULL;
    if (!session) {
        fetch->code = KAFKA_FETCH_SESSION_ID_NOT_FOUND;
        return true;
    }
    if (fetch_session_by_id(session) != (fetch->req->version >= 13)) {
        fetch->code = KAFKA_FETCH_SESSION_TOPIC_ID_ERROR;
        return true;
    }
    if (!fetch_session_advance(sessions, session, msg->session_epoch)) {
        fetch->code = KAFKA_INVALID_FETCH_SESSION_EPOCH;
        return true;
    }
    fetch->incremental = true;
    if (!session_update(fetch, session) || !parts_from_session(fetch, session))
        return false;
    if (fetch_session_count(session) == 0)
        fetch_session_destroy(sessions, session);
    else
        fetch->session_id = fetch_session_id(session);
    return true;
}

/* After the wait: what this answer tells is remembered, what it need not tell is left out. */
static void session_settle(struct fetch *fetch)
{
    ASSERT(!fetch->running);
    struct fetch_session *session =
        fetch->session_id ? fetch_session_find(fetch->req->ks->sessions, fetch->session_id) : NULL;
    if (!session)
        return;
    for (uint32_t i = 0; i < fetch->op.part_count; i++) {
        struct fetch_part *part = &fetch->parts[i];
        const struct broker_fetch_part *got = &fetch->op.parts[i];
        struct fetch_entry *entry =
            fetch_session_get(session, part->topic, part->topic_id, part->partition);
        if (!entry)
            continue;
        bool moved = entry->high_watermark != got->high_watermark ||
                     entry->log_start != got->log_start_offset;
        part->left_out =
            fetch->incremental && !moved && got->bytes == 0 && part->code == KAFKA_NONE;
        entry->high_watermark = got->high_watermark;
        entry->log_start = got->log_start_offset;
        if (got->bytes > 0)
            fetch_session_rotate(session, entry);
    }
}

/* ---- parts to answer ---- */

/* Versions 0 to 3 know no batches. */
static bool part_convert(struct fetch *fetch, const struct broker_fetch_part *got,
                         struct wire_records *ret)
{
    struct bytebuf scratch, out;
    bytebuf_init(&scratch, BATCH_INFLATED_MAX);
    bytebuf_init(&out, KAFKA_REQUEST_ARENA / 2);
    int8_t magic = fetch->req->version >= 2 ? 1 : 0;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < got->range_count && err == ERR_OK; i++)
        err = batch_to_message_set(got->ranges[i].bytes, magic, &scratch, &out, NULL);
    ret->bytes = arena_copy(fetch->req->arena, bytebuf_slice(&out));
    bytebuf_deinit(&scratch);
    bytebuf_deinit(&out);
    return err == ERR_OK && ret->bytes.data;
}

/* Whether a batch of these ranges is compressed in a way that the old formats cannot tell. Ranges
 * begin with a batch. */
static bool part_has_zstd(const struct broker_fetch_part *got)
{
    for (uint32_t i = 0; i < got->range_count; i++) {
        struct slice left = got->ranges[i].bytes;
        struct batch_header header;
        while (left.len && batch_header_read(left, &header, NULL) == ERR_OK) {
            if (batch_codec(&header) == BATCH_CODEC_ZSTD)
                return true;
            left = slice_sub(left, header.size, SIZE_MAX);
        }
    }
    return false;
}

static void part_records(struct fetch *fetch, struct fetch_part *part,
                         struct broker_fetch_part *got, struct kafka_fetch_response_partition *ret)
{
    ret->records = (struct wire_records){.bytes = SLICE_LIT("")};
    if (part->code != KAFKA_NONE || got->bytes == 0)
        return;
    if (fetch->req->version < 4) {
        if (part_has_zstd(got)) {
            ret->error_code = KAFKA_UNSUPPORTED_COMPRESSION_TYPE;
            return;
        }
        if (!part_convert(fetch, got, &ret->records)) {
            ret->records = (struct wire_records){.bytes = SLICE_LIT("")};
            ret->error_code = kafka_code_of(ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT);
        }
        return;
    }
    ret->records.ranges = got->ranges;
    ret->records.range_count = got->range_count;
}

static void part_answer(struct fetch *fetch, uint32_t index,
                        struct kafka_fetch_response_partition *ret)
{
    struct kafka_request *req = fetch->req;
    struct fetch_part *part = &fetch->parts[index];
    struct broker_fetch_part *got = &fetch->op.parts[index];
    kafka_fetch_response_partition_init(ret);
    ret->partition_index = part->partition;
    ret->error_code = part->code;
    if (part->code == KAFKA_STORAGE_ERROR && req->version <= 5)
        ret->error_code = KAFKA_NOT_LEADER;
    ret->high_watermark = got->high_watermark;
    ret->last_stable_offset = got->last_stable_offset;
    ret->log_start_offset = got->log_start_offset;
    ret->aborted_transactions_count = fetch->msg.isolation_level == 1 ? 0 : -1;
    if (part->code == KAFKA_NOT_LEADER || part->code == KAFKA_FENCED_LEADER_EPOCH) {
        ret->current_leader.leader_id = req->ks->front->node_id;
        ret->current_leader.leader_epoch = broker_leader_epoch(req->ks->front->broker);
    }
    part_records(fetch, part, got, ret);
}

static bool part_same_topic(const struct fetch *fetch, const struct fetch_part *a,
                            const struct fetch_part *b)
{
    return fetch->req->version >= 13 ? uuid_equal(a->topic_id, b->topic_id)
                                     : slice_equal(a->topic, b->topic);
}

/* Parts that follow one another with one topic share its entry. False: the arena is full. */
static bool fetch_fill(struct fetch *fetch, struct kafka_fetch_response *answer)
{
    uint32_t count = fetch->op.part_count;
    struct kafka_fetch_response_partition *all =
        ARENA_ARRAY(fetch->req->arena, struct kafka_fetch_response_partition, count);
    answer->responses = ARENA_ARRAY(fetch->req->arena, struct kafka_fetch_response_topic, count);
    if (!all || !answer->responses)
        return false;
    const struct fetch_part *last = NULL;
    struct kafka_fetch_response_topic *topic = NULL;
    uint32_t filled = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct fetch_part *part = &fetch->parts[i];
        if (part->left_out)
            continue;
        if (!last || !part_same_topic(fetch, last, part)) {
            topic = &answer->responses[answer->responses_count++];
            topic->topic = part->topic;
            topic->topic_id = kafka_uuid_out(part->topic_id);
            topic->partitions = &all[filled];
        }
        last = part;
        part_answer(fetch, i, &all[filled++]);
        topic->partitions_count++;
    }
    return true;
}

static void fetch_answer(struct fetch *fetch)
{
    struct kafka_request *req = fetch->req;
    ASSERT(!fetch->running && req->conn);
    struct kafka_fetch_response answer;
    kafka_fetch_response_init(&answer);
    answer.error_code = fetch->code;
    answer.session_id = fetch->session_id;
    if (!fetch_fill(fetch, &answer)) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    kafka_fetch_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static void fetch_done(struct broker_fetch *op)
{
    struct fetch *fetch = CONTAINER_OF(op, struct fetch, op);
    ASSERT(fetch->running);
    fetch->running = false;
    if (!fetch->req->conn) {
        kafka_reply_none(fetch->req);
        return;
    }
    for (uint32_t i = 0; i < op->part_count; i++)
        if (!op->parts[i].skip)
            fetch->parts[i].code = kafka_code_of(op->parts[i].err);
    session_settle(fetch);
    fetch_answer(fetch);
}

static void fetch_cancel(struct kafka_request *req)
{
    struct fetch *fetch = req->state_of_api;
    if (fetch->running)
        broker_fetch_cancel(&fetch->op);
}

static void fetch_cleanup(struct kafka_request *req)
{
    struct fetch *fetch = req->state_of_api;
    ASSERT(!fetch->running);
    broker_fetch_release(&fetch->op);
}

static void fetch_limits(struct fetch *fetch)
{
    const struct kafka_fetch_request *msg = &fetch->msg;
    struct broker_fetch *op = &fetch->op;
    op->min_bytes = msg->min_bytes < 0 ? 0 : (uint32_t)msg->min_bytes;
    op->max_wait_ms = msg->max_wait_ms < 0 ? 0 : (uint32_t)msg->max_wait_ms;
    if (op->max_wait_ms > FETCH_WAIT_MAX_MS)
        op->max_wait_ms = FETCH_WAIT_MAX_MS;
    op->max_bytes = msg->max_bytes < 0 ? 0 : (uint32_t)msg->max_bytes;
    if (op->max_bytes > FETCH_BYTES_MAX)
        op->max_bytes = FETCH_BYTES_MAX;
    /* The first batch comes whole whatever the limit is, so slow peers still get on. */
    if (fetch->req->ks->backlog_bytes >= KAFKA_BACKLOG_BYTES && op->max_bytes > KAFKA_BACKLOG_FETCH)
        op->max_bytes = KAFKA_BACKLOG_FETCH;
    if (op->min_bytes > op->max_bytes)
        op->min_bytes = op->max_bytes;
    ASSERT(op->max_bytes <= FETCH_BYTES_MAX && op->min_bytes <= op->max_bytes);
}

void kafka_handle_fetch(struct kafka_request *req)
{
    struct fetch *fetch = ARENA_NEW(req->arena, struct fetch);
    if (!fetch || !KAFKA_DECODE(req, fetch, &fetch->msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    fetch->req = req;
    bool full = req->version < 7 || fetch->msg.session_epoch == 0 || fetch->msg.session_epoch == -1;
    if (!(full ? fetch_full(fetch) : fetch_incremental(fetch))) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    if (fetch->code != KAFKA_NONE || fetch->op.part_count == 0) {
        fetch->op.part_count = 0;
        fetch_answer(fetch);
        return;
    }
    fetch_limits(fetch);
    fetch->op.done = fetch_done;
    fetch->running = true;
    req->state_of_api = fetch;
    req->cancel = fetch_cancel;
    req->cleanup = fetch_cleanup;
    broker_fetch(req->ks->bs, &fetch->op);
}
