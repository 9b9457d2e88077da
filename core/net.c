#include "net.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define HOST_MAX       253u
#define LABEL_MAX      63u
#define V4_MAPPED_BITS 96u

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* "0".."max" without leading zeros; -1 on anything else. */
static int parse_small(struct slice s, int max)
{
    int64_t v;

    if (slice_int64(s, &v) < 0 || v < 0 || v > max)
        return -1;
    return (int)v;
}

/* Exactly four decimal numbers: inet_aton's other notations mean different hosts to different
 * programs, which is how address checks get passed. */
static int parse_ipv4(struct slice s, uint8_t out[4])
{
    for (int i = 0; i < 4; i++) {
        int v = parse_small(slice_cut(&s, '.'), 255);

        if (v < 0 || (i < 3) != (s.p != NULL))
            return -1;
        out[i] = (uint8_t)v;
    }
    return 0;
}

static int parse_ipv6(struct slice s, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];

    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
        return -1;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, out) == 1 ? 0 : -1;
}

/* Would some resolver read this last label as a number, and so the whole name as an address? */
static bool label_is_number(struct slice label)
{
    bool hex = label.n >= 2 && label.p[0] == '0' && (label.p[1] == 'x' || label.p[1] == 'X');

    for (size_t i = hex ? 2 : 0; i < label.n; i++)
        if (hex ? !is_hex(label.p[i]) : !is_digit(label.p[i]))
            return false;
    return true;
}

static bool label_valid(struct slice label)
{
    if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!is_alnum(label.p[i]) && label.p[i] != '-')
            return false;
    return true;
}

static int check_name(struct slice host, const char **reason)
{
    struct slice rest = host;
    struct slice label;
    uint8_t ipv4[4];

    *reason = "bad host name";
    if (host.n == 0 || host.n > HOST_MAX)
        return -1;
    do {
        label = slice_cut(&rest, '.');
        if (!label_valid(label))
            return -1;
    } while (rest.p);
    *reason = "IPv4 address not in plain dotted form";
    if (label_is_number(label) && parse_ipv4(host, ipv4) < 0)
        return -1;
    return 0;
}

static int check_bytes(struct slice s, const char **reason)
{
    size_t i = 0;

    while (i < s.n && s.p[i] > ' ' && s.p[i] < 0x7f && s.p[i] != '#' && s.p[i] != '\\')
        i++;
    if (i == s.n)
        return 0;
    /* browsers take a backslash for a slash, other programs do not */
    *reason = s.p[i] == '#'    ? "fragment"
              : s.p[i] == '\\' ? "backslash"
                               : "control character, blank or non-ASCII byte";
    return -1;
}

/* "host", "host:port", "[v6]", "[v6]:port" -> host without brackets, port text (p NULL if none). */
static int split_host(struct slice authority, struct slice *host, struct slice *port, bool *v6)
{
    *v6 = authority.n && authority.p[0] == '[';
    if (!*v6) {
        *port = authority;
        *host = slice_cut(port, ':');
        return 0;
    }
    *port = slice_n(authority.p + 1, authority.n - 1);
    *host = slice_cut(port, ']');
    if (!port->p)
        return -1;
    if (port->n == 0) {
        *port = SLICE_NULL;
        return 0;
    }
    if (port->p[0] != ':')
        return -1;
    port->p++;
    port->n--;
    return 0;
}

static int parse_authority(struct slice authority, struct url *out, const char **reason)
{
    struct slice port;
    uint8_t addr[16];
    bool v6;

    *reason = "user information";
    if (authority.n && memchr(authority.p, '@', authority.n))
        return -1;
    *reason = "bad IPv6 address";
    if (split_host(authority, &out->host, &port, &v6) < 0)
        return -1;
    if (v6 && parse_ipv6(out->host, addr) < 0)
        return -1;
    if (!v6 && check_name(out->host, reason) < 0)
        return -1;
    if (port.p) {
        int v = parse_small(port, UINT16_MAX);

        *reason = "bad port";
        if (v < 1)
            return -1;
        out->port = (uint16_t)v;
    }
    return 0;
}

