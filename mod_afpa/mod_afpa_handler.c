/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 1 in httpd: from a request to a held object and a brigade, or to DECLINED.
 *
 * Runs after access control and type checking, where the default handler would.  httpd has already asked for the file's status
 * on the way (r->finfo); if that contradicts the object, the object is checked at once, so the module is never behind httpd.
 */
#include "mod_afpa.h"

#include <http_main.h>
#include <util_filter.h>

/* ContentDigest On: core.c keeps the name of the value to itself. */
#define CONTENT_MD5_ON 1

static void set_status(request_rec *r, const char *status)
{
    apr_table_setn(r->subprocess_env, "afpa-status", status);
}

static void cache_status_add(request_rec *r, const afpa_mod_dir_conf_t *conf, const char *value)
{
    if (conf->cache_status == 1)
        apr_table_mergen(r->headers_out, "Cache-Status", value);
}

static int decline(request_rec *r, const afpa_mod_dir_conf_t *conf, afpa_cache_t *cache, afpa_counter_t why, int count)
{
    if (count)
        afpa_cache_count(cache, why);
    set_status(r, why == AFPA_DECLINE_BYPASS ? "BYPASS" : apr_pstrcat(r->pool, "DECLINED:", afpa_counter_name(why), NULL));
    cache_status_add(r, conf, why == AFPA_DECLINE_BYPASS ? "afpa; fwd=bypass" : "afpa; fwd=uri-miss");
    return DECLINED;
}

/* What httpd saw on the way here, as far as it looked. */
static int agrees(const request_rec *r, const afpa_identity_t *identity)
{
    return (apr_uint64_t)r->finfo.inode == identity->inode && (apr_uint64_t)r->finfo.size == identity->size &&
           r->finfo.mtime == (apr_time_t)identity->mtime_sec * APR_USEC_PER_SEC + identity->mtime_nsec / 1000;
}

/* The same, after a second look where the file changed between httpd's and ours.  httpd uses what it saw for the header only. */
static int agrees_now(request_rec *r, const afpa_identity_t *identity)
{
    if (agrees(r, identity))
        return 1;
    return apr_stat(&r->finfo, r->filename, APR_FINFO_MIN, r->pool) == APR_SUCCESS && r->finfo.filetype == APR_REG &&
           agrees(r, identity);
}

static void policy_of(const afpa_mod_dir_conf_t *dir, const afpa_mod_server_conf_t *server, afpa_policy_t *policy)
{
    afpa_policy_init(policy);
    if (dir->revalidate_ms != AFPA_MOD_UNSET)
        policy->revalidate_ms = (apr_uint32_t)dir->revalidate_ms;
    if (dir->min_size != AFPA_MOD_UNSET)
        policy->min_size = (apr_uint64_t)dir->min_size;
    if (dir->max_size != AFPA_MOD_UNSET)
        policy->max_size = (apr_uint64_t)dir->max_size;
    if (server->min_uses != AFPA_MOD_UNSET)
        policy->min_uses = (apr_uint32_t)server->min_uses;
}

/* How a held object was come by. */
typedef struct {
    const char *status, *header;
    afpa_counter_t counter;
} source_t;

static const source_t hit = {"HIT", "afpa; hit", AFPA_COUNTER_PIPELINE_HITS};
static const source_t revalidated = {"REVALIDATED", "afpa; hit", AFPA_COUNTER_PIPELINE_HITS};
static const source_t stale = {"STALE", "afpa; fwd=stale; stored", AFPA_COUNTER_MISSES};
static const source_t missed = {"MISS", "afpa; fwd=uri-miss; stored", AFPA_COUNTER_MISSES};

/* Holds the object of r->filename, from memory or from disk.  NULL: declined, *why. */
static const source_t *find(request_rec *r, afpa_cache_t *cache, const afpa_policy_t *policy, afpa_ref_t *ref, afpa_counter_t *why,
                            int *counted)
{
    size_t length = strlen(r->filename);
    afpa_status_t status = afpa_cache_lookup(cache, r->filename, length, policy->revalidate_ms, ref);
    bool fresh = false;

    *counted = 0;
    if (status == AFPA_DISABLED) {
        *why = cache ? AFPA_DECLINE_DISABLED : AFPA_DECLINE_NO_OWNER;
        return NULL;
    }
    *counted = 1;
    *why = (afpa_counter_t)ref->why;
    if (status == AFPA_DECLINED)
        return NULL;
    if (status == AFPA_CHECK_DUE)
        afpa_cache_check(cache, r->filename, length);
    if (status == AFPA_OK || status == AFPA_CHECK_DUE) {
        if (agrees(r, afpa_ref_identity(ref)))
            return ref->checked ? &revalidated : &hit;
        afpa_cache_release(ref);
        afpa_cache_check(cache, r->filename, length);
        status = AFPA_STALE;
    }
    if (afpa_cache_open(cache, r->filename, length, policy, ref, why, &fresh) != AFPA_OK)
        return NULL;
    if (agrees_now(r, afpa_ref_identity(ref)))
        return status == AFPA_MISS ? &missed : fresh ? &revalidated : &stale;
    afpa_cache_release(ref);
    *why = AFPA_DECLINE_CHANGED;
    *counted = 0;
    return NULL;
}

