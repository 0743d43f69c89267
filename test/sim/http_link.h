/*
 * The least of a blob client: one connection, one signed PUT at a time.
 */
#ifndef WEIR_TEST_SIM_HTTP_LINK_H
#define WEIR_TEST_SIM_HTTP_LINK_H

#include <stdint.h>

#include "base/slice.h"

struct http_link;
struct reactor;

/* status 0: the connection is gone with no known outcome, and the link with it. */
typedef void (*http_link_fn)(void *arg, int status);

/* NULL: refused at once. */
struct http_link *http_link_dial(struct reactor *reactor, uint16_t port, http_link_fn fn,
                                 void *arg);
/* Puts a whole block blob, signed with the development account's key. */
void http_link_put(struct http_link *link, const char *container, const char *blob, int64_t wall_ms,
                   struct slice body);
/* No callback comes any more. */
void http_link_drop(struct http_link *link);

#endif
