/* Addresses that others tell us: URLs, and rules of addresses. */
#include "fuzz.h"

#include "core/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static void check_url(const struct url *u)
{
    const char *reason;
    struct url again;
    struct buf b;

    must(u->host.n > 0 && u->port > 0);
    must(u->target.n > 0 && (u->target.p[0] == '/' || u->target.p[0] == '?'));
    for (size_t i = 0; i < u->host.n; i++)
        must(u->host.p[i] > ' ' && u->host.p[i] < 0x7f && !strchr("/@?#\\%\"<>", u->host.p[i]));
    for (size_t i = 0; i < u->target.n; i++)
        must((uint8_t)u->target.p[i] > ' ' && u->target.p[i] != 0x7f && u->target.p[i] != '#');

    /* put together again it is the same address: no part has moved into another */
    buf_init(&b, FUZZ_ARENA);
    buf_addf(&b, memchr(u->host.p, ':', u->host.n) ? "%s://[%.*s]:%u" : "%s://%.*s:%u",
             u->https ? "https" : "http", SLICE_FMT(u->host), u->port);
    buf_add_slice(&b, u->target);
    must(buf_ok(&b));
    must(url_parse(buf_slice(&b), &again, &reason) == 0);
    must(again.https == u->https && again.port == u->port);
    must(slice_eq(again.host, u->host) && slice_eq(again.target, u->target));
    buf_release(&b);
}

/* A rule of one address matches that address and, with 128 bits, no other. */
static void check_rule(const struct addr_rule *rule)
{
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6};

    must(rule->prefix <= 128);
    memcpy(&sa.sin6_addr, rule->addr, sizeof(rule->addr));
    sa.sin6_port = htons(rule->port);
    must(addr_rule_match(rule, 1, (struct sockaddr *)&sa));
    must(addr_classify((struct sockaddr *)&sa) <= ADDR_RESERVED);
    sa.sin6_addr.s6_addr[15] ^= 1;
    must(rule->prefix < 128 || !addr_rule_match(rule, 1, (struct sockaddr *)&sa));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = slice_n(data, size);
    const char *reason = NULL;
    struct addr_rule rule;
    struct url url;

    if (url_parse(s, &url, &reason) == 0)
        check_url(&url);
    else
        must(reason && *reason);
    if (addr_rule_parse(s, &rule) == 0)
        check_rule(&rule);
    return 0;
}
