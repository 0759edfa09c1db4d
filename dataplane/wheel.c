/* wheel.c - see wheel.h. */
#include "dataplane/wheel.h"

#include <string.h>

void wheel_init(struct wheel *w, uint64_t now_us, void (*wake)(void *arg, uint64_t due_us), void *arg)
{
    memset(w, 0, sizeof(*w));
    w->tick = now_us / WHEEL_TICK_US;
    w->wake = wake;
    w->arg = arg;
}

void timer_unlink(struct timer *t)
{
    if (!t->prev)
        return;
    *t->prev = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->prev = NULL;
}

static void ask(struct wheel *w, uint64_t due_us)
{
    if (w->wake_us && w->wake_us <= due_us)
        return;
    w->wake_us = due_us;
    w->wake(w->arg, due_us);
}

void timer_place(struct wheel *w, struct timer *t)
{
    uint64_t tick = t->due_us / WHEEL_TICK_US + 1; /* the slot after: never early */
    unsigned slot;

    timer_unlink(t);
    if (tick <= w->tick)
        tick = w->tick + 1;
    if (tick >= w->tick + WHEEL_SLOTS)
        tick = w->tick + WHEEL_SLOTS - 1;
    slot = (unsigned)(tick % WHEEL_SLOTS);
    t->slot_tick = tick;
    t->prev = &w->slots[slot];
    t->next = w->slots[slot];
    if (t->next)
        t->next->prev = &t->next;
    w->slots[slot] = t;
    w->used[slot / 64] |= 1ull << slot % 64;
    ask(w, tick * WHEEL_TICK_US);
}

static void visit(struct wheel *w, unsigned slot, uint64_t now_us)
{
    struct timer *t, *todo = w->slots[slot];

    w->slots[slot] = NULL;
    w->used[slot / 64] &= ~(1ull << slot % 64);
    if (todo)
        todo->prev = &todo;
    /* taken off one by one: a callback may unlink any other */
    while ((t = todo)) {
        timer_unlink(t);
        if (t->due_us == 0)
            continue;
        if (t->due_us > now_us) {
            timer_place(w, t);
            continue;
        }
        t->due_us = 0;
        t->fn(t);
    }
}

void wheel_turn(struct wheel *w, uint64_t now_us)
{
    uint64_t last = now_us / WHEEL_TICK_US;

    w->wake_us = 0;
    if (last > w->tick + WHEEL_SLOTS)
        w->tick = last - WHEEL_SLOTS; /* slept long: every slot once is enough */
    while (w->tick < last) {
        w->tick++;
        if (w->used[w->tick % WHEEL_SLOTS / 64] >> w->tick % 64 & 1)
            visit(w, (unsigned)(w->tick % WHEEL_SLOTS), now_us);
    }
    for (uint64_t i = 1; i < WHEEL_SLOTS; i++) {
        unsigned slot = (unsigned)((w->tick + i) % WHEEL_SLOTS);
        if (w->used[slot / 64] == 0) {
            i += 63 - slot % 64;
            continue;
        }
        if (w->used[slot / 64] >> slot % 64 & 1) {
            ask(w, (w->tick + i) * WHEEL_TICK_US);
            return;
        }
    }
}
