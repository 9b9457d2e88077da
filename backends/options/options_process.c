/* The process blocks: who does what, and where it is reached. */
#include "options_impl.h"

#include "core/ids.h"

const struct conf_directive options_process_table[] = {
    {"roles", 1, 4, CONF_NEED, "order | timer | callback | relay ...", "",
     "What this process does."},
    {"api", 1, 1, 0, "unix:PATH", "", "Socket for verified merchant requests (role order)."},
    {"notify", 1, 1, 0, "unix:PATH", "", "Socket for channels' notifications (role order)."},
    {"internal", 1, 1, 0, "unix:PATH", "", "Socket for keys and the change feed (role order)."},
    {"status", 1, 1, 0, "unix:PATH", "", "Socket for GET /metrics, in Prometheus' text format."},
    {"operate", 1, 1, 0, "unix:PATH", "",
     "Socket where payctl decides cases; who may open it may."},
    {"slots", 2, 2, 0, "FROM TO", "0 1023",
     "Slots whose timers and callbacks this process serves."},
    {0}};

static int read_roles(struct process_options *p, const struct conf_node *n, struct conf_error *err)
{
    for (uint32_t i = 0; i < n->nargs; i++) {
        unsigned role = slice_is(n->args[i], "order")      ? ROLE_ORDER
                        : slice_is(n->args[i], "timer")    ? ROLE_TIMER
                        : slice_is(n->args[i], "callback") ? ROLE_CALLBACK
                        : slice_is(n->args[i], "relay")    ? ROLE_RELAY
                                                           : 0;
        if (!role)
            return conf_fail(err, n, "roles: \"%.*s\" is not order, timer, callback or relay",
                             SLICE_FMT(n->args[i]));
        p->roles |= role;
    }
    return 0;
}

static int read_slots(struct process_options *p, const struct conf_node *n, struct conf_error *err)
{
    int64_t from, to;

    if (options_get_number(n, n->args[0], 0, SLOT_COUNT - 1, &from, err) != 0 ||
        options_get_number(n, n->args[1], from, SLOT_COUNT - 1, &to, err) != 0)
        return -1;
    p->slot_from = (uint32_t)from;
    p->slot_to = (uint32_t)to;
    return 0;
}

int options_read_process(struct options *o, const struct conf_node *block, struct conf_error *err)
{
    struct process_options *p = arena_new(&o->arena, struct process_options);

    if (!p || !(p->name = arena_cstr(&o->arena, block->args[0])))
        return conf_fail(err, block, "process: bad name");
    if (options_process(o, p->name))
        return conf_fail(err, block, "process %s is defined twice", p->name);
    if (conf_check(block, NULL, options_process_table, err) != 0)
        return -1;
    p->slot_to = SLOT_COUNT - 1;
    for (const struct conf_node *n = block->child; n; n = n->next) {
        int rc = slice_is(n->name, "roles")     ? read_roles(p, n, err)
                 : slice_is(n->name, "slots")   ? read_slots(p, n, err)
                 : slice_is(n->name, "api")     ? options_get_socket(o, n, &p->api, err)
                 : slice_is(n->name, "notify")  ? options_get_socket(o, n, &p->notify, err)
                 : slice_is(n->name, "status")  ? options_get_socket(o, n, &p->status, err)
                 : slice_is(n->name, "operate") ? options_get_socket(o, n, &p->operate, err)
                                                : options_get_socket(o, n, &p->internal, err);
        if (rc != 0)
            return -1;
    }
    if ((p->roles & ROLE_RELAY) && !o->relay.redis_path && !o->relay.redis_address)
        return conf_fail(err, block, "process %s: role relay needs relay { redis ...; } before it",
                         p->name);
    if (!!(p->roles & ROLE_ORDER) != (p->api && p->notify && p->internal))
        return conf_fail(err, block,
                         "process %s: role order needs api, notify and internal, others none",
                         p->name);
    p->next = o->processes;
    o->processes = p;
    return 0;
}
