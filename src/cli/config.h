/*
 * The server's settings: one table gives the parser, the defaults, the ranges and the documentation
 * (`weir serve --settings` prints it). Command-line options win over the file.
 */
#ifndef WEIR_CLI_CONFIG_H
#define WEIR_CLI_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"

struct config {
    const char *host;
    int64_t shards;
    int64_t kafka_port;
    const char *kafka_advertised_host;
    int64_t kafka_advertised_port;
    int64_t kafka_connections_max;
    int64_t initial_rebalance_delay_ms;
    bool auto_create;
    int64_t default_partitions;
    int64_t retention_check_ms;
    bool relaxed;
    int64_t tail_cache_bytes;
    int64_t amqp_port;
    const char *amqp_entities; /* path of the emulator's Config.json */
    const char *amqp_key_name, *amqp_key;
    int64_t amqp_token_wait_ms, amqp_connections_max;
    int64_t blob_port;
    int64_t blob_connections_max;
    const char *blob_account, *blob_key, *blob_key2;
    bool blob_clock_check;
    const char *admin_host, *admin_hosts;
    int64_t admin_port;
    int64_t admin_connections_max;
    const char *diagnostics; /* level of the lines on stderr */
};

void config_defaults(struct config *config);
/* Reads a YAML file over what is in config. On failure info says FILE:LINE:COLUMN and the nearest
 * known key. */
MUST_CHECK enum err config_load(struct config *config, struct arena *arena, const char *path,
                                struct err_info *info);
/* The table as Markdown. */
void config_print_settings(FILE *out);

#endif
