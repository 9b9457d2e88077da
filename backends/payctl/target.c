#include "target.h"

#include "core/ids.h"

#include <stdio.h>

void target_set(struct target *t, int64_t id)
{
    snprintf(t->slot, sizeof(t->slot), "%u", id_slot(id));
    snprintf(t->id, sizeof(t->id), "%lld", (long long)id);
    t->params[0] = t->slot;
    t->params[1] = t->id;
}

int target_parse(const char *text, char kind, int64_t *id)
{
    return id_parse(slice_of(text), kind, id) == 0 || slice_int64(slice_of(text), id) == 0 ? 0 : -1;
}

int target_find(const struct target_kind *k, const char *text, struct target *t)
{
    int64_t id;

    if (target_parse(text, k->letter, &id) != 0) {
        ctl_refuse("\"%s\" is not the id of a %s (%c...)", text, k->name, k->letter);
        return -1;
    }
    target_set(t, id);
    return 0;
}

int target_show(const struct target_kind *k, struct ctl *c, int argc, char **argv)
{
    struct target t;
    char missing[64];
    int status;

    if (argc != 1)
        return CTL_USAGE;
    if (target_find(k, argv[0], &t) != 0)
        return CTL_REFUSED;
    snprintf(missing, sizeof(missing), "no such %s", k->name);
    status = ctl_change(c, k->row, t.params, missing);
    return status == CTL_DONE ? ctl_list(c, k->more, t.params) : status;
}
