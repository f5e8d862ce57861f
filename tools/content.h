/* SPDX-License-Identifier: MIT */
/*
 * What a replayed block holds: a function of its key alone, so that any reader
 * can tell a right byte from a wrong one, and fast enough not to be what a
 * replay measures.
 */
#ifndef CONTENT_H
#define CONTENT_H

#include <stdbool.h>
#include <stddef.h>

#include <accel/kv.h>

/** CONTENT_ROW - @bytes is a multiple of it */
#define CONTENT_ROW 64

void content_fill(void *block, size_t bytes, const struct accel_kv_key *key);

/** content_right() - whether every byte of a block is what content_fill() wrote */
bool content_right(const void *block, size_t bytes, const struct accel_kv_key *key);

#endif
