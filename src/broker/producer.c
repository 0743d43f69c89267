/*
 * Producer ids: given out by shard 0 from blocks that the catalogue has taken durably.
 *
 * Invariants: (1) an id is given once in the life of the data folder: a block is in the catalogue
 * before its first id leaves; (2) what is left of a block at a stop or crash is never given.
 *
 * Ownership: next, end and the waiting operations are shard 0's.
 *
 * Failures: the catalogue does not take a block: all that wait get its error.
 */
#include "broker/broker_int.h"

static void producer_answer_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_producer_id_op *op = CONTAINER_OF(msg, struct broker_producer_id_op, msg);
    ASSERT(op->from == to);
    op->done(op);
}

static void producer_answer(struct broker_producer_id_op *op, enum err err, int64_t id)
{
    op->err = err;
    op->producer_id = id;
    op->msg.fn = producer_answer_arrive;
    shard_send(op->broker->shard_parts[0]->shard, op->from, &op->msg);
}

static void producer_block_taken(struct catalogue_op *done);

static void producer_serve(struct broker *broker)
{
    while (broker->producer_next < broker->producer_end && !list_empty(&broker->producer_ops)) {
        struct list_node *node = list_pop_front(&broker->producer_ops);
        producer_answer(CONTAINER_OF(node, struct broker_producer_id_op, node), ERR_OK,
                        broker->producer_next++);
    }
    if (list_empty(&broker->producer_ops) || broker->producer_busy)
        return;
    ASSERT(broker->producer_next == broker->producer_end); /* (1) */
    broker->producer_busy = true;
    broker->producer_block = (struct catalogue_op){.done = producer_block_taken};
    catalogue_producer_block(broker->catalogue, broker->shard_parts[0]->shard,
                             &broker->producer_block, BROKER_PRODUCER_BLOCK);
}

static void producer_block_taken(struct catalogue_op *done)
{
    struct broker *broker = CONTAINER_OF(done, struct broker, producer_block);
    ASSERT(broker->producer_busy);
    broker->producer_busy = false;
    if (done->err) {
        struct list_node *node = NULL;
        while ((node = list_pop_front(&broker->producer_ops)))
            producer_answer(CONTAINER_OF(node, struct broker_producer_id_op, node), done->err, -1);
        return;
    }
    broker->producer_next = done->ret_block_first;
    broker->producer_end = done->ret_block_first + BROKER_PRODUCER_BLOCK;
    producer_serve(broker);
}

static void producer_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_producer_id_op *op = CONTAINER_OF(msg, struct broker_producer_id_op, msg);
    ASSERT(to->index == 0);
    if (broker_part(op->broker, to)->stopping) {
        producer_answer(op, ERR_CLOSING, -1);
        return;
    }
    list_push_back(&op->broker->producer_ops, &op->node);
    producer_serve(op->broker);
}

void broker_producer_id(struct broker_shard *bs, struct broker_producer_id_op *op)
{
    ASSERT(op->done != NULL);
    op->broker = bs->broker;
    op->from = bs->shard;
    list_init(&op->node);
    op->msg.fn = producer_arrive;
    shard_send(bs->shard, bs->broker->shard_parts[0]->shard, &op->msg);
}
