#include "core/net.h"

#include "core_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static void test_urls(void **state)
{
    static const struct {
        const char *text;
        bool https;
        const char *host;
        uint16_t port;
        const char *target;
    } good[] = {
        {"https://example.com", true, "example.com", 443, "/"},
        {"http://example.com", false, "example.com", 80, "/"},
        {"HTTPS://Example.COM:8443/a/b?c=d&e=%20", true, "Example.COM", 8443, "/a/b?c=d&e=%20"},
        {"http://a/", false, "a", 80, "/"},
        {"http://a.b-c.d1:1/x:y@z", false, "a.b-c.d1", 1, "/x:y@z"},
        {"http://h:65535/?q=http://x", false, "h", 65535, "/?q=http://x"},
        {"https://8.8.8.8/cb", true, "8.8.8.8", 443, "/cb"},
        {"https://127.0.0.1:80", true, "127.0.0.1", 80, "/"},
        {"https://[::1]:9/x", true, "::1", 9, "/x"},
        {"https://[2001:db8::ff00:42:8329]", true, "2001:db8::ff00:42:8329", 443, "/"},
        {"http://[::ffff:1.2.3.4]/", false, "::ffff:1.2.3.4", 80, "/"},
        {"http://1.example.com", false, "1.example.com", 80, "/"},
        {"http://0x7f.example", false, "0x7f.example", 80, "/"},
        {"http://xn--fiqs8s.xn--p1ai/", false, "xn--fiqs8s.xn--p1ai", 80, "/"},
    };
    (void)state;

    for (size_t i = 0; i < COUNT(good); i++) {
        const char *reason = "unset";
        struct url u;

        assert_case(url_parse(slice_of(good[i].text), &u, &reason) == 0, good[i].text);
        assert_case(u.https == good[i].https && u.port == good[i].port, good[i].text);
        assert_slice(u.host, good[i].host);
        assert_slice(u.target, good[i].target);
    }
}

static void test_urls_refused(void **state)
{
    static const char *const bad[] = {
        "", "h", "http", "http:/", "http://", "https://", "https:///x", "ftp://a/", "//a/",
        "file:///etc/passwd", "javascript:alert(1)", "gopher://a/", "httpss://a/", "http//a",
        /* user information */
        "http://user@example.com/", "http://user:pw@example.com/", "http://a@127.0.0.1:80/",
        "http://@a/", "http://a:80@b/",
        /* fragment, blanks, control characters, foreign bytes, backslash */
        "http://a/#x", "http://a#x", "http://a/ b", " http://a/", "http://a/ ", "http://a/\tb",
        "http://a/\r\nHost: b", "http://a\n", "http://a/\x7f", "http://\xe4\xb8\xad/",
        "http://a/\xe4\xb8\xad", "http://a\\@b/", "http://a/\\b",
        /* host */
        "http://a..b/", "http://.a/", "http://a./", "http://-a/", "http://a-/", "http://a_b/",
        "http://a%41/", "http://a*b/", "http://a,b/", "http://(a)/",
        "http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com/",
        /* query without a path is not what we can send as it is */
        "http://a?x=1", "http://?",
        /* port */
        "http://a:/", "http://a:0/", "http://a:65536/", "http://a:-1/", "http://a:080/",
        "http://a:8 0/", "http://a:x/", "http://a:80:80/", "http://a:+80/",
        /* odd notations of 127.0.0.1 and others */
        "http://0x7f.1/", "http://017700000001/", "http://127.1/", "http://127.0.1/",
        "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.0.0.01/",
        "http://127.0.0.1./", "http://127.0.0.0x1/", "http://256.0.0.1/", "http://1.2.3.4.5/",
        "http://1.2.3/", "http://0/", "http://00.0.0.0/", "http://a.1/", "http://a.0x1f/",
        "http://127.0.0.1.0x/", "http://4294967297/", "http://0x/", "http://0X7F.0.0.1/",
        /* IPv6 */
        "http://[]/", "http://[::1/", "http://::1/", "http://[::1]x/", "http://[::1]:/",
        "http://[::1]80/", "http://[::g]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/",
        "http://[1.2.3.4]/", "http://[[::1]]/", "http://[::1]]/", "http://[v1.a]/",
        "http://[1:2:3:4:5:6:7:8:9]/", "http://[0000000000000000000000000000000000000000000::1]/"};
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *reason = NULL;
        struct url u = {.port = 42};

        assert_case(url_parse(slice_of(bad[i]), &u, &reason) == -1, bad[i]);
        assert_case(reason != NULL && u.port == 42, bad[i]);
    }
    assert_int_equal(url_parse(SLICE("http://a\0b/"), &(struct url){0}, &(const char *){NULL}), -1);
    assert_int_equal(url_parse(SLICE_NULL, &(struct url){0}, &(const char *){NULL}), -1);
}

static void test_long_host(void **state)
{
    char text[400] = "http://";
    const char *reason;
    struct url u;
    (void)state;

    /* 63 letters and a dot, four times: 255 bytes, 2 too many */
    for (size_t i = 0; i < 255; i++)
        text[7 + i] = i % 64 == 63 ? '.' : 'a';
    assert_int_equal(url_parse(slice_n(text, 7 + 253), &u, &reason), 0);
    assert_int_equal(url_parse(slice_n(text, 7 + 254), &u, &reason), -1);
    assert_string_equal(reason, "bad host name");
}

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

