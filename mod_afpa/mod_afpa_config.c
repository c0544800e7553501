/* SPDX-License-Identifier: Apache-2.0
 *
 * mod_afpa: directives, zones, life of the processes.
 *
 * The parent opens the zones after it has read its configuration (the second time at start-up, as the first is only a test) and
 * gives the segments to the children's user; each child attaches for itself and leaves when it ends.  A graceful restart opens
 * the same segments again: payload stays.  The names that IBM HTTP Server's FRCA had keep their meaning.
 */
#include "mod_afpa.h"

#include <ap_mpm.h>
#include <apr_lib.h>
#include <mpm_common.h>
#include <unixd.h>

static afpa_mod_zone_t *zones; /* of the configuration being read, or in force */

/* ---- messages of the library ---- */

static void on_log(void *context, afpa_log_level_t level, const char *line)
{
    static const int levels[] = {APLOG_ERR, APLOG_WARNING, APLOG_NOTICE, APLOG_DEBUG};

    ap_log_error(APLOG_MARK, levels[level], 0, context, "afpa: %s", line);
}

/* ---- configurations ---- */

static void *create_server(apr_pool_t *p, server_rec *s)
{
    afpa_mod_server_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    conf->enable = AFPA_MOD_UNSET;
    conf->min_uses = conf->zerocopy = AFPA_MOD_UNSET;
    conf->logging = conf->server_header = conf->fast_here = AFPA_MOD_UNSET;
    conf->threads = conf->connections = conf->header.seconds = AFPA_MOD_UNSET;
    return conf;
}

#define INHERIT(field) merged->field = own->field != AFPA_MOD_UNSET ? own->field : base->field

static void *merge_server(apr_pool_t *p, void *base_conf, void *own_conf)
{
    afpa_mod_server_conf_t *merged = apr_pcalloc(p, sizeof(*merged)), *base = base_conf, *own = own_conf;

    INHERIT(enable);
    merged->name = own->enable != AFPA_MOD_UNSET ? own->name : base->name;
    INHERIT(min_uses);
    INHERIT(zerocopy);
    INHERIT(logging);
    INHERIT(server_header);
    INHERIT(threads);
    INHERIT(connections);
    merged->header = own->header.seconds != AFPA_MOD_UNSET ? own->header : base->header;
    merged->log = own->log ? own->log : base->log;
    INHERIT(fast_here);
    merged->fast_within = own->fast_within || base->fast_within;
    merged->limit = own->limit ? own->limit : base->limit;
    return merged;
}

static void *create_dir(apr_pool_t *p, char *path)
{
    afpa_mod_dir_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    conf->cache = conf->cache_status = conf->fast_path = AFPA_MOD_UNSET;
    conf->revalidate_ms = conf->min_size = conf->max_size = AFPA_MOD_UNSET;
    return conf;
}

static void *merge_dir(apr_pool_t *p, void *base_conf, void *own_conf)
{
    afpa_mod_dir_conf_t *merged = apr_pcalloc(p, sizeof(*merged)), *base = base_conf, *own = own_conf;

    INHERIT(cache);
    INHERIT(cache_status);
    INHERIT(fast_path);
    INHERIT(revalidate_ms);
    INHERIT(min_size);
    INHERIT(max_size);
    afpa_mod_guard_merge(&merged->guard, &base->guard, &own->guard);
    return merged;
}

/* ---- directives ---- */

static afpa_mod_zone_t *zone_find(const char *name)
{
    afpa_mod_zone_t *zone = zones;

    while (zone && strcmp(zone->name, name) != 0)
        zone = zone->next;
    return zone;
}

#define DIR_FIELD(field) (void *)APR_OFFSETOF(afpa_mod_dir_conf_t, field)
#define SERVER_FIELD(field) (void *)APR_OFFSETOF(afpa_mod_server_conf_t, field)

