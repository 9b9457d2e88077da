/*
 * crypto - the primitives of OpenSSL 3 that ngx_pay uses, with cached states and secrets that do
 * not reach a log. All functions: 0, or -1 (bad key, bad input, forged); nothing is printed.
 */
#ifndef CORE_CRYPTO_H
#define CORE_CRYPTO_H

#include "arena.h"
#include "buf.h"

#define MD5_LEN        16
#define SHA256_LEN     32
#define SHA512_LEN     64
#define AES256_KEY_LEN 32

/* A secret has its own type so that no printf or log call takes it by accident. */
struct secret {
    uint8_t *p; /* malloc'ed, wiped on release */
    size_t n;
};
int secret_set(struct secret *s, struct slice from);
void secret_release(struct secret *s);

int sha256(struct slice in, uint8_t out[SHA256_LEN]);
/* Over the concatenation of parts[0..count). MD5 only for merchants' keys that ask for it. */
int sha512_parts(const struct slice *parts, size_t count, uint8_t out[SHA512_LEN]);
int md5_parts(const struct slice *parts, size_t count, uint8_t out[MD5_LEN]);
int random_bytes(void *p, size_t n);
/* n random characters of 0-9A-Z a-z (nonces). */
void random_token(char *out, size_t n);
/* Constant time; false when lengths differ. */
bool equal_ct(struct slice a, struct slice b);
void wipe(void *p, size_t n);

/* HMAC-SHA256 with the key's state computed once (0.4 us against 1.4 us for HMAC()). */
struct hmac_key;
struct hmac_key *hmac_key_new(struct slice key); /* NULL on empty key or no memory */
void hmac_key_free(struct hmac_key *k);
/* Over the concatenation of parts[0..count). */
int hmac_sign(const struct hmac_key *k, const struct slice *parts, size_t count,
              uint8_t out[SHA256_LEN]);
int hmac_verify(const struct hmac_key *k, const struct slice *parts, size_t count,
                struct slice mac);

/* Public-key signatures. A key is bound to one of these when it is loaded, so that nothing in a
 * message can choose another: RSA PKCS#1 v1.5 with SHA-256; RSA-PSS with SHA-512, MGF1-SHA-512 and
 * 64 bytes of salt; ECDSA over P-256 with SHA-256, as r || s in 64 bytes (RFC 9421, 3.3.4); Ed25519
 * (RFC 8032). */
enum pkey_alg { PKEY_RSA_SHA256, PKEY_RSA_PSS_SHA512, PKEY_ECDSA_P256_SHA256, PKEY_ED25519 };
struct pkey;
/* PEM of a private key, public key (SPKI) or X.509 certificate; the public one may also be DER
 * (SPKI). NULL unless it is a key of `alg`; RSA must have 2048..8192 bits. */
struct pkey *pkey_private(struct slice pem, enum pkey_alg alg);
struct pkey *pkey_public(struct slice pem_or_der, enum pkey_alg alg);
/* The same for PKEY_RSA_SHA256. */
struct pkey *pkey_private_from_pem(struct slice pem);
struct pkey *pkey_public_from_pem(struct slice pem);
void pkey_destroy(struct pkey *k); /* pkey_free is glibc's: memory protection keys */
size_t pkey_signature_len(const struct pkey *k);
/* The public half as DER (SPKI): 294 bytes for RSA-2048. */
int pkey_public_der(const struct pkey *k, struct buf *out);
/* Thread-safe on the same key: each call uses its own context. sig has *n bytes of room. */
int pkey_sign(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
              size_t *n);
int pkey_verify(const struct pkey *k, const struct slice *parts, size_t count, struct slice sig);
/* The same, -1 for a key of another algorithm than PKEY_RSA_SHA256. */
int pkey_sign_sha256(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
                     size_t *n);
int pkey_verify_sha256(const struct pkey *k, const struct slice *parts, size_t count,
                       struct slice sig);
/* Serial number of a PEM certificate, upper-case hex into out (>= 41 bytes, NUL-terminated). */
int cert_serial_hex(struct slice pem, char *out, size_t n);
/* The first certificate of a PEM text as DER. 0 or -1. */
int cert_der(struct slice pem, struct buf *out);
/* notBefore/notAfter, seconds since 1970. */
int cert_validity(struct slice pem, int64_t *from, int64_t *to);
/* Of all certificates in the text together: the latest notBefore, the earliest notAfter. -1 also
 * when there is none. */
int cert_validity_all(struct slice pem, int64_t *from, int64_t *to);

/* AES-256-GCM. seal: out = cipher || 16-byte tag. open: in = cipher || tag. */
#define GCM_TAG_LEN 16
int gcm_seal(struct slice key, struct slice nonce, struct slice aad, struct slice plain,
             struct buf *out);
int gcm_open(struct slice key, struct slice nonce, struct slice aad, struct slice in,
             struct buf *out);

/* Secrets at rest: 1 version byte || 12 nonce || cipher || tag under the master key; `context`
 * (e.g. "app_key:SERIAL") is authenticated: a sealed value cannot be moved to another row. */
int vault_seal(struct slice master, struct slice context, struct slice plain, struct buf *out);
int vault_open(struct slice master, struct slice context, struct slice sealed, struct buf *out);

/* Text forms. base64 is RFC 4648 with padding, strict on decoding. */
void base64_encode(struct buf *b, struct slice in);
int base64_decode(struct buf *b, struct slice in);
void hex_encode(struct buf *b, struct slice in, bool upper);
int hex_decode(struct buf *b, struct slice in);

#endif
