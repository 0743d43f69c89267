/*
 * SharedKey over libcurl: the string to sign is that of Azure Storage's "Authorize with Shared
 * Key", path style, where the account stands twice in the canonical resource.
 */
#include "cli/blob_client.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>

#define KEY_MAX 128
#define VERSION "2021-12-02"

struct transfer {
    CURL *curl;
    FILE *download;
    struct bytebuf *answer;
};

static size_t receive(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->download && status < 300)
        return fwrite(data, size, count, transfer->download) * size;
    bytebuf_append(transfer->answer, data, size * count);
    return transfer->answer->failed ? 0 : size * count;
}

/* The canonical query: keys lower case and in order already, "=" becomes ":" and the value decoded.
 */
static void add_query(struct bytebuf *text, const char *query)
{
    while (*query) {
        size_t len = strcspn(query, "&");
        size_t key = strcspn(query, "=&");
        int plain_len = 0;
        char *plain = curl_easy_unescape(NULL, query + key + 1, (int)(len - key - 1), &plain_len);
        bytebuf_append_byte(text, '\n');
        bytebuf_append(text, query, key);
        bytebuf_append_byte(text, ':');
        if (plain)
            bytebuf_append(text, plain, (size_t)plain_len);
        curl_free(plain);
        query += len + (query[len] == '&');
    }
}

static bool sign(const struct blob_client *client, const struct blob_request *request,
                 const char *date, char *out, size_t cap)
{
    unsigned char key[KEY_MAX], mac[EVP_MAX_MD_SIZE], encoded[128];
    unsigned mac_len = 0;
    size_t len = strlen(client->key);
    if (len == 0 || len % 4 || len / 4 * 3 > sizeof(key))
        return false;
    int key_len = EVP_DecodeBlock(key, (const unsigned char *)client->key, (int)len);
    if (key_len < 0)
        return false;
    for (size_t i = len; i > 0 && client->key[i - 1] == '='; i--)
        key_len--;
    char length[24] = "";
    if (request->upload && request->upload_size)
        snprintf(length, sizeof(length), "%" PRIu64, request->upload_size);
    struct bytebuf text;
    bytebuf_init(&text, 65536);
    bytebuf_printf(&text, "%s\n\n\n%s\n\n%s\n\n\n\n\n\n\n", request->method, length,
                   request->upload ? "application/octet-stream" : "");
    if (request->blob_type)
        bytebuf_printf(&text, "x-ms-blob-type:%s\n", request->blob_type);
    bytebuf_printf(&text, "x-ms-date:%s\nx-ms-version:%s\n/%s/%s%s", date, VERSION, client->account,
                   client->account, request->path);
    add_query(&text, request->query);
    bool good =
        !text.failed && HMAC(EVP_sha256(), key, key_len, text.data, text.len, mac, &mac_len);
    if (good) {
        EVP_EncodeBlock(encoded, mac, (int)mac_len);
        snprintf(out, cap, "Authorization: SharedKey %s:%s", client->account,
                 (const char *)encoded);
    }
    bytebuf_deinit(&text);
    return good;
}

static struct curl_slist *make_headers(const struct blob_client *client,
                                       const struct blob_request *request)
{
    char date[64], line[1024];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    if (!sign(client, request, date, line, sizeof(line)))
        return NULL;
    struct curl_slist *headers = curl_slist_append(NULL, line);
    snprintf(line, sizeof(line), "x-ms-date: %s", date);
    headers = curl_slist_append(headers, line);
    headers = curl_slist_append(headers, "x-ms-version: " VERSION);
    if (request->blob_type) {
        snprintf(line, sizeof(line), "x-ms-blob-type: %s", request->blob_type);
        headers = curl_slist_append(headers, line);
    }
    if (request->upload)
        headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
    return curl_slist_append(headers, "Expect:");
}

/* The service's own code and message stand in the body as XML. */
static void report(const char *address, long status, const struct bytebuf *answer)
{
    struct slice text = bytebuf_slice(answer);
    size_t from = slice_find(text, SLICE_LIT("<Message>"), 0),
           to = slice_find(text, SLICE_LIT("</Message>"), 0);
    size_t line = slice_find_byte(text, '\n', 0);
    if (from != SIZE_MAX && to != SIZE_MAX && to > from + 9) {
        size_t end = line != SIZE_MAX && line > from && line < to ? line : to;
        fprintf(stderr, "weir blob: %.*s\n", SLICE_FMT(slice_sub(text, from + 9, end - from - 9)));
    } else {
        fprintf(stderr, "weir blob: %s answers with HTTP status %ld\n", address, status);
    }
}

static CURLcode perform(CURL *curl, const char *url, const struct blob_request *request,
                        struct curl_slist *headers, struct transfer *transfer)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->upload) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_READDATA, request->upload);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->upload_size);
    }
    return curl_easy_perform(curl);
}

int blob_client_call(const struct blob_client *client, const struct blob_request *request)
{
    struct bytebuf url;
    bytebuf_init(&url, 65536);
    bytebuf_printf(&url, "http://%s/%s%s%s%s", client->address, client->account, request->path,
                   request->query[0] ? "?" : "", request->query);
    bytebuf_append_byte(&url, 0);
    struct curl_slist *headers = make_headers(client, request);
    struct transfer transfer = {curl_easy_init(), request->download, request->answer};
    int status = 1;
    if (!headers) {
        fprintf(stderr, "weir blob: the account's key is not Base64\n");
    } else if (transfer.curl && !url.failed) {
        CURLcode code = perform(transfer.curl, (const char *)url.data, request, headers, &transfer);
        long http = 0;
        curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &http);
        if (code != CURLE_OK)
            fprintf(stderr, "weir blob: %s: %s\n", client->address, curl_easy_strerror(code));
        else if (http >= 300)
            report(client->address, http, request->answer);
        else
            status = 0;
    }
    curl_easy_cleanup(transfer.curl);
    curl_slist_free_all(headers);
    bytebuf_deinit(&url);
    return status;
}
