/* SPDX-License-Identifier: Apache-2.0
 *
 * Where replies may not be admitted to the fast path: rules of other modules that decide by request, client or time.
 *
 * The fast path answers before httpd has read the request, so such a rule would be passed by.  Modules keep what they read of
 * their directives in structures of their own; but httpd gives a directive to every module that has it in its table.  So ours has
 * them too, notes what matters in our own configuration of the section where it stands, and httpd merges sections for us as it
 * does for the module the directive belongs to.  What is noted in an outer section stays in force in the inner ones, but for the
 * access rules, where an inner section replaces the outer one.
 *
 * Left to the host is also what is known only at run time: sections <If>, and modules that look at requests and that we do not
 * know.
 */
#include "mod_afpa.h"

#include <apr_lib.h>

static void note(afpa_mod_guard_t *guard, const cmd_parms *cmd)
{
    if (!guard->directive)
        guard->directive = cmd->cmd->name;
}

static int is_one_of(const char *name, const char *const *names, apr_size_t count)
{
    for (apr_size_t i = 0; i < count; i++)
        if (ap_cstr_casecmp(name, names[i]) == 0)
            return 1;
    return 0;
}

/* ---- judges: what a directive with these arguments means ---- */

static void always(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    note(guard, cmd);
}

static void unless_off(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    if (ap_cstr_casecmp(ap_getword_conf(cmd->temp_pool, &args), "off") != 0)
        note(guard, cmd);
}

/* Within <Limit>, what one section says of some methods does not replace what an outer one says of others. */
static void access_rule(const char **rule, const cmd_parms *cmd, int all)
{
    if (!all || cmd->limited != -1)
        *rule = cmd->cmd->name;
    else if (!*rule)
        *rule = "";
}

static void require(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    const char *provider = ap_getword_conf(cmd->temp_pool, &args), *what = ap_getword_conf(cmd->temp_pool, &args);

    access_rule(&guard->require, cmd, ap_cstr_casecmp(provider, "all") == 0 && ap_cstr_casecmp(what, "granted") == 0);
}

static void compat(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    int allow = ap_cstr_casecmp(cmd->cmd->name, "Allow") == 0;

    (void)ap_getword_conf(cmd->temp_pool, &args); /* from */
    access_rule(&guard->compat, cmd, allow && ap_cstr_casecmp(ap_getword_conf(cmd->temp_pool, &args), "all") == 0 && !*args);
}

/* .htaccess: it may come, go and change at any time. */
static void override(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    if (ap_cstr_casecmp(ap_getword_conf(cmd->temp_pool, &args), "None") != 0 || *args)
        note(guard, cmd);
}

/* httpd looks at each part of the path for a link, at every request; a check of the file does not see one that appeared.  What is
 * said of an outer directory is in force for that directory, whatever an inner one allows. */
static void options(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    int changes = 0, allowed = 0, forbidden = 0;

    while (*args) {
        const char *word = ap_getword_conf(cmd->temp_pool, &args), *option = word + (*word == '+' || *word == '-');

        changes |= option != word;
        if (ap_cstr_casecmp(option, "FollowSymLinks") == 0 || ap_cstr_casecmp(option, "All") == 0)
            *(*word == '-' ? &forbidden : &allowed) = 1;
        if (ap_cstr_casecmp(option, "SymLinksIfOwnerMatch") == 0 && *word != '-')
            forbidden = 1; /* it is asked for beside FollowSymLinks, and counts */
    }
    if (forbidden || (!changes && !allowed))
        note(guard, cmd);
}