static const struct sockaddr *address(union address *a, const char *text, uint16_t port)
{
    memset(a, 0, sizeof(*a));
    if (strchr(text, ':')) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons(port);
        assert_case(inet_pton(AF_INET6, text, &a->in6.sin6_addr) == 1, text);
    } else {
        a->in.sin_family = AF_INET;
        a->in.sin_port = htons(port);
        assert_case(inet_pton(AF_INET, text, &a->in.sin_addr) == 1, text);
    }
    return &a->sa;
}

static void test_classes(void **state)
{
    static const struct {
        const char *text;
        enum addr_class class;
    } cases[] = {
        {"8.8.8.8", ADDR_PUBLIC},
        {"1.0.0.0", ADDR_PUBLIC},
        {"223.255.255.255", ADDR_PUBLIC},
        {"9.255.255.255", ADDR_PUBLIC},
        {"11.0.0.0", ADDR_PUBLIC},
        {"0.0.0.0", ADDR_RESERVED},
        {"0.1.2.3", ADDR_RESERVED},
        {"10.0.0.0", ADDR_PRIVATE},
        {"10.255.255.255", ADDR_PRIVATE},
        {"100.63.255.255", ADDR_PUBLIC},
        {"100.64.0.0", ADDR_PRIVATE},
        {"100.100.100.200", ADDR_PRIVATE},
        {"100.127.255.255", ADDR_PRIVATE},
        {"100.128.0.0", ADDR_PUBLIC},
        {"127.0.0.1", ADDR_LOOPBACK},
        {"127.255.255.254", ADDR_LOOPBACK},
        {"169.254.169.254", ADDR_LINK_LOCAL},
        {"169.253.0.0", ADDR_PUBLIC},
        {"172.15.255.255", ADDR_PUBLIC},
        {"172.16.0.0", ADDR_PRIVATE},
        {"172.31.255.255", ADDR_PRIVATE},
        {"172.32.0.0", ADDR_PUBLIC},
        {"192.0.0.8", ADDR_RESERVED},
        {"192.0.2.1", ADDR_RESERVED},
        {"192.0.1.1", ADDR_PUBLIC},
        {"192.88.99.1", ADDR_RESERVED},
        {"192.168.0.1", ADDR_PRIVATE},
        {"192.169.0.0", ADDR_PUBLIC},
        {"198.17.255.255", ADDR_PUBLIC},
        {"198.18.0.0", ADDR_RESERVED},
        {"198.19.255.255", ADDR_RESERVED},
        {"198.20.0.0", ADDR_PUBLIC},
        {"198.51.100.7", ADDR_RESERVED},
        {"203.0.113.9", ADDR_RESERVED},
        {"224.0.0.1", ADDR_RESERVED},
        {"240.0.0.1", ADDR_RESERVED},
        {"255.255.255.255", ADDR_RESERVED},
        {"::1", ADDR_LOOPBACK},
        {"::", ADDR_RESERVED},
        {"::2", ADDR_RESERVED},
        {"fe80::1", ADDR_LINK_LOCAL},
        {"febf::1", ADDR_LINK_LOCAL},
        {"fec0::1", ADDR_PRIVATE},
        {"fc00::1", ADDR_PRIVATE},
        {"fdff::1", ADDR_PRIVATE},
        {"ff02::1", ADDR_RESERVED},
        {"2001:db8::1", ADDR_RESERVED},
        {"2001:20::1", ADDR_RESERVED},
        {"100::1", ADDR_RESERVED},
        {"3fff::1", ADDR_RESERVED},
        {"3fff:1000::1", ADDR_PUBLIC},
        {"4000::1", ADDR_RESERVED},
        {"2400:3200::1", ADDR_PUBLIC},
        {"2001:4860:4860::8888", ADDR_PUBLIC},
        /* IPv4 in disguise: mapped, NAT64, 6to4, Teredo (inverted), compatible, SIIT */
        {"::ffff:127.0.0.1", ADDR_LOOPBACK},
        {"::ffff:10.1.2.3", ADDR_PRIVATE},
        {"::ffff:8.8.8.8", ADDR_PUBLIC},
        {"64:ff9b::127.0.0.1", ADDR_LOOPBACK},
        {"64:ff9b::169.254.169.254", ADDR_LINK_LOCAL},
        {"64:ff9b::8.8.8.8", ADDR_PUBLIC},
        {"64:ff9b:1::8.8.8.8", ADDR_RESERVED},
        {"2002:7f00:1::", ADDR_LOOPBACK},
        {"2002:c0a8:101::1", ADDR_PRIVATE},
        {"2002:808:808::1", ADDR_PUBLIC},
        {"2001:0:4136:e378:8000:63bf:80ff:fffe", ADDR_LOOPBACK},
        {"2001:0:4136:e378:8000:63bf:3fff:fdd2", ADDR_RESERVED} /* 192.0.2.45 */,
        {"2001:0:4136:e378:8000:63bf:f7f7:f7f7", ADDR_PUBLIC},
        {"::7f00:1", ADDR_RESERVED},
        {"::ffff:0:127.0.0.1", ADDR_RESERVED},
    };
    union address a;
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++)
        assert_case(addr_classify(address(&a, cases[i].text, 80)) == cases[i].class, cases[i].text);
    memset(&a, 0, sizeof(a));
    a.sa.sa_family = AF_UNIX;
    assert_int_equal(addr_classify(&a.sa), ADDR_RESERVED);
}

