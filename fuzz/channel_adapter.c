/* Adapter files: whatever stands in one, it is compiled or every mistake has its place. */
#include "fuzz.h"

#include "backends/channel/adapter.h"

static void on_mistake(void *arg, const struct conf_error *err)
{
    struct conf_error placed = *err;
    uint32_t *n = arg;

    (*n)++;
    must(memchr(err->text, 0, sizeof(err->text)));
    must(strlen(err->text) > 0 && err->reason < sizeof(err->text));
    conf_error_place(&placed);
    must(memchr(placed.text, 0, sizeof(placed.text)));
    /* what has no place has run out of memory, or is empty */
    must(strncmp(placed.text, "fuzz", 4) == 0 || !err->place.line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_n(data, size);
    uint32_t told = 0;

    must(adapter_check("fuzz", &text, on_mistake, &told) == told);
    return 0;
}
