// SPDX-License-Identifier: MIT
/*
 * The receiving half of a dispatch. The headers of all sources give every row its
 * place; then rows are taken out of the room round by round, each read once and
 * stored to all its places. Whatever a source says is read once and checked: a row
 * lies in the room, its slot and k exist, its tokens ascend, and there are as many
 * as were announced.
 *
 * Heads come from all ranks, rows from those of this node alone: what ranks of other
 * nodes send is among what these pass on.
 */
#include <stdlib.h>

#include "plan.h"
#include "recv.h"
#include "route.h"
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
	free(recv->carriers);
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
	recv->carriers = calloc(config->ranks, sizeof(*recv->carriers));
	if (recv->counts && recv->next && recv->end && recv->sources && recv->carriers)
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
	memset(recv->carriers, 0, config->ranks * sizeof(*recv->carriers));
	lane->bad = (struct ep_set){ 0 };
	recv->placed = false;
	recv->done = false;
	recv->round = 0;
	recv->batch = 0;
	recv->batches = 1;
	recv->waiting = 0;
	recv->arrived = 0;
	recv->moved = 0;
	recv->landing = 0;
	recv->joining = 0;
	recv->table_min = UINT64_MAX;
	for (uint32_t rank = 0; rank < config->ranks; rank++) {
		if (!ep_set_has(&ep->alive, rank))
			continue;
		recv->carriers[rank].due = ep_near(ep, rank);
		recv->waiting += 1 + recv->carriers[rank].due;
	}
	return 0;
}

/* Rows of one that another brought: who of the two is wrong cannot be told. */
static int bad_rows(struct accel_ep *ep, uint32_t lane, uint32_t rank)
{
	ep_set_add(&ep->lanes[lane].bad, rank);
	ep_set_add(&ep->lanes[lane].bad, ep->route->via[rank]);
	return -EBADMSG;
}

static int bad_rank(struct accel_ep *ep, uint32_t lane, uint32_t rank)
{
	ep_set_add(&ep->lanes[lane].bad, rank);
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

static bool read_head(const struct accel_ep *ep, struct ep_recv *recv, uint32_t rank,
		      const struct ep_slot *slot)
{
	struct ep_carrier *carrier = &recv->carriers[ep->route->via[rank]];
	struct ep_source *source = &recv->sources[rank];
	uint32_t joining = __atomic_load_n(&slot->joining, __ATOMIC_RELAXED);
	uint64_t table = __atomic_load_n(&slot->table, __ATOMIC_RELAXED);
	uint32_t batches;

	source->rows = __atomic_load_n(&slot->rows, __ATOMIC_RELAXED);
	source->tokens = __atomic_load_n(&slot->tokens, __ATOMIC_RELAXED);
	if (source->tokens > ep->shape->config.max_tokens || source->rows > source->tokens)
		return false;
	batches = ep_batches(ep->route, source->tokens);
	carrier->batches = batches > carrier->batches ? batches : carrier->batches;
	recv->batches = batches > recv->batches ? batches : recv->batches;
	recv->joining = joining > recv->joining ? joining : recv->joining;
	recv->table_min = table < recv->table_min ? table : recv->table_min;
	recv->arrived += source->rows;
	source->here = true;
	return read_counts(ep, recv, rank, slot);
}

static bool read_round(const struct accel_ep *ep, struct ep_carrier *carrier,
		       const struct ep_slot *slot)
{
	carrier->first = __atomic_load_n(&slot->first, __ATOMIC_RELAXED);
	carrier->sent = __atomic_load_n(&slot->sent, __ATOMIC_RELAXED);
	carrier->more = __atomic_load_n(&slot->more, __ATOMIC_RELAXED);
	carrier->sorts = __atomic_load_n(&slot->sorts, __ATOMIC_RELAXED);
	carrier->due = false;
	return (uint64_t)carrier->first + carrier->sent <= ep->shape->room;
}

/* Heads and flags of this round that came; 1 for some, 0 for none, -EBADMSG. */
static int look(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv, struct ep_set *missing)
{
	uint32_t generation = ep->lanes[lane].generation;
	int found = 0;

	for (uint32_t rank = 0; recv->waiting && rank < ep->shape->config.ranks; rank++) {
		const struct ep_slot *slot = ep_slot(ep, ep->rank, lane, rank);
		struct ep_carrier *carrier = &recv->carriers[rank];

		if (!ep_set_has(&ep->alive, rank))
			continue;
		if (!recv->sources[rank].here) {
			if (ep_ld(&slot->head) != ep_flag(ep->epoch, generation, 0)) {
				ep_set_add(missing, rank);
				continue;
			}
			if (!read_head(ep, recv, rank, slot))
				return bad_rank(ep, lane, rank);
			recv->waiting--;
			found = 1;
		}
		if (!carrier->due)
			continue;
		if (ep_ld(&slot->flag) != ep_flag(ep->epoch, generation, carrier->round)) {
			ep_set_add(missing, rank);
			continue;
		}
		if (!read_round(ep, carrier, slot))
			return bad_rank(ep, lane, rank);
		recv->waiting--;
		found = 1;
	}
	return found;
}

static bool more_in_batch(const struct accel_ep *ep, const struct ep_recv *recv)
{
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		if (recv->carriers[rank].more)
			return true;
	return false;
}

/* Whether this round leaves something for another one. */
static bool more_follows(const struct accel_ep *ep, const struct ep_recv *recv)
{
	return recv->batch + 1 < recv->batches || more_in_batch(ep, recv);
}

/* Whether there is room for all elements where they are to be, and all wait to be told. */
static bool can_be_direct(const struct accel_ep *ep, const struct ep_recv *recv, uint64_t total)
{
	if (recv->indexed || total > ep->shape->sorted_room || more_follows(ep, recv))
		return false;
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++)
		if (recv->carriers[rank].sent && !recv->carriers[rank].sorts)
			return false;
	return true;
}

