/* SPDX-License-Identifier: Apache-2.0
 *
 * The strict reader of request heads.
 *
 * It understands only what can be answered without the server (a GET or HEAD for a file, RFC 9112), and says of everything else
 * that it is the server's: of what is malformed too, for the server has its own way to refuse.  Nothing is decoded, folded or
 * repaired; a head that two readers could understand differently is declined.
 */
#ifndef AFPA_REQUEST_H
#define AFPA_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/counters.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest head, request line and empty line included.  nginx takes 8 KB per line, httpd 8190 bytes. */
#define AFPA_REQUEST_MAX 8192

/* A run of bytes in the head; at is NULL where the field is absent. */
typedef struct afpa_text {
    const char *at;
    size_t length;
} afpa_text_t;

/* A head, as pointers into the bytes it was read from; valid as long as they are. */
typedef struct afpa_request {
    size_t length;      /* of the whole head */
    afpa_text_t line;   /* request line without its CRLF */
    afpa_text_t target; /* origin form, as sent */
    afpa_text_t host;
    afpa_text_t if_none_match, if_modified_since, accept_encoding, referer, user_agent;
    bool head;             /* HEAD, else GET */
    bool http10;           /* HTTP/1.0, else HTTP/1.1 */
    bool keep_alive;       /* by version and Connection */
    bool keep_alive_token; /* Connection says keep-alive */
} afpa_request_t;

typedef enum afpa_request_result {
    AFPA_REQUEST_WHOLE,      /* *request is filled in; what follows it begins at request->length */
    AFPA_REQUEST_INCOMPLETE, /* nothing is wrong so far: read more, and read from the beginning again */
    AFPA_REQUEST_DECLINED    /* the server's: *why is the counter of the reason (not counted) */
} afpa_request_result_t;

/* Reads the head at the beginning of `length` bytes.  Pure; AFPA_REQUEST_INCOMPLETE only for fewer than AFPA_REQUEST_MAX bytes. */
afpa_request_result_t afpa_request_read(const char *bytes, size_t length, afpa_request_t *request, afpa_counter_t *why);

#ifdef __cplusplus
}
#endif
#endif
