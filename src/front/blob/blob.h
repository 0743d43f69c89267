/*
 * The blob front: Azure Blob Storage's REST interface over the blob store. Protocol only.
 */
#ifndef WEIR_FRONT_BLOB_BLOB_H
#define WEIR_FRONT_BLOB_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct blobstore;
struct bytebuf;
struct front_blob;
struct shards;

/* An account: every account sees the same store. Keys are Base64, key2 may be NULL. */
struct front_blob_account {
    const char *name;
    const char *key1;
    const char *key2;
};

enum { FRONT_BLOB_ACCOUNTS_MAX = 8 };

struct front_blob_config {
    const char *host;         /* numeric address to listen on */
    uint16_t port;            /* 0: a free one */
    uint32_t connections_max; /* in the process; 0: 4,096 */
    /* account_count 0: the well-known development account, allowed on loopback addresses only. */
    struct front_blob_account accounts[FRONT_BLOB_ACCOUNTS_MAX];
    uint32_t account_count;
    bool any_date; /* signed requests of any age are taken; else of 15 minutes around now */
};

/* Listens and prepares every shard. ERR_INVALID_ARGUMENT: a bad key, or no account off loopback.
 * Shard: init. */
MUST_CHECK enum err front_blob_open(struct shards *shards, const struct front_blob_config *config,
                                    struct blobstore *store, struct front_blob **ret_front,
                                    struct err_info *info);
/* "127.0.0.1:10000"; lives as long as the front. */
const char *front_blob_address(const struct front_blob *front);
/* Figures for /metrics, in Prometheus text format. arg: the front. Any shard. */
void front_blob_metrics(void *arg, struct bytebuf *out);
/* After the shards have stopped. NULL is allowed. Shard: init. */
void front_blob_close(struct front_blob *front);

#endif
