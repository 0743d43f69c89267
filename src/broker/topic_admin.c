/*
 * Changes of topics: create, ensure, delete, more partitions, new configuration.
 *
 * Picture: every change goes through shard 0, one after another:
 *
 *     caller -> shard 0: checks -> catalogue (durable) -> new topic set -> install on each shard:
 *     set swapped, owned partitions opened / configured / removed -> all report -> caller
 *
 * Invariants:
 *  (1) One change runs at a time, so a name deleted and made again never meets its old folders.
 *  (2) A change answers ERR_OK only after every shard has the new set and the partitions concerned
 *      serve (or are gone).
 *  (3) The catalogue is written before any shard knows; a crash between leaves a topic without
 *      folders (made at the start) or folders without a topic (set aside at the start).
 *
 * Ownership: the operation is the caller's; queue and catalogue writes are shard 0's; each install
 * belongs to the shard it was sent to until it reports.
 *
 * Failures: a partition that cannot be made (full disk) fails the creation or the raise, and what was
 * made is taken back.
 */
#include <stdlib.h>

#include "base/diag.h"
#include "broker/broker_int.h"

/* The change at one shard: travels there and back. */
struct broker_install {
    struct shard_msg msg;
    struct broker_shard *bs;
    struct broker_topic_op *op;
    struct topic_set *set; /* one reference */
    uint32_t waiting;
    enum err err;
};

static void topic_op_next(struct broker *broker);
static void topic_op_install(struct broker_topic_op *op);

/* ---- answers ---- */

static void topic_op_answer(struct shard *to, struct shard_msg *msg)
{
    struct broker_topic_op *op = CONTAINER_OF(msg, struct broker_topic_op, msg);
    struct broker_shard *bs = broker_part(op->broker, to);
    ASSERT(op->from == to);
    op->topic = uuid_is_zero(op->id) ? NULL : topic_set_find_id(bs->topics, op->id);
    op->done(op);
}

/* Ends the running change and starts the next one. Shard 0. */
static void topic_op_finish(struct broker_topic_op *op)
{
    struct broker *broker = op->broker;
    struct shard *home = broker->shard_parts[0]->shard;
    ASSERT(broker->topic_busy);
    topic_unref(op->made);
    topic_unref(op->old);
    free(op->installs);
    op->made = op->old = NULL;
    op->installs = NULL;
    broker->topic_busy = false;
    op->msg.fn = topic_op_answer;
    shard_send(home, op->from, &op->msg);
    topic_op_next(broker);
}

static void topic_op_fail(struct broker_topic_op *op, enum err err)
{
    ASSERT(err != ERR_OK);
    op->err = err;
    if (op->info.code != err)
        err_info_set(&op->info, err, "%s", err_row(err)->text);
    op->id = (struct uuid){{0}};
    topic_op_finish(op);
}

/* ---- installing ---- */

/* Whatever the catalogue said: the partitions go, and the first error is what the caller hears. */
static void topic_op_taken_back(struct catalogue_op *done)
{
    struct broker_topic_op *op = CONTAINER_OF(done, struct broker_topic_op, catalogue);
    ASSERT(op->err != ERR_OK && op->old);
    topic_op_install(op);
}

/* A creation that failed is undone, and so is a raise of the number of partitions: what could not be
 * made would be offered to clients, and be offline. */
static void topic_op_take_back(struct broker_topic_op *op)
{
    struct shard *home = op->broker->shard_parts[0]->shard;
    struct topic *failed = op->made;
    ASSERT(op->err != ERR_OK && !op->taken_back);
    diag(DIAG_WARN, "broker", "topic=%.*s partitions=%d not made error=%s", SLICE_FMT(failed->name),
         failed->partition_count, err_row(op->err)->name);
    op->taken_back = true;
    op->made = op->old; /* NULL: a creation */
    op->old = failed;
    free(op->installs);
    op->installs = NULL;
    op->catalogue.done = topic_op_taken_back;
    if (op->made)
        catalogue_topic_put(op->broker->catalogue, home, &op->catalogue, op->made);
    else
        catalogue_topic_delete(op->broker->catalogue, home, &op->catalogue, op->old);
}

