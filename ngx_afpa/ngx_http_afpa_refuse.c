/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the fast path may not be: directives of other modules that decide by request, client or time.
 *
 * The fast path answers before nginx's access phase, so such a directive in force in a location would be passed by.  nginx keeps
 * what it read of them in structures private to each module; so their setters are watched while the configuration is read: each
 * notes its directive in our own configuration of the place where it stands, and then does what it always did.  The setters are
 * put back when the configuration is complete, or has failed: nothing of ours stays in other modules.
 *
 * REFUSED directives are a configuration error beside `afpa_fast_path on`.  With those that are LEFT OUT nginx answers as it
 * should, and a reply is merely not admitted.  Of some it is only remembered what they said.
 */
#include "ngx_http_afpa_fastpath.h"

typedef enum { REFUSED, LEFT_OUT } consequence_t;

/* Whether the directive, as it stands there, matters. */
typedef ngx_flag_t judge_pt(ngx_str_t *args, ngx_uint_t count);

static ngx_flag_t never(ngx_str_t *args, ngx_uint_t count)
{
    return 0;
}

static ngx_flag_t always(ngx_str_t *args, ngx_uint_t count)
{
    return 1;
}

static ngx_flag_t unless_off(ngx_str_t *args, ngx_uint_t count)
{
    return count < 2 || ngx_strcmp(args[1].data, "off") != 0;
}

static ngx_flag_t with_variables(ngx_str_t *args, ngx_uint_t count)
{
    for (ngx_uint_t i = 1; i < count; i++)
        if (ngx_strchr(args[i].data, '$'))
            return 1;
    return 0;
}

/* `expires 1h` says the same of every request but for the time; `modified`, `@` and variables do not. */
static ngx_flag_t by_more_than_time(ngx_str_t *args, ngx_uint_t count)
{
    return count != 2 || args[1].data[0] == '@' || with_variables(args, count);
}

/* Otherwise whether there is a compressed file matters to those only who accept one, and their replies are nginx's; but with
 * gzip_vary it is in everyone's Vary: see ngx_http_afpa_refuse_varies(). */
static ngx_flag_t if_always(ngx_str_t *args, ngx_uint_t count)
{
    return count > 1 && ngx_strcmp(args[1].data, "always") == 0;
}

static ngx_flag_t unless_uri_first(ngx_str_t *args, ngx_uint_t count)
{
    return count < 2 || ngx_strcmp(args[1].data, "$uri") != 0;
}

/* Expires is taken for what the directive `expires` makes of it; nginx compares conditions with the file's own tag and time, and
 * not with what is added to the reply afterwards.  The others nginx leaves out of a 304 if they are its own, and not if they are
 * added. */
static ngx_flag_t with_variables_or_meaning(ngx_str_t *args, ngx_uint_t count)
{
    static const char *const names[] = {"expires",        "etag",          "last-modified",   "content-type",
                                        "content-length", "accept-ranges", "content-encoding"};

    for (ngx_uint_t i = 0; count > 1 && i < sizeof(names) / sizeof(names[0]); i++)
        if (ngx_strcasecmp(args[1].data, (u_char *)names[i]) == 0)
            return 1;
    return with_variables(args, count);
}

/* The one variable that changes how a reply is sent just by being set. */
static ngx_flag_t of_rate(ngx_str_t *args, ngx_uint_t count)
{
    return count > 1 && ngx_strcasecmp(args[1].data, (u_char *)"$limit_rate") == 0;
}

