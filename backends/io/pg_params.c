/* Parameters in PostgreSQL's binary formats (…send/…recv of each type), and reading them back. */
#include "pg_impl.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#define PARAMS_BYTES   (64u << 20)
#define PG_EPOCH_US    (946684800LL * USEC_PER_SEC) /* 2000-01-01, from which PostgreSQL counts */
#define ARRAY_HAS_NULL 4                            /* offset of the flag in an array's header */

/* By enum pg_type; array headers name the element's type (pg_type.dat). */
static const uint32_t type_oids[] = {21, 23, 20, 16, 25, 17, 1184};

struct param {
    size_t at; /* in data */
    int n;     /* -1 = NULL */
};

struct pg_params {
    struct buf data;
    struct param params[PG_MAX_PARAMS];
    int n;
    bool in_array;
    enum pg_type type;
    uint32_t announced, added;
};

struct pg_params *pg_params_new(void)
{
    /* Only what is used of it is ever touched, so the room for 256 costs nothing. */
    struct pg_params *p = malloc(sizeof(*p));

    if (!p)
        return NULL;
    buf_init(&p->data, PARAMS_BYTES);
    p->n = 0;
    p->in_array = false;
    return p;
}

void pg_params_free(struct pg_params *p)
{
    if (!p)
        return;
    buf_release(&p->data);
    free(p);
}

bool pg_params_ok(const struct pg_params *p)
{
    assert(!p->in_array);
    return buf_ok(&p->data);
}

void pg_params_bind(const struct pg_params *p, struct pg_bound *out)
{
    out->n = p->n;
    for (int i = 0; i < p->n; i++) {
        const struct param *v = &p->params[i];

        /* An empty value is not NULL: libpq tells them apart by the pointer. */
        out->values[i] = v->n < 0 ? NULL : v->n == 0 ? "" : p->data.p + v->at;
        out->lengths[i] = v->n < 0 ? 0 : v->n;
        out->formats[i] = 1;
    }
}

static void add_be32(struct buf *b, uint32_t v)
{
    v = htobe32(v);
    buf_add(b, &v, sizeof(v));
}

static void open_param(struct pg_params *p)
{
    assert(p->n < PG_MAX_PARAMS);
    p->params[p->n].at = p->data.n;
}

static void close_param(struct pg_params *p)
{
    struct param *v = &p->params[p->n++];

    v->n = (int)(p->data.n - v->at);
}

/* A wrong type inside an array would be read by the server as something else: stop at once. */
static void add_value(struct pg_params *p, enum pg_type type, const void *v, size_t n)
{
    if (p->in_array) {
        assert(p->type == type && p->added < p->announced);
        p->added++;
        add_be32(&p->data, (uint32_t)n);
        buf_add(&p->data, v, n);
    } else {
        open_param(p);
        buf_add(&p->data, v, n);
        close_param(p);
    }
}

void pg_add_null(struct pg_params *p)
{
    const uint32_t yes = htobe32(1);

    if (!p->in_array) {
        assert(p->n < PG_MAX_PARAMS);
        p->params[p->n++] = (struct param){0, -1};
        return;
    }
    assert(p->added < p->announced);
    p->added++;
    add_be32(&p->data, UINT32_MAX);
    if (buf_ok(&p->data))
        memcpy(p->data.p + p->params[p->n].at + ARRAY_HAS_NULL, &yes, sizeof(yes));
}

void pg_add_int2(struct pg_params *p, int16_t v)
{
    uint16_t be = htobe16((uint16_t)v);

    add_value(p, PG_INT2, &be, sizeof(be));
}

void pg_add_int4(struct pg_params *p, int32_t v)
{
    uint32_t be = htobe32((uint32_t)v);

    add_value(p, PG_INT4, &be, sizeof(be));
}

void pg_add_int8(struct pg_params *p, int64_t v)
{
    uint64_t be = htobe64((uint64_t)v);

    add_value(p, PG_INT8, &be, sizeof(be));
}

void pg_add_bool(struct pg_params *p, bool v)
{
    char byte = v ? 1 : 0;

    add_value(p, PG_BOOL, &byte, 1);
}

void pg_add_text(struct pg_params *p, struct slice v)
{
    if (v.p)
        add_value(p, PG_TEXT, v.p, v.n);
    else
        pg_add_null(p);
}

void pg_add_bytea(struct pg_params *p, struct slice v)
{
    if (v.p)
        add_value(p, PG_BYTEA, v.p, v.n);
    else
        pg_add_null(p);
}

void pg_add_time(struct pg_params *p, pay_time_t t)
{
    uint64_t be = htobe64((uint64_t)(t - PG_EPOCH_US));

    if (t)
        add_value(p, PG_TIMESTAMPTZ, &be, sizeof(be));
    else
        pg_add_null(p);
}

/* array_recv: dimensions, has-null, element type, then length and lower bound of each dimension. */
void pg_array_begin(struct pg_params *p, enum pg_type type, uint32_t count)
{
    assert(!p->in_array);
    open_param(p);
    p->in_array = true;
    p->type = type;
    p->announced = count;
    p->added = 0;
    add_be32(&p->data, count ? 1 : 0);
    add_be32(&p->data, 0);
    add_be32(&p->data, type_oids[type]);
    if (count == 0)
        return;
    add_be32(&p->data, count);
    add_be32(&p->data, 1);
}

void pg_array_end(struct pg_params *p)
{
    assert(p->in_array && p->added == p->announced);
    p->in_array = false;
    close_param(p);
}

/* ---- results ---- */

bool pg_is_null(const PGresult *r, int row, int col)
{
    return PQgetisnull(r, row, col) == 1;
}

int64_t pg_get_int(const PGresult *r, int row, int col)
{
    const char *p = PQgetvalue(r, row, col);
    uint16_t i2;
    uint32_t i4;
    uint64_t i8;

    if (pg_is_null(r, row, col))
        return 0;
    switch (PQgetlength(r, row, col)) {
    case 2:
        memcpy(&i2, p, sizeof(i2));
        return (int16_t)be16toh(i2);
    case 4:
        memcpy(&i4, p, sizeof(i4));
        return (int32_t)be32toh(i4);
    case 8:
        memcpy(&i8, p, sizeof(i8));
        return (int64_t)be64toh(i8);
    default:
        abort(); /* no integer column: a bug in the statement, and its value would be a guess */
    }
}

bool pg_get_bool(const PGresult *r, int row, int col)
{
    return !pg_is_null(r, row, col) && PQgetvalue(r, row, col)[0] != 0;
}

struct slice pg_get_text(const PGresult *r, int row, int col)
{
    if (pg_is_null(r, row, col))
        return SLICE_NULL;
    return slice_n(PQgetvalue(r, row, col), (size_t)PQgetlength(r, row, col));
}

pay_time_t pg_get_time(const PGresult *r, int row, int col)
{
    return pg_is_null(r, row, col) ? 0 : pg_get_int(r, row, col) + PG_EPOCH_US;
}
