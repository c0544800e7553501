/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine on any bytes, in any parts, over a transport that takes and completes as it likes.
 *
 * The first four bytes of an input choose parts and transport, the rest is what a client sends.  What has to come of it is worked
 * out from the whole: replies to the requests that have a response entry, in order, up to the first that has none, or to the last;
 * of what is not answered, exactly those bytes go to the host.  Besides, a head that the reader takes has to be one in the eyes of
 * a second reader, which is as plain as can be.
 */
#include "config.h"

#include "../conn_rig.h"
#include "fuzz.h"

#define NEED(condition)                                                                                                            \
    do {                                                                                                                           \
        if (!(condition)) {                                                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                        \
            abort();                                                                                                               \
        }                                                                                                                          \
    } while (0)

/* The rig asserts with libcheck, whose own of these only work within a test. */
void _mark_point(const char *file, int line)
{
}

void _ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expr);
    abort();
}

static rig_t rig;
static char expected[4u << 20];

/* ---- the second reader ---- */

static bool all_of(const char *at, size_t length, const char *extra)
{
    for (size_t i = 0; i < length; i++)
        if (!((at[i] >= '0' && at[i] <= '9') || ((at[i] | 0x20) >= 'a' && (at[i] | 0x20) <= 'z') ||
              (at[i] && strchr(extra, at[i]))))
            return false;
    return true;
}

static bool line_is_field(const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);

    if (!colon || colon == line || !all_of(line, (size_t)(colon - line), "!#$%&'*+-.^_`|~"))
        return false;
    for (const char *c = colon + 1; c < line + length; c++)
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

/* Whether the head is made of lines as RFC 9112 has them, with a GET or HEAD of a path, and Host once. */
static bool is_head(const char *head, size_t length)
{
    const char *end = memmem(head, length, "\r\n", 2), *space;
    unsigned hosts = 0;
    size_t line;

    NEED(end);
    line = (size_t)(end - head);
    if (line < 14 || (memcmp(end - 9, " HTTP/1.1", 9) != 0 && memcmp(end - 9, " HTTP/1.0", 9) != 0))
        return false;
    space = memchr(head, ' ', line);
    if ((memcmp(head, "GET ", 4) != 0 && memcmp(head, "HEAD ", 5) != 0) || space[1] != '/' ||
        !all_of(space + 1, (size_t)(end - 9 - space - 1), "-._~!$&'()*+,;=:@/?%"))
        return false;
    for (head = end + 2;; head = end + 2) {
        end = strstr(head, "\r\n");
        NEED(end);
        if (end == head)
            return hosts == 1;
        if (!line_is_field(head, (size_t)(end - head)))
            return false;
        hosts += strncasecmp(head, "host:", 5) == 0;
        if (strncasecmp(head, "transfer-encoding:", 18) == 0 || strncasecmp(head, "authorization:", 14) == 0 ||
            strncasecmp(head, "range:", 6) == 0 || strncasecmp(head, "upgrade:", 8) == 0 || strncasecmp(head, "expect:", 7) == 0)
            return false;
    }
}

/* ---- what should come of it ---- */

typedef struct outcome {
    size_t sent;     /* bytes in `expected` */
    size_t rest;     /* where what is not answered begins */
    bool ends, goes; /* the connection closes; goes to the host */
    bool too_much;   /* for `expected` */
} outcome_t;

/* Made once. */
static const char *payload_of(const char *name)
{
    static struct {
        char name[64], bytes[RIG_LARGE];
    } made[4];
    unsigned i = 0;

    while (strcmp(made[i].name, name) != 0) {
        if (!*made[i].name) {
            strcpy(made[i].name, name);
            for (uint64_t at = 0; at < RIG_LARGE; at++)
                made[i].bytes[at] = fixture_byte(name, 1, at);
            break;
        }
        NEED(++i < CHECK_COUNT(made));
    }
    return made[i].bytes;
}