static const struct {
    const char *name;
    judge_pt *judge;
    consequence_t consequence;
} watched[] = {
    {"allow", always, REFUSED},
    {"deny", always, REFUSED},
    {"auth_basic", unless_off, REFUSED},
    {"auth_request", unless_off, REFUSED},
    {"auth_jwt", unless_off, REFUSED},
    {"limit_req", always, REFUSED},
    {"limit_conn", always, REFUSED},
    {"limit_except", always, REFUSED},
    {"internal", always, REFUSED},
    {"secure_link", always, REFUSED},
    {"secure_link_secret", always, REFUSED},
    {"if", always, REFUSED},
    {"mirror", unless_off, REFUSED},
    {"rewrite", always, REFUSED},
    {"add_header", with_variables_or_meaning, LEFT_OUT},
    {"add_trailer", always, LEFT_OUT},
    {"alias", with_variables, LEFT_OUT},
    {"charset", with_variables, LEFT_OUT},
    {"expires", by_more_than_time, LEFT_OUT},
    {"gzip_static", if_always, LEFT_OUT},
    {"index", never, LEFT_OUT},
    {"limit_rate", always, LEFT_OUT},
    {"limit_rate_after", always, LEFT_OUT},
    {"post_action", always, LEFT_OUT},
    {"random_index", unless_off, LEFT_OUT},
    {"root", with_variables, LEFT_OUT},
    {"set", of_rate, LEFT_OUT},
    {"set_real_ip_from", always, LEFT_OUT},
    {"source_charset", with_variables, LEFT_OUT},
    {"sub_filter", with_variables, LEFT_OUT},
    {"try_files", unless_uri_first, LEFT_OUT},
    {"userid", unless_off, LEFT_OUT},
};
#define WATCHED (sizeof(watched) / sizeof(watched[0]))
#define SETTERS_MAX 64 /* one name may be a command of several modules, or of one for several contexts */

/* ---- what is remembered ---- */

/* More directives in one place are more names, behind those of the first. */
static void remember_index(ngx_http_afpa_loc_conf_t *conf, ngx_str_t *args)
{
    if (conf->index.data == NULL)
        conf->index = args[1];
    if (ngx_strchr(conf->index.data, '$') || conf->index.data[0] == '/')
        conf->index.len = 0;
}

static void remember_try_files(ngx_http_afpa_loc_conf_t *conf, ngx_str_t *args)
{
    conf->try_files = 1;
}

static void remember_gzip_static(ngx_http_afpa_loc_conf_t *conf, ngx_str_t *args)
{
    conf->gzip_static = ngx_strcmp(args[1].data, "off") != 0;
}

static const struct {
    const char *name;
    void (*remember)(ngx_http_afpa_loc_conf_t *conf, ngx_str_t *args);
} remembered[] = {{"gzip_static", remember_gzip_static}, {"index", remember_index}, {"try_files", remember_try_files}};

/* ---- watching ---- */

