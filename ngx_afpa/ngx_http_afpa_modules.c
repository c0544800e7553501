/* SPDX-License-Identifier: Apache-2.0
 *
 * The three tables that nginx looks up in a dynamic module.  Only for a build outside of nginx's own; --add-dynamic-module makes
 * them itself.
 *
 * The order puts the module between nginx's static handler, which runs after it, and every handler that answers before static
 * files do (content handlers run from the last module to the first).
 */
#include <ngx_config.h>
#include <ngx_core.h>

extern ngx_module_t ngx_http_afpa_module;

ngx_module_t *ngx_modules[] = {&ngx_http_afpa_module, NULL};

char *ngx_module_names[] = {"ngx_http_afpa_module", NULL};

char *ngx_module_order[] = {"ngx_http_static_module",       "ngx_http_afpa_module",      "ngx_http_gzip_static_module",
                            "ngx_http_dav_module",          "ngx_http_autoindex_module", "ngx_http_index_module",
                            "ngx_http_random_index_module", "ngx_http_mirror_module",    NULL};