/* One request that the reader took.  false: it has no response, or none that can be given. */
static bool should_answer(const afpa_request_t *request, outcome_t *o)
{
    afpa_response_t response;
    afpa_condition_t condition;
    afpa_validators_t validators;
    char name[64];
    uint64_t size;

    if (afpa_response_lookup(rig.f.cache, 7, request, &response) != AFPA_OK)
        return false;
    validators = afpa_response_validators(&response);
    condition = afpa_http_condition(request, &validators);
    o->too_much |= o->sent > sizeof(expected) - AFPA_RESPONSE_PRINT_MAX - RIG_LARGE;
    if (condition != AFPA_CONDITION_UNCLEAR && !o->too_much) {
        bool same = condition == AFPA_CONDITION_NOT_MODIFIED;

        o->sent += afpa_response_print(&response, same, (afpa_persistence_t){.keep_alive = request->keep_alive},
                                       "Sun, 06 Nov 1994 08:49:37 GMT", expected + o->sent);
        size = same || request->head ? 0 : afpa_ref_identity(&response.file)->size;
        rig_file_name(&response, name);
        memcpy(expected + o->sent, payload_of(name), size);
        o->sent += size;
    }
    afpa_response_release(&response);
    return condition != AFPA_CONDITION_UNCLEAR;
}

static outcome_t work_out(const char *bytes, size_t length)
{
    outcome_t o = {0};

    while (!o.ends && !o.goes && !o.too_much && o.rest < length) {
        afpa_request_t request;
        afpa_counter_t why;
        afpa_request_result_t result = afpa_request_read(bytes + o.rest, length - o.rest, &request, &why);

        if (result == AFPA_REQUEST_INCOMPLETE)
            break;
        if (result == AFPA_REQUEST_WHOLE) {
            char *head = strndup(bytes + o.rest, request.length);

            NEED(is_head(head, request.length));
            free(head);
        }
        o.goes = result == AFPA_REQUEST_DECLINED || !should_answer(&request, &o);
        if (o.goes)
            break;
        o.rest += request.length;
        o.ends = !request.keep_alive;
    }
    rig_blank_dates(expected, o.sent);
    return o;
}

/* ---- one input ---- */

static void feed(const char *bytes, size_t length, uint64_t random)
{
    for (size_t at = 0; at < length;) {
        size_t part = 1 + check_below(&random, check_below(&random, 3) ? 40 : 3000);

        part = part < length - at ? part : length - at;
        fake_conn_arrive(&rig.conn, bytes + at, part);
        at += part;
        if (check_below(&random, 2))
            fake_conn_complete(&rig.conn, 1 + check_below(&random, 5000));
        if (check_below(&random, 3) == 0)
            fake_conn_writable(&rig.conn);
    }
    rig_settle(&rig);
}

static void compare(const char *bytes, size_t length, const outcome_t *o)
{
    NEED(rig.conn.sent_length == o->sent);
    rig_blank_dates(rig.conn.sent, o->sent);
    NEED(o->sent == 0 || memcmp(rig.conn.sent, expected, o->sent) == 0);
    NEED(rig.handovers == o->goes);
    if (o->goes) {
        NEED(rig.handed_length <= length - o->rest && rig.handed_length + rig.conn.arrived_length == length - o->rest);
        NEED(memcmp(rig.handed, bytes + o->rest, rig.handed_length) == 0);
    } else if (!o->ends) {
        NEED(rig.c && rig.c->in_length == length - o->rest);
    } else {
        NEED(rig.closes == 1 || (rig.conn.released && o->rest < length));
    }
}

static void end(void)
{
    static unsigned inputs;

    if (rig.c)
        fake_conn_reset(&rig.conn);
    rig_settle(&rig);
    NEED(afpa_engine_conns(rig.engine) == 0);
    if (++inputs % 16 == 0) /* it takes its time, and what is left stays left */
        NEED(fixture_pins(&rig.f) == 0);
    rig_again(&rig);
}

static void at_exit(void)
{
    rig.closes = 1;
    rig_end(&rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t choice;
    outcome_t o;

    if (!rig.engine) {
        rig_begin(&rig);
        atexit(at_exit);
    }
    if (size < sizeof(choice) || size > 20000)
        return 0;
    memcpy(&choice, data, sizeof(choice));
    data += sizeof(choice);
    size -= sizeof(choice);
    o = work_out((const char *)data, size);
    if (o.too_much)
        return 0;
    rig.conn.accept = choice & 1 ? SIZE_MAX : 64 + (choice >> 8 & 0xfff);
    rig.conn.block = choice & 2 ? 0 : 2 + (choice >> 2 & 3);
    rig.conn.late = choice & 16;
    rig_start(&rig);
    feed((const char *)data, size, choice | 1);
    compare((const char *)data, size, &o);
    end();
    return 0;
}