int url_parse(struct slice s, struct url *out, const char **reason)
{
    struct url u = {.target = SLICE("/")};
    struct slice authority;
    size_t scheme;

    if (check_bytes(s, reason) < 0)
        return -1;
    scheme = s.n < 8 ? s.n : 8;
    u.https = slice_eq_nocase(slice_n(s.p, scheme), SLICE("https://"));
    scheme = u.https ? 8 : 7;
    *reason = "not http:// or https://";
    if (s.n < scheme || (!u.https && !slice_eq_nocase(slice_n(s.p, scheme), SLICE("http://"))))
        return -1;
    u.port = u.https ? 443 : 80;
    authority = slice_n(s.p + scheme, s.n - scheme);
    for (size_t i = 0; i < authority.n; i++) {
        *reason = "query without a path";
        if (authority.p[i] == '?')
            return -1;
        if (authority.p[i] == '/') {
            u.target = slice_n(authority.p + i, authority.n - i);
            authority.n = i;
        }
    }
    if (parse_authority(authority, &u, reason) < 0)
        return -1;
    *out = u;
    *reason = NULL;
    return 0;
}

struct block {
    uint8_t addr[16];
    uint8_t prefix;
    enum addr_class class;
};

/* IANA special-purpose registries. First match wins; unlisted IPv4 is public. */
static const struct block ipv4_blocks[] = {
    {{0}, 8, ADDR_RESERVED},
    {{10}, 8, ADDR_PRIVATE},
    {{100, 64}, 10, ADDR_PRIVATE}, /* carrier NAT; some clouds' metadata service */
    {{127}, 8, ADDR_LOOPBACK},
    {{169, 254}, 16, ADDR_LINK_LOCAL},
    {{172, 16}, 12, ADDR_PRIVATE},
    {{192, 0, 0}, 24, ADDR_RESERVED},
    {{192, 0, 2}, 24, ADDR_RESERVED},
    {{192, 88, 99}, 24, ADDR_RESERVED},
    {{192, 168}, 16, ADDR_PRIVATE},
    {{198, 18}, 15, ADDR_RESERVED},
    {{198, 51, 100}, 24, ADDR_RESERVED},
    {{203, 0, 113}, 24, ADDR_RESERVED},
    {{224}, 3, ADDR_RESERVED}, /* multicast, class E, broadcast */
};

/* Of IPv6 only 2000::/3 is in use as global unicast: what is not listed and outside is reserved. */
static const struct block ipv6_blocks[] = {
    {{[15] = 1}, 128, ADDR_LOOPBACK},
    {{0xfc}, 7, ADDR_PRIVATE},
    {{0xfe, 0x80}, 10, ADDR_LINK_LOCAL},
    {{0xfe, 0xc0}, 10, ADDR_PRIVATE}, /* site-local, deprecated */
    {{0x20, 0x01}, 23, ADDR_RESERVED},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, ADDR_RESERVED},
    {{0x3f, 0xff}, 20, ADDR_RESERVED},
    {{0x20}, 3, ADDR_PUBLIC},
};

static bool prefix_eq(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned bytes = bits / 8;
    unsigned mask = 0xff00u >> (bits % 8);

    if (memcmp(a, b, bytes) != 0)
        return false;
    return bits % 8 == 0 || ((a[bytes] ^ b[bytes]) & mask & 0xff) == 0;
}

static enum addr_class look_up(const struct block *blocks, size_t count, const uint8_t *addr,
                               enum addr_class otherwise)
{
    for (size_t i = 0; i < count; i++)
        if (prefix_eq(blocks[i].addr, addr, blocks[i].prefix))
            return blocks[i].class;
    return otherwise;
}

static const uint8_t v4_mapped[16] = {[10] = 0xff, [11] = 0xff};

