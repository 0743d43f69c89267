/* librdkafka set up alike for every command. */
#ifndef WEIR_CLI_KAFKA_CLIENT_H
#define WEIR_CLI_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>

#include "cli/args.h"

/* Settings for the brokers plus the NAME=VALUE properties. NULL: reported on stderr. */
rd_kafka_conf_t *kafka_client_conf(const char *brokers, const struct arg_list *properties);
/* Takes conf. NULL: reported on stderr. */
rd_kafka_t *kafka_client_create(rd_kafka_type_t type, rd_kafka_conf_t *conf);

#endif
