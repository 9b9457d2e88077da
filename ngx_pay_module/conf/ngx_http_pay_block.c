/*
 * See ngx_http_pay_block.h.
 */

#include "ngx_http_pay_block.h"


typedef struct {
    ngx_str_t                     *kind;    /* "pay_rule" */
    ngx_str_t                     *name;
    ngx_http_pay_block_command_t  *commands;
    uint32_t                       seen;    /* commands, by index */
    void                          *block;
} ngx_http_pay_block_t;


static char *ngx_http_pay_block_command(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);


static ngx_uint_t
ngx_http_pay_block_name_valid(ngx_str_t *name)
{
    u_char      c;
    ngx_uint_t  i;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')
              || c == '_' || (c == '-' && i > 0)))
        {
            return 0;
        }
    }

    return name->len > 0 && name->len <= NGX_HTTP_PAY_BLOCK_NAME;
}


char *
ngx_http_pay_block_invalid(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_str_t  *args;

    args = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\"", value, &args[0]);

    return NGX_CONF_ERROR;
}


char *
ngx_http_pay_block_read(ngx_conf_t *cf, ngx_http_pay_block_command_t *commands,
    void *block)
{
    char                  *rv;
    ngx_str_t             *value, kind, name;
    ngx_uint_t             i;
    ngx_conf_t             save;
    ngx_http_pay_block_t   reader;

    value = cf->args->elts;

    if (!ngx_http_pay_block_name_valid(&value[1])) {
        return ngx_http_pay_block_invalid(cf, &value[1]);
    }

    kind = value[0];
    name = value[1];

    reader.kind = &kind;
    reader.name = &name;
    reader.commands = commands;
    reader.seen = 0;
    reader.block = block;

    save = *cf;
    cf->handler = ngx_http_pay_block_command;
    cf->handler_conf = (void *) &reader;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    for (i = 0; commands[i].name.len; i++) {
        if ((commands[i].flags & NGX_HTTP_PAY_BLOCK_NEED)
            && !(reader.seen & 1u << i))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "no \"%V\" in %V \"%V\"",
                               &commands[i].name, &kind, &name);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_pay_block_command(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    ngx_http_pay_block_t  *reader = conf;

    ngx_str_t                     *value;
    ngx_uint_t                     i, n;
    ngx_http_pay_block_command_t  *command;

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    for (i = 0; reader->commands[i].name.len; i++) {
        command = &reader->commands[i];

        if (command->name.len != value[0].len
            || ngx_memcmp(command->name.data, value[0].data, value[0].len)
               != 0)
        {
            continue;
        }

        if (n < command->min || n > command->max) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of arguments in \"%V\" "
                               "of %V \"%V\"",
                               &value[0], reader->kind, reader->name);
            return NGX_CONF_ERROR;
        }

        if ((command->flags & NGX_HTTP_PAY_BLOCK_ONCE)
            && (reader->seen & 1u << i))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" is duplicate in %V \"%V\"",
                               &value[0], reader->kind, reader->name);
            return NGX_CONF_ERROR;
        }

        reader->seen |= 1u << i;

        return command->set(cf, reader->block);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown directive \"%V\" in %V \"%V\"",
                       &value[0], reader->kind, reader->name);

    return NGX_CONF_ERROR;
}
