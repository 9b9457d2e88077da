#include "http_request.h"

static bool clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' && s.p[i] != '\t')
            return false;
    return true;
}

static bool one_word(struct slice s)
{
    return s.n && clean(s) && !memchr(s.p, ' ', s.n) && !memchr(s.p, '\t', s.n);
}

/* Set by us, so that a request never says two different things. */
static bool is_ours(struct slice name)
{
    return slice_eq_nocase(name, SLICE("Content-Length")) ||
           slice_eq_nocase(name, SLICE("Connection")) ||
           slice_eq_nocase(name, SLICE("Transfer-Encoding"));
}

int http_request_head(struct buf *b, const struct http_call *call)
{
    bool host = false;

    buf_clear(b);
    if (!one_word(call->method) || !one_word(call->target))
        return -1;
    buf_add_slice(b, call->method);
    buf_add_char(b, ' ');
    buf_add_slice(b, call->target);
    buf_add_str(b, " HTTP/1.1\r\n");
    for (size_t i = 0; i < call->nheaders; i++) {
        const struct http_header *h = &call->headers[i];

        if (!one_word(h->name) || !clean(h->value) || is_ours(h->name))
            return -1;
        host |= slice_eq_nocase(h->name, SLICE("Host"));
        buf_add_slice(b, h->name);
        buf_add(b, ": ", 2);
        buf_add_slice(b, h->value);
        buf_add(b, "\r\n", 2);
    }
    if (!host)
        buf_add_str(b, "Host: egress\r\n");
    if (call->body.n || !(slice_is(call->method, "GET") || slice_is(call->method, "HEAD"))) {
        buf_add_str(b, "Content-Length: ");
        buf_add_int64(b, (int64_t)call->body.n);
        buf_add(b, "\r\n", 2);
    }
    buf_add(b, "\r\n", 2); /* a connection of HTTP/1.1 is kept without saying so */
    return buf_ok(b) ? 0 : -1;
}
