/*
 * Fetch: reads of many partitions, with waiting.
 *
 * Picture: the caller's parts are grouped by owner; each group is a `sub` that visits its owner.
 *
 *     caller --START--> owner: bounds, bytes there; enough: read, else watch the partitions
 *            <-PROGRESS- more bytes than told before (only when several owners share min_bytes)
 *            --GO-ON-->  the owner may tell again
 *            --FINISH--> deadline, cancel, or another owner had enough: read what there is
 *            <--DATA---  once per sub: answers are in the parts
 *            <--ACK----  the FINISH was seen: nothing of the sub is under way any more
 *
 * Invariants:
 *  (1) Each message struct of a sub is with one side at a time: msg (START, PROGRESS, GO-ON), data
 *      (DATA), finish (FINISH, ACK).
 *  (2) A sub ends for the caller when DATA came, and ACK if FINISH was sent. Whoever sent GO-ON
 *      always sends FINISH behind it, and nobody sends GO-ON behind FINISH. Messages between two
 *      shards keep their order, those of a shard to itself too (with several subs nothing is handed
 *      over past the mail): so no message outlives the operation.
 *  (3) A part's answers are written by its owner before DATA and read by the caller after it.
 *  (4) No polling: a parked sub sleeps until a partition moves, FINISH, or never.
 *  (5) The limits hold over all owners: each reads up to the whole budget, the caller cuts at batch
 *      boundaries in the order of the parts.
 *
 * Ownership: operation and timer are the calling shard's; watches are in lists of partitions of the
 * owner. Shard: any.
 *
 * Failures: each part has its own error; an error ends the waiting at once. Out of memory at the
 * start answers ERR_NO_MEMORY in all parts.
 */
#include <stdlib.h>

#include "broker/broker_int.h"
#include "broker/fetch_int.h"

static void fetch_finish(struct broker_fetch *op);

/* ---- caller: the end ---- */

static void fetch_complete(struct broker_fetch *op)
{
    struct broker_shard *bs = op->bs;
    ASSERT(op->subs_open == 0);
    timer_cancel(bs->shard->reactor, &op->timer);
    list_remove(&op->node);
    for (uint32_t i = 0; i < op->sub_count; i++)
        free(op->subs[i].watches);
    if (op->sub_count > 1)
        fetch_cut(op);
    free(op->subs);
    op->subs = NULL;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < op->part_count; i++)
        bytes += op->parts[i].bytes;
    op->bytes = (uint32_t)bytes;
    counter_add(&bs->counters.fetches, 1);
    counter_add(&bs->counters.fetch_bytes, bytes);
    counter_add(&bs->counters.fetches_waiting, UINT64_MAX);
    op->done(op);
}

static void fetch_complete_later(struct hook *hook)
{
    fetch_complete(CONTAINER_OF(hook, struct broker_fetch, hook));
}

/* A sub may have ended (2). */
static void fetch_sub_settle(struct broker_fetch_sub *sub)
{
    struct broker_fetch *op = sub->op;
    if (sub->settled || !sub->has_data || (sub->finish_sent && !sub->has_ack))
        return;
    sub->settled = true;
    ASSERT(op->subs_open > 0);
    if (--op->subs_open > 0)
        return;
    if (op->starting)
        reactor_at_turn_end(op->bs->shard->reactor, &op->hook);
    else
        fetch_complete(op);
}

static void fetch_data_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_fetch_sub *sub = CONTAINER_OF(msg, struct broker_fetch_sub, data);
    struct broker_fetch *op = sub->op;
    ASSERT(op->bs->shard == to && !sub->has_data);
    sub->has_data = true;
    if (!op->finishing)
        fetch_finish(op);
    else
        fetch_sub_settle(sub);
}

static void fetch_ack_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_fetch_sub *sub = CONTAINER_OF(msg, struct broker_fetch_sub, finish);
    ASSERT(sub->op->bs->shard == to && sub->finish_sent);
    sub->has_ack = true;
    fetch_sub_settle(sub);
}

/* ---- owner: reading ---- */

static void fetch_send_data(struct broker_fetch_sub *sub)
{
    struct broker_shard *caller = sub->op->bs;
    ASSERT(!sub->data_sent);
    sub->data_sent = true;
    sub->data.fn = fetch_data_arrive;
    if (caller == sub->owner && sub->op->sub_count == 1) /* (2) */
        fetch_data_arrive(caller->shard, &sub->data);
    else
        shard_send(sub->owner->shard, caller->shard, &sub->data);
}

