/*
 * Role: nested arenas: a stack of chunks per arena, limits counted over the whole line of
 * ancestors.
 *
 *     arena -> chunk (newest) -> chunk -> ... -> chunk (first, kept by reset)
 *              [header | used bytes | free bytes]
 *
 * Invariants
 * (1) held = bytes of own chunks + held of all children, and held <= limit, in every arena.
 * (2) Only the newest chunk is allocated from; a mark names a chunk and its fill, so that a rewind
 *     frees what is newer.
 * (3) Every returned address is aligned to 16 bytes.
 *
 * Ownership and shard: one thread at a time per tree of arenas; a child belongs to its parent and
 * dies with it.
 *
 * Failure modes: at a limit, or when the system has no memory, the result is NULL and nothing
 * changed. Under the address sanitizer free space is poisoned and allocations are kept apart, so
 * that a use after rewind or an overrun is caught.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/list.h"

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif

#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
enum { ARENA_REDZONE = 16 };
#else
#define ASAN_POISON_MEMORY_REGION(data, len) ((void)(data), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(data, len) ((void)(data), (void)(len))
enum { ARENA_REDZONE = 0 };
#endif

/* Most requests fit in the smallest chunk; beyond the largest one a bigger chunk would only waste
 * its end. */
enum { ARENA_ALIGN = 16, ARENA_CHUNK_MIN = 2 * 1024, ARENA_CHUNK_MAX = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *older;
    size_t size; /* of data */
    size_t used;
    size_t pad;
    uint8_t data[];
};

_Static_assert(sizeof(struct arena_chunk) % ARENA_ALIGN == 0, "data must start aligned");

struct arena {
    struct arena *parent;
    struct list_node sibling; /* in parent->children */
    struct list_node children;
    const char *name;
    size_t limit;
    size_t held;
    size_t chunk_next; /* size of the next ordinary chunk */
    struct arena_chunk *newest;
};

struct arena *arena_create(struct arena *parent, const char *name, size_t limit)
{
    ASSERT(name && limit > 0);
    struct arena *arena = calloc(1, sizeof(*arena));
    if (!arena)
        return NULL;
    arena->parent = parent;
    arena->name = name;
    arena->limit = limit;
    arena->chunk_next = ARENA_CHUNK_MIN;
    list_init(&arena->children);
    list_init(&arena->sibling);
    if (parent)
        list_push_back(&parent->children, &arena->sibling);
    return arena;
}

static void arena_account(struct arena *arena, size_t taken, size_t given)
{
    for (struct arena *a = arena; a; a = a->parent) {
        ASSERT(a->held >= given);
        a->held += taken - given;
        ASSERT(a->held <= a->limit);
    }
}

static void arena_pop_chunk(struct arena *arena)
{
    struct arena_chunk *chunk = arena->newest;
    ASSERT(chunk && chunk->used <= chunk->size);
    arena->newest = chunk->older;
    arena_account(arena, 0, chunk->size);
    ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size);
    free(chunk);
}

static void arena_destroy_children(struct arena *arena)
{
    struct list_node *node;
    while ((node = list_front(&arena->children)) != NULL)
        arena_destroy(CONTAINER_OF(node, struct arena, sibling));
}

/* Children first: their chunks count against this arena. */
void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    arena_destroy_children(arena);
    while (arena->newest)
        arena_pop_chunk(arena);
    ASSERT(arena->held == 0 && list_empty(&arena->children));
    list_remove(&arena->sibling);
    free(arena);
}

static void arena_empty_chunk(struct arena_chunk *chunk, size_t used)
{
    ASSERT(used <= chunk->used);
    ASAN_POISON_MEMORY_REGION(chunk->data + used, chunk->size - used);
    chunk->used = used;
}

void arena_reset(struct arena *arena)
{
    ASSERT(arena);
    arena_destroy_children(arena);
    arena->chunk_next = ARENA_CHUNK_MIN;
    if (!arena->newest)
        return;
    while (arena->newest->older)
        arena_pop_chunk(arena);
    arena_empty_chunk(arena->newest, 0);
}

