/*
 * How full nginx's shared memory zones are: ours, and those of other
 * directives of the same configuration (limit_req, TLS sessions ...).
 *
 * "free" are whole pages; memory left in pages that are in use is not
 * counted.  The words are read without the zone's lock: each is right for some
 * moment, and that is all a graph needs.
 */

#include "ngx_http_pay_status.h"


typedef struct {
    ngx_str_t           name;
    size_t              size;
    size_t              room;
    ngx_uint_t          fails;
} ngx_http_pay_zone_use_t;


static ngx_array_t *
ngx_http_pay_zones(ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                i, n;
    ngx_array_t              *zones;
    ngx_shm_zone_t           *zone;
    ngx_list_part_t          *part;
    ngx_slab_pool_t          *sp;
    ngx_http_pay_zone_use_t  *use;

    zones = ngx_array_create(t->pool, 8, sizeof(ngx_http_pay_zone_use_t));
    if (zones == NULL) {
        t->failed = 1;
        return NULL;
    }

    for (part = (ngx_list_part_t *) &ngx_cycle->shared_memory.part;
         part;
         part = part->next)
    {
        zone = part->elts;

        for (i = 0; i < part->nelts; i++) {
            sp = (ngx_slab_pool_t *) zone[i].shm.addr;

            use = ngx_array_push(zones);
            if (use == NULL) {
                t->failed = 1;
                return NULL;
            }

            use->name = ngx_http_pay_status_quoted(t, &zone[i].shm.name);
            use->size = zone[i].shm.size;
            use->room = sp->pfree * ngx_pagesize;
            use->fails = 0;

            for (n = 0; n < ngx_pagesize_shift - sp->min_shift; n++) {
                use->fails += sp->stats[n].fails;
            }
        }
    }

    return zones;
}


void
ngx_http_pay_status_zones(ngx_http_request_t *r, ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                i, k;
    ngx_array_t              *zones;
    ngx_http_pay_zone_use_t  *use;

    static const char  *names[][3] = {
        { "pay_zone_bytes", "gauge", "Size of a shared memory zone." },
        { "pay_zone_free_bytes", "gauge", "Whole pages that are free in it." },
        { "pay_zone_failed_total", "counter", "Allocations it had no room for." }
    };

    zones = ngx_http_pay_zones(t);
    if (zones == NULL) {
        return;
    }

    use = zones->elts;

    for (k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        ngx_http_pay_status_head(t, names[k][0], names[k][1], names[k][2]);

        for (i = 0; i < zones->nelts; i++) {
            ngx_http_pay_status_printf(t, "%s{zone=\"%V\"} %uz\n", names[k][0],
                                       &use[i].name,
                                       k == 0 ? use[i].size
                                       : k == 1 ? use[i].room
                                       : (size_t) use[i].fails);
        }
    }
}


void
ngx_http_pay_status_zones_json(ngx_http_request_t *r,
    ngx_http_pay_status_text_t *t)
{
    ngx_uint_t                i;
    ngx_array_t              *zones;
    ngx_http_pay_zone_use_t  *use;

    zones = ngx_http_pay_zones(t);
    if (zones == NULL) {
        return;
    }

    use = zones->elts;

    ngx_http_pay_status_printf(t, "{");

    for (i = 0; i < zones->nelts; i++) {
        ngx_http_pay_status_printf(t, "%s\"%V\":{\"size\":%uz,\"free\":%uz,"
                                   "\"failed\":%ui}", i ? "," : "",
                                   &use[i].name, use[i].size, use[i].room,
                                   use[i].fails);
    }

    ngx_http_pay_status_printf(t, "}");
}
