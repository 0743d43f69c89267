/*
 * `weir blob`: list, get and put blobs by the Blob service's own interface.
 */
#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/blob_client.h"
#include "cli/cli.h"
#include "cli/endpoint.h"
#include "cli/output.h"

#define ANSWER_MAX (64u << 20)
#define TEXT_MAX 4096
#define DEVELOPMENT_KEY                                                                            \
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#define OPTION_OUTPUT(target)                                                                      \
    {                                                                                              \
        "output", 'o', ARG_CHOICE, target, NULL, "form of the output", OUTPUT_FORMATS, 0, 0        \
    }
#define CLIENT_OPTIONS(client)                                                                     \
    {"blob",                                                                                       \
     0,                                                                                            \
     ARG_TEXT,                                                                                     \
     &(client).address,                                                                            \
     "HOST:PORT",                                                                                  \
     "the Blob door (default 127.0.0.1:10000, WEIR_BLOB)",                                         \
     NULL,                                                                                         \
     0,                                                                                            \
     0},                                                                                           \
        {"account", 0, ARG_TEXT, &(client).account, "NAME", "account (default devstoreaccount1)",  \
         NULL,      0, 0},                                                                         \
    {                                                                                              \
        "key", 0, ARG_TEXT, &(client).key, "BASE64",                                               \
            "its key (default: WEIR_BLOB_KEY, else the development key)", NULL, 0, 0               \
    }
#define CLIENT_INIT                                                                                \
    {                                                                                              \
        NULL, "devstoreaccount1", NULL                                                             \
    }

static void client_complete(struct blob_client *client)
{
    client->address = ENDPOINT_BLOB(client->address);
    client->key = endpoint_address(client->key, "WEIR_BLOB_KEY", DEVELOPMENT_KEY);
}

/* "container/some/blob" as an escaped path: the slashes stay, one at the end too. */
static void escape_path(struct bytebuf *out, const char *name)
{
    char part[TEXT_MAX];
    bool more = *name != '\0';
    while (more) {
        size_t len = strcspn(name, "/");
        snprintf(part, sizeof(part), "%.*s", (int)len, name);
        bytebuf_append_byte(out, '/');
        endpoint_escape(out, part);
        more = name[len] == '/';
        name += len + more;
    }
}

/* ---- list ---- */

/* Reads <Blob> or <Container> elements of a listing into rows. */
struct listing {
    json_t *rows;
    json_t *row;
    char text[TEXT_MAX];
    size_t len;
    char marker[TEXT_MAX];
};

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct listing *listing = arg;
    listing->len = 0;
    if (strcmp(name, "Blob") == 0 || strcmp(name, "Container") == 0) {
        json_decref(listing->row);
        listing->row = json_object();
    }
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
    struct listing *listing = arg;
    size_t room = sizeof(listing->text) - 1 - listing->len;
    size_t take = (size_t)len < room ? (size_t)len : room;
    memcpy(listing->text + listing->len, text, take);
    listing->len += take;
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
    struct listing *listing = arg;
    listing->text[listing->len] = '\0';
    if (strcmp(name, "NextMarker") == 0) {
        memcpy(listing->marker, listing->text, listing->len + 1);
    } else if (listing->row && (strcmp(name, "Blob") == 0 || strcmp(name, "Container") == 0)) {
        json_array_append_new(listing->rows, listing->row);
        listing->row = NULL;
    } else if (listing->row && strcmp(name, "Name") == 0) {
        json_object_set_new(listing->row, "name", json_string(listing->text));
    } else if (listing->row && strcmp(name, "Content-Length") == 0) {
        json_object_set_new(listing->row, "size", json_integer(strtoll(listing->text, NULL, 10)));
    } else if (listing->row && strcmp(name, "Last-Modified") == 0) {
        json_object_set_new(listing->row, "modified", json_string(listing->text));
    }
    listing->len = 0;
}

