/*
 * Writers put versions of block blobs and append to append blobs; after every loss each blob must hold a whole version between the last one
 * acknowledged and the last one tried, and each append blob all acknowledged blocks, whole and in order.
 *
 * content of a version: key (8) | version (8) | length (8) | bytes drawn from them
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "blobstore/blobstore.h"
#include "front/blob/blob.h"
#include "http_link.h"
#include "world.h"

enum {
    KEYS = 10,
    KEYS_PUT = 6,
    CONTENT_HEAD = 24,
    BLOBS_PORT = 10000,
    BLOCKS_MAX = 400,
    OPERATIONS_MAX = 250
};

struct key {
    struct world *world;
    unsigned index;
    char name[32];
    bool appends;
    /* model of a put blob */
    uint64_t tried;
    uint64_t acked;
    /* model of an append blob: lengths of all blocks ever tried at their positions */
    uint32_t lengths[BLOCKS_MAX];
    uint64_t blocks_tried;
    uint64_t blocks_acked;
    bool again; /* the last block has an unknown outcome: try it again at its place */
    /* scenario http: puts go through the door; an outcome that stays unknown while the node lives
       could still overwrite what comes later, so that the key goes on under another name */
    struct http_link *link;
    unsigned generation;
    struct timer timer;
    /* writer */
    struct post post;
    bool busy;
    /* checker */
    struct blobstore_op op;
    struct arena *arena;
    uint8_t *content;
    uint64_t have;
};

struct blob_state {
    bool wire; /* scenario http */
    struct reactor *client;
    struct front_blob *front;
    struct blobstore *store;
    struct key keys[KEYS];
    unsigned reading;
    unsigned budget; /* operations left in this life: content is hashed, and time is short */
};

static struct blob_state *state_of(struct world *world)
{
    return world->state;
}

static uint64_t content_identity(uint64_t key, uint64_t version)
{
    return key * 1000003 + version;
}

static void content_make(uint64_t key, uint64_t version, uint64_t len, uint8_t *data)
{
    world_fill(content_identity(key, version), data, len);
    memcpy(data, &key, 8);
    memcpy(data + 8, &version, 8);
    memcpy(data + 16, &len, 8);
}

/* Whether the bytes are exactly one content of the key; its version and length. */
static bool content_read(uint64_t key, const uint8_t *data, uint64_t len, uint64_t *ret_version,
                         uint64_t *ret_len)
{
    uint64_t head[3];
    if (len < CONTENT_HEAD)
        return false;
    memcpy(head, data, CONTENT_HEAD);
    if (head[0] != key || head[2] < CONTENT_HEAD || head[2] > len)
        return false;
    uint8_t *expected = malloc(head[2]);
    content_make(key, head[1], head[2], expected);
    bool equal = memcmp(expected, data, head[2]) == 0;
    free(expected);
    *ret_version = head[1];
    *ret_len = head[2];
    return equal;
}

static void blob_init(struct world *world)
{
    struct blob_state *state = calloc(1, sizeof(*state));
    world->state = state;
    for (unsigned i = 0; i < KEYS; i++) {
        struct key *key = &state->keys[i];
        key->world = world;
        key->index = i;
        key->appends = i >= KEYS_PUT;
        snprintf(key->name, sizeof(key->name), "blob-%u", i);
    }
}

static enum err blob_boot(struct world *world, struct err_info *info)
{
    struct blob_state *state = state_of(world);
    state->store = NULL;
    enum err err = fs_mkdir_all(world->fs, WORLD_DIR "/blobs", info);
    if (err == ERR_OK)
        err = fs_sync_dir(world->fs, "/", info);
    if (err == ERR_OK)
        err = fs_sync_dir(world->fs, WORLD_DIR, info);
    if (err == ERR_OK)
        err = blobstore_open(world->fs, WORLD_DIR "/blobs", random_u64(&world->random),
                             *sim_wall_ms(world->sim), &state->store, info);
    for (unsigned i = 0; err == ERR_OK && i < world->shard_count; i++)
        blobstore_shard_start(state->store, world_shard(world, i));
    struct front_blob_config config = {.host = "127.0.0.1", .port = BLOBS_PORT};
    if (err == ERR_OK && state->wire)
        err = front_blob_open(world->shards, &config, state->store, &state->front, info);
    return err;
}

static bool blob_ready(struct world *world)
{
    return state_of(world)->store != NULL;
}

/* ---- checking ---- */

static void check_put(struct key *key)
{
    uint64_t version;
    uint64_t len;
    if (!content_read(key->index, key->content, key->have, &version, &len) || len != key->have)
        world_breach(key->world, "%s is torn: %llu bytes", key->name,
                     (unsigned long long)key->have);
    if (version < key->acked || version > key->tried)
        world_breach(key->world, "%s has version %llu, acknowledged %llu, tried %llu", key->name,
                     (unsigned long long)version, (unsigned long long)key->acked,
                     (unsigned long long)key->tried);
}

