/*
 * Seats: who may receive from one partition in one consumer group.
 *
 * Connections live on any shard, so one shard judges each triple of hub, group and partition: the
 * hash of the key says which. A claim travels there as a message and comes back with the answer.
 *
 *     home: claim --msg--> judge: seat, or refuse --msg--> home: answered
 *                          judge: another takes over --stolen_msg--> home: stolen
 *     home: release --msg--> judge: unseat --msg--> home: freed
 *
 * Invariants
 *  (1) A list holds at most one seat with an epoch, and then no other; else at most
 * EH_RECEIVERS_MAX. (2) msg is in flight at most once; stolen_msg is sent at most once, and arrives
 * before the freed answer, since messages between two shards keep their order. (3) An empty list is
 * removed from the map: no memory of old epochs.
 *
 * Ownership and shard: a seat is written by the shard that its message is on; name, key and epoch
 * never change.
 *
 * Failure: without memory the claim is refused as such.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "front/eventhubs/eh_int.h"

struct seat_list {
    struct list_node seats;
    uint32_t count;
};

static struct slice seat_key(const struct eh_seat *seat)
{
    return slice_make(seat->key, seat->key_len);
}

static void answered_at_home(struct shard *home, struct shard_msg *msg)
{
    struct eh_seat *seat = CONTAINER_OF(msg, struct eh_seat, msg);
    ASSERT(home == seat->home->shard);
    seat->answered(seat);
}

static void stolen_at_home(struct shard *home, struct shard_msg *msg)
{
    struct eh_seat *seat = CONTAINER_OF(msg, struct eh_seat, stolen_msg);
    ASSERT(home == seat->home->shard);
    seat->stolen(seat);
}

static void freed_at_home(struct shard *home, struct shard_msg *msg)
{
    struct eh_seat *seat = CONTAINER_OF(msg, struct eh_seat, msg);
    ASSERT(home == seat->home->shard);
    seat->freed(seat);
}

static void seat_answer(struct eh_seat *seat, enum eh_seat_answer answer)
{
    seat->answer = answer;
    seat->msg.fn = answered_at_home;
    shard_send(seat->judge->shard, seat->home->shard, &seat->msg);
}

static struct seat_list *list_get(struct eh_shard *judge, const struct eh_seat *seat)
{
    struct seat_list *list = map_get(judge->claims, seat_key(seat));
    if (list)
        return list;
    list = calloc(1, sizeof(*list));
    if (!list)
        return NULL;
    list_init(&list->seats);
    if (!map_put(judge->claims, seat_key(seat), list)) {
        free(list);
        return NULL;
    }
    return list;
}

static void list_put_back(struct eh_shard *judge, const struct eh_seat *seat,
                          struct seat_list *list)
{
    ASSERT((list->count == 0) == list_empty(&list->seats));
    if (list->count > 0)
        return;
    (void)map_remove(judge->claims, seat_key(seat));
    free(list);
}

static void unseat(struct seat_list *list, struct eh_seat *seat)
{
    ASSERT(seat->seated && list->count > 0);
    seat->seated = false;
    list_remove(&seat->node);
    list->count--;
}

/* Sends away everybody that an epoch's newcomer displaces. */
static void seats_steal(struct seat_list *list, const struct eh_seat *by)
{
    struct list_node *node;
    while ((node = list_front(&list->seats)) != NULL) {
        struct eh_seat *old = CONTAINER_OF(node, struct eh_seat, node);
        unseat(list, old);
        memcpy(old->other_name, by->name, sizeof(old->other_name));
        old->other_epoch = by->epoch;
        old->stolen_msg.fn = stolen_at_home;
        shard_send(old->judge->shard, old->home->shard, &old->stolen_msg);
    }
}

static void claim_at_judge(struct shard *shard, struct shard_msg *msg)
{
    struct eh_seat *seat = CONTAINER_OF(msg, struct eh_seat, msg);
    struct eh_shard *judge = seat->judge;
    struct seat_list *list = list_get(judge, seat);
    ASSERT(shard == judge->shard && !seat->seated);
    if (!list) {
        seat_answer(seat, EH_SEAT_NO_MEMORY);
        return;
    }
    struct list_node *front = list_front(&list->seats);
    struct eh_seat *holder = front ? CONTAINER_OF(front, struct eh_seat, node) : NULL;
    if (holder && holder->has_epoch && (!seat->has_epoch || holder->epoch > seat->epoch)) {
        memcpy(seat->other_name, holder->name, sizeof(seat->other_name));
        seat->other_epoch = holder->epoch;
        seat_answer(seat, EH_SEAT_EPOCH_HIGHER);
        return;
    }
    if (seat->has_epoch) {
        seats_steal(list, seat);
    } else if (list->count == EH_RECEIVERS_MAX) {
        seat_answer(seat, EH_SEAT_TOO_MANY);
        return;
    }
    seat->seated = true;
    list_push_back(&list->seats, &seat->node);
    list->count++;
    seat_answer(seat, EH_SEAT_GRANTED);
}

static void release_at_judge(struct shard *shard, struct shard_msg *msg)
{
    struct eh_seat *seat = CONTAINER_OF(msg, struct eh_seat, msg);
    struct eh_shard *judge = seat->judge;
    ASSERT(shard == judge->shard);
    if (seat->seated) {
        struct seat_list *list = map_get(judge->claims, seat_key(seat));
        ASSERT(list);
        unseat(list, seat);
        list_put_back(judge, seat, list);
    }
    seat->msg.fn = freed_at_home;
    shard_send(shard, seat->home->shard, &seat->msg);
}

void eh_seat_claim(struct eh_seat *seat)
{
    struct front_eventhubs *front = seat->home->front;
    ASSERT(seat->key_len > 0 && seat->answered && seat->stolen && seat->freed);
    uint64_t hash = hash_bytes(seat_key(seat), 0);
    seat->judge = &front->parts[hash % front->part_count];
    seat->msg.fn = claim_at_judge;
    shard_send(seat->home->shard, seat->judge->shard, &seat->msg);
}

void eh_seat_release(struct eh_seat *seat)
{
    seat->msg.fn = release_at_judge;
    shard_send(seat->home->shard, seat->judge->shard, &seat->msg);
}
