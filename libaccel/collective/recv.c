// SPDX-License-Identifier: MIT
/*
 * The receiving half of a dispatch. The headers of all sources give every row its
 * place; then rows are taken out of the room round by round, each read once and
 * stored to all its places. Whatever a source says is read once and checked: a row
 * lies in the room, its slot and k exist, its tokens ascend, and there are as many
 * as were announced.
 */
#include <stdlib.h>

#include "plan.h"
#include "recv.h"
#include "simd.h"

/* Output memory grows by a quarter more than is needed, as every call needs a bit more or less. */
#define SPARE_PART 4

/* A flag has no room for more. */
#define MAX_ROUND (UINT16_MAX - 1)

static void output_close(struct accel_ep *ep, struct ep_recv *recv)
{
	if (!recv->buffer)
		return;
	accel_buffer_unmap(ep_dev(ep), recv->map, recv->bytes);
	accel_buffer_close(recv->buffer);
	recv->buffer = NULL;
	recv->bytes = 0;
}

void ep_recv_free(struct accel_ep *ep, struct ep_recv *recv)
{
	if (!recv)
		return;
	output_close(ep, recv);
	free(recv->at);
	free(recv->scales);
	free(recv->origins);
	free(recv->homes);
	free(recv->counts);
	free(recv->next);
	free(recv->end);
	free(recv->sources);
	free(recv);
}

uint64_t ep_output_bytes(const struct accel_ep *ep)
{
	uint64_t bytes = 0;

	for (uint32_t lane = 0; lane < ACCEL_EP_LANES; lane++)
		bytes += ep->lanes[lane].recv ? ep->lanes[lane].recv->bytes : 0;
	return bytes;
}

static int output_create(struct accel_ep *ep, struct ep_recv *recv, uint64_t bytes)
{
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &ep->npu, 0 };
	struct accel_pool_info info;
	void *map;
	int ret;

	ret = accel_pool_info(ep_dev(ep), &info);
	if (ret)
		return ret;
	bytes = (bytes + info.min_alloc - 1) & ~(info.min_alloc - 1);
	ret = accel_buffer_create(ep_dev(ep), bytes, &where, &recv->buffer);
	if (ret)
		return ret;
	ret = accel_buffer_map(recv->buffer, ACCEL_MAP_POPULATE, &map);
	if (ret) {
		accel_buffer_close(recv->buffer);
		recv->buffer = NULL;
		return ret;
	}
	recv->map = map;
	recv->bytes = bytes;
	return 0;
}

/* What the lane put out last is not shown any more, so there need never be two. */
static int output_reserve(struct accel_ep *ep, struct ep_recv *recv, uint64_t bytes)
{
	if (bytes <= recv->bytes)
		return 0;
	output_close(ep, recv);
	if (!output_create(ep, recv, bytes + bytes / SPARE_PART))
		return 0;
	return output_create(ep, recv, bytes);
}

static int arrays_reserve(struct ep_recv *recv, uint32_t total)
{
	uint64_t capacity = (uint64_t)total + total / SPARE_PART + 1;

	if (recv->origins && total <= recv->capacity)
		return 0;
	free(recv->at);
	free(recv->scales);
	free(recv->origins);
	free(recv->homes);
	recv->at = calloc(capacity, sizeof(*recv->at));
	recv->scales = calloc(capacity, sizeof(*recv->scales));
	recv->homes = calloc(capacity, sizeof(*recv->homes));
	recv->origins = calloc(capacity, sizeof(*recv->origins));
	recv->capacity = capacity;
	if (recv->at && recv->scales && recv->homes && recv->origins)
		return 0;
	recv->capacity = 0;
	return -ENOMEM;
}

static struct ep_recv *recv_alloc(const struct accel_ep_config *config)
{
	uint64_t pairs = (uint64_t)config->ranks * config->slots;
	struct ep_recv *recv = calloc(1, sizeof(*recv));

