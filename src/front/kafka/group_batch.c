/* The one place where operations on several groups follow one another, and where their answers are
 * given back. */
#include "front/kafka/group_batch.h"

static void batch_next(struct group_batch *batch);

static void item_done(struct group_op *op)
{
    struct group_batch *batch = CONTAINER_OF(op, struct group_batch_item, op)->batch;
    ASSERT(batch->next > 0 && op == &batch->items[batch->next - 1].op);
    batch->held += group_op_bytes(op);
    if (!batch->req->conn)
        kafka_reply_none(batch->req);
    else if (batch->held > KAFKA_RESPONSE_MAX)
        kafka_request_reject(batch->req, "answer_too_large");
    else
        batch_next(batch);
}

static void batch_next(struct group_batch *batch)
{
    if (batch->next == batch->count)
        batch->answer(batch);
    else
        group_submit(batch->req->ks->gs, &batch->items[batch->next++].op);
}

static void batch_cleanup(struct kafka_request *req)
{
    struct group_batch *batch = req->state_of_api;
    for (uint32_t i = 0; i < batch->next; i++)
        group_op_release(&batch->items[i].op);
}

void kafka_group_batch_run(struct kafka_request *req, struct group_batch *batch,
                           enum group_action action, const struct slice *groups, int32_t count,
                           void (*answer)(struct group_batch *batch))
{
    ASSERT(count >= 0 && !req->cleanup);
    batch->req = req;
    batch->answer = answer;
    batch->items = ARENA_ARRAY(req->arena, struct group_batch_item, (size_t)count);
    if (!batch->items) {
        kafka_request_reject(req, "no_memory");
        return;
    }
    batch->count = (uint32_t)count;
    req->state_of_api = batch;
    req->cleanup = batch_cleanup;
    for (int32_t i = 0; i < count; i++) {
        struct group_batch_item *item = &batch->items[i];
        item->batch = batch;
        item->op.action = action;
        item->op.group_id = groups[i];
        item->op.generation = -1;
        item->op.done = item_done;
    }
    batch_next(batch);
}
