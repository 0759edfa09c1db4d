/*
 * wheel.h - a worker's timers: coarse (10 ms), cheap to move.
 *
 * Moving a deadline later, or clearing it, writes one number; the wheel finds out when it
 * passes the old slot. So a request that starts, feeds and stops a timer costs no list
 * operation, no heap and no system call. One libevent timer per worker drives all of them and
 * is armed only while something is. Threads: the worker's own.
 */
#ifndef DATAPLANE_WHEEL_H
#define DATAPLANE_WHEEL_H

#include "common/base.h"

#define WHEEL_TICK_US 10000u
#define WHEEL_SLOTS   512u /* 5.12 s; what is due later passes by several times */

struct wheel;

struct timer {
    struct timer *next, **prev;  /* prev NULL: in no slot */
    uint64_t due_us;             /* mono_us; 0: cleared */
    uint64_t slot_tick;          /* of the slot it is in */
    void (*fn)(struct timer *t); /* may set t again, or free what t is in */
};

struct wheel {
    struct timer *slots[WHEEL_SLOTS];
    uint64_t used[WHEEL_SLOTS / 64];
    uint64_t tick;                         /* all slots before it have been visited */
    uint64_t wake_us;                      /* when wake was last asked for; 0: not */
    void (*wake)(void *arg, uint64_t due_us); /* call wheel_turn at due_us */
    void *arg;
};

void wheel_init(struct wheel *w, uint64_t now_us, void (*wake)(void *arg, uint64_t due_us), void *arg);

/* Calls everything that is due and asks for the next wake-up. */
void wheel_turn(struct wheel *w, uint64_t now_us);

void timer_place(struct wheel *w, struct timer *t);

/* fn is set once by the owner; due_us is never early, and late by a tick at most. */
static inline void timer_set(struct wheel *w, struct timer *t, uint64_t due_us)
{
    t->due_us = due_us;
    if (unlikely(!t->prev || due_us < t->slot_tick * WHEEL_TICK_US))
        timer_place(w, t);
}

static inline void timer_clear(struct timer *t)
{
    t->due_us = 0;
}

/* Before the memory around t goes away. */
void timer_unlink(struct timer *t);

#endif
