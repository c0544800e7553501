/* SPDX-License-Identifier: Apache-2.0
 *
 * ngx_afpa: directives, zones, life of the processes.
 *
 * The master opens the zones of a configuration once it is complete, before it forks, and gives the segments to the workers'
 * user; each worker attaches after the fork and leaves when it exits.  A reload opens the same segments again for the new
 * configuration: payload stays.  A worker that cannot attach says so once and serves without the cache.
 */
#include "ngx_http_afpa_fastpath.h"
#include "ngx_http_afpa_log.h"

static ngx_str_t default_pool = ngx_string("default");

/* ---- messages of the library ---- */

static void on_log(void *context, afpa_log_level_t level, const char *line)
{
    static const ngx_uint_t levels[] = {NGX_LOG_ERR, NGX_LOG_WARN, NGX_LOG_NOTICE, NGX_LOG_DEBUG};

    ngx_log_error(levels[level], ngx_cycle->log, 0, "afpa: %s", line);
}

/* ---- directives ---- */

static ngx_http_afpa_zone_t *zone_find(ngx_http_afpa_main_conf_t *main_conf, ngx_str_t *name)
{
    ngx_http_afpa_zone_t **zones = main_conf->zones.elts;

    for (ngx_uint_t i = 0; i < main_conf->zones.nelts; i++)
        if (zones[i]->name.len == name->len && ngx_strncmp(zones[i]->name.data, name->data, name->len) == 0)
            return zones[i];
    return NULL;
}

static char *zone_add(ngx_conf_t *cf, ngx_http_afpa_main_conf_t *main_conf, ngx_str_t *name, afpa_zone_options_t *options)
{
    ngx_http_afpa_zone_t **slot = ngx_array_push(&main_conf->zones), *zone = ngx_pcalloc(cf->pool, sizeof(*zone));

    if (slot == NULL || zone == NULL)
        return NGX_CONF_ERROR;
    zone->name = *name;
    zone->options = *options;
    *slot = zone;
    return NGX_CONF_OK;
}

static ngx_int_t zone_same_file(ngx_conf_t *cf, ngx_http_afpa_main_conf_t *main_conf, const afpa_zone_options_t *options)
{
    ngx_http_afpa_zone_t **zones = main_conf->zones.elts;

    for (ngx_uint_t i = 0; i < main_conf->zones.nelts; i++)
        if (afpa_zone_options_same_file(&zones[i]->options, options)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa_zone: zone \"%s\": zone \"%V\" has the same file", options->name,
                               &zones[i]->name);
            return NGX_ERROR;
        }
    return NGX_OK;
}

static char *set_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_afpa_main_conf_t *main_conf = conf;
    ngx_str_t *value = cf->args->elts;
    afpa_zone_options_t options;
    afpa_error_t error;

    afpa_zone_options_init(&options);
    if (zone_find(main_conf, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa_zone: zone \"%V\" is declared twice", &value[1]);
        return NGX_CONF_ERROR;
    }
    if (afpa_parse_size((char *)value[2].data, value[2].len, &options.size) != AFPA_OK || options.size < AFPA_ZONE_SIZE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa_zone: zone \"%V\": size \"%V\" is not a size, or too small (at least 1m)",
                           &value[1], &value[2]);
        return NGX_CONF_ERROR;
    }
    options.name = (char *)value[1].data;
    for (ngx_uint_t i = 3; i < cf->args->nelts; i++)
        if (afpa_zone_options_parse(&options, (char *)value[i].data, &error) != AFPA_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa_zone: zone \"%V\": %s", &value[1], error.text);
            return NGX_CONF_ERROR;
        }
    if (zone_same_file(cf, main_conf, &options) != NGX_OK)
        return NGX_CONF_ERROR;
    return zone_add(cf, main_conf, &value[1], &options);
}

static char *set_afpa(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_afpa_main_conf_t *main_conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_afpa_module);
    ngx_http_afpa_loc_conf_t *loc = conf;
    ngx_str_t *value = cf->args->elts;

    if (loc->zone != NGX_CONF_UNSET_PTR)
        return "is duplicate";
    if (ngx_strcmp(value[1].data, "off") == 0) {
        loc->zone = NULL;
        return NGX_CONF_OK;
    }
    loc->zone = zone_find(main_conf, &value[1]);
    if (loc->zone)
        return NGX_CONF_OK;
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa: zone \"%V\" is not declared; an afpa_zone for it must come first", &value[1]);
    return NGX_CONF_ERROR;
}

