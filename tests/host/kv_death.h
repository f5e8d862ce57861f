/* SPDX-License-Identifier: MIT */
/*
 * Processes that are made to be killed, and what must be true of a namespace
 * when they are dead.
 */
#ifndef TESTS_KV_DEATH_H
#define TESTS_KV_DEATH_H

#include "kv_common.h"

#define DEATH_LEASE_NS 30000000ull

static inline int check_entry(const struct accel_kv_entry *entry, void *arg)
{
	struct accel_kv *kv = arg;
	struct accel_kv_pin pin;

	must_ok(accel_kv_get(kv, &entry->key, LONG_LEASE_NS, &pin));
	must(holds(pin.data, &entry->key, kv_block_bytes(kv)));
	must_ok(accel_kv_release(kv, &pin));
	return 0;
}

static inline bool settled(struct accel_kv *kv)
{
	struct accel_kv_audit audit = kv_sound(kv);

	return !audit.reserved && !audit.awaiting && !audit.pins;
}

/* Nobody else lives any more: all that the dead held comes back, and every block can be used. */
static inline void check_aftermath(struct accel_kv *kv)
{
	struct accel_kv_config config;

	accel_kv_config(kv, &config);
	must(eventually(kv_stats(kv).sessions == 1));
	must(eventually(settled(kv)));
	must_ok(accel_kv_iterate(kv, check_entry, kv));
	for (uint64_t i = 0; i < config.capacity; i++) {
		struct accel_kv_key key = key_of(1000000 + i);

		must_ok(kv_put(kv, &key, NULL));
	}
	must(kv_sound(kv).cached == config.capacity);
	must_ok(accel_kv_iterate(kv, check_entry, kv));
}

#endif