/* Those who sort are told where. */
static void tell_where(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv)
{
	uint64_t flag = ep_flag(ep->epoch, ep->lanes[lane].generation, 0);

	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		struct ep_slot *slot = ep_slot(ep, rank, lane, ep->rank);

		if (!recv->carriers[rank].sorts)
			continue;
		for (uint32_t i = 0; recv->direct && i < ep->shape->config.slots; i++)
			ep_bases(ep, slot)[i] = ep_base(ep, recv, rank, i);
		slot->direct = recv->direct;
		ep_st(&slot->told, flag);
		ep_ring(ep, rank);
		recv->landing++;
	}
}

/* Elements that were waited for; whether some came. */
static bool look_landed(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv,
			struct ep_set *missing)
{
	uint64_t want = ep_flag(ep->epoch, ep->lanes[lane].generation, 0);
	bool found = false;

	for (uint32_t rank = 0; recv->landing && rank < ep->shape->config.ranks; rank++) {
		if (!recv->carriers[rank].sorts)
			continue;
		if (ep_ld(&ep_slot(ep, ep->rank, lane, rank)->landed) != want) {
			ep_set_add(missing, rank);
			continue;
		}
		recv->carriers[rank].sorts = false;
		recv->landing--;
		found = true;
	}
	return found;
}

/* Rows sorted by slot, then by source. What each has of a slot ends where the next begins. */
static int place(struct accel_ep *ep, struct ep_recv *recv, uint32_t flags)
{
	const struct accel_ep_config *config = &ep->shape->config;
	uint64_t total = 0, homes = 0, bytes;
	int ret;

	for (uint32_t rank = 0; rank < config->ranks; rank++)
		total += recv->sources[rank].entries;
	recv->indexed = flags & ACCEL_EP_INDEXED;
	recv->direct = can_be_direct(ep, recv, total);
	bytes = (recv->direct ? 0 : recv->indexed ? more_follows(ep, recv) * recv->arrived : total) *
		ep->shape->payload;
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
	else if (!recv->direct)
		t->put(recv->map + at * t->shape->payload, row, t->shape->payload);
	return true;
}

static bool take_entries(const struct taker *t, uint32_t rank, const struct ep_meta *meta,
			 char *row)
{
	struct ep_source *source = &t->recv->sources[rank];
	const char *from = row;

	if (!source->rows || meta->token < source->next || meta->token >= source->tokens ||
	    !meta->entries || meta->entries > t->shape->all_k)
		return false;
	if (t->move) {
		from = t->recv->map + t->recv->moved++ * t->shape->payload;
		t->put((char *)from, row, t->shape->payload);
	}
	for (uint32_t i = 0; i < meta->entries; i++)
		if ((i && meta->entry[i].k <= meta->entry[i - 1].k) ||
		    !take_entry(t, rank, meta, &meta->entry[i], from))
			return false;
	source->next = meta->token + 1;
	source->rows--;
	return true;
}

