#include "core/problem.h"

#include "core/json.h"

static const struct {
    const char *name;
    int status;
    const char *title;
} problems[PROBLEM_COUNT] = {[PROBLEM_NONE] = {"NONE", 200, "No problem"},
#define X(code, status, title) [PROBLEM_##code] = {#code, status, title},
                             PROBLEM_TABLE(X)
#undef X
};

static enum problem_code known(enum problem_code code)
{
    return (unsigned)code < PROBLEM_COUNT ? code : PROBLEM_INTERNAL;
}

int problem_status(enum problem_code code)
{
    return problems[known(code)].status;
}

const char *problem_name(enum problem_code code)
{
    return problems[known(code)].name;
}

const char *problem_title(enum problem_code code)
{
    return problems[known(code)].title;
}

void problem_write(struct buf *b, const struct problem *p, struct slice trace_id)
{
    struct json_writer w;

    json_writer_init(&w, b);
    json_begin_object(&w);
    json_member_str(&w, "type", SLICE("about:blank"));
    json_member_str(&w, "title", slice_of(problem_title(p->code)));
    json_member_int64(&w, "status", p->status ? p->status : problem_status(p->code));
    json_member_str(&w, "code", slice_of(problem_name(p->code)));
    json_member_str_opt(&w, "detail", p->detail);

    if (p->pointer.n) {
        json_key(&w, "errors");
        json_begin_array(&w);
        json_begin_object(&w);
        json_member_str(&w, "pointer", p->pointer);
        json_member_str(&w, "detail", p->detail.n ? p->detail : slice_of(problem_title(p->code)));
        json_end_object(&w);
        json_end_array(&w);
    }
    json_member_str_opt(&w, "trace_id", trace_id);
    json_end_object(&w);
}
