/* When bills are there. */
#include "bill.h"

#include "set.h"

#include <stdio.h>

#define DAY_US (24 * 3600 * USEC_PER_SEC)

bool channel_bill_newest(const struct channel *c, pay_time_t now, char day[CHANNEL_DAY_LEN + 1])
{
    const struct adapter_bill *b = c->adapter->bill;
    char text[TIME_WALL_LEN + 1];

    if (!b || !channel_has(c, CALL_BILL, METHOD_NATIVE))
        return false;
    time_format_wall(text, now - DAY_US - b->ready_us, true);
    snprintf(day, CHANNEL_DAY_LEN + 1, "%.*s", CHANNEL_DAY_LEN, text);
    return true;
}

int channel_day_parse(struct slice day, pay_time_t *start)
{
    char text[TIME_WALL_LEN + 1];

    if (day.n != CHANNEL_DAY_LEN)
        return -1;
    snprintf(text, sizeof(text), "%.*s 00:00:00", SLICE_FMT(day));
    return time_parse_wall(slice_of(text), true, start);
}

pay_time_t channel_bill_ready(const struct channel *c, struct slice day)
{
    const struct adapter_bill *b = c->adapter->bill;
    pay_time_t start;

    return b && channel_day_parse(day, &start) == 0 ? start + DAY_US + b->ready_us : 0;
}