typedef char *set_pt(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

static struct {
    ngx_command_t *command;
    set_pt *set;
    ngx_uint_t number; /* in watched */
} setters[SETTERS_MAX];
static ngx_uint_t setters_count;

static void setters_put_back(void *unused)
{
    while (setters_count > 0) {
        setters_count--;
        setters[setters_count].command->set = setters[setters_count].set;
    }
}

/* In place of another module's setter. */
static char *note(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    ngx_http_afpa_loc_conf_t *loc = ngx_http_conf_get_module_loc_conf(cf, ngx_http_afpa_module);
    ngx_str_t *args = cf->args->elts;
    set_pt *set = NULL;

    for (ngx_uint_t i = 0; i < setters_count; i++)
        if (setters[i].command == command) {
            uint64_t bit = (uint64_t)1 << setters[i].number;

            set = setters[i].set;
            if (watched[setters[i].number].judge(args, cf->args->nelts))
                loc->noted |= bit;
            else if (watched[setters[i].number].judge != of_rate) /* a variable stays set where another one is set */
                loc->noted_not |= bit;
        }
    for (ngx_uint_t i = 0; i < sizeof(remembered) / sizeof(remembered[0]); i++)
        if (ngx_strcmp(command->name.data, remembered[i].name) == 0)
            remembered[i].remember(loc, args);
    return set(cf, command, conf);
}

static void watch(ngx_command_t *command)
{
    for (ngx_uint_t i = 0; i < WATCHED && setters_count < SETTERS_MAX; i++)
        if (command->set && ngx_strcmp(command->name.data, watched[i].name) == 0) {
            setters[setters_count].command = command;
            setters[setters_count].set = command->set;
            setters[setters_count].number = i;
            setters_count++;
            command->set = note;
            return;
        }
}

ngx_int_t ngx_http_afpa_refuse_watch(ngx_conf_t *cf)
{
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(cf->cycle->pool, 0); /* for a configuration that fails half way */

    if (cleanup == NULL)
        return NGX_ERROR;
    cleanup->handler = setters_put_back;
    setters_put_back(NULL);
    for (ngx_uint_t i = 0; cf->cycle->modules[i]; i++)
        if (cf->cycle->modules[i]->type == NGX_HTTP_MODULE && cf->cycle->modules[i]->commands)
            for (ngx_command_t *command = cf->cycle->modules[i]->commands; command->name.len; command++)
                watch(command);
    return NGX_OK;
}

void ngx_http_afpa_refuse_unwatch(void)
{
    setters_put_back(NULL);
}

/* The fast path takes heads of up to AFPA_REQUEST_MAX bytes; where nginx takes less, it is nginx that refuses them. */
static ngx_flag_t heads_are_short(ngx_conf_t *cf, const ngx_http_core_srv_conf_t *cscf, char *whose)
{
    if (cscf->large_client_header_buffers.size >= AFPA_REQUEST_MAX)
        return 0;
    ngx_conf_log_error(
        NGX_LOG_EMERG, cf, 0,
        "afpa_fast_path is on in a server whose %s\"large_client_header_buffers\" have %uz bytes: the fast path takes "
        "heads of up to %ud; give them as many, or say \"afpa_fast_path off\" there",
        whose, cscf->large_client_header_buffers.size, (unsigned)AFPA_REQUEST_MAX);
    return 1;
}

/* What comes before Host is nginx's to take as the default server of the address has it. */
ngx_int_t ngx_http_afpa_refuse_address(ngx_conf_t *cf, const ngx_http_conf_addr_t *addr)
{
#if (NGX_HTTP_SSL)
    if (addr->opt.ssl)
        return NGX_OK; /* never taken over */
#endif
    return heads_are_short(cf, addr->default_server, "address's default server's ") ? NGX_ERROR : NGX_OK;
}

/* Whether the header for those who take nothing compressed says whether there is a compressed file: nobody looks whether there
 * still is. */
ngx_flag_t ngx_http_afpa_refuse_varies(const ngx_http_afpa_loc_conf_t *conf, const ngx_http_core_loc_conf_t *clcf)
{
#if (NGX_HTTP_GZIP)
    return conf->gzip_static && clcf->gzip_vary;
#else
    return 0;
#endif
}

ngx_int_t ngx_http_afpa_refuse_merge(ngx_conf_t *cf, ngx_http_afpa_loc_conf_t *prev, ngx_http_afpa_loc_conf_t *conf)
{
    static ngx_str_t usual = ngx_string("index.html");

    conf->noted |= prev->noted & ~conf->noted_not;
    ngx_conf_merge_value(conf->gzip_static, prev->gzip_static, 0);
    if (conf->index.data == NULL)
        conf->index = prev->index.data ? prev->index : usual;
    if (!conf->fast_path || conf->zone == NULL)
        return NGX_OK;
    if (heads_are_short(cf, ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module), ""))
        return NGX_ERROR;
    for (ngx_uint_t i = 0; i < WATCHED; i++)
        if (conf->noted >> i & 1 && watched[i].consequence == REFUSED) {
            ngx_http_core_loc_conf_t *clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "afpa_fast_path is on in location \"%V\", where \"%s\" is in force: the fast path would pass it by; "
                               "say \"afpa_fast_path off\" there",
                               &clcf->name, watched[i].name);
            return NGX_ERROR;
        }
    return NGX_OK;
}