/* Bytes that the arena and all its ancestors still allow. */
static size_t arena_room(const struct arena *arena)
{
    size_t room = SIZE_MAX;
    for (const struct arena *a = arena; a; a = a->parent) {
        ASSERT(a->held <= a->limit);
        if (a->limit - a->held < room)
            room = a->limit - a->held;
    }
    return room;
}

/* Chunks double up to a size, so that small requests stay small and large ones need few calls. */
static bool arena_push_chunk(struct arena *arena, size_t need)
{
    ASSERT(need > 0 && need % ARENA_ALIGN == 0);
    size_t room = arena_room(arena);
    size_t size = arena->chunk_next;
    if (size < need)
        size = need;
    if (size > room) /* near the limit: exactly what is asked for, not a chunk ahead */
        size = need;
    if (size > room)
        return false;
    struct arena_chunk *chunk = malloc(sizeof(*chunk) + size);
    if (!chunk)
        return false;
    chunk->older = arena->newest;
    chunk->size = size;
    chunk->used = 0;
    ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size);
    arena->newest = chunk;
    arena_account(arena, size, 0);
    if (arena->chunk_next < ARENA_CHUNK_MAX)
        arena->chunk_next *= 2;
    return true;
}

/*
 * Bumps a position; the only branch is for a new chunk. Under the sanitizer a red zone follows each
 * piece, and only the piece itself may be touched.
 */
void *arena_alloc(struct arena *arena, size_t size)
{
    ASSERT(arena);
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t need = (size + ARENA_REDZONE + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (need == 0)
        need = ARENA_ALIGN; /* distinct addresses even for nothing */
    struct arena_chunk *chunk = arena->newest;
    if (!chunk || chunk->size - chunk->used < need) {
        if (!arena_push_chunk(arena, need))
            return NULL;
        chunk = arena->newest;
    }
    uint8_t *data = chunk->data + chunk->used;
    chunk->used += need;
    ASSERT(chunk->used <= chunk->size && ((uintptr_t)data & (ARENA_ALIGN - 1)) == 0);
    ASAN_UNPOISON_MEMORY_REGION(data, size);
    return data;
}

void *arena_zalloc(struct arena *arena, size_t count, size_t size)
{
    ASSERT(size > 0);
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *data = arena_alloc(arena, total);
    if (data)
        memset(data, 0, total);
    return data;
}

struct slice arena_copy(struct arena *arena, struct slice bytes)
{
    ASSERT(bytes.data || bytes.len == 0);
    if (bytes.len >= SIZE_MAX / 2)
        return SLICE_NULL;
    uint8_t *data = arena_alloc(arena, bytes.len + 1);
    if (!data)
        return SLICE_NULL;
    if (bytes.len > 0)
        memcpy(data, bytes.data, bytes.len);
    data[bytes.len] = 0;
    return (struct slice){data, bytes.len};
}

char *arena_strdup(struct arena *arena, struct slice text)
{
    return (char *)(uintptr_t)arena_copy(arena, text).data;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    ASSERT(format);
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return NULL;
    char *text = arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, format);
    int written = vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    ASSERT(written == len);
    return text;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    ASSERT(arena);
    return (struct arena_mark){arena->newest, arena->newest ? arena->newest->used : 0};
}

/*
 * Chunks newer than the mark go back to the system: a request that needed much must not leave its
 * peak with the connection.
 */
void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    ASSERT(arena);
    if (!mark.chunk) { /* taken when there was no chunk: keep the first for the next round */
        while (arena->newest && arena->newest->older)
            arena_pop_chunk(arena);
        if (arena->newest)
            arena_empty_chunk(arena->newest, 0);
        return;
    }
    while (arena->newest && arena->newest != mark.chunk)
        arena_pop_chunk(arena);
    ASSERT(arena->newest);
    arena_empty_chunk(arena->newest, mark.used);
}

size_t arena_held(const struct arena *arena)
{
    ASSERT(arena);
    return arena->held;
}
