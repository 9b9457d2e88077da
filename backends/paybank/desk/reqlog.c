#include "reqlog.h"

#include <stdlib.h>

struct entry {
    pay_time_t at;
    uint16_t status;
    uint8_t channel;
    uint8_t api;
    uint8_t fault;
    uint8_t no_len;
    char no[REQLOG_NO_MAX];
};

struct reqlog {
    int64_t total; /* ever added; entry n stands at (n - 1) % size */
    struct entry ring[REQLOG_SIZE];
};

struct reqlog *reqlog_new(void)
{
    return calloc(1, sizeof(struct reqlog));
}

void reqlog_free(struct reqlog *l)
{
    free(l);
}

void reqlog_add(struct reqlog *l, pay_time_t at, enum bank_channel channel, enum bank_api api,
                struct slice out_trade_no, int status, enum fault_kind fault)
{
    struct entry *e = &l->ring[l->total++ % REQLOG_SIZE];
    size_t n = out_trade_no.n < REQLOG_NO_MAX ? out_trade_no.n : REQLOG_NO_MAX;

    e->at = at;
    e->status = (uint16_t)status;
    e->channel = (uint8_t)channel;
    e->api = (uint8_t)api;
    e->fault = (uint8_t)fault;
    /* Numbers that were refused may hold anything, the list must stay JSON. */
    e->no_len = utf8_valid(slice_n(out_trade_no.p, n)) ? (uint8_t)n : 0;
    if (e->no_len)
        memcpy(e->no, out_trade_no.p, n);
}

static void put_entry(const struct entry *e, int64_t number, struct json_writer *w)
{
    char at[RFC3339_LEN + 1];

    time_format_rfc3339(at, e->at);
    json_begin_object(w);
    json_member_int64(w, "n", number);
    json_member_str(w, "at", slice_of(at));
    json_member_int64(w, "at_ms", e->at / USEC_PER_MSEC);
    json_member_str(w, "channel", slice_of(bank_channel_name((enum bank_channel)e->channel)));
    json_member_str(w, "api", slice_of(bank_api_name((enum bank_api)e->api)));
    json_member_str(w, "out_trade_no", slice_n(e->no, e->no_len));
    json_member_int64(w, "status", e->status);
    json_member_str(w, "fault", slice_of(fault_name((enum fault_kind)e->fault)));
    json_end_object(w);
}

void reqlog_list(const struct reqlog *l, struct slice out_trade_no, struct json_writer *w)
{
    int64_t first = l->total > REQLOG_SIZE ? l->total - REQLOG_SIZE : 0;

    json_begin_array(w);
    for (int64_t i = first; i < l->total; i++) {
        const struct entry *e = &l->ring[i % REQLOG_SIZE];

        if (out_trade_no.n == 0 || slice_eq(slice_n(e->no, e->no_len), out_trade_no))
            put_entry(e, i + 1, w);
    }
    json_end_array(w);
}