/* Whether text names only variables that two requests for one URL of one server have in common. */
static int url_only(const char *text, int file_too)
{
    static const char *const names[] = {"%{REQUEST_URI}", "%{QUERY_STRING}", "%{HTTP_HOST}",     "%{SERVER_NAME}",
                                        "%{SERVER_PORT}", "%{HTTPS}",        "%{REQUEST_SCHEME}"};

    for (const char *at = strchr(text, '%'); at; at = strchr(at + 1, '%')) {
        int known = apr_isdigit(at[1]) || (file_too && ap_cstr_casecmpn(at, "%{REQUEST_FILENAME}", 19) == 0);

        for (apr_size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            known |= ap_cstr_casecmpn(at, names[i], strlen(names[i])) == 0;
        if (!known)
            return 0;
    }
    return strstr(text, "${") == NULL;
}

/* For a whole server REQUEST_FILENAME is the URL, or what an earlier rule made of it.  In a section it is the file that is served,
 * if no rule before can have made it another one; and whether that one is there is not asked anew either: if it goes, its replies
 * go with it. */
static int is_of_the_file(const afpa_mod_guard_t *guard, const cmd_parms *cmd, const char *text)
{
    return cmd->path && !guard->renames && strcmp(text, "%{REQUEST_FILENAME}") == 0;
}

/* Variables are looked for in all of it: mod_rewrite takes a blank behind a backslash for a part of the text. */
static void condition(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    const char *rest = args, *text = ap_getword_conf(cmd->temp_pool, &rest), *pattern = ap_getword_conf(cmd->temp_pool, &rest);
    const char *test = pattern + (*pattern == '!');
    int of_file = *test == '-' && test[1] && strchr("fdsl", test[1]) && !test[2];

    if (of_file ? !is_of_the_file(guard, cmd, text) : *test == '-' || ap_cstr_casecmp(text, "expr") == 0 || !url_only(args, 0))
        note(guard, cmd);
}

/* Whether one of a rule's flags, "[NC,N=10]", has one of these names. */
static int has_flag(cmd_parms *cmd, const char *flags, const char *const *names, apr_size_t count)
{
    char *list = apr_pstrdup(cmd->temp_pool, flags), *state, *flag = apr_strtok(list, "[], \t", &state);

    for (; flag; flag = apr_strtok(NULL, "[], \t", &state))
        if (is_one_of(apr_pstrmemdup(cmd->temp_pool, flag, strcspn(flag, "=")), names, count))
            return 1;
    return 0;
}

/* After a last one no other rule of the section is looked at; after one with N, those before it are once more. */
static void rule(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    static const char *const last[] = {"L", "last", "END", "PT", "passthrough"}, *const again[] = {"N", "next"};
    const char *rest = args, *becomes;
    int renames;

    (void)ap_getword_conf(cmd->temp_pool, &rest); /* the pattern */
    becomes = ap_getword_conf(cmd->temp_pool, &rest);
    renames = strcmp(becomes, "-") != 0 || strstr(args, "\\ ") || strstr(args, "\\\t"); /* with those the words are others */
    if (renames && !has_flag(cmd, rest, last, sizeof(last) / sizeof(last[0])))
        guard->renames = 1;
    if (!url_only(args, 1) || (renames && has_flag(cmd, rest, again, sizeof(again) / sizeof(again[0]))))
        note(guard, cmd);
}

/* Rules of an outer section, before or behind those of this one: which file a condition is about is not known any more. */
static void inheritance(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    if (cmd->path && ap_strcasestr(args, "inherit"))
        note(guard, cmd);
}

/* A value with a variable in it, a condition, a date that mod_expires is thought to have made, a field that is httpd's own. */
static void header(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    /* httpd answers conditions by these, leaves them out of a 304, or puts them in their place, before mod_headers has its turn. */
    static const char *const httpds[] = {"ETag",       "Last-Modified", "Content-Type", "Content-Encoding", "Content-Language",
                                         "Connection", "Keep-Alive"};
    const char *at = args, *word = ap_getword_conf(cmd->temp_pool, &at);

    if (ap_cstr_casecmp(word, "always") == 0 || ap_cstr_casecmp(word, "onsuccess") == 0)
        (void)ap_getword_conf(cmd->temp_pool, &at); /* that was no action */
    word = ap_getword_conf(cmd->temp_pool, &at);
    word = apr_pstrmemdup(cmd->temp_pool, word, strcspn(word, ":"));
    if (is_one_of(word, httpds, sizeof(httpds) / sizeof(httpds[0])) || strchr(args, '%') || ap_strcasestr(args, "env=") ||
        ap_strcasestr(args, "expr=") || ap_strcasestr(args, "echo") || ap_strcasestr(args, "expires"))
        note(guard, cmd);
}

/* "access plus 1 day", A86400: follows the time of the request; modification, M: also by the file's, so max-age changes. */
static void expires(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    if (ap_cstr_casecmp(cmd->cmd->name, "ExpiresByType") == 0)
        (void)ap_getword_conf(cmd->temp_pool, &args);
    args = ap_getword_conf(cmd->temp_pool, &args);
    if (*args == 'A' || ap_cstr_casecmpn(args, "access", 6) == 0 || ap_cstr_casecmpn(args, "now", 3) == 0)
        guard->expires = 1;
    else
        note(guard, cmd);
}

/* mod_alias takes the one argument for an expression in <Location> and the like, and nowhere else. */
static void mapping(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    if (cmd->path && strchr(args, '%'))
        note(guard, cmd);
}

/* Of several places for users' files mod_userdir takes the first that is there, anew with each request. */
static void user_directories(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    static const char *const lists[] = {"enable", "enabled", "disable", "disabled"}; /* of users */

    if (!is_one_of(ap_getword_conf(cmd->temp_pool, &args), lists, sizeof(lists) / sizeof(lists[0])) && *args)
        note(guard, cmd);
}

/* A name, or one that an expression works out for each request. */
static void expression(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    if (strchr(args, '%'))
        note(guard, cmd);
}

/* Modules of all kinds look at variables (no-gzip, no-proxy, conditions of filters).  Harmless are those that are the same for each
 * request of a URL, and those that say how an old browser is spoken to, for whom nothing is admitted (as_it_came). */
static void variables(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    static const char *const names[] = {"nokeepalive",        "downgrade-1.0", "force-response-1.0",
                                        "redirect-carefully", "dontlog",       "ssl-unclean-shutdown"};

    (void)ap_getword_conf(cmd->temp_pool, &args); /* the expression */
    while (*args) {
        const char *one = ap_getword_conf(cmd->temp_pool, &args);

        if (!is_one_of(ap_getword(cmd->temp_pool, &one, '='), names, sizeof(names) / sizeof(names[0])))
            note(guard, cmd);
    }
}

/* The same for all requests to a URL; and fields with which a request is httpd's in any case.  "^Authorization$" is in the
 * configuration that Debian has for php-fpm. */
static void environment(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    static const char *const same[] = {"Request_URI",     "Host",  "Server_Addr", "Authorization",
                                       "^Authorization$", "Range", "Upgrade"};

    if (!is_one_of(ap_getword_conf(cmd->temp_pool, &args), same, sizeof(same) / sizeof(same[0])))
        variables(guard, cmd, args);
}

/* The fast path takes what httpd takes by default; where less is taken, httpd has to see the request.  By which limits httpd reads
 * is decided by the address, before it knows for which of its servers the request is. */
static void limit(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    int fields = ap_cstr_casecmp(cmd->cmd->name, "LimitRequestFields") == 0;
    apr_int64_t most = apr_atoi64(ap_getword_conf(cmd->temp_pool, &args));

    if (most < (fields ? DEFAULT_LIMIT_REQUEST_FIELDS : DEFAULT_LIMIT_REQUEST_FIELDSIZE) && !(fields && most == 0)) {
        afpa_mod_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);

        note(guard, cmd);
        conf->limit = cmd->cmd->name;
    }
}

