/*
 * Packed values: metadata pairs, content headers, ticks.
 *
 *     pair:    u16 name length, name, u32 value length, value      (little-endian)
 *     headers: six times u32 length, bytes: type, encoding, language, disposition, cache control,
 * MD5
 */
#include "blobstore/blobstore_int.h"

/* 100 ns ticks from 0001-01-01 to 1970-01-01. */
#define TICKS_EPOCH UINT64_C(621355968000000000)

uint64_t blobstore_ticks(int64_t wall_ms)
{
    ASSERT(wall_ms >= 0);
    return TICKS_EPOCH + (uint64_t)wall_ms * 10000;
}

int64_t blobstore_ticks_unix(uint64_t ticks)
{
    if (ticks < TICKS_EPOCH)
        return 0;
    return (int64_t)((ticks - TICKS_EPOCH) / 10000000);
}

bool blobstore_pair_append(uint8_t *out, size_t cap, size_t *len, struct slice name,
                           struct slice value)
{
    ASSERT(out && len && *len <= cap);
    if (name.len > UINT16_MAX || value.len > UINT32_MAX || cap - *len < 6 ||
        cap - *len - 6 < name.len + value.len)
        return false;
    uint16_t name_len = (uint16_t)name.len;
    uint32_t value_len = (uint32_t)value.len;
    uint8_t *p = out + *len;
    memcpy(p, &name_len, 2);
    memcpy(p + 2, name.data, name.len);
    memcpy(p + 2 + name.len, &value_len, 4);
    if (value.len)
        memcpy(p + 6 + name.len, value.data, value.len);
    *len += 6 + name.len + value.len;
    return true;
}

bool blobstore_pair_next(struct slice packed, size_t *cursor, struct slice *ret_name,
                         struct slice *ret_value)
{
    ASSERT(cursor && ret_name && ret_value);
    uint16_t name_len;
    uint32_t value_len;
    size_t pos = *cursor;
    if (pos > packed.len || packed.len - pos < 6)
        return false;
    memcpy(&name_len, packed.data + pos, 2);
    pos += 2;
    if (packed.len - pos < (size_t)name_len + 4)
        return false;
    *ret_name = slice_sub(packed, pos, name_len);
    pos += name_len;
    memcpy(&value_len, packed.data + pos, 4);
    pos += 4;
    if (packed.len - pos < value_len)
        return false;
    *ret_value = slice_sub(packed, pos, value_len);
    *cursor = pos + value_len;
    return true;
}

enum { HEADER_COUNT = 6 };

static void header_list(const struct blobstore_headers *headers, struct slice out[HEADER_COUNT])
{
    out[0] = headers->content_type;
    out[1] = headers->content_encoding;
    out[2] = headers->content_language;
    out[3] = headers->content_disposition;
    out[4] = headers->cache_control;
    out[5] = headers->md5;
}

enum err headers_pack(const struct blobstore_headers *headers, struct arena *arena,
                      struct slice *ret_bytes, struct err_info *info)
{
    struct slice list[HEADER_COUNT];
    size_t total = 0;
    ASSERT(headers && ret_bytes);
    header_list(headers, list);
    for (int i = 0; i < HEADER_COUNT; i++)
        total += 4 + list[i].len;
    uint8_t *out = arena_alloc(arena, total);
    if (!out)
        return err_info_set(info, ERR_NO_MEMORY, "no memory for the headers of a blob");
    *ret_bytes = slice_make(out, total);
    for (int i = 0; i < HEADER_COUNT; i++) {
        uint32_t len = (uint32_t)list[i].len;
        memcpy(out, &len, 4);
        if (len)
            memcpy(out + 4, list[i].data, len);
        out += 4 + len;
    }
    return ERR_OK;
}

bool headers_unpack(struct slice bytes, struct blobstore_headers *ret_headers)
{
    struct slice list[HEADER_COUNT];
    size_t pos = 0;
    ASSERT(ret_headers);
    for (int i = 0; i < HEADER_COUNT; i++) {
        uint32_t len;
        if (bytes.len - pos < 4)
            return false;
        memcpy(&len, bytes.data + pos, 4);
        pos += 4;
        if (bytes.len - pos < len)
            return false;
        list[i] = slice_sub(bytes, pos, len);
        pos += len;
    }
    *ret_headers = (struct blobstore_headers){list[0], list[1], list[2], list[3], list[4], list[5]};
    return pos == bytes.len && ret_headers->md5.len <= BLOBSTORE_MD5_MAX;
}
