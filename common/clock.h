/*
 * clock.h - the two times. mono_us for deadlines and durations, wall_us for people and
 * calendars; never compare one with the other. Tests may set both.
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include "common/base.h"

uint64_t clock_mono_us(void); /* since some point in the past, never goes back */
uint64_t clock_wall_us(void); /* since 1970-01-01 UTC */

/* From now on both clocks stand still at these values, for every thread; 0, 0 ends it. */
void clock_fake(uint64_t mono_us, uint64_t wall_us);

#endif
