/*
 * Socket addresses from and to text, without asking a resolver: numeric IPv4 and IPv6, "localhost",
 * and "", "*" for all interfaces.
 */
#ifndef WEIR_IO_ADDRESS_H
#define WEIR_IO_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/error.h"

MUST_CHECK enum err address_parse(const char *host, uint16_t port,
                                  struct sockaddr_storage *ret_address, socklen_t *ret_len,
                                  struct err_info *info);
/* "127.0.0.1:9092", "[::1]:9092"; "?" for other families. */
void address_format(const struct sockaddr_storage *address, char *text, size_t cap);
/* 127/8 and ::1, also as IPv4 mapped into IPv6. */
bool address_is_loopback(const struct sockaddr_storage *address);
uint16_t address_port(const struct sockaddr_storage *address);

#endif
