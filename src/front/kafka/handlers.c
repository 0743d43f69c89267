/*
 * The table of what this front serves: exactly what ApiVersions advertises. A new API is one row
 * here, one definition and one file.
 */
#include "front/kafka/kafka_int.h"

static const struct kafka_handler handlers[] = {
    {KAFKA_PRODUCE, 0, 13, KAFKA_OVERLAP, kafka_handle_produce},
    {KAFKA_FETCH, 0, 18, KAFKA_FETCH_CLASS, kafka_handle_fetch},
    {KAFKA_LIST_OFFSETS, 0, 11, KAFKA_EXCLUSIVE, kafka_handle_list_offsets},
    {KAFKA_METADATA, 0, 13, KAFKA_OVERLAP, kafka_handle_metadata},
    {KAFKA_OFFSET_COMMIT, 0, 10, KAFKA_EXCLUSIVE, kafka_handle_offset_commit},
    {KAFKA_OFFSET_FETCH, 0, 10, KAFKA_EXCLUSIVE, kafka_handle_offset_fetch},
    {KAFKA_FIND_COORDINATOR, 0, 6, KAFKA_OVERLAP, kafka_handle_find_coordinator},
    {KAFKA_JOIN_GROUP, 0, 9, KAFKA_EXCLUSIVE, kafka_handle_join_group},
    {KAFKA_HEARTBEAT, 0, 4, KAFKA_OVERLAP, kafka_handle_heartbeat},
    {KAFKA_LEAVE_GROUP, 0, 5, KAFKA_EXCLUSIVE, kafka_handle_leave_group},
    {KAFKA_SYNC_GROUP, 0, 5, KAFKA_EXCLUSIVE, kafka_handle_sync_group},
    {KAFKA_DESCRIBE_GROUPS, 0, 6, KAFKA_EXCLUSIVE, kafka_handle_describe_groups},
    {KAFKA_LIST_GROUPS, 0, 5, KAFKA_EXCLUSIVE, kafka_handle_list_groups},
    {KAFKA_API_VERSIONS, 0, 4, KAFKA_OVERLAP, kafka_handle_api_versions},
    {KAFKA_CREATE_TOPICS, 0, 7, KAFKA_EXCLUSIVE, kafka_handle_create_topics},
    {KAFKA_DELETE_TOPICS, 0, 6, KAFKA_EXCLUSIVE, kafka_handle_delete_topics},
    {KAFKA_INIT_PRODUCER_ID, 0, 5, KAFKA_EXCLUSIVE, kafka_handle_init_producer_id},
    {KAFKA_OFFSET_FOR_LEADER_EPOCH, 0, 4, KAFKA_EXCLUSIVE, kafka_handle_offset_for_leader_epoch},
    {KAFKA_DESCRIBE_CONFIGS, 0, 4, KAFKA_EXCLUSIVE, kafka_handle_describe_configs},
    {KAFKA_DELETE_GROUPS, 0, 2, KAFKA_EXCLUSIVE, kafka_handle_delete_groups},
    {KAFKA_DESCRIBE_CLUSTER, 0, 2, KAFKA_OVERLAP, kafka_handle_describe_cluster},
};

const struct kafka_handler *kafka_handlers(uint32_t *ret_count)
{
    *ret_count = sizeof(handlers) / sizeof(handlers[0]);
    return handlers;
}
