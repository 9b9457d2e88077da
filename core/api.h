/*
 * api - the merchant API's paths and bodies as tables: one declaration that edge and workers check
 * against, and that docs/openapi.yaml is compared with. No I/O, no state.
 */
#ifndef CORE_API_H
#define CORE_API_H

#include "json.h"
#include "problem.h"

enum api_id {
    API_NONE,
    API_PAYMENT_CREATE, /* POST /v1/payments */
    API_PAYMENT_GET,    /* GET  /v1/payments/{id} */
    API_PAYMENT_FIND,   /* GET  /v1/payments?out_trade_no=  (also /v1/payments/out-trade-no/{no}) */
    API_PAYMENT_CLOSE,  /* POST /v1/payments/{id}/close */
    API_CERTIFICATES,   /* GET  /v1/certificates */
    API_REFUND_CREATE,  /* POST /v1/refunds */
    API_REFUND_GET,     /* GET  /v1/refunds/{id} */
    API_REFUND_FIND     /* GET  /v1/refunds?out_trade_no=&out_refund_no= */
};

enum api_type {
    FIELD_STRING,
    FIELD_INTEGER,
    FIELD_OBJECT,
    FIELD_TIME,
    FIELD_URL,
    FIELD_ADDRESS /* IPv4 or IPv6 */
};

struct api_field {
    const char *path; /* dotted: "amount.total" */
    enum api_type type;
    bool required;
    int64_t min, max;    /* length in characters for strings, value for integers */
    const char *charset; /* strings: allowed ASCII characters as "0-9A-Za-z_-|*", NULL = any text */
    const char *values;  /* "native|h5": closed list, NULL = any */
    const char *help;
};

struct api {
    enum api_id id;
    const char *method;
    const char *path;               /* "/v1/payments/{id}/close" */
    const struct api_field *fields; /* ends with path NULL; NULL = no body */
    uint32_t max_body;
    char id_kind; /* of {id}: 'P' or 'R' (ids.h); 0 = none */
};

const struct api *api_table(size_t *count);
const struct api *api_of(enum api_id id);

/* A field that goes with some payment methods only. */
struct api_method_field {
    const char *path;
    const char *required; /* by these methods, "barcode|jsapi"; NULL: by none */
    const char *allowed;  /* for these; NULL: for all */
};
/* Ends with path NULL. */
const struct api_method_field *api_method_fields(void);

/* Result of matching method and target. */
struct api_match {
    const struct api *api;
    struct slice id;           /* {id} of the path, still text */
    struct slice out_trade_no; /* from query or path, percent-decoded into the arena */
    struct slice out_refund_no;
    struct slice mchid; /* from the query, optional; must be the key's (caller checks) */
};
/* target = path[?query] as sent. 0, or -1 with PATH_UNKNOWN, METHOD_NOT_ALLOWED (detail is the
 * value of an Allow header), FIELD_*. */
int api_match(struct arena *a, struct slice method, struct slice target, struct api_match *out,
              struct problem *problem);

/* Whole check of a body: JSON, unknown and missing fields, types, lengths, values, URL, time,
 * currency. 0 with *doc, which may point into the body, or -1 with the problem (its slices live in
 * the arena). */
int api_check(struct arena *a, const struct api *api, struct slice body, const struct json **doc,
              struct problem *problem);

/* Absolute bounds of one payment's amount.total, fen (channels narrow it in their blocks). */
#define AMOUNT_MIN 1LL
#define AMOUNT_MAX 100000000000LL

#endif
