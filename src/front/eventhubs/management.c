/*
 * $management: READ of com.microsoft:eventhub and com.microsoft:partition.
 *
 * A hub is answered at once from this shard's set of topics; a partition's bounds are asked from
 * its owner.
 *
 * Invariants
 *  (1) Every request is accepted and then answered exactly once, unless its reply link has gone.
 *  (2) Types are exact: counts are int, sequence numbers long, offsets str, partition ids an array
 * of str.
 *
 * Ownership and shard: the connection's; a question under way holds references on the reply link
 * and the topic.
 *
 * Failure: 404 and 400 with the texts that clients search for; errors of the core by their HTTP
 * status.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/numtext.h"
#include "front/eventhubs/eh_int.h"

const struct topic *eh_hub_find(struct eh_shard *part, struct slice name)
{
    const struct topic_set *set = broker_topics(part->bs);
    const struct topic *topic = name.len > 0 ? topic_set_find(set, name) : NULL;
    for (uint32_t i = 0; !topic && name.len > 0 && i < topic_set_count(set); i++) {
        const struct topic *other = topic_set_at(set, i);
        if (slice_equal_nocase(other->name, name))
            topic = other;
    }
    return topic && !topic->internal ? topic : NULL;
}

static void put_key(struct bytebuf *buf, const char *key)
{
    amqp_put_string(buf, slice_cstr(key));
}

static void put_number_text(struct bytebuf *buf, int64_t number)
{
    char text[NUMTEXT_INT64_MAX];
    amqp_put_string(buf, slice_make(text, numtext_write_int64(text, number)));
}

/* An array of the strings "0" to "count - 1". */
static void put_partition_ids(struct bytebuf *buf, int32_t count)
{
    size_t mark = buf->len;
    static const uint8_t head[10] = {0xf0, [9] = 0xa1};
    bytebuf_append(buf, head, sizeof(head));
    for (int32_t i = 0; i < count; i++) {
        char text[NUMTEXT_INT64_MAX];
        size_t len = numtext_write_int64(text, i);
        bytebuf_append_byte(buf, (uint8_t)len);
        bytebuf_append(buf, text, len);
    }
    if (buf->failed)
        return;
    uint64_t sizes = (uint64_t)(buf->len - mark - 5) << 32 | (uint32_t)count;
    for (unsigned i = 0; i < 8; i++)
        buf->data[mark + 1 + i] = (uint8_t)(sizes >> (56 - 8 * i));
}

static void hub_answer(struct eh_shard *part, struct slice correlation_id,
                       const struct topic *topic)
{
    struct bytebuf *buf = &part->event;
    eh_request_answer(part, correlation_id, 200, "OK", NULL);
    amqp_put_descriptor(buf, 0x77);
    size_t mark = amqp_begin_map(buf);
    put_key(buf, "name");
    amqp_put_string(buf, topic->name);
    put_key(buf, "type");
    put_key(buf, "com.microsoft:eventhub");
    put_key(buf, "created_at");
    amqp_put_timestamp(buf, topic->created_ms);
    put_key(buf, "partition_count");
    amqp_put_int(buf, topic->partition_count);
    put_key(buf, "partition_ids");
    put_partition_ids(buf, topic->partition_count);
    put_key(buf, "georeplication_factor");
    amqp_put_int(buf, 1);
    amqp_end(buf, mark, 12);
}

static void answer_send(struct eh_link *reply)
{
    struct eh_shard *part = reply->part;
    if (!reply->session)
        return;
    if (part->event.failed || !eh_out_reply(reply, bytebuf_slice(&part->event)))
        eh_link_fail_text(reply, "amqp:resource-limit-exceeded",
                          "Too many answers wait for credit.");
}

/* ---- partitions ---- */

struct partition_read {
    struct broker_offset_op op;
    struct eh_link *reply;
    const struct topic *topic;
    struct slice correlation_id; /* in bytes */
    uint8_t bytes[EH_ID_MAX + 8];
};

static void partition_answer(struct eh_shard *part, const struct partition_read *read)
{
    const struct broker_offset_op *op = &read->op;
    struct bytebuf *buf = &part->event;
    int64_t last = op->high_watermark - 1;
    eh_request_answer(part, read->correlation_id, 200, "OK", NULL);
    amqp_put_descriptor(buf, 0x77);
    size_t mark = amqp_begin_map(buf);
    put_key(buf, "name");
    amqp_put_string(buf, read->topic->name);
    put_key(buf, "type");
    put_key(buf, "com.microsoft:partition");
    put_key(buf, "partition");
    put_number_text(buf, op->partition);
    put_key(buf, "begin_sequence_number");
    amqp_put_long(buf, op->log_start_offset);
    put_key(buf, "last_enqueued_sequence_number");
    amqp_put_long(buf, last);
    put_key(buf, "last_enqueued_offset");
    put_number_text(buf, last);
    put_key(buf, "last_enqueued_time_utc");
    amqp_put_timestamp(buf, op->last_append_ms > 0 ? op->last_append_ms : 0);
    put_key(buf, "is_partition_empty");
    amqp_put_boolean(buf, op->high_watermark <= op->log_start_offset);
    put_key(buf, "begin_sequence_number_epoch");
    amqp_put_int(buf, -1);
    put_key(buf, "last_enqueued_sequence_number_epoch");
    amqp_put_int(buf, -1);
    put_key(buf, "runtime_info_retrieval_time_utc");
    amqp_put_timestamp(buf, reactor_wall_ms(part->shard->reactor));
    amqp_end(buf, mark, 22);
}

