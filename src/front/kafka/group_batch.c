/* The one place where operations on several groups are counted and their answers given back. */
#include "front/kafka/group_batch.h"

static void item_done(struct group_op *op)
{
    struct group_batch *batch = CONTAINER_OF(op, struct group_batch_item, op)->batch;
    ASSERT(batch->waiting > 0);
    if (--batch->waiting > 0)
        return;
    if (!batch->req->conn)
        kafka_reply_none(batch->req);
    else
        batch->answer(batch);
}

static void batch_cleanup(struct kafka_request *req)
{
    struct group_batch *batch = req->state_of_api;
    ASSERT(batch->waiting == 0);
    for (uint32_t i = 0; i < batch->count; i++)
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
    if (count == 0) {
        answer(batch);
        return;
    }
    batch->count = batch->waiting = (uint32_t)count;
    req->state_of_api = batch;
    req->cleanup = batch_cleanup;
    for (int32_t i = 0; i < count; i++) {
        struct group_batch_item *item = &batch->items[i];
        item->batch = batch;
        item->op.action = action;
        item->op.group_id = groups[i];
        item->op.generation = -1;
        item->op.done = item_done;
        group_submit(req->ks->gs, &item->op);
    }
}
