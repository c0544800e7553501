/* SPDX-License-Identifier: Apache-2.0
 *
 * Stage 3 of 7, responses: finished headers by URL.  In: a request, a server's number.  Out: header block and file object, held.
 *
 * A response entry is an object like a file's: same table, index, queues, pins.  Its key is "http://HOST/TARGET SERVER CODING", its
 * payload, always in its first pin entry, a block (capture.c).  It is written before it is published and never changed.
 * It does not keep its file object: it knows it by index and generation, so a pin of that generation is the proof that the file
 * is still cached, and that object's last check says how fresh it is.
 */
#include "config.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "capture.h"
#include "fill.h"
#include "fresh.h"
#include "index.h"
#include "key.h"
#include "object.h"
#include "pin.h"
#include "space.h"

#define SCHEME "http://"
#define CLOSE_LINE "Connection: close\r\n"

struct afpa_proposal {
    afpa_job_t job; /* first */
    afpa_cache_t *cache;
    size_t key_length, block_length;
    char key[AFPA_PATH_MAX];
    char block[AFPA__BLOCK_MAX];
};

/* ---- keys ---- */

static char *append(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}

/* Sixteen digits at once: each nibble gets a byte, and those above 9 the distance from '9' to 'a'. */
static char *append_hex(char *at, uint64_t value)
{
    for (int half = 1; half >= 0; half--) {
        uint64_t x = value >> 32 * half & UINT32_MAX, letters;

        x = (x << 16 | x) & UINT64_C(0x0000ffff0000ffff);
        x = (x << 8 | x) & UINT64_C(0x00ff00ff00ff00ff);
        x = (x << 4 | x) & UINT64_C(0x0f0f0f0f0f0f0f0f);
        letters = (x + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
        x = htobe64(x + UINT64_C(0x3030303030303030) + letters * ('a' - '9' - 1));
        memcpy(at, &x, 8);
        at += 8;
    }
    return at;
}

/* Neither host nor target can have a blank in it, so no two requests make the same key.  0: too long. */
static size_t key_make(const afpa_request_t *r, uint64_t server, char *key)
{
    char *at = key;

    if (r->host.length + r->target.length + r->accept_encoding.length + 64 > AFPA_PATH_MAX)
        return 0;
    at = append(at, SCHEME, sizeof(SCHEME) - 1);
    at = append(at, r->host.at, r->host.length);
    at = append(at, r->target.at, r->target.length);
    *at++ = ' ';
    at = append_hex(at, server);
    if (r->accept_encoding.at) { /* an empty one is not the same as none */
        *at++ = ' ';
        at = append(at, r->accept_encoding.at, r->accept_encoding.length);
    }
    return (size_t)(at - key);
}

/* ---- looking up ---- */

/* Holds the file that a held entry points at. */
static afpa_status_t hold_file(afpa_cache_t *cache, afpa_response_t *response)
{
    const afpa__segment_t *s = cache->segment;
    const afpa__entry_shared_t *e = &s->entries[response->entry.object];
    const afpa__block_shared_t *b = (const void *)afpa__data_at(s, e->chunk, e->offset, e->length);
    afpa__object_shared_t *file;
    afpa_status_t status;

    if (s->objects[response->entry.object].kind != AFPA_KIND_RESPONSE || !b || !afpa__block_sound(b, e->length))
        return AFPA_MISS;
    file = afpa__object_at(s, b->object);
    if (!file || !afpa__pin_take(&cache->ledger, b->object, b->generation, AFPA__PIN_ONE | AFPA__HIT_ONE))
        return AFPA_MISS;
    response->file = (afpa_ref_t){.cache = cache, .object = b->object, .generation = b->generation};
    response->block = b;
    status = atomic_load_explicit(&file->phase, memory_order_relaxed) == AFPA__PHASE_LIVE && file->identity.size == b->size
                 ? afpa__fresh_lookup(cache, b->object, b->revalidate_ms, &response->file.checked)
                 : AFPA_MISS;
    if (status == AFPA_OK || status == AFPA_CHECK_DUE) {
        afpa__object_used(&s->objects[response->entry.object]);
        afpa__object_used(file);
    }
    return status;
}

afpa_status_t afpa_response_lookup(afpa_cache_t *cache, uint64_t server, const afpa_request_t *request, afpa_response_t *response)
{
    char key[AFPA_PATH_MAX];
    size_t length = key_make(request, server, key);
    afpa_status_t status;
    afpa_ref_t *entry = &response->entry;

    entry->cache = response->file.cache = NULL;
    if (!afpa__cache_usable(cache))
        return AFPA_DISABLED;
    if (length == 0 || !afpa__index_pin(&cache->ledger, afpa__key_hash(cache->segment, key, length), key, length,
                                        AFPA__PIN_ONE | AFPA__HIT_ONE, &entry->object, &entry->generation))
        return AFPA_MISS;
    entry->cache = cache;
    status = hold_file(cache, response);
    if (status != AFPA_OK && status != AFPA_CHECK_DUE)
        afpa_response_release(response);
    return status;
}

void afpa_response_release(afpa_response_t *response)
{
    afpa_cache_release(&response->file);
    afpa_cache_release(&response->entry);
}

/* ---- what it says ---- */

static const afpa__block_shared_t *block_of(const afpa_response_t *response)
{
    return response->block;
}

afpa_validators_t afpa_response_validators(const afpa_response_t *response)
{
    const afpa__block_shared_t *b = block_of(response);

    return (afpa_validators_t){.etag = {b->etag_length ? afpa__block_bytes(b, 0) + b->etag : NULL, b->etag_length},
                               .last_modified = b->last_modified,
                               .since = (afpa_since_t)b->since,
                               .both = b->both};
}

const afpa_limits_t *afpa_response_limits(const afpa_response_t *response)
{
    return &block_of(response)->limits;
}

uint32_t afpa_response_tag(const afpa_response_t *response)
{
    return block_of(response)->tag;
}

const void *afpa_response_payload(const afpa_response_t *response, uint32_t *length)
{
    const afpa__segment_t *s = response->file.cache->segment;
    const afpa__entry_shared_t *e = &s->entries[response->file.object]; /* PINNED, or DRAINING and held: constant */

    *length = e->length;
    return e->length ? afpa__data_at(s, e->chunk, e->offset, e->length) : "";
}

static void expires_print(const afpa__block_shared_t *b, const char *date, char *to)
{
    int64_t now;

    if (afpa_http_date_parse(date, AFPA_HTTP_DATE, &now))
        afpa_http_date_print(now + b->expires_after, to);
}

/* httpd's words.  Returns their length. */
static size_t keep_alive_print(const afpa__block_shared_t *b, uint32_t left, char *lines, size_t size)
{
    unsigned seconds = b->keep_alive_said;
    int length =
        left < AFPA_REQUESTS_UNLIMITED / 2
            ? snprintf(lines, size, "Keep-Alive: timeout=%u, max=%u\r\nConnection: Keep-Alive\r\n", seconds, (unsigned)left)
            : snprintf(lines, size, "Keep-Alive: timeout=%u\r\nConnection: Keep-Alive\r\n", seconds);

    return (size_t)length;
}

size_t afpa_response_print(const afpa_response_t *response, bool not_modified, afpa_persistence_t persistence, const char *date,
                           char *out)
{
    const afpa__block_shared_t *b = block_of(response);
    const afpa__part_shared_t *p = &b->part[not_modified];
    size_t behind = p->connection + p->connection_length, length = p->length, said = sizeof(CLOSE_LINE) - 1;
    const char *line = CLOSE_LINE;
    char lines[96];

    memcpy(out, afpa__block_bytes(b, not_modified), length);
    memcpy(out + p->date, date, AFPA_HTTP_DATE);
    if (p->expires)
        expires_print(b, date, out + p->expires);
    if (persistence.keep_alive && !(b->answers_keep_alive && persistence.asked))
        return length;
    if (persistence.keep_alive)
        said = keep_alive_print(b, persistence.left, lines, sizeof(lines)), line = lines;
    memmove(out + p->connection + said, out + behind, length - behind);
    memcpy(out + p->connection, line, said);
    return length - p->connection_length + said;
}

void afpa_response_check_later(const afpa_response_t *response, afpa_executor_t *executor)
{
    const afpa__segment_t *s = response->file.cache->segment;
    const afpa__object_shared_t *o = &s->objects[response->file.object];
    const char *key = afpa__object_key(s, o);

    if (key)
        afpa_cache_check_later(response->file.cache, key, o->key_length, executor);
}

/* ---- admission ---- */

afpa_proposal_t *afpa_response_propose(const afpa_request_t *request, const char *header, size_t length, const afpa_ref_t *file,
                                       const afpa_response_terms_t *terms, const char **why)
{
    afpa_proposal_t *p = malloc(sizeof(*p));
    afpa__block_shared_t *b;

    *why = "out of memory";
    if (!p)
        return NULL;
    *why = "the URL is too long";
    p->cache = file->cache;
    p->key_length = key_make(request, terms->server, p->key);
    p->block_length = p->key_length ? afpa__capture(header, length, afpa_ref_identity(file)->size, terms, p->block, why) : 0;
    if (p->block_length == 0) {
        free(p);
        return NULL;
    }
    b = (afpa__block_shared_t *)(void *)p->block;
    b->object = file->object;
    b->generation = file->generation;
    return p;
}

void afpa_response_drop(afpa_proposal_t *proposal)
{
    free(proposal);
}

/* Whether the live entry says the same already: one URL may be asked for many times before the first proposal is through. */
static bool same_block(const afpa__segment_t *s, uint32_t object, const afpa_proposal_t *p)
{
    const afpa__entry_shared_t *e = &s->entries[object];
    const char *data = afpa__data_at(s, e->chunk, e->offset, e->length);
    const afpa__block_shared_t *is = (const void *)data, *should = (const void *)p->block;

    return data && e->length == p->block_length && is->object == should->object && is->generation == should->generation;
}

/* Under the shard's lock. */
static void replace(afpa__segment_t *s, uint32_t old, uint32_t made)
{
    if (old != AFPA_NONE) {
        afpa__space_take(s);
        afpa__object_retire(s, old);
        afpa__space_release(s);
    }
    afpa__object_publish(s, made);
}

static void discard(afpa__segment_t *s, uint32_t made)
{
    afpa__space_take(s);
    afpa__object_discard(s, made);
    afpa__space_release(s);
}

static afpa_status_t admit(const afpa_proposal_t *p)
{
    afpa__segment_t *s = p->cache->segment;
    uint64_t hash = afpa__key_hash(s, p->key, p->key_length);
    const afpa_identity_t none = {.size = p->block_length};
    uint32_t made, old;
    bool same;

    afpa__shard_take(s, hash);
    old = afpa__index_search(s, hash, p->key, p->key_length);
    same = old != AFPA_NONE && same_block(s, old, p);
    afpa__shard_release(s, hash);
    if (same)
        return AFPA_OK;
    made = afpa__object_new(s, p->cache->ledger.slot, hash, p->key, p->key_length, &none);
    if (made == AFPA_NONE)
        return AFPA_NO_SPACE;
    s->objects[made].kind = AFPA_KIND_RESPONSE;
    if (afpa__fill_bytes(p->cache, made, p->block, (uint32_t)p->block_length) != AFPA_OK) {
        discard(s, made);
        return AFPA_NO_SPACE;
    }
    afpa__shard_take(s, hash);
    replace(s, afpa__index_search(s, hash, p->key, p->key_length), made);
    afpa__shard_release(s, hash);
    return AFPA_OK;
}

afpa_status_t afpa_response_admit(afpa_proposal_t *proposal)
{
    afpa_status_t status = afpa__cache_usable(proposal->cache) ? admit(proposal) : AFPA_DISABLED;

    free(proposal);
    return status;
}

static void run_admit(afpa_job_t *job)
{
    const afpa_proposal_t *proposal = (const afpa_proposal_t *)(void *)job;

    if (afpa__cache_usable(proposal->cache))
        (void)admit(proposal);
}

static void on_admitted(afpa_job_t *job)
{
    free(job);
}

void afpa_response_admit_later(afpa_proposal_t *proposal, afpa_executor_t *executor)
{
    proposal->job = (afpa_job_t){.run = run_admit, .done = on_admitted};
    if (executor->submit(executor, &proposal->job) != AFPA_OK)
        free(proposal);
}
