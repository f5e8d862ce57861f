/* SPDX-License-Identifier: MIT */
/* The copy routines under accel_memcpy(), for providers that cut copies up. */
#ifndef LIBACCEL_MEMCPY_H
#define LIBACCEL_MEMCPY_H

#include <stdbool.h>

#include <accel/queue.h>

/* Smallest copy for which bypassing the cache wins when both sides are cold. */
#define COPY_STREAM_MIN (32u << 10)
/* Smallest copy that no cache keeps until it is read, wish as one may. */
#define COPY_CACHE_MAX (16u << 20)
/* From here on the C library's memcpy() may leave the CPU's own copy for a slower loop. */
#define COPY_MOVSB_MIN (512u << 10)

bool copy_should_stream(size_t size, uint32_t flags);
void copy_stream(void *dst, const void *src, size_t size);
void copy_cached(void *dst, const void *src, size_t size);

#endif
