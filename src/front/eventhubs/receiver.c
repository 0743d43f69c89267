/*
 * Clients that receive events: from a position in one partition, as fast as credit, window and
 * socket allow.
 *
 *     claim a seat -> ask for the start -> attach reply -> fetch -> records to transfers -> fetch
 * ...
 *
 * Invariants
 *  (1) At most one fetch is under way; while batches of the last one are held no new one starts.
 *  (2) next is the offset of the first record that the client has not got; it only grows.
 *  (3) A seat that was granted is released exactly once, by eh_receiver_stop or by a grant that
 * comes too late. (4) Every question under way (seat, offset, fetch) holds one reference on the
 * link.
 *
 * Ownership and shard: the connection's. Held batches are pinned blocks of the log's cache or of a
 * read.
 *
 * Failure: a position beyond the end, a stolen seat and a lost hub detach the link with their
 * conditions; an offset that retention has passed goes on at the oldest record; a batch that cannot
 * be walked is skipped and reported.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "front/eventhubs/eh_int.h"

enum {
    RETRY_US = 100000,
    INFLATED_KEPT = 16 << 10 /* larger buffers go with the batch they were made for */
};

struct eh_receiver {
    struct eh_link *link;
    struct eh_seat seat;
    bool seated;
    struct eh_position position;
    bool running; /* attached, next is valid */
    bool metric;
    struct broker_offset_op question;
    bool asking;
    struct broker_fetch fetch;
    struct broker_fetch_part part;
    bool fetching;
    bool probe; /* the fetch does not wait: its emptiness is the truth */
    struct timer retry;
    int64_t next;
    bool holding; /* ranges of the last fetch */
    uint32_t range_index;
    struct slice range_rest; /* batches of the range not yet begun */
    bool walking;
    struct batch_iter iter;
    bool amqp;         /* the batch came through this door */
    struct iobuf *pin; /* block that uncompressed records lie in */
    struct bytebuf inflated;
    struct event_runtime runtime;
};

static void receiver_fetch(struct eh_receiver *r);

static void receiver_retry(struct timer *timer)
{
    struct eh_receiver *r = CONTAINER_OF(timer, struct eh_receiver, retry);
    eh_receiver_pump(r->link);
}

void eh_receiver_free(struct eh_receiver *r)
{
    ASSERT(!r->fetching && !r->asking && !r->seated);
    bytebuf_deinit(&r->inflated);
    free(r);
}

static void holding_drop(struct eh_receiver *r)
{
    if (r->holding)
        broker_fetch_release(&r->fetch);
    r->holding = r->walking = false;
    r->pin = NULL;
    if (r->inflated.cap > INFLATED_KEPT) {
        bytebuf_deinit(&r->inflated);
        bytebuf_init(&r->inflated, BATCH_INFLATED_MAX);
    }
}

void eh_receiver_stop(struct eh_link *link)
{
    struct eh_receiver *r = link->receiver;
    timer_cancel(link->part->shard->reactor, &r->retry);
    if (r->fetching)
        broker_fetch_cancel(&r->fetch);
    else
        holding_drop(r);
    if (r->seated) {
        r->seated = false;
        eh_seat_release(&r->seat);
    }
    r->running = false;
}

/* ---- start ---- */

static void start_answer(struct eh_receiver *r)
{
    struct eh_link *link = r->link;
    const struct broker_offset_op *op = &r->question;
    const struct eh_position *position = &r->position;
    int64_t end = op->high_watermark, start = op->log_start_offset;
    int64_t at = start;
    switch (position->kind) {
    case EH_POSITION_LATEST:
        at = position->inclusive && end > start ? end - 1 : end;
        break;
    case EH_POSITION_TIME:
        at = op->offset < 0 ? end : op->offset;
        break;
    case EH_POSITION_OFFSET:
        at =
            position->inclusive ? position->value : position->value + (position->value < INT64_MAX);
        break;
    default:
        break;
    }
    if (at > end && !link->part->config->options.clamp_positions) {
        eh_link_fail_text(link, "com.microsoft:argument-error",
                          "The supplied %s '%.*s' is invalid. The last %s in the system is '%lld'",
                          position->sequence ? "sequence number" : "offset",
                          SLICE_FMT(position->text),
                          position->sequence ? "sequence number" : "offset", (long long)(end - 1));
        return;
    }
    r->next = at < start ? start : at > end ? end : at;
    r->runtime = (struct event_runtime){end - 1, op->last_append_ms > 0 ? op->last_append_ms : 0,
                                        reactor_wall_ms(link->part->shard->reactor)};
    r->running = true;
    eh_link_attach_reply(link);
    eh_receiver_pump(link);
}