static void fetch_read_done(struct broker_fetch_sub *sub)
{
    free(sub->read);
    sub->read = NULL;
    fetch_send_data(sub);
}

static void fetch_read_cold(struct seglog_read *read)
{
    struct broker_fetch_sub *sub = read->ctx;
    ASSERT(sub->reading && sub->read == read);
    fetch_read_take(sub);
    if (fetch_read_more(sub, fetch_read_cold))
        fetch_read_done(sub);
}

static void fetch_unwatch(struct broker_fetch_sub *sub)
{
    for (uint32_t i = 0; i < sub->watch_count; i++)
        list_remove(&sub->watches[i].node);
    sub->watch_count = 0;
    sub->parked = false;
}

static void fetch_read_start(struct broker_fetch_sub *sub)
{
    ASSERT(!sub->reading);
    fetch_unwatch(sub);
    sub->reading = true;
    sub->at = sub->first;
    sub->budget = sub->op->max_bytes;
    if (fetch_read_more(sub, fetch_read_cold))
        fetch_read_done(sub);
}

/* ---- owner: what is there, and waiting ---- */

/* Bounds, errors and bytes of one part. */
static void fetch_part_look(struct broker_fetch_sub *sub, struct broker_fetch_part *part)
{
    struct partition *p = partition_find(sub->owner, part->topic_id, part->partition);
    part->available = 0;
    part->err = p ? partition_check(p, part->leader_epoch) : ERR_UNKNOWN_TOPIC_OR_PARTITION;
    if (p && p->log) {
        struct seglog_bounds bounds = seglog_bounds(p->log);
        part->high_watermark = bounds.high_watermark.value;
        part->last_stable_offset = bounds.stable.value;
        part->log_start_offset = bounds.start.value;
        part->current_epoch = bounds.epoch.value;
        if (!part->err &&
            (part->offset < bounds.start.value || part->offset > bounds.high_watermark.value))
            part->err = ERR_OFFSET_OUT_OF_RANGE;
    }
    if (part->err) {
        sub->failed = true;
        return;
    }
    uint64_t limit = part->max_bytes ? part->max_bytes : 1;
    uint64_t there = seglog_bytes_behind(p->log, record_offset(part->offset), limit);
    part->available = there < limit ? there : limit;
    if (there >= limit)
        sub->filled = true;
    sub->available += part->available;
}

static bool fetch_sub_enough(const struct broker_fetch_sub *sub)
{
    const struct broker_fetch *op = sub->op;
    return sub->failed || sub->filled || sub->finish_seen || op->max_wait_ms == 0 ||
           sub->available >= op->min_bytes || sub->available >= op->max_bytes ||
           sub->owner->stopping;
}

static void fetch_progress_arrive(struct shard *to, struct shard_msg *msg);

static void fetch_tell_progress(struct broker_fetch_sub *sub)
{
    if (sub->op->sub_count == 1 || !sub->msg_here || sub->available <= sub->told)
        return;
    struct broker_shard *caller = sub->op->bs;
    sub->told = sub->available;
    sub->msg_here = false;
    sub->msg.fn = fetch_progress_arrive;
    shard_send(sub->owner->shard, caller->shard, &sub->msg);
}

static void fetch_sub_look(struct broker_fetch_sub *sub)
{
    sub->available = 0;
    for (uint32_t i = sub->first; i; i = sub->op->parts[i - 1].next)
        fetch_part_look(sub, &sub->op->parts[i - 1]);
}

static void fetch_sub_park(struct broker_fetch_sub *sub)
{
    ASSERT(!sub->parked && sub->watch_count == 0);
    for (uint32_t i = sub->first; i; i = sub->op->parts[i - 1].next) {
        struct broker_fetch_part *part = &sub->op->parts[i - 1];
        struct partition *p = partition_find(sub->owner, part->topic_id, part->partition);
        ASSERT(p != NULL); /* an unknown one would have failed the look */
        struct fetch_watch *watch = &sub->watches[sub->watch_count++];
        watch->sub = sub;
        watch->part = part;
        list_push_back(&p->watches, &watch->node);
    }
    sub->parked = true;
    fetch_tell_progress(sub);
}

