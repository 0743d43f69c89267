/*
 * The three numbers of a log that must not be mixed: record offsets, file positions and leader
 * epochs. Each is a struct of one field, so that the compiler refuses to take one for another.
 */
#ifndef WEIR_SEGLOG_TYPES_H
#define WEIR_SEGLOG_TYPES_H

#include <stdbool.h>
#include <stdint.h>

/* Number of a record in its partition. -1 stands for "none". */
struct record_offset {
    int64_t value;
};

/* Byte position in a segment or journal file. */
struct file_pos {
    uint64_t value;
};

/* Count of elections; one more at each start. -1 stands for "none". */
struct leader_epoch {
    int32_t value;
};

static inline struct record_offset record_offset(int64_t value)
{
    return (struct record_offset){value};
}

static inline struct record_offset record_offset_add(struct record_offset offset, int64_t count)
{
    return (struct record_offset){offset.value + count};
}

static inline struct record_offset record_offset_max(struct record_offset a, struct record_offset b)
{
    return a.value > b.value ? a : b;
}

static inline bool record_offset_before(struct record_offset a, struct record_offset b)
{
    return a.value < b.value;
}

static inline struct file_pos file_pos(uint64_t value)
{
    return (struct file_pos){value};
}

static inline struct file_pos file_pos_add(struct file_pos pos, uint64_t bytes)
{
    return (struct file_pos){pos.value + bytes};
}

static inline struct leader_epoch leader_epoch(int32_t value)
{
    return (struct leader_epoch){value};
}

#endif
