/* JSON text out (see json_write.h). */
#include "codec/json_write.h"

#include "base/assert.h"
#include "base/numtext.h"

static void write_escape(struct bytebuf *out, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t";
    static const char to[] = "\"\\bfnrt";

    for (unsigned i = 0; from[i] != '\0'; i++) {
        if (byte == (uint8_t)from[i]) {
            bytebuf_append_byte(out, '\\');
            bytebuf_append_byte(out, (uint8_t)to[i]);
            return;
        }
    }
    ASSERT(byte < 0x20);
    bytebuf_append_cstr(out, "\\u00");
    bytebuf_append_byte(out, (uint8_t)hex[byte >> 4]);
    bytebuf_append_byte(out, (uint8_t)hex[byte & 15]);
}

void json_write_text(struct bytebuf *out, struct slice text)
{
    size_t start = 0;

    bytebuf_append_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        bytebuf_append(out, text.data + start, i - start);
        write_escape(out, byte);
        start = i + 1;
    }
    bytebuf_append(out, text.data + start, text.len - start);
    bytebuf_append_byte(out, '"');
}

void json_write_int(struct bytebuf *out, int64_t value)
{
    char text[NUMTEXT_INT64_MAX];
    bytebuf_append(out, text, numtext_write_int64(text, value));
}

void json_write_float(struct bytebuf *out, double value)
{
    char text[NUMTEXT_DOUBLE_MAX];
    size_t len = numtext_write_double(text, value);

    bytebuf_append(out, text, len);
    if (memchr(text, '.', len) == NULL && memchr(text, 'e', len) == NULL)
        bytebuf_append_cstr(out, ".0");
}

void json_write_compact(struct bytebuf *out, struct slice source)
{
    bool in_string = false;
    size_t start = 0;

    for (size_t i = 0; i < source.len; i++) {
        uint8_t byte = source.data[i];
        if (byte == '"') {
            in_string = !in_string;
        } else if (in_string && byte == '\\') {
            i++;
        } else if (!in_string && (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t')) {
            bytebuf_append(out, source.data + start, i - start);
            start = i + 1;
        }
    }
    bytebuf_append(out, source.data + start, source.len - start);
}
