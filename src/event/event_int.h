/*
 * What the two directions of the event mapping share.
 */
#ifndef WEIR_EVENT_EVENT_INT_H
#define WEIR_EVENT_EVENT_INT_H

#include "amqp_types.h"
#include "event/event_map.h"

/* How a record value came out of the body. Numbers are stored in EVENT_SECTIONS_HEADER: never
 * change them. */
enum event_body {
    EVENT_BODY_PLAIN = 0,        /* one Data section, or no body */
    EVENT_BODY_VALUE_STRING = 1, /* text of a string value */
    EVENT_BODY_VALUE_BINARY = 2, /* bytes of a binary value */
    EVENT_BODY_RAW = 3,          /* the encoded body sections as they came */
    EVENT_BODY_VALUE_NULL = 4
};

/* The headers that carry AMQP properties, in the order of the properties section, then the two
 * annotations. */
enum event_name {
    EVENT_MESSAGE_ID,
    EVENT_USER_ID,
    EVENT_TO,
    EVENT_SUBJECT,
    EVENT_REPLY_TO,
    EVENT_CORRELATION_ID,
    EVENT_CONTENT_TYPE,
    EVENT_CONTENT_ENCODING,
    EVENT_ABSOLUTE_EXPIRY_TIME,
    EVENT_CREATION_TIME,
    EVENT_GROUP_ID,
    EVENT_GROUP_SEQUENCE,
    EVENT_REPLY_TO_GROUP_ID,
    EVENT_PROPERTY_COUNT,
    EVENT_PARTITION_KEY = EVENT_PROPERTY_COUNT,
    EVENT_PUBLISHER,
    EVENT_NAME_COUNT
};

struct slice event_name_text(enum event_name name);
/* EVENT_NAME_COUNT when text is none of them. */
enum event_name event_name_find(struct slice text);

#endif
