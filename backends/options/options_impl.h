/*
 * options_impl - what the files of this folder share: values of directives, and blocks that have a
 * file of their own. Private to it.
 */
#ifndef OPTIONS_OPTIONS_IMPL_H
#define OPTIONS_OPTIONS_IMPL_H

#include "options.h"

/* All: 0, or -1 with *err. */
int options_get_time(const struct conf_node *n, struct slice s, int64_t min_ms, int64_t *us,
                     struct conf_error *err);
int options_get_number(const struct conf_node *n, struct slice s, int64_t min, int64_t max,
                       int64_t *out, struct conf_error *err);
/* Paths are relative to the configuration file's folder. */
int options_get_path(struct options *o, const struct conf_node *n, struct slice s, const char **out,
                     struct conf_error *err);
/* "unix:PATH", the directive's first argument. */
int options_get_socket(struct options *o, const struct conf_node *n, const char **out,
                       struct conf_error *err);

extern const struct conf_directive options_callbacks_table[];
void options_callbacks_defaults(struct callback_options *c);
int options_read_callbacks(struct options *o, const struct conf_node *block,
                           struct conf_error *err);

extern const struct conf_directive options_process_table[];
int options_read_process(struct options *o, const struct conf_node *block, struct conf_error *err);

extern const struct conf_directive options_relay_table[];
void options_relay_defaults(struct relay_options *r);
int options_read_relay(struct options *o, const struct conf_node *block, struct conf_error *err);

#endif
