/* SPDX-License-Identifier: Apache-2.0
 *
 * From a request to an admitted response.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include <afpa/http.h>
#include <afpa/response.h>

#include "output.h"
#include "site.h"

#define NEVER UINT32_MAX

bool site_open(site_t *site)
{
    struct stat st;

    int error = stat(site->root, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;

    if (error)
        complain("%s: %s", site->root, strerror(error));
    else if (getrandom(&site->server, sizeof(site->server), 0) != sizeof(site->server))
        complain("there are no random numbers: %s", strerror(error = errno));
    return error == 0;
}

/* ---- requests ---- */

/* RFC 9110: a server may ignore each of these and send the whole. */
static bool may_be_ignored(const char *line, size_t length)
{
    static const char *const names[] = {
        "If-None-Match:", "If-Modified-Since:", "Range:", "If-Range:", "Upgrade:", "TE:", "Authorization:"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i]) <= length && strncasecmp(line, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* Takes such lines out of the head, as far as it is there. */
static void strip(char *bytes, size_t *length)
{
    char *at = memmem(bytes, *length, "\r\n", 2), *end;

    for (at = at ? at + 2 : NULL; at && (end = memmem(at, (size_t)(bytes + *length - at), "\r\n", 2)) != NULL && end != at;) {
        size_t line = (size_t)(end + 2 - at);

        if (may_be_ignored(at, line)) {
            memmove(at, end + 2, (size_t)(bytes + *length - end - 2));
            *length -= line;
        } else {
            at = end + 2;
        }
    }
}

static site_status_t status_of(afpa_counter_t why)
{
    switch (why) {
    case AFPA_DECLINE_METHOD:
        return SITE_METHOD;
    case AFPA_DECLINE_HEADER_SIZE:
        return SITE_TOO_LARGE;
    case AFPA_DECLINE_TARGET:
    case AFPA_DECLINE_NOT_FOUND:
    case AFPA_DECLINE_NOT_REGULAR:
    case AFPA_DECLINE_PATH:
        return SITE_NOT_FOUND;
    case AFPA_DECLINE_PERMISSION:
        return SITE_FORBIDDEN;
    case AFPA_DECLINE_REQUEST:
    case AFPA_DECLINE_FIELD:
        return SITE_BAD;
    default:
        return SITE_BUSY;
    }
}

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The path of a target that the request reader let through.  false: it leads elsewhere, or is too long. */
static bool map(const site_t *site, afpa_text_t target, char *path, size_t size)
{
    size_t length = strlen(site->root);

    if (length + target.length + sizeof("index.html") > size)
        return false;
    memcpy(path, site->root, length);
    for (size_t i = 0; i < target.length && target.at[i] != '?'; i++) {
        char c = target.at[i];

        if (c == '%') {
            c = (char)(hex(target.at[i + 1]) << 4 | hex(target.at[i + 2]));
            i += 2;
            if (c == '/' || (c == '.' && path[length - 1] == '/'))
                return false;
        }
        path[length++] = c;
    }
    path[length] = 0;
    if (path[length - 1] == '/')
        strcpy(path + length, "index.html");
    return true;
}

/* ---- replies ---- */

static const char *type_of(const char *path)
{
    static const char *const types[][2] = {
        {".html", "text/html"},     {".htm", "text/html"},         {".txt", "text/plain"},    {".css", "text/css"},
        {".js", "text/javascript"}, {".json", "application/json"}, {".svg", "image/svg+xml"}, {".png", "image/png"},
        {".jpg", "image/jpeg"},     {".jpeg", "image/jpeg"},       {".gif", "image/gif"},     {".webp", "image/webp"},
        {".woff2", "font/woff2"},   {".pdf", "application/pdf"},   {".xml", "text/xml"},      {".mp4", "video/mp4"},
    };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(dot, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static size_t header_print(const afpa_identity_t *identity, const char *path, char *header, size_t size)
{
    char now[AFPA_HTTP_DATE], modified[AFPA_HTTP_DATE];

    afpa_http_date_print(time(NULL), now);
    afpa_http_date_print(identity->mtime_sec, modified);
    return (size_t)snprintf(header, size,
                            "HTTP/1.1 200 OK\r\nServer: afpactl/%s\r\nDate: %.29s\r\nContent-Type: %s\r\nContent-Length: %llu\r\n"
                            "Last-Modified: %.29s\r\nConnection: keep-alive\r\nETag: \"%llx-%llx\"\r\n\r\n",
                            PACKAGE_VERSION, now, type_of(path), (unsigned long long)identity->size, modified,
                            (unsigned long long)identity->mtime_sec, (unsigned long long)identity->size);
}

static site_status_t admit(const site_t *site, const afpa_request_t *request, const afpa_ref_t *file, const char *path)
{
    static const char *const dropped[] = {"Content-Type", "Content-Length", NULL};
    const afpa_response_terms_t terms = {
        .server = site->server,
        .revalidate_ms = 1000,
        .limits = {.keep_alive_ms = 65000, .send_ms = 60000, .lifetime_ms = NEVER, .requests = NEVER},
        .since = AFPA_SINCE_BEFORE,
        .dropped = dropped,
    };
    char header[1024];
    size_t length = header_print(afpa_ref_identity(file), path, header, sizeof(header));
    const char *why;
    afpa_proposal_t *proposal = afpa_response_propose(request, header, length, file, &terms, &why);

    return proposal && afpa_response_admit(proposal) == AFPA_OK ? SITE_OK : SITE_BUSY;
}

site_status_t site_admit(const site_t *site, afpa_cache_t *cache, char *bytes, size_t *length)
{
    afpa_policy_t policy;
    afpa_request_result_t result;
    char path[AFPA_PATH_MAX];
    afpa_request_t request;
    site_status_t status;
    afpa_counter_t why;
    afpa_ref_t ref;

    strip(bytes, length);
    result = afpa_request_read(bytes, *length, &request, &why);
    if (result != AFPA_REQUEST_WHOLE)
        return result == AFPA_REQUEST_INCOMPLETE ? SITE_OK : status_of(why);
    if (!map(site, request.target, path, sizeof(path)))
        return SITE_NOT_FOUND;
    afpa_policy_init(&policy);
    policy.max_size = UINT64_MAX;
    if (afpa_cache_open(cache, path, strlen(path), &policy, &ref, &why, NULL) != AFPA_OK)
        return status_of(why);
    status = admit(site, &request, &ref, path);
    afpa_cache_release(&ref);
    return status;
}

/* The body is the first line again. */
#define ERROR(code, fields, length)                                                                                                \
    "HTTP/1.1 " code "\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n" fields "Connection: close\r\n\r\n" code "\n"

const char *site_error(site_status_t status)
{
    switch (status) {
    case SITE_BAD:
        return ERROR("400 Bad Request", "", "16");
    case SITE_FORBIDDEN:
        return ERROR("403 Forbidden", "", "14");
    case SITE_NOT_FOUND:
        return ERROR("404 Not Found", "", "14");
    case SITE_METHOD:
        return ERROR("405 Method Not Allowed", "Allow: GET, HEAD\r\n", "23");
    case SITE_TOO_LARGE:
        return ERROR("431 Request Header Fields Too Large", "", "36");
    default:
        return ERROR("503 Service Unavailable", "", "24");
    }
}
