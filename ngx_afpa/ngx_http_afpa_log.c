/* SPDX-License-Identifier: Apache-2.0
 *
 * afpa_access_log: one line per fast-path reply, as nginx's own log module would write it.
 *
 * Lines are gathered in a buffer per file and worker, and written when it is full, a second after the first, when the file is
 * opened anew (USR1), and when the worker ends: a system call per reply would cost as much as half the reply.
 */
#include "ngx_http_afpa_log.h"

#define FLUSH_MS 1000
#define BUFFER_SIZE 65536

typedef struct {
    u_char *at, *end;
} line_t;

typedef enum { FORMAT_COMBINED, FORMAT_COMMON, FORMAT_VHOST_COMBINED, FORMAT_JSON, FORMATS } format_t;

static ngx_str_t formats[FORMATS] = {ngx_string("combined"), ngx_string("common"), ngx_string("vhost_combined"),
                                     ngx_string("json")};

struct ngx_http_afpa_log_s {
    ngx_open_file_t *file;
    format_t format;
    u_char *start, *pos, *end;
    ngx_event_t timer;
    time_t complained;                                      /* when a write failed */
    void (*chained)(ngx_open_file_t *file, ngx_log_t *log); /* what was to be called for the file before; NULL: nothing */
};

/* ---- writing ---- */

static void flush(ngx_http_afpa_log_t *log)
{
    size_t length = (size_t)(log->pos - log->start);
    ssize_t n;

    log->pos = log->start;
    if (log->timer.timer_set)
        ngx_del_timer(&log->timer);
    if (length == 0)
        return;
    n = ngx_write_fd(log->file->fd, log->start, length);
    if (n == (ssize_t)length || ngx_time() - log->complained < 60)
        return;
    log->complained = ngx_time();
    ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, n < 0 ? ngx_errno : 0, "afpa_access_log: writing to \"%V\" failed, lines are lost",
                  &log->file->name);
}

static void on_timer(ngx_event_t *ev)
{
    flush(ev->data);
}

/* file->data is not ours: nginx's log module takes it for its own buffer, also where it has put nothing there. */
static void on_reopen(ngx_open_file_t *file, ngx_log_t *reason)
{
    ngx_http_afpa_main_conf_t *conf = ngx_http_cycle_get_module_main_conf(ngx_cycle, ngx_http_afpa_module);
    ngx_http_afpa_log_t **logs = conf->logs.elts;

    for (ngx_uint_t i = 0; i < conf->logs.nelts; i++)
        if (logs[i] && logs[i]->file == file) {
            flush(logs[i]);
            if (logs[i]->chained)
                logs[i]->chained(file, reason);
        }
}

static void put(line_t *line, const void *bytes, size_t length)
{
    if ((size_t)(line->end - line->at) >= length)
        line->at = ngx_cpymem(line->at, bytes, length);
    else
        line->at = line->end;
}

static void put_text(line_t *line, const char *text)
{
    put(line, text, ngx_strlen(text));
}

static void put_number(line_t *line, uint64_t number)
{
    u_char text[NGX_INT64_LEN];

    put(line, text, (size_t)(ngx_sprintf(text, "%uL", number) - text));
}

/* What came from the client, so that it cannot break a line: \xHH, or in JSON \u00HH; there each byte that is no ASCII as if it
 * were Latin-1, for JSON has to be UTF-8, and a client may send anything. */
static void put_escaped(line_t *line, const char *at, size_t length, ngx_flag_t json)
{
    static const char digits[] = "0123456789ABCDEF";

    for (const char *end = at + length; at < end; at++) {
        u_char c = (u_char)*at;
        u_char escaped[6] = {'\\', 'u', '0', '0', (u_char)digits[c >> 4], (u_char)digits[c & 15]};

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            put(line, &c, 1);
        else if (json)
            put(line, escaped, 6);
        else {
            escaped[2] = '\\';
            escaped[3] = 'x';
            put(line, escaped + 2, 4);
        }
    }
}

static void put_field(line_t *line, const afpa_text_t *field)
{
    put_text(line, " \"");
    if (field->at)
        put_escaped(line, field->at, field->length, 0);
    else
        put_text(line, "-");
    put_text(line, "\"");
}