static void check_append(struct key *key)
{
    uint64_t at = 0;
    uint64_t blocks = 0;
    while (at < key->have) {
        uint64_t version;
        uint64_t len;
        if (!content_read(key->index, key->content + at, key->have - at, &version, &len))
            world_breach(key->world, "%s: block %llu is torn", key->name,
                         (unsigned long long)blocks);
        if (version != blocks + 1)
            world_breach(key->world, "%s: block %llu at place %llu", key->name,
                         (unsigned long long)version, (unsigned long long)blocks + 1);
        blocks++;
        at += len;
    }
    if (blocks < key->blocks_acked || blocks > key->blocks_tried)
        world_breach(key->world, "%s has %llu blocks, acknowledged %llu, tried %llu", key->name,
                     (unsigned long long)blocks, (unsigned long long)key->blocks_acked,
                     (unsigned long long)key->blocks_tried);
    /* What is read now may still vanish unless it was acknowledged: the last one is tried again at its place. */
    key->blocks_tried = blocks;
    key->again = false;
}

static void check_end(struct key *key)
{
    struct blob_state *state = state_of(key->world);
    free(key->content);
    key->content = NULL;
    arena_destroy(key->arena);
    key->arena = NULL;
    key->world->checked++;
    state->reading--;
}

static void check_more(struct blobstore_reader *reader, enum err err, size_t len, void *arg)
{
    struct key *key = arg;
    uint64_t total = key->op.info.length;
    if (err != ERR_OK)
        world_breach(key->world, "%s cannot be read on a sound disk: %s", key->name,
                     err_row(err)->name);
    key->have += len;
    if (key->have < total && len > 0) {
        blobstore_reader_read(reader, key->have, key->content + key->have, total - key->have,
                              check_more, key);
        return;
    }
    if (key->have != total)
        world_breach(key->world, "%s ends at %llu of %llu", key->name,
                     (unsigned long long)key->have, (unsigned long long)total);
    blobstore_reader_close(reader);
    if (key->appends)
        check_append(key);
    else
        check_put(key);
    check_end(key);
}

static void check_opened(struct blobstore_op *op)
{
    struct key *key = op->arg;
    bool absent = op->err == ERR_BLOB_NOT_FOUND || op->err == ERR_CONTAINER_NOT_FOUND;
    if (absent) {
        if (key->acked > 0 || key->blocks_acked > 0)
            world_breach(key->world, "%s is gone, acknowledged %llu", key->name,
                         (unsigned long long)(key->acked + key->blocks_acked));
        key->blocks_tried = 0;
        key->again = false;
        check_end(key);
        return;
    }
    if (op->err != ERR_OK)
        world_breach(key->world, "%s cannot be opened on a sound disk: %s", key->name,
                     op->err_info.text);
    key->have = 0;
    key->content = malloc(op->info.length + 1);
    if (op->info.length == 0)
        check_more(op->reader, ERR_OK, 0, key);
    else
        blobstore_reader_read(op->reader, 0, key->content, op->info.length, check_more, key);
}

static void check_start(struct post *post)
{
    struct key *key = CONTAINER_OF(post, struct key, post);
    key->arena = arena_create(NULL, "check", 1 << 20);
    blobstore_op_init(&key->op, BLOBSTORE_READ, key->arena);
    key->op.container = SLICE_LIT("store");
    key->op.blob = slice_cstr(key->name);
    key->op.done = check_opened;
    key->op.arg = key;
    blobstore_submit(state_of(key->world)->store,
                     world_shard(key->world, key->index % key->world->shard_count), &key->op);
}

static void blob_check(struct world *world)
{
    struct blob_state *state = state_of(world);
    state->reading = KEYS;
    for (unsigned i = 0; i < KEYS; i++)
        world_post(world, i % world->shard_count, &state->keys[i].post, check_start);
}

static bool blob_check_done(struct world *world)
{
    return state_of(world)->reading == 0;
}

/* ---- load ---- */

static void write_next(struct key *key);

static void write_done(enum err err, const struct err_info *info, void *arg)
{
    struct key *key = arg;
    struct world *world = key->world;
    key->busy = false;
    world->acked += err == ERR_OK;
    world->refused += err != ERR_OK;
    if (!key->appends) {
        if (err == ERR_OK)
            key->acked = key->tried;
    } else if (err == ERR_OK || (err == ERR_APPEND_POSITION && key->again)) {
        /* At its place already: the earlier try had been made durable, since an append is read back from the committed index. */
        key->blocks_acked = key->blocks_tried;
        key->again = false;
    } else {
        key->again = true;
    }
    write_next(key);
}

static void http_done(void *arg, int status)
{
    struct key *key = arg;
    if (status == 0)
        key->link = NULL;
    if (!key->busy)
        return; /* an idle connection ended */
    if (status == 0) {
        key->generation++;
        key->tried = key->acked = 0;
        snprintf(key->name, sizeof(key->name), "blob-%u-%u", key->index, key->generation);
    }
    struct err_info info = {0};
    write_done(status == 201 ? ERR_OK : ERR_BUSY, &info, key);
}

static void http_write(struct key *key, struct slice content)
{
    struct blob_state *state = state_of(key->world);
    if (!key->link)
        key->link = http_link_dial(state->client, BLOBS_PORT, http_done, key);
    if (key->link)
        http_link_put(key->link, "store", key->name, *sim_wall_ms(key->world->sim), content);
    else
        http_done(key, 0);
}