/* Header and brigade, step by step as the default handler's, so that the reply is the same. */
static int answer(request_rec *r, afpa_ref_t *ref, int sendfile)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb;
    apr_status_t rv;
    int rc;

    ap_update_mtime(r, r->finfo.mtime);
    ap_set_last_modified(r);
    ap_set_etag(r);
    ap_set_accept_ranges(r);
    ap_set_content_length(r, r->finfo.size);
    bb = apr_brigade_create(r->pool, c->bucket_alloc);
    rc = ap_meets_conditions(r);
    if (rc != OK) {
        r->status = rc;
        afpa_cache_release(ref);
    } else if (r->finfo.size > 0) {
        apr_bucket *b = afpa_mod_bucket_create(ref, (apr_size_t)r->finfo.size, sendfile, c);

        if (!b) {
            afpa_cache_release(ref);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        APR_BRIGADE_INSERT_TAIL(bb, b);
    } else {
        afpa_cache_release(ref);
    }
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(c->bucket_alloc));
    rv = ap_pass_brigade(r->output_filters, bb);
    apr_brigade_cleanup(bb);
    return rv == APR_SUCCESS || r->status != HTTP_OK || c->aborted ? OK : AP_FILTER_ERROR;
}

int afpa_mod_status_begin(request_rec *r)
{
    const afpa_mod_server_conf_t *server = ap_get_module_config(r->server->module_config, &afpa_module);

    if (server->enable == 1 && !apr_table_get(r->subprocess_env, "afpa-status"))
        set_status(r, "-");
    return DECLINED;
}

/* Whether this is a request the default handler would answer with a file. */
static int is_ours(request_rec *r)
{
    return r->used_path_info == AP_REQ_ACCEPT_PATH_INFO || r->path_info == NULL || *r->path_info == 0;
}

int afpa_mod_handler(request_rec *r)
{
    const afpa_mod_server_conf_t *server = ap_get_module_config(r->server->module_config, &afpa_module);
    const afpa_mod_dir_conf_t *dir = ap_get_module_config(r->per_dir_config, &afpa_module);
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const source_t *source;
    afpa_policy_t policy;
    afpa_cache_t *cache;
    afpa_counter_t why;
    afpa_ref_t ref;
    int rc, counted;

    if (server->enable != 1 || server->zone == NULL || dir->cache == 0 || r->filename == NULL || !is_ours(r))
        return DECLINED;
    cache = server->zone->cache;
    if (r->finfo.filetype != APR_REG)
        return decline(r, dir, cache, r->finfo.filetype == APR_NOFILE ? AFPA_DECLINE_NOT_FOUND : AFPA_DECLINE_NOT_REGULAR, 1);
    if (r->method_number != M_GET)
        return decline(r, dir, cache, AFPA_DECLINE_METHOD, 1);
    if (apr_table_get(r->subprocess_env, "no-afpa"))
        return decline(r, dir, cache, AFPA_DECLINE_BYPASS, 1);
    if (core->content_md5 == CONTENT_MD5_ON)
        return decline(r, dir, cache, AFPA_DECLINE_FILTER, 1);
    policy_of(dir, server, &policy);
    source = find(r, cache, &policy, &ref, &why, &counted);
    if (!source)
        return decline(r, dir, cache, why, !counted);
    afpa_cache_count(cache, source->counter);
    set_status(r, source->status);
    cache_status_add(r, dir, source->header);
    ap_allow_standard_methods(r, MERGE_ALLOW, M_GET, M_OPTIONS, M_POST, -1);
    if ((rc = ap_discard_request_body(r)) != OK) {
        afpa_cache_release(&ref);
        return rc;
    }
    if (source->counter == AFPA_COUNTER_PIPELINE_HITS) /* Cache-Status says so too */
        afpa_mod_capture(r, &ref);
    return answer(r, &ref, afpa_mod_filter_want(r, server->zone, server->zerocopy));
}