static void partition_done(struct broker_offset_op *op)
{
    struct partition_read *read = CONTAINER_OF(op, struct partition_read, op);
    struct eh_link *reply = read->reply;
    if (op->err == ERR_OK)
        partition_answer(reply->part, read);
    else
        eh_request_answer(reply->part, read->correlation_id, err_row(op->err)->http_status,
                          err_row(op->err)->text, eh_error_condition(op->err));
    answer_send(reply);
    topic_unref(read->topic);
    eh_link_unref(reply);
    free(read);
}

static bool partition_start(struct eh_link *reply, const struct topic *topic, int32_t partition,
                            struct slice correlation_id)
{
    struct partition_read *read = calloc(1, sizeof(*read));
    ASSERT(correlation_id.len <= sizeof(read->bytes)); /* seen to by eh_request_begin */
    if (!read)
        return false;
    if (correlation_id.len > 0)
        memcpy(read->bytes, correlation_id.data, correlation_id.len);
    read->correlation_id = slice_make(read->bytes, correlation_id.len);
    read->reply = eh_link_ref(reply);
    read->topic = topic_ref(topic);
    read->op = (struct broker_offset_op){.topic_id = topic->id,
                                         .partition = partition,
                                         .query = BROKER_OFFSET_STATE,
                                         .current_epoch = -1,
                                         .done = partition_done};
    broker_offset(reply->part->bs, &read->op);
    return true;
}

/* ---- requests ---- */

static bool request_allowed(struct eh_link *link, const struct eh_request *request,
                            struct slice hub)
{
    struct eh_grant grant;
    struct err_info info;
    struct slice token = eh_request_text(request, "security_token");
    int64_t now_s = reactor_wall_ms(link->part->shard->reactor) / 1000;
    if (eh_conn_allows(link->conn, 0, hub))
        return true;
    return token.len > 0 &&
           eh_sas_check(link->part->config, token, now_s, &grant, &info) == EH_SAS_OK &&
           eh_grant_covers(&grant, 0, hub, now_s);
}

static void refuse(struct eh_link *reply, struct slice correlation_id, int32_t status,
                   const char *condition, const char *text)
{
    struct eh_error error;
    eh_error_set(&error, reply->part, condition, "%s", text);
    eh_request_answer(reply->part, correlation_id, status, error.text, condition);
    answer_send(reply);
}

static void request_serve(struct eh_link *link, struct eh_link *reply,
                          const struct eh_request *request)
{
    char text[512];
    struct slice id = request->properties.message_id;
    struct slice name = eh_request_text(request, "name");
    struct slice type = eh_request_text(request, "type");
    if (name.len == 0)
        name = link->address.hub;
    if (!slice_equal(eh_request_text(request, "operation"), SLICE_LIT("READ"))) {
        refuse(reply, id, 400, "amqp:invalid-field", "The operation is not READ.");
        return;
    }
    if (!request_allowed(link, request, name)) {
        refuse(reply, id, 401, "amqp:unauthorized-access",
               "Unauthorized access. No token covers the event hub.");
        return;
    }
    const struct topic *topic = eh_hub_find(link->part, name);
    if (!topic) {
        (void)snprintf(text, sizeof(text), "The messaging entity '%.*s' could not be found.",
                       (int)(name.len < 256 ? name.len : 256),
                       (const char *)(name.data ? name.data : (const uint8_t *)""));
        refuse(reply, id, 404, "amqp:not-found", text);
        return;
    }
    if (slice_equal(type, SLICE_LIT("com.microsoft:eventhub"))) {
        hub_answer(link->part, id, topic);
        answer_send(reply);
        return;
    }
    if (!slice_equal(type, SLICE_LIT("com.microsoft:partition"))) {
        refuse(reply, id, 400, "amqp:invalid-field",
               "The type is neither com.microsoft:eventhub nor "
               "com.microsoft:partition.");
        return;
    }
    int32_t partition =
        eh_address_partition(eh_request_text(request, "partition"), topic->partition_count);
    if (partition < 0)
        refuse(reply, id, 400, "com.microsoft:argument-out-of-range",
               "The specified partition is invalid for an EventHub partition sender or receiver.");
    else if (!partition_start(reply, topic, partition, id))
        refuse(reply, id, 503, "com.microsoft:server-busy", "No memory for the request.");
}

void eh_management_request(struct eh_link *link, const struct eh_delivery *delivery)
{
    struct eh_request request;
    ASSERT(link->kind == EH_LINK_REQUESTS_MANAGEMENT);
    struct eh_link *reply = eh_request_begin(link, delivery, &request);
    if (!reply)
        return;
    eh_link_accept(link, delivery);
    eh_session_settle(link->session);
    request_serve(link, reply, &request);
}
