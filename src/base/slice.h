/*
 * A view of bytes that somebody else owns. Never freed, never NUL-terminated.
 */
#ifndef WEIR_BASE_SLICE_H
#define WEIR_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t
        *data; /* may be NULL only when len is 0; NULL means "absent" where a format knows null */
    size_t len;
};

#define SLICE_NULL ((struct slice){NULL, 0})
#define SLICE_LIT(literal) ((struct slice){(const uint8_t *)(literal), sizeof(literal) - 1})
/* For printf("%.*s"): length and pointer. */
#define SLICE_FMT(s) (int)(s).len, (const char *)((s).data ? (s).data : (const uint8_t *)"")

static inline struct slice slice_make(const void *data, size_t len)
{
    return (struct slice){(const uint8_t *)data, len};
}

static inline struct slice slice_cstr(const char *text)
{
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Byte order, shorter first on a common prefix: <0, 0, >0. */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

/* Equality of ASCII text without regard to case; other bytes compare as they are. */
bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);
/* Position of the first needle at or after from; SIZE_MAX when there is none. */
size_t slice_find(struct slice s, struct slice needle, size_t from);
size_t slice_find_byte(struct slice s, uint8_t byte, size_t from);
/* Bytes [from, from + len) cut to what exists: never out of range. */
struct slice slice_sub(struct slice s, size_t from, size_t len);
/* Without leading and trailing ASCII white space. */
struct slice slice_trim(struct slice s);

#endif
