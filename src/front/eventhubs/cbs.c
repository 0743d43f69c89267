/*
 * $cbs: tokens put for the rights of the connection.
 *
 * A token is a shared access signature by its content, whatever its declared type; a JSON web token
 * is taken in open access only, where nothing needs it.
 *
 * Invariants: (1) every request is answered exactly once, with its correlation id; (2) a token's
 * text is never shown.
 *
 * Ownership and shard: the connection's. Failure: 400 malformed, 401 refused, 503 too many tokens.
 */
#include "front/eventhubs/eh_int.h"

/* Text of an AmqpValue or Data body. */
static struct slice body_text(struct slice body)
{
    struct amqp_value section, descriptor, value;
    if (body.len == 0 || !amqp_value_read(&body, &section) || section.type != AMQP_DESCRIBED)
        return SLICE_NULL;
    amqp_value_undescribe(&section, &descriptor, &value);
    return amqp_value_text(&value);
}

static int32_t token_put(struct eh_link *link, const struct eh_request *request,
                         struct err_info *info)
{
    struct eh_grant grant;
    struct slice token = body_text(request->body);
    int64_t now_s = reactor_wall_ms(link->part->shard->reactor) / 1000;
    (void)err_info_set(info, ERR_INVALID_REQUEST,
                       "The operation is not put-token or has no token.");
    if (!slice_equal(eh_request_text(request, "operation"), SLICE_LIT("put-token")) ||
        token.len == 0)
        return 400;
    if (!slice_starts_with(token, SLICE_LIT("SharedAccessSignature "))) {
        bool open = link->part->config->options.open_access;
        (void)err_info_set(info, ERR_UNAUTHORIZED,
                           open ? "Accepted" : "Only shared access signatures are accepted.");
        return open ? 202 : 401;
    }
    switch (eh_sas_check(link->part->config, token, now_s, &grant, info)) {
    case EH_SAS_MALFORMED:
        return 400;
    case EH_SAS_REFUSED:
        return 401;
    default:
        break;
    }
    if (!eh_conn_grant(link->conn, &grant)) {
        (void)err_info_set(info, ERR_LIMIT, "The connection holds too many tokens.");
        return 503;
    }
    (void)err_info_set(info, ERR_OK, "Accepted");
    return 202;
}

void eh_cbs_request(struct eh_link *link, const struct eh_delivery *delivery)
{
    struct eh_request request;
    struct err_info info;
    ASSERT(link->kind == EH_LINK_REQUESTS_CBS);
    struct eh_link *reply = eh_request_begin(link, delivery, &request);
    if (!reply)
        return;
    int32_t status = token_put(link, &request, &info);
    eh_link_accept(link, delivery);
    eh_session_settle(link->session);
    /* No error-condition: one SDK forgets status and description over it. */
    eh_request_answer(link->part, request.properties.message_id, status, info.text, NULL);
    if (link->part->event.failed || !eh_out_reply(reply, bytebuf_slice(&link->part->event)))
        eh_link_fail_text(link, "amqp:resource-limit-exceeded",
                          "Too many answers wait for credit.");
}
