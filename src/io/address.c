/*
 * Role: socket addresses from and to text.
 *
 * State: none.
 *
 * Invariants
 * (1) Nothing here blocks: names other than "localhost" are refused, not resolved.
 *
 * Ownership and shard: any.
 *
 * Failure modes: ERR_INVALID_ARGUMENT with the text that was not understood.
 */
#include "io/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/*
 * Both families are tried by the text alone: inet_pton takes no shorthands ("127.1"), no zones and no
 * names, so nothing here can end in a resolver's timeout.
 */
enum err address_parse(const char *host, uint16_t port, struct sockaddr_storage *ret_address,
                       socklen_t *ret_len, struct err_info *info)
{
    ASSERT(host);
    memset(ret_address, 0, sizeof(*ret_address));
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    const char *text = host;
    if (strcmp(host, "") == 0 || strcmp(host, "*") == 0)
        text = "0.0.0.0";
    else if (strcmp(host, "localhost") == 0)
        text = "127.0.0.1";
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *ret_len = sizeof(*v4);
        return ERR_OK;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *ret_len = sizeof(*v6);
        return ERR_OK;
    }
    return err_info_set(info, ERR_INVALID_ARGUMENT, "'%s' is not a numeric address", host);
}

void address_format(const struct sockaddr_storage *address, char *text, size_t cap)
{
    ASSERT(cap > 0);
    char host[INET6_ADDRSTRLEN];
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(text, cap, "%s:%u", host, ntohs(v4->sin_port));
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(text, cap, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(text, cap, "?");
    }
}

bool address_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return (ntohl(v4->sin_addr.s_addr) >> 24) == 127;
    }
    if (address->ss_family != AF_INET6)
        return false;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
    /* A listener on "::" sees IPv4 peers as mapped addresses; the last four bytes are theirs. */
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

uint16_t address_port(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)address)->sin_port);
    if (address->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    return 0;
}
