/*
 * Role: where a command finds its server, and one call of the admin port.
 *
 * An address comes from the option, else from the environment, else it is the default's. A call is
 * one request on a connection of its own: commands make few, and none that wait for each other.
 *
 * Invariants
 * (1) Proxies of the environment are not asked: the admin port is on this machine.
 * (2) An answer is kept up to ANSWER_MAX and no further.
 *
 * Ownership and shard: one thread; the caller frees the answer.
 *
 * Failure modes: reported on stderr, once, in words of the server where it gave any.
 */
#include "cli/endpoint.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (64u << 20)

const char *endpoint_address(const char *option, const char *variable, const char *fallback)
{
    ASSERT(variable && fallback);
    if (option)
        return option;
    const char *value = getenv(variable);
    return value && value[0] ? value : fallback;
}

void endpoint_escape(struct bytebuf *out, const char *text)
{
    ASSERT(text);
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (isalnum(c) || strchr("-._~", c))
            bytebuf_append_byte(out, c);
        else
            bytebuf_printf(out, "%%%02X", c);
    }
}

static size_t collect(char *data, size_t size, size_t count, void *arg)
{
    struct bytebuf *answer = arg;
    bytebuf_append(answer, data, size * count);
    return answer->failed ? 0 : size * count;
}

/* What the server says of the failure, or its status. */
static void report(const char *address, long status, const struct bytebuf *answer)
{
    json_t *object = json_loadb((const char *)answer->data, answer->len, 0, NULL);
    const json_t *error = object ? json_object_get(object, "error") : NULL;
    const json_t *text = json_is_object(error) ? json_object_get(error, "message")
                                               : json_object_get(object, "message");
    if (json_is_string(text))
        fprintf(stderr, "weir: %s\n", json_string_value(text));
    else
        fprintf(stderr, "weir: %s answers with HTTP status %ld\n", address, status);
    json_decref(object);
}

static CURL *prepare(const char *url, const char *method, const char *text,
                     struct curl_slist *headers, struct bytebuf *answer)
{
    ASSERT(url && method && answer);
    CURL *curl = curl_easy_init();
    if (!curl)
        return NULL;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 60000L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (text)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    return curl;
}

int endpoint_admin_call(const char *address, const char *method, const char *path,
                        const json_t *body, json_t **ret_answer)
{
    ASSERT(address && path[0] == '/' && ret_answer);
    struct bytebuf url, answer;
    bytebuf_init(&url, 8192);
    bytebuf_init(&answer, ANSWER_MAX);
    bytebuf_printf(&url, "http://%s%s", address, path);
    bytebuf_append_byte(&url, 0);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    CURL *curl =
        url.failed ? NULL : prepare((const char *)url.data, method, text, headers, &answer);
    int status = 1;
    *ret_answer = NULL;
    CURLcode code = curl ? curl_easy_perform(curl) : CURLE_OUT_OF_MEMORY;
    long http = 0;
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    if (code != CURLE_OK) {
        fprintf(stderr,
                "weir: no answer from %s: %s (is 'weir serve' running? --admin or WEIR_ADMIN names "
                "it)\n",
                address, curl_easy_strerror(code));
    } else if (http >= 300) {
        report(address, http, &answer);
    } else {
        if (answer.len)
            *ret_answer = json_loadb((const char *)answer.data, answer.len, 0, NULL);
        status = 0;
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    free(text);
    bytebuf_deinit(&url);
    bytebuf_deinit(&answer);
    return status;
}
