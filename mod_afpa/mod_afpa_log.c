/* SPDX-License-Identifier: Apache-2.0
 *
 * AfpaLogFile: one line per fast-path reply, as mod_log_config would write it.
 *
 * Lines gather in a buffer per loop and file, which is written when the loop has done what it was woken for, or when it is full: a
 * line is never older than a turn of the loop, and a system call per reply would cost as much as half of it.  The file is opened
 * by the parent for each configuration, so a graceful restart rotates it.
 */
#include "mod_afpa_fastpath.h"

#include <http_main.h>
#include <util_time.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <unistd.h>

#define BUFFER_SIZE 32768
#define PIPE_SIZE 4096 /* what a pipe takes whole (PIPE_BUF) */
#define LINE_SIZE (512 + 6 * AFPA_REQUEST_MAX)
#define COMPLAIN_SECONDS 60

typedef enum { CLF, ECLF, V_CLF, V_ECLF, JSON, FORMATS } format_t;

static const char *const formats[FORMATS] = {"CLF", "ECLF", "V-CLF", "V-ECLF", "JSON"};

struct afpa_mod_log {
    const char *path;
    format_t format;
    int fd, is_pipe;
    atomic_long complained; /* when a write failed */
};

/* ---- the directive ---- */

const char *afpa_mod_log_set(cmd_parms *cmd, void *dir, const char *path, const char *format)
{
    afpa_mod_server_conf_t *conf = ap_get_module_config(cmd->server->module_config, &afpa_module);
    const char *wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);
    afpa_mod_log_t *log = apr_pcalloc(cmd->pool, sizeof(*log));

    if (wrong)
        return wrong;
    while (format && log->format < FORMATS && ap_cstr_casecmp(format, formats[log->format]) != 0)
        log->format++;
    if (log->format == FORMATS)
        return apr_psprintf(cmd->pool, "AfpaLogFile: \"%s\" is no format: CLF, ECLF, V-CLF, V-ECLF or JSON", format);
    log->path = path;
    log->fd = -1;
    conf->log = log;
    return NULL;
}

static int log_open(apr_pool_t *p, server_rec *s, afpa_mod_log_t *log)
{
    const char *name = ap_server_root_relative(p, log->path);
    apr_os_file_t fd;
    apr_file_t *file;
    apr_status_t rv;

    log->is_pipe = *log->path == '|';
    if (log->is_pipe) {
        int shell = log->path[1] == '$', marked = shell || log->path[1] == '|'; /* as CustomLog has it */
        piped_log *pipe = ap_open_piped_log_ex(p, log->path + 1 + marked, shell ? APR_SHELLCMD_ENV : APR_PROGRAM_ENV);

        file = pipe ? ap_piped_log_write_fd(pipe) : NULL;
        rv = pipe ? APR_SUCCESS : APR_EGENERAL;
    } else {
        rv = apr_file_open(&file, name, APR_FOPEN_WRITE | APR_FOPEN_APPEND | APR_FOPEN_CREATE | APR_FOPEN_LARGEFILE, APR_OS_DEFAULT,
                           p);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, rv, s, "AfpaLogFile %s: it cannot be opened", log->path);
        return 0;
    }
    apr_os_file_get(&fd, file);
    log->fd = fd;
    return 1;
}

int afpa_mod_logs_open(apr_pool_t *p, server_rec *s)
{
    for (; s; s = s->next) {
        afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);

        if (conf->fast && conf->logging != 0 && conf->log->fd < 0 && !log_open(p, s, conf->log))
            return 0;
    }
    return 1;
}

/* ---- a line ---- */

typedef struct {
    char *at, *end;
} line_t;

static void put(line_t *line, const char *bytes, apr_size_t length)
{
    if ((apr_size_t)(line->end - line->at) < length)
        length = (apr_size_t)(line->end - line->at);
    memcpy(line->at, bytes, length);
    line->at += length;
}

static void put_text(line_t *line, const char *text)
{
    put(line, text, strlen(text));
}