static char *check_positive(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *value = data;

    return *value >= 1 ? NGX_CONF_OK : "must be at least 1";
}

static ngx_conf_post_t at_least_one = {check_positive};

static ngx_command_t commands[] = {
    {ngx_string("afpa_zone"), NGX_HTTP_MAIN_CONF | NGX_CONF_2MORE, set_zone, NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},
    {ngx_string("afpa"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, set_afpa,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("afpa_revalidate"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_msec_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_afpa_loc_conf_t, revalidate), NULL},
    {ngx_string("afpa_min_size"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_off_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_afpa_loc_conf_t, min_size), NULL},
    {ngx_string("afpa_max_size"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_off_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_afpa_loc_conf_t, max_size), NULL},
    {ngx_string("afpa_min_uses"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1,
     ngx_conf_set_num_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_afpa_loc_conf_t, min_uses), &at_least_one},
    {ngx_string("afpa_bypass"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_1MORE,
     ngx_http_set_predicate_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_afpa_loc_conf_t, bypass), NULL},
    {ngx_string("afpa_cache_status"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_FLAG,
     ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_afpa_loc_conf_t, cache_status), NULL},
    {ngx_string("afpa_access_log"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE123, ngx_http_afpa_log_set,
     NGX_HTTP_SRV_CONF_OFFSET, 0, NULL},
    {ngx_string("afpa_fast_path"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_CONF_FLAG,
     ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_afpa_loc_conf_t, fast_path), NULL},
    {ngx_string("afpa_zerocopy"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_off_slot, NGX_HTTP_MAIN_CONF_OFFSET,
     offsetof(ngx_http_afpa_main_conf_t, zerocopy), NULL},
    {ngx_string("afpa_threads"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_str_slot, NGX_HTTP_MAIN_CONF_OFFSET,
     offsetof(ngx_http_afpa_main_conf_t, threads), NULL},
    ngx_null_command};

/* ---- $afpa_status ---- */

static ngx_int_t get_status(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    static ngx_str_t words[] = {
        [NGX_HTTP_AFPA_NONE] = ngx_string("-"),      [NGX_HTTP_AFPA_HIT] = ngx_string("HIT"),
        [NGX_HTTP_AFPA_MISS] = ngx_string("MISS"),   [NGX_HTTP_AFPA_REVALIDATED] = ngx_string("REVALIDATED"),
        [NGX_HTTP_AFPA_STALE] = ngx_string("STALE"), [NGX_HTTP_AFPA_BYPASS] = ngx_string("BYPASS"),
    };
    ngx_http_afpa_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_afpa_module);

    v->valid = 1;
    v->not_found = 0;
    v->no_cacheable = 1; /* it changes on an internal redirect */
    if (ctx == NULL || ctx->status != NGX_HTTP_AFPA_DECLINED) {
        v->data = words[ctx ? ctx->status : NGX_HTTP_AFPA_NONE].data;
        v->len = (unsigned)words[ctx ? ctx->status : NGX_HTTP_AFPA_NONE].len;
        return NGX_OK;
    }
    v->data = ngx_pnalloc(r->pool, 64);
    if (v->data == NULL)
        return NGX_ERROR;
    v->len = (unsigned)(ngx_snprintf(v->data, 64, "DECLINED:%s", afpa_counter_name(ctx->why)) - v->data);
    return NGX_OK;
}

static ngx_int_t preconfiguration(ngx_conf_t *cf)
{
    static ngx_str_t name = ngx_string("afpa_status");
    ngx_http_variable_t *var = ngx_http_add_variable(cf, &name, NGX_HTTP_VAR_NOCACHEABLE);

    if (var == NULL)
        return NGX_ERROR;
    var->get_handler = get_status;
    return ngx_http_afpa_refuse_watch(cf);
}

/* ---- configuration ---- */

static void *create_main_conf(ngx_conf_t *cf)
{
    ngx_http_afpa_main_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(*conf));

    if (conf == NULL || ngx_array_init(&conf->zones, cf->pool, 2, sizeof(ngx_http_afpa_zone_t *)) != NGX_OK ||
        ngx_array_init(&conf->logs, cf->pool, 2, sizeof(ngx_http_afpa_log_t *)) != NGX_OK ||
        ngx_array_init(&conf->fast_ports, cf->pool, 2, sizeof(ngx_http_afpa_port_t)) != NGX_OK)
        return NULL;
    conf->zerocopy = NGX_CONF_UNSET;
    return conf;
}

static char *init_main_conf(ngx_conf_t *cf, void *data)
{
    ngx_http_afpa_main_conf_t *conf = data;

    ngx_conf_init_value(conf->zerocopy, (off_t)afpa_option_default(AFPA_OPTION_ZEROCOPY));
    if (conf->threads.len == 0)
        conf->threads = default_pool;
#if (NGX_THREADS)
    if (conf->zones.nelts > 0)
        conf->pool = ngx_thread_pool_add(cf, &conf->threads);
    if (conf->zones.nelts > 0 && conf->pool == NULL)
        return NGX_CONF_ERROR;
#endif
    return NGX_CONF_OK;
}

static void *create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_afpa_srv_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(*conf));

    if (conf)
        conf->log = NGX_CONF_UNSET_UINT;
    return conf;
}

