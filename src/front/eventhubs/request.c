/*
 * Requests to $cbs and $management: reading them, and starting their answers.
 *
 *     request: properties{message-id, reply-to} application-properties{operation, ...} body
 *     answer:  properties{correlation-id} application-properties{status-code, status-description,
 * ...} body
 *
 * Invariants: (1) the correlation id repeats the message id in its own AMQP type; (2) a status code
 * is a 5-byte int.
 *
 * Ownership and shard: the connection's; an answer is built in the shard's event buffer.
 *
 * Failure: a request without a way back, or whose id is too long to be repeated, is rejected.
 */
#include "front/eventhubs/eh_int.h"

bool eh_request_read(struct slice bytes, struct eh_request *ret_request)
{
    struct amqp_message message;
    struct amqp_value section;
    *ret_request = (struct eh_request){0};
    if (!amqp_message_scan(bytes, &message) || !message.application_properties.data)
        return false;
    ret_request->application_properties = message.application_properties;
    ret_request->body = message.body;
    if (!message.properties.data)
        return true;
    return amqp_value_parse(message.properties, &section) &&
           amqp_properties_decode(&section, &ret_request->properties);
}

struct slice eh_request_text(const struct eh_request *request, const char *name)
{
    struct amqp_value value;
    if (!amqp_map_find(request->application_properties, slice_cstr(name), &value))
        return SLICE_NULL;
    return amqp_value_text(&value);
}

/* The link that answers to this request go to; NULL when there is none. */
static struct eh_link *reply_link(struct eh_link *requests, const struct eh_request *request)
{
    struct amqp_value reply_to;
    struct slice wanted = SLICE_NULL;
    struct eh_link *any = NULL;
    ASSERT(requests->session);
    if (request->properties.reply_to.data &&
        amqp_value_parse(request->properties.reply_to, &reply_to))
        wanted = amqp_value_text(&reply_to);
    for (unsigned i = 0; i <= EH_HANDLE_MAX; i++) {
        struct eh_link *link = requests->session->links[i];
        if (!link || link->kind != EH_LINK_REPLIES || link->address.node != requests->address.node)
            continue;
        if (wanted.len > 0 && slice_equal(wanted, link->reply_address))
            return link;
        if (!any)
            any = link;
    }
    return any;
}

struct eh_link *eh_request_begin(struct eh_link *requests, const struct eh_delivery *delivery,
                                 struct eh_request *ret_request)
{
    enum { ID_HEAD_MAX = 5 /* constructor and size in front of an id's bytes */ };
    struct eh_error error;
    bool good = eh_request_read(delivery->bytes, ret_request);
    struct eh_link *reply = good ? reply_link(requests, ret_request) : NULL;
    if (good && ret_request->properties.message_id.len > EH_ID_MAX + ID_HEAD_MAX)
        eh_error_set(&error, requests->part, "amqp:invalid-field",
                     "The message-id of a request may have at most %d bytes.", EH_ID_MAX);
    else if (reply)
        return reply;
    else
        eh_error_set(&error, requests->part, "amqp:decode-error",
                     "The request is malformed or has no link for its answer.");
    eh_link_reject(requests, delivery, &error);
    return NULL;
}

static void put_status(struct bytebuf *buf, const char *name, int32_t status)
{
    const uint8_t value[5] = {0x71, (uint8_t)((uint32_t)status >> 24),
                              (uint8_t)((uint32_t)status >> 16), (uint8_t)((uint32_t)status >> 8),
                              (uint8_t)status};
    amqp_put_string(buf, slice_cstr(name));
    bytebuf_append(buf, value, sizeof(value));
}

void eh_request_answer(struct eh_shard *part, struct slice correlation_id, int32_t status,
                       const char *description, const char *condition)
{
    struct bytebuf *buf = &part->event;
    ASSERT(status > 0 && description);
    bytebuf_clear(buf);
    struct amqp_properties properties = {.correlation_id = correlation_id};
    amqp_properties_encode(buf, &properties);
    amqp_put_descriptor(buf, 0x74);
    size_t mark = amqp_begin_map(buf);
    put_status(buf, "status-code", status);
    amqp_put_string(buf, SLICE_LIT("status-description"));
    amqp_put_string(buf, slice_cstr(description));
    uint32_t count = 4;
    if (status >= 400) {
        /* One client looks for the older spelling when it words the failure. */
        put_status(buf, "statusCode", status);
        amqp_put_string(buf, SLICE_LIT("statusDescription"));
        amqp_put_string(buf, slice_cstr(description));
        count += 4;
    }
    if (condition) {
        amqp_put_string(buf, SLICE_LIT("error-condition"));
        amqp_put_symbol(buf, slice_cstr(condition));
        count += 2;
    }
    amqp_end(buf, mark, count);
    if (status >= 400)
        EH_COUNT(part->stat_refused, 1);
}
