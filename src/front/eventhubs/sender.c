/*
 * Clients that send events: from one transfer to one record batch to one partition.
 *
 *     plain message -> one record
 *     format 0x80013700 -> one record per Data section, each a whole message, all in one batch:
 * stored together or not
 *
 * Invariants
 *  (1) A delivery is accepted only after its batch is durable; a settled one gets no answer at all.
 *  (2) The partition: of the address, else by the key's hash, else the next in turn; never split.
 *  (3) appending counts the deliveries that are not answered yet.
 *
 * Ownership and shard: the connection's; an append under way holds a reference on its link.
 *
 * Failure: a delivery that cannot be stored is rejected with a condition; one that is too large, or
 * a hub that has gone, also ends the link.
 */
#include <stdlib.h>

#include "event/event_hash.h"
#include "front/eventhubs/eh_int.h"

enum {
    FORMAT_BATCH = 0x80013700u,
    RECORD_OVERHEAD = 64 << 10, /* what a batch may grow by on its way to records */
    APPEND_OVERHEAD = 256       /* what an append costs in the broker besides its bytes */
};

struct append {
    struct broker_append op;
    struct eh_link *link;
    struct eh_delivery delivery; /* bytes are not kept */
    size_t bytes;                /* that it counts for while under way */
    int64_t events;
};

void eh_sender_attach(struct eh_link *link)
{
    const struct eh_address *address = &link->address;
    if (!eh_conn_allows(link->conn, EVENTHUBS_SEND, address->hub)) {
        eh_link_fail_text(link, "amqp:unauthorized-access",
                          "Unauthorized access. 'Send' claim(s) are required to perform this "
                          "operation. Resource: '%.*s'.",
                          SLICE_FMT(address->path));
        return;
    }
    const struct topic *topic = eh_hub_find(link->part, address->hub);
    if (!topic) {
        eh_link_fail_text(link, "amqp:not-found", "The messaging entity '%.*s' could not be found.",
                          SLICE_FMT(address->path));
        return;
    }
    if (address->partition.data) {
        link->partition = eh_address_partition(address->partition, topic->partition_count);
        if (link->partition < 0) {
            eh_link_fail_text(link, "com.microsoft:argument-out-of-range",
                              "The specified partition is invalid for an EventHub partition sender "
                              "or receiver. It "
                              "should be between 0 and %d.",
                              topic->partition_count - 1);
            return;
        }
    }
    link->topic = topic_ref(topic);
    if (topic->values.max_message_bytes < link->message_max)
        link->message_max = (uint32_t)topic->values.max_message_bytes;
    eh_link_attach_reply(link);
}

static void append_answer(struct append *append)
{
    struct eh_link *link = append->link;
    struct eh_error error;
    enum err err = append->op.err;
    if (err == ERR_OK) {
        eh_link_accept(link, &append->delivery);
        return;
    }
    const char *text = append->op.info.text[0] ? append->op.info.text : err_row(err)->text;
    eh_error_set(&error, link->part, eh_error_condition(err), "%s", text);
    eh_link_reject(link, &append->delivery, &error);
    if (err == ERR_UNKNOWN_TOPIC_OR_PARTITION || err == ERR_UNKNOWN_TOPIC_ID ||
        err == ERR_MESSAGE_TOO_LARGE)
        eh_link_fail(link, &error);
}

static void append_done(struct broker_append *op)
{
    struct append *append = CONTAINER_OF(op, struct append, op);
    struct eh_link *link = append->link;
    ASSERT(link->appending > 0);
    link->appending--;
    if (op->err == ERR_OK)
        EH_COUNT(link->part->stat_events_in, (uint64_t)append->events);
    if (link->session)
        append_answer(append);
    eh_conn_inflight_sub(link->conn, append->bytes);
    eh_link_unref(link);
    free(append);
}

static int32_t partition_pick(struct eh_link *link, struct slice key)
{
    int32_t count = link->topic->partition_count;
    if (link->partition >= 0)
        return link->partition;
    if (key.len > 0) {
        bool ranges = link->part->config->options.ranges_hash && count <= 32767;
        return ranges ? event_partition_ranges(key, count) : event_partition_sdk(key, count);
    }
    return (int32_t)(link->part->rotation++ % (uint32_t)count);
}

