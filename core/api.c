/*
 * The merchant API as tables, and matching of method and target. Checking of bodies: api_check.c.
 */
#include "core/api.h"

/* clang-format off */
static const struct api_field payment_fields[] = {
    {"method", FIELD_STRING, true, 1, 16, NULL, "native|barcode|jsapi|h5|app", "how the payer pays"},
    {"out_trade_no", FIELD_STRING, true, 6, 32, "0-9A-Za-z_-|*", NULL,
     "the merchant's order number; repeating a request with the same one is safe"},
    {"amount", FIELD_OBJECT, true, 0, 0, NULL, NULL, "what is to be paid"},
    {"amount.total", FIELD_INTEGER, true, AMOUNT_MIN, AMOUNT_MAX, NULL, NULL, "fen"},
    {"amount.currency", FIELD_STRING, false, 3, 3, NULL, "CNY", "ISO 4217; CNY when absent"},
    {"description", FIELD_STRING, true, 1, 127, NULL, NULL, "what the payer reads"},
    {"notify_url", FIELD_URL, false, 1, 255, NULL, NULL, "where the result is sent"},
    {"time_expire", FIELD_TIME, false, 0, 0, NULL, NULL, "RFC 3339; closed when unpaid by then"},
    {"scene", FIELD_STRING, false, 1, 16, NULL, "app|wap|pc|store", "where the payer is"},
    {"product", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-.", NULL, "product code, for statistics"},
    {"store_id", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-.", NULL, "the merchant's store"},
    {"attach", FIELD_STRING, false, 0, 128, NULL, NULL, "handed back in callbacks"},
    {"auth_code", FIELD_STRING, false, 16, 24, "0-9", NULL,
     "barcode: what the payer shows; used once, never stored"},
    {"payer_id", FIELD_STRING, false, 1, 128, "0-9A-Za-z_-", NULL,
     "jsapi: the payer at the channel: openid, buyer id"},
    {"payer_client_ip", FIELD_ADDRESS, false, 2, 45, NULL, NULL,
     "h5: address of the payer's device; barcode: of the till"},
    {"return_url", FIELD_URL, false, 1, 255, NULL, NULL,
     "h5, app: where the payer's browser goes afterwards"},
    {"terminal_id", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-", NULL, "barcode: the merchant's till"},
    {"channel", FIELD_STRING, false, 1, 32, "0-9a-z_-", NULL, "wish for a channel"},
    {"mchid", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-", NULL, "must be the key's merchant"},
    {"appid", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-", NULL, "must be the key's app"},
    {0},
};

static const struct api_field close_fields[] = {
    {"mchid", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-", NULL, "must be the key's merchant"},
    {0},
};

static const struct api_field refund_fields[] = {
    {"out_trade_no", FIELD_STRING, true, 6, 32, "0-9A-Za-z_-|*", NULL, "of the payment"},
    {"out_refund_no", FIELD_STRING, true, 6, 64, "0-9A-Za-z_-|*@", NULL,
     "the merchant's refund number; repeating a request with the same one is safe"},
    {"amount", FIELD_OBJECT, true, 0, 0, NULL, NULL, "what is to be given back"},
    {"amount.refund", FIELD_INTEGER, true, AMOUNT_MIN, AMOUNT_MAX, NULL, NULL, "fen"},
    {"amount.total", FIELD_INTEGER, false, AMOUNT_MIN, AMOUNT_MAX, NULL, NULL,
     "of the payment; compared when it is there"},
    {"amount.currency", FIELD_STRING, false, 3, 3, NULL, "CNY", "ISO 4217; CNY when absent"},
    {"reason", FIELD_STRING, false, 1, 80, NULL, NULL, "what the payer reads"},
    {"notify_url", FIELD_URL, false, 1, 255, NULL, NULL, "where the result is sent"},
    {"mchid", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-", NULL, "must be the key's merchant"},
    {"appid", FIELD_STRING, false, 1, 32, "0-9A-Za-z_-", NULL, "must be the key's app"},
    {0},
};

static const struct api apis[] = {
    {API_PAYMENT_CREATE, "POST", "/v1/payments", payment_fields, 16384, 0},
    {API_PAYMENT_FIND, "GET", "/v1/payments", NULL, 0, 0},
    {API_PAYMENT_FIND, "GET", "/v1/payments/out-trade-no/{no}", NULL, 0, 0},
    {API_PAYMENT_GET, "GET", "/v1/payments/{id}", NULL, 0, 'P'},
    {API_PAYMENT_CLOSE, "POST", "/v1/payments/{id}/close", close_fields, 1024, 'P'},
    {API_CERTIFICATES, "GET", "/v1/certificates", NULL, 0, 0},
    {API_REFUND_CREATE, "POST", "/v1/refunds", refund_fields, 16384, 0},
    {API_REFUND_FIND, "GET", "/v1/refunds", NULL, 0, 0},
    {API_REFUND_GET, "GET", "/v1/refunds/{id}", NULL, 0, 'R'},
};
/* clang-format on */

static const struct api_method_field method_fields[] = {
    {"auth_code", "barcode", "barcode"},     {"payer_id", "jsapi", "jsapi"},
    {"payer_client_ip", "h5", "h5|barcode"}, {"return_url", NULL, "h5|app"},
    {"terminal_id", NULL, "barcode"},        {0},
};

const struct api_method_field *api_method_fields(void)
{
    return method_fields;
}

#define API_COUNT (sizeof(apis) / sizeof(apis[0]))

const struct api *api_table(size_t *count)
{
    *count = API_COUNT;
    return apis;
}

const struct api *api_of(enum api_id id)
{
    for (size_t i = 0; i < API_COUNT; i++) {
        if (apis[i].id == id)
            return &apis[i];
    }
    return NULL;
}

static int refuse(struct problem *p, enum problem_code code, struct slice detail)
{
    *p = (struct problem){.code = code, .detail = detail};
    return -1;
}

/* Walks pattern and path segment by segment; `{name}` takes one whole, non-empty segment. */
static bool path_matches(const char *pattern, struct slice path, struct slice *param)
{
    size_t i = 0;

    *param = SLICE_NULL;
    while (*pattern && i < path.n) {
        if (*pattern != '{') {
            if (*pattern++ != path.p[i++])
                return false;
            continue;
        }
        size_t start = i;
        while (i < path.n && path.p[i] != '/')
            i++;
        if (i == start)
            return false;
        *param = slice_n(path.p + start, i - start);
        while (*pattern++ != '}')
            ;
    }
    return !*pattern && i == path.n;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static int percent_decode(struct arena *a, struct slice in, struct slice *out)
{
    if (memchr(in.p ? in.p : "", '%', in.n) == NULL) {
        *out = in;
        return 0;
    }

    char *p = arena_alloc(a, in.n);
    size_t n = 0;

    if (p == NULL)
        return -1;
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != '%') {
            p[n++] = in.p[i];
            continue;
        }
        if (i + 2 >= in.n || hex_digit(in.p[i + 1]) < 0 || hex_digit(in.p[i + 2]) < 0)
            return -1;
        p[n++] = (char)(hex_digit(in.p[i + 1]) * 16 + hex_digit(in.p[i + 2]));
        i += 2;
    }
    *out = slice_n(p, n);
    return 0;
}

/* A merchant's number as the fields' table has it. */
static bool number_valid(struct slice s, size_t max, const char *marks)
{
    if (s.n < 6 || s.n > max)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            (c && strchr(marks, c)))
            continue;
        return false;
    }
    return true;
}

static int take_out_trade_no(struct arena *a, struct slice raw, struct api_match *out,
                             struct problem *problem)
{
    if (percent_decode(a, raw, &out->out_trade_no) == 0 &&
        number_valid(out->out_trade_no, 32, "_-|*"))
        return 0;
    return refuse(problem, PROBLEM_FIELD_INVALID,
                  SLICE("out_trade_no must be 6 to 32 of 0-9 A-Z a-z _ - | *"));
}

static int take_out_refund_no(struct arena *a, struct slice raw, struct api_match *out,
                              struct problem *problem)
{
    if (percent_decode(a, raw, &out->out_refund_no) == 0 &&
        number_valid(out->out_refund_no, 64, "_-|*@"))
        return 0;
    return refuse(problem, PROBLEM_FIELD_INVALID,
                  SLICE("out_refund_no must be 6 to 64 of 0-9 A-Z a-z _ - | * @"));
}

/* Parameters: mchid everywhere (WeChat's SDKs send it), numbers where the path has none. */
static int take_query(struct arena *a, struct slice query, struct api_match *out,
                      struct problem *problem)
{
    bool refund = out->api->id == API_REFUND_FIND;
    bool find = refund || (out->api->id == API_PAYMENT_FIND && out->out_trade_no.n == 0);

    while (query.n) {
        struct slice value = slice_cut(&query, '&');
        struct slice name = slice_cut(&value, '=');

        if (find && slice_is(name, "out_trade_no") && out->out_trade_no.n == 0) {
            if (take_out_trade_no(a, value, out, problem) != 0)
                return -1;
        } else if (refund && slice_is(name, "out_refund_no") && out->out_refund_no.n == 0) {
            if (take_out_refund_no(a, value, out, problem) != 0)
                return -1;
        } else if (slice_is(name, "mchid") && value.n && out->mchid.n == 0) {
            out->mchid = value;
        } else {
            return refuse(problem, PROBLEM_FIELD_UNKNOWN,
                          SLICE("unknown or repeated query parameter"));
        }
    }
    if (find && out->out_trade_no.n == 0)
        return refuse(problem, PROBLEM_FIELD_MISSING, SLICE("query parameter out_trade_no"));
    if (refund && out->out_refund_no.n == 0)
        return refuse(problem, PROBLEM_FIELD_MISSING, SLICE("query parameter out_refund_no"));
    return 0;
}

int api_match(struct arena *a, struct slice method, struct slice target, struct api_match *out,
              struct problem *problem)
{
    struct slice query = target;
    struct slice path = slice_cut(&query, '?');
    struct slice allowed = SLICE_NULL;

    *out = (struct api_match){0};

    for (size_t i = 0; i < API_COUNT; i++) {
        const struct api *api = &apis[i];
        struct slice param;

        if (!path_matches(api->path, path, &param))
            continue;
        if (!slice_is(method, api->method)) {
            allowed = allowed.n ? arena_printf(a, "%.*s, %s", SLICE_FMT(allowed), api->method)
                                : slice_of(api->method);
            continue;
        }

        out->api = api;
        if (api->id == API_PAYMENT_FIND && param.n) {
            if (take_out_trade_no(a, param, out, problem) != 0)
                return -1;
        } else {
            out->id = param;
        }
        return take_query(a, query, out, problem);
    }
    return refuse(problem, allowed.n ? PROBLEM_METHOD_NOT_ALLOWED : PROBLEM_PATH_UNKNOWN, allowed);
}
