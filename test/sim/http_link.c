#include "http_link.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/datetime.h"
#include "io/reactor.h"
#include "io/stream.h"
#include "wire/base64.h"

#define ACCOUNT "devstoreaccount1"
#define ACCOUNT_KEY                                                                                \
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define VERSION "2021-12-02"

struct http_link {
    struct stream *stream;
    http_link_fn fn; /* NULL: dropped */
    void *arg;
};

/* Base64 of the HMAC-SHA256 of the text. */
static void sign(const char *text, char out[64])
{
    uint8_t key[128];
    size_t key_len = 0;
    uint8_t mac[32];
    unsigned mac_len = 0;
    if (!base64_decode(slice_cstr(ACCOUNT_KEY), key, &key_len))
        abort();
    HMAC(EVP_sha256(), key, (int)key_len, (const uint8_t *)text, strlen(text), mac, &mac_len);
    out[base64_encode(slice_make(mac, mac_len), out)] = 0;
}

void http_link_put(struct http_link *link, const char *container, const char *blob, int64_t wall_ms,
                   struct slice body)
{
    char date[DATETIME_HTTP_LEN + 1] = {0};
    char text[512];
    char signature[64];
    char head[1024];
    datetime_write_http(date, wall_ms * DATETIME_TICKS_PER_MS);
    snprintf(text, sizeof(text),
             "PUT\n\n\n%zu\n\napplication/"
             "octet-stream\n\n\n\n\n\n\nx-ms-blob-type:BlockBlob\nx-ms-date:%s\n"
             "x-ms-version:" VERSION "\n/" ACCOUNT "/" ACCOUNT "/%s/%s",
             body.len, date, container, blob);
    sign(text, signature);
    snprintf(
        head, sizeof(head),
        "PUT /" ACCOUNT "/%s/%s HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nContent-Length: %zu\r\n"
        "Content-Type: application/octet-stream\r\nx-ms-blob-type: BlockBlob\r\nx-ms-date: %s\r\n"
        "x-ms-version: " VERSION "\r\nAuthorization: SharedKey " ACCOUNT ":%s\r\n\r\n",
        container, blob, body.len, date, signature);
    stream_write(link->stream, slice_cstr(head));
    stream_write(link->stream, body);
}

/* Length of the body that the head announces; 0 when it names none. */
static size_t body_length(struct slice head)
{
    size_t at = slice_find(head, SLICE_LIT("\r\nContent-Length: "), 0);
    size_t len = 0;
    if (at == SIZE_MAX)
        return 0;
    for (at += 18; at < head.len && head.data[at] >= '0' && head.data[at] <= '9'; at++)
        len = len * 10 + (size_t)(head.data[at] - '0');
    return len;
}

static void link_data(struct stream *stream, void *arg)
{
    struct http_link *link = arg;
    struct slice in = stream_input(stream);
    size_t end = slice_find(in, SLICE_LIT("\r\n\r\n"), 0);
    if (end == SIZE_MAX)
        return;
    struct slice head = slice_sub(in, 0, end + 2);
    size_t total = end + 4 + body_length(head);
    if (in.len < total || head.len < 12)
        return;
    int status = (head.data[9] - '0') * 100 + (head.data[10] - '0') * 10 + (head.data[11] - '0');
    stream_consume(stream, total);
    if (status != 100 && link->fn)
        link->fn(link->arg, status);
}

static void link_close(struct stream *stream, enum err reason, void *arg)
{
    struct http_link *link = arg;
    http_link_fn fn = link->fn;
    void *fn_arg = link->arg;
    free(link);
    if (fn)
        fn(fn_arg, 0);
}

static const struct stream_ops link_ops = {.on_data = link_data, .on_close = link_close};

struct http_link *http_link_dial(struct reactor *reactor, uint16_t port, http_link_fn fn, void *arg)
{
    struct http_link *link = calloc(1, sizeof(*link));
    struct stream_config config = {0};
    struct err_info info;
    link->fn = fn;
    link->arg = arg;
    link->stream = stream_connect(reactor, "127.0.0.1", port, &config, &link_ops, link, &info);
    if (link->stream)
        return link;
    free(link);
    return NULL;
}

void http_link_drop(struct http_link *link)
{
    link->fn = NULL;
    stream_abort(link->stream, ERR_OK);
}