static void topic_install_report(struct shard *home, struct shard_msg *msg)
{
    struct broker_install *install = CONTAINER_OF(msg, struct broker_install, msg);
    struct broker_topic_op *op = install->op;
    ASSERT(home->index == 0 && op->installs_open > 0);
    if (install->err && !op->err) {
        op->err = install->err;
        err_info_set(&op->info, install->err, "%s", err_row(install->err)->text);
    }
    if (--op->installs_open > 0)
        return;
    bool makes = op->made && (!op->old || op->action == BROKER_TOPIC_PARTITIONS);
    if (op->err && makes && !op->taken_back) {
        topic_op_take_back(op);
        return;
    }
    if (op->err || op->action == BROKER_TOPIC_DELETE)
        op->id = (struct uuid){{0}};
    topic_op_finish(op);
}

void topic_install_step(struct broker_install *install, enum err err)
{
    struct broker_shard *bs = install->bs;
    ASSERT(install->waiting > 0);
    if (err && !install->err)
        install->err = err;
    if (--install->waiting > 0)
        return;
    install->msg.fn = topic_install_report;
    shard_send(bs->shard, bs->broker->shard_parts[0]->shard, &install->msg);
}

/* Removes the partitions from `first` on. */
static void topic_install_remove(struct broker_install *install, const struct topic *old,
                                 int32_t first)
{
    struct broker_shard *bs = install->bs;
    ASSERT(first >= 0);
    for (int32_t i = first; i < old->partition_count; i++) {
        struct partition *p = partition_find(bs, old->id, i);
        if (!p || p->state == PARTITION_CLOSING)
            continue;
        ASSERT(p->install == NULL);
        p->install = install;
        install->waiting++;
        partition_remove(p);
    }
}

static void topic_install_put(struct broker_install *install, const struct topic *topic)
{
    struct broker_shard *bs = install->bs;
    for (int32_t i = 0; i < topic->partition_count; i++) {
        if (broker_owner(bs->broker, topic->id, i) != bs->shard)
            continue;
        struct partition *p = partition_find(bs, topic->id, i);
        if (p) {
            partition_configure(p, topic);
            continue;
        }
        install->waiting++;
        p = partition_start(bs, topic, i);
        if (p)
            p->install = install;
        else
            topic_install_step(install, ERR_NO_MEMORY);
    }
}

static void topic_install_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_install *install = CONTAINER_OF(msg, struct broker_install, msg);
    struct broker_shard *bs = install->bs;
    struct broker_topic_op *op = install->op;
    ASSERT(bs->shard == to);
    topic_set_unref(bs->topics);
    bs->topics = install->set;
    install->set = NULL;
    counter_set(&bs->counters.topics, topic_set_count(bs->topics));
    install->waiting = 1; /* this function's own */
    if (bs->closing)
        install->err = ERR_CLOSING;
    else if (op->made)
        topic_install_put(install, op->made);
    else
        topic_install_remove(install, op->old, 0);
    if (op->made && op->taken_back && !bs->closing)
        topic_install_remove(install, op->old, op->made->partition_count);
    if (!op->made) {
        LIST_FOREACH(node, &bs->topic_watches)
        {
            struct broker_topic_watch *watch = CONTAINER_OF(node, struct broker_topic_watch, node);
            watch->deleted(watch, op->old);
        }
    }
    topic_install_step(install, ERR_OK);
}

/* Makes the new set and sends it round. The catalogue has the change. */
static void topic_op_install(struct broker_topic_op *op)
{
    struct broker *broker = op->broker;
    struct broker_shard *home = broker->shard_parts[0];
    struct topic_set *set = op->made ? topic_set_with(home->topics, op->made)
                                     : topic_set_without(home->topics, op->old->name);
    op->installs = calloc(broker->shard_count, sizeof(*op->installs));
    if (!set || !op->installs) {
        topic_set_unref(set);
        topic_op_fail(op, ERR_NO_MEMORY);
        return;
    }
    op->installs_open = broker->shard_count;
    for (unsigned i = 0; i < broker->shard_count; i++) {
        struct broker_install *install = &op->installs[i];
        install->op = op;
        install->bs = broker->shard_parts[i];
        install->set = topic_set_ref(set);
        install->msg.fn = topic_install_arrive;
        shard_send(home->shard, install->bs->shard, &install->msg);
    }
    topic_set_unref(set);
    ASSERT(op->installs_open == broker->shard_count);
}

