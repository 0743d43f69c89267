/*
 * Role: records as text, by the letters of a format or as JSON.
 *
 * Escapes are taken out once, before the first record; what is left is copied byte for byte, and
 * the letters behind percent signs are looked up per record. Keys and values may hold any bytes:
 * they are written as they are, and only JSON asks for UTF-8.
 *
 * Ownership and shard: one thread; records are the library's.
 *
 * Failure modes: a wrong escape or letter is found before anything is written.
 */
#include "cli/format.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/assert.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool format_unescape(const char *text, struct bytebuf *out, const char **ret_wrong)
{
    static const char letters[] = "nrt0\\", bytes[] = "\n\r\t\0\\";
    for (const char *at = text; *at; at++) {
        if (*at != '\\') {
            bytebuf_append_byte(out, (uint8_t)*at);
            continue;
        }
        *ret_wrong = at++;
        const char *letter = *at ? strchr(letters, *at) : NULL;
        if (letter) {
            bytebuf_append_byte(out, (uint8_t)bytes[letter - letters]);
        } else if (*at == 'x' && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
            bytebuf_append_byte(out, (uint8_t)(hex_digit(at[1]) * 16 + hex_digit(at[2])));
            at += 2;
        } else {
            return false;
        }
    }
    *ret_wrong = NULL;
    return !out->failed;
}

const char *format_check(struct slice format)
{
    ASSERT(format.data || format.len == 0);
    for (size_t i = 0; i < format.len; i++) {
        if (format.data[i] != '%')
            continue;
        i++;
        /* strchr finds a zero byte in every text. */
        if (i == format.len || format.data[i] == 0 || !strchr("tpokKsSTh%", format.data[i]))
            return (const char *)&format.data[i - 1];
    }
    return NULL;
}

static void write_bytes(FILE *out, const void *data, size_t len)
{
    ASSERT(data || len == 0);
    if (len)
        fwrite(data, 1, len, out);
}

static void write_headers(FILE *out, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    const char *name;
    const void *value;
    size_t len;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        fprintf(out, "%s%s=", i ? "," : "", name);
        if (value)
            write_bytes(out, value, len);
        else
            fputs("NULL", out);
    }
}

static void write_letter(FILE *out, char letter, const rd_kafka_message_t *message)
{
    switch (letter) {
    case 't':
        fputs(rd_kafka_topic_name(message->rkt), out);
        break;
    case 'p':
        fprintf(out, "%" PRId32, message->partition);
        break;
    case 'o':
        fprintf(out, "%" PRId64, message->offset);
        break;
    case 'k':
        write_bytes(out, message->key, message->key_len);
        break;
    case 'K':
        fprintf(out, "%zd", message->key ? (ssize_t)message->key_len : -1);
        break;
    case 's':
        write_bytes(out, message->payload, message->len);
        break;
    case 'S':
        fprintf(out, "%zd", message->payload ? (ssize_t)message->len : -1);
        break;
    case 'T':
        fprintf(out, "%" PRId64, rd_kafka_message_timestamp(message, NULL));
        break;
    case 'h':
        write_headers(out, message);
        break;
    default:
        fputc(letter, out);
    }
}

void format_write(FILE *out, struct slice format, const rd_kafka_message_t *message)
{
    ASSERT(out);
    DASSERT(!format_check(format)); /* once per record: the command checked it */
    for (size_t i = 0; i < format.len; i++) {
        if (format.data[i] == '%' && i + 1 < format.len)
            write_letter(out, (char)format.data[++i], message);
        else
            fputc(format.data[i], out);
    }
}

/* Bytes as a JSON string; what is not UTF-8 is replaced, absent bytes are null. */
static json_t *json_bytes(const void *data, size_t len)
{
    if (!data)
        return json_null();
    json_t *text = json_stringn(data, len);
    if (text)
        return text;
    struct bytebuf clean;
    bytebuf_init(&clean, len * 3 + 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = ((const uint8_t *)data)[i];
        if (byte < 0x80)
            bytebuf_append_byte(&clean, byte);
        else
            bytebuf_append_cstr(&clean, "\xef\xbf\xbd");
    }
    text = clean.failed ? json_null() : json_stringn((const char *)clean.data, clean.len);
    bytebuf_deinit(&clean);
    return text;
}

static json_t *json_headers(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    json_t *list = json_array();
    const char *name;
    const void *value;
    size_t len;
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        json_array_append_new(list, json_bytes(name, strlen(name)));
        json_array_append_new(list, json_bytes(value, len));
    }
    return list;
}

static const char *timestamp_kind(rd_kafka_timestamp_type_t type)
{
    switch (type) {
    case RD_KAFKA_TIMESTAMP_CREATE_TIME:
        return "create";
    case RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME:
        return "logappend";
    default:
        return "unknown";
    }
}

void format_write_json(FILE *out, const rd_kafka_message_t *message)
{
    ASSERT(out && message->rkt);
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    json_t *object = json_object();
    json_object_set_new(object, "topic", json_string(rd_kafka_topic_name(message->rkt)));
    json_object_set_new(object, "partition", json_integer(message->partition));
    json_object_set_new(object, "offset", json_integer(message->offset));
    json_object_set_new(object, "tstype", json_string(timestamp_kind(type)));
    json_object_set_new(object, "ts", json_integer(timestamp));
    json_t *headers = json_headers(message);
    if (headers)
        json_object_set_new(object, "headers", headers);
    json_object_set_new(object, "key", json_bytes(message->key, message->key_len));
    json_object_set_new(object, "payload", json_bytes(message->payload, message->len));
    json_dumpf(object, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(object);
}