static void question_done(struct broker_offset_op *op)
{
    struct eh_receiver *r = CONTAINER_OF(op, struct eh_receiver, question);
    struct eh_link *link = r->link;
    r->asking = false;
    if (link->session && !r->running) {
        if (op->err == ERR_OK)
            start_answer(r);
        else
            eh_link_fail_text(link, eh_error_condition(op->err), "%s", err_row(op->err)->text);
    } else if (link->session && r->running) {
        if (op->err == ERR_OK)
            r->runtime = (struct event_runtime){op->high_watermark - 1,
                                                op->last_append_ms > 0 ? op->last_append_ms : 0,
                                                reactor_wall_ms(link->part->shard->reactor)};
        eh_receiver_pump(link);
    }
    eh_link_unref(link);
}

static void question_ask(struct eh_receiver *r, enum broker_offset_query query,
                         int64_t timestamp_ms)
{
    ASSERT(!r->asking);
    r->asking = true;
    (void)eh_link_ref(r->link);
    r->question = (struct broker_offset_op){.topic_id = r->link->topic->id,
                                            .partition = r->link->partition,
                                            .query = query,
                                            .timestamp_ms = timestamp_ms,
                                            .current_epoch = -1,
                                            .done = question_done};
    broker_offset(r->link->part->bs, &r->question);
}

/* ---- seats ---- */

static void seat_refused(struct eh_link *link, const struct eh_seat *seat)
{
    const char *name = seat->name[0] ? seat->name : "nil";
    const char *other = seat->other_name[0] ? seat->other_name : "nil";
    if (seat->answer == EH_SEAT_EPOCH_HIGHER && seat->has_epoch)
        eh_link_fail_text(
            link, "amqp:link:stolen",
            "Receiver '%s' with a higher epoch '%lld' already exists. Receiver '%s' with epoch "
            "%lld "
            "cannot be created. Make sure you are creating receiver with increasing epoch value to "
            "ensure "
            "connectivity, or ensure all old epoch receivers are closed or disconnected.",
            other, (long long)seat->other_epoch, name, (long long)seat->epoch);
    else if (seat->answer == EH_SEAT_EPOCH_HIGHER)
        eh_link_fail_text(link, "amqp:link:stolen",
                          "Receiver '%s' with a higher epoch '%lld' already exists. Receiver "
                          "'%s' without epoch "
                          "cannot be created while it is connected.",
                          other, (long long)seat->other_epoch, name);
    else if (seat->answer == EH_SEAT_TOO_MANY)
        eh_link_fail_text(link, "amqp:resource-limit-exceeded",
                          "Exceeded the maximum number of allowed receivers per partition in a "
                          "consumer group which is "
                          "%d.",
                          EH_RECEIVERS_MAX);
    else
        eh_link_fail_text(link, "com.microsoft:server-busy", "No memory for another receiver.");
}

static void seat_answered(struct eh_seat *seat)
{
    struct eh_receiver *r = CONTAINER_OF(seat, struct eh_receiver, seat);
    struct eh_link *link = r->link;
    if (seat->answer != EH_SEAT_GRANTED) {
        if (link->session)
            seat_refused(link, seat);
        eh_link_unref(link);
        return;
    }
    if (!link->session) {
        eh_seat_release(seat); /* the reference goes on until it is freed */
        return;
    }
    r->seated = true;
    if (r->position.kind == EH_POSITION_TIME)
        question_ask(r, BROKER_OFFSET_BY_TIME,
                     r->position.value + (!r->position.inclusive && r->position.value < INT64_MAX));
    else
        question_ask(r, BROKER_OFFSET_STATE, 0);
}

