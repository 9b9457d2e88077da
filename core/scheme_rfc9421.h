/*
 * scheme_rfc9421 - HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530).
 *
 * Order of use: httpsig_parse reads Signature-Input and Signature, httpsig_check says whether what
 * is covered is enough for us, httpsig_base writes the text that is signed, key_verify decides.
 * All of RFC 9421's components but trailers (`tr`) can be covered; `sf` and `key` read
 * dictionaries. A message of ours is signed with httpsig_input (Signature-Input's value) and
 * httpsig_base.
 */
#ifndef CORE_SCHEME_RFC9421_H
#define CORE_SCHEME_RFC9421_H

#include "scheme.h"
#include "sf.h"

struct http_field {
    struct slice name; /* in any case */
    struct slice value;
};

struct http_message {
    const struct http_field *fields; /* in the order they were sent */
    size_t field_count;
    /* of a request */
    struct slice method;
    struct slice scheme;    /* "https" */
    struct slice authority; /* Host as sent */
    struct slice target;    /* as sent, origin form */
    /* of an answer */
    int status;                         /* 0: this is a request */
    const struct http_message *request; /* what it answers, for `;req`; may be NULL */
};

struct httpsig {
    struct slice label;
    const struct sf_member *input; /* the inner list with its parameters */
    struct slice signature;        /* raw bytes */
    int64_t created, expires;      /* 0: absent */
    struct slice keyid, nonce, alg, tag;
};

/* Reads the two headers. label: which of several signatures, SLICE_NULL when there must be exactly
 * one. Refused: a label in one header only, components that are not lower-case names or unknown
 * derived ones, a component twice (parameters compared as a set), unknown or clashing parameters.
 * Slices live in the arena or in the values. 0, or -1 with *reason a static text. */
int httpsig_parse(struct arena *a, struct slice signature_input, struct slice signature,
                  struct slice label, struct httpsig *out, const char **reason);

/* Our rules for requests: @method; @target-uri, or @request-target, or @path and (when there is
 * one)
 * @query; content-digest when there is a body; created, keyid and nonce (16..64 of
 * 0-9A-Za-z_-+/=.). 0, or -1 with *reason. */
int httpsig_check(const struct httpsig *s, const struct http_message *m, bool has_body,
                  const char **reason);

/* The signature base (RFC 9421, 2.5). 0, or -1 with *reason: a component that is absent, ambiguous
 * or not of this kind of message. */
int httpsig_base(struct arena *a, const struct http_message *m, const struct sf_member *input,
                 struct buf *out, const char **reason);

/* "ed25519", "rsa-v1_5-sha256", ...: RFC 9421's name of a key's algorithm. */
const char *httpsig_alg_name(enum key_alg alg);

/* Content-Digest against the body: every sha-256 and sha-512 in it must match, and there must be
 * one. 0, or -1 with *reason. */
int content_digest_check(struct arena *a, struct slice value, struct slice body,
                         const char **reason);
/* Adds sha-256=:...: */
void content_digest_write(struct buf *b, struct slice body);

/* The one value of a field, several lines joined with ", "; p NULL when it is absent. */
struct slice http_field_value(struct arena *a, const struct http_message *m, struct slice name,
                              size_t *count);

#endif