static void fetch_start_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_fetch_sub *sub = CONTAINER_OF(msg, struct broker_fetch_sub, msg);
    ASSERT(sub->owner->shard == to && !sub->reading);
    sub->msg_here = true;
    fetch_sub_look(sub);
    if (fetch_sub_enough(sub))
        fetch_read_start(sub);
    else
        fetch_sub_park(sub);
}

void fetch_wake(struct partition *p)
{
    LIST_FOREACH_SAFE(node, &p->watches)
    {
        struct fetch_watch *watch = CONTAINER_OF(node, struct fetch_watch, node);
        struct broker_fetch_sub *sub = watch->sub;
        ASSERT(sub->parked && !sub->reading);
        sub->available -= watch->part->available;
        fetch_part_look(sub, watch->part);
        /* A request may name a partition twice: its sub is then here twice, and queued once. */
        if (!list_empty(&sub->woken_node))
            continue;
        if (fetch_sub_enough(sub))
            list_push_back(&sub->owner->woken, &sub->woken_node);
        else
            fetch_tell_progress(sub);
    }
    /* Reading unlinks watches, of this partition too: it starts when the walk is over. */
    struct list_node *node = NULL;
    while ((node = list_pop_front(&p->bs->woken))) {
        struct broker_fetch_sub *sub = CONTAINER_OF(node, struct broker_fetch_sub, woken_node);
        if (!sub->reading)
            fetch_read_start(sub);
    }
}

static void fetch_finish_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_fetch_sub *sub = CONTAINER_OF(msg, struct broker_fetch_sub, finish);
    struct shard *caller = sub->op->bs->shard;
    ASSERT(sub->owner->shard == to);
    sub->finish_seen = true;
    if (sub->parked && !sub->reading)
        fetch_read_start(sub);
    sub->finish.fn = fetch_ack_arrive;
    if (caller == to && sub->op->sub_count == 1)
        fetch_ack_arrive(to, msg);
    else
        shard_send(to, caller, msg);
}

/* ---- caller: the middle ---- */

static void fetch_go_on_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_fetch_sub *sub = CONTAINER_OF(msg, struct broker_fetch_sub, msg);
    ASSERT(sub->owner->shard == to);
    sub->msg_here = true;
    if (sub->parked)
        fetch_tell_progress(sub);
}

static void fetch_progress_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_fetch_sub *sub = CONTAINER_OF(msg, struct broker_fetch_sub, msg);
    struct broker_fetch *op = sub->op;
    uint64_t total = 0;
    ASSERT(op->bs->shard == to);
    if (op->finishing) {
        ASSERT(sub->finish_sent && !sub->has_ack); /* (2): the message ends here */
        return;
    }
    sub->reported = sub->told;
    for (uint32_t i = 0; i < op->sub_count; i++)
        total += op->subs[i].reported;
    sub->go_on_sent = true;
    sub->msg.fn = fetch_go_on_arrive;
    shard_send(to, sub->owner->shard, &sub->msg);
    if (total >= op->min_bytes)
        fetch_finish(op);
}

/* Asks the subs that are still out for what they have. */
static void fetch_finish(struct broker_fetch *op)
{
    bool starting = op->starting;
    ASSERT(!op->finishing);
    op->finishing = true;
    op->starting = true; /* nothing completes below our feet */
    for (uint32_t i = 0; i < op->sub_count; i++) {
        struct broker_fetch_sub *sub = &op->subs[i];
        if (sub->has_data && !sub->go_on_sent)
            continue;
        sub->finish_sent = true;
        sub->finish.fn = fetch_finish_arrive;
        if (sub->owner == op->bs && op->sub_count == 1)
            fetch_finish_arrive(op->bs->shard, &sub->finish);
        else
            shard_send(op->bs->shard, sub->owner->shard, &sub->finish);
    }
    for (uint32_t i = 0; i < op->sub_count; i++)
        fetch_sub_settle(&op->subs[i]);
    op->starting = starting;
}

static void fetch_deadline(struct timer *timer)
{
    struct broker_fetch *op = CONTAINER_OF(timer, struct broker_fetch, timer);
    if (!op->finishing)
        fetch_finish(op);
}

void broker_fetch_cancel(struct broker_fetch *op)
{
    op->cancelled = true;
    if (op->subs_open > 0 && !op->finishing)
        fetch_finish(op);
}

