/*
 * Errors of the core: one enum generated from defs/errors.json, each with its class and its Kafka,
 * AMQP and HTTP equivalents. The core returns `enum err` and fills the caller's err_info; fronts
 * translate at the edge.
 */
#ifndef WEIR_BASE_ERROR_H
#define WEIR_BASE_ERROR_H

#include <stdint.h>

#include "base/assert.h"
#include "error_codes.h" /* generated: enum err, ERR_OK == 0, ERR_COUNT */

enum err_class {
    ERR_CLASS_NONE,      /* success */
    ERR_CLASS_CLIENT,    /* the request is wrong; repeating it will not help */
    ERR_CLASS_RETRIABLE, /* may succeed later */
    ERR_CLASS_FATAL,     /* the resource is lost until an operator acts */
    ERR_CLASS_CORRUPT    /* stored or received bytes fail their checks */
};

struct err_row {
    const char *name; /* "unknown_topic" */
    enum err_class class;
    int16_t kafka_code;
    const char *amqp_condition; /* "amqp:not-found" */
    uint16_t http_status;
    const char *text; /* one sentence for people */
};

const struct err_row *err_row(enum err err);
/* Class and text of a POSIX errno as ours: ENOSPC -> ERR_DISK_FULL, EIO -> ERR_DISK_IO, ENOENT ->
 * ERR_NOT_FOUND ... */
enum err err_from_errno(int posix_errno);

/* What went wrong, in words, for the front to show. Callers own it; wrap outward with
 * err_info_wrap. */
struct err_info {
    enum err code;
    char text[248];
};

/* Sets both and returns code, so that `return err_info_set(info, ERR_X, "...")` reads well. info
 * may be NULL. */
enum err err_info_set(struct err_info *info, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "context: " before what is there. */
void err_info_wrap(struct err_info *info, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
