#include "gcra.h"

struct gcra_rate gcra_rate_of(int64_t count, int64_t period_ns, int64_t burst)
{
    return (struct gcra_rate){.interval_ns = (period_ns + count - 1) / count, .burst = burst};
}

/* When the call would be due: not before now, and not later than a full burst, and what was
 * promised ahead, from now. */
static int64_t due(int64_t state, const struct gcra_rate *rate, int64_t now_ns)
{
    int64_t latest = now_ns + (rate->burst + 1) * rate->interval_ns + rate->ahead_ns;

    if (state < now_ns)
        return now_ns;
    return state > latest ? latest : state;
}

int64_t gcra_wait(int64_t state, const struct gcra_rate *rate, int64_t now_ns)
{
    int64_t wait = due(state, rate, now_ns) - now_ns - rate->burst * rate->interval_ns;

    return wait > 0 ? wait : 0;
}

int64_t gcra_ask(int64_t *state, const struct gcra_rate *rate, int64_t now_ns)
{
    if (rate->interval_ns)
        *state = due(*state, rate, now_ns);
    return gcra_wait(*state, rate, now_ns);
}

bool gcra_take(int64_t *state, const struct gcra_rate *rate, int64_t now_ns)
{
    if (gcra_ask(state, rate, now_ns) > 0)
        return false;
    gcra_promise(state, rate, now_ns, now_ns);
    return true;
}

void gcra_promise(int64_t *state, const struct gcra_rate *rate, int64_t now_ns, int64_t at_ns)
{
    int64_t from = due(*state, rate, now_ns);

    if (rate->interval_ns)
        *state = (from > at_ns ? from : at_ns) + rate->interval_ns;
}