	if (!recv)
		return NULL;
	recv->counts = calloc(config->slots, sizeof(*recv->counts));
	recv->next = calloc(pairs, sizeof(*recv->next));
	recv->end = calloc(pairs, sizeof(*recv->end));
	recv->sources = calloc(config->ranks, sizeof(*recv->sources));
	if (recv->counts && recv->next && recv->end && recv->sources)
		return recv;
	ep_recv_free(NULL, recv);
	return NULL;
}

int ep_recv_start(const struct accel_ep *ep, struct ep_lane *lane)
{
	const struct accel_ep_config *config = &ep->shape->config;
	struct ep_recv *recv = lane->recv;

	if (!recv)
		recv = lane->recv = recv_alloc(config);
	if (!recv)
		return -ENOMEM;
	memset(recv->sources, 0, config->ranks * sizeof(*recv->sources));
	recv->placed = false;
	recv->done = false;
	recv->bad = false;
	recv->round = 0;
	recv->waiting = 0;
	recv->arrived = 0;
	recv->moved = 0;
	recv->joining = 0;
	recv->table_min = UINT64_MAX;
	for (uint32_t rank = 0; rank < config->ranks; rank++)
		recv->waiting += ep_set_has(&ep->alive, rank);
	return 0;
}

/* What a source says stays wrong: the same answer to every call that follows. */
static int bad_rank(struct ep_recv *recv, uint32_t rank)
{
	recv->bad = true;
	recv->bad_rank = rank;
	return -EBADMSG;
}

/* Counts of a source are kept at the places they will become. */
static bool read_counts(const struct accel_ep *ep, struct ep_recv *recv, uint32_t rank,
			const struct ep_slot *slot)
{
	const uint32_t *counts = ep_counts((struct ep_slot *)slot);
	uint32_t slots = ep->shape->config.slots;
	struct ep_source *source = &recv->sources[rank];
	uint64_t entries = 0;

	for (uint32_t i = 0; i < slots; i++) {
		uint32_t count = __atomic_load_n(&counts[i], __ATOMIC_RELAXED);

		recv->end[rank * slots + i] = count;
		entries += count;
	}
	source->entries = entries;
	return entries >= source->rows && entries <= (uint64_t)source->rows * ep->shape->all_k;
}

/* Of the first round. */
static bool read_call(const struct accel_ep *ep, struct ep_recv *recv, uint32_t rank,
		      const struct ep_slot *slot)
{
	struct ep_source *source = &recv->sources[rank];
	uint32_t joining = __atomic_load_n(&slot->joining, __ATOMIC_RELAXED);
	uint64_t table = __atomic_load_n(&slot->table, __ATOMIC_RELAXED);

	source->rows = __atomic_load_n(&slot->rows, __ATOMIC_RELAXED);
	source->tokens = __atomic_load_n(&slot->tokens, __ATOMIC_RELAXED);
	recv->joining = joining > recv->joining ? joining : recv->joining;
	recv->table_min = table < recv->table_min ? table : recv->table_min;
	recv->arrived += source->rows;
	return source->tokens <= ep->shape->config.max_tokens && source->rows <= source->tokens &&
	       read_counts(ep, recv, rank, slot);
}

static bool read_round(const struct accel_ep *ep, struct ep_source *source,
		       const struct ep_slot *slot)
{
	source->first = __atomic_load_n(&slot->first, __ATOMIC_RELAXED);
	source->sent = __atomic_load_n(&slot->sent, __ATOMIC_RELAXED);
	return source->sent <= source->rows &&
	       (uint64_t)source->first + source->sent <= ep->shape->room;
}