static enum err event_add(struct eh_link *link, struct batch_builder *builder, struct slice bytes,
                          const struct event_origin *origin, struct err_info *info)
{
    struct batch_build_record record;
    struct arena_mark mark = arena_mark(link->part->arena);
    enum err err = event_to_record(bytes, origin, link->part->arena, &record, info);
    if (err == ERR_OK)
        err = batch_builder_add(builder, &record);
    arena_rewind(link->part->arena, mark);
    return err;
}

/* Turns the delivery's bytes into records; *ret_key is the key that decides the partition. */
static enum err delivery_convert(struct eh_link *link, const struct eh_delivery *delivery,
                                 struct batch_builder *builder, struct slice *ret_key,
                                 struct err_info *info)
{
    struct amqp_message envelope, first;
    struct event_origin origin = {.publisher = link->address.publisher,
                                  .now_ms = reactor_wall_ms(link->part->shard->reactor)};
    if (!amqp_message_scan(delivery->bytes, &envelope))
        return err_info_set(info, ERR_INVALID_REQUEST,
                            "The message is not a sequence of AMQP sections.");
    *ret_key = event_partition_key(&envelope);
    if (origin.publisher.len > 0) {
        if (ret_key->len > 0 && !slice_equal(*ret_key, origin.publisher))
            return err_info_set(info, ERR_INVALID_ARGUMENT,
                                "The partition key must be the publisher's name.");
        *ret_key = origin.publisher;
    }
    origin.partition_key = *ret_key;
    if (delivery->format != FORMAT_BATCH)
        return event_add(link, builder, delivery->bytes, &origin, info);
    if (envelope.body_kind != AMQP_BODY_DATA)
        return err_info_set(info, ERR_INVALID_REQUEST, "A batch must consist of Data sections.");
    struct slice body = envelope.body, event;
    bool is_first = true;
    while (amqp_message_data_next(&body, &event)) {
        if (is_first && ret_key->len == 0 && amqp_message_scan(event, &first))
            *ret_key = event_partition_key(&first);
        is_first = false;
        enum err err = event_add(link, builder, event, &origin, info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static void delivery_refuse(struct eh_link *link, const struct eh_delivery *delivery,
                            const struct err_info *info, enum err err)
{
    struct eh_error error;
    eh_error_set(&error, link->part, eh_error_condition(err), "%s",
                 info->text[0] ? info->text : err_row(err)->text);
    eh_link_reject(link, delivery, &error);
}

void eh_sender_delivery(struct eh_link *link, const struct eh_delivery *delivery)
{
    struct batch_builder builder;
    struct err_info info = {.code = ERR_OK};
    struct slice key = SLICE_NULL;
    ASSERT(link->kind == EH_LINK_SENDER && link->topic);
    batch_builder_init(&builder, delivery->bytes.len * 2 + RECORD_OVERHEAD);
    enum err err = delivery_convert(link, delivery, &builder, &key, &info);
    struct append *append = err == ERR_OK ? calloc(1, sizeof(*append)) : NULL;
    if (err == ERR_OK && !append)
        err = ERR_NO_MEMORY;
    if (err != ERR_OK) {
        batch_builder_deinit(&builder);
        delivery_refuse(link, delivery, &info, err);
        return;
    }
    builder.attributes |= EVENT_BATCH_AMQP;
    append->events = builder.record_count;
    append->op = (struct broker_append){.topic_id = link->topic->id,
                                        .partition = partition_pick(link, key),
                                        .acks = -1,
                                        .flags = BROKER_APPEND_MEASURED,
                                        .done = append_done};
    batch_builder_finish(&builder, &append->op.batch);
    append->link = eh_link_ref(link);
    append->delivery = *delivery;
    append->delivery.bytes = SLICE_NULL;
    append->bytes = append->op.batch.bytes.len + sizeof(*append) + APPEND_OVERHEAD;
    link->appending++;
    EH_COUNT(link->part->stat_bytes_in, append->op.batch.bytes.len);
    eh_conn_inflight_add(link->conn, append->bytes);
    broker_append(link->part->bs, &append->op);
}
