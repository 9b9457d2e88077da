/*
 * net - URL and address checks. No name is resolved here.
 */
#ifndef CORE_NET_H
#define CORE_NET_H

#include "slice.h"
#include <sys/socket.h>

struct url {
    bool https;
    struct slice host;   /* without brackets for IPv6 */
    uint16_t port;       /* 443/80 when absent */
    struct slice target; /* path + query, "/" when absent */
};

/* http/https only; no user info, no fragment, no control characters or blanks, host of letters,
 * digits, '-', '.' or an IP literal; odd IPv4 notations (0x7f.1, 017700000001, 127.1) are refused.
 * 0 or -1 with a static reason. */
int url_parse(struct slice s, struct url *out, const char **reason);

enum addr_class { ADDR_PUBLIC, ADDR_LOOPBACK, ADDR_PRIVATE, ADDR_LINK_LOCAL, ADDR_RESERVED };
/* Maps IPv4-mapped, 6to4, NAT64 and Teredo forms to the inner IPv4 address first. */
enum addr_class addr_classify(const struct sockaddr *sa);

/* "127.0.0.1", "127.0.0.1:8080", "10.0.0.0/8", "10.0.0.0/8:80", "[::1]:80", "fd00::/8"; "::/0:25"
 * is port 25 of every address, IPv4 included */
struct addr_rule {
    uint8_t addr[16]; /* IPv4 as v4-mapped */
    uint8_t prefix;   /* bits of 128 */
    uint16_t port;    /* 0 = any */
};
int addr_rule_parse(struct slice s, struct addr_rule *out);
bool addr_rule_match(const struct addr_rule *rules, size_t count, const struct sockaddr *sa);

#endif
