/* Kafka's numbers for our errors: the table's, with what may pass by itself turned into codes that
 * clients retry. */
#include "front/kafka/kafka_int.h"

int16_t kafka_code_of(enum err err)
{
    const struct err_row *row = err_row(err);
    ASSERT((err == ERR_OK) == (row->kafka_code == KAFKA_NONE)); /* no failure is told as success */
    if (row->kafka_code != -1)
        return row->kafka_code;
    /* An unknown outcome is never answered with -1: clients would give up and send again with a new
     * sequence. */
    return row->class == ERR_CLASS_RETRIABLE ? KAFKA_NOT_LEADER : -1;
}

int16_t kafka_code_of_group(enum err err)
{
    const struct err_row *row = err_row(err);
    ASSERT((err == ERR_OK) == (row->kafka_code == KAFKA_NONE));
    if (err == ERR_CLOSING || err == ERR_NOT_LEADER || err == ERR_TIMEOUT)
        return KAFKA_COORDINATOR_NOT_AVAILABLE;
    if (row->kafka_code != -1)
        return row->kafka_code;
    return row->class == ERR_CLASS_RETRIABLE ? KAFKA_COORDINATOR_NOT_AVAILABLE : -1;
}
