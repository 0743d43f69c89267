/*
 * Base64 (RFC 4648): the strict reader wants canonical padding and refuses everything else; no
 * white space.
 */
#ifndef WEIR_WIRE_BASE64_H
#define WEIR_WIRE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/slice.h"

/* Bytes that n bytes need as text, padding included, without a NUL. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes BASE64_LEN(in.len) characters; returns that. */
size_t base64_encode(struct slice in, char *out);
/* URL-safe alphabet without padding; returns the length written (at most BASE64_LEN(in.len)). */
size_t base64url_encode(struct slice in, char *out);
/* out holds text.len / 4 * 3 bytes. false: not canonical Base64. */
MUST_CHECK bool base64_decode(struct slice text, uint8_t *out, size_t *ret_len);
/* The URL-safe form without padding; out holds text.len bytes. */
MUST_CHECK bool base64url_decode(struct slice text, uint8_t *out, size_t *ret_len);

#endif
