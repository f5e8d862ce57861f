/* SPDX-License-Identifier: MIT */
/* Time: nanoseconds of CLOCK_MONOTONIC, saturating at ACCEL_WAIT_FOREVER. */
#ifndef LIBACCEL_CLOCK_H
#define LIBACCEL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC	1000000000ll
#define NSEC_PER_MSEC	1000000ll

static inline int64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* Absolute end of a wait that begins now. */
static inline int64_t clock_deadline(int64_t timeout_ns)
{
	int64_t now;

	if (timeout_ns <= 0)
		return 0;
	now = clock_now();
	return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

static inline struct timespec clock_timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };
}

#endif
