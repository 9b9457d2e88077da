/* What payers show and what their browsers say: payment codes, User-Agent headers. */
#include "fuzz.h"

#include "core/payer_app.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = slice_n(data, size);
    enum payer_app code = payer_app_of_barcode(s), agent = payer_app_of_agent(s);

    must(payer_app_parse(slice_of(payer_app_name(code))) == (int)code);
    must(payer_app_parse(slice_of(payer_app_name(agent))) == (int)agent);
    if (code != PAYER_APP_OTHER) {
        must(s.n >= 16 && s.n <= 24);
        for (size_t i = 0; i < s.n; i++)
            must(s.p[i] >= '0' && s.p[i] <= '9');
        must(agent == PAYER_APP_OTHER);
    }
    /* the shortest product with a version */
    must(agent == PAYER_APP_OTHER || s.n >= sizeof("UnionPay/1") - 1);
    return 0;
}
