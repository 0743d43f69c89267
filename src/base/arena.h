/*
 * Nested arenas with limits.
 *
 * An arena hands out memory that lives until the arena is reset or destroyed: process, shard,
 * connection, request, query and batch each have one. A child counts towards its parent's limit and
 * dies with it. At the limit arena_alloc returns NULL, and the caller refuses the request (law 13
 * of the house style); only boot may abort.
 *
 * Ownership: one thread at a time. Invariant: used(child) <= used(parent) <= limit(parent).
 */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct arena;

/* A position to rewind to; valid until the arena is reset or rewound before it. */
struct arena_mark {
    void *chunk;
    size_t used;
};

/* name: a literal, for diagnostics. limit: bytes of chunks this arena and its children may hold.
 * NULL: out of memory. */
struct arena *arena_create(struct arena *parent, const char *name, size_t limit);
/* Frees the arena and all its children. NULL is allowed. */
void arena_destroy(struct arena *arena);
/* Forgets all allocations, keeps the first chunk. Children are destroyed. */
void arena_reset(struct arena *arena);

/* Aligned to 16 bytes, uninitialised. NULL at the limit or when the system refuses. size may be 0.
 */
void *arena_alloc(struct arena *arena, size_t size);
/* The same, zeroed, for count items; NULL also when count * size overflows. */
void *arena_zalloc(struct arena *arena, size_t count, size_t size);
/* Copies of bytes and text; data is NULL on failure. The copy is NUL-terminated behind its length.
 */
struct slice arena_copy(struct arena *arena, struct slice bytes);
char *arena_strdup(struct arena *arena, struct slice text);
/* printf into the arena; NULL on failure. */
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

/* Bytes of chunks held, children included. */
size_t arena_held(const struct arena *arena);

#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), 1, sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_zalloc((arena), (count), sizeof(type)))

#endif
