/*
 * The one request that the produce benchmark sends, Produce version 7 with one topic and one
 * partition, and its answer: written once, then patched and replayed.
 */
#ifndef WEIR_BENCH_FRAME_H
#define WEIR_BENCH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { BENCH_BATCH_HEADER = 61, BENCH_TOPIC_MAX = 64 };

struct bench_produce {
    uint32_t correlation;
    int16_t acks;
    const uint8_t *topic;
    uint16_t topic_len;
    uint32_t partition;
    const uint8_t *batch;
    uint32_t batch_len;
};

static inline void bench_put_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static inline void bench_put_u32(uint8_t *out, uint32_t value)
{
    bench_put_u16(out, (uint16_t)(value >> 16));
    bench_put_u16(out + 2, (uint16_t)value);
}

static inline void bench_put_u64(uint8_t *out, uint64_t value)
{
    bench_put_u32(out, (uint32_t)(value >> 32));
    bench_put_u32(out + 4, (uint32_t)value);
}

static inline uint16_t bench_get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t bench_get_u32(const uint8_t *at)
{
    return (uint32_t)bench_get_u16(at) << 16 | bench_get_u16(at + 2);
}

/* Bytes before the batch, the length prefix of the frame included: client id "bench". */
static inline size_t bench_produce_head(size_t topic_len)
{
    return 4 + 8 + 2 + 5 + 2 + 2 + 4 + 4 + 2 + topic_len + 4 + 4 + 4;
}

/* Writes the frame before the batch; out has bench_produce_head bytes. */
static inline void bench_produce_write(uint8_t *out, const struct bench_produce *produce)
{
    size_t head = bench_produce_head(produce->topic_len);
    uint8_t *at = out;
    bench_put_u32(at, (uint32_t)(head - 4 + produce->batch_len));
    bench_put_u16(at + 4, 0);
    bench_put_u16(at + 6, 7);
    bench_put_u32(at + 8, produce->correlation);
    bench_put_u16(at + 12, 5);
    memcpy(at + 14, "bench", 5);
    bench_put_u16(at + 19, 0xffff);
    bench_put_u16(at + 21, (uint16_t)produce->acks);
    bench_put_u32(at + 23, 30000);
    bench_put_u32(at + 27, 1);
    bench_put_u16(at + 31, produce->topic_len);
    memcpy(at + 33, produce->topic, produce->topic_len);
    at += 33 + produce->topic_len;
    bench_put_u32(at, 1);
    bench_put_u32(at + 4, produce->partition);
    bench_put_u32(at + 8, produce->batch_len);
}

/* frame: behind the length prefix. */
static inline bool bench_produce_read(const uint8_t *frame, size_t len, struct bench_produce *ret)
{
    if (len < 29 || bench_get_u16(frame) != 0 || bench_get_u16(frame + 2) != 7)
        return false;
    ret->correlation = bench_get_u32(frame + 4);
    ret->acks = (int16_t)bench_get_u16(frame + 17);
    ret->topic_len = bench_get_u16(frame + 27);
    size_t head = bench_produce_head(ret->topic_len) - 4;
    if (ret->topic_len > BENCH_TOPIC_MAX || len < head)
        return false;
    ret->topic = frame + 29;
    ret->partition = bench_get_u32(frame + head - 8);
    ret->batch_len = bench_get_u32(frame + head - 4);
    ret->batch = frame + head;
    return ret->batch_len == len - head;
}

/* Success at offset 0 as Produce version 7; returns the bytes written, at most 128. */
static inline size_t bench_answer_write(uint8_t *out, const struct bench_produce *produce)
{
    uint8_t *at = out + 4;
    bench_put_u32(at, produce->correlation);
    bench_put_u32(at + 4, 1);
    bench_put_u16(at + 8, produce->topic_len);
    memcpy(at + 10, produce->topic, produce->topic_len);
    at += 10 + produce->topic_len;
    bench_put_u32(at, 1);
    bench_put_u32(at + 4, produce->partition);
    bench_put_u16(at + 8, 0);
    bench_put_u64(at + 10, 0);
    bench_put_u64(at + 18, UINT64_MAX);
    bench_put_u64(at + 26, 0);
    bench_put_u32(at + 34, 0);
    at += 38;
    bench_put_u32(out, (uint32_t)(at - out - 4));
    return (size_t)(at - out);
}

/* The error code in an answer; correlation in *ret_correlation. INT16_MIN: not such an answer. */
static inline int16_t bench_answer_read(const uint8_t *frame, size_t len, uint32_t *ret_correlation)
{
    if (len < 10)
        return INT16_MIN;
    *ret_correlation = bench_get_u32(frame);
    size_t topic_len = bench_get_u16(frame + 8);
    if (len < 10 + topic_len + 10)
        return INT16_MIN;
    return (int16_t)bench_get_u16(frame + 10 + topic_len + 8);
}

#endif
