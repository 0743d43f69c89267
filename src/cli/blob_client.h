/* Calls of the Blob service with a SharedKey signature, for the command line. */
#ifndef WEIR_CLI_BLOB_CLIENT_H
#define WEIR_CLI_BLOB_CLIENT_H

#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/bytebuf.h"

struct blob_client {
    const char *address; /* HOST:PORT */
    const char *account;
    const char *key; /* Base64 */
};

struct blob_request {
    const char *method;
    const char *path;  /* escaped, "/container/blob", without the account */
    const char *query; /* "comp=list&restype=container", escaped, keys in order; "" for none */
    FILE *upload;      /* body, with its size; NULL: none */
    uint64_t upload_size;
    FILE *download;         /* where a 2xx body goes; NULL: into answer */
    struct bytebuf *answer; /* XML answers and errors */
    const char *blob_type;  /* "BlockBlob" for uploads, else NULL */
};

/* 0 on 2xx; else the reason is on stderr and the result is 1. */
MUST_CHECK int blob_client_call(const struct blob_client *client,
                                const struct blob_request *request);

#endif
