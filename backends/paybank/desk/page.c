/*
 * The page at /: the latest orders, and buttons that play the payer. Plain HTML, nothing from
 * outside; what merchants wrote is escaped.
 */
#include "backends/paybank/exchange.h"
#include "backends/paybank/wire/form.h"
#include "control.h"
#include "payer.h"

#define PAGE_ORDERS 200
#define PAGE_CAP    (1 << 20)

static const char page_head[] =
    "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>paybank</title>"
    "<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
    "td,th{border-bottom:1px solid #ccc;padding:4px 10px;text-align:left}"
    "td.n{text-align:right}form{display:inline}code{font-size:12px}</style></head><body>"
    "<h1>The virtual bank's books</h1><p>Money here is not money. Latest orders first.</p>"
    "<table><tr><th>channel<th>merchant<th>out_trade_no<th>amount<th>method<th>state<th>created"
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

/* What the payer of this order can do now. */
static void add_button(struct buf *b, struct slice code_url, const char *act, const char *text)
{
    buf_add_str(b, "<form method=\"post\" action=\"/payer\"><input type=\"hidden\" name=\"act\" "
                   "value=\"");
    buf_add_str(b, act);
    buf_add_str(b, "\"><input type=\"hidden\" name=\"code_url\" value=\"");
    add_escaped(b, code_url);
    buf_addf(b, "\"><button>%s</button></form>", text);
}

static void add_buttons(struct buf *b, const struct order *o, struct slice code_url)
{
    if (o->state == ORDER_NOTPAY) {
        if (!o->scanned)
            add_button(b, code_url, "scan", "Scan");
        add_button(b, code_url, "pay", "Pay");
    }
    if (o->state == ORDER_USERPAYING)
        add_button(b, code_url, "pay", "Type the password");
    if (o->state == ORDER_USERPAYING ||
        (o->state == ORDER_NOTPAY && o->merchant->channel == CHANNEL_BANK_JSON))
        add_button(b, code_url, "refuse", "Refuse");
}

static void add_state(struct buf *b, struct order *o, pay_time_t now)
{
    int64_t refunded = order_refunded(o, now);

    add_cell(b, slice_of(order_state_name(o->state)));
    if (refunded > 0)
        buf_addf(b, ", %lld.%02lld refunded", (long long)(refunded / 100),
                 (long long)(refunded % 100));
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
    add_cell(b, slice_of(pay_method_name(o->method)));
    add_state(b, o, now);
    add_cell(b, slice_of(created));
    buf_add_str(b, "<td><code>");
    add_escaped(b, slice_of(code_url));
    buf_add_str(b, "</code><td>");
    add_buttons(b, o, slice_of(code_url));
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
    pay_time_t now = bank_now(bank);
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

static int read_act(struct slice s, enum payer_act *out)
{
    static const char *const names[] = {
        [PAYER_PAYS] = "pay", [PAYER_REFUSES] = "refuse", [PAYER_LOOKS] = "scan"};

    for (int i = 0; i < 3; i++)
        if (slice_is(s, names[i])) {
            *out = (enum payer_act)i;
            return 0;
        }
    return -1;
}

static void act(struct bank *bank, struct http_req *req)
{
    struct http_header to_page = {SLICE("Location"), SLICE("/")};
    enum payer_act what = PAYER_PAYS;
    const char *reason;
    struct order *o;
    struct form f;

    if (!same_origin(req)) {
        reply_error(req, 403, "not from this page");
        return;
    }
    if (form_init(&f, &req->arena) < 0 || form_parse(&f, req->body, &reason) < 0 ||
        (form_get(&f, "act").p && read_act(form_get(&f, "act"), &what) < 0)) {
        reply_error(req, 400, "not a form of this page");
        return;
    }
    o = payer_scan(bank, form_get(&f, "code_url"));
    if (!o) {
        reply_error(req, 404, "no such code");
        return;
    }
    payer_acts(bank, o, what); /* the page shows what came of it */
    http_req_reply(req, 303, &to_page, 1, SLICE_NULL);
}

void page_handle(struct bank *bank, struct http_req *req)
{
    if (slice_is(req->target, "/") && slice_is(req->method, "GET"))
        show(bank, req);
    else if (slice_is(req->target, "/payer") && slice_is(req->method, "POST"))
        act(bank, req);
    else
        reply_error(req, 404, "no such path or method");
}
