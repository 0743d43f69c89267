/* Shared by the files of the HTTP codec. */
#ifndef WEIR_WIRE_HTTP_INT_H
#define WEIR_WIRE_HTTP_INT_H

#include "wire/http.h"

/* Of a hexadecimal digit; -1 for any other byte. */
int http_hex_value(uint8_t c);
bool http_is_token_byte(uint8_t c);
/* Bytes of a field value: HTAB, blank, visible ASCII and everything from 0x80. */
bool http_is_value_byte(uint8_t c);
/* One header or trailer line without its CRLF. */
enum http_result http_field_parse(struct slice line, struct http_field *ret_field,
                                  struct http_refusal *refusal);

#endif
