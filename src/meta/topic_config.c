/*
 * The table of topic configurations, and what is made of it.
 *
 * Format: one row per key, in the order of enum topic_config_key; the text form of a value is what
 * clients send and what the catalogue keeps.
 *
 * Invariants: (1) row i describes key i; (2) every default passes its own check; (3) what
 * topic_config_check accepts, topic_config_values understands.
 *
 * Ownership: constant data and pure functions, any shard. Failures: a bad value names its key and
 * what is allowed.
 */
#include "meta/topic_config.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/numtext.h"

#define FOREVER "9223372036854775807"

static const struct topic_config_row topic_config_rows[TOPIC_CONFIG_COUNT] = {
    [TOPIC_CLEANUP_POLICY] = {"cleanup.policy", "log.cleanup.policy", TOPIC_CONFIG_LIST, "delete",
                              0, 0, "delete,compact", false,
                              "What becomes of old segments: deleted by age and size, compacted to "
                              "the last record of each key, or both."},
    [TOPIC_COMPRESSION_TYPE] = {"compression.type", "compression.type", TOPIC_CONFIG_STRING,
                                "producer", 0, 0, "uncompressed,gzip,snappy,lz4,zstd,producer",
                                false, "Codec of stored batches; producer keeps what came."},
    [TOPIC_COMPRESSION_GZIP_LEVEL] = {"compression.gzip.level", "compression.gzip.level",
                                      TOPIC_CONFIG_INT, "-1", -1, 9, NULL, true,
                                      "Level used when batches are compressed with gzip."},
    [TOPIC_COMPRESSION_LZ4_LEVEL] = {"compression.lz4.level", "compression.lz4.level",
                                     TOPIC_CONFIG_INT, "9", 1, 17, NULL, true,
                                     "Level used when batches are compressed with lz4."},
    [TOPIC_COMPRESSION_ZSTD_LEVEL] = {"compression.zstd.level", "compression.zstd.level",
                                      TOPIC_CONFIG_INT, "3", -131072, 22, NULL, true,
                                      "Level used when batches are compressed with zstd."},
    [TOPIC_DELETE_RETENTION_MS] = {"delete.retention.ms", "log.cleaner.delete.retention.ms",
                                   TOPIC_CONFIG_LONG, "86400000", 0, INT64_MAX, NULL, false,
                                   "How long tombstones stay readable in a compacted topic."},
    [TOPIC_FILE_DELETE_DELAY_MS] = {"file.delete.delay.ms", "log.segment.delete.delay.ms",
                                    TOPIC_CONFIG_LONG, "60000", 0, INT64_MAX, NULL, true,
                                    "Delay before files of deleted segments are removed."},
    [TOPIC_FLUSH_MESSAGES] = {"flush.messages", "log.flush.interval.messages", TOPIC_CONFIG_LONG,
                              FOREVER, 1, INT64_MAX, NULL, false,
                              "1: every append is on stable storage before it is acknowledged, "
                              "whatever acks says."},
    [TOPIC_FLUSH_MS] = {"flush.ms", "log.flush.interval.ms", TOPIC_CONFIG_LONG, FOREVER, 0,
                        INT64_MAX, NULL, true, "Longest time that data may stay unsynced."},
    [TOPIC_INDEX_INTERVAL_BYTES] = {"index.interval.bytes", "log.index.interval.bytes",
                                    TOPIC_CONFIG_INT, "4096", 0, INT32_MAX, NULL, false,
                                    "Bytes of data for each entry of the offset index."},
    [TOPIC_MAX_COMPACTION_LAG_MS] = {"max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms",
                                     TOPIC_CONFIG_LONG, FOREVER, 1, INT64_MAX, NULL, false,
                                     "Longest time that a record may stay uncompacted."},
    [TOPIC_MAX_MESSAGE_BYTES] = {"max.message.bytes", "message.max.bytes", TOPIC_CONFIG_INT,
                                 "1048588", 0, INT32_MAX, NULL, false,
                                 "Largest record batch, as received, header included."},
    [TOPIC_TIMESTAMP_AFTER_MAX_MS] = {"message.timestamp.after.max.ms",
                                      "log.message.timestamp.after.max.ms", TOPIC_CONFIG_LONG,
                                      "3600000", 0, INT64_MAX, NULL, false,
                                      "How far a record's timestamp may lie in the future."},
    [TOPIC_TIMESTAMP_BEFORE_MAX_MS] = {"message.timestamp.before.max.ms",
                                       "log.message.timestamp.before.max.ms", TOPIC_CONFIG_LONG,
                                       FOREVER, 0, INT64_MAX, NULL, false,
                                       "How far a record's timestamp may lie in the past."},
    [TOPIC_TIMESTAMP_TYPE] = {"message.timestamp.type", "log.message.timestamp.type",
                              TOPIC_CONFIG_STRING, "CreateTime", 0, 0, "CreateTime,LogAppendTime",
                              false, "Whose clock stamps the records."},
    [TOPIC_MIN_CLEANABLE_DIRTY_RATIO] = {"min.cleanable.dirty.ratio",
                                         "log.cleaner.min.cleanable.ratio", TOPIC_CONFIG_DOUBLE,
                                         "0.5", 0, 1, NULL, false,
                                         "Share of uncompacted bytes that starts a compaction."},
    [TOPIC_MIN_COMPACTION_LAG_MS] = {"min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms",
                                     TOPIC_CONFIG_LONG, "0", 0, INT64_MAX, NULL, false,
                                     "Shortest time that a record stays uncompacted."},
    [TOPIC_MIN_INSYNC_REPLICAS] = {"min.insync.replicas", "min.insync.replicas", TOPIC_CONFIG_INT,
                                   "1", 1, INT32_MAX, NULL, true,
                                   "Kept for tools; one node is always in sync with itself."},
    [TOPIC_PREALLOCATE] = {"preallocate", "log.preallocate", TOPIC_CONFIG_BOOL, "false", 0, 0, NULL,
                           true, "Kept for tools; files are always written ahead."},
    [TOPIC_RETENTION_BYTES] = {"retention.bytes", "log.retention.bytes", TOPIC_CONFIG_LONG, "-1",
                               -1, INT64_MAX, NULL, false,
                               "Bytes that a partition keeps; -1 for no limit."},
    [TOPIC_RETENTION_MS] = {"retention.ms", "log.retention.ms", TOPIC_CONFIG_LONG, "604800000", -1,
                            INT64_MAX, NULL, false, "How long records are kept; -1 for no limit."},
    [TOPIC_SEGMENT_BYTES] = {"segment.bytes", "log.segment.bytes", TOPIC_CONFIG_INT, "1073741824",
                             14, INT32_MAX, NULL, false, "Size at which a new segment starts."},
    [TOPIC_SEGMENT_INDEX_BYTES] = {"segment.index.bytes", "log.index.size.max.bytes",
                                   TOPIC_CONFIG_INT, "10485760", 4, INT32_MAX, NULL, true,
                                   "Kept for tools; indexes grow as needed."},
    [TOPIC_SEGMENT_JITTER_MS] = {"segment.jitter.ms", "log.roll.jitter.ms", TOPIC_CONFIG_LONG, "0",
                                 0, INT64_MAX, NULL, true,
                                 "Kept for tools; segments of one node do not roll in step."},
    [TOPIC_SEGMENT_MS] = {"segment.ms", "log.roll.ms", TOPIC_CONFIG_LONG, "604800000", 1, INT64_MAX,
                          NULL, false, "Age at which a new segment starts."},
    [TOPIC_UNCLEAN_LEADER_ELECTION] = {"unclean.leader.election.enable",
                                       "unclean.leader.election.enable", TOPIC_CONFIG_BOOL, "false",
                                       0, 0, NULL, true, "Kept for tools; there is one node."},
    [TOPIC_LEADER_THROTTLED_REPLICAS] = {"leader.replication.throttled.replicas", NULL,
                                         TOPIC_CONFIG_LIST, "", 0, 0, NULL, true,
                                         "Kept for tools; nothing is replicated."},
    [TOPIC_FOLLOWER_THROTTLED_REPLICAS] = {"follower.replication.throttled.replicas", NULL,
                                           TOPIC_CONFIG_LIST, "", 0, 0, NULL, true,
                                           "Kept for tools; nothing is replicated."},
    [TOPIC_REMOTE_STORAGE_ENABLE] = {"remote.storage.enable", NULL, TOPIC_CONFIG_BOOL, "false", 0,
                                     0, NULL, true, "Kept for tools; all storage is local."},
    [TOPIC_LOCAL_RETENTION_MS] = {"local.retention.ms", "log.local.retention.ms", TOPIC_CONFIG_LONG,
                                  "-2", -2, INT64_MAX, NULL, true,
                                  "Kept for tools; all storage is local."},
    [TOPIC_LOCAL_RETENTION_BYTES] = {"local.retention.bytes", "log.local.retention.bytes",
                                     TOPIC_CONFIG_LONG, "-2", -2, INT64_MAX, NULL, true,
                                     "Kept for tools; all storage is local."},
};

