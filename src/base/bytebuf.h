/*
 * A growing byte buffer with a limit and a sticky failure, for building output of unknown length.
 *
 * Every append on a failed buffer does nothing; the caller tests `failed` once at the end.
 * Heap-owned; one owner.
 */
#ifndef WEIR_BASE_BYTEBUF_H
#define WEIR_BASE_BYTEBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct bytebuf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t limit; /* most bytes it may ever hold */
    bool failed;  /* limit or memory reached: content is incomplete */
};

void bytebuf_init(struct bytebuf *buf, size_t limit);
void bytebuf_deinit(struct bytebuf *buf);
/* Empties, keeps the memory, clears the failure. */
void bytebuf_clear(struct bytebuf *buf);
/* Room for more bytes behind len; NULL (and failed) when that passes the limit. The caller raises
 * len itself. */
uint8_t *bytebuf_reserve(struct bytebuf *buf, size_t more);
void bytebuf_append(struct bytebuf *buf, const void *data, size_t len);
void bytebuf_append_slice(struct bytebuf *buf, struct slice s);
void bytebuf_append_cstr(struct bytebuf *buf, const char *text);
void bytebuf_append_byte(struct bytebuf *buf, uint8_t byte);
void bytebuf_printf(struct bytebuf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline struct slice bytebuf_slice(const struct bytebuf *buf)
{
    return (struct slice){buf->data, buf->len};
}

#endif
