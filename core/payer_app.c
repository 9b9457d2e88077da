#include "core/payer_app.h"

static const struct {
    const char *name;
    const char *product;           /* in a User-Agent */
    unsigned first_min, first_max; /* first two digits of a code */
    size_t min, max;               /* its length */
} apps[PAYER_APP_COUNT] = {
    [PAYER_APP_OTHER] = {"other", NULL, 1, 0, 0, 0},
    [PAYER_APP_WECHAT] = {"wechat", "MicroMessenger/", 10, 15, 18, 18},
    [PAYER_APP_ALIPAY] = {"alipay", "AlipayClient/", 25, 30, 16, 24},
    [PAYER_APP_UNIONPAY] = {"unionpay", "UnionPay/", 62, 62, 19, 19},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

enum payer_app payer_app_of_barcode(struct slice code)
{
    unsigned first;

    for (size_t i = 0; i < code.n; i++) {
        if (!is_digit(code.p[i]))
            return PAYER_APP_OTHER;
    }
    if (code.n < 2)
        return PAYER_APP_OTHER;
    first = (unsigned)(code.p[0] - '0') * 10 + (unsigned)(code.p[1] - '0');
    for (int i = 1; i < PAYER_APP_COUNT; i++) {
        if (first >= apps[i].first_min && first <= apps[i].first_max && code.n >= apps[i].min &&
            code.n <= apps[i].max)
            return (enum payer_app)i;
    }
    return PAYER_APP_OTHER;
}

/* The product with its slash at the beginning of s, and a digit behind it. */
static bool begins_with(struct slice s, const char *product)
{
    struct slice name = slice_of(product);

    return s.n > name.n && slice_eq_nocase(slice_n(s.p, name.n), name) && is_digit(s.p[name.n]);
}

enum payer_app payer_app_of_agent(struct slice user_agent)
{
    enum payer_app found = PAYER_APP_OTHER;
    bool at_start = true; /* of a word */

    for (; user_agent.n; user_agent.p++, user_agent.n--) {
        char c = user_agent.p[0];

        for (int i = 1; at_start && i < PAYER_APP_COUNT; i++) {
            if (begins_with(user_agent, apps[i].product)) {
                if (found != PAYER_APP_OTHER && found != (enum payer_app)i)
                    return PAYER_APP_OTHER;
                found = (enum payer_app)i;
            }
        }
        at_start = c == ' ' || c == '(' || c == ';' || c == ',';
    }
    return found;
}

const char *payer_app_name(enum payer_app app)
{
    return (unsigned)app < PAYER_APP_COUNT ? apps[app].name : "?";
}

int payer_app_parse(struct slice s)
{
    for (int i = 0; i < PAYER_APP_COUNT; i++) {
        if (slice_is(s, apps[i].name))
            return i;
    }
    return -1;
}
