/*
 * bank - the process: everything that lives as long as it does. One per process, made by main.c.
 */
#ifndef PAYBANK_BANK_H
#define PAYBANK_BANK_H

#include "backends/io/http_in.h"
#include "backends/io/http_out.h"
#include "books.h"
#include "faults.h"
#include "nonces.h"
#include "reqlog.h"

struct exchange;
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
    struct http_in *plain; /* listen */
    struct http_in *tls;   /* listen_tls: also speaks WeChat Pay v3 */
    struct exchange *held; /* delayed, or never to be answered */
    uint64_t request_ids;
    char request_id_head[17]; /* differs from one start to the next */
};

/* A Request-ID for one reply, NUL-terminated into out (>= 40 bytes). */
void bank_request_id(struct bank *bank, char out[40]);

/* Doors behind the two listeners (main.c). */
void wechat_handle(struct bank *bank, struct http_req *req);
void bank_json_handle(struct bank *bank, struct http_req *req);
void control_handle(struct bank *bank, struct http_req *req);
void page_handle(struct bank *bank, struct http_req *req);

#endif