/* A Host as nginx has it in $host: in small letters, without its port and a last dot. */
static void put_host(line_t *line, const afpa_text_t *host)
{
    size_t length = host->length, colon = length;

    while (colon > 0 && host->at[colon - 1] != ':' && host->at[colon - 1] != ']')
        colon--;
    if (colon > 0 && host->at[colon - 1] == ':')
        length = colon - 1;
    if (length > 0 && host->at[length - 1] == '.')
        length--;
    for (size_t i = 0; i < length; i++) {
        u_char c = ngx_tolower((u_char)host->at[i]);

        put(line, &c, 1);
    }
}

static void put_combined(line_t *line, format_t format, ngx_connection_t *c, const afpa_reply_t *reply)
{
    const afpa_request_t *request = reply->request;

    if (format == FORMAT_VHOST_COMBINED) {
        put_host(line, &request->host);
        put_text(line, ":");
        if (ngx_inet_get_port(c->local_sockaddr) > 0) /* a Unix socket has none */
            put_number(line, ngx_inet_get_port(c->local_sockaddr));
        put_text(line, " ");
    }
    put(line, c->addr_text.data, c->addr_text.len);
    put_text(line, " - - [");
    put(line, ngx_cached_http_log_time.data, ngx_cached_http_log_time.len);
    put_text(line, "] \"");
    put_escaped(line, request->line.at, request->line.length, 0);
    put_text(line, "\" ");
    put_number(line, reply->status);
    put_text(line, " ");
    put_number(line, reply->body);
    if (format == FORMAT_COMMON)
        return;
    put_field(line, &request->referer);
    put_field(line, &request->user_agent);
}

static void put_member(line_t *line, const char *name, const char *at, size_t length)
{
    put_text(line, ",\"");
    put_text(line, name);
    put_text(line, "\":\"");
    put_escaped(line, at, length, 1);
    put_text(line, "\"");
}

static void put_json(line_t *line, ngx_connection_t *c, const afpa_reply_t *reply)
{
    const afpa_request_t *request = reply->request;

    put_text(line, "{\"time\":\"");
    put(line, ngx_cached_http_log_iso8601.data, ngx_cached_http_log_iso8601.len);
    put_text(line, "\"");
    put_member(line, "remote_addr", (const char *)c->addr_text.data, c->addr_text.len);
    put_member(line, "host", request->host.at, request->host.length);
    put_member(line, "request", request->line.at, request->line.length);
    put_text(line, ",\"status\":");
    put_number(line, reply->status);
    put_text(line, ",\"body_bytes_sent\":");
    put_number(line, reply->body);
    put_member(line, "http_referer", request->referer.at, request->referer.length);
    put_member(line, "http_user_agent", request->user_agent.at, request->user_agent.length);
    put_text(line, ",\"afpa_status\":\"HIT\"}");
}

void ngx_http_afpa_log_write(ngx_http_afpa_log_t *log, ngx_connection_t *c, const afpa_reply_t *reply)
{
    const afpa_request_t *request = reply->request;
    size_t most = 512 + 6 * (request->line.length + request->host.length + request->referer.length + request->user_agent.length);
    line_t line;

    if ((size_t)(log->end - log->pos) < most)
        flush(log);
    line.at = log->pos;
    line.end = log->end - 1;
    if (log->format == FORMAT_JSON)
        put_json(&line, c, reply);
    else
        put_combined(&line, log->format, c, reply);
    *line.at++ = '\n';
    log->pos = line.at;
    if (!log->timer.timer_set) {
        ngx_add_timer(&log->timer, FLUSH_MS);
    }
}

void ngx_http_afpa_log_flush_all(ngx_http_afpa_main_conf_t *conf)
{
    ngx_http_afpa_log_t **logs = conf->logs.elts;

    for (ngx_uint_t i = 0; i < conf->logs.nelts; i++)
        if (logs[i])
            flush(logs[i]);
}

/* One file may be that of several logs, and of nginx's own log: what hangs on file->data that takes for its buffer, so nothing of
 * ours may, and if it has one, flush is its already. */
