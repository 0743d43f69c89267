/*
 * Errors as Event Hubs clients expect them: a condition, and a text that ends in tracking facts.
 *
 *     <text> TrackingId:<guid>_G<shard>, SystemTracker:weir, Timestamp:<ISO 8601>
 *
 * Invariants: (1) a condition is always a literal; (2) the text is cut to its buffer, never the
 * condition.
 *
 * Ownership and shard: owner; the encoding lies in the shard's error buffer until the next one.
 *
 * Failure: an encoding that does not fit is sent as null.
 */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/utf8.h"
#include "front/eventhubs/eh_int.h"

/* Text that repeats a peer's bytes: what is not UTF-8, or was cut inside a character, becomes question marks. */
static void text_clean(char *text, size_t len)
{
    bool good = utf8_valid(slice_make(text, len));
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c < 32 || c == 127 || (c >= 128 && !good))
            text[i] = '?';
    }
}

void eh_error_set(struct eh_error *error, struct eh_shard *part, const char *condition,
                  const char *format, ...)
{
    va_list args;
    ASSERT(condition);
    error->condition = condition;
    va_start(args, format);
    int len = vsnprintf(error->text, EH_TEXT_MAX + 1, format, args);
    va_end(args);
    if (len < 0)
        len = 0;
    size_t at = (size_t)len < EH_TEXT_MAX ? (size_t)len : EH_TEXT_MAX;
    text_clean(error->text, at);
    uint64_t a = random_u64(&part->shard->random), b = random_u64(&part->shard->random);
    int64_t wall_ms = reactor_wall_ms(part->shard->reactor);
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    (void)snprintf(error->text + at, sizeof(error->text) - at,
                   " TrackingId:%08x-%04x-%04x-%04x-%012llx_G%u, SystemTracker:weir, "
                   "Timestamp:%04d-%02d-%02dT%02d:%02d:%02d",
                   (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xffff,
                   (unsigned)(b >> 48), (unsigned long long)(b & 0xffffffffffffull),
                   part->shard->index, utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
                   utc.tm_min, utc.tm_sec);
    EH_COUNT(part->stat_refused, 1);
}

const char *eh_error_condition(enum err err)
{
    const char *condition = err_row(err)->amqp_condition;
    return condition[0] ? condition : "amqp:internal-error";
}

struct slice eh_error_encode(struct eh_shard *part, const struct eh_error *error)
{
    if (!error)
        return SLICE_NULL;
    bytebuf_clear(&part->error);
    struct amqp_error body = {.condition = slice_cstr(error->condition),
                              .description = slice_cstr(error->text)};
    amqp_error_encode(&part->error, &body);
    return part->error.failed ? SLICE_NULL : bytebuf_slice(&part->error);
}