static char *merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_afpa_srv_conf_t *prev = parent, *conf = child;

    ngx_conf_merge_uint_value(conf->log, prev->log, NGX_CONF_UNSET_UINT);
    return NGX_CONF_OK;
}

static void *create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_afpa_loc_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(*conf));

    if (conf == NULL)
        return NULL;
    conf->zone = NGX_CONF_UNSET_PTR;
    conf->revalidate = NGX_CONF_UNSET_MSEC;
    conf->min_size = conf->max_size = NGX_CONF_UNSET;
    conf->min_uses = NGX_CONF_UNSET_UINT;
    conf->bypass = NGX_CONF_UNSET_PTR;
    conf->cache_status = conf->fast_path = conf->gzip_static = NGX_CONF_UNSET;
    return conf;
}

/* The fast path looks into one zone, for it has to know where before it knows the location. */
static ngx_int_t fast_path_note(ngx_conf_t *cf, ngx_http_afpa_loc_conf_t *conf)
{
    ngx_http_afpa_main_conf_t *main_conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_afpa_module);
    ngx_http_afpa_srv_conf_t *srv = ngx_http_conf_get_module_srv_conf(cf, ngx_http_afpa_module);

    if (conf->zone == NULL)
        return NGX_OK;
    if (srv->log == NGX_CONF_UNSET_UINT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "afpa_fast_path is on without an afpa_access_log: nginx's access_log does not see its replies; "
                           "name a file, or say \"afpa_access_log off\"");
        return NGX_ERROR;
    }
    srv->fast = 1;
    if (main_conf->fast_zone == conf->zone)
        return NGX_OK;
    if (main_conf->fast_zone) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "afpa_fast_path: it is on for zone \"%V\" and for zone \"%V\"; it can be for one only",
                           &main_conf->fast_zone->name, &conf->zone->name);
        return NGX_ERROR;
    }
    main_conf->fast_zone = conf->zone;
    return NGX_OK;
}

static char *merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_afpa_loc_conf_t *prev = parent, *conf = child;

    ngx_conf_merge_ptr_value(conf->zone, prev->zone, NULL);
    ngx_conf_merge_msec_value(conf->revalidate, prev->revalidate, (ngx_msec_t)afpa_option_default(AFPA_OPTION_REVALIDATE));
    ngx_conf_merge_off_value(conf->min_size, prev->min_size, (off_t)afpa_option_default(AFPA_OPTION_MIN_SIZE));
    ngx_conf_merge_off_value(conf->max_size, prev->max_size, (off_t)afpa_option_default(AFPA_OPTION_MAX_SIZE));
    ngx_conf_merge_uint_value(conf->min_uses, prev->min_uses, (ngx_uint_t)afpa_option_default(AFPA_OPTION_MIN_USES));
    ngx_conf_merge_ptr_value(conf->bypass, prev->bypass, NULL);
    ngx_conf_merge_value(conf->cache_status, prev->cache_status, 0);
    ngx_conf_merge_value(conf->fast_path, prev->fast_path, 0);
    if (ngx_http_afpa_refuse_merge(cf, prev, conf) != NGX_OK || (conf->fast_path && fast_path_note(cf, conf) != NGX_OK))
        return NGX_CONF_ERROR;
    if (conf->min_size > conf->max_size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa_min_size %O is larger than afpa_max_size %O", conf->min_size,
                           conf->max_size);
        return NGX_CONF_ERROR;
    }
    return NGX_CONF_OK;
}

