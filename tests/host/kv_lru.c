// SPDX-License-Identifier: MIT
/*
 * Eviction against a naive reference: with one user the cache must behave as an
 * exact leaf-first LRU, hit for hit and block for block, for any trace and
 * capacity, also while some blocks are pinned.
 */
#include <math.h>

#include "kv_common.h"

#define STEPS 6000
#define BLOCK 64
#define NODES 4096		/* of the tree of prefixes that traces draw from */
#define DEPTH_MAX 24
#define PINS_MAX 3
#define PIN_STEPS 40		/* how long some chains stay pinned */

/* The reference: who is cached, when each was used, in the plainest way. */
struct node {
	int parent;
	int children;		/* cached ones */
	bool cached;
	int pins;
	uint64_t used;
};

struct reference {
	struct node nodes[NODES];
	uint64_t clock;
	unsigned int count, capacity;
	uint64_t evicted;
};

struct chain {
	int nodes[DEPTH_MAX];
	struct accel_kv_key keys[DEPTH_MAX];
	int length;
};

struct held {
	struct accel_kv_pin pins[DEPTH_MAX];
	int nodes[DEPTH_MAX];
	size_t count;
};

static uint64_t seed;

/* Node numbers by Zipf's law, about. */
static int draw_zipf(void)
{
	double u = (draw(&seed, 1 << 24) + 1) / (double)(1 << 24);
	int node = pow(NODES, u) - 1;

	return node < NODES ? node : NODES - 1;
}

static void plant(struct reference *ref, unsigned int capacity)
{
	memset(ref, 0, sizeof(*ref));
	ref->capacity = capacity;
	for (int i = 0; i < NODES; i++)
		ref->nodes[i].parent = i < 8 ? -1 : (int)draw(&seed, i);
}

/* The chain that ends in a node: from its root on. */
static void chain_to(const struct reference *ref, int node, struct chain *chain)
{
	int length = 0, at;

	for (at = node; at >= 0; at = ref->nodes[at].parent)
		length++;
	chain->length = length < DEPTH_MAX ? length : DEPTH_MAX;
	for (at = node; at >= 0; at = ref->nodes[at].parent) {
		if (--length < DEPTH_MAX) {
			chain->nodes[length] = at;
			chain->keys[length] = key_of(at);
		}
	}
}

static int ref_match(struct reference *ref, const struct chain *chain)
{
	int i;

	ref->clock++;
	for (i = 0; i < chain->length && ref->nodes[chain->nodes[i]].cached; i++)
		ref->nodes[chain->nodes[i]].used = ref->clock;
	return i;
}

static bool ref_evict(struct reference *ref, int spare)
{
	int victim = -1;

	for (int i = 0; i < NODES; i++) {
		const struct node *node = &ref->nodes[i];

		if (node->cached && !node->children && !node->pins && i != spare &&
		    (victim < 0 || node->used < ref->nodes[victim].used))
			victim = i;
	}
	if (victim < 0)
		return false;
	ref->nodes[victim].cached = false;
	if (ref->nodes[victim].parent >= 0)
		ref->nodes[ref->nodes[victim].parent].children--;
	ref->count--;
	ref->evicted++;
	return true;
}

static int ref_put(struct reference *ref, int at)
{
	struct node *node = &ref->nodes[at];

	if (ref->count == ref->capacity && !ref_evict(ref, node->parent))
		return -ENOSPC;
	node->cached = true;
	node->used = ++ref->clock;
	if (node->parent >= 0)
		ref->nodes[node->parent].children++;
	ref->count++;
	return 0;
}

static void compare(struct accel_kv *kv, const struct reference *ref)
{
	struct accel_kv_stats stats = kv_stats(kv);

	must(stats.cached == ref->count);
	must(stats.evicted == ref->evicted);
	for (int i = 0; i < NODES; i++) {
		struct accel_kv_slot slot;
		struct accel_kv_key key = key_of(i), none = key_of(NODES);
		/* Asks without counting as a use: what is cached cannot be reserved. */
		int err = accel_kv_reserve(kv, &key, &none, &slot);

		must(err == (ref->nodes[i].cached ? -EEXIST : -ENOENT));
	}
}

