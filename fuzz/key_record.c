/*
 * payd's record of a key, as the edge reads it (ngx_pay_key_parse.c). Compiled with nginx's
 * headers; the few functions of nginx that it calls stand here.
 */
#include "fuzz.h"

#include "ngx_pay_module/keys/ngx_pay_keys.h"

volatile ngx_cycle_t *ngx_cycle;
static ngx_cycle_t cycle;

void *ngx_calloc(size_t size, ngx_log_t *log)
{
    (void)log;
    return calloc(1, size);
}

/* it prints, which is not for a stranger's bytes to decide */
void ngx_pay_limit_init(ngx_pay_limit_t *l)
{
    must(l->rate <= NGX_PAY_LIMIT_RATE_MAX && l->burst <= NGX_PAY_LIMIT_RATE_MAX);
    must(l->window >= 1 && l->window <= 3600);
    must(l->name.len <= NGX_PAY_LIMIT_NAME_MAX);
}

void ngx_pay_key_unref(ngx_pay_key_t *key)
{
    must(key->refs == 1);
    verify_key_release(&key->verify);
    free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* parsing wipes the secret where it lies: the record is a copy */
    char *copy = malloc(size + 1);
    ngx_pay_key_t *key;

    ngx_cycle = &cycle;
    must(copy);
    memcpy(copy, data, size);
    key = ngx_pay_key_parse(slice_n(copy, size));
    free(copy);
    if (key == NULL)
        return 0;
    must(key->refs == 1);
    must(key->verify.alg != KEY_ALG_NONE);
    must(key->serial.len > 0 && key->mchid.len > 0 && key->app.len > 0);
    must(key->base_slot < 1024 && key->span >= 1 && key->span <= 64);
    fuzz_touch(slice_n(key->serial.data, key->serial.len));
    fuzz_touch(slice_n(key->mchid.data, key->mchid.len));
    fuzz_touch(slice_n(key->app.data, key->app.len));
    ngx_pay_key_unref(key);
    return 0;
}