static int take_row(const struct taker *t, uint32_t lane, uint32_t carrier, char *row)
{
	struct ep_meta meta = *ep_meta(t->ep, row);

	/* From here on only the copy is looked at. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (meta.rank >= t->shape->config.ranks || t->ep->route->via[meta.rank] != carrier)
		return bad_rank(t->ep, lane, carrier);
	return take_entries(t, meta.rank, &meta, row) ? 0 : bad_rows(t->ep, lane, meta.rank);
}

static int take_rows(const struct taker *t, uint32_t lane, uint32_t rank)
{
	struct ep_carrier *carrier = &t->recv->carriers[rank];
	char *row = ep_row(t->ep, t->ep->rank, lane, carrier->first);
	int ret = 0;

	t->ep->stats.rows_received += carrier->sent;
	for (; !ret && carrier->sent; row += t->shape->row) {
		__builtin_prefetch(row + t->shape->row + t->shape->payload);
		ret = take_row(t, lane, rank, row);
		carrier->sent--;
	}
	return ret;
}

/*
 * The room is empty again, and those that have more are told. A round that brought
 * nothing, as somebody spoilt the cursor, is made again like others.
 */
static int next_round(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv)
{
	uint32_t generation = ep->lanes[lane].generation;
	bool same = more_in_batch(ep, recv);

	recv->batch += !same;
	recv->round++;
	ep->stats.extra_rounds++;
	ep_st(ep_cursor(ep, ep->rank, lane), 0);
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		struct ep_carrier *carrier = &recv->carriers[rank];

		carrier->due = same ? carrier->more : carrier->batches > recv->batch;
		if (!carrier->due)
			continue;
		if (carrier->round == MAX_ROUND)
			return bad_rank(ep, lane, rank);
		ep_st(&ep_slot(ep, rank, lane, ep->rank)->room,
		      ep_flag(ep->epoch, generation, carrier->round++));
		carrier->more = false;
		recv->waiting++;
		ep_ring(ep, rank);
	}
	return 0;
}

/* As much as was announced. */
static int check_all(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv)
{
	for (uint32_t rank = 0; rank < ep->shape->config.ranks; rank++) {
		const struct ep_source *source = &recv->sources[rank];

		if (source->rows || source->homed != source->entries)
			return bad_rows(ep, lane, rank);
	}
	recv->done = true;
	return 0;
}

static int take_all(struct accel_ep *ep, uint32_t lane, struct ep_recv *recv)
{
	const struct ep_simd *simd = ep_simd();
	bool more = more_follows(ep, recv);
	struct taker t = {
		.ep = ep,
		.recv = recv,
		.shape = ep->shape,
		.put = recv->stream ? simd->stream : simd->copy,
		.move = recv->indexed && more,
	};
	int64_t start = clock_now();
	int ret = 0;

	for (uint32_t rank = 0; !ret && rank < ep->shape->config.ranks; rank++)
		if (recv->carriers[rank].sent)
			ret = take_rows(&t, lane, rank);
	if (recv->stream)
		ep_fence();
	ep->stats.pack_ns += clock_now() - start;
	if (ret)
		return ret;
	return more ? next_round(ep, lane, recv) : check_all(ep, lane, recv);
}

int ep_recv_more(struct accel_ep *ep, uint32_t lane, uint32_t flags, struct ep_set *missing)
{
	struct ep_recv *recv = ep->lanes[lane].recv;
	int found, ret = 0;

	if (recv->done)
		return 0;
	found = look(ep, lane, recv, missing);
	if (found < 0 || recv->waiting)
		return found;
	if (!recv->placed) {
		ret = place(ep, recv, flags);
		if (ret)
			return ret;
		tell_where(ep, lane, recv);
		found = 1;
	}
	found |= look_landed(ep, lane, recv, missing);
	if (recv->landing)
		return found;
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
