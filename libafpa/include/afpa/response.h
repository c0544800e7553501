/* SPDX-License-Identifier: Apache-2.0
 *
 * Response entries: finished header blocks, by URL, for the fast path.
 *
 * A response entry is admitted after the server itself answered a URL from a file, with the very header it sent; what may be
 * admitted is in afpa_response_propose().  It points at the file object by index and generation, so that it is dead as soon as
 * that object leaves the cache, and it says how old that object's last check may be.  Payload lies in the file object alone.
 *
 *     server answered ─► propose ─► (worker) admit          next request ─► lookup ─► print header, pin payload ─► release
 */
#ifndef AFPA_RESPONSE_H
#define AFPA_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/cache.h>
#include <afpa/http.h>
#include <afpa/request.h>
#include <afpa/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest header block, in bytes. */
#define AFPA_RESPONSE_HEADER_MAX 4096
/* Bytes that afpa_response_print() may write: what it says of the connection can be longer than what the captured block said. */
#define AFPA_RESPONSE_PRINT_MAX (AFPA_RESPONSE_HEADER_MAX + 96)

#define AFPA_REQUESTS_UNLIMITED UINT32_MAX

/* What a connection may still do after a reply. */
typedef struct afpa_limits {
    uint32_t keep_alive_ms; /* idle until the next request */
    uint32_t send_ms;       /* without progress while sending */
    uint32_t lifetime_ms;   /* since it was accepted; no reply after that keeps it alive */
    uint32_t requests;      /* the reply to request number `requests` closes; AFPA_REQUESTS_UNLIMITED: none does for that */
} afpa_limits_t;

/* What one server says about its replies. */
typedef struct afpa_response_terms {
    uint64_t server;        /* the virtual hosts behind one listening address, in one configuration: a new number after
                             * every reload, so that older entries are never found again */
    uint32_t revalidate_ms; /* as for afpa_cache_lookup() */
    afpa_limits_t limits;
    afpa_since_t since;         /* see afpa_validators_t */
    bool both;                  /* likewise */
    bool answers_keep_alive;    /* true, as httpd: a reply says that the connection is kept only to a client that asked for it, and
                                 * then for how long and for how many requests; false, as nginx: always, in the words captured */
    uint32_t keep_alive_said;   /* seconds in those replies; what the connection really gets is in limits */
    bool strong_etag;           /* a weak one will be another soon (httpd: of a file changed in the last second): not admitted */
    bool expires_follows;       /* Expires is the time of the reply plus a constant; else it has to be a constant itself */
    uint32_t tag;               /* the server's own; comes back in afpa_reply_t */
    const char *const *dropped; /* fields of a 200 that the server leaves out of a 304; ends with NULL */
} afpa_response_terms_t;

/* An entry on its way into the cache; opaque. */
typedef struct afpa_proposal afpa_proposal_t;

/* Makes a proposal of a reply that the server has just sent from the object that `file` holds (which is not kept).  `header` is the
 * block as sent, from the status line to the empty line; `request` what it answered.
 * NULL: it is not admitted, *why (static storage) says what for: it is no complete 200 with the file's length, its connection was
 * not kept alive, it is encoded, sets a cookie, is private or not to be stored, varies by more than Accept-Encoding, has an Expires
 * that would not stay true, or is too long.
 * May be called in the loop.  The caller passes the proposal to afpa_response_admit(). */
afpa_proposal_t *afpa_response_propose(const afpa_request_t *request, const char *header, size_t length, const afpa_ref_t *file,
                                       const afpa_response_terms_t *terms, const char **why);

/* Puts the entry into the cache, in place of an older one of the same URL, and frees the proposal.  In a worker: takes locks.
 * AFPA_OK        it is there, or one that says the same was.
 * AFPA_NO_SPACE  no room for it: the next reply to that URL can be proposed again.
 * AFPA_DISABLED  as afpa_response_lookup(). */
afpa_status_t afpa_response_admit(afpa_proposal_t *proposal);

/* Has a worker do that, and forget the result; takes the proposal over, also if the queue is full.  May be called in the loop. */
void afpa_response_admit_later(afpa_proposal_t *proposal, afpa_executor_t *executor);

/* Gives up a proposal.  May be NULL. */
void afpa_response_drop(afpa_proposal_t *proposal);

/* A response entry that is held together with its file object; a value, as afpa_ref_t. */
typedef struct afpa_response {
    afpa_ref_t entry, file; /* file.cache NULL: holds nothing */
    const void *block;      /* the library's */
} afpa_response_t;

/* Finds the response of a request, and holds it.  May be called in the loop: lock-free; makes a check that is due as
 * afpa_cache_lookup() does.  `server` is that of the terms it was admitted with.
 * AFPA_OK, AFPA_CHECK_DUE   *response is held; with the latter the caller calls afpa_response_check_later().
 * AFPA_STALE, AFPA_MISS     holds nothing: the request is the server's.
 * AFPA_DISABLED             the zone is off, or cache is NULL. */
afpa_status_t afpa_response_lookup(afpa_cache_t *cache, uint64_t server, const afpa_request_t *request, afpa_response_t *response);

/* Lets go.  Legal on one that holds nothing. */
void afpa_response_release(afpa_response_t *response);

/* What the request's conditions are judged by; its etag is valid while the response is held. */
afpa_validators_t afpa_response_validators(const afpa_response_t *response);

/* Limits and tag of the terms it was admitted with; valid while the response is held. */
const afpa_limits_t *afpa_response_limits(const afpa_response_t *response);
uint32_t afpa_response_tag(const afpa_response_t *response);

/* The first chunk of the file's payload, which is all of it if afpa_ref_entries(&response->file) is 1: *length bytes, in memory
 * while the response is held. */
const void *afpa_response_payload(const afpa_response_t *response, uint32_t *length);

/* What a reply says of its connection. */
typedef struct afpa_persistence {
    bool keep_alive; /* false: it is closed */
    bool asked;      /* the request's Connection says keep-alive */
    uint32_t left;   /* requests that may follow; from AFPA_REQUESTS_UNLIMITED / 2 on it does not say how many */
} afpa_persistence_t;

/* Writes the header block of a 200 or a 304 with `date` (AFPA_HTTP_DATE bytes) in it to `out`, without a NUL.  Returns its length,
 * at most AFPA_RESPONSE_PRINT_MAX. */
size_t afpa_response_print(const afpa_response_t *response, bool not_modified, afpa_persistence_t persistence, const char *date,
                           char *out);

/* Has a worker check the file: see afpa_cache_check_later(). */
void afpa_response_check_later(const afpa_response_t *response, afpa_executor_t *executor);

#ifdef __cplusplus
}
#endif
#endif