static const char *set_zone(cmd_parms *cmd, void *dummy, int argc, char *const argv[])
{
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    afpa_mod_zone_t *zone;
    afpa_error_t error;

    if (wrong)
        return wrong;
    if (argc < 2)
        return "AfpaZone needs a name and a size";
    if (zone_find(argv[0]))
        return apr_psprintf(cmd->pool, "AfpaZone: zone \"%s\" is declared twice", argv[0]);
    zone = apr_pcalloc(cmd->pool, sizeof(*zone));
    afpa_zone_options_init(&zone->options);
    if (afpa_parse_size(argv[1], strlen(argv[1]), &zone->options.size) != AFPA_OK || zone->options.size < AFPA_ZONE_SIZE_MIN)
        return apr_psprintf(cmd->pool, "AfpaZone: zone \"%s\": size \"%s\" is not a size, or too small (at least 1m)", argv[0],
                            argv[1]);
    zone->name = zone->options.name = apr_pstrdup(cmd->pool, argv[0]);
    for (int i = 2; i < argc; i++)
        if (afpa_zone_options_parse(&zone->options, apr_pstrdup(cmd->pool, argv[i]), &error) != AFPA_OK)
            return apr_psprintf(cmd->pool, "AfpaZone: zone \"%s\": %s", argv[0], error.text);
    for (afpa_mod_zone_t *other = zones; other; other = other->next)
        if (afpa_zone_options_same_file(&other->options, &zone->options))
            return apr_psprintf(cmd->pool, "AfpaZone: zone \"%s\": zone \"%s\" has the same file", argv[0], other->name);
    zone->next = zones;
    zones = zone;
    return NULL;
}

static const char *set_enable(cmd_parms *cmd, void *dummy, const char *args)
{
    afpa_mod_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);
    const char *wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);
    const char *name = ap_getword_conf(cmd->pool, &args);

    if (wrong)
        return wrong;
    if (*args)
        return "AfpaEnable takes at most one argument, the name of a zone or off";
    conf->enable = ap_cstr_casecmp(name, "off") != 0;
    conf->name = *name && ap_cstr_casecmp(name, "on") != 0 ? name : NULL;
    return NULL;
}

static const char *set_flag(cmd_parms *cmd, void *dir, int on)
{
    *(int *)((char *)dir + (apr_size_t)cmd->info) = on;
    return NULL;
}

static const char *set_size(cmd_parms *cmd, void *dir, const char *arg)
{
    uint64_t bytes;

    if (afpa_parse_size(arg, strlen(arg), &bytes) != AFPA_OK || bytes > (uint64_t)APR_INT64_MAX)
        return apr_psprintf(cmd->pool, "%s: \"%s\" is not a size (bytes, or with k, m or g behind)", cmd->cmd->name, arg);
    *(apr_int64_t *)((char *)dir + (apr_size_t)cmd->info) = (apr_int64_t)bytes;
    return NULL;
}

/* Of the area of the directive; what is set further out is not known while it is read. */
static const char *set_bound(cmd_parms *cmd, void *dir, const char *arg)
{
    const afpa_mod_dir_conf_t *conf = dir;
    const char *wrong = set_size(cmd, dir, arg);

    if (!wrong && conf->max_size != AFPA_MOD_UNSET && conf->min_size > conf->max_size)
        wrong = apr_psprintf(cmd->pool, "AfpaMinCache %" APR_INT64_T_FMT " is larger than AfpaMaxCache %" APR_INT64_T_FMT,
                             conf->min_size, conf->max_size);
    return wrong;
}

static const char *set_revalidate(cmd_parms *cmd, void *dir, const char *arg)
{
    uint64_t ms;

    if (afpa_parse_time(arg, strlen(arg), &ms) != AFPA_OK || ms > UINT32_MAX)
        return apr_psprintf(cmd->pool, "%s: \"%s\" is not a time (seconds, or with ms behind)", cmd->cmd->name, arg);
    ((afpa_mod_dir_conf_t *)dir)->revalidate_ms = (apr_int64_t)ms;
    return NULL;
}

static const char *set_server_number(cmd_parms *cmd, void *dir, const char *arg)
{
    void *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);
    const char *wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    return wrong ? wrong : set_size(cmd, conf, arg);
}

static const char *set_server_flag(cmd_parms *cmd, void *dir, int on)
{
    void *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);
    const char *wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    return wrong ? wrong : set_flag(cmd, conf, on);
}

#define THREADS_MOST 256
#define CONNECTIONS_MOST 1000000

