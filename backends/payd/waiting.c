#include "waiting.h"

#include "reply.h"

#include <stdlib.h>

struct waiting {
    struct http_req *req; /* NULL once answered */
    waiting_answer *answer;
    const void *arg;
    struct flow *flow;
    struct loop_timer *deadline;
};

static void on_flow(void *arg, struct flow *f)
{
    struct waiting *x = arg;

    if (x->req)
        x->answer(x->req, f, x->arg);
    loop_timer_free(x->deadline);
    free(x);
}

static void on_deadline(void *arg)
{
    struct waiting *x = arg;
    struct http_req *req = x->req;

    x->req = NULL;
    x->answer(req, x->flow, x->arg);
}

struct flow *waiting_flow(struct worker *w, struct http_req *req, waiting_answer *answer,
                          const void *arg)
{
    struct waiting *x = calloc(1, sizeof(*x));

    if (x) {
        *x = (struct waiting){.req = req, .answer = answer, .arg = arg};
        x->deadline = loop_timer_new(w->loop, on_deadline, x);
        x->flow = x->deadline ? flow_new(w, on_flow, x) : NULL;
    }
    if (!x || !x->flow) {
        reply_problem(req, PROBLEM_OVERLOADED, NULL, NULL);
        if (x)
            loop_timer_free(x->deadline);
        free(x);
        return NULL;
    }
    loop_timer_set(x->deadline, w->options->answer_within_us);
    return x->flow;
}