const struct topic_config_row *topic_config_row(enum topic_config_key key)
{
    ASSERT((unsigned)key < TOPIC_CONFIG_COUNT);
    ASSERT(topic_config_rows[key].name != NULL);
    return &topic_config_rows[key];
}

enum topic_config_key topic_config_find(struct slice name)
{
    for (unsigned i = 0; i < TOPIC_CONFIG_COUNT; i++) {
        ASSERT(topic_config_rows[i].name != NULL);
        if (slice_equal(name, slice_cstr(topic_config_rows[i].name)))
            return (enum topic_config_key)i;
    }
    return TOPIC_CONFIG_COUNT;
}

/* Position of value in a comma-separated list, -1 when it is not there. */
static int topic_config_choice(const char *choices, struct slice value)
{
    struct slice rest = slice_cstr(choices);
    for (int index = 0;; index++) {
        size_t comma = slice_find_byte(rest, ',', 0);
        struct slice choice = comma == SIZE_MAX ? rest : slice_sub(rest, 0, comma);
        if (slice_equal(choice, value))
            return index;
        if (comma == SIZE_MAX)
            return -1;
        rest = slice_sub(rest, comma + 1, rest.len);
    }
}

/* Takes the next item of a comma-separated list off *rest; false at the end. */
static bool topic_config_item(struct slice *rest, struct slice *ret_item)
{
    if (!rest->data)
        return false;
    size_t comma = slice_find_byte(*rest, ',', 0);
    if (comma == SIZE_MAX) {
        *ret_item = slice_trim(*rest);
        *rest = SLICE_NULL;
    } else {
        *ret_item = slice_trim(slice_sub(*rest, 0, comma));
        *rest = slice_sub(*rest, comma + 1, rest->len);
        ASSERT(rest->data != NULL);
    }
    return true;
}

