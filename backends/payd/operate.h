/*
 * operate - the socket where payctl speaks for a person: decisions on cases. Who speaks is the user
 * of the process at the other end, as the kernel tells (SO_PEERCRED), and nothing that it says.
 *
 *   POST /cases/{id} {"decision": refunded | accepted | dismissed | reject, "reason"}
 */
#ifndef PAYD_OPERATE_H
#define PAYD_OPERATE_H

#include "backends/io/http_in.h"

/* http_in_handler; arg is the struct worker. */
void operate_handle(void *arg, struct http_req *req);

#endif
