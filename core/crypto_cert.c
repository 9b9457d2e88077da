/*
 * What we read from X.509 certificates besides their key: serial number and validity.
 */
#include "crypto.h"

#include "crypto_sha256.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/x509.h>

int cert_serial_hex(struct slice pem, char *out, size_t n)
{
    X509 *cert = crypto_read_cert(pem);
    BIGNUM *serial = cert ? ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL) : NULL;
    char *hex = serial && !BN_is_negative(serial) ? BN_bn2hex(serial) : NULL;
    int rc = -1;

    if (hex && strlen(hex) < n) {
        memcpy(out, hex, strlen(hex) + 1);
        rc = 0;
    }
    OPENSSL_free(hex);
    BN_free(serial);
    X509_free(cert);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int cert_der(struct slice pem, struct buf *out)
{
    X509 *cert = crypto_read_cert(pem);
    unsigned char *der = NULL;
    int n = cert ? i2d_X509(cert, &der) : -1;

    if (n > 0)
        buf_add(out, der, (size_t)n);
    OPENSSL_free(der);
    X509_free(cert);
    if (n <= 0)
        ERR_clear_error();
    return n > 0 && buf_ok(out) ? 0 : -1;
}

static int seconds_of(const ASN1_TIME *epoch, const ASN1_TIME *t, int64_t *out)
{
    int days, seconds;

    if (!t || ASN1_TIME_diff(&days, &seconds, epoch, t) != 1)
        return -1;
    *out = (int64_t)days * 86400 + seconds;
    return 0;
}

int cert_validity(struct slice pem, int64_t *from, int64_t *to)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    X509 *cert = crypto_read_cert(pem);
    int64_t not_before, not_after;
    int rc = -1;

    if (epoch && cert && seconds_of(epoch, X509_get0_notBefore(cert), &not_before) == 0 &&
        seconds_of(epoch, X509_get0_notAfter(cert), &not_after) == 0) {
        *from = not_before;
        *to = not_after;
        rc = 0;
    }
    X509_free(cert);
    ASN1_TIME_free(epoch);
    if (rc < 0)
        ERR_clear_error();
    return rc;
}

int cert_validity_all(struct slice pem, int64_t *from, int64_t *to)
{
    static const struct slice begin = {"-----BEGIN CERTIFICATE-----", 27};
    int64_t f, t;
    int n = 0;

    for (; pem.n >= begin.n; pem = slice_n(pem.p + 1, pem.n - 1)) {
        if (!slice_starts(pem, begin))
            continue;
        if (cert_validity(pem, &f, &t) != 0)
            return -1;
        *from = n == 0 || f > *from ? f : *from;
        *to = n == 0 || t < *to ? t : *to;
        n++;
    }
    return n ? 0 : -1;
}