static ngx_int_t postconfiguration(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *handler = ngx_array_push(&core->phases[NGX_HTTP_CONTENT_PHASE].handlers);

    ngx_http_afpa_refuse_unwatch();
    if (handler == NULL)
        return NGX_ERROR;
    *handler = ngx_http_afpa_handler;
    return ngx_http_afpa_fastpath_postconfiguration(cf);
}

/* ---- processes ---- */

static void zones_close(void *data)
{
    ngx_http_afpa_main_conf_t *conf = data;
    ngx_http_afpa_zone_t **zones = conf->zones.elts;

    for (ngx_uint_t i = 0; i < conf->zones.nelts; i++) {
        afpa_cache_detach(&zones[i]->cache);
        afpa_zone_close(&zones[i]->zone);
    }
}

static ngx_int_t zone_open(ngx_cycle_t *cycle, ngx_http_afpa_zone_t *zone)
{
    ngx_core_conf_t *core = (ngx_core_conf_t *)ngx_get_conf(cycle->conf_ctx, ngx_core_module);
    afpa_status_t status;
    afpa_error_t error;

    if (geteuid() == 0) {
        zone->options.uid = core->user;
        zone->options.gid = core->group;
    }
    status = ngx_test_config ? afpa_zone_check(&zone->options, &error) : afpa_zone_open(&zone->options, &zone->zone, &error);
    if (status == AFPA_OK)
        return NGX_OK;
    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "afpa_zone: %s", error.text);
    return NGX_ERROR;
}

/* At a reload nginx has no way back from here: an error would end the master, and leave its workers to themselves.  So a zone that
 * cannot be opened then is done without. */
static ngx_int_t init_module(ngx_cycle_t *cycle)
{
    ngx_http_afpa_main_conf_t *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_afpa_module);
    ngx_http_afpa_zone_t **zones;
    ngx_pool_cleanup_t *cleanup;

    if (conf == NULL || conf->zones.nelts == 0)
        return NGX_OK;
    afpa_log_set(on_log, NULL, AFPA_LOG_NOTICE);
    cleanup = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cleanup == NULL)
        return NGX_ERROR;
    cleanup->handler = zones_close;
    cleanup->data = conf;
    zones = conf->zones.elts;
    for (ngx_uint_t i = 0; i < conf->zones.nelts; i++) {
        if (zone_open(cycle, zones[i]) == NGX_OK)
            continue;
        if (ngx_is_init_cycle(cycle->old_cycle))
            return NGX_ERROR;
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0, "afpa_zone: reloaded without zone \"%s\": nginx serves its files by itself",
                      zones[i]->options.name);
    }
    return ngx_http_afpa_fastpath_init_module(cycle, conf);
}

static ngx_int_t init_process(ngx_cycle_t *cycle)
{
    ngx_http_afpa_main_conf_t *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_afpa_module);
    ngx_http_afpa_zone_t **zones;
    afpa_error_t error;

    if (conf == NULL || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
        return NGX_OK;
    zones = conf->zones.elts;
    for (ngx_uint_t i = 0; i < conf->zones.nelts; i++)
        if (zones[i]->zone && afpa_cache_attach(zones[i]->zone, "nginx", &zones[i]->cache, &error) != AFPA_OK)
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "afpa: this worker serves without the cache: %s", error.text);
    return ngx_http_afpa_fastpath_init_process(cycle, conf);
}

static void exit_process(ngx_cycle_t *cycle)
{
    ngx_http_afpa_main_conf_t *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_afpa_module);
    ngx_http_afpa_zone_t **zones;

    if (conf == NULL)
        return;
    ngx_http_afpa_log_flush_all(conf);
    zones = conf->zones.elts;
    for (ngx_uint_t i = 0; i < conf->zones.nelts; i++)
        afpa_cache_detach(&zones[i]->cache);
}

static ngx_http_module_t module_ctx = {preconfiguration, postconfiguration, create_main_conf, init_main_conf,
                                       create_srv_conf,  merge_srv_conf,    create_loc_conf,  merge_loc_conf};

ngx_module_t ngx_http_afpa_module = {NGX_MODULE_V1, &module_ctx, commands, NGX_HTTP_MODULE, NULL, init_module,
                                     init_process,  NULL,        NULL,     exit_process,    NULL, NGX_MODULE_V1_PADDING};
