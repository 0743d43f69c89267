/*
 * SASL: which mechanisms are offered and what each proves.
 *
 *     server: mechanisms -> client: init -> server: outcome 0 (ok) or 1 (auth)
 *
 * MSSBCBS, ANONYMOUS and EXTERNAL prove nothing: rights come from tokens put to $cbs. PLAIN carries
 * a key's name and value, and gives that key's rights to the whole connection.
 *
 * Invariants: (1) the order of mechanisms is that of the public service; one client takes only the
 * first.
 *
 * Ownership and shard: the connection's. Failure: a wrong key gives outcome 1 and the connection is
 * closed.
 */
#include "base/diag.h"
#include "front/eventhubs/eh_int.h"

static void sasl_send(struct eh_conn *conn)
{
    struct bytebuf *frame = &conn->part->frame;
    if (frame->failed)
        return;
    frame->data[5] = AMQP_FRAME_TYPE_SASL;
    eh_conn_send(conn);
}

void eh_sasl_start(struct eh_conn *conn)
{
    static const uint8_t offered[] = "\xe0\x23\x04\xa3\x07MSSBCBS\x05PLAIN\x09"
                                     "ANONYMOUS\x08"
                                     "EXTERNAL";
    struct amqp_sasl_mechanisms mechanisms = {.mechanisms =
                                                  slice_make(offered, sizeof(offered) - 1)};
    _Static_assert(sizeof(offered) - 1 == 2 + 2 + 8 + 6 + 10 + 9,
                   "the array's size byte counts these");
    ASSERT(offered[1] == sizeof(offered) - 3);
    amqp_sasl_mechanisms_encode(eh_conn_frame(conn, 0), &mechanisms);
    sasl_send(conn);
}

static void sasl_outcome(struct eh_conn *conn, bool good)
{
    struct amqp_sasl_outcome outcome = {
        .code = good ? 0 : 1, .additional_data = good ? SLICE_LIT("Welcome!") : SLICE_NULL};
    amqp_sasl_outcome_encode(eh_conn_frame(conn, 0), &outcome);
    sasl_send(conn);
    if (good) {
        conn->state = EH_CONN_AMQP_HEADER;
        return;
    }
    EH_COUNT(conn->part->stat_refused, 1);
    diag(DIAG_WARN, "eventhubs", "peer=%s text=\"SASL refused\"", stream_peer(conn->stream));
    conn->state = EH_CONN_CLOSED;
    stream_close(conn->stream);
}

/* authorization id, NUL, key name, NUL, key. */
static bool sasl_plain(struct eh_conn *conn, struct slice response)
{
    struct eh_grant grant;
    size_t first = slice_find_byte(response, 0, 0);
    size_t second = first == SIZE_MAX ? SIZE_MAX : slice_find_byte(response, 0, first + 1);
    if (second == SIZE_MAX)
        return false;
    struct slice name = slice_sub(response, first + 1, second - first - 1);
    struct slice key = slice_sub(response, second + 1, SIZE_MAX);
    return eh_key_check(conn->part->config, name, key, &grant) && eh_conn_grant(conn, &grant);
}

void eh_sasl_frame(struct eh_conn *conn, const struct amqp_value *body)
{
    struct amqp_sasl_init init;
    ASSERT(conn->state == EH_CONN_SASL);
    if (!amqp_sasl_init_decode(body, &init)) {
        sasl_outcome(conn, false);
        return;
    }
    if (slice_equal(init.mechanism, SLICE_LIT("PLAIN")))
        sasl_outcome(conn, sasl_plain(conn, init.initial_response));
    else
        sasl_outcome(conn, slice_equal(init.mechanism, SLICE_LIT("MSSBCBS")) ||
                               slice_equal(init.mechanism, SLICE_LIT("ANONYMOUS")) ||
                               slice_equal(init.mechanism, SLICE_LIT("EXTERNAL")));
}