/* A number of threads or connections of a child. */
static const char *set_count(cmd_parms *cmd, void *dir, const char *arg)
{
    void *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    apr_int64_t most = cmd->info == SERVER_FIELD(threads) ? THREADS_MOST : CONNECTIONS_MOST;
    char *end;
    apr_int64_t count = apr_strtoi64(arg, &end, 10);

    if (wrong)
        return wrong;
    if (*end || count < 1 || count > most)
        return apr_psprintf(cmd->pool, "%s: \"%s\" is not a number from 1 to %" APR_INT64_T_FMT, cmd->cmd->name, arg, most);
    *(apr_int64_t *)((char *)conf + (apr_size_t)cmd->info) = count;
    return NULL;
}

static const char *set_fast_path(cmd_parms *cmd, void *dir, int on)
{
    afpa_mod_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);

    if (cmd->path)
        conf->fast_within |= on;
    else
        conf->fast_here = on;
    ((afpa_mod_dir_conf_t *)dir)->fast_path = on;
    return NULL;
}

static const char *set_min_uses(cmd_parms *cmd, void *dir, const char *arg)
{
    afpa_mod_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);
    const char *wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);
    char *end;
    apr_int64_t uses = apr_strtoi64(arg, &end, 10);

    if (wrong)
        return wrong;
    if (*end || uses < 1 || uses > 65535)
        return apr_psprintf(cmd->pool, "AfpaMinUses: \"%s\" is not a number from 1 to 65535", arg);
    conf->min_uses = uses;
    return NULL;
}

static const command_rec commands[] = {
    AP_INIT_TAKE_ARGV("AfpaZone", set_zone, NULL, RSRC_CONF,
                      "NAME SIZE [path=FILE] [chunk=64k] [mlock=try|require|off]: declares a zone"),
    AP_INIT_RAW_ARGS("AfpaEnable", set_enable, NULL, RSRC_CONF,
                     "[NAME | off]: the zone to use; without a name, the only one declared"),
    AP_INIT_FLAG("AfpaCache", set_flag, DIR_FIELD(cache), RSRC_CONF | ACCESS_CONF, "on or off: cache the files of this area"),
    AP_INIT_FLAG("AfpaCacheStatus", set_flag, DIR_FIELD(cache_status), RSRC_CONF | ACCESS_CONF,
                 "on or off: add Cache-Status (RFC 9211)"),
    AP_INIT_TAKE1("AfpaRevalidationTimeout", set_revalidate, NULL, RSRC_CONF | ACCESS_CONF,
                  "SECONDS or MILLISECONDSms: longest time since a file's last check at which it is still served"),
    AP_INIT_TAKE1("AfpaMinCache", set_bound, DIR_FIELD(min_size), RSRC_CONF | ACCESS_CONF, "BYTES: smallest file that is cached"),
    AP_INIT_TAKE1("AfpaMaxCache", set_bound, DIR_FIELD(max_size), RSRC_CONF | ACCESS_CONF, "BYTES: largest file that is cached"),
    AP_INIT_TAKE1("AfpaMinUses", set_min_uses, NULL, RSRC_CONF, "requests for a file before it is read into the cache"),
    AP_INIT_TAKE1("AfpaZeroCopy", set_server_number, SERVER_FIELD(zerocopy), RSRC_CONF,
                  "BYTES: payload from this size on is sent by reference"),
    AP_INIT_FLAG("AfpaFastPath", set_fast_path, NULL, RSRC_CONF | ACCESS_CONF,
                 "on or off: replies from this area may be sent before httpd has read the request"),
    AP_INIT_TAKE12("AfpaLogFile", afpa_mod_log_set, NULL, RSRC_CONF, "PATH CLF|ECLF|V-CLF|V-ECLF|JSON: log of fast-path replies"),
    AP_INIT_FLAG("AfpaLogging", set_server_flag, SERVER_FIELD(logging), RSRC_CONF,
                 "on or off: whether fast-path replies are logged"),
    AP_INIT_FLAG("AfpaSendServerHeader", set_server_flag, SERVER_FIELD(server_header), RSRC_CONF,
                 "on or off: Server in fast-path replies"),
    AP_INIT_TAKE1("AfpaThreads", set_count, SERVER_FIELD(threads), RSRC_CONF, "event loops of the fast path in each child"),
    AP_INIT_TAKE1("AfpaMaxConnections", set_count, SERVER_FIELD(connections), RSRC_CONF,
                  "connections of the fast path in each child; more are left to httpd"),
#define WATCHED(name, judge)                                                                                                       \
    AP_INIT_RAW_ARGS(name, afpa_mod_watch, NULL, OR_ALL | RSRC_CONF | ACCESS_CONF, "watched, for AfpaFastPath"),
#include "mod_afpa_guard.def"
    {NULL}};

