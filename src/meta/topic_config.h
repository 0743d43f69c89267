/*
 * Configuration of topics: one table yields the parser, the defaults, the answers of
 * DescribeConfigs and the docs.
 *
 * Every name of the table is accepted and answered back. Those marked as inert are kept and shown,
 * since tools set them, and change nothing on a single node.
 */
#ifndef WEIR_META_TOPIC_CONFIG_H
#define WEIR_META_TOPIC_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

/* Numbers are those of Kafka's DescribeConfigs answers. */
enum topic_config_type {
    TOPIC_CONFIG_BOOL = 1,
    TOPIC_CONFIG_STRING = 2,
    TOPIC_CONFIG_INT = 3,
    TOPIC_CONFIG_LONG = 5,
    TOPIC_CONFIG_DOUBLE = 6,
    TOPIC_CONFIG_LIST = 7
};

enum topic_config_key {
    TOPIC_CLEANUP_POLICY,
    TOPIC_COMPRESSION_TYPE,
    TOPIC_COMPRESSION_GZIP_LEVEL,
    TOPIC_COMPRESSION_LZ4_LEVEL,
    TOPIC_COMPRESSION_ZSTD_LEVEL,
    TOPIC_DELETE_RETENTION_MS,
    TOPIC_FILE_DELETE_DELAY_MS,
    TOPIC_FLUSH_MESSAGES,
    TOPIC_FLUSH_MS,
    TOPIC_INDEX_INTERVAL_BYTES,
    TOPIC_MAX_COMPACTION_LAG_MS,
    TOPIC_MAX_MESSAGE_BYTES,
    TOPIC_TIMESTAMP_AFTER_MAX_MS,
    TOPIC_TIMESTAMP_BEFORE_MAX_MS,
    TOPIC_TIMESTAMP_TYPE,
    TOPIC_MIN_CLEANABLE_DIRTY_RATIO,
    TOPIC_MIN_COMPACTION_LAG_MS,
    TOPIC_MIN_INSYNC_REPLICAS,
    TOPIC_PREALLOCATE,
    TOPIC_RETENTION_BYTES,
    TOPIC_RETENTION_MS,
    TOPIC_SEGMENT_BYTES,
    TOPIC_SEGMENT_INDEX_BYTES,
    TOPIC_SEGMENT_JITTER_MS,
    TOPIC_SEGMENT_MS,
    TOPIC_UNCLEAN_LEADER_ELECTION,
    TOPIC_LEADER_THROTTLED_REPLICAS,
    TOPIC_FOLLOWER_THROTTLED_REPLICAS,
    TOPIC_REMOTE_STORAGE_ENABLE,
    TOPIC_LOCAL_RETENTION_MS,
    TOPIC_LOCAL_RETENTION_BYTES,
    TOPIC_CONFIG_COUNT
};

struct topic_config_row {
    const char *name;        /* "retention.ms" */
    const char *broker_name; /* broker-wide synonym, "log.retention.ms"; NULL: none */
    enum topic_config_type type;
    const char *default_text;
    int64_t min, max;    /* of INT and LONG */
    const char *choices; /* comma-separated, of STRING and LIST; NULL: any */
    bool inert;          /* kept and shown, without effect here */
    const char *text;    /* one sentence for people */
};

const struct topic_config_row *topic_config_row(enum topic_config_key key);
/* TOPIC_CONFIG_COUNT when there is no such name. */
enum topic_config_key topic_config_find(struct slice name);

enum { CLEANUP_DELETE = 1, CLEANUP_COMPACT = 2 };
enum timestamp_type { TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME };
/* Order of the batch attribute's codec bits; PRODUCER keeps what came. */
enum compression_type {
    COMPRESSION_NONE,
    COMPRESSION_GZIP,
    COMPRESSION_SNAPPY,
    COMPRESSION_LZ4,
    COMPRESSION_ZSTD,
    COMPRESSION_PRODUCER
};

/* Parsed values that the core acts on. */
struct topic_values {
    uint8_t cleanup; /* CLEANUP_* bits */
    enum timestamp_type timestamp_type;
    enum compression_type compression;
    int64_t retention_ms;    /* -1: unlimited */
    int64_t retention_bytes; /* -1: unlimited */
    int64_t segment_bytes;
    int64_t segment_ms;
    int64_t max_message_bytes;
    int64_t flush_messages;
    int64_t timestamp_before_max_ms;
    int64_t timestamp_after_max_ms;
    int64_t index_interval_bytes;
    int64_t delete_retention_ms;
    int64_t min_compaction_lag_ms;
    int64_t max_compaction_lag_ms;
};

/* One override: a name of the table and its text. */
struct topic_override {
    enum topic_config_key key;
    char *value; /* NUL-terminated */
};

/* The value's type, range and choices. ERR_INVALID_CONFIG with a text that names the key and what
 * is allowed. */
MUST_CHECK enum err topic_config_check(enum topic_config_key key, struct slice value,
                                       struct err_info *info);
/* Defaults with the overrides applied. All must have passed topic_config_check. */
void topic_config_values(const struct topic_override *overrides, uint32_t override_count,
                         struct topic_values *ret_values);

#endif
