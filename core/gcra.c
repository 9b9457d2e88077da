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

bool gcra_take(int64_t *state, const struct gcra_rate *rate, int64_t now_ns)
{
    return gcra_take_turn(state, rate, now_ns, 0) == 0;
}

int64_t gcra_take_turn(int64_t *state, const struct gcra_rate *rate, int64_t now_ns,
                       int64_t patience_ns)
{
    int64_t wait;

    if (rate->interval_ns == 0)
        return 0;
    *state = due(*state, rate, now_ns);
    wait = gcra_wait(*state, rate, now_ns);
    if (wait > patience_ns || wait > rate->ahead_ns)
        return -1;
    *state += rate->interval_ns;
    return wait;
}

void gcra_give_back(int64_t *state, const struct gcra_rate *rate)
{
    *state -= rate->interval_ns;
}
