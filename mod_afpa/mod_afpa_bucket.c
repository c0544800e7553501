/* SPDX-License-Identifier: Apache-2.0
 *
 * Stages 5 to 7 in httpd: buckets over pinned chunks.  The bucket is the completion: its last destroy gives the pin back.
 *
 * An object bucket stands for bytes of a held object that nobody has read yet; like a file bucket it has a length, can be split
 * and copied, and costs no memory.  Reading it pins the chunk it begins in, turns it into a chunk bucket and leaves the rest
 * behind it as another object bucket.  So no more of an object is pinned than the filters have asked for.
 * Both kinds share a reference-counted structure between splits and copies.  Its memory is the C library's, not a pool's: a
 * bucket that was set aside may outlive the request.
 */
#include "mod_afpa.h"

typedef struct {
    apr_bucket_refcount refcount;
    afpa_ref_t ref;       /* object bucket */
    afpa_extent_t extent; /* chunk bucket */
    conn_rec *connection;
} shared_t;

static void release(shared_t *shared)
{
    afpa_cache_unpin(&shared->extent);
    afpa_cache_release(&shared->ref);
    free(shared);
}

static void on_destroy(void *data)
{
    if (apr_bucket_shared_destroy(data))
        release(data);
}

/* Memory stays where it is as long as the bucket lives: there is nothing to do. */
static apr_status_t on_setaside(apr_bucket *b, apr_pool_t *pool)
{
    return APR_SUCCESS;
}

/* ---- chunk ---- */

static apr_status_t on_chunk_read(apr_bucket *b, const char **str, apr_size_t *len, apr_read_type_e block)
{
    shared_t *shared = b->data;

    *str = (const char *)shared->extent.data + b->start;
    *len = b->length;
    return APR_SUCCESS;
}

static const apr_bucket_type_t chunk_type = {"AFPA_CHUNK",         5,
                                             APR_BUCKET_DATA,      on_destroy,
                                             on_chunk_read,        on_setaside,
                                             apr_bucket_shared_split, apr_bucket_shared_copy};

static apr_bucket *chunk_make(apr_bucket *b, const afpa_extent_t *extent, apr_off_t start, apr_size_t length)
{
    shared_t *shared = calloc(1, sizeof(*shared));

    if (!shared)
        return NULL;
    shared->extent = *extent;
    b = apr_bucket_shared_make(b, shared, start, length);
    b->type = &chunk_type;
    return b;
}

/* ---- object ---- */

/* Pins a chunk; reads it first if need be.  File reads always block, as with file buckets. */
static afpa_status_t chunk_get(const afpa_ref_t *ref, apr_uint32_t index, afpa_extent_t *extent)
{
    afpa_status_t status = AFPA_OK;

    for (int round = 0; round < 4; round++) {
        if (afpa_cache_pin(ref, index, AFPA_PIN_COPY, extent) == AFPA_OK)
            return AFPA_OK;
        status = afpa_cache_fill(ref, index, AFPA_SEND_WINDOW);
        if (status == AFPA_CHANGED || status == AFPA_IO_ERROR)
            return status;
    }
    return afpa_cache_read(ref, index, extent); /* nothing can be evicted: a copy for this reply alone */
}

/* A reply that cannot be finished must not look finished. */
static apr_status_t cut(shared_t *shared, afpa_status_t status)
{
    conn_rec *c = shared->connection;

    ap_log_cerror(APLOG_MARK, APLOG_ERR, 0, c, "afpa: reply cut: %s", afpa_status_name(status));
    afpa_cache_count(shared->ref.cache, AFPA_COUNTER_CUT);
    c->keepalive = AP_CONN_CLOSE;
    c->aborted = 1;
    return APR_ECONNABORTED;
}

static apr_status_t on_object_read(apr_bucket *b, const char **str, apr_size_t *len, apr_read_type_e block)
{
    shared_t *shared = b->data;
    apr_uint32_t chunk_size = afpa_zone_chunk_size(afpa_cache_zone(shared->ref.cache));
    apr_uint64_t start = (apr_uint64_t)b->start;
    apr_uint32_t skip = (apr_uint32_t)(start % chunk_size);
    afpa_extent_t extent;
    afpa_status_t status = chunk_get(&shared->ref, (apr_uint32_t)(start / chunk_size), &extent);

    *str = NULL;
    *len = 0;
    if (status != AFPA_OK)
        return cut(shared, status);
    if (b->length > extent.length - skip)
        apr_bucket_shared_split(b, extent.length - skip);
    if (!chunk_make(b, &extent, (apr_off_t)skip, b->length)) {
        afpa_cache_unpin(&extent);
        return APR_ENOMEM;
    }
    on_destroy(shared);
    *str = (const char *)extent.data + skip;
    *len = b->length;
    return APR_SUCCESS;
}

static const apr_bucket_type_t object_type = {"AFPA_OBJECT",        5,
                                              APR_BUCKET_DATA,      on_destroy,
                                              on_object_read,       on_setaside,
                                              apr_bucket_shared_split, apr_bucket_shared_copy};

apr_bucket *afpa_mod_bucket_create(afpa_ref_t *ref, apr_uint64_t start, apr_size_t length, conn_rec *c, apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof(*b), list);
    shared_t *shared = calloc(1, sizeof(*shared));

    if (!shared) {
        apr_bucket_free(b);
        return NULL;
    }
    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    shared->ref = *ref;
    ref->cache = NULL;
    shared->connection = c;
    if (afpa_ref_entries(&shared->ref) == 1) { /* the hold is the pin: one chunk, in memory as long as it is held */
        afpa_cache_pin(&shared->ref, 0, AFPA_PIN_COPY, &shared->extent);
        afpa_cache_release(&shared->ref);
        b = apr_bucket_shared_make(b, shared, (apr_off_t)start, length);
        b->type = &chunk_type;
        return b;
    }
    b = apr_bucket_shared_make(b, shared, (apr_off_t)start, length);
    b->type = &object_type;
    return b;
}
