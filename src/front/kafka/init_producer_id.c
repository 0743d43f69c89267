/*
 * InitProducerId without a transactional id: a fresh id, epoch 0. A transactional id is refused:
 * clients then fail at once instead of trying for ever. An id of the past may be named (version 3),
 * with its epoch; without transactions it changes nothing.
 */
#include "front/kafka/kafka_int.h"
#include "kafka_init_producer_id.h"

struct init_producer {
    struct broker_producer_id_op op;
    struct kafka_request *req;
};

static void init_answer(struct kafka_request *req, int16_t code, int64_t producer_id)
{
    struct kafka_init_producer_id_response answer;
    kafka_init_producer_id_response_init(&answer);
    answer.error_code = code;
    answer.producer_id = producer_id;
    answer.producer_epoch = code == KAFKA_NONE ? 0 : -1;
    kafka_init_producer_id_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

static void init_done(struct broker_producer_id_op *op)
{
    struct init_producer *init = CONTAINER_OF(op, struct init_producer, op);
    ASSERT(op->err != ERR_OK || op->producer_id >= 0);
    init_answer(init->req, kafka_code_of_group(op->err), op->err == ERR_OK ? op->producer_id : -1);
}

void kafka_handle_init_producer_id(struct kafka_request *req)
{
    struct kafka_init_producer_id_request msg;
    struct init_producer *init = ARENA_NEW(req->arena, struct init_producer);
    if (!init || !KAFKA_DECODE(req, init_producer_id, &msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    if (msg.transactional_id.data) {
        bool empty = msg.transactional_id.len == 0;
        init_answer(
            req, empty ? KAFKA_INVALID_REQUEST : KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1);
        return;
    }
    if ((msg.producer_id == -1) != (msg.producer_epoch == -1)) {
        init_answer(req, KAFKA_INVALID_REQUEST, -1);
        return;
    }
    init->req = req;
    init->op.done = init_done;
    broker_producer_id(req->ks->bs, &init->op);
}