/* The IPv4 address that a translated or tunnelled IPv6 address stands for. */
static bool inner_ipv4(const uint8_t a[16], uint8_t out[4])
{
    static const uint8_t nat64[16] = {0x00, 0x64, 0xff, 0x9b};
    static const uint8_t teredo[16] = {0x20, 0x01};

    if (prefix_eq(a, v4_mapped, V4_MAPPED_BITS) || prefix_eq(a, nat64, 96)) {
        memcpy(out, a + 12, 4);
        return true;
    }
    if (a[0] == 0x20 && a[1] == 0x02) { /* 6to4, RFC 3056 */
        memcpy(out, a + 2, 4);
        return true;
    }
    if (prefix_eq(a, teredo, 32)) { /* RFC 4380: the client's address, inverted */
        for (int i = 0; i < 4; i++)
            out[i] = (uint8_t)~a[12 + i];
        return true;
    }
    return false;
}

/* 0, or -1 when sa is neither IPv4 nor IPv6. */
static int addr_bytes(const struct sockaddr *sa, uint8_t out[16], uint16_t *port)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, sa, sizeof(in));
        memcpy(out, v4_mapped, 12);
        memcpy(out + 12, &in.sin_addr, 4);
        *port = ntohs(in.sin_port);
        return 0;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sa, sizeof(in6));
        memcpy(out, &in6.sin6_addr, 16);
        *port = ntohs(in6.sin6_port);
        return 0;
    }
    return -1;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum addr_class addr_classify(const struct sockaddr *sa)
{
    uint8_t addr[16];
    uint8_t ipv4[4];
    uint16_t port;

    if (addr_bytes(sa, addr, &port) < 0)
        return ADDR_RESERVED;
    if (inner_ipv4(addr, ipv4))
        return look_up(ipv4_blocks, COUNT(ipv4_blocks), ipv4, ADDR_PUBLIC);
    return look_up(ipv6_blocks, COUNT(ipv6_blocks), addr, ADDR_RESERVED);
}

/* The address of a rule, IPv4 or IPv6, into rule->addr -> bits of the family, or -1. */
static int rule_address(struct slice s, struct addr_rule *rule)
{
    if (parse_ipv6(s, rule->addr) == 0)
        return 128;
    memcpy(rule->addr, v4_mapped, 12);
    return parse_ipv4(s, rule->addr + 12) < 0 ? -1 : 32;
}

/* ADDRESS/BITS[:PORT]: behind the slash a colon can only come before a port. */
static int rule_prefix(struct slice s, struct addr_rule *rule)
{
    int bits = rule_address(slice_cut(&s, '/'), rule);
    bool has_port = s.n && memchr(s.p, ':', s.n);
    int prefix = bits < 0 ? -1 : parse_small(slice_cut(&s, ':'), bits);
    int port = has_port ? parse_small(s, UINT16_MAX) : 0;

    if (prefix < 0 || (has_port && port < 1))
        return -1;
    rule->prefix = (uint8_t)(128 - bits + prefix);
    rule->port = (uint16_t)port;
    return 0;
}

int addr_rule_parse(struct slice s, struct addr_rule *out)
{
    struct addr_rule rule = {.prefix = 128};
    struct slice host = s, port = SLICE_NULL;
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    bool v6 = false;
    int v;

    if (s.n && memchr(s.p, '/', s.n)) {
        if (rule_prefix(s, &rule) < 0)
            return -1;
        *out = rule;
        return 0;
    }
    /* one colon parts IPv4 and port; an IPv6 address has more and needs brackets before a port */
    if (colon && (s.p[0] == '[' || !memchr(colon + 1, ':', s.n - (size_t)(colon + 1 - s.p))) &&
        split_host(s, &host, &port, &v6) < 0)
        return -1;
    v = rule_address(host, &rule);
    if (v < 0 || (v6 && v != 128))
        return -1;
    if (port.p) {
        v = parse_small(port, UINT16_MAX);
        if (v < 1)
            return -1;
        rule.port = (uint16_t)v;
    }
    *out = rule;
    return 0;
}

bool addr_rule_match(const struct addr_rule *rules, size_t count, const struct sockaddr *sa)
{
    uint8_t addr[16];
    uint16_t port;

    if (addr_bytes(sa, addr, &port) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if ((rules[i].port == 0 || rules[i].port == port) &&
            prefix_eq(rules[i].addr, addr, rules[i].prefix))
            return true;
    return false;
}
