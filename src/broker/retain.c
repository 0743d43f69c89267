/*
 * Retention: every few minutes each shard walks its partitions, one at a time, and lets the log
 * roll and delete what its configuration allows.
 *
 * Invariants: (1) at most one retain operation is out per shard; (2) retain_at names a node of the
 * shard's list or its head; a partition that goes is forgotten first.
 *
 * Ownership: the shard. Failures: reported at debug level, tried again at the next round.
 */
#include "base/diag.h"
#include "broker/broker_int.h"

static void retain_next(struct broker_shard *bs);

static void retain_arm(struct broker_shard *bs)
{
    ASSERT(bs->retaining == NULL);
    timer_arm(bs->shard->reactor, &bs->retain_timer,
              (uint64_t)bs->broker->config.retention_check_ms * 1000);
}

static void retain_done(struct seglog_op *op)
{
    struct broker_shard *bs = CONTAINER_OF(op, struct broker_shard, retain_op);
    if (op->err)
        diag(DIAG_DEBUG, "broker", "retain partition=%s error=%s",
             bs->retaining ? bs->retaining->name : "gone", err_row(op->err)->name);
    ASSERT(bs->retain_out);
    bs->retain_out = false;
    bs->retaining = NULL;
    retain_next(bs);
}

static void retain_next(struct broker_shard *bs)
{
    while (!bs->stopping && bs->retain_at != &bs->all) {
        struct partition *p = CONTAINER_OF(bs->retain_at, struct partition, node);
        bs->retain_at = bs->retain_at->next;
        if (p->state != PARTITION_SERVING || seglog_state(p->log) != ERR_OK)
            continue;
        bs->retaining = p;
        bs->retain_out = true;
        bs->retain_op = (struct seglog_op){.on_done = retain_done};
        seglog_retain(p->log, &bs->retain_op);
        return;
    }
    if (!bs->stopping)
        retain_arm(bs);
}

static void retain_round(struct timer *timer)
{
    struct broker_shard *bs = CONTAINER_OF(timer, struct broker_shard, retain_timer);
    ASSERT(!bs->retain_out); /* (1) */
    bs->retain_at = bs->all.next;
    retain_next(bs);
}

void retain_start(struct broker_shard *bs)
{
    ASSERT(bs->broker->config.retention_check_ms > 0);
    bs->retain_at = &bs->all;
    timer_init(&bs->retain_timer, retain_round);
    retain_arm(bs);
}

void retain_stop(struct broker_shard *bs)
{
    ASSERT(bs->stopping);
    timer_cancel(bs->shard->reactor, &bs->retain_timer);
}

void retain_forget(struct broker_shard *bs, struct partition *p)
{
    if (bs->retaining == p)
        bs->retaining = NULL;
    if (bs->retain_at == &p->node)
        bs->retain_at = p->node.next;
    ASSERT(bs->retain_at != &p->node); /* (2) */
}
