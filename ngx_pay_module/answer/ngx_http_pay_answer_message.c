/*
 * The text that is signed for an answer where it is not simply time, nonce and
 * body: sorted parameters and RFC 9421.  Both bind the answer to its request,
 * by the request's nonce and by its signature.
 */

#include "ngx_http_pay_answer.h"

#include "ngx_pay_module/sign/ngx_http_pay_claim.h"


#define NGX_HTTP_PAY_MESSAGE_MAX    16384
#define NGX_HTTP_PAY_MESSAGE_ARENA  (128 * 1024)


static struct slice
ngx_http_pay_answer_body(ngx_http_pay_answer_t *a)
{
    return a->body ? slice_n(a->body->pos, a->body->last - a->body->pos)
                   : SLICE_NULL;
}


static ngx_int_t
ngx_http_pay_answer_copy(ngx_http_pay_answer_t *a, struct buf *from,
    ngx_str_t *to)
{
    if (!buf_ok(from)) {
        return NGX_ERROR;
    }

    to->len = from->n;
    to->data = ngx_pnalloc(a->request->pool, from->n);

    if (to->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(to->data, from->p, from->n);

    return NGX_OK;
}


static void
ngx_http_pay_answer_sorted(ngx_http_pay_answer_t *a, struct buf *text)
{
    struct sorted_answer  answer;

    answer.status = (int) a->request->headers_out.status;
    answer.body = ngx_http_pay_answer_body(a);
    answer.nonce_str = ngx_pay_slice(a->nonce);
    answer.request_nonce = a->ctx->auth.nonce_str;
    answer.serial_no = ngx_pay_slice(a->serial);
    answer.timestamp = ngx_pay_slice(a->timestamp);

    sorted_answer_string(text, &answer);
}


/* the label of the request's signature, as it stands in the header */

static struct slice
ngx_http_pay_answer_label(ngx_http_pay_answer_t *a)
{
    struct slice  rest;

    rest = slice_trim(ngx_pay_slice(a->ctx->claim->input->value));

    return slice_cut(&rest, '=');
}


static ngx_int_t
ngx_http_pay_answer_httpsig(ngx_http_pay_answer_t *a, struct arena *arena,
    struct buf *text)
{
    struct buf            digest, input;
    const char           *reason;
    struct slice          label;
    struct http_field     field;
    struct sf_member     *first;
    struct http_message   answer, request;

    ngx_int_t             rc = NGX_ERROR;

    label = ngx_http_pay_answer_label(a);

    buf_init(&digest, 256);
    buf_init(&input, NGX_HTTP_PAY_MESSAGE_MAX);

    content_digest_write(&digest, ngx_http_pay_answer_body(a));

    buf_addf(&input, "pay=(\"@status\" \"content-digest\" \"@method\";req "
             "\"@path\";req \"signature\";req;key=\"%.*s\");created=%.*s"
             ";keyid=\"%.*s\";nonce=\"%.*s\";alg=\"%s\"",
             SLICE_FMT(label), (int) a->timestamp.len, a->timestamp.data,
             (int) a->serial.len, a->serial.data,
             (int) a->nonce.len, a->nonce.data,
             httpsig_alg_name(a->ctx->alg));

    if (ngx_http_pay_answer_copy(a, &digest, &a->digest) != NGX_OK
        || ngx_http_pay_answer_copy(a, &input, &a->input) != NGX_OK
        || ngx_http_pay_claim_message(a->request, arena, &request) != NGX_OK)
    {
        goto done;
    }

    field.name = SLICE("content-digest");
    field.value = ngx_pay_slice(a->digest);

    ngx_memzero(&answer, sizeof(struct http_message));
    answer.status = (int) a->request->headers_out.status;
    answer.fields = &field;
    answer.field_count = 1;
    answer.request = &request;

    if (sf_parse_dictionary(arena, ngx_pay_slice(a->input), &first, &reason)
        != 0
        || httpsig_base(arena, &answer, first, text, &reason) != 0)
    {
        ngx_log_error(NGX_LOG_ERR, a->request->connection->log, 0,
                      "pay: no signature base for the answer: %s", reason);
        goto done;
    }

    rc = NGX_OK;

done:

    buf_release(&digest);
    buf_release(&input);

    return rc;
}


ngx_int_t
ngx_http_pay_answer_message(ngx_http_pay_answer_t *a)
{
    ngx_int_t     rc;
    struct buf    text;
    struct arena  arena;

    buf_init(&text, NGX_HTTP_PAY_MESSAGE_MAX);
    arena_init(&arena, NGX_HTTP_PAY_MESSAGE_ARENA);

    rc = NGX_OK;

    if (a->ctx->scheme == SCHEME_RFC9421) {
        rc = ngx_http_pay_answer_httpsig(a, &arena, &text);

    } else {
        ngx_http_pay_answer_sorted(a, &text);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_pay_answer_copy(a, &text, &a->message);
    }

    arena_release(&arena);
    buf_release(&text);

    return rc;
}
