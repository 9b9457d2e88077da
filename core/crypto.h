/*
 * crypto - the primitives of OpenSSL 3 that ngx_pay uses, with cached states and secrets that do
 * not reach a log. All functions: 0, or -1 (bad key, bad input, forged); nothing is printed.
 */
#ifndef CORE_CRYPTO_H
#define CORE_CRYPTO_H

#include "arena.h"
#include "buf.h"

#define SHA256_LEN     32
#define AES256_KEY_LEN 32

/* A secret has its own type so that no printf or log call takes it by accident. */
struct secret {
    uint8_t *p; /* malloc'ed, wiped on release */
    size_t n;
};
int secret_set(struct secret *s, struct slice from);
void secret_release(struct secret *s);

int sha256(struct slice in, uint8_t out[SHA256_LEN]);
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

/* Public-key keys (RSA now; ed25519, ECDSA, SM2 later). Signatures: RSA PKCS#1 v1.5 SHA-256. */
struct pkey;
/* PEM of a private key, public key (SPKI) or X.509 certificate. RSA must have 2048..8192 bits. */
struct pkey *pkey_private_from_pem(struct slice pem);
struct pkey *pkey_public_from_pem(struct slice pem);
void pkey_destroy(struct pkey *k); /* pkey_free is glibc's: memory protection keys */
size_t pkey_signature_len(const struct pkey *k);
/* Thread-safe on the same key: each call uses its own context. sig has *n bytes of room. */
int pkey_sign_sha256(const struct pkey *k, const struct slice *parts, size_t count, uint8_t *sig,
                     size_t *n);
int pkey_verify_sha256(const struct pkey *k, const struct slice *parts, size_t count,
                       struct slice sig);
/* Serial number of a PEM certificate, upper-case hex into out (>= 41 bytes, NUL-terminated). */
int cert_serial_hex(struct slice pem, char *out, size_t n);
/* notBefore/notAfter, seconds since 1970. */
int cert_validity(struct slice pem, int64_t *from, int64_t *to);

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
