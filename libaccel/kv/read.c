// SPDX-License-Identifier: MIT
/*
 * Reading: match, get, release, verify, copy. No lock is taken.
 *
 * A pin is one compare and swap of the block's pin word, after which its state
 * is looked at again: if that is still what the lookup saw, the block cannot be
 * taken before the pin's end. If not, the pin is undone and the lookup starts
 * over.
 */
#include <accel/queue.h>

#include "internal.h"

/* Keys whose buckets, and then blocks, are on their way to the CPU's cache. */
#define AHEAD 16
/* Lookups that find a block in the middle of being replaced, before it counts as a miss. */
#define TRIES 8

struct use {
	uint64_t now;
	uint64_t stamp;
	uint64_t lease_end;
};

static void use_begin(struct accel_kv *kv, struct use *use, uint64_t lease_ns)
{
	use->now = kv_now();
	use->stamp = kv_tick(kv);
	use->lease_end = use->now + (lease_ns ? lease_ns : kv->shape.lease_ns);
}

static int pin_add(struct accel_kv *kv, uint32_t block, const struct use *use, uint32_t *epoch)
{
	uint64_t *pin = &kv->metas[block].pin, word, next;
	uint64_t lease_ms = use->lease_end / KV_NS_PER_MS + 1, last;
	uint32_t count;

	do {
		word = ld(pin);
		count = kv_pin_count(word);
		last = kv_pin_lease_ms(word);
		if (count == KV_PIN_CLOSED)
			return -EAGAIN;
		if (count && !kv_pin_runs(word, use->now)) {
			next = kv_pin_word(kv_pin_next_epoch(word), 1, lease_ms);
			continue;
		}
		if (count == KV_PIN_CLOSED - 1)
			return -EUSERS;
		next = kv_pin_word(kv_pin_epoch(word), count + 1,
				   count && last > lease_ms ? last : lease_ms);
	} while (!cas(pin, word, next));
	*epoch = kv_pin_epoch(next);
	if (*epoch != kv_pin_epoch(word))
		bump(&kv->sessions[kv->session].expired, count);
	return 0;
}

static bool pin_drop(struct accel_kv *kv, uint32_t block, uint32_t epoch)
{
	uint64_t *pin = &kv->metas[block].pin, word, next;
	uint32_t count;

	do {
		word = ld(pin);
		count = kv_pin_count(word);
		if (!count || count == KV_PIN_CLOSED || kv_pin_epoch(word) != epoch)
			return false;
		next = kv_pin_word(epoch, count - 1, count == 1 ? 0 : kv_pin_lease_ms(word));
	} while (!cas(pin, word, next));
	return true;
}

static int pin_block(struct accel_kv *kv, uint32_t block, uint64_t state, const struct use *use,
		     struct accel_kv_pin *pin)
{
	uint32_t epoch;
	int err;

	err = pin_add(kv, block, use, &epoch);
	if (err)
		return err;
	if (ld(&kv->metas[block].state) != state) {
		pin_drop(kv, block, epoch);
		return -EAGAIN;
	}
	*pin = (struct accel_kv_pin){
		.data = kv_block_data(kv, block), .lease_end = use->lease_end,
		.generation = kv_generation(state), .block = block, .epoch = epoch,
	};
	return 0;
}

/* Find a key, with a guess at its block, and use it; @pin may be NULL. */
static int use_key(struct accel_kv *kv, const struct accel_kv_key *key, uint64_t hash,
		   uint32_t guess, const struct use *use, struct accel_kv_pin *pin)
{
	for (int i = 0; i < TRIES; i++) {
		uint64_t state;
		uint32_t block = guess;
		int err = 0;

		if (i || guess == KV_NIL || !kv_block_holds(kv, guess, key, &state))
			block = kv_index_find(kv, hash, key, &state);
		if (block == KV_NIL)
			return -ENOENT;
		if (pin)
			err = pin_block(kv, block, state, use, pin);
		if (err == -EAGAIN)
			continue;
		if (!err)
			kv_touch(kv, block, use->stamp);
		return err;
	}
	return -ENOENT;
}

static size_t hash_ahead(const struct accel_kv *kv, const struct accel_kv_key *keys, size_t left,
			 uint64_t *hashes)
{
	size_t n = left < AHEAD ? left : AHEAD;

	for (size_t i = 0; i < n; i++) {
		hashes[i] = kv_hash(&keys[i]);
		kv_index_prefetch(kv, hashes[i]);
	}
	return n;
}

