/*
 * payd's record of a key (docs/interfaces.md) as an ngx_pay_key_t.
 */

#include "ngx_pay_keys.h"

#include "core/ids.h"


#define NGX_PAY_RECORD_ARENA  (128 * 1024)
#define NGX_PAY_ID_MAX        64


static int
ngx_pay_key_number(const struct json *doc, const char *name, int64_t min,
    int64_t max, int64_t dflt, int64_t *out)
{
    const struct json  *v;

    v = json_get(doc, name);

    if (v == NULL || v->type == JSON_NULL) {
        *out = dflt;
        return 0;
    }

    if (json_int64(v, out) != 0 || *out < min || *out > max) {
        return -1;
    }

    return 0;
}


static int
ngx_pay_key_load(ngx_pay_key_t *key, const struct json *doc)
{
    int                 rc;
    struct buf          material;
    enum key_alg        alg;
    const struct json  *md5;

    alg = key_alg_parse(json_str(doc, "alg"));
    key->scheme = json_get(doc, "scheme")
                  ? key_scheme_parse(json_str(doc, "scheme"))
                  : KEY_SCHEME_HEADER;

    if (!key_scheme_allows(key->scheme, alg)) {
        return -1;
    }

    /* only when the operator has switched it on for this key */

    md5 = json_get(doc, "md5");

    if (alg == KEY_MD5 && (md5 == NULL || md5->type != JSON_TRUE)) {
        return -1;
    }

    buf_init(&material, NGX_PAY_LINE_MAX);

    rc = base64_decode(&material, json_str(doc, "key"));

    if (rc == 0) {
        rc = verify_key_load(&key->verify, alg, buf_slice(&material));
    }

    wipe(material.p, material.n);
    buf_release(&material);

    return rc;
}


static u_char *
ngx_pay_key_copy(ngx_str_t *to, struct slice from, u_char *p)
{
    to->data = p;
    to->len = from.n;

    return ngx_cpymem(p, from.p, from.n);
}


/* an operator's limit for this app or merchant, in the place of nginx.conf's */

void
ngx_pay_key_set_limit(ngx_pay_key_t *key, ngx_uint_t kind, ngx_uint_t rate,
    ngx_uint_t window, ngx_uint_t burst)
{
    ngx_pay_limit_t  *l;

    l = &key->limits[kind];

    if (kind == NGX_PAY_LIMIT_APP) {
        ngx_str_set(&l->name, "app");

    } else {
        ngx_str_set(&l->name, "merchant");
    }

    l->kind = kind;
    l->rate = rate;
    l->window = window;
    l->burst = burst;

    ngx_pay_limit_init(l);
}


static int
ngx_pay_key_limit(ngx_pay_key_t *key, const struct json *doc, ngx_uint_t kind)
{
    int64_t  rate, window, burst;

    static const char *const  names[2][3] = {
        { "rate", "window", "burst" },
        { "merchant_rate", "merchant_window", "merchant_burst" }
    };

    if (ngx_pay_key_number(doc, names[kind][0], 0, NGX_PAY_LIMIT_RATE_MAX, 0,
                           &rate)
        || ngx_pay_key_number(doc, names[kind][1], 1, 3600, 1, &window)
        || ngx_pay_key_number(doc, names[kind][2], 0, NGX_PAY_LIMIT_RATE_MAX, 0,
                              &burst))
    {
        return -1;
    }

    ngx_pay_key_set_limit(key, kind, rate, window, burst);

    return 0;
}


/* a network that cannot be read must not open the door: no key then */

static int
ngx_pay_key_allow(ngx_pay_key_t *key, const struct json *allow)
{
    const struct json  *v;

    if (allow && allow->type != JSON_ARRAY) {
        return -1;
    }

    for (v = allow ? allow->child : NULL; v; v = v->next) {
        if (v->type != JSON_STRING
            || addr_rule_parse(v->text, &key->allow[key->nallow]) != 0)
        {
            return -1;
        }

        key->nallow++;
    }

    return 0;
}


static ngx_pay_key_t *
ngx_pay_key_create(const struct json *doc)
{
    u_char             *p;
    size_t              rules;
    int64_t             base_slot, span;
    struct slice        serial, mchid, app;
    ngx_pay_key_t      *key;
    const struct json  *allow;

    serial = json_str(doc, "serial");
    mchid = json_str(doc, "mchid");
    app = json_str(doc, "app");

    if (serial.n == 0 || serial.n > NGX_PAY_SERIAL_MAX
        || mchid.n == 0 || mchid.n > NGX_PAY_ID_MAX
        || app.n == 0 || app.n > NGX_PAY_ID_MAX)
    {
        return NULL;
    }

    allow = json_get(doc, "allow");
    rules = allow ? allow->count * sizeof(struct addr_rule) : 0;

    key = ngx_calloc(sizeof(ngx_pay_key_t) + rules + serial.n + mchid.n + app.n,
                     ngx_cycle->log);
    if (key == NULL) {
        return NULL;
    }

    key->refs = 1;
    key->on = slice_is(json_str(doc, "state"), "on");

    key->allow_alert = slice_is(json_str(doc, "allow_mode"), "alert");
    key->allow = (struct addr_rule *) (key + 1);

    p = (u_char *) key->allow + rules;
    p = ngx_pay_key_copy(&key->serial, serial, p);
    p = ngx_pay_key_copy(&key->mchid, mchid, p);
    p = ngx_pay_key_copy(&key->app, app, p);

    if (ngx_pay_key_number(doc, "base_slot", 0, SLOT_COUNT - 1, 0, &base_slot)
        || ngx_pay_key_number(doc, "span", 1, 64, 1, &span)
        || ngx_pay_key_allow(key, allow)
        || ngx_pay_key_limit(key, doc, NGX_PAY_LIMIT_APP)
        || ngx_pay_key_limit(key, doc, NGX_PAY_LIMIT_MERCHANT)
        || ngx_pay_key_number(doc, "valid_from", 0, INT64_MAX, 0,
                              &key->valid_from)
        || ngx_pay_key_number(doc, "valid_to", 0, INT64_MAX, INT64_MAX,
                              &key->valid_to)
        || ngx_pay_key_load(key, doc) != 0)
    {
        ngx_pay_key_unref(key);
        return NULL;
    }

    key->base_slot = base_slot;
    key->span = span;

    return key;
}


ngx_pay_key_t *
ngx_pay_key_parse(struct slice record)
{
    struct arena        arena;
    struct slice        secret;
    ngx_pay_key_t      *key;
    struct json_error   err;
    const struct json  *doc;

    key = NULL;
    arena_init(&arena, NGX_PAY_RECORD_ARENA);

    if (json_parse(&arena, record, NULL, &doc, &err) == 0
        && doc->type == JSON_OBJECT)
    {
        key = ngx_pay_key_create(doc);

        secret = json_str(doc, "key");
        wipe((void *) (uintptr_t) secret.p, secret.n);
    }

    arena_release(&arena);

    return key;
}
