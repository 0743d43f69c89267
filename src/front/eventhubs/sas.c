/*
 * Shared access signatures.
 *
 *     SharedAccessSignature sr=<E(resource)>&sig=<E(base64(HMAC-SHA256(key, E(resource) "\n"
 * se)))>&se=<seconds>&skn=<E(name)>
 *
 * The signature covers the bytes of sr and se as they came, since encoders differ in the case of
 * hex digits.
 *
 * Invariants
 *  (1) Signatures and keys are compared in constant time.
 *  (2) Every key of that name is tried; a hub's key never grants beyond its hub.
 *
 * Ownership and shard: pure functions over the configuration; any shard.
 *
 * Failure: malformed and refused tokens are told apart, as clients react differently; no text
 * repeats the token.
 */
#include "front/eventhubs/sas.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/numtext.h"
#include "front/eventhubs/config.h"

enum { SIGNATURE_LEN = 32, GRACE_S = 60 };

struct token {
    struct slice resource; /* as sent, percent-encoded */
    struct slice signature;
    struct slice expiry;
    struct slice key_name;
};

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
        return (c | 0x20) - 'a' + 10;
    return -1;
}

/* Percent-decodes into out; the length, or SIZE_MAX when malformed or too long. */
static size_t percent_decode(struct slice text, char *out, size_t cap)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (len == cap)
            return SIZE_MAX;
        if (c == '%') {
            if (i + 2 >= text.len)
                return SIZE_MAX;
            int high = hex_digit(text.data[i + 1]);
            int low = hex_digit(text.data[i + 2]);
            if (high < 0 || low < 0)
                return SIZE_MAX;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        out[len++] = (char)c;
    }
    return len;
}

static bool token_split(struct slice text, struct token *token)
{
    static const struct slice prefix = {(const uint8_t *)"SharedAccessSignature ", 22};
    *token = (struct token){0};
    if (!slice_starts_with(text, prefix))
        return false;
    text = slice_sub(text, prefix.len, SIZE_MAX);
    while (text.len > 0) {
        size_t end = slice_find_byte(text, '&', 0);
        struct slice part = slice_sub(text, 0, end);
        text = end == SIZE_MAX ? SLICE_NULL : slice_sub(text, end + 1, SIZE_MAX);
        size_t equal = slice_find_byte(part, '=', 0);
        struct slice name = slice_sub(part, 0, equal);
        struct slice value = equal == SIZE_MAX ? SLICE_NULL : slice_sub(part, equal + 1, SIZE_MAX);
        if (slice_equal(name, SLICE_LIT("sr")))
            token->resource = value;
        else if (slice_equal(name, SLICE_LIT("sig")))
            token->signature = value;
        else if (slice_equal(name, SLICE_LIT("se")))
            token->expiry = value;
        else if (slice_equal(name, SLICE_LIT("skn")))
            token->key_name = value;
    }
    return token->resource.len > 0 && token->signature.len > 0 && token->expiry.len > 0;
}

static bool resource_set(struct slice path, char out[EH_RESOURCE_MAX])
{
    if (path.len >= EH_RESOURCE_MAX)
        return false;
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[path.len] = 0;
    return true;
}

/* The path of a decoded resource in lower case, without scheme, host and slashes at its ends. */
static bool resource_path(struct slice decoded, char out[EH_RESOURCE_MAX])
{
    size_t scheme = slice_find(decoded, SLICE_LIT("://"), 0);
    if (scheme != SIZE_MAX)
        decoded = slice_sub(decoded, scheme + 3, SIZE_MAX);
    size_t slash = slice_find_byte(decoded, '/', 0);
    struct slice path = slash == SIZE_MAX ? SLICE_NULL : slice_sub(decoded, slash + 1, SIZE_MAX);
    while (path.len > 0 && path.data[path.len - 1] == '/')
        path.len--;
    return resource_set(path, out);
}

static bool signature_holds(const struct eh_key *key, const struct token *token,
                            const uint8_t *sent)
{
    uint8_t message[2 * EH_RESOURCE_MAX + 64], made[EVP_MAX_MD_SIZE];
    unsigned made_len = 0;
    size_t len = token->resource.len + 1 + token->expiry.len;
    if (len > sizeof(message))
        return false;
    memcpy(message, token->resource.data, token->resource.len);
    message[token->resource.len] = '\n';
    memcpy(message + token->resource.len + 1, token->expiry.data, token->expiry.len);
    if (!HMAC(EVP_sha256(), key->key.data, (int)key->key.len, message, len, made, &made_len))
        return false;
    return made_len == SIGNATURE_LEN && CRYPTO_memcmp(made, sent, SIGNATURE_LEN) == 0;
}

