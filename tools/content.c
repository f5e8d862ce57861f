// SPDX-License-Identifier: MIT
/*
 * Word i of a block is a bijective mix of (key.lo + i * STEP) by key.hi: words of
 * one block all differ, and two blocks share a word only by chance. Only adds,
 * shifts and xors, which every vector unit has for 64-bit lanes.
 */
#include <string.h>

#include "content.h"

#define STEP 0x9e3779b97f4a7c15ULL	/* odd, so that i * STEP meets no value twice */

typedef uint64_t pair __attribute__((vector_size(16)));

static inline pair load(const unsigned char *from)
{
	pair value;

	memcpy(&value, from, sizeof(value));
	return value;
}

static inline pair mix(pair value, pair high)
{
	value ^= value >> 29;
	value += high;
	return value ^ value << 17;
}

void content_fill(void *block, size_t bytes, const struct accel_kv_key *key)
{
	const pair high = { key->hi, key->hi }, two = { 2 * STEP, 2 * STEP };
	pair at = { key->lo, key->lo + STEP };
	unsigned char *to = block, *end = to + bytes;

	for (; to < end; to += CONTENT_ROW) {
		pair row[4];
		int i;

		for (i = 0; i < 4; i++, at += two)
			row[i] = mix(at, high);
		memcpy(to, row, sizeof(row));
	}
}

bool content_right(const void *block, size_t bytes, const struct accel_kv_key *key)
{
	const pair high = { key->hi, key->hi }, two = { 2 * STEP, 2 * STEP };
	pair at = { key->lo, key->lo + STEP }, wrong = { 0, 0 };
	const unsigned char *from = block, *end = from + bytes;

	for (; from < end; from += CONTENT_ROW) {
		int i;

		for (i = 0; i < 4; i++, at += two)
			wrong |= load(from + 16 * i) ^ mix(at, high);
	}
	return !(wrong[0] | wrong[1]);
}
