/*
 * Shared access signatures: tokens that name a resource and an expiry, signed with a key of the
 * configuration.
 */
#ifndef WEIR_FRONT_EVENTHUBS_SAS_H
#define WEIR_FRONT_EVENTHUBS_SAS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct eventhubs_config;

enum { EH_RESOURCE_MAX = 512 };

/* What a good token allows. */
struct eh_grant {
    char resource[EH_RESOURCE_MAX]; /* path without scheme and host, lower case, "" for the
                                       namespace */
    unsigned rights;                /* EVENTHUBS_* */
    int64_t expires_s;              /* Unix seconds */
};

enum eh_sas_result {
    EH_SAS_OK,
    EH_SAS_MALFORMED, /* 400 */
    EH_SAS_REFUSED    /* 401 */
};

/* Checks "SharedAccessSignature sr=...&sig=...&se=...&skn=..." with fields in any order. */
enum eh_sas_result eh_sas_check(const struct eventhubs_config *config, struct slice token,
                                int64_t now_s, struct eh_grant *ret_grant, struct err_info *info);
/* Checks a key name and key given in plain (SASL PLAIN). */
bool eh_key_check(const struct eventhubs_config *config, struct slice name, struct slice key,
                  struct eh_grant *ret_grant);
/* Whether the grant covers this right on this hub at this time. right 0: any right. */
bool eh_grant_covers(const struct eh_grant *grant, unsigned right, struct slice hub, int64_t now_s);

#endif
