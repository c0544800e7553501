/* SPDX-License-Identifier: Apache-2.0
 *
 * The log of fast-path replies: see ngx_http_afpa_log.c.
 */
#ifndef NGX_HTTP_AFPA_LOG_H
#define NGX_HTTP_AFPA_LOG_H

#include "ngx_http_afpa_fastpath.h"

typedef struct ngx_http_afpa_log_s ngx_http_afpa_log_t;

/* The directive afpa_access_log, in http and server. */
char *ngx_http_afpa_log_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* Writes one line, or keeps it for a moment. */
void ngx_http_afpa_log_write(ngx_http_afpa_log_t *log, ngx_connection_t *c, const afpa_reply_t *reply);

/* After all of the configuration was read; and before a worker ends. */
void ngx_http_afpa_log_init(ngx_http_afpa_main_conf_t *conf);
void ngx_http_afpa_log_flush_all(ngx_http_afpa_main_conf_t *conf);

#endif
