/*
 * Where a request goes: account, container and blob.
 *
 * Path style names the account in the first segment, host style in the first label of Host; which
 * one it is follows from the accounts that exist, not from dots in the host. The raw path stays as
 * it came, since signatures cover it.
 */
#include "base/utf8.h"
#include "front/blob/blob_int.h"

static const struct blob_account *account_find(const struct front_blob *front, struct slice name)
{
    static const struct slice tail = SLICE_LIT("-secondary");
    if (name.len > tail.len && slice_equal(slice_sub(name, name.len - tail.len, tail.len), tail))
        name.len -= tail.len;
    for (uint32_t i = 0; i < front->account_count; i++)
        if (slice_equal(name, slice_cstr(front->accounts[i].name)))
            return &front->accounts[i];
    return NULL;
}

/* ACCOUNT.blob.anything */
static const struct blob_account *account_of_host(const struct front_blob *front, struct slice host)
{
    size_t dot = slice_find_byte(host, '.', 0);
    if (dot == SIZE_MAX ||
        !slice_starts_with(slice_sub(host, dot + 1, host.len), SLICE_LIT("blob.")))
        return NULL;
    return account_find(front, slice_sub(host, 0, dot));
}

/* Takes the first segment of a raw path that begins with '/'; the rest begins with '/' or is empty.
 */
static struct slice take_segment(struct slice *path)
{
    if (path->len == 0)
        return SLICE_NULL;
    ASSERT(path->data[0] == '/');
    size_t slash = slice_find_byte(*path, '/', 1);
    size_t stop = slash == SIZE_MAX ? path->len : slash;
    struct slice segment = slice_sub(*path, 1, stop - 1);
    *path = slice_sub(*path, stop, path->len);
    return segment;
}

/* false: not decodable, or no text. */
static bool decode_name(struct arena *arena, struct slice raw, struct slice *ret_name)
{
    uint8_t *out = arena_alloc(arena, raw.len + 1);
    size_t len = 0;
    if (!out || !http_percent_decode(raw, false, out, &len))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (out[i] == 0)
            return false;
        if (out[i] == '\\')
            out[i] = '/';
    }
    *ret_name = slice_make(out, len);
    return utf8_valid(*ret_name);
}

static bool container_system(struct slice name)
{
    static const char *const names[] = {"$root", "$web", "$logs", "$blobchangefeed"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_equal(name, slice_cstr(names[i])))
            return true;
    return false;
}

static bool container_characters(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
        bool edge = i == 0 || i == name.len - 1;
        if (!alnum && (c != '-' || edge || name.data[i - 1] == '-'))
            return false;
    }
    return true;
}

static bool check_names(struct blob_call *call)
{
    if (call->container.len == 0)
        return true;
    if (!container_system(call->container)) {
        if (!container_characters(call->container)) {
            call_fail(call, BLOB_INVALID_RESOURCE_NAME);
            return false;
        }
        if (call->container.len < 3 || call->container.len > BLOBSTORE_CONTAINER_MAX) {
            call_fail(call, BLOB_OUT_OF_RANGE_INPUT);
            return false;
        }
    }
    if (utf8_count_utf16(call->blob) > 1024) {
        call_fail(call, BLOB_OUT_OF_RANGE_INPUT);
        return false;
    }
    return true;
}

bool call_target(struct blob_call *call)
{
    const struct http_head *head = call->head;
    struct slice path = head->path;
    if (path.len == 0 || path.data[0] != '/') {
        call_fail(call, BLOB_INVALID_URI);
        return false;
    }
    struct slice rest = path;
    call->account = account_find(call->front, take_segment(&rest));
    if (!call->account) {
        call->account = account_of_host(call->front, head->host);
        call->host_style = call->account != NULL;
        rest = path;
    }
    if (!call->account) {
        call_fail(call, BLOB_RESOURCE_NOT_FOUND);
        return false;
    }
    struct slice container = take_segment(&rest);
    struct slice blob = rest.len > 0 ? slice_sub(rest, 1, rest.len) : SLICE_NULL;
    bool whole = slice_equal_nocase(call->restype, SLICE_LIT("container"));
    if (!decode_name(call->arena, container, &call->container) ||
        !decode_name(call->arena, blob, &call->blob)) {
        call_fail(call, BLOB_INVALID_URI);
        return false;
    }
    /* One segment without restype=container is a blob of the root container. */
    if (call->container.len > 0 && call->blob.len == 0 && !whole && rest.len == 0 &&
        !slice_equal_nocase(call->restype, SLICE_LIT("account"))) {
        call->blob = call->container;
        call->container = SLICE_LIT("$root");
    }
    return check_names(call);
}
