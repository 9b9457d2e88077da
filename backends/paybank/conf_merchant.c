#include "conf.h"

#include <fcntl.h>
#include <openssl/bn.h>
#include <unistd.h>

#define FILE_MAX (64 << 10)

static const struct conf_directive channel_table[] = {
    {"merchant", 1, 1, CONF_BLOCK | CONF_REPEAT | CONF_NEED, "ID { ... }", "", "one merchant"},
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

#define DISABLED                                                                                   \
    {                                                                                              \
        "disabled", 1, 1, 0, "on | off", "off", "the merchant may not take payments"               \
    }

static const struct conf_directive wechat_v2_table[] = {
    {"appid", 1, APPIDS_MAX, CONF_NEED, "APPID ...", "", "apps bound to the merchant"},
    {"api_key", 1, 1, CONF_NEED, "TEXT", "", "32 characters that sign in both directions"},
    {"api_cert", 1, 1, 0, "FILE", "",
     "PEM certificate that reversals and refunds must come with; without it they are refused"},
    DISABLED,
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive wechat_table[] = {
    {"appid", 1, APPIDS_MAX, CONF_NEED, "APPID ...", "", "apps bound to the merchant"},
    {"api_v3_key", 1, 1, CONF_NEED, "TEXT", "", "32 characters that encrypt notifications"},
    {"merchant_cert", 1, 1, CONF_NEED, "FILE", "", "PEM certificate that requests are signed with"},
    {"platform_serial", 1, 1, CONF_NEED, "SERIAL", "", "serial number of the platform key"},
    {"platform_key", 1, 1, CONF_NEED, "FILE", "", "PEM private key that signs our answers"},
    {"platform_cert", 1, PLATFORM_CERTS_MAX, 0, "FILE ...", "",
     "PEM certificates that /v3/certificates tells; none: the merchant has our public key"},
    DISABLED,
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive alipay_table[] = {
    {"seller_id", 1, 1, CONF_NEED, "ID", "", "the seller's number, 2088 and 12 digits"},
    {"app_public_key", 1, 1, CONF_NEED, "FILE", "", "PEM public key that requests are signed with"},
    {"alipay_key", 1, 1, CONF_NEED, "FILE", "", "PEM private key that signs our answers"},
    DISABLED,
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive unionpay_table[] = {
    {"merchant_cert", 1, 1, CONF_NEED, "FILE", "", "PEM certificate that requests are signed with"},
    {"unionpay_cert", 1, 1, CONF_NEED, "FILE", "", "PEM certificate that goes with our answers"},
    {"unionpay_key", 1, 1, CONF_NEED, "FILE", "", "its PEM private key"},
    DISABLED,
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

static const struct conf_directive bank_json_table[] = {
    {"key", 1, 1, CONF_NEED, "TEXT", "", "secret shared with the merchant, 32 bytes or more"},
    DISABLED,
    {NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct conf_directive *conf_channel_directives(void)
{
    return channel_table;
}

const struct conf_directive *conf_merchant_directives(enum bank_channel channel)
{
    static const struct conf_directive *const tables[CHANNEL_COUNT] = {
        [CHANNEL_WECHAT_V2] = wechat_v2_table, [CHANNEL_WECHAT_V3] = wechat_table,
        [CHANNEL_ALIPAY] = alipay_table,       [CHANNEL_UNIONPAY] = unionpay_table,
        [CHANNEL_BANK_JSON] = bank_json_table,
    };

    return tables[channel];
}

/* ---- files ---- */

static int read_pem(struct conf_loader *l, const struct conf_node *n, struct slice *out)
{
    const char *path;
    ssize_t got;
    char *p;
    int fd;

    if (conf_set_path(l, n, 0, &path) < 0)
        return -1;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return conf_fail(l->err, n, "cannot open %s", path);
    p = arena_alloc(&l->c->arena, FILE_MAX);
    got = p ? read(fd, p, FILE_MAX) : -1;
    close(fd);
    if (got <= 0 || got == FILE_MAX)
        return conf_fail(l->err, n, "cannot read %s, or it is empty or too large", path);
    *out = slice_n(p, (size_t)got);
    return 0;
}

static int read_public_key(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    struct slice pem;

    if (read_pem(l, n, &pem) < 0)
        return -1;
    m->merchant_key = pkey_public_from_pem(pem);
    return m->merchant_key ? 0 : conf_fail(l->err, n, "not a usable PEM public key");
}

static int read_private_key(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    struct slice pem;

    if (read_pem(l, n, &pem) < 0)
        return -1;
    m->platform_key = pkey_private_from_pem(pem);
    return m->platform_key ? 0 : conf_fail(l->err, n, "not a usable PEM private key");
}

/* UnionPay writes serial numbers in decimal; they are longer than any integer of ours. */
static int to_decimal(char hex[64])
{
    BIGNUM *bn = NULL;
    char *text = NULL;
    int rc = -1;

    if (BN_hex2bn(&bn, hex) > 0 && (text = BN_bn2dec(bn)) && strlen(text) < 64) {
        memcpy(hex, text, strlen(text) + 1);
        rc = 0;
    }
    OPENSSL_free(text);
    BN_free(bn);
    return rc;
}

static int read_merchant_cert(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    struct slice pem;

    if (read_pem(l, n, &pem) < 0)
        return -1;
    if (cert_serial_hex(pem, m->merchant_serial, sizeof(m->merchant_serial)) < 0 ||
        (m->channel == CHANNEL_UNIONPAY && to_decimal(m->merchant_serial) < 0))
        return conf_fail(l->err, n, "not a PEM certificate");
    m->merchant_key = pkey_public_from_pem(pem);
    return m->merchant_key ? 0 : conf_fail(l->err, n, "key not usable");
}

/* The TLS of the merchant's calls is asked for it, so every such certificate stands in one text. */
static int read_api_cert(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    struct arena *a = &l->c->arena;
    struct slice pem;
    struct buf der;

    if (read_pem(l, n, &pem) < 0)
        return -1;
    buf_init(&der, FILE_MAX);
    if (cert_der(pem, &der) == 0)
        m->api_cert = arena_copy(a, buf_slice(&der));
    buf_release(&der);
    if (!m->api_cert.n)
        return conf_fail(l->err, n, "not a PEM certificate");
    l->c->tls_clients =
        arena_printf(a, "%s%.*s\n", l->c->tls_clients ? l->c->tls_clients : "", SLICE_FMT(pem)).p;
    return l->c->tls_clients ? 0 : conf_fail(l->err, n, "no memory");
}

/* Lines of the certificate end with CRLF on the wire. */
static int read_platform_cert(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    struct slice pem;
    char *p;
    size_t at = 0;

    if (read_pem(l, n, &pem) < 0)
        return -1;
    if (cert_serial_hex(pem, m->platform_cert_id, sizeof(m->platform_cert_id)) < 0 ||
        to_decimal(m->platform_cert_id) < 0)
        return conf_fail(l->err, n, "not a PEM certificate");
    p = arena_alloc(&l->c->arena, 2 * pem.n);
    if (!p)
        return conf_fail(l->err, n, "no memory");
    while (pem.n && pem.p[pem.n - 1] == '\n')
        pem.n--;
    for (size_t i = 0; i < pem.n; i++) {
        if (pem.p[i] == '\n' && (i == 0 || pem.p[i - 1] != '\r'))
            p[at++] = '\r';
        p[at++] = pem.p[i];
    }
    m->platform_cert = slice_n(p, at);
    return 0;
}

/* ---- one merchant ---- */

static int read_secret(struct conf_loader *l, const struct conf_node *n, struct secret *out)
{
    if (n->args[0].n != 32)
        return conf_fail(l->err, n, "%.*s must have 32 characters", SLICE_FMT(n->name));
    return secret_set(out, n->args[0]) < 0 ? conf_fail(l->err, n, "no memory") : 0;
}

static int read_shared_key(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    m->shared_key = hmac_key_new(n->args[0]);
    return m->shared_key ? 0 : conf_fail(l->err, n, "no memory");
}

static int read_api_key(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    return read_secret(l, n, &m->api_key) < 0 ? -1 : read_shared_key(l, n, m);
}

static int read_key(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    if (n->args[0].n < 32)
        return conf_fail(l->err, n, "key must have 32 bytes or more");
    return read_shared_key(l, n, m);
}

static int read_api_v3_key(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    return read_secret(l, n, &m->api_v3_key);
}

static int read_appids(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    (void)l;
    for (uint32_t i = 0; i < n->nargs; i++)
        m->appids[i] = n->args[i];
    m->nappids = n->nargs;
    return 0;
}

static int read_platform_certs(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    for (uint32_t i = 0; i < n->nargs; i++) {
        struct slice word = n->args[i];
        const struct conf_node one = {
            .name = n->name, .file = n->file, .line = n->line, .args = &word, .nargs = 1};

        if (read_pem(l, &one, &m->platform_certs[i]) < 0)
            return -1;
    }
    m->nplatform_certs = n->nargs;
    return 0;
}

static int read_serial(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    (void)l;
    m->platform_serial = n->args[0];
    return 0;
}

static int read_seller(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    int64_t number;

    if (n->args[0].n != 16 || slice_int64(n->args[0], &number) < 0)
        return conf_fail(l->err, n, "seller_id has 16 digits");
    m->seller_id = n->args[0];
    return 0;
}

static int read_disabled(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    return conf_onoff(n->args[0], &m->disabled) < 0 ? conf_fail(l->err, n, "disabled is on or off")
                                                    : 0;
}

static const struct {
    const char *name;
    int (*read)(struct conf_loader *l, const struct conf_node *n, struct merchant *m);
} readers[] = {
    {"appid", read_appids},
    {"api_key", read_api_key},
    {"api_cert", read_api_cert},
    {"api_v3_key", read_api_v3_key},
    {"merchant_cert", read_merchant_cert},
    {"platform_serial", read_serial},
    {"platform_key", read_private_key},
    {"platform_cert", read_platform_certs},
    {"seller_id", read_seller},
    {"app_public_key", read_public_key},
    {"alipay_key", read_private_key},
    {"unionpay_cert", read_platform_cert},
    {"unionpay_key", read_private_key},
    {"key", read_key},
    {"disabled", read_disabled},
};

static int read_directive(struct conf_loader *l, const struct conf_node *n, struct merchant *m)
{
    size_t i = 0;

    while (!slice_is(n->name, readers[i].name)) /* conf_check let no other pass */
        i++;
    return readers[i].read(l, n, m);
}

static int read_merchant(struct conf_loader *l, const struct conf_node *block,
                         enum bank_channel channel)
{
    struct merchant *m = arena_new(&l->c->arena, struct merchant);

    if (!m || block->args[0].n == 0 || block->args[0].n > MCHID_MAX)
        return conf_fail(l->err, block, "a merchant's id has 1 to 32 characters");
    if (bank_conf_merchant(l->c, channel, block->args[0]))
        return conf_fail(l->err, block, "merchant %.*s stands twice", SLICE_FMT(block->args[0]));
    if (conf_check(block, NULL, conf_merchant_directives(channel), l->err) < 0)
        return -1;
    m->channel = channel;
    m->id = block->args[0];
    m->next = l->c->merchants;
    l->c->merchants = m; /* at once, so that release frees what was read so far */
    for (const struct conf_node *n = block->child; n; n = n->next)
        if (read_directive(l, n, m) < 0)
            return -1;
    return 0;
}

int conf_read_channel(struct conf_loader *l, const struct conf_node *block,
                      enum bank_channel channel)
{
    if (conf_check(block, NULL, channel_table, l->err) < 0)
        return -1;
    for (const struct conf_node *n = block->child; n; n = n->next)
        if (read_merchant(l, n, channel) < 0)
            return -1;
    return 0;
}

void conf_merchant_release(struct merchant *m)
{
    secret_release(&m->api_key);
    secret_release(&m->api_v3_key);
    pkey_destroy(m->merchant_key);
    pkey_destroy(m->platform_key);
    hmac_key_free(m->shared_key);
}
