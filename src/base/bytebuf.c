/*
 * A growing byte buffer with a limit and a sticky failure.
 *
 * Capacity doubles up to the limit. After a failure every append is ignored, so that a writer of
 * many parts tests `failed` once. Invariant: len <= cap <= limit. Heap memory, one owner.
 */
#include "base/bytebuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

enum { BYTEBUF_CAP_MIN = 64 };

void bytebuf_init(struct bytebuf *buf, size_t limit)
{
    ASSERT(limit > 0);
    *buf = (struct bytebuf){.limit = limit};
}

void bytebuf_deinit(struct bytebuf *buf)
{
    ASSERT(buf->len <= buf->cap);
    free(buf->data);
    *buf = (struct bytebuf){0};
}

void bytebuf_clear(struct bytebuf *buf)
{
    ASSERT(buf->limit > 0); /* initialised */
    buf->len = 0;
    buf->failed = false;
}

static bool bytebuf_grow(struct bytebuf *buf, size_t need)
{
    ASSERT(need > buf->cap && need <= buf->limit);
    size_t cap = buf->cap < BYTEBUF_CAP_MIN ? BYTEBUF_CAP_MIN : buf->cap;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    /* Doubling keeps appends at constant cost on average; the limit cuts the last step short. */
    if (cap > buf->limit)
        cap = buf->limit;
    uint8_t *data = realloc(buf->data, cap);
    if (!data)
        return false;
    buf->data = data;
    buf->cap = cap;
    return true;
}

/*
 * Never a NULL for success, not even for nothing: callers pass the result to functions that do not
 * take one.
 */
uint8_t *bytebuf_reserve(struct bytebuf *buf, size_t more)
{
    ASSERT(buf->len <= buf->cap && buf->cap <= buf->limit);
    if (buf->failed)
        return NULL;
    if (more > buf->limit - buf->len) {
        buf->failed = true;
        return NULL;
    }
    size_t need = buf->len + more;
    if ((need > buf->cap || !buf->data) &&
        !bytebuf_grow(buf, need > buf->cap ? need : buf->cap + 1)) {
        buf->failed = true;
        return NULL;
    }
    return buf->data + buf->len;
}

void bytebuf_append(struct bytebuf *buf, const void *data, size_t len)
{
    ASSERT(data || len == 0);
    if (len == 0)
        return;
    uint8_t *to = bytebuf_reserve(buf, len);
    if (!to)
        return;
    memcpy(to, data, len);
    buf->len += len;
    ASSERT(buf->len <= buf->cap);
}

void bytebuf_append_slice(struct bytebuf *buf, struct slice s)
{
    bytebuf_append(buf, s.data, s.len);
}

void bytebuf_append_cstr(struct bytebuf *buf, const char *text)
{
    ASSERT(text);
    bytebuf_append(buf, text, strlen(text));
}

void bytebuf_append_byte(struct bytebuf *buf, uint8_t byte)
{
    if (buf->len < buf->cap && !buf->failed) {
        buf->data[buf->len++] = byte;
        return;
    }
    bytebuf_append(buf, &byte, 1);
}

/*
 * Printed in place when it fits, which is nearly always; else into memory of its own, since the
 * limit must not count the NUL.
 */
void bytebuf_printf(struct bytebuf *buf, const char *format, ...)
{
    if (buf->failed)
        return;
    ASSERT(buf->len <= buf->cap);
    size_t room = buf->cap - buf->len;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(room ? (char *)buf->data + buf->len : NULL, room, format, args);
    va_end(args);
    if (len < 0) {
        buf->failed = true;
        return;
    }
    if ((size_t)len >= room) { /* vsnprintf wants a byte for its NUL; the limit must count it only
                                  while printing */
        char *text = malloc((size_t)len + 1);
        if (!text) {
            buf->failed = true;
            return;
        }
        va_start(args, format);
        int written = vsnprintf(text, (size_t)len + 1, format, args);
        va_end(args);
        ASSERT(written == len);
        bytebuf_append(buf, text, (size_t)len);
        free(text);
        return;
    }
    buf->len += (size_t)len;
}