static bool parse_listing(struct listing *listing, const struct bytebuf *answer)
{
    XML_Parser parser = XML_ParserCreate("UTF-8");
    if (!parser)
        return false;
    listing->marker[0] = '\0';
    XML_SetUserData(parser, listing);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_text);
    bool good = XML_Parse(parser, (const char *)answer->data, (int)answer->len, 1) == XML_STATUS_OK;
    XML_ParserFree(parser);
    return good;
}

/* One page; the canonical query wants its keys in order. */
static int list_page(const struct blob_client *client, struct listing *listing,
                     const char *container, const char *prefix)
{
    struct bytebuf path, query, answer;
    bytebuf_init(&path, 65536);
    bytebuf_init(&query, 65536);
    bytebuf_init(&answer, ANSWER_MAX);
    escape_path(&path, container);
    if (!container[0])
        bytebuf_append_byte(&path, '/');
    bytebuf_append_cstr(&query, "comp=list");
    if (listing->marker[0]) {
        bytebuf_append_cstr(&query, "&marker=");
        endpoint_escape(&query, listing->marker);
    }
    if (prefix[0]) {
        bytebuf_append_cstr(&query, "&prefix=");
        endpoint_escape(&query, prefix);
    }
    if (container[0])
        bytebuf_append_cstr(&query, "&restype=container");
    bytebuf_append_byte(&path, 0);
    bytebuf_append_byte(&query, 0);
    int status = 1;
    if (!path.failed && !query.failed)
        status = blob_client_call(client, &(struct blob_request){.method = "GET",
                                                                 .path = (const char *)path.data,
                                                                 .query = (const char *)query.data,
                                                                 .answer = &answer});
    if (status == 0 && !parse_listing(listing, &answer)) {
        fprintf(stderr, "weir blob: the listing is not XML\n");
        status = 1;
    }
    bytebuf_deinit(&path);
    bytebuf_deinit(&query);
    bytebuf_deinit(&answer);
    return status;
}

