/* Addresses of a running server, and the clients of its HTTP ports. */
#ifndef WEIR_CLI_ENDPOINT_H
#define WEIR_CLI_ENDPOINT_H

#include <jansson.h>

#include "base/assert.h"
#include "base/bytebuf.h"

/* The first that is set: what the option gave, the environment variable, the default. */
const char *endpoint_address(const char *option, const char *variable, const char *fallback);

#define ENDPOINT_KAFKA(option) endpoint_address((option), "WEIR_KAFKA", "127.0.0.1:9092")
#define ENDPOINT_BLOB(option) endpoint_address((option), "WEIR_BLOB", "127.0.0.1:10000")
#define ENDPOINT_ADMIN(option) endpoint_address((option), "WEIR_ADMIN", "127.0.0.1:5300")

/*
 * One call of the admin interface (docs/admin-api.md). body may be NULL. On success returns 0 and
 * the JSON answer (NULL for an empty one; the caller's to json_decref). On failure the reason is on
 * stderr and the result is the exit status 1.
 */
MUST_CHECK int endpoint_admin_call(const char *address, const char *method, const char *path,
                                   const json_t *body, json_t **ret_answer);
/* text with everything but unreserved characters percent-encoded, into out. */
void endpoint_escape(struct bytebuf *out, const char *text);

#endif
