/*
 * The page at /: the latest orders, and a button that plays the payer. Plain HTML, nothing from
 * outside; what merchants wrote is escaped.
 */
#include "check.h"
#include "control.h"
#include "exchange.h"
#include "payer.h"

#define PAGE_ORDERS 200
#define PAGE_CAP    (1 << 20)

static const char page_head[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>paybank</title>"
    "<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
    "td,th{border-bottom:1px solid #ccc;padding:4px 10px;text-align:left}"
    "td.n{text-align:right}code{font-size:12px}</style></head><body>"
    "<h1>The virtual bank's books</h1><p>Money here is not money. Latest orders first.</p>"
    "<table><tr><th>channel<th>merchant<th>out_trade_no<th>amount<th>state<th>created"
    "<th>code<th></tr>\n";

static void add_escaped(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '<':
            buf_add_str(b, "&lt;");
            break;
        case '>':
            buf_add_str(b, "&gt;");
            break;
        case '&':
            buf_add_str(b, "&amp;");
            break;
        case '"':
            buf_add_str(b, "&quot;");
            break;
        case '\'':
            buf_add_str(b, "&#39;");
            break;
        default:
            buf_add_char(b, s.p[i]);
        }
    }
}

static void add_cell(struct buf *b, struct slice s)
{
    buf_add_str(b, "<td>");
    add_escaped(b, s);
}

static void add_button(struct buf *b, const struct order *o, struct slice code_url)
{
    if (o->state != ORDER_NOTPAY)
        return;
    buf_add_str(b, "<form method=\"post\" action=\"/pay\"><input type=\"hidden\" name=\"code_url\" "
                   "value=\"");
    add_escaped(b, code_url);
    buf_add_str(b, "\"><button>Pay</button></form>");
}

static void add_order(struct buf *b, struct order *o, pay_time_t now)
{
    char created[RFC3339_LEN + 1];
    char code_url[CODE_URL_MAX];

    order_settle(o, now);
    time_format_rfc3339(created, o->created_at);
    payer_code_url(o, code_url);
    buf_add_str(b, "<tr>");
    add_cell(b, slice_of(bank_channel_name(o->merchant->channel)));
    add_cell(b, o->merchant->id);
    add_cell(b, order_no(o));
    buf_addf(b, "<td class=\"n\">%lld.%02lld %s", (long long)(o->amount / 100),
             (long long)(o->amount % 100), o->currency);
    add_cell(b, slice_of(order_state_name(o->state)));
    add_cell(b, slice_of(created));
    buf_add_str(b, "<td><code>");
    add_escaped(b, slice_of(code_url));
    buf_add_str(b, "</code><td>");
    add_button(b, o, slice_of(code_url));
    buf_add_str(b, "</tr>\n");
}

static void reply_page(struct http_req *req, struct slice body)
{
    struct http_header h[] = {
        {SLICE("Content-Type"), SLICE("text/html; charset=utf-8")},
        {SLICE("Content-Security-Policy"),
         SLICE("default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
               "frame-ancestors 'none'")},
        {SLICE("X-Content-Type-Options"), SLICE("nosniff")},
        {SLICE("Cache-Control"), SLICE("no-store")},
    };

    http_req_reply(req, 200, h, sizeof(h) / sizeof(h[0]), body);
}

static void show(struct bank *bank, struct http_req *req)
{
    pay_time_t now = clock_read_wall();
    uint32_t seq = books_count(bank->books);
    struct buf b;

    buf_init(&b, PAGE_CAP);
    buf_add_str(&b, page_head);
    for (uint32_t i = 0; i < PAGE_ORDERS && seq > 0; i++, seq--)
        add_order(&b, books_at(bank->books, seq), now);
    buf_addf(&b, "</table><p>%u orders in all.</p></body></html>\n", books_count(bank->books));
    if (buf_ok(&b))
        reply_page(req, buf_slice(&b));
    else
        http_req_abort(req);
    buf_release(&b);
}

/* A page of another site must not press the button. */
static bool same_origin(struct http_req *req)
{
    struct slice origin = http_req_header(req, "Origin");
    struct slice host = http_req_header(req, "Host");
    struct slice rest = origin;

    if (!origin.p)
        return true;
    slice_cut(&rest, '/');
    slice_cut(&rest, '/');
    return rest.p && slice_eq(rest, host);
}

static void pay(struct bank *bank, struct http_req *req)
{
    struct http_header to_page = {SLICE("Location"), SLICE("/")};
    struct slice value = req->body;
    struct slice name = slice_cut(&value, '=');
    struct slice code_url;
    struct order *o = NULL;

    if (!same_origin(req)) {
        reply_error(req, 403, "not from this page");
        return;
    }
    if (slice_is(name, "code_url") && check_unescape(&req->arena, value, &code_url) == 0)
        o = payer_scan(bank, code_url);
    if (!o) {
        reply_error(req, 404, "no such code");
        return;
    }
    payer_pay(bank, o, false); /* the page shows what came of it */
    http_req_reply(req, 303, &to_page, 1, SLICE_NULL);
}

void page_handle(struct bank *bank, struct http_req *req)
{
    if (slice_is(req->target, "/") && slice_is(req->method, "GET"))
        show(bank, req);
    else if (slice_is(req->target, "/pay") && slice_is(req->method, "POST"))
        pay(bank, req);
    else
        reply_error(req, 404, "no such path or method");
}
