/*
 * scheme_sorted - the sorted-parameter scheme, as merchants know it from WeChat Pay v2.
 *
 * A request's parameters are flat: members of a JSON body (nested ones by dotted name,
 * "amount.total"), fields of a form body, or the query of a GET. The text that is signed is
 *     name=value&name=value...          sorted by name (bytes), empty values and `sign` left out
 * and for the shared algorithms `&key=SECRET` behind it. MD5 and HMAC-SHA256 are hex, RSA-SHA256 is
 * base64. Values stand in it as they are, decoded; so that one text has one meaning, a name is of
 * 0-9A-Za-z_-. only, no value contains "&name=", and no parameter is called `key`.
 *
 * Parameters of the scheme itself, all signed but `sign`: service ("POST /v1/payments", the method
 * and the path), serial_no, nonce_str, timestamp, and optionally sign_type, which must then be the
 * key's. They and empty parameters are taken out before the request goes on (sorted_body,
 * sorted_target): what was not signed is not there.
 *
 * An answer's text is made of sorted parameters, too: body_sha256 (hex), nonce_str, request_nonce,
 * serial_no, status, timestamp.
 */
#ifndef CORE_SCHEME_SORTED_H
#define CORE_SCHEME_SORTED_H

#include "api.h"
#include "scheme.h"

#define SORTED_MAX 128u /* parameters of a request */

struct sorted_param {
    struct slice name, value;
    struct slice raw;    /* of a form or query: as it was sent, "a=b%20c" */
    enum json_type type; /* of a JSON body; JSON_STRING otherwise */
};

struct sorted_params {
    struct sorted_param *list; /* SORTED_MAX of room */
    size_t count;
};

/* Of a JSON body (an object) and of a form body or query. Sorted by name. 0, or -1 with *reason a
 * static text. */
int sorted_from_json(struct arena *a, const struct json *doc, struct sorted_params *out,
                     const char **reason);
int sorted_from_form(struct arena *a, struct slice form, struct sorted_params *out,
                     const char **reason);

struct sorted_request {
    struct slice service, serial_no, nonce_str, timestamp, sign;
    struct slice sign_type; /* may be empty */
    int64_t timestamp_s;
};
/* The scheme's own parameters: present and well-formed. */
int sorted_take(const struct sorted_params *p, struct sorted_request *out, const char **reason);

/* Whether it is one of them. */
bool sorted_is_own(struct slice name);

/* The text of parameters that are sorted already, without `&key=`. */
void sorted_string(struct buf *b, const struct sorted_param *list, size_t count);
/* sign: as sent. 0 = genuine. */
int sorted_verify(const struct verify_key *k, struct slice string, struct slice sign);
/* Adds the signature as it is sent: hex in capitals, or base64 for RSA. */
int sorted_sign(const struct verify_key *k, struct slice string, struct buf *out);
/* "MD5", "HMAC-SHA256", "RSA-SHA256". */
const char *sorted_sign_type(enum key_alg alg);

/* What remains of the request once the scheme's parameters and empty ones are gone: a JSON document
 * (fields tells which values of a form are numbers), and a query's parameters as they were sent,
 * joined by '&'. */
void sorted_body(struct buf *b, const struct sorted_params *p, const struct api_field *fields,
                 bool is_form);
void sorted_query(struct buf *b, const struct sorted_params *p);

struct sorted_answer {
    int status;
    struct slice body, nonce_str, request_nonce, serial_no, timestamp;
};
void sorted_answer_string(struct buf *b, const struct sorted_answer *answer);

#endif