static void write_put(struct key *key)
{
    struct random *random = &key->world->random;
    uint64_t most = random_one_in(random, 4) ? 200000 : 20000;
    uint64_t len = CONTENT_HEAD + random_below(random, most);
    uint8_t *data = malloc(len);
    key->tried++;
    content_make(key->index, key->tried, len, data);
    if (state_of(key->world)->wire) {
        http_write(key, slice_make(data, len));
        free(data);
        return;
    }
    blobstore_write_bytes(
        state_of(key->world)->store, world_shard(key->world, key->index % key->world->shard_count),
        BLOBSTORE_WRITE_PUT, SLICE_LIT("store"), slice_cstr(key->name), SLICE_NULL,
        SLICE_LIT("application/octet-stream"), slice_make(data, len), -1, write_done, key);
    free(data);
}

static void write_append(struct key *key)
{
    struct random *random = &key->world->random;
    if (!key->again) {
        if (key->blocks_tried == BLOCKS_MAX)
            return;
        key->lengths[key->blocks_tried++] = (uint32_t)(CONTENT_HEAD + random_below(random, 30000));
    }
    uint64_t place = 0;
    for (uint64_t i = 0; i + 1 < key->blocks_tried; i++)
        place += key->lengths[i];
    uint32_t len = key->lengths[key->blocks_tried - 1];
    uint8_t *data = malloc(len);
    content_make(key->index, key->blocks_tried, len, data);
    blobstore_write_bytes(state_of(key->world)->store,
                          world_shard(key->world, key->index % key->world->shard_count),
                          BLOBSTORE_WRITE_APPEND, SLICE_LIT("store"), slice_cstr(key->name),
                          SLICE_NULL, SLICE_LIT("application/octet-stream"), slice_make(data, len),
                          (int64_t)place, write_done, key);
    free(data);
}

static void write_start(struct post *post)
{
    struct key *key = CONTAINER_OF(post, struct key, post);
    if (key->appends)
        write_append(key);
    else
        write_put(key);
}

static void write_due(struct timer *timer)
{
    write_put(CONTAINER_OF(timer, struct key, timer));
}

static void write_next(struct key *key)
{
    struct world *world = key->world;
    struct blob_state *state = state_of(world);
    if (!world->running || state->budget == 0 ||
        (key->appends && !key->again && key->blocks_tried == BLOCKS_MAX))
        return;
    state->budget--;
    key->busy = true;
    if (state->wire && !key->appends) {
        timer_arm(state->client, &key->timer, 1 + random_below(&world->random, 10000));
        return;
    }
    world_post(world, key->index % world->shard_count, &key->post, write_start);
}

static void blob_load(struct world *world)
{
    state_of(world)->budget = OPERATIONS_MAX;
    for (unsigned i = 0; i < KEYS; i++)
        write_next(&state_of(world)->keys[i]);
}

static bool blob_idle(struct world *world)
{
    for (unsigned i = 0; i < KEYS; i++) {
        if (state_of(world)->keys[i].busy)
            return false;
    }
    return true;
}

static void blob_forget(struct blob_state *state)
{
    state->store = NULL;
    state->reading = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        struct key *key = &state->keys[i];
        key->busy = false;
        if (state->client)
            timer_cancel(state->client, &key->timer);
        if (key->link)
            http_link_drop(key->link);
        key->link = NULL;
    }
}

static void blob_lost(struct world *world, bool power)
{
    blob_forget(state_of(world));
}

static void blob_close(struct world *world)
{
    struct blob_state *state = state_of(world);
    front_blob_close(state->front);
    state->front = NULL;
    blobstore_close(state->store);
    blob_forget(state);
}

static void http_init(struct world *world)
{
    blob_init(world);
    struct blob_state *state = state_of(world);
    state->wire = true;
    state->client = sim_host_reactor(sim_host_create(world->sim, NULL));
    struct sim_config config;
    sim_config_init(&config, 0);
    static const uint32_t cuts[] = {0, 50, 200, 1000};
    config.cut_odds = cuts[random_below(&world->random, 4)];
    config.partial_odds = 1 + (uint32_t)random_below(&world->random, 10);
    config.delay_max_us = 100 + random_below(&world->random, 5000);
    sim_config_set(world->sim, &config);
    for (unsigned i = 0; i < KEYS; i++)
        timer_init(&state->keys[i].timer, write_due);
}

const struct scenario scenario_blob = {
    .name = "blob",
    .init = blob_init,
    .boot = blob_boot,
    .ready = blob_ready,
    .check = blob_check,
    .check_done = blob_check_done,
    .load = blob_load,
    .idle = blob_idle,
    .lost = blob_lost,
    .close = blob_close,
};

const struct scenario scenario_http = {
    .name = "http",
    .init = http_init,
    .boot = blob_boot,
    .ready = blob_ready,
    .check = blob_check,
    .check_done = blob_check_done,
    .load = blob_load,
    .idle = blob_idle,
    .lost = blob_lost,
    .close = blob_close,
};
