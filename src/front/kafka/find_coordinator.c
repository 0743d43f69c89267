/*
 * FindCoordinator: this node coordinates every group. There is no coordinator of transactions yet,
 * and none of share groups.
 */
#include "front/kafka/kafka_int.h"
#include "kafka_find_coordinator.h"

enum { KEY_GROUP = 0, KEY_TRANSACTION = 1 };

static int16_t key_code(int8_t key_type, const char **ret_text)
{
    *ret_text = NULL;
    if (key_type == KEY_GROUP)
        return KAFKA_NONE;
    *ret_text = key_type == KEY_TRANSACTION ? "Transactions are not served."
                                            : "The type of coordinator is not served.";
    return key_type == KEY_TRANSACTION ? KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                                       : KAFKA_INVALID_REQUEST;
}

void kafka_handle_find_coordinator(struct kafka_request *req)
{
    struct kafka_find_coordinator_request msg;
    if (!KAFKA_DECODE(req, find_coordinator, &msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    const char *text;
    int16_t code = key_code(msg.key_type, &text);
    struct kafka_find_coordinator_response answer;
    kafka_find_coordinator_response_init(&answer);
    ASSERT(req->conn);
    answer.error_code = code;
    answer.error_message = text ? slice_cstr(text) : SLICE_NULL;
    answer.node_id = code == KAFKA_NONE ? req->ks->front->node_id : -1;
    answer.host = code == KAFKA_NONE ? slice_cstr(req->conn->host) : SLICE_LIT("");
    answer.port = code == KAFKA_NONE ? req->conn->port : -1;
    answer.coordinators =
        ARENA_ARRAY(req->arena, struct kafka_find_coordinator_response_coordinator,
                    (size_t)msg.coordinator_keys_count);
    if (!answer.coordinators) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    answer.coordinators_count = msg.coordinator_keys_count;
    for (int32_t i = 0; i < msg.coordinator_keys_count; i++)
        answer.coordinators[i] = (struct kafka_find_coordinator_response_coordinator){
            .key = msg.coordinator_keys[i],
            .node_id = answer.node_id,
            .host = answer.host,
            .port = answer.port,
            .error_code = code,
            .error_message = answer.error_message,
        };
    kafka_find_coordinator_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}
