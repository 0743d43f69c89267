/*
 * The format language of `weir consume -f`: kcat's letters, so that fingers keep their habits.
 *
 *   %t topic  %p partition  %o offset  %k key  %K key length  %s value  %S value length
 *   %T timestamp (ms)  %h headers (k=v,k=v)  %% a percent sign  \n \r \t \\ \0 \xHH characters
 */
#ifndef WEIR_CLI_FORMAT_H
#define WEIR_CLI_FORMAT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/bytebuf.h"

/* Replaces the backslash escapes of text; false: a wrong escape, ret_wrong points at it. */
bool format_unescape(const char *text, struct bytebuf *out, const char **ret_wrong);
/* Points at the first letter that is not known, NULL when all are. */
const char *format_check(struct slice format);
/* Writes one record by an unescaped format. */
void format_write(FILE *out, struct slice format, const rd_kafka_message_t *message);
/* Writes one record as a JSON object with the keys of kcat -J. */
void format_write_json(FILE *out, const rd_kafka_message_t *message);

#endif
