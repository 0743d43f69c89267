/*
 * Searching and cutting of byte views.
 *
 * Nothing here allocates or writes: every function returns a number or another view of the same
 * bytes, and a request beyond the end is cut, so that no caller needs a bounds check of its own.
 */
#include "base/slice.h"

#include "base/assert.h"

static uint8_t ascii_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    ASSERT((a.data || a.len == 0) && (b.data || b.len == 0));
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.data[i]) != ascii_lower(b.data[i]))
            return false;
    }
    return true;
}

bool slice_starts_with(struct slice s, struct slice prefix)
{
    ASSERT(prefix.data || prefix.len == 0);
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

size_t slice_find(struct slice s, struct slice needle, size_t from)
{
    ASSERT(needle.data || needle.len == 0);
    if (from > s.len || s.len - from < needle.len)
        return SIZE_MAX;
    if (needle.len == 0)
        return from;
    const uint8_t *hit = memmem(s.data + from, s.len - from, needle.data, needle.len);
    return hit ? (size_t)(hit - s.data) : SIZE_MAX;
}

size_t slice_find_byte(struct slice s, uint8_t byte, size_t from)
{
    if (from >= s.len)
        return SIZE_MAX;
    const uint8_t *hit = memchr(s.data + from, byte, s.len - from);
    ASSERT(!hit || hit < s.data + s.len);
    return hit ? (size_t)(hit - s.data) : SIZE_MAX;
}

struct slice slice_sub(struct slice s, size_t from, size_t len)
{
    if (!s.data)
        return SLICE_NULL;
    if (from > s.len)
        from = s.len;
    if (len > s.len - from)
        len = s.len - from;
    return (struct slice){s.data + from, len};
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct slice slice_trim(struct slice s)
{
    ASSERT(s.data || s.len == 0);
    while (s.len > 0 && is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}
