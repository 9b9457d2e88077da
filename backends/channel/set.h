/*
 * set - one pay_channel block with its adapter, and all of them.
 */
#ifndef CHANNEL_SET_H
#define CHANNEL_SET_H

#include "adapter.h"

struct channel {
    struct channel_facts facts;
    const struct adapter *adapter;
    uint32_t methods;      /* bit per payment_method of the block */
    struct slice endpoint; /* empty when it has none */
    const struct conf_node *at;
};

/* Directives of a pay_channel block, nginx's own included. */
extern const struct conf_directive channel_block_table[];

#endif