static void guess_ahead(const struct accel_kv *kv, const uint64_t *hashes, size_t n,
			uint32_t *guesses)
{
	for (size_t i = 0; i < n; i++) {
		guesses[i] = kv_index_candidate(kv, hashes[i]);
		if (guesses[i] != KV_NIL)
			__builtin_prefetch(&kv->metas[guesses[i]], 1);
	}
}

int accel_kv_match(struct accel_kv *kv, const struct accel_kv_key *keys, size_t count,
		   struct accel_kv_pin *pins, size_t *matched)
{
	struct kv_session *me = &kv->sessions[kv->session];
	uint64_t hashes[2][AHEAD];
	uint32_t guesses[AHEAD];
	struct use use;
	size_t done = 0, n, turn = 0;

	if (!matched || (count && !keys))
		return -EINVAL;
	use_begin(kv, &use, 0);
	n = hash_ahead(kv, keys, count, hashes[0]);
	while (n) {
		size_t next = hash_ahead(kv, keys + done + n, count - done - n, hashes[!turn]);
		size_t end = done + n;

		guess_ahead(kv, hashes[turn], n, guesses);
		for (size_t i = 0; i < n; i++, done++) {
			if (use_key(kv, &keys[done], hashes[turn][i], guesses[i], &use,
				    pins ? &pins[done] : NULL))
				break;
		}
		if (done < end)
			break;
		n = next;
		turn = !turn;
	}
	bump(&me->hits, done);
	if (done < count)
		bump(&me->misses, 1);
	*matched = done;
	return 0;
}

int accel_kv_get(struct accel_kv *kv, const struct accel_kv_key *key, uint64_t lease_ns,
		 struct accel_kv_pin *pin)
{
	struct kv_session *me = &kv->sessions[kv->session];
	struct use use;
	uint64_t hash;
	int err;

	if (!key || !pin || lease_ns > KV_LEASE_MAX_NS)
		return -EINVAL;
	hash = kv_hash(key);
	kv_index_prefetch(kv, hash);
	use_begin(kv, &use, lease_ns);
	err = use_key(kv, key, hash, KV_NIL, &use, pin);
	bump(err ? &me->misses : &me->hits, 1);
	return err;
}

static bool pin_sane(const struct accel_kv *kv, const struct accel_kv_pin *pin)
{
	return pin && pin->data && pin->block < kv->shape.capacity;
}

/* Whether all that was read so far was read under the lease. */
static bool pin_held(const struct accel_kv *kv, const struct accel_kv_pin *pin)
{
	const struct kv_meta *meta = &kv->metas[pin->block];

	/* The caller's reads of the block come first, then the clock. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return kv_now() <= pin->lease_end &&
	       kv_generation(ld(&meta->state)) == pin->generation &&
	       kv_pin_epoch(ld(&meta->pin)) == pin->epoch;
}

int accel_kv_release(struct accel_kv *kv, struct accel_kv_pin *pin)
{
	bool held, dropped;

	if (!pin_sane(kv, pin))
		return -EINVAL;
	held = pin_held(kv, pin);
	dropped = pin_drop(kv, pin->block, pin->epoch);
	pin->data = NULL;
	if (held && dropped)
		return 0;
	if (dropped)
		bump(&kv->sessions[kv->session].expired, 1);
	return -ESTALE;
}

int accel_kv_verify(struct accel_kv *kv, const struct accel_kv_pin *pin)
{
	uint64_t sum;
	bool good;

	if (!pin_sane(kv, pin))
		return -EINVAL;
	if (!(kv->shape.flags & ACCEL_KV_CHECKSUM))
		return -EOPNOTSUPP;
	sum = kv_checksum(kv, kv_block_data(kv, pin->block));
	good = sum == ld(&kv->metas[pin->block].checksum);
	if (!pin_held(kv, pin))
		return -ESTALE;
	return good ? 0 : -EBADMSG;
}

int accel_kv_copy(struct accel_kv *kv, const struct accel_kv_key *key, void *dst)
{
	struct accel_kv_pin pin;
	uint64_t sum = 0;
	int err;

	if (!dst)
		return -EINVAL;
	err = accel_kv_get(kv, key, 0, &pin);
	if (err)
		return err;
	accel_memcpy(dst, pin.data, kv->shape.block_bytes, ACCEL_COPY_WILL_READ);
	if (kv->shape.flags & ACCEL_KV_CHECKSUM)
		sum = ld(&kv->metas[pin.block].checksum);
	err = accel_kv_release(kv, &pin);
	if (err)
		return err;
	if (kv->shape.flags & ACCEL_KV_CHECKSUM && kv_checksum(kv, dst) != sum)
		return -EBADMSG;
	return 0;
}