static void seat_stolen(struct eh_seat *seat)
{
    struct eh_receiver *r = CONTAINER_OF(seat, struct eh_receiver, seat);
    char epoch[24] = "";
    if (!r->link->session)
        return; /* its release is on the way */
    if (seat->has_epoch)
        (void)snprintf(epoch, sizeof(epoch), "%lld", (long long)seat->epoch);
    eh_link_fail_text(r->link, "amqp:link:stolen",
                      "New receiver '%s' with higher epoch of '%lld' is created hence current "
                      "receiver '%s' with epoch "
                      "'%s' is getting disconnected. If you are recreating the receiver, make sure "
                      "a higher epoch is "
                      "used.",
                      seat->other_name[0] ? seat->other_name : "nil", (long long)seat->other_epoch,
                      seat->name[0] ? seat->name : "nil", epoch);
}

static void seat_freed(struct eh_seat *seat)
{
    struct eh_receiver *r = CONTAINER_OF(seat, struct eh_receiver, seat);
    eh_link_unref(r->link);
}

static void seat_name_set(struct eh_seat *seat, struct slice properties)
{
    struct amqp_value value;
    struct slice name = SLICE_NULL;
    if (amqp_map_find(properties, SLICE_LIT("com.microsoft:receiver-name"), &value) ||
        amqp_map_find(properties, SLICE_LIT("com.microsoft.com:receiver-name"), &value))
        name = amqp_value_text(&value);
    size_t len = name.len < EH_ENTITY_NAME_MAX ? name.len : EH_ENTITY_NAME_MAX;
    for (size_t i = 0; i < len; i++)
        seat->name[i] = (char)(name.data[i] < 32 || name.data[i] == 127 ? '?' : name.data[i]);
}

