/*
 * backends/io/http_answer: each answer is parsed whole, byte by byte, and cut in two at every
 * place; all three must agree.
 */
#include "io_test.h"

#include "backends/io/http_answer.h"
#include <string.h>

#define MAX_BYTES 400

struct expect {
    const char *input;
    bool head_request;
    bool eof; /* the connection ends behind it */
    enum answer_step step;
    int status;
    bool keepalive;
    const char *body;
    const char *rest; /* what stands behind the answer */
};

#define OK11    "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK11 "Transfer-Encoding: chunked\r\n\r\n"

static const struct expect cases[] = {
    {OK11 "Content-Length: 5\r\n\r\nhello", 0, 0, ANSWER_DONE, 200, true, "hello", ""},
    {OK11 "content-length:5\r\n\r\nhelloHTTP", 0, 0, ANSWER_DONE, 200, true, "hello", "HTTP"},
    {OK11 "Content-Length: 0\r\n\r\n", 0, 0, ANSWER_DONE, 200, true, "", ""},
    {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 0, 0, ANSWER_DONE, 200, true, "", ""},
    {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 0, 0, ANSWER_DONE, 200, true, "", ""},
    {OK11 "Content-Length: 5\r\nConnection: foo, Close\r\n\r\nhello", 0, 0, ANSWER_DONE, 200, false,
     "hello", ""},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 0, 0, ANSWER_DONE, 200, false, "hi", ""},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 0, 0, ANSWER_DONE,
     200, true, "hi", ""},
    {OK11 "\r\nuntil the end", 0, 1, ANSWER_DONE, 200, false, "until the end", ""},
    {OK11 "\r\n", 0, 1, ANSWER_DONE, 200, false, "", ""},
    {OK11 "\r\nuntil", 0, 0, ANSWER_MORE, 0, 0, NULL, NULL},
    {"HTTP/1.1 204 No Content\r\n\r\n", 0, 0, ANSWER_DONE, 204, true, "", ""},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 0, 0, ANSWER_DONE, 304, true, "",
     ""},
    {OK11 "Content-Length: 99\r\n\r\n", 1, 0, ANSWER_DONE, 200, true, "", ""},
    {OK11 "Transfer-Encoding: chunked\r\n\r\n", 1, 0, ANSWER_DONE, 200, true, "", ""},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nX: y\r\n\r\nHTTP/1.1 201 Made\r\n"
     "Content-Length: 1\r\n\r\nx",
     0, 0, ANSWER_DONE, 201, true, "x", ""},
    {CHUNKED "5\r\nhello\r\n0\r\n\r\n", 0, 0, ANSWER_DONE, 200, true, "hello", ""},
    {CHUNKED "5;a=b\r\nhello\r\n1 \r\n,\r\n00a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nZ", 0, 0,
     ANSWER_DONE, 200, true, "hello,0123456789", "Z"},
    {CHUNKED "0\r\n\r\n", 0, 0, ANSWER_DONE, 200, true, "", ""},
    {CHUNKED "5\r\nhello\r\n", 0, 1, ANSWER_BAD, 0, 0, NULL, NULL},
    {CHUNKED "5\r\nhelloX\r\n0\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {CHUNKED "5\nhello\r\n0\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {CHUNKED "g\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {CHUNKED "-1\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {CHUNKED "\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {CHUNKED "fffffffffffffffff\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {CHUNKED "fffffff\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: 5\r\n\r\nhell", 0, 1, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: 5\r\n\r\nhell", 0, 0, ANSWER_MORE, 0, 0, NULL, NULL},
    {OK11 "Content-Le", 0, 1, ANSWER_BAD, 0, 0, NULL, NULL},
    {"", 0, 1, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 0, 0, ANSWER_DONE, 200, true,
     "hello", ""},
    {OK11 "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 0, 0, ANSWER_BAD, 0, 0, NULL,
     NULL},
    {OK11 "Content-Length: -1\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: +1\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: 1, 1\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: 99999999999999999999\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: 1000\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL,
     NULL},
    {OK11 "Transfer-Encoding: gzip, chunked\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "A: b\r\n folded\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "A : b\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "no colon\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 ": b\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "A: b\nB: c\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {OK11 "A: b\rc\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"HTTP/1.1 101 Switching\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"HTTP/1.1 099 Low\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"HTTP/1.1 2000 OK\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"HTTP/2.0 200 OK\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"http/1.1 200 OK\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
    {"SSH-2.0-OpenSSH\r\n", 0, 0, ANSWER_BAD, 0, 0, NULL, NULL},
};

/* Parses in two pieces, in memory that moves between them and has nothing behind its end. */
static enum answer_step parse_cut(const struct expect *e, size_t cut, struct answer_parser *p,
                                  char **data)
{
    size_t n = strlen(e->input);
    enum answer_step step = ANSWER_MORE;
    char *first = malloc(cut + 1);

    answer_parser_init(p, e->head_request, MAX_BYTES);
    memcpy(first, e->input, cut);
    if (cut)
        step = answer_parse(p, first, cut, false);
    *data = malloc(n + 1);
    memcpy(*data, first, cut);
    memcpy(*data + cut, e->input + cut, n - cut);
    free(first);
    if (step == ANSWER_MORE)
        step = answer_parse(p, *data, n, e->eof);
    return step;
}

static enum answer_step parse_bytes(const struct expect *e, struct answer_parser *p, char **data)
{
    size_t n = strlen(e->input);
    enum answer_step step = ANSWER_MORE;

    *data = malloc(n + 1);
    answer_parser_init(p, e->head_request, MAX_BYTES);
    for (size_t i = 0; i < n && step == ANSWER_MORE; i++) {
        (*data)[i] = e->input[i];
        step = answer_parse(p, *data, i + 1, false);
        if (step != ANSWER_MORE)
            memcpy(*data + i, e->input + i, n - i);
    }
    return step == ANSWER_MORE && e->eof ? answer_parse(p, *data, n, true) : step;
}

static void check(const struct expect *e, enum answer_step step, const struct answer_parser *p,
                  const char *data)
{
    if (step != e->step)
        fail_msg("step %d, not %d (%s): %s", step, e->step, p->reason ? p->reason : "", e->input);
    if (step == ANSWER_BAD)
        assert_non_null(p->reason);
    if (step != ANSWER_DONE)
        return;
    if (p->status != e->status || p->keepalive != e->keepalive)
        fail_msg("status %d keepalive %d: %s", p->status, p->keepalive, e->input);
    if (!slice_is(slice_n(data + p->body_start, p->body_n), e->body))
        fail_msg("body %.*s: %s", (int)p->body_n, data + p->body_start, e->input);
    if (strcmp(e->input + p->end, e->rest) != 0)
        fail_msg("rest %s: %s", e->input + p->end, e->input);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer_parser p;
        enum answer_step step;
        char *data;

        for (size_t cut = 0; cut <= strlen(cases[i].input); cut++) {
            step = parse_cut(&cases[i], cut, &p, &data);
            check(&cases[i], step, &p, data);
            free(data);
        }
        step = parse_bytes(&cases[i], &p, &data);
        check(&cases[i], step, &p, data);
        free(data);
    }
}

static void test_headers(void **state)
{
    char data[] = "HTTP/1.1 100 Continue\r\nX: no\r\n\r\n" OK11
                  "Pay-Sent:  answered \r\nEmpty:\r\npay-sent: two\r\nContent-Length: 0\r\n\r\n";
    struct http_header h[ANSWER_MAX_HEADERS];
    struct answer_parser p;
    size_t n, count;

    (void)state;
    answer_parser_init(&p, false, MAX_BYTES);
    assert_int_equal(answer_parse(&p, data, sizeof(data) - 1, false), ANSWER_DONE);
    n = answer_headers(&p, data, h);
    assert_int_equal(n, 4);
    assert_true(slice_is(http_find(h, n, "PAY-SENT", &count), "answered"));
    assert_int_equal(count, 2);
    assert_int_equal(http_find(h, n, "Empty", &count).n, 0);
    assert_int_equal(count, 1);
    assert_null(http_find(h, n, "X", &count).p);
    assert_int_equal(count, 0);
}

static void test_too_many_headers(void **state)
{
    struct answer_parser p;
    char data[1024] = OK11;
    size_t n = strlen(data);

    (void)state;
    for (int i = 0; i <= ANSWER_MAX_HEADERS; i++, n += 6)
        memcpy(data + n, "A: b\r\n", 6);
    memcpy(data + n, "\r\n", 2);
    answer_parser_init(&p, false, sizeof(data));
    assert_int_equal(answer_parse(&p, data, n + 2, false), ANSWER_BAD);
    assert_string_equal(p.reason, "too many headers");
}

/* Any bytes at all: no crash, no reading past the end (the sanitizers see it), and never an end
 * that lies behind the data. */
static void test_noise(void **state)
{
    static const char parts[][24] = {"HTTP/1.1 200 OK\r\n",
                                     "\r\n",
                                     "Content-Length: 3\r\n",
                                     "\n",
                                     "Transfer-Encoding: ",
                                     "chunked",
                                     "5\r\n",
                                     "hello",
                                     "0\r\n",
                                     ":",
                                     "\r"};
    uint32_t seed = 4711;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct answer_parser p;
        enum answer_step step = ANSWER_MORE;
        size_t n = 0;
        char *data = malloc(256);

        answer_parser_init(&p, false, MAX_BYTES);
        for (int i = 0; i < 9 && step == ANSWER_MORE; i++) {
            const char *part;

            seed = seed * 1664525u + 1013904223u;
            part = parts[i == 0 ? 0 : (seed >> 16) % 11];
            memcpy(data + n, part, strlen(part));
            n += strlen(part);
            step = answer_parse(&p, data, n, i == 8);
            if (step == ANSWER_DONE)
                assert_true(p.end <= n && p.body_start + p.body_n <= n);
        }
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_too_many_headers),
        cmocka_unit_test(test_noise),
    };

    (void)setup_loop;
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
