#include "row.h"

#include <string.h>

static int64_t next_int(struct row *w)
{
    int col = w->col++;

    return pg_is_null(w->r, w->row, col) ? 0 : pg_get_int(w->r, w->row, col);
}

static pay_time_t next_time(struct row *w)
{
    int col = w->col++;

    return pg_is_null(w->r, w->row, col) ? 0 : pg_get_time(w->r, w->row, col);
}

static struct slice next_text(struct row *w)
{
    return arena_copy(w->arena, pg_get_text(w->r, w->row, w->col++));
}

/* As commit_params.c writes it. */
static void read_past(struct payment *p, struct slice text)
{
    for (uint32_t i = 0; i <= PAYMENT_PAST_MAX && text.n; i++) {
        struct slice word = slice_cut(&text, ' ');

        p->past[i].paid = memchr(word.p, '!', word.n) != NULL;
        p->past[i].channel = slice_cut(&word, '/');
        p->past[i].account = slice_cut(&word, '!');
        p->past[i].trade_no = word;
    }
}

/* In the order of PAYMENT_COLUMNS. */
struct payment *row_payment(struct row *w)
{
    struct payment *p = arena_new(w->arena, struct payment);

    if (!p)
        return NULL;
    p->id = next_int(w);
    p->slot = (uint32_t)next_int(w);
    p->version = (uint32_t)next_int(w);
    p->state = (enum payment_state)next_int(w);
    p->prev_state = (enum payment_state)next_int(w);
    p->mchid = next_text(w);
    p->app_id = next_text(w);
    p->out_trade_no = next_text(w);
    p->digest = next_text(w);
    p->method = (enum payment_method)next_int(w);
    p->scene = next_text(w);
    p->product = next_text(w);
    p->store_id = next_text(w);
    p->amount = next_int(w);
    p->currency = next_text(w);
    p->description = next_text(w);
    p->attach = next_text(w);
    p->notify_url = next_text(w);
    p->trace_id = next_text(w);
    p->channel = next_text(w);
    p->account = next_text(w);
    p->route = next_text(w);
    p->command_seq = (uint32_t)next_int(w);
    p->attempts = (uint32_t)next_int(w);
    p->prepare_before = next_time(w);
    p->prepare_n = (uint32_t)next_int(w);
    p->prepare_last = (enum send_mark)next_int(w);
    p->prepare_past = (enum send_mark)next_int(w);
    p->not_sent = (uint32_t)next_int(w);
    p->busy_kind = (enum call_kind)next_int(w);
    p->busy_before = next_time(w);
    p->channel_trade_no = next_text(w);
    p->code_url = next_text(w);
    p->fail_code = next_text(w);
    p->reversal = (enum reversal_state)next_int(w);
    p->reverse_tries = (uint32_t)next_int(w);
    p->payer = next_text(w);
    read_past(p, next_text(w));
    p->extra_paid = next_int(w);
    p->refund_reserved = next_int(w);
    p->refunded = next_int(w);
    p->created_at = next_time(w);
    p->time_expire = next_time(w);
    p->final_at = next_time(w);
    p->succeeded_at = next_time(w);
    p->due_at = next_time(w);
    p->due_kind = (enum call_kind)next_int(w);
    p->due_tries = (uint32_t)next_int(w);
    p->maybe_sent =
        p->prepare_n && (p->prepare_last != MARK_UNSENT || p->prepare_past != MARK_UNSENT);
    return w->arena->failed ? NULL : p;
}

/* In the order of REFUND_COLUMNS. */
int row_refund(struct row *w, struct refund *f)
{
    *f = (struct refund){.id = next_int(w)};
    if (f->id == 0)
        return 0;
    f->state = (enum refund_state)next_int(w);
    f->out_refund_no = next_text(w);
    f->digest = next_text(w);
    f->amount = next_int(w);
    f->reason = next_text(w);
    f->notify_url = next_text(w);
    f->trace_id = next_text(w);
    f->command_seq = (uint32_t)next_int(w);
    f->channel = next_text(w);
    f->account = next_text(w);
    f->send_n = (uint32_t)next_int(w);
    f->send_last = (enum send_mark)next_int(w);
    f->send_past = (enum send_mark)next_int(w);
    f->send_before = next_time(w);
    f->not_sent = (uint32_t)next_int(w);
    f->channel_refund_no = next_text(w);
    f->fail_code = next_text(w);
    f->created_at = next_time(w);
    f->final_at = next_time(w);
    f->succeeded_at = next_time(w);
    f->due_at = next_time(w);
    f->due_kind = (enum call_kind)next_int(w);
    f->due_tries = (uint32_t)next_int(w);
    return w->arena->failed ? -1 : 0;
}