/* ---- checks, on shard 0 ---- */

static enum err topic_op_check_overrides(struct broker_topic_op *op)
{
    if (op->override_count > TOPIC_CONFIG_COUNT)
        return err_info_set(&op->info, ERR_INVALID_CONFIG, "too many configurations");
    for (uint32_t i = 0; i < op->override_count; i++) {
        const struct topic_override *o = &op->overrides[i];
        ASSERT((unsigned)o->key < TOPIC_CONFIG_COUNT && o->value);
        enum err err = topic_config_check(o->key, slice_cstr(o->value), &op->info);
        if (err)
            return err;
        for (uint32_t j = 0; j < i; j++) {
            if (op->overrides[j].key == o->key)
                return err_info_set(&op->info, ERR_INVALID_CONFIG, "%s is set twice",
                                    topic_config_row(o->key)->name);
        }
    }
    return ERR_OK;
}

static enum err topic_op_check_create(struct broker_topic_op *op, struct topic_set *set)
{
    enum err err = topic_name_check(op->name, &op->info);
    if (err)
        return err;
    const struct topic *other = topic_set_find_collision(set, op->name);
    if (other)
        return err_info_set(&op->info, ERR_INVALID_TOPIC,
                            "%.*s collides with %.*s: '.' and '_' are the same in some names",
                            SLICE_FMT(op->name), SLICE_FMT(other->name));
    if (topic_set_find(set, op->name))
        return err_info_set(&op->info, ERR_TOPIC_EXISTS, "topic %.*s exists already",
                            SLICE_FMT(op->name));
    err = topic_op_check_overrides(op);
    if (err)
        return err;
    if (op->partition_count == 0 || op->partition_count < -1 ||
        op->partition_count > TOPIC_PARTITIONS_MAX)
        return err_info_set(&op->info, ERR_INVALID_PARTITIONS,
                            "a topic has 1 to %d partitions, not %d", TOPIC_PARTITIONS_MAX,
                            op->partition_count);
    if (topic_set_count(set) >= TOPICS_MAX)
        return err_info_set(&op->info, ERR_LIMIT, "there are %d topics already", TOPICS_MAX);
    return ERR_OK;
}

static enum err topic_op_make(struct broker_topic_op *op, const struct topic *old)
{
    struct broker *broker = op->broker;
    struct shard *home = broker->shard_parts[0]->shard;
    bool keeps_configs = op->action == BROKER_TOPIC_PARTITIONS;
    int32_t count = op->partition_count;
    if (op->action == BROKER_TOPIC_CONFIG)
        count = old->partition_count;
    if (count == -1)
        count = broker->config.default_partitions;
    op->made = topic_make(old ? old->id : uuid_make(&broker->ids), old ? old->name : op->name,
                          count, old ? old->internal : op->internal,
                          old ? old->created_ms : reactor_wall_ms(home->reactor),
                          keeps_configs ? old->overrides : op->overrides,
                          keeps_configs ? old->override_count : op->override_count);
    if (!op->made)
        return ERR_NO_MEMORY;
    ASSERT(op->made->partition_count > 0);
    op->id = op->made->id;
    op->old = old ? topic_ref(old) : NULL;
    return ERR_OK;
}

static const struct topic *topic_op_target(struct broker_topic_op *op, struct topic_set *set)
{
    bool by_id = op->name.len == 0;
    const struct topic *topic =
        by_id ? topic_set_find_id(set, op->id) : topic_set_find(set, op->name);
    if (topic)
        return topic;
    if (by_id)
        err_info_set(&op->info, ERR_UNKNOWN_TOPIC_ID, "there is no topic of this id");
    else
        err_info_set(&op->info, ERR_UNKNOWN_TOPIC_OR_PARTITION, "there is no topic %.*s",
                     SLICE_FMT(slice_sub(op->name, 0, TOPIC_NAME_MAX)));
    return NULL;
}

