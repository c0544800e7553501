/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of RFC 9110 that answers given without the server have to follow: dates and validators.
 */
#ifndef AFPA_HTTP_H
#define AFPA_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <afpa/request.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "Sun, 06 Nov 1994 08:49:37 GMT", without a NUL. */
#define AFPA_HTTP_DATE 29

/* Writes AFPA_HTTP_DATE bytes; `seconds` since the epoch, in years 1 to 9999. */
void afpa_http_date_print(int64_t seconds, char *text);

/* Reads that form alone (IMF-fixdate, RFC 9110 section 5.6.7).  false: anything else, and *seconds means nothing. */
bool afpa_http_date_parse(const char *text, size_t length, int64_t *seconds);

/* With which times in If-Modified-Since a server answers 304. */
typedef enum afpa_since {
    AFPA_SINCE_EXACT,  /* the file's own (nginx: if_modified_since exact) */
    AFPA_SINCE_BEFORE, /* the file's own and later ones (nginx: before) */
    AFPA_SINCE_NEVER,  /* none: the field is ignored (nginx: off) */
    AFPA_SINCE_PAST    /* as AFPA_SINCE_BEFORE, but a time in the future is no condition (RFC 9110 section 13.1.3; httpd) */
} afpa_since_t;

/* What conditions are judged by: the validators of a response, and how its server compares them. */
typedef struct afpa_validators {
    afpa_text_t etag;      /* with its quotes and W/; at NULL: none */
    int64_t last_modified; /* seconds since the epoch; INT64_MIN: none */
    afpa_since_t since;
    bool both; /* where both fields are given, both have to say 304 (nginx, httpd); false: If-None-Match decides alone (RFC 9110
                * section 13.2.2) */
} afpa_validators_t;

typedef enum afpa_condition {
    AFPA_CONDITION_NONE,         /* send the representation: 200 */
    AFPA_CONDITION_NOT_MODIFIED, /* 304 */
    AFPA_CONDITION_UNCLEAR       /* malformed, or in an obsolete form: the request is left to the server */
} afpa_condition_t;

/* Judges If-None-Match and If-Modified-Since of a request; AFPA_CONDITION_NONE if it has neither. */
afpa_condition_t afpa_http_condition(const afpa_request_t *request, const afpa_validators_t *validators);

#ifdef __cplusplus
}
#endif
#endif
