/*
 * cert - who may sign with a certificate that comes with the message (UnionPay): it must chain to
 * one of our roots, be in date, and carry a name that we expect.
 */
#ifndef CORE_CERT_H
#define CORE_CERT_H

#include "crypto.h"

struct cert_roots;

/* One or more CA certificates in PEM behind each other (root and intermediates). NULL when there is
 * none, or something else. */
struct cert_roots *cert_roots_from_pem(struct slice pem);
void cert_roots_free(struct cert_roots *r);

/*
 * The key of the certificate `pem` when it chains to r at time `now_s` (seconds since 1970), and
 * one part of its subject's common name, cut at '@', is `name`. NULL with *reason otherwise. The
 * caller destroys the key. *until_s: first second at which its chain must be looked at again.
 */
struct pkey *cert_trusted_key(const struct cert_roots *r, struct slice pem, struct slice name,
                              int64_t now_s, int64_t *until_s, const char **reason);

/* A fresh RSA-2048 private key that nobody knows, for trying things out. NULL on failure. */
struct pkey *pkey_private_generate(void);

#endif