static enum err topic_config_check_list(const struct topic_config_row *row, struct slice value,
                                        struct err_info *info)
{
    struct slice rest = value;
    struct slice item;
    if (!row->choices)
        return ERR_OK;
    if (value.len == 0)
        return err_info_set(info, ERR_INVALID_CONFIG, "%s: must name one or more of %s", row->name,
                            row->choices);
    while (topic_config_item(&rest, &item)) {
        if (topic_config_choice(row->choices, item) < 0)
            return err_info_set(info, ERR_INVALID_CONFIG, "%s: %.*s is none of %s", row->name,
                                SLICE_FMT(item), row->choices);
    }
    return ERR_OK;
}

static enum err topic_config_check_number(const struct topic_config_row *row, struct slice value,
                                          struct err_info *info)
{
    if (row->type == TOPIC_CONFIG_DOUBLE) {
        double number = 0;
        if (numtext_read_double(value, &number) && number >= (double)row->min &&
            number <= (double)row->max)
            return ERR_OK;
    } else {
        int64_t number = 0;
        if (numtext_read_int64(value, &number) && number >= row->min && number <= row->max)
            return ERR_OK;
    }
    return err_info_set(info, ERR_INVALID_CONFIG, "%s: %.*s is not a number from %lld to %lld",
                        row->name, SLICE_FMT(slice_sub(value, 0, 64)), (long long)row->min,
                        (long long)row->max);
}

