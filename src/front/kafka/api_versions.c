/*
 * ApiVersions: which keys and versions we serve. The one request whose unknown versions are
 * answered, and whose answer never has a tagged header.
 */
#include <ctype.h>

#include "front/kafka/kafka_int.h"
#include "kafka_api_versions.h"

/* Letters, digits, '-' and '.', beginning and ending with a letter or digit. */
static bool software_name_valid(struct slice text)
{
    if (text.len == 0 || !isalnum(text.data[0]) || !isalnum(text.data[text.len - 1]))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!isalnum(text.data[i]) && text.data[i] != '-' && text.data[i] != '.')
            return false;
    return true;
}

static void api_versions_fill(struct kafka_request *req, struct kafka_api_versions_response *answer)
{
    uint32_t count;
    const struct kafka_handler *rows = kafka_handlers(&count);
    answer->api_keys = ARENA_ARRAY(req->arena, struct kafka_api_versions_response_api, count);
    if (!answer->api_keys)
        return;
    answer->api_keys_count = (int32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(rows[i].version_min <= rows[i].version_max);
        answer->api_keys[i] =
            (struct kafka_api_versions_response_api){.api_key = rows[i].key,
                                                     .min_version = rows[i].version_min,
                                                     .max_version = rows[i].version_max};
    }
    /* No features are finalized: the newer group protocols and transactions stay off. */
    answer->finalized_features_epoch = 0;
}

void kafka_handle_api_versions(struct kafka_request *req)
{
    struct kafka_api_versions_request msg;
    if (!KAFKA_DECODE(req, api_versions, &msg)) {
        kafka_request_reject(req, "malformed");
        return;
    }
    struct kafka_api_versions_response answer;
    kafka_api_versions_response_init(&answer);
    if (req->version >= 3 && (!software_name_valid(msg.client_software_name) ||
                              !software_name_valid(msg.client_software_version)))
        answer.error_code = KAFKA_INVALID_REQUEST;
    else
        api_versions_fill(req, &answer);
    kafka_api_versions_response_encode(kafka_reply_begin(req), req->version, &answer);
    kafka_reply_end(req);
}

void kafka_reply_api_versions_unsupported(struct kafka_request *req)
{
    struct kafka_api_versions_response answer;
    kafka_api_versions_response_init(&answer);
    answer.error_code = KAFKA_UNSUPPORTED_VERSION;
    api_versions_fill(req, &answer);
    struct wire_writer *out = kafka_reply_begin(req);
    kafka_api_versions_response_encode(out, 0, &answer);
    kafka_reply_end(req);
}