/* Flags of this round that came; 1 for some, 0 for none, -EBADMSG. */
static int look(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv, struct ep_set *missing)
{
	uint64_t want = ep_flag(ep->epoch, ep->lanes[lane].generation, recv->round);
	int found = 0;

	for (uint32_t rank = 0; recv->waiting && rank < ep->shape->config.ranks; rank++) {
		const struct ep_slot *slot = ep_slot(ep, ep->rank, lane, rank);
		struct ep_source *source = &recv->sources[rank];

		if (source->here || !ep_set_has(&ep->alive, rank) ||
		    (recv->round && !source->rows))
			continue;
		if (ep_ld(&slot->flag) != want) {
			ep_set_add(missing, rank);
			continue;
		}
		if ((!recv->round && !read_call(ep, recv, rank, slot)) ||
		    !read_round(ep, source, slot))
			return bad_rank(recv, rank);
		source->here = true;
		recv->waiting--;
		found = 1;
	}
	return found;
}

/* Rows sorted by slot, then by source. What each has of a slot ends where the next begins. */
static int place(struct accel_ep *ep, struct ep_recv *recv, uint32_t flags)
{
	const struct accel_ep_config *config = &ep->shape->config;
	uint64_t total = 0, homes = 0, bytes;
	bool more = false;
	int ret;

	for (uint32_t rank = 0; rank < config->ranks; rank++) {
		total += recv->sources[rank].entries;
		more |= recv->sources[rank].sent < recv->sources[rank].rows;
	}
	recv->indexed = flags & ACCEL_EP_INDEXED;
	bytes = (recv->indexed ? more * recv->arrived : total) * ep->shape->payload;
	ret = arrays_reserve(recv, total);
	if (!ret)
		ret = output_reserve(ep, recv, bytes);
	if (ret)
		return ret;
	recv->stream = ep_should_stream(ep, bytes);
	recv->total = 0;
	for (uint32_t slot = 0; slot < config->slots; slot++) {
		uint32_t first = recv->total;

		for (uint32_t rank = 0; rank < config->ranks; rank++) {
			uint32_t i = rank * config->slots + slot;
			uint32_t count = recv->sources[rank].entries ? recv->end[i] : 0;

			recv->next[i] = recv->total;
			recv->end[i] = recv->total += count;
		}
		recv->counts[slot] = recv->total - first;
	}
	for (uint32_t rank = 0; rank < config->ranks; rank++) {
		recv->sources[rank].homes = homes;
		homes += recv->sources[rank].entries;
	}
	recv->placed = true;
	return 0;
}

struct taker {
	struct accel_ep *ep;
	struct ep_recv *recv;
	const struct ep_shape *shape;
	void (*put)(void *, const void *, size_t);
	bool move;		/* rows that are not packed have to leave the room */
};

/* Where a row of one slot is to go. */
static bool take_entry(const struct taker *t, uint32_t rank, const struct ep_meta *meta,
		       const struct ep_entry *entry, const char *row)
{
	struct ep_recv *recv = t->recv;
	struct ep_source *source = &recv->sources[rank];
	uint32_t i = rank * t->shape->config.slots + entry->slot, at;

	if (entry->slot >= t->shape->config.slots || entry->k >= t->shape->all_k ||
	    recv->next[i] == recv->end[i])
		return false;
	at = recv->next[i]++;
	recv->scales[at] = meta->scale;
	recv->origins[at] = (struct accel_ep_origin){ rank, meta->token, entry->k, entry->slot };
	recv->homes[source->homes + source->homed++] =
		(struct ep_home){ at, meta->token, entry->k };
	if (recv->indexed)
		recv->at[at] = row;
	else
		t->put(recv->map + at * t->shape->payload, row, t->shape->payload);
	return true;
}

