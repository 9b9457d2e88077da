/* The Authorization header of the header schemes. */
#include "fuzz.h"

#include "core/scheme.h"

static void check_fields(struct slice header, const struct authorization *a)
{
    const struct slice fields[] = {a->mchid, a->nonce_str, a->timestamp, a->serial_no,
                                   a->signature};
    int64_t timestamp;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        must(fields[i].n > 0);
        must(fuzz_within(fields[i], header));
        /* nothing that could end a value, a header or a log line */
        for (size_t k = 0; k < fields[i].n; k++)
            must(fields[i].p[k] > ' ' && fields[i].p[k] < 0x7f && fields[i].p[k] != '"');
    }
    must(a->scheme != SCHEME_NONE);
    must(a->nonce_str.n >= 16 && a->nonce_str.n <= 64);
    must(a->serial_no.n <= 64 && a->mchid.n <= 64);
    must(slice_int64(a->timestamp, &timestamp) == 0 && timestamp == a->timestamp_s);
}

/* The same parameters in another order mean the same. */
static void check_order(const struct authorization *a)
{
    struct authorization again;
    const char *reason;
    struct buf b;

    buf_init(&b, 65536);
    buf_addf(&b,
             "%s signature=\"%.*s\",serial_no=\"%.*s\",timestamp=\"%.*s\",nonce_str=\"%.*s\",mchid="
             "\"%.*s\"",
             scheme_name(a->scheme), SLICE_FMT(a->signature), SLICE_FMT(a->serial_no),
             SLICE_FMT(a->timestamp), SLICE_FMT(a->nonce_str), SLICE_FMT(a->mchid));
    must(buf_ok(&b));
    must(authorization_parse(buf_slice(&b), &again, &reason) == 0);
    must(again.scheme == a->scheme && again.timestamp_s == a->timestamp_s);
    must(slice_eq(again.mchid, a->mchid) && slice_eq(again.nonce_str, a->nonce_str));
    must(slice_eq(again.serial_no, a->serial_no) && slice_eq(again.signature, a->signature));
    buf_release(&b);
}

/* Nobody guesses a signature, and a wrong one harms nothing. */
static void check_forged(const struct authorization *a)
{
    static struct verify_key key;
    struct slice parts[SCHEME_PARTS];
    size_t count;

    if (key.alg == KEY_ALG_NONE)
        must(verify_key_load(&key, KEY_HMAC_SHA256, SLICE("0123456789abcdef0123456789abcdef")) ==
             0);
    count = scheme_request_parts(SLICE("POST"), SLICE("/v1/payments"), a->timestamp, a->nonce_str,
                                 SLICE("{}"), parts);
    must(count <= SCHEME_PARTS);
    must(scheme_verify(&key, parts, count, a->signature) == -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice header = slice_n(data, size);
    struct authorization a;
    const char *reason = NULL;

    if (authorization_parse(header, &a, &reason) != 0) {
        must(reason && *reason);
        return 0;
    }
    check_fields(header, &a);
    check_order(&a);
    check_forged(&a);
    return 0;
}