/* HTTP/2 in the clear is offered with the first reply on a connection, and with no other. */
static void protocols(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    if (ap_strcasestr(args, "h2c"))
        note(guard, cmd);
}

/* mod_reqtimeout: the fast path has a time of its own for a head, and takes it from there. */
static void timeout(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args)
{
    afpa_mod_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);

    while (*args) {
        const char *word = ap_getword_conf(cmd->temp_pool, &args);
        char *end;

        if (ap_cstr_casecmpn(word, "header=", 7) != 0)
            continue;
        conf->header = (afpa_mod_header_time_t){.seconds = apr_strtoi64(word + 7, &end, 10)};
        if (*end == '-')
            conf->header.most = apr_strtoi64(end + 1, &end, 10);
        if (ap_cstr_casecmpn(end, ",MinRate=", 9) == 0)
            conf->header.rate = apr_atoi64(end + 9);
    }
}

static const struct {
    const char *name;
    void (*judge)(afpa_mod_guard_t *guard, cmd_parms *cmd, const char *args);
} watched[] = {
#define WATCHED(name, judge) {name, judge},
#include "mod_afpa_guard.def"
};

/* Whether it is a directive of any other module; if not, a misspelled one must not pass for ours. */
static int has_owner(const char *name)
{
    for (module *m = ap_top_module; m; m = m->next) {
        const command_rec *command = m == &afpa_module ? NULL : m->cmds;

        for (; command && command->name; command++)
            if (ap_cstr_casecmp(command->name, name) == 0)
                return 1;
    }
    return 0;
}