static void seat_fill(struct eh_receiver *r)
{
    struct eh_link *link = r->link;
    struct eh_seat *seat = &r->seat;
    struct amqp_value value;
    char hex[UUID_HEX_LEN + 1];
    uuid_write_hex(link->topic->id, hex);
    char group[EH_NAME_MAX + 1];
    size_t len = link->address.group.len < EH_NAME_MAX ? link->address.group.len : EH_NAME_MAX;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = link->address.group.data[i];
        group[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    int n =
        snprintf(seat->key, sizeof(seat->key), "%s/%d/%.*s", hex, link->partition, (int)len, group);
    ASSERT(n > 0 && (size_t)n < sizeof(seat->key));
    seat->key_len = (uint32_t)n;
    seat->has_epoch =
        amqp_map_find(link->attach.properties, SLICE_LIT("com.microsoft:epoch"), &value) &&
        amqp_value_int64(&value, &seat->epoch);
    seat_name_set(seat, link->attach.properties);
    list_init(&seat->node);
    seat->home = link->part;
    seat->answered = seat_answered;
    seat->stolen = seat_stolen;
    seat->freed = seat_freed;
}

/* ---- attach ---- */

/* The start that the source's filter asks for; false when there is a filter that cannot be read. */
static bool position_read(const struct eh_link *link, struct eh_position *ret_position)
{
    struct amqp_value value, descriptor, inner;
    struct amqp_source source;
    *ret_position = (struct eh_position){.kind = EH_POSITION_EARLIEST};
    if (!amqp_value_parse(link->attach.source, &value) || !amqp_source_decode(&value, &source))
        return false;
    if (!amqp_map_find(source.filter, SLICE_LIT("apache.org:selector-filter:string"), &value))
        return true;
    if (value.type == AMQP_DESCRIBED) {
        amqp_value_undescribe(&value, &descriptor, &inner);
        value = inner;
    }
    if (value.type == AMQP_NULL)
        return true;
    struct slice text = amqp_value_text(&value);
    return text.data && eh_position_parse(text, ret_position);
}

/* The checks of an attach; false when the link has been failed. */
static bool attach_check(struct eh_link *link, struct eh_position *ret_position)
{
    const struct eh_address *address = &link->address;
    const struct topic *topic = NULL;
    if (!eh_conn_allows(link->conn, EVENTHUBS_LISTEN, address->hub)) {
        eh_link_fail_text(link, "amqp:unauthorized-access",
                          "Unauthorized access. 'Listen' claim(s) are required to perform this "
                          "operation. Resource: "
                          "'%.*s'.",
                          SLICE_FMT(address->path));
        return false;
    }
    topic = eh_hub_find(link->part, address->hub);
    if (!topic || !eh_config_group_exists(link->part->config, address->hub, address->group)) {
        eh_link_fail_text(link, "amqp:not-found", "The messaging entity '%.*s' could not be found.",
                          SLICE_FMT(address->path));
        return false;
    }
    link->partition = address->partition.data
                          ? eh_address_partition(address->partition, topic->partition_count)
                          : -1;
    if (link->partition < 0) {
        eh_link_fail_text(link, "com.microsoft:argument-out-of-range",
                          "The specified partition is invalid for an EventHub partition sender or "
                          "receiver. It should be "
                          "between 0 and %d.",
                          topic->partition_count - 1);
        return false;
    }
    if (!position_read(link, ret_position)) {
        eh_link_fail_text(link, "com.microsoft:argument-error",
                          "The filter of the source cannot be understood.");
        return false;
    }
    link->topic = topic_ref(topic);
    return true;
}

void eh_receiver_attach(struct eh_link *link)
{
    struct eh_position position;
    if (!attach_check(link, &position))
        return;
    struct eh_receiver *r = eh_link_hold(link, sizeof(*r)) ? calloc(1, sizeof(*r)) : NULL;
    if (!r) {
        eh_link_fail_text(link, "com.microsoft:server-busy", "No memory for another receiver.");
        return;
    }
    r->link = link;
    r->position = position;
    r->metric = amqp_symbols_contain(link->attach.desired_capabilities,
                                     SLICE_LIT("com.microsoft:enable-receiver-runtime-metric"));
    timer_init(&r->retry, receiver_retry);
    bytebuf_init(&r->inflated, BATCH_INFLATED_MAX);
    link->receiver = r;
    seat_fill(r);
    (void)eh_link_ref(link);
    eh_seat_claim(&r->seat);
}

/* ---- fetch ---- */

static void fetch_failed(struct eh_receiver *r, enum err err)
{
    struct eh_link *link = r->link;
    switch (err) {
    case ERR_OFFSET_OUT_OF_RANGE:
        /* Retention has passed the position, or the log was cut: go on where there is something. */
        if (r->part.log_start_offset > r->next)
            r->next = r->part.log_start_offset;
        timer_arm(link->part->shard->reactor, &r->retry, RETRY_US);
        return;
    case ERR_NOT_LEADER:
    case ERR_BUSY:
    case ERR_TIMEOUT:
    case ERR_NO_MEMORY:
        timer_arm(link->part->shard->reactor, &r->retry, RETRY_US);
        return;
    default:
        eh_link_fail_text(link, eh_error_condition(err), "%s", err_row(err)->text);
    }
}

static void fetch_done(struct broker_fetch *op)
{
    struct eh_receiver *r = CONTAINER_OF(op, struct eh_receiver, fetch);
    struct eh_link *link = r->link;
    ASSERT(r->fetching);
    r->fetching = false;
    r->holding = true;
    if (!link->session || r->part.err != ERR_OK || op->bytes == 0)
        holding_drop(r);
    if (link->session && r->part.err != ERR_OK) {
        fetch_failed(r, r->part.err);
    } else if (link->session) {
        r->range_index = 0;
        r->range_rest = SLICE_NULL;
        if (!r->holding && r->probe && link->drain && link->out_credit > 0)
            eh_out_drained(link);
        if (r->holding && r->metric && !r->asking)
            question_ask(r, BROKER_OFFSET_STATE, 0);
        eh_receiver_pump(link);
    }
    eh_link_unref(link);
}

static void receiver_fetch(struct eh_receiver *r)
{
    ASSERT(!r->fetching && !r->holding);
    if (timer_armed(&r->retry))
        return;
    r->part = (struct broker_fetch_part){.topic_id = r->link->topic->id,
                                         .partition = r->link->partition,
                                         .offset = r->next,
                                         .max_bytes = EH_FETCH_BYTES,
                                         .leader_epoch = -1};
    r->probe = r->link->drain;
    r->fetch = (struct broker_fetch){.parts = &r->part,
                                     .part_count = 1,
                                     .min_bytes = 1,
                                     .max_bytes = EH_FETCH_BYTES,
                                     .max_wait_ms = r->probe ? 0 : EH_FETCH_WAIT_MS,
                                     .done = fetch_done};
    r->fetching = true;
    (void)eh_link_ref(r->link);
    broker_fetch(r->link->part->bs, &r->fetch);
}

/* ---- records ---- */

/* Begins the next batch that is held; false when none is left. */
static bool batch_begin(struct eh_receiver *r)
{
    struct batch_header header;
    struct err_info info;
    for (;;) {
        while (r->range_rest.len == 0) {
            if (r->range_index == r->part.range_count)
                return false;
            r->pin = r->part.ranges[r->range_index].buf;
            r->range_rest = r->part.ranges[r->range_index++].bytes;
        }
        uint32_t size = batch_size_peek(r->range_rest);
        if (size == 0 || size > r->range_rest.len ||
            batch_header_read(r->range_rest, &header, &info) != ERR_OK) {
            r->range_rest = SLICE_NULL;
            continue;
        }
        struct slice batch = slice_sub(r->range_rest, 0, size);
        r->range_rest = slice_sub(r->range_rest, size, SIZE_MAX);
        bool skip = batch_end_offset(&header).value <= r->next;
        if (!skip && (header.attributes & BATCH_ATTR_CONTROL) == 0) {
            if (batch_iter_init(&r->iter, batch, &r->inflated, &info) == ERR_OK) {
                r->amqp = (header.attributes & EVENT_BATCH_AMQP) != 0;
                if (batch_codec(&header) != BATCH_CODEC_NONE)
                    r->pin = NULL;
                return true;
            }
            diag(DIAG_WARN, "eventhubs",
                 "topic=%.*s partition=%d offset=%lld text=\"batch skipped: %s\"",
                 SLICE_FMT(r->link->topic->name), r->link->partition,
                 (long long)header.base_offset.value, info.text);
        }
        if (batch_end_offset(&header).value > r->next)
            r->next = batch_end_offset(&header).value;
    }
}

/* The next record that the client has not got; false when nothing is held any more. */
static bool record_next(struct eh_receiver *r, struct batch_record *ret_record)
{
    while (r->holding) {
        if (!r->walking && !batch_begin(r)) {
            holding_drop(r);
            break;
        }
        r->walking = true;
        while (batch_iter_next(&r->iter, ret_record)) {
            if (ret_record->offset.value >= r->next)
                return true;
        }
        if (r->iter.err != ERR_OK)
            diag(DIAG_WARN, "eventhubs",
                 "topic=%.*s partition=%d text=\"rest of a batch skipped: %s\"",
                 SLICE_FMT(r->link->topic->name), r->link->partition,
                 r->iter.fault ? r->iter.fault : "malformed");
        if (batch_end_offset(&r->iter.header).value > r->next)
            r->next = batch_end_offset(&r->iter.header).value;
        r->walking = false;
    }
    return false;
}

static void record_send(struct eh_receiver *r, const struct batch_record *record)
{
    struct eh_link *link = r->link;
    struct event_parts parts;
    r->next = record->offset.value + 1;
    if (!event_from_record(record, r->amqp, r->metric ? &r->runtime : NULL, &link->part->event,
                           &parts)) {
        diag(DIAG_WARN, "eventhubs",
             "topic=%.*s partition=%d offset=%lld text=\"event too large, skipped\"",
             SLICE_FMT(link->topic->name), link->partition, (long long)record->offset.value);
        return;
    }
    EH_COUNT(link->part->stat_events_out, 1);
    EH_COUNT(link->part->stat_bytes_out, parts.head.len + parts.body.len + parts.tail.len);
    eh_out_transfer(link, &parts, r->pin, true);
}

static bool may_send(const struct eh_link *link)
{
    return link->session && !link->rest && link->out_credit > 0 &&
           link->session->remote_window > 0 && link->conn->stream &&
           link->conn->state == EH_CONN_OPEN && stream_has_room(link->conn->stream);
}

void eh_receiver_pump(struct eh_link *link)
{
    struct eh_receiver *r = link->receiver;
    struct batch_record record;
    if (!r || !r->running || !eh_out_resume(link) || (r->metric && r->asking))
        return;
    while (may_send(link)) {
        if (!record_next(r, &record)) {
            if (!r->fetching)
                receiver_fetch(r);
            else if (link->drain && !r->probe)
                broker_fetch_cancel(&r->fetch); /* ask again, without waiting */
            return;
        }
        record_send(r, &record);
    }
    if (link->session && !link->rest && link->drain && link->out_credit == 0)
        eh_out_drained(link);
}