void fetch_stop(struct broker_shard *bs)
{
    LIST_FOREACH_SAFE(node, &bs->fetches)
    {
        struct broker_fetch *op = CONTAINER_OF(node, struct broker_fetch, node);
        broker_fetch_cancel(op);
    }
}

/* ---- caller: the start ---- */

/* Groups the parts by owner. false: out of memory. */
static bool fetch_group(struct broker_fetch *op)
{
    struct broker *broker = op->bs->broker;
    uint32_t first[SHARD_MAX] = {0};
    uint32_t last[SHARD_MAX] = {0};
    uint32_t count[SHARD_MAX] = {0};
    uint32_t owners = 0;
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct broker_fetch_part *part = &op->parts[i];
        if (part->skip)
            continue;
        unsigned owner = broker_owner(broker, part->topic_id, part->partition)->index;
        if (count[owner]++ == 0) {
            first[owner] = i + 1;
            owners++;
        } else {
            op->parts[last[owner] - 1].next = i + 1;
        }
        last[owner] = i + 1;
    }
    op->subs = calloc(owners ? owners : 1, sizeof(*op->subs));
    if (!op->subs)
        return false;
    for (unsigned s = 0; s < broker->shard_count; s++) {
        if (!count[s])
            continue;
        struct broker_fetch_sub *sub = &op->subs[op->sub_count++];
        sub->op = op;
        sub->owner = broker->shard_parts[s];
        sub->first = first[s];
        list_init(&sub->woken_node);
        sub->watches = calloc(count[s], sizeof(*sub->watches));
        if (!sub->watches)
            return false;
    }
    ASSERT(op->sub_count == owners);
    return true;
}

static void fetch_reset(struct broker_shard *bs, struct broker_fetch *op)
{
    op->bs = bs;
    op->bytes = 0;
    op->cancelled = false;
    op->subs = NULL;
    op->sub_count = op->subs_open = 0;
    op->finishing = false;
    timer_init(&op->timer, fetch_deadline);
    hook_init(&op->hook, fetch_complete_later);
    list_init(&op->node);
    for (uint32_t i = 0; i < op->part_count; i++) {
        struct broker_fetch_part *part = &op->parts[i];
        if (!part->skip)
            part->err = ERR_OK;
        part->high_watermark = part->last_stable_offset = part->log_start_offset = -1;
        part->current_epoch = -1;
        part->ranges = NULL;
        part->range_count = part->range_cap = part->bytes = part->next = 0;
        part->available = 0;
    }
}

static void fetch_refuse(struct broker_fetch *op, enum err err)
{
    for (uint32_t i = 0; i < op->part_count; i++) {
        if (!op->parts[i].skip)
            op->parts[i].err = err;
    }
    for (uint32_t i = 0; op->subs && i < op->sub_count; i++)
        free(op->subs[i].watches);
    op->sub_count = 0;
    reactor_at_turn_end(op->bs->shard->reactor, &op->hook);
}

void broker_fetch(struct broker_shard *bs, struct broker_fetch *op)
{
    ASSERT(op->done && (op->parts || op->part_count == 0));
    fetch_reset(bs, op);
    list_push_back(&bs->fetches, &op->node);
    counter_add(&bs->counters.fetches_waiting, 1);
    if (bs->stopping || !fetch_group(op)) {
        fetch_refuse(op, bs->stopping ? ERR_CLOSING : ERR_NO_MEMORY);
        return;
    }
    bool skipped = false; /* an error that the caller found answers at once, with data */
    for (uint32_t i = 0; i < op->part_count; i++)
        skipped |= op->parts[i].skip;
    op->subs_open = op->sub_count;
    if (op->sub_count == 0) {
        reactor_at_turn_end(bs->shard->reactor, &op->hook);
        return;
    }
    op->starting = true;
    for (uint32_t i = 0; i < op->sub_count; i++) {
        struct broker_fetch_sub *sub = &op->subs[i];
        ASSERT(sub->owner);
        sub->msg.fn = fetch_start_arrive;
        if (sub->owner == bs)
            fetch_start_arrive(bs->shard, &sub->msg);
        else
            shard_send(bs->shard, sub->owner->shard, &sub->msg);
    }
    if (!op->finishing) {
        if (skipped)
            fetch_finish(op);
        else
            timer_arm(bs->shard->reactor, &op->timer, (uint64_t)op->max_wait_ms * 1000);
    }
    op->starting = false;
}
