/*
 * bank - the process: everything that lives as long as it does. One per process, made by main.c.
 */
#ifndef PAYBANK_BANK_H
#define PAYBANK_BANK_H

#include "backends/io/http_in.h"
#include "backends/io/http_out.h"
#include "backends/paybank/books/refunds.h"
#include "backends/paybank/desk/reqlog.h"
#include "backends/paybank/faults/faults.h"
#include "backends/paybank/wire/nonces.h"

struct exchange;
struct typing;
struct notifier;
struct journal;

struct bank {
    struct loop *loop;
    struct bank_conf conf;
    struct journal *journal;
    struct books *books;
    struct faults *faults;
    struct reqlog *reqlog;
    struct nonces *nonces;
    struct notifier *notifier;
    struct http_in *plain;   /* listen */
    struct http_in *tls;     /* listen_tls: all protocols */
    struct exchange *held;   /* delayed, or never to be answered */
    struct typing *typing;   /* payers, payer.c */
    int64_t clock_offset_us; /* the business day against the wall clock; tests move it */
    uint64_t request_ids;
    char request_id_head[17]; /* differs from one start to the next */
};

/* A Request-ID for one reply, NUL-terminated into out (>= 40 bytes). */
void bank_request_id(struct bank *bank, char out[40]);

/* What the books are told: the wall clock and what a test added. Signatures use the wall clock. */
static inline pay_time_t bank_now(const struct bank *bank)
{
    return clock_read_wall() + bank->clock_offset_us;
}

/* Doors behind the two listeners (main.c). */
void wechat_v2_handle(struct bank *bank, struct http_req *req);
void wechat_handle(struct bank *bank, struct http_req *req);
void alipay_handle(struct bank *bank, struct http_req *req);
void unionpay_handle(struct bank *bank, struct http_req *req);
void bank_json_handle(struct bank *bank, struct http_req *req);
void control_handle(struct bank *bank, struct http_req *req);
void page_handle(struct bank *bank, struct http_req *req);

#endif