enum err topic_config_check(enum topic_config_key key, struct slice value, struct err_info *info)
{
    const struct topic_config_row *row = topic_config_row(key);
    if (value.len > 8192 || memchr(value.data ? value.data : (const uint8_t *)"", 0, value.len))
        return err_info_set(info, ERR_INVALID_CONFIG, "%s: the value is too long or has a NUL",
                            row->name);
    switch (row->type) {
    case TOPIC_CONFIG_BOOL:
        if (slice_equal_nocase(value, SLICE_LIT("true")) ||
            slice_equal_nocase(value, SLICE_LIT("false")))
            return ERR_OK;
        return err_info_set(info, ERR_INVALID_CONFIG, "%s: must be true or false", row->name);
    case TOPIC_CONFIG_STRING:
        if (!row->choices || topic_config_choice(row->choices, value) >= 0)
            return ERR_OK;
        return err_info_set(info, ERR_INVALID_CONFIG, "%s: %.*s is none of %s", row->name,
                            SLICE_FMT(slice_sub(value, 0, 64)), row->choices);
    case TOPIC_CONFIG_LIST:
        return topic_config_check_list(row, value, info);
    case TOPIC_CONFIG_INT:
    case TOPIC_CONFIG_LONG:
    case TOPIC_CONFIG_DOUBLE:
        return topic_config_check_number(row, value, info);
    }
    UNREACHABLE();
}

/* ---- values ---- */

static struct slice topic_config_text(const struct topic_override *overrides, uint32_t count,
                                      enum topic_config_key key)
{
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(overrides[i].value != NULL);
        if (overrides[i].key == key)
            return slice_cstr(overrides[i].value);
    }
    return slice_cstr(topic_config_row(key)->default_text);
}

static int64_t topic_config_int(const struct topic_override *overrides, uint32_t count,
                                enum topic_config_key key)
{
    int64_t number = 0;
    bool ok = numtext_read_int64(topic_config_text(overrides, count, key), &number);
    ASSERT(ok); /* (3) */
    return number;
}

static uint8_t topic_config_cleanup(struct slice text)
{
    uint8_t bits = 0;
    struct slice item;
    while (topic_config_item(&text, &item))
        bits |= slice_equal(item, SLICE_LIT("compact")) ? CLEANUP_COMPACT : CLEANUP_DELETE;
    ASSERT(bits != 0);
    return bits;
}

void topic_config_values(const struct topic_override *o, uint32_t n, struct topic_values *ret)
{
    struct slice compression = topic_config_text(o, n, TOPIC_COMPRESSION_TYPE);
    int choice =
        topic_config_choice(topic_config_row(TOPIC_COMPRESSION_TYPE)->choices, compression);
    struct slice stamp = topic_config_text(o, n, TOPIC_TIMESTAMP_TYPE);
    ASSERT(choice >= COMPRESSION_NONE && choice <= COMPRESSION_PRODUCER);
    *ret = (struct topic_values){
        .cleanup = topic_config_cleanup(topic_config_text(o, n, TOPIC_CLEANUP_POLICY)),
        .timestamp_type = slice_equal(stamp, SLICE_LIT("LogAppendTime")) ? TIMESTAMP_LOG_APPEND_TIME
                                                                         : TIMESTAMP_CREATE_TIME,
        .compression = (enum compression_type)choice,
        .retention_ms = topic_config_int(o, n, TOPIC_RETENTION_MS),
        .retention_bytes = topic_config_int(o, n, TOPIC_RETENTION_BYTES),
        .segment_bytes = topic_config_int(o, n, TOPIC_SEGMENT_BYTES),
        .segment_ms = topic_config_int(o, n, TOPIC_SEGMENT_MS),
        .max_message_bytes = topic_config_int(o, n, TOPIC_MAX_MESSAGE_BYTES),
        .flush_messages = topic_config_int(o, n, TOPIC_FLUSH_MESSAGES),
        .timestamp_before_max_ms = topic_config_int(o, n, TOPIC_TIMESTAMP_BEFORE_MAX_MS),
        .timestamp_after_max_ms = topic_config_int(o, n, TOPIC_TIMESTAMP_AFTER_MAX_MS),
        .index_interval_bytes = topic_config_int(o, n, TOPIC_INDEX_INTERVAL_BYTES),
        .delete_retention_ms = topic_config_int(o, n, TOPIC_DELETE_RETENTION_MS),
        .min_compaction_lag_ms = topic_config_int(o, n, TOPIC_MIN_COMPACTION_LAG_MS),
        .max_compaction_lag_ms = topic_config_int(o, n, TOPIC_MAX_COMPACTION_LAG_MS),
    };
}