const char *afpa_mod_watch(cmd_parms *cmd, void *dir, const char *args)
{
    if (!has_owner(cmd->cmd->name))
        return apr_psprintf(
            cmd->pool, "Invalid command '%s', perhaps misspelled or defined by a module not included in the server configuration",
            cmd->cmd->name);
    for (apr_size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
        if (ap_cstr_casecmp(watched[i].name, cmd->cmd->name) == 0)
            watched[i].judge(&((afpa_mod_dir_conf_t *)dir)->guard, cmd, args);
    return NULL;
}

void afpa_mod_guard_merge(afpa_mod_guard_t *merged, const afpa_mod_guard_t *base, const afpa_mod_guard_t *own)
{
    merged->directive = own->directive ? own->directive : base->directive;
    merged->require = own->require ? own->require : base->require;
    merged->compat = own->compat ? own->compat : base->compat;
    merged->expires = own->expires || base->expires;
}

const char *afpa_mod_guarded(const request_rec *r, const afpa_mod_dir_conf_t *dir)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const afpa_mod_server_conf_t *reads = ap_get_module_config(r->connection->base_server->module_config, &afpa_module);
    const afpa_mod_guard_t *guard = &dir->guard;

    if (guard->directive)
        return guard->directive;
    if (reads->limit)
        return reads->limit;
    if (guard->require && *guard->require)
        return guard->require;
    if (guard->compat && *guard->compat)
        return guard->compat;
    return core->sec_if && core->sec_if->nelts > 0 ? "<If>" : NULL;
}

/* ---- modules ---- */

/* Those of httpd itself.  What they decide by is watched, or is the same for every GET of a URL, or is none of a plain file's. */
static int known(const char *file)
{
    static const char *const files[] = {"core.c",
                                        "event.c",
                                        "http_core.c",
                                        "mod_access_compat.c",
                                        "mod_afpa_config.c",
                                        "mod_alias.c",
                                        "mod_allowmethods.c",
                                        "mod_auth_basic.c",
                                        "mod_auth_digest.c",
                                        "mod_authnz_ldap.c",
                                        "mod_authz_core.c",
                                        "mod_cache.c",
                                        "mod_cern_meta.c",
                                        "mod_charset_lite.c",
                                        "mod_dav.c",
                                        "mod_dav_fs.c",
                                        "mod_dir.c",
                                        "mod_env.c",
                                        "mod_file_cache.c",
                                        "mod_headers.c",
                                        "mod_http2.c",
                                        "mod_include.c",
                                        "mod_log_config.c",
                                        "mod_log_debug.c",
                                        "mod_log_forensic.c",
                                        "mod_logio.c",
                                        "mod_md.c",
                                        "mod_negotiation.c",
                                        "mod_proxy.c",
                                        "mod_proxy_express.c",
                                        "mod_remoteip.c",
                                        "mod_reqtimeout.c",
                                        "mod_rewrite.c",
                                        "mod_session.c",
                                        "mod_setenvif.c",
                                        "mod_speling.c",
                                        "mod_ssl.c",
                                        "mod_unique_id.c",
                                        "mod_userdir.c",
                                        "mod_usertrack.c",
                                        "mod_vhost_alias.c"};

    return is_one_of(file, files, sizeof(files) / sizeof(files[0]));
}

/* Returns the first of a hook's modules that we do not know. */
#define RETURN_STRANGER_OF(hook)                                                                                                   \
    do {                                                                                                                           \
        const apr_array_header_t *hooks = ap_hook_get_##hook();                                                                    \
                                                                                                                                   \
        for (int i = 0; hooks && i < hooks->nelts; i++)                                                                            \
            if (!known(APR_ARRAY_IDX(hooks, i, ap_LINK_##hook##_t).szName))                                                        \
                return APR_ARRAY_IDX(hooks, i, ap_LINK_##hook##_t).szName;                                                         \
    } while (0)

/* Where a module can refuse a request, or see to it that another reply is sent (security filters use any of these), or maps its URL
 * by what only it knows of, or writes a log. */
const char *afpa_mod_guard_stranger(void)
{
    RETURN_STRANGER_OF(quick_handler);
    RETURN_STRANGER_OF(post_read_request);
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 105) /* 2.4.49 */
    RETURN_STRANGER_OF(pre_translate_name);
#endif
    RETURN_STRANGER_OF(translate_name);
    RETURN_STRANGER_OF(map_to_storage);
    RETURN_STRANGER_OF(header_parser);
    RETURN_STRANGER_OF(access_checker);
    RETURN_STRANGER_OF(access_checker_ex);
    RETURN_STRANGER_OF(fixups);
    RETURN_STRANGER_OF(log_transaction);
    return NULL;
}