/* ---- processes ---- */

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    zones = NULL;
    return OK;
}

static apr_status_t zones_close(void *data)
{
    for (afpa_mod_zone_t *zone = data; zone; zone = zone->next)
        afpa_zone_close(&zone->zone);
    return APR_SUCCESS;
}

static apr_status_t zones_detach(void *data)
{
    for (afpa_mod_zone_t *zone = data; zone; zone = zone->next)
        afpa_cache_detach(&zone->cache);
    return APR_SUCCESS;
}

/* AfpaEnable NAME → its zone, in every server. */
static int servers_resolve(server_rec *s)
{
    for (; s; s = s->next) {
        afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);

        if (conf->enable != 1)
            continue;
        conf->zone = conf->name ? zone_find(conf->name) : zones;
        if (conf->zone == NULL || (!conf->name && zones->next)) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "AfpaEnable%s%s: %s", conf->name ? " " : "", conf->name ? conf->name : "",
                         zones == NULL ? "no zone is declared; an AfpaZone is needed"
                         : conf->name  ? "no AfpaZone declares this zone"
                                       : "several zones are declared; name one of them");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return OK;
}

static afpa_status_t zone_open(afpa_mod_zone_t *zone, int test, afpa_error_t *error)
{
    if (geteuid() == 0) {
        zone->options.uid = ap_unixd_config.user_id;
        zone->options.gid = ap_unixd_config.group_id;
    }
    return test ? afpa_zone_check(&zone->options, error) : afpa_zone_open(&zone->options, &zone->zone, error);
}

static int zones_open(server_rec *s, int test)
{
    afpa_error_t error;

    for (afpa_mod_zone_t *zone = zones; zone; zone = zone->next)
        if (zone_open(zone, test, &error) != AFPA_OK) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s, "AfpaZone: %s", error.text);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    return OK;
}

/* Also what a configuration test runs: makes nothing. */
static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    if (servers_resolve(s) != OK || afpa_mod_fastpath_check(s) != OK)
        return HTTP_INTERNAL_SERVER_ERROR;
    return zones_open(s, 1);
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    afpa_log_set(on_log, s, AFPA_LOG_NOTICE);
    apr_pool_cleanup_register(pconf, zones, zones_close, apr_pool_cleanup_null);
    if (zones_open(s, 0) != OK)
        return HTTP_INTERNAL_SERVER_ERROR;
    return afpa_mod_fastpath_prepare(pconf, s);
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    afpa_error_t error;

    for (afpa_mod_zone_t *zone = zones; zone; zone = zone->next) {
        if (afpa_cache_attach(zone->zone, "httpd", &zone->cache, &error) != AFPA_OK)
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "afpa: this process serves without the cache: %s", error.text);
    }
    apr_pool_cleanup_register(pchild, zones, zones_detach, apr_pool_cleanup_null);
    afpa_mod_fastpath_child(pchild, s);
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const slower[] = {"mod_dialup.c", NULL}; /* serves files itself, as late as we do */

    afpa_mod_filter_register();
    afpa_mod_capture_register();
    afpa_mod_fastpath_register();
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_read_request(afpa_mod_status_begin, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_fixups(afpa_mod_status_begin, NULL, NULL, APR_HOOK_FIRST);         /* subrequests and internal redirects */
    ap_hook_handler(afpa_mod_handler, slower, NULL, APR_HOOK_REALLY_LAST - 1); /* just before the default handler */
}

module AP_MODULE_DECLARE_DATA afpa_module = {STANDARD20_MODULE_STUFF, create_dir, merge_dir, create_server, merge_server, commands,
                                             register_hooks};
