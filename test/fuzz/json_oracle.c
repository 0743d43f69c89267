/* jansson behind neutral names. */
#include "json_oracle.h"

#include <jansson.h>
#include <string.h>

static enum oracle_verdict refusal(const json_error_t *error, const char *text, size_t len)
{
    switch (json_error_code(error)) {
    case json_error_numeric_overflow:
    case json_error_null_character:
    case json_error_null_byte_in_key:
    case json_error_stack_overflow:
    case json_error_out_of_memory:
        return ORACLE_UNSURE;
    default: /* lone surrogates are a syntax error there */
        return len >= 2 && memmem(text, len, "\\u", 2) ? ORACLE_UNSURE : ORACLE_REFUSED;
    }
}

void *json_oracle_load(const void *text, size_t len, enum oracle_verdict *ret_verdict)
{
    json_error_t error;
    json_t *document = json_loadb(text, len, JSON_ALLOW_NUL, &error);
    if (!document) {
        *ret_verdict = refusal(&error, text, len);
        return NULL;
    }
    *ret_verdict = json_is_object(document) ? ORACLE_OBJECT : ORACLE_OTHER;
    json_decref(document);
    return json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
}

void json_oracle_free(void *document)
{
    json_decref(document);
}

size_t json_oracle_fields(void *document)
{
    return json_object_size(document);
}

struct oracle_value json_oracle_get(void *document, const char *name)
{
    json_t *value = NULL;
    const char *key;
    json_t *item;
    json_object_foreach(document, key, item)
    {
        if (strcmp(key, name) == 0)
            value = item;
    }
    struct oracle_value result = {0};
    if (!value)
        return result;
    switch (json_typeof(value)) {
    case JSON_NULL:
        result.kind = ORACLE_NULL;
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        result.kind = ORACLE_BOOLEAN;
        result.boolean = json_is_true(value);
        break;
    case JSON_INTEGER:
        result.kind = ORACLE_INTEGER;
        result.integer = json_integer_value(value);
        break;
    case JSON_REAL:
        result.kind = ORACLE_REAL;
        result.real = json_real_value(value);
        break;
    case JSON_STRING:
        result.kind = ORACLE_STRING;
        result.text = json_string_value(value);
        result.len = json_string_length(value);
        break;
    default:
        result.kind = ORACLE_COMPOUND;
    }
    return result;
}