static int blob_ls(int argc, char **argv)
{
    struct blob_client client = CLIENT_INIT;
    const char *format = "table";
    const struct arg_option options[] = {CLIENT_OPTIONS(client), OPTION_OUTPUT(&format), {0}};
    const struct arg_command command = {
        "blob ls", "[CONTAINER[/PREFIX]]", "Lists containers, or the blobs of one.", NULL, 0, 1,
        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    client_complete(&client);
    char container[TEXT_MAX] = "";
    const char *where = operands.count ? operands.items[0] : "";
    size_t len = strcspn(where, "/");
    snprintf(container, sizeof(container), "%.*s", (int)len, where);
    struct listing *listing = calloc(1, sizeof(*listing));
    if (!listing)
        return 1;
    listing->rows = json_array();
    int status;
    do {
        status = list_page(&client, listing, container, where[len] ? where + len + 1 : "");
    } while (status == 0 && listing->marker[0]);
    static const char *const columns[] = {"name", "size", "modified"};
    static const char *const container_columns[] = {"name", "modified"};
    if (status == 0)
        status = container[0] ? output_rows(format, listing->rows, columns, 3)
                              : output_rows(format, listing->rows, container_columns, 2);
    json_decref(listing->rows);
    json_decref(listing->row);
    free(listing);
    return status;
}

/* ---- get and put ---- */

static int transfer(const struct blob_client *client, const char *method, const char *name,
                    FILE *upload, uint64_t size, FILE *download)
{
    struct bytebuf path, answer;
    bytebuf_init(&path, 65536);
    bytebuf_init(&answer, 1u << 20);
    escape_path(&path, name);
    bytebuf_append_byte(&path, 0);
    int status = 1;
    if (!path.failed)
        status = blob_client_call(client,
                                  &(struct blob_request){.method = method,
                                                         .path = (const char *)path.data,
                                                         .query = "",
                                                         .upload = upload,
                                                         .upload_size = size,
                                                         .download = download,
                                                         .answer = &answer,
                                                         .blob_type = upload ? "BlockBlob" : NULL});
    bytebuf_deinit(&path);
    bytebuf_deinit(&answer);
    return status;
}

/* Where a download goes: a file that was there is replaced only by a whole blob. */
struct target {
    const char *name; /* NULL: standard output */
    FILE *file;
    char partial[TEXT_MAX]; /* written meanwhile; empty: straight to name */
};

static bool target_open(struct target *target)
{
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    mode_t mode = 0666 & ~mask;
    target->partial[0] = '\0';
    target->file = stdout;
    if (!target->name)
        return true;
    bool there = lstat(target->name, &st) == 0;
    if (there && !S_ISREG(st.st_mode)) { /* a device, a pipe, a link: they are meant */
        target->file = fopen(target->name, "wb");
        return target->file != NULL;
    }
    if (there)
        mode = st.st_mode & 07777;
    int len = snprintf(target->partial, sizeof(target->partial), "%s.XXXXXX", target->name);
    if (len >= (int)sizeof(target->partial)) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = mkstemp(target->partial);
    if (fd < 0)
        return false;
    target->file = fchmod(fd, mode) == 0 ? fdopen(fd, "wb") : NULL;
    if (target->file)
        return true;
    close(fd);
    unlink(target->partial);
    return false;
}

/* Returns the exit status. */
static int target_close(struct target *target, int status)
{
    bool good = (target->name ? fclose(target->file) : fflush(target->file)) == 0;
    if (good && status == 0 && target->partial[0])
        good = rename(target->partial, target->name) == 0;
    if (!good)
        fprintf(stderr, "weir blob: %s: %s\n", target->name ? target->name : "standard output",
                strerror(errno));
    if (target->partial[0] && (!good || status != 0))
        unlink(target->partial);
    return good ? status : 1;
}

static int blob_get(int argc, char **argv)
{
    struct blob_client client = CLIENT_INIT;
    const struct arg_option options[] = {CLIENT_OPTIONS(client), {0}};
    const struct arg_command command = {"blob get",
                                        "CONTAINER/BLOB [FILE]",
                                        "Writes a blob to a file or standard output.",
                                        NULL,
                                        1,
                                        2,
                                        options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    client_complete(&client);
    struct target target = {.name = operands.count > 1 ? operands.items[1] : NULL};
    if (!target_open(&target)) {
        fprintf(stderr, "weir blob: %s: %s\n", target.name, strerror(errno));
        return 1;
    }
    int status = transfer(&client, "GET", operands.items[0], NULL, 0, target.file);
    return target_close(&target, status);
}

static int blob_put(int argc, char **argv)
{
    struct blob_client client = CLIENT_INIT;
    const struct arg_option options[] = {CLIENT_OPTIONS(client), {0}};
    const struct arg_command command = {
        "blob put", "FILE CONTAINER/BLOB", "Uploads a file as a block blob.", NULL, 2, 2, options};
    struct arg_operands operands;
    enum args_result result = args_parse(&command, argc, argv, &operands);
    if (result != ARGS_OK)
        return result == ARGS_DONE ? 0 : 2;
    client_complete(&client);
    struct stat st;
    FILE *in = fopen(operands.items[0], "rb");
    if (!in || fstat(fileno(in), &st) != 0 || !S_ISREG(st.st_mode)) {
        fprintf(stderr, "weir blob: %s: %s\n", operands.items[0],
                in ? "not a regular file" : strerror(errno));
        if (in)
            fclose(in);
        return 1;
    }
    int status = transfer(&client, "PUT", operands.items[1], in, (uint64_t)st.st_size, NULL);
    fclose(in);
    return status;
}

int cli_blob(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"ls", blob_ls, "list containers or blobs"},
        {"get", blob_get, "download a blob"},
        {"put", blob_put, "upload a file"},
        {NULL, NULL, NULL},
    };
    return cli_dispatch("blob", verbs, argc, argv);
}