static void test_rules(void **state)
{
    static const struct {
        const char *rule;
        const char *yes;
        uint16_t yes_port;
        const char *no;
        uint16_t no_port;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", 1, "127.0.0.2", 1},
        {"127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1", 8081},
        {"127.0.0.1", "::ffff:127.0.0.1", 1, "::1", 1},
        {"10.0.0.0/8", "10.255.0.1", 5, "11.0.0.0", 5},
        {"10.1.2.3/8", "10.255.0.1", 5, "11.0.0.0", 5},
        {"192.168.1.128/25", "192.168.1.255", 5, "192.168.1.127", 5},
        {"192.168.1.1/32", "192.168.1.1", 5, "192.168.1.0", 5},
        {"0.0.0.0/0", "8.8.8.8", 5, "2400::1", 5},
        {"[::1]:80", "::1", 80, "::1", 81},
        {"[::1]", "::1", 80, "::2", 80},
        {"::1", "::1", 80, "::2", 80},
        {"fd00::/8", "fdff::1", 1, "fe00::1", 1},
        {"2400:3200::/33", "2400:3200:7fff::1", 1, "2400:3200:8000::1", 1},
        {"::ffff:1.2.3.4", "1.2.3.4", 1, "1.2.3.5", 1},
        {"10.0.0.0/8:80", "10.255.0.1", 80, "10.255.0.1", 81},
        {"fd00::/8:443", "fdff::1", 443, "fdff::1", 80},
        {"::/0:25", "8.8.8.8", 25, "8.8.8.8", 26},
        {"::/0:25", "2400::1", 25, "2400::1", 80},
    };
    union address a;
    (void)state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct addr_rule rule;

        assert_case(addr_rule_parse(slice_of(cases[i].rule), &rule) == 0, cases[i].rule);
        assert_case(addr_rule_match(&rule, 1, address(&a, cases[i].yes, cases[i].yes_port)),
                    cases[i].rule);
        assert_case(!addr_rule_match(&rule, 1, address(&a, cases[i].no, cases[i].no_port)),
                    cases[i].rule);
    }
}

static void test_rules_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "a",
                                      "localhost",
                                      "127.0.0",
                                      "127.1",
                                      "0x7f.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:0",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:x",
                                      "127.0.0.1/33",
                                      "127.0.0.1/",
                                      "127.0.0.1/-1",
                                      "127.0.0.1/8:",
                                      "127.0.0.1/8:0",
                                      "127.0.0.1/8:65536",
                                      "127.0.0.1/8:80:80",
                                      "127.0.0.1/:80",
                                      "127.0.0.1:80/8",
                                      "::1/129",
                                      "::1/",
                                      "[::1]/8",
                                      "[::1",
                                      "[::1]:",
                                      "[::1]:0",
                                      "[::1]80",
                                      "[127.0.0.1]:80",
                                      "[127.0.0.1]",
                                      "fe80::1%eth0",
                                      " 127.0.0.1",
                                      "127.0.0.1 ",
                                      ":80",
                                      "/8",
                                      "[]:80",
                                      "127.0.0.1/08"};
    struct addr_rule rule = {.port = 42};
    (void)state;

    for (size_t i = 0; i < COUNT(bad); i++)
        assert_case(addr_rule_parse(slice_of(bad[i]), &rule) == -1, bad[i]);
    assert_int_equal(addr_rule_parse(SLICE_NULL, &rule), -1);
    assert_int_equal(rule.port, 42);
}

static void test_rule_lists(void **state)
{
    struct addr_rule rules[2];
    union address a;
    (void)state;

    addr_rule_parse(SLICE("127.0.0.1:1"), &rules[0]);
    addr_rule_parse(SLICE("10.0.0.0/8"), &rules[1]);
    assert_true(addr_rule_match(rules, 2, address(&a, "10.0.0.1", 9)));
    assert_false(addr_rule_match(rules, 1, address(&a, "10.0.0.1", 9)));
    assert_false(addr_rule_match(rules, 0, address(&a, "10.0.0.1", 9)));
    assert_false(addr_rule_match(NULL, 0, address(&a, "10.0.0.1", 9)));
    memset(&a, 0, sizeof(a));
    a.sa.sa_family = AF_UNIX;
    assert_false(addr_rule_match(rules, 2, &a.sa));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),       cmocka_unit_test(test_urls_refused),
        cmocka_unit_test(test_long_host),  cmocka_unit_test(test_classes),
        cmocka_unit_test(test_rules),      cmocka_unit_test(test_rules_refused),
        cmocka_unit_test(test_rule_lists),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
