/*
 * How the processes of a node wake each other: by a datagram to an address that
 * stands in the ledger.  It may be lost: who waits also looks by himself.
 */

#ifndef _NGX_HTTP_PAY_WAKE_H_INCLUDED_
#define _NGX_HTTP_PAY_WAKE_H_INCLUDED_

#include "ngx_http_pay_ledger.h"

#include <ngx_event.h>


/* ev's handler is called whenever this process, own, is woken */
ngx_int_t ngx_http_pay_wake_listen(ngx_cycle_t *cycle,
    ngx_http_pay_ledger_process_t *own, ngx_event_t *ev);
void ngx_http_pay_wake(ngx_http_pay_ledger_process_t *process);
void ngx_http_pay_wake_stop(void);


#endif /* _NGX_HTTP_PAY_WAKE_H_INCLUDED_ */
