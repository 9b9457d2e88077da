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
