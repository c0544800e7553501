/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine, around its connections: what is recycled, timers, the date.
 *
 * Records come in slabs and are never given back while the engine lives, so a connection costs no allocation once there were as
 * many.  Buffers and send machines belong to connections only while they have output; idle ones have none.
 *
 * Timers: a wheel of AFPA__WHEEL slots of AFPA_ENGINE_TICK_MS.  A deadline that is moved back, which is what happens with every
 * request, is only noted; the connection stays in its slot, and when that comes up it is put where it belongs by then.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "assert.h"
#include "clock.h"
#include "engine.h"

#define SLAB 64u
#define SPARE 16u /* buffers and machines kept for the next connection that needs one */

struct slab {
    struct slab *next;
    afpa_conn_t conns[SLAB];
};

/* ---- records ---- */

static bool slab_add(afpa_engine_t *engine)
{
    struct slab *slab = calloc(1, sizeof(*slab));

    if (!slab)
        return false;
    slab->next = engine->slabs;
    engine->slabs = slab;
    for (unsigned i = 0; i < SLAB; i++) {
        slab->conns[i].timer.next = engine->free_conns;
        engine->free_conns = &slab->conns[i];
    }
    return true;
}

afpa_conn_t *afpa__engine_conn(afpa_engine_t *engine)
{
    afpa_conn_t *conn;

    if (engine->conns >= engine->setup.connections || (!engine->free_conns && !slab_add(engine)))
        return NULL;
    conn = engine->free_conns;
    engine->free_conns = conn->timer.next;
    engine->conns++;
    memset(conn, 0, sizeof(*conn));
    conn->engine = engine;
    conn->timer.slot = AFPA__WHEEL;
    return conn;
}

void afpa__engine_conn_free(afpa_conn_t *conn)
{
    afpa_engine_t *engine = conn->engine;

    afpa__timer_clear(conn);
    conn->timer.next = engine->free_conns;
    engine->free_conns = conn;
    engine->conns--;
}

unsigned afpa_engine_conns(const afpa_engine_t *engine)
{
    return engine->conns;
}

/* ---- buffers and send machines ---- */

afpa__out_t *afpa__engine_out(afpa_engine_t *engine)
{
    afpa__out_t *out = engine->free_outs;

    if (out) {
        engine->free_outs = out->next;
        engine->outs--;
    } else {
        out = malloc(sizeof(*out));
    }
    if (out)
        out->payload.cache = NULL;
    return out;
}

void afpa__engine_out_free(afpa_engine_t *engine, afpa__out_t *out)
{
    if (engine->outs >= SPARE) {
        free(out);
        return;
    }
    out->next = engine->free_outs;
    engine->free_outs = out;
    engine->outs++;
}

afpa_send_t *afpa__engine_send(afpa_engine_t *engine)
{
    return engine->sends > 0 ? engine->free_sends[--engine->sends] : malloc(sizeof(afpa_send_t));
}

void afpa__engine_send_free(afpa_engine_t *engine, afpa_send_t *send)
{
    if (engine->sends < SPARE)
        engine->free_sends[engine->sends++] = send;
    else
        free(send);
}

/* ---- time ---- */

uint64_t afpa_engine_now(void)
{
    return afpa__now_ms();
}

const char *afpa__engine_date(afpa_engine_t *engine)
{
    struct timespec now;

    if (engine->dated == engine->now)
        return engine->date;
    engine->dated = engine->now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != engine->second) {
        engine->second = now.tv_sec;
        afpa_http_date_print(now.tv_sec, engine->date);
    }
    return engine->date;
}

static void wheel_remove(afpa_conn_t *conn)
{
    afpa__timer_t *t = &conn->timer;

    if (t->slot == AFPA__WHEEL)
        return;
    if (t->next)
        t->next->timer.previous = t->previous;
    if (t->previous)
        t->previous->timer.next = t->next;
    else
        conn->engine->wheel[t->slot] = t->next;
    t->slot = AFPA__WHEEL;
}

/* Into the slot of its deadline, or the last one of this turn. */
static void wheel_add(afpa_conn_t *conn)
{
    afpa_engine_t *engine = conn->engine;
    afpa__timer_t *t = &conn->timer;
    uint64_t ticks = t->deadline > engine->turned ? (t->deadline - engine->turned) / AFPA_ENGINE_TICK_MS : 0;

    if (ticks > AFPA__WHEEL - 2)
        ticks = AFPA__WHEEL - 2; /* the one behind is being emptied */
    t->slot = (uint32_t)((engine->turned / AFPA_ENGINE_TICK_MS + ticks) % AFPA__WHEEL);
    t->previous = NULL;
    t->next = engine->wheel[t->slot];
    if (t->next)
        t->next->timer.previous = conn;
    engine->wheel[t->slot] = conn;
}

void afpa__timer_set(afpa_conn_t *conn, uint32_t ms)
{
    uint64_t deadline = conn->engine->now + ms;
    bool sooner = conn->timer.slot == AFPA__WHEEL || deadline < conn->timer.deadline;

    conn->timer.deadline = deadline;
    if (!sooner)
        return;
    wheel_remove(conn);
    wheel_add(conn);
}

void afpa__timer_clear(afpa_conn_t *conn)
{
    wheel_remove(conn);
    conn->timer.deadline = 0;
}

/* One slot, which is behind us: what is not over yet never comes back into it. */
static void slot_fire(afpa_engine_t *engine, uint32_t slot, uint64_t now)
{
    afpa_conn_t *conn;

    while ((conn = engine->wheel[slot]) != NULL) {
        wheel_remove(conn);
        if (conn->timer.deadline <= now)
            afpa__conn_timeout(conn);
        else
            wheel_add(conn);
    }
}

void afpa_engine_tick(afpa_engine_t *engine)
{
    uint64_t now = engine->now = afpa__now_ms(), first = engine->turned / AFPA_ENGINE_TICK_MS, last = now / AFPA_ENGINE_TICK_MS;

    if (last - first > AFPA__WHEEL) /* nobody ticked while there was no connection */
        first = last - AFPA__WHEEL;
    for (; first < last; first++) {
        engine->turned = (first + 1) * AFPA_ENGINE_TICK_MS; /* what is put back goes behind this slot */
        slot_fire(engine, (uint32_t)(first % AFPA__WHEEL), now);
    }
}

/* ---- the whole ---- */

afpa_engine_t *afpa_engine_create(const afpa_engine_setup_t *setup)
{
    afpa_engine_t *engine = calloc(1, sizeof(*engine));

    if (!engine)
        return NULL;
    engine->setup = *setup;
    engine->turned = afpa__now_ms() / AFPA_ENGINE_TICK_MS * AFPA_ENGINE_TICK_MS;
    engine->second = -1;
    engine->now = afpa__now_ms();
    engine->dated = UINT64_MAX;
    engine->free_sends = calloc(SPARE, sizeof(afpa_send_t *));
    if (!engine->free_sends) {
        free(engine);
        return NULL;
    }
    return engine;
}

void afpa_engine_destroy(afpa_engine_t **out)
{
    afpa_engine_t *engine = *out;

    *out = NULL;
    if (!engine)
        return;
    afpa__assert(engine->conns == 0);
    for (afpa__out_t *next, *at = engine->free_outs; at; at = next) {
        next = at->next;
        free(at);
    }
    while (engine->sends > 0)
        free(engine->free_sends[--engine->sends]);
    free(engine->free_sends);
    for (struct slab *next, *at = engine->slabs; at; at = next) {
        next = at->next;
        free(at);
    }
    free(engine);
}
