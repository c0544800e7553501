/* SPDX-License-Identifier: Apache-2.0
 *
 * Stages 5 to 7 in httpd: buckets over pinned chunks.  The bucket is the completion: its last destroy gives the pin back.
 *
 * An object bucket stands for bytes of a held object that nobody has read yet; like a file bucket it has a length, can be split
 * and copied, and costs no memory.  Reading it pins the chunk it begins in, turns it into a chunk bucket and leaves the rest
 * behind it as another object bucket.  So no more of an object is pinned than the filters have asked for.
 * On a connection that can use sendfile(), the last filter before the network turns them into file buckets over the segment
 * (mod_afpa_filter.c).
 * Both kinds share a reference-counted structure between splits and copies.  Its memory is the C library's, not a pool's: a
 * bucket that was set aside may outlive the request.
 */
#include "mod_afpa.h"

typedef struct {
    apr_bucket_refcount refcount;
    afpa_ref_t ref;       /* object bucket */
    afpa_extent_t extent; /* chunk bucket */
    conn_rec *connection;
    int sendfile; /* pin for use by reference */
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

static const apr_bucket_type_t chunk_type = {"AFPA_CHUNK",  5,           APR_BUCKET_DATA,         on_destroy,
                                             on_chunk_read, on_setaside, apr_bucket_shared_split, apr_bucket_shared_copy};

/* Turns a bucket into one over a pinned chunk, of which it takes the pin. */
static apr_bucket *chunk_make(apr_bucket *b, const shared_t *from, const afpa_extent_t *extent, apr_off_t start, apr_size_t length)
{
    shared_t *shared = calloc(1, sizeof(*shared));

    if (!shared)
        return NULL;
    shared->extent = *extent;
    shared->connection = from->connection;
    shared->sendfile = from->sendfile;
    b = apr_bucket_shared_make(b, shared, start, length);
    b->type = &chunk_type;
    return b;
}

/* ---- object ---- */

/* Pins a chunk; reads it first if need be.  File reads always block, as with file buckets. */
static afpa_status_t chunk_get(const shared_t *shared, apr_uint32_t index, afpa_extent_t *extent)
{
    const afpa_ref_t *ref = &shared->ref;
    afpa_pin_mode_t mode = shared->sendfile ? AFPA_PIN_REFERENCE : AFPA_PIN_COPY;
    afpa_status_t status = AFPA_OK;

    for (unsigned fills = 0; status != AFPA_NO_SPACE; fills++) {
        if (afpa_cache_pin(ref, index, mode, extent) == AFPA_OK)
            return AFPA_OK;
        if (fills == AFPA_SEND_FILLS)
            break;
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
    afpa_status_t status = chunk_get(shared, (apr_uint32_t)(start / chunk_size), &extent);

    *str = NULL;
    *len = 0;
    if (status != AFPA_OK)
        return cut(shared, status);
    if (b->length > extent.length - skip)
        apr_bucket_shared_split(b, extent.length - skip);
    if (!chunk_make(b, shared, &extent, (apr_off_t)skip, b->length)) {
        afpa_cache_unpin(&extent);
        return APR_ENOMEM;
    }
    on_destroy(shared);
    *str = (const char *)extent.data + skip;
    *len = b->length;
    return APR_SUCCESS;
}

static const apr_bucket_type_t object_type = {"AFPA_OBJECT",  5,           APR_BUCKET_DATA,         on_destroy,
                                              on_object_read, on_setaside, apr_bucket_shared_split, apr_bucket_shared_copy};

const afpa_extent_t *afpa_mod_bucket_sendfile(apr_bucket *b, apr_size_t min)
{
    shared_t *shared = b->data;

    return b->type == &chunk_type && shared->sendfile && shared->extent.by_reference && b->length >= min ? &shared->extent : NULL;
}

int afpa_mod_bucket_is_ours(const apr_bucket *b)
{
    return b->type == &object_type || b->type == &chunk_type;
}

int afpa_mod_bucket_unread(const apr_bucket *b)
{
    return b->type == &object_type && ((const shared_t *)b->data)->sendfile;
}

/* ---- a bucket that only holds the pin of a chunk whose bytes another bucket stands for ---- */

static apr_status_t on_pin_read(apr_bucket *b, const char **str, apr_size_t *len, apr_read_type_e block)
{
    *str = NULL;
    *len = 0;
    return APR_SUCCESS;
}

static const apr_bucket_type_t pin_type = {"AFPA_PIN",  5,           APR_BUCKET_METADATA,      on_destroy,
                                           on_pin_read, on_setaside, apr_bucket_split_notimpl, apr_bucket_shared_copy};

void afpa_mod_bucket_to_file(apr_bucket *b, apr_file_t *file, apr_pool_t *pool)
{
    shared_t *shared = b->data;
    apr_off_t offset = (apr_off_t)shared->extent.file_offset + b->start;
    apr_bucket *bytes = apr_bucket_file_create(file, offset, b->length, pool, b->list);

    APR_BUCKET_INSERT_BEFORE(b, bytes);
    b->type = &pin_type;
    b->start = 0;
    b->length = 0;
}

apr_bucket *afpa_mod_bucket_create(afpa_ref_t *ref, apr_size_t length, int sendfile, conn_rec *c)
{
    apr_bucket_alloc_t *list = c->bucket_alloc;
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
    shared->sendfile = sendfile;
    if (afpa_ref_entries(&shared->ref) == 1) { /* the hold is the pin: one chunk, in memory as long as it is held */
        afpa_cache_pin(&shared->ref, 0, sendfile ? AFPA_PIN_REFERENCE : AFPA_PIN_COPY, &shared->extent);
        afpa_cache_release(&shared->ref);
        b = apr_bucket_shared_make(b, shared, 0, length);
        b->type = &chunk_type;
        return b;
    }
    b = apr_bucket_shared_make(b, shared, 0, length);
    b->type = &object_type;
    return b;
}
