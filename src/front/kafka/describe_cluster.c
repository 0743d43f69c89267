/* DescribeCluster: one broker, which is also the controller. */
#include "front/kafka/kafka_int.h"
#include "kafka_describe_cluster.h"

enum { ENDPOINT_UNSAID = 0, ENDPOINT_BROKERS = 1, ENDPOINT_CONTROLLERS = 2 };

static int16_t endpoint_code(int8_t type)
{
    switch (type) {
    case ENDPOINT_BROKERS:
        return KAFKA_NONE;
    case ENDPOINT_UNSAID:
        return KAFKA_INVALID_REQUEST;
    case ENDPOINT_CONTROLLERS:
        return KAFKA_MISMATCHED_ENDPOINT_TYPE;
    default:
        return KAFKA_UNSUPPORTED_ENDPOINT_TYPE;
    }
}

void kafka_handle_describe_cluster(struct kafka_request *req)
{
    struct kafka_describe_cluster_request msg;
    if (!KAFKA_DECODE(req, describe_cluster, &msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    ASSERT(req->conn);
    struct kafka_describe_cluster_response answer;
    kafka_describe_cluster_response_init(&answer);
    struct kafka_describe_cluster_response_broker self;
    kafka_describe_cluster_response_broker_init(&self);
    self.broker_id = req->ks->front->node_id;
    self.host = slice_cstr(req->conn->host);
    self.port = req->conn->port;
    answer.endpoint_type = msg.endpoint_type;
    answer.error_code = endpoint_code(msg.endpoint_type);
    if (answer.error_code != KAFKA_NONE) {
        answer.error_message = SLICE_LIT("Only broker endpoints are served here.");
    } else {
        answer.cluster_id = kafka_cluster_id(req);
        answer.controller_id = self.broker_id;
        answer.brokers = &self;
        answer.brokers_count = 1;
    }
    if (msg.include_cluster_authorized_operations)
        answer.cluster_authorized_operations = KAFKA_CLUSTER_OPERATIONS;
    kafka_describe_cluster_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}