static void let_go(struct accel_kv *kv, struct reference *ref, struct held *held)
{
	for (size_t i = 0; i < held->count; i++) {
		must_ok(accel_kv_release(kv, &held->pins[i]));
		ref->nodes[held->nodes[i]].pins--;
	}
	held->count = 0;
}

static void hold(struct accel_kv *kv, struct reference *ref, const struct chain *chain,
		 struct held *held)
{
	int matched = ref_match(ref, chain);

	must_ok(accel_kv_match(kv, chain->keys, chain->length, held->pins, &held->count));
	must((int)held->count == matched);
	for (int i = 0; i < matched; i++) {
		held->nodes[i] = chain->nodes[i];
		ref->nodes[chain->nodes[i]].pins++;
	}
}

/* A prefill: match the prefix, write the rest; both sides in step. */
static void prefill(struct accel_kv *kv, struct reference *ref, const struct chain *chain)
{
	int ours = ref_match(ref, chain);
	size_t matched;

	must_ok(accel_kv_match(kv, chain->keys, chain->length, NULL, &matched));
	must((int)matched == ours);
	for (int i = ours; i < chain->length; i++) {
		int err = ref_put(ref, chain->nodes[i]);

		must(kv_put(kv, &chain->keys[i], i ? &chain->keys[i - 1] : NULL) == err);
		if (err)
			break;
	}
}

static void get_one(struct accel_kv *kv, struct reference *ref, int at)
{
	struct accel_kv_key key = key_of(at);
	struct accel_kv_pin pin;
	int err = accel_kv_get(kv, &key, LONG_LEASE_NS, &pin);

	ref->clock++;
	must(err == (ref->nodes[at].cached ? 0 : -ENOENT));
	if (err)
		return;
	ref->nodes[at].used = ref->clock;
	must(holds(pin.data, &key, BLOCK));
	must_ok(accel_kv_release(kv, &pin));
}

static void run(struct accel_dev *dev, unsigned int capacity, bool zipf, bool pinning)
{
	static struct reference ref;
	struct held held[PINS_MAX] = { 0 };
	struct accel_kv *kv;
	unsigned int steps = scaled(STEPS);

	seed = capacity * 4 + zipf * 2 + pinning;
	plant(&ref, capacity);
	kv = kv_make(dev, BLOCK, capacity, 0, LONG_LEASE_NS);
	for (unsigned int step = 0; step < steps; step++) {
		struct chain chain;
		int node = zipf ? draw_zipf() : (int)draw(&seed, NODES);

		chain_to(&ref, node, &chain);
		if (draw(&seed, 4))
			prefill(kv, &ref, &chain);
		else
			get_one(kv, &ref, node);
		if (pinning && step % (PIN_STEPS / PINS_MAX) == 0) {
			struct held *next = &held[step / (PIN_STEPS / PINS_MAX) % PINS_MAX];

			let_go(kv, &ref, next);
			hold(kv, &ref, &chain, next);
		}
		if (step % 512 == 0)
			compare(kv, &ref);
	}
	for (int i = 0; i < PINS_MAX; i++)
		let_go(kv, &ref, &held[i]);
	compare(kv, &ref);
	must(kv_sound(kv).cached == ref.count);
	accel_kv_close(kv);
}

static void sweep(bool zipf, bool pinning)
{
	static const unsigned int capacities[] = { 1, 2, 3, 5, 8, 16, 33, 100, 300, 1000, 4096 };
	struct accel_dev *dev = dev_open();

	for (size_t i = 0; i < ARRAY_LEN(capacities); i++)
		run(dev, capacities[i], zipf, pinning);
	accel_close(dev);
}

TEST(uniform)
{
	sweep(false, false);
}

TEST(zipf)
{
	sweep(true, false);
}

TEST(uniform_with_pins)
{
	sweep(false, true);
}

TEST(zipf_with_pins)
{
	sweep(true, true);
}

TEST_HARNESS_MAIN