/* At most 127 bytes: what is longer is cut off, so only for what is known to be short. */
static void put_format(line_t *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_format(line_t *line, const char *format, ...)
{
    char text[128];
    va_list args;

    va_start(args, format);
    apr_vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    put_text(line, text);
}

/* As httpd writes what came from the client: \" \\ \n and the like, \xhh. */
static void put_escaped(line_t *line, const char *at, apr_size_t length)
{
    static const char from[] = "\b\n\r\t\v\"\\", to[] = "bnrtv\"\\";

    for (const char *end = at + length; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        const char *special = c ? strchr(from, c) : NULL;

        if (special) {
            char pair[2] = {'\\', to[special - from]};

            put(line, pair, 2);
        } else if (c >= 0x20 && c < 0x7f) {
            put(line, at, 1);
        } else {
            put_format(line, "\\x%02x", c);
        }
    }
}

static void put_json_string(line_t *line, const char *at, apr_size_t length)
{
    for (const char *end = at + length; at < end; at++) {
        unsigned char c = (unsigned char)*at;

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            put(line, at, 1);
        else
            put_format(line, "\\u%04x", c); /* bytes that are no ASCII: each as if it were Latin-1 */
    }
}

static void put_member(line_t *line, const char *name, const char *at, apr_size_t length)
{
    put_format(line, ",\"%s\":\"", name);
    put_json_string(line, at, length);
    put_text(line, "\"");
}

static void put_field(line_t *line, const afpa_text_t *field)
{
    put_text(line, " \"");
    if (field->at)
        put_escaped(line, field->at, field->length);
    else
        put_text(line, "-");
    put_text(line, "\"");
}

/* The time of now, in the form of each kind of line; made once a second and thread. */
static const char *now_text(int json)
{
    static __thread apr_time_t second[2];
    static __thread char text[2][64];
    apr_time_t now = apr_time_sec(apr_time_now());
    apr_time_exp_t t;
    apr_size_t length;
    int offset;
    char sign;

    if (second[json] == now)
        return text[json];
    second[json] = now;
    ap_explode_recent_localtime(&t, apr_time_from_sec(now));
    offset = t.tm_gmtoff / 60;
    sign = offset < 0 ? '-' : '+';
    offset = abs(offset);
    apr_strftime(text[json], &length, sizeof(text[json]), json ? "%Y-%m-%dT%H:%M:%S" : "[%d/%b/%Y:%H:%M:%S ", &t);
    apr_snprintf(text[json] + length, sizeof(text[json]) - length, json ? "%c%02d:%02d" : "%c%02d%02d]", sign, offset / 60,
                 offset % 60);
    return text[json];
}

static void put_common(line_t *line, format_t format, const server_rec *s, const afpa_mod_client_t *client,
                       const afpa_reply_t *reply)
{
    const afpa_request_t *request = reply->request;

    if (format == V_CLF || format == V_ECLF) {
        put_text(line, s->server_hostname);
        put_text(line, " ");
    }
    put_format(line, "%s - - %s \"", client->ip, now_text(0));
    put_escaped(line, request->line.at, request->line.length);
    put_format(line, "\" %u ", reply->status);
    if (reply->body > 0)
        put_format(line, "%" APR_UINT64_T_FMT, (apr_uint64_t)reply->body);
    else
        put_text(line, "-");
    if (format == CLF || format == V_CLF)
        return;
    put_field(line, &request->referer);
    put_field(line, &request->user_agent);
}

static void put_json(line_t *line, const server_rec *s, const afpa_mod_client_t *client, const afpa_reply_t *reply)
{
    const afpa_request_t *request = reply->request;

    put_format(line, "{\"time\":\"%s\"", now_text(1));
    put_member(line, "remote_addr", client->ip, strlen(client->ip));
    put_member(line, "server", s->server_hostname, strlen(s->server_hostname));
    put_member(line, "host", request->host.at, request->host.length);
    put_member(line, "request", request->line.at, request->line.length);
    put_format(line, ",\"status\":%u,\"body_bytes_sent\":%" APR_UINT64_T_FMT, reply->status, (apr_uint64_t)reply->body);
    put_member(line, "http_referer", request->referer.at, request->referer.length);
    put_member(line, "http_user_agent", request->user_agent.at, request->user_agent.length);
    put_text(line, ",\"afpa_status\":\"HIT\"}");
}

/* ---- buffers ---- */

static void buffer_write(afpa_mod_buffer_t *buffer)
{
    afpa_mod_log_t *log = buffer->log;
    apr_size_t length = buffer->length;
    long now = (long)apr_time_sec(apr_time_now());
    ssize_t n;

    buffer->length = 0;
    if (length == 0)
        return;
    do
        n = write(log->fd, buffer->bytes, length);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)length || now - atomic_load_explicit(&log->complained, memory_order_relaxed) < COMPLAIN_SECONDS)
        return;
    atomic_store_explicit(&log->complained, now, memory_order_relaxed);
    ap_log_error(APLOG_MARK, APLOG_ALERT, n < 0 ? errno : 0, ap_server_conf, "AfpaLogFile %s: writing failed, lines are lost",
                 log->path);
}

static afpa_mod_buffer_t *buffer_of(afpa_mod_buffer_t **buffers, afpa_mod_log_t *log)
{
    afpa_mod_buffer_t *buffer = *buffers;

    while (buffer && buffer->log != log)
        buffer = buffer->next;
    if (buffer)
        return buffer;
    buffer = malloc(sizeof(*buffer) + BUFFER_SIZE + LINE_SIZE);
    if (!buffer)
        return NULL;
    buffer->log = log;
    buffer->length = 0;
    buffer->next = *buffers;
    *buffers = buffer;
    return buffer;
}

void afpa_mod_log_reply(afpa_mod_buffer_t **buffers, const server_rec *s, const afpa_mod_client_t *client,
                        const afpa_reply_t *reply)
{
    const afpa_mod_server_conf_t *conf = ap_get_module_config(s->module_config, &afpa_module);
    afpa_mod_buffer_t *buffer = conf->logging != 0 && conf->log ? buffer_of(buffers, conf->log) : NULL;
    apr_size_t before = buffer ? buffer->length : 0;
    line_t line;

    if (!buffer)
        return;
    line = (line_t){buffer->bytes + before, buffer->bytes + before + LINE_SIZE - 1};
    if (buffer->log->format == JSON)
        put_json(&line, s, client, reply);
    else
        put_common(&line, buffer->log->format, s, client, reply);
    *line.at++ = '\n';
    buffer->length = (apr_size_t)(line.at - buffer->bytes);
    if (buffer->log->is_pipe && before > 0 && buffer->length > PIPE_SIZE) { /* a pipe may cut what is longer: whole lines only */
        apr_size_t length = buffer->length - before;

        buffer->length = before;
        buffer_write(buffer);
        memmove(buffer->bytes, buffer->bytes + before, length);
        buffer->length = length;
    }
    if (buffer->length > BUFFER_SIZE)
        buffer_write(buffer);
}

void afpa_mod_log_flush(afpa_mod_buffer_t *buffers)
{
    for (; buffers; buffers = buffers->next)
        buffer_write(buffers);
}

void afpa_mod_log_free(afpa_mod_buffer_t **buffers)
{
    while (*buffers) {
        afpa_mod_buffer_t *buffer = *buffers;

        *buffers = buffer->next;
        free(buffer);
    }
}