/* Fills made and old as the action wants. ERR_OK with neither: nothing to do. */
static enum err topic_op_plan(struct broker_topic_op *op)
{
    struct topic_set *set = op->broker->shard_parts[0]->topics;
    const struct topic *old = NULL;
    enum err err = ERR_OK;
    if (op->action == BROKER_TOPIC_ENSURE) {
        old = topic_set_find(set, op->name);
        if (old) {
            op->id = old->id;
            return ERR_OK;
        }
        if (!op->broker->config.auto_create && !op->internal)
            return err_info_set(&op->info, ERR_UNKNOWN_TOPIC_OR_PARTITION, "there is no topic %.*s",
                                SLICE_FMT(slice_sub(op->name, 0, TOPIC_NAME_MAX)));
    }
    if (op->action == BROKER_TOPIC_ENSURE || op->action == BROKER_TOPIC_CREATE) {
        err = topic_op_check_create(op, set);
        return err || op->check_only ? err : topic_op_make(op, NULL);
    }
    old = topic_op_target(op, set);
    if (!old)
        return op->info.code;
    if (op->action == BROKER_TOPIC_DELETE) {
        if (!op->check_only)
            op->old = topic_ref(old);
        return ERR_OK;
    }
    if (op->action == BROKER_TOPIC_PARTITIONS &&
        (op->partition_count <= old->partition_count || op->partition_count > TOPIC_PARTITIONS_MAX))
        return err_info_set(
            &op->info, ERR_INVALID_PARTITIONS,
            "topic %.*s has %d partitions; the new number must be larger, at most %d",
            SLICE_FMT(old->name), old->partition_count, TOPIC_PARTITIONS_MAX);
    if (op->action == BROKER_TOPIC_CONFIG)
        err = topic_op_check_overrides(op);
    return err || op->check_only ? err : topic_op_make(op, old);
}

/* ---- running ---- */

static void topic_op_stored(struct catalogue_op *done)
{
    struct broker_topic_op *op = CONTAINER_OF(done, struct broker_topic_op, catalogue);
    ASSERT(op->broker->topic_busy);
    if (done->err) {
        op->info = done->info;
        topic_op_fail(op, done->err);
        return;
    }
    topic_op_install(op);
}

static void topic_op_run(struct broker_topic_op *op)
{
    struct broker *broker = op->broker;
    struct shard *home = broker->shard_parts[0]->shard;
    op->err = broker->shard_parts[0]->stopping ? ERR_CLOSING : topic_op_plan(op);
    if (op->err) {
        topic_op_fail(op, op->err);
        return;
    }
    op->catalogue.done = topic_op_stored;
    if (op->made)
        catalogue_topic_put(broker->catalogue, home, &op->catalogue, op->made);
    else if (op->old)
        catalogue_topic_delete(broker->catalogue, home, &op->catalogue, op->old);
    else
        topic_op_finish(op);
}

static void topic_op_next(struct broker *broker)
{
    if (broker->topic_running)
        return; /* a change that ended within topic_op_run: the loop below goes on */
    broker->topic_running = true;
    while (!broker->topic_busy && !list_empty(&broker->topic_ops)) {
        struct list_node *node = list_pop_front(&broker->topic_ops);
        broker->topic_busy = true;
        topic_op_run(CONTAINER_OF(node, struct broker_topic_op, node));
    }
    broker->topic_running = false;
}

static void topic_op_arrive(struct shard *to, struct shard_msg *msg)
{
    struct broker_topic_op *op = CONTAINER_OF(msg, struct broker_topic_op, msg);
    ASSERT(to->index == 0);
    list_push_back(&op->broker->topic_ops, &op->node);
    topic_op_next(op->broker);
}

void broker_topic_submit(struct broker_shard *bs, struct broker_topic_op *op)
{
    struct broker *broker = bs->broker;
    ASSERT(op->done != NULL);
    op->broker = broker;
    op->from = bs->shard;
    op->err = ERR_OK;
    op->info = (struct err_info){0};
    op->topic = NULL;
    op->made = op->old = NULL;
    op->taken_back = false;
    op->installs = NULL;
    if (op->action == BROKER_TOPIC_CREATE || op->action == BROKER_TOPIC_ENSURE)
        op->id = (struct uuid){{0}};
    list_init(&op->node);
    op->msg.fn = topic_op_arrive;
    shard_send(bs->shard, broker->shard_parts[0]->shard, &op->msg);
}