/* The 32 bytes that a percent-encoded base64 signature stands for. */
static bool signature_decode(struct slice text, uint8_t out[SIGNATURE_LEN])
{
    char base64[64];
    uint8_t bytes[64];
    size_t len = percent_decode(text, base64, sizeof(base64));
    if (len != 44 || base64[43] != '=')
        return false;
    int got = EVP_DecodeBlock(bytes, (const unsigned char *)base64, (int)len);
    if (got != SIGNATURE_LEN + 1) /* 33: one byte of padding is counted */
        return false;
    memcpy(out, bytes, SIGNATURE_LEN);
    return true;
}

/* Cuts what a key for one hub may grant. */
static void grant_fill(const struct eh_key *key, struct eh_grant *grant)
{
    grant->rights = key->rights & EVENTHUBS_MANAGE
                        ? EVENTHUBS_SEND | EVENTHUBS_LISTEN | EVENTHUBS_MANAGE
                        : key->rights;
}

static bool key_covers_resource(const struct eh_key *key, const char *resource)
{
    if (key->hub.len == 0)
        return true;
    struct slice path = slice_cstr(resource);
    return slice_equal_nocase(slice_sub(path, 0, key->hub.len), key->hub) &&
           (path.len == key->hub.len || path.data[key->hub.len] == '/');
}

enum eh_sas_result eh_sas_check(const struct eventhubs_config *config, struct slice text,
                                int64_t now_s, struct eh_grant *ret_grant, struct err_info *info)
{
    struct token token;
    uint8_t signature[SIGNATURE_LEN];
    char decoded[EH_RESOURCE_MAX], name[EH_NAME_MAX];
    *ret_grant = (struct eh_grant){0};
    bool whole = token_split(text, &token) && token.resource.len <= 2 * EH_RESOURCE_MAX &&
                 token.expiry.len < 32;
    size_t len = whole ? percent_decode(token.resource, decoded, sizeof(decoded)) : SIZE_MAX;
    size_t name_len = percent_decode(token.key_name, name, sizeof(name));
    if (len == SIZE_MAX || name_len == SIZE_MAX ||
        !resource_path(slice_make(decoded, len), ret_grant->resource) ||
        !numtext_read_int64(token.expiry, &ret_grant->expires_s)) {
        (void)err_info_set(info, ERR_INVALID_REQUEST,
                           "MalformedToken: The token is not a shared access signature.");
        return EH_SAS_MALFORMED;
    }
    if (!signature_decode(token.signature, signature))
        memset(signature, 0, sizeof(signature));
    bool good = false;
    for (uint32_t i = 0; i < config->key_count && !good; i++) {
        const struct eh_key *key = &config->keys[i];
        bool named =
            config->options.key_for_any_name || slice_equal(key->name, slice_make(name, name_len));
        good = named && signature_holds(key, &token, signature) &&
               key_covers_resource(key, ret_grant->resource);
        if (good)
            grant_fill(key, ret_grant);
    }
    if (!good) {
        (void)err_info_set(info, ERR_UNAUTHORIZED,
                           "InvalidSignature: The token has an invalid signature.");
        return EH_SAS_REFUSED;
    }
    if (ret_grant->expires_s <= now_s) {
        (void)err_info_set(info, ERR_UNAUTHORIZED,
                           "ExpiredToken: The token is expired. Expiration time: '%lld'.",
                           (long long)ret_grant->expires_s);
        return EH_SAS_REFUSED;
    }
    return EH_SAS_OK;
}

bool eh_key_check(const struct eventhubs_config *config, struct slice name, struct slice key,
                  struct eh_grant *ret_grant)
{
    *ret_grant = (struct eh_grant){.expires_s = INT64_MAX};
    for (uint32_t i = 0; i < config->key_count; i++) {
        const struct eh_key *row = &config->keys[i];
        bool named = config->options.key_for_any_name || slice_equal(row->name, name);
        if (named && row->key.len == key.len &&
            CRYPTO_memcmp(row->key.data, key.data, key.len) == 0) {
            grant_fill(row, ret_grant);
            return resource_set(row->hub, ret_grant->resource);
        }
    }
    return false;
}

bool eh_grant_covers(const struct eh_grant *grant, unsigned right, struct slice hub, int64_t now_s)
{
    struct slice path = slice_cstr(grant->resource);
    if (grant->expires_s < INT64_MAX - GRACE_S && grant->expires_s + GRACE_S <= now_s)
        return false;
    if (right != 0 && (grant->rights & right) == 0)
        return false;
    if (path.len == 0 || hub.len == 0 || path.data[0] == '$')
        return true;
    struct slice first = slice_sub(path, 0, slice_find_byte(path, '/', 0));
    return slice_equal_nocase(first, hub);
}