void ngx_http_afpa_log_init(ngx_http_afpa_main_conf_t *conf)
{
    ngx_http_afpa_log_t **logs = conf->logs.elts;

    for (ngx_uint_t i = 0; i < conf->logs.nelts; i++)
        if (logs[i] && logs[i]->file->flush != on_reopen) {
            logs[i]->chained = logs[i]->file->flush;
            logs[i]->file->flush = on_reopen;
        }
}

/* ---- the directive ---- */

static char *parse(ngx_conf_t *cf, ngx_http_afpa_log_t *log, size_t *size)
{
    ngx_str_t *value = cf->args->elts;

    for (ngx_uint_t i = 2; i < cf->args->nelts; i++) {
        ngx_uint_t format = 0;

        if (ngx_strncmp(value[i].data, "buffer=", 7) == 0) {
            ngx_str_t text = {value[i].len - 7, value[i].data + 7};
            ssize_t parsed = ngx_parse_size(&text);

            if (parsed < 4096) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa_access_log: \"%V\" is no size of at least 4k", &value[i]);
                return NGX_CONF_ERROR;
            }
            *size = (size_t)parsed;
            continue;
        }
        while (format < FORMATS &&
               (formats[format].len != value[i].len || ngx_strncmp(formats[format].data, value[i].data, value[i].len) != 0))
            format++;
        if (format == FORMATS || i != 2) {
            ngx_conf_log_error(
                NGX_LOG_EMERG, cf, 0,
                "afpa_access_log: \"%V\" is neither buffer=SIZE nor a format: combined, common, vhost_combined, json", &value[i]);
            return NGX_CONF_ERROR;
        }
        log->format = (format_t)format;
    }
    return NGX_CONF_OK;
}

static char *refuse(ngx_conf_t *cf, ngx_str_t *word, char *why)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "afpa_access_log: \"%V\": %s", word, why);
    return NGX_CONF_ERROR;
}

/* What access_log takes and this does not would be a file of that name. */
static char *check_path(ngx_conf_t *cf)
{
    ngx_str_t *value = cf->args->elts;

    if (ngx_strncmp(value[1].data, "syslog:", 7) == 0)
        return refuse(cf, &value[1], "lines of the fast path are written to files, not to syslog");
    if (ngx_strchr(value[1].data, '$'))
        return refuse(cf, &value[1], "a path cannot contain variables: the file is opened before there is a request");
    if (cf->args->nelts > 2 && ngx_strcmp(value[1].data, "off") == 0)
        return refuse(cf, &value[2], "nothing can follow \"off\"");
    return NGX_CONF_OK;
}

char *ngx_http_afpa_log_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_afpa_main_conf_t *main_conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_afpa_module);
    ngx_http_afpa_srv_conf_t *srv = conf;
    ngx_str_t *value = cf->args->elts;
    ngx_http_afpa_log_t *log, **slot;
    size_t size = BUFFER_SIZE;

    if (srv->log != NGX_CONF_UNSET_UINT)
        return "is duplicate";
    if (check_path(cf) != NGX_CONF_OK)
        return NGX_CONF_ERROR;
    srv->log = main_conf->logs.nelts;
    slot = ngx_array_push(&main_conf->logs);
    if (slot == NULL)
        return NGX_CONF_ERROR;
    *slot = NULL;
    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0)
        return NGX_CONF_OK;
    log = ngx_pcalloc(cf->pool, sizeof(*log));
    if (log == NULL || parse(cf, log, &size) != NGX_CONF_OK)
        return NGX_CONF_ERROR;
    log->file = ngx_conf_open_file(cf->cycle, &value[1]);
    log->start = ngx_pnalloc(cf->pool, size + 8 * AFPA_REQUEST_MAX); /* the longest line fits behind any other */
    if (log->file == NULL || log->start == NULL)
        return NGX_CONF_ERROR;
    log->pos = log->start;
    log->end = log->start + size + 8 * AFPA_REQUEST_MAX;
    log->timer.handler = on_timer;
    log->timer.data = log;
    log->timer.log = &cf->cycle->new_log;
    log->timer.cancelable = 1;
    *slot = log;
    return NGX_CONF_OK;
}
