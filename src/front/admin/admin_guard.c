/*
 * Who may ask: the admin port has no credentials, so it must not obey pages in a browser.
 *
 * Two ways lead from a page of a stranger to a port of this machine. A name of the stranger can be
 * made to lead here (DNS rebinding): then the browser takes the page and this server for one origin,
 * and only Host tells. Or the page just posts: then the browser says so in Origin.
 *
 *     Host     an IP address, localhost, a name of one label, or one of admin.hosts; "*": any
 *     Origin   for what changes state: absent, or this server itself
 *
 * A name of one label cannot be had in the public name space, and it is what containers call each
 * other by. Health checks (/livez, /readyz, /health) tell nothing and are free to all.
 *
 * Ownership: none. Failure modes: a refusal is 403 with what to set.
 */
#include <arpa/inet.h>

#include "front/admin/admin_int.h"

/* The name of NAME, NAME:PORT or [ADDRESS]:PORT, without the dot that may end it. */
static struct slice host_name(struct slice host)
{
    size_t end = host.len;
    if (end > 0 && host.data[0] == '[') {
        size_t close = slice_find_byte(host, ']', 0);
        return close == SIZE_MAX ? SLICE_NULL : slice_sub(host, 0, close + 1);
    }
    size_t colon = slice_find_byte(host, ':', 0);
    if (colon != SIZE_MAX)
        end = colon;
    if (end > 0 && host.data[end - 1] == '.')
        end--;
    return slice_sub(host, 0, end);
}

static bool is_address(struct slice name)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t address[16];
    bool six = name.len > 2 && name.data[0] == '[';
    if (six)
        name = slice_sub(name, 1, name.len - 2);
    if (name.len >= sizeof(text))
        return false;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    return inet_pton(six ? AF_INET6 : AF_INET, text, address) == 1;
}

static bool ends_with_nocase(struct slice text, struct slice tail)
{
    return text.len >= tail.len &&
           slice_equal_nocase(slice_sub(text, text.len - tail.len, tail.len), tail);
}

bool admin_host_trusted(struct slice host, const char *more)
{
    struct slice name = host_name(host);
    if (more && (http_list_has(slice_cstr(more), "*")))
        return true;
    if (name.len == 0)
        return false;
    if (slice_find_byte(name, '.', 0) == SIZE_MAX && name.data[0] != '[')
        return true;
    if (is_address(name) || ends_with_nocase(name, SLICE_LIT(".localhost")))
        return true;
    struct slice list = more ? slice_cstr(more) : SLICE_NULL;
    for (size_t pos = 0; pos < list.len;) {
        size_t comma = slice_find_byte(list, ',', pos);
        size_t stop = comma == SIZE_MAX ? list.len : comma;
        if (slice_equal_nocase(slice_trim(slice_sub(list, pos, stop - pos)), name))
            return true;
        pos = stop + 1;
    }
    return false;
}

bool admin_origin_same(struct slice origin, struct slice host)
{
    static const struct slice scheme = SLICE_LIT("http://");
    return host.len > 0 && slice_equal_nocase(slice_sub(origin, 0, scheme.len), scheme) &&
           slice_equal_nocase(slice_sub(origin, scheme.len, origin.len), host);
}

static bool is_health(struct slice path)
{
    return slice_equal(path, SLICE_LIT("/livez")) || slice_equal(path, SLICE_LIT("/readyz")) ||
           slice_equal(path, SLICE_LIT("/health"));
}

bool admin_guard(struct admin_call *call)
{
    const struct http_head *head = call->head;
    const char *more = call->admin->config.hosts;
    ASSERT(head && call->req);
    bool trusted = !head->host.data || admin_host_trusted(head->host, more);
    if (head->authority.data)
        trusted = trusted && admin_host_trusted(head->authority, more);
    if (!trusted && !is_health(head->path)) {
        admin_fail(call, ERR_UNAUTHORIZED,
                   "the Host of this request is no name of this server; admin.hosts lists more");
        return false;
    }
    bool reads = head->method == HTTP_METHOD_GET || head->method == HTTP_METHOD_HEAD;
    struct slice origin = http_head_field(head, "origin");
    struct slice site = http_head_field(head, "sec-fetch-site");
    bool foreign = origin.data && !admin_origin_same(origin, head->host);
    foreign |= slice_equal_nocase(site, SLICE_LIT("cross-site")) ||
               slice_equal_nocase(site, SLICE_LIT("same-site"));
    if (!reads && foreign) {
        admin_fail(call, ERR_UNAUTHORIZED, "pages of another origin may change nothing here");
        return false;
    }
    return true;
}
