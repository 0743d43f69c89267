/* JSON text out: strings with the escapes that JSON demands, numbers in the forms of the query
 * language. */
#ifndef WEIR_CODEC_JSON_WRITE_H
#define WEIR_CODEC_JSON_WRITE_H

#include <stdint.h>

#include "base/bytebuf.h"
#include "base/slice.h"

/* With quotes. Text is UTF-8; bytes above 0x7f go out as they are. */
void json_write_text(struct bytebuf *out, struct slice text);
void json_write_int(struct bytebuf *out, int64_t value);
/* Always with a fraction or exponent: 95 prints as 95.0. The value must be finite. */
void json_write_float(struct bytebuf *out, double value);
/* Source of a value without the white space outside its strings, so that it fits on one line. */
void json_write_compact(struct bytebuf *out, struct slice source);

#endif