static bool take_row(const struct taker *t, uint32_t rank, char *row)
{
	struct ep_source *source = &t->recv->sources[rank];
	const char *from = row;
	struct ep_meta meta;

	meta = *ep_meta(t->ep, row);
	/* From here on only the copy is looked at. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (meta.token < source->next || meta.token >= source->tokens || !meta.entries ||
	    meta.entries > t->shape->all_k)
		return false;
	if (t->move) {
		from = t->recv->map + t->recv->moved++ * t->shape->payload;
		t->put((char *)from, row, t->shape->payload);
	}
	for (uint32_t i = 0; i < meta.entries; i++)
		if ((i && meta.entry[i].k <= meta.entry[i - 1].k) ||
		    !take_entry(t, rank, &meta, &meta.entry[i], from))
			return false;
	source->next = meta.token + 1;
	return true;
}

static bool take_source(const struct taker *t, uint32_t lane, uint32_t rank)
{
	struct ep_source *source = &t->recv->sources[rank];
	char *row = ep_row(t->ep, t->ep->rank, lane, source->first);

	for (; source->sent; row += t->shape->row) {
		__builtin_prefetch(row + t->shape->row + t->shape->payload);
		if (!take_row(t, rank, row))
			return false;
		source->first++;
		source->sent--;
		source->rows--;
	}
	return source->rows || source->homed == source->entries;
}

/* All sources that have more are told that the room is empty again. */
static void next_round(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv)
{
	uint64_t flag = ep_flag(ep->epoch, ep->lanes[lane].generation, recv->round);

	ep_st(ep_cursor(ep, ep->rank, lane), 0);
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		recv->sources[rank].here = false;
		if (!recv->sources[rank].rows)
			continue;
		recv->waiting++;
		ep_st(&ep_slot(ep, rank, lane, ep->rank)->room, flag);
		ep_ring(ep, rank);
	}
	recv->round++;
	ep->stats.extra_rounds++;
}

/*
 * Whether this round leaves something for another one. One that brought nothing, as
 * somebody spoilt the cursor, is made again like others.
 */
static int more_after(const struct accel_ep *ep, struct ep_recv *recv)
{
	uint32_t more = 0, last = 0;

	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		const struct ep_source *source = &recv->sources[rank];

		if (source->sent < source->rows) {
			more = 1;
			last = rank;
		}
	}
	if (more && recv->round == MAX_ROUND)
		return bad_rank(recv, last);
	return more;
}

static int take_all(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv)
{
	const struct ep_simd *simd = ep_simd();
	struct taker t = {
		.ep = ep,
		.recv = recv,
		.shape = ep->shape,
		.put = recv->stream ? simd->stream : simd->copy,
	};
	uint32_t ranks = ep->shape->config.ranks, rank;
	int64_t start = clock_now();
	int more = more_after(ep, recv);

	if (more < 0)
		return more;
	t.move = recv->indexed && more;
	for (rank = 0; rank < ranks; rank++) {
		struct ep_source *source = &recv->sources[rank];
		uint32_t sent = source->sent;

		if (sent && !take_source(&t, lane, rank))
			return bad_rank(recv, rank);
		ep->stats.rows_received += sent;
	}
	if (recv->stream)
		ep_fence();
	ep->stats.pack_ns += clock_now() - start;
	if (more)
		next_round(ep, lane, recv);
	else
		recv->done = true;
	return 0;
}

int ep_recv_more(struct accel_ep *ep, uint32_t lane, uint32_t flags, struct ep_set *missing)
{
	struct ep_recv *recv = ep->lanes[lane].recv;
	int found, ret = 0;

	if (recv->done)
		return 0;
	if (recv->bad)
		return -EBADMSG;
	found = look(ep, lane, recv, missing);
	if (found < 0 || recv->waiting)
		return found;
	if (!recv->placed)
		ret = place(ep, recv, flags);
	if (!ret)
		ret = take_all(ep, lane, recv);
	return ret ? ret : 1;
}

void *ep_recv_out(const struct accel_ep *ep, uint32_t lane)
{
	const struct ep_recv *recv = ep->lanes[lane].recv;

	/* What comes back in several rounds does so for every rank. */
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		if (recv->sources[rank].tokens > ep->shape->config.chunk_tokens)
			return NULL;
	return recv->total <= ep->shape->out_room ? ep_out(ep, ep->rank, lane, 0) : NULL;
}
