// SPDX-License-Identifier: MIT
/*
 * The placement planner. Both levels are one problem: items with copies, each with
 * a range of bins it may go to. Groups of experts go to nodes, then replicas of
 * experts to ranks of their node; one level is two with a single node.
 *
 * Loads are fixed point with SHARE_BITS below the point and wide enough for any sum
 * of counters, so nothing depends on rounding modes and nothing overflows.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <accel/ep_plan.h>

#define SHARE_BITS	20
#define UNIT		1024u	/* of balance and slack */
/*
 * Ranks keep replicas up to the load that is allowed, in 1/1024; where those who have to
 * move then find no good place, up to a little less.
 */
#define KEEP_STEP	32u
#define KEEP_LEAST	(UNIT * 3 / 4)
#define NO_SLOT		UINT16_MAX
#define NO_BIN		UINT32_MAX

enum { NODES, RANKS, LEVELS };

typedef unsigned __int128 load_t;

struct bin {
	load_t load;
	uint32_t room;
	uint32_t mark;		/* 1 + the item last looked at that has a copy here */
};

struct item {
	load_t share;		/* of a copy */
	uint32_t copies;
	uint32_t done;
	uint32_t from;		/* first bin of its range */
};

/* Items into bins; where a copy goes is the rank of its place. */
struct packing {
	struct item items[ACCEL_EP_MAX_EXPERTS];
	struct bin bins[ACCEL_EP_MAX_RANKS];
	uint16_t order[ACCEL_EP_MAX_EXPERTS];
	uint32_t count;
	uint32_t width;		/* of each range */
	const uint32_t *first;
	struct accel_ep_place *places;
	const uint32_t *was_first;	/* NULL: nothing is kept */
	const struct accel_ep_place *was;
	load_t limit;		/* of a bin's load where something is kept */
};

struct plan {
	const struct accel_ep_plan_config *config;
	const uint64_t *loads;
	uint32_t *first;
	struct accel_ep_place *places;
	uint32_t groups;
	uint32_t width;		/* ranks of a node, dead ones included */
	uint32_t nodes;		/* that have living ranks */
	uint32_t living;	/* ranks of each of them */
	uint32_t node_of[ACCEL_EP_MAX_EXPERTS];
	load_t peak[LEVELS];	/* load of the busiest */
};

static bool lives(const struct accel_ep_plan_config *config, uint32_t rank)
{
	return !config->alive || config->alive[rank];
}

static uint32_t living(const struct accel_ep_plan_config *config, uint32_t from, uint32_t count)
{
	uint32_t sum = 0;

	for (uint32_t i = from; i < from + count; i++)
		sum += lives(config, i);
	return sum;
}

/* Heaviest copies first; insertion keeps equals in the order of their numbers. */
static void sort(struct packing *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t at = i;

		for (; at && p->items[p->order[at - 1]].share < p->items[i].share; at--)
			p->order[at] = p->order[at - 1];
		p->order[at] = i;
	}
}

static void put(struct packing *p, uint32_t i, uint32_t to)
{
	struct item *item = &p->items[i];

	p->places[p->first[i] + item->done++] = (struct accel_ep_place){ to, NO_SLOT };
	p->bins[to].load += item->share;
	p->bins[to].room--;
	p->bins[to].mark = i + 1;
}

static void keep(struct packing *p, uint32_t i)
{
	struct item *item = &p->items[i];

	for (uint32_t at = p->was_first[i]; at < p->was_first[i + 1]; at++) {
		uint32_t to = p->was[at].rank;
		struct bin *bin = &p->bins[to];

		if (item->done < item->copies && to - item->from < p->width && bin->room &&
		    bin->mark != i + 1 && bin->load + item->share <= p->limit)
			put(p, i, to);
	}
}

static bool lighter(const struct bin *a, const struct bin *b)
{
	return a->load < b->load || (a->load == b->load && a->room > b->room);
}

static uint32_t lightest(const struct packing *p, uint32_t i)
{
	uint32_t from = p->items[i].from, best = NO_BIN;

	for (uint32_t at = from; at < from + p->width; at++)
		if (p->bins[at].room && p->bins[at].mark != i + 1 &&
		    (best == NO_BIN || lighter(&p->bins[at], &p->bins[best])))
			best = at;
	return best;
}

static bool has_copy(const struct packing *p, uint32_t i, uint32_t bin)
{
	for (uint32_t c = 0; c < p->items[i].done; c++)
		if (p->places[p->first[i] + c].rank == bin)
			return true;
	return false;
}

/*
 * Only bins with a copy of @i have room. Another bin is full of different items, more
 * than such a bin has, so it has one to give away and takes @i in its place.
 */
static void make_room(struct packing *p, uint32_t i)
{
	struct accel_ep_place *best = NULL;
	uint32_t open = p->items[i].from, moved = 0;
	load_t least = 0;

	while (!p->bins[open].room)
		open++;
	for (uint32_t other = 0; other < p->count; other++) {
		if (p->items[other].from != p->items[i].from || has_copy(p, other, open))
			continue;
		for (uint32_t c = 0; c < p->items[other].done; c++) {
			struct accel_ep_place *place = &p->places[p->first[other] + c];
			const struct bin *bin = &p->bins[place->rank];
			load_t there = bin->load - p->items[other].share + p->items[i].share;
			load_t here = p->bins[open].load + p->items[other].share;
			load_t worst = here > there ? here : there;

			if (bin->mark == i + 1 || (best && worst >= least))
				continue;
			best = place;
			least = worst;
			moved = other;
		}
	}
	p->bins[open].load += p->items[moved].share;
	p->bins[open].room--;
	p->bins[best->rank].load -= p->items[moved].share;
	p->bins[best->rank].room++;
	put(p, i, best->rank);
	best->rank = open;
}

static void place_rest(struct packing *p, uint32_t i)
{
	struct item *item = &p->items[i];

	for (uint32_t c = 0; c < item->done; c++)
		p->bins[p->places[p->first[i] + c].rank].mark = i + 1;
	while (item->done < item->copies) {
		uint32_t to = lightest(p, i);

		if (to == NO_BIN)
			make_room(p, i);
		else
			put(p, i, to);
	}
}

/* Returns the load of the busiest bin. */
static load_t pack(struct packing *p, uint32_t bins)
{
	load_t peak = 0;

	sort(p);
	for (uint32_t at = 0; p->was_first && at < p->count; at++)
		keep(p, p->order[at]);
	for (uint32_t at = 0; at < p->count; at++)
		place_rest(p, p->order[at]);
	for (uint32_t i = 0; i < bins; i++)
		if (p->bins[i].load > peak)
			peak = p->bins[i].load;
	return peak;
}

/* What the busiest of a level may have for the sake of keeping. */
static load_t limit_of(const struct plan *plan, int level)
{
	return plan->peak[level] + plan->peak[level] * plan->config->slack / UNIT;
}

/* Gives every group of experts a node. */
static load_t spread(struct plan *plan, bool keeping)
{
	struct accel_ep_place places[ACCEL_EP_MAX_EXPERTS], was[ACCEL_EP_MAX_EXPERTS];
	const struct accel_ep_plan_config *config = plan->config;
	uint32_t nodes = config->ranks / plan->width, size = config->experts / plan->groups;
	uint32_t first[ACCEL_EP_MAX_EXPERTS + 1];
	struct packing p = {
		.count = plan->groups, .width = nodes, .first = first, .places = places,
	};
	load_t peak;

	for (uint32_t i = 0; i < nodes; i++)
		if (living(config, i * plan->width, plan->width))
			p.bins[i].room = plan->groups / plan->nodes;
	for (uint32_t i = 0; i < plan->groups; i++) {
		p.items[i].copies = 1;
		for (uint32_t e = i * size; e < (i + 1) * size; e++)
			p.items[i].share += (load_t)plan->loads[e] << SHARE_BITS;
		first[i] = i;
		if (keeping)
			was[i].rank = config->before[config->first[i * size]].rank / plan->width;
	}
	first[plan->groups] = plan->groups;
	if (keeping) {
		p.was_first = first;
		p.was = was;
		p.limit = limit_of(plan, NODES);
	}
	peak = pack(&p, nodes);
	for (uint32_t e = 0; e < config->experts; e++)
		plan->node_of[e] = places[e / size].rank;
	return peak;
}

/* Whether expert @a has more load a replica than @b, or as much and fewer of them. */
static bool needs_more(const struct plan *plan, const uint32_t *copies, uint32_t a, uint32_t b)
{
	load_t left = (load_t)plan->loads[a] * copies[b];
	load_t right = (load_t)plan->loads[b] * copies[a];

	return left > right || (left == right && copies[a] < copies[b]);
}

/* Says how many replicas each expert has; within a node's places they grow one by one. */
static void replicate(const struct plan *plan, uint32_t *copies)
{
	uint32_t room[ACCEL_EP_MAX_RANKS], slots = plan->living * plan->config->slots;
	uint32_t places = plan->config->places / plan->nodes;

	for (uint32_t i = 0; i < plan->config->ranks / plan->width; i++)
		room[i] = places < slots ? places : slots;
	for (uint32_t e = 0; e < plan->config->experts; e++) {
		copies[e] = 1;
		room[plan->node_of[e]]--;
	}
	for (;;) {
		uint32_t next = NO_BIN;

		for (uint32_t e = 0; e < plan->config->experts; e++)
			if (room[plan->node_of[e]] && copies[e] < plan->living &&
			    (next == NO_BIN || needs_more(plan, copies, e, next)))
				next = e;
		if (next == NO_BIN)
			return;
		copies[next]++;
		room[plan->node_of[next]]--;
	}
}

/* Gives every replica a rank. */
static load_t settle(struct plan *plan, const uint32_t *copies, uint32_t keep)
{
	const struct accel_ep_plan_config *config = plan->config;
	struct packing p = {
		.count = config->experts, .width = plan->width,
		.first = plan->first, .places = plan->places,
	};

	for (uint32_t i = 0; i < config->ranks; i++)
		p.bins[i].room = lives(config, i) ? config->slots : 0;
	plan->first[0] = 0;
	for (uint32_t e = 0; e < config->experts; e++) {
		p.items[e].share = ((load_t)plan->loads[e] << SHARE_BITS) / copies[e];
		p.items[e].copies = copies[e];
		p.items[e].from = plan->node_of[e] * plan->width;
		plan->first[e + 1] = plan->first[e] + copies[e];
	}
	if (keep) {
		p.was_first = config->first;
		p.was = config->before;
		p.limit = limit_of(plan, RANKS) / UNIT * keep;
	}
	return pack(&p, config->ranks);
}

/* @keep: part of the allowed load up to which ranks keep, 0 for a table from scratch. */
static load_t attempt(struct plan *plan, uint32_t keep)
{
	uint32_t copies[ACCEL_EP_MAX_EXPERTS];
	load_t peak = spread(plan, keep);

	if (!keep)
		plan->peak[NODES] = peak;
	replicate(plan, copies);
	return settle(plan, copies, keep);
}

static void solve(struct plan *plan)
{
	plan->peak[RANKS] = attempt(plan, 0);
	if (!plan->config->first)
		return;
	for (uint32_t keep = UNIT; keep >= KEEP_LEAST; keep -= KEEP_STEP)
		if (attempt(plan, keep) <= limit_of(plan, RANKS))
			return;
	attempt(plan, 0);
}

static bool take_slot(uint64_t *taken, uint32_t slot)
{
	bool free = !(taken[slot / 64] >> slot % 64 & 1);

	taken[slot / 64] |= 1ull << slot % 64;
	return free;
}

/* The slot that the expert had on this rank, if it had one and nobody took it. */
static uint32_t slot_before(const struct accel_ep_plan_config *config, uint32_t e, uint32_t rank,
			    uint64_t *taken)
{
	if (!config->first)
		return NO_SLOT;
	for (uint32_t at = config->first[e]; at < config->first[e + 1]; at++)
		if (config->before[at].rank == rank && take_slot(taken, config->before[at].slot))
			return config->before[at].slot;
	return NO_SLOT;
}

/* First those who stay, then those who come. */
static void give_slots(const struct plan *plan, uint32_t rank)
{
	const struct accel_ep_plan_config *config = plan->config;
	uint64_t taken[ACCEL_EP_MAX_SLOTS / 64] = { 0 };
	uint32_t next = 0;

	for (uint32_t e = 0; e < config->experts; e++)
		for (uint32_t at = plan->first[e]; at < plan->first[e + 1]; at++)
			if (plan->places[at].rank == rank)
				plan->places[at].slot = slot_before(config, e, rank, taken);
	for (uint32_t at = 0; at < plan->first[config->experts]; at++) {
		if (plan->places[at].rank != rank || plan->places[at].slot != NO_SLOT)
			continue;
		while (!take_slot(taken, next))
			next++;
		plan->places[at].slot = next;
	}
}

static int check_table(const struct accel_ep_plan_config *config, const uint32_t *first,
		       const struct accel_ep_place *places)
{
	for (uint32_t e = 0; e < config->experts; e++) {
		if (first[e + 1] <= first[e] ||
		    first[e + 1] - first[e] > config->ranks * config->slots)
			return -EINVAL;
		for (uint32_t at = first[e]; at < first[e + 1]; at++)
			if (places[at].rank >= config->ranks || places[at].slot >= config->slots)
				return -EINVAL;
	}
	return 0;
}

static bool within(uint32_t value, uint32_t most)
{
	return value && value <= most;
}

static int check_shape(const struct accel_ep_plan_config *config)
{
	if (!within(config->experts, ACCEL_EP_MAX_EXPERTS) ||
	    !within(config->ranks, ACCEL_EP_MAX_RANKS) ||
	    !within(config->slots, ACCEL_EP_MAX_SLOTS) || !living(config, 0, config->ranks))
		return -EINVAL;
	return 0;
}

static int check(const struct accel_ep_plan_config *config)
{
	int err = check_shape(config);

	if (err)
		return err;
	if ((config->node_ranks && config->ranks % config->node_ranks) ||
	    (config->groups && config->experts % config->groups) ||
	    !config->first != !config->before)
		return -EINVAL;
	err = config->first ? check_table(config, config->first, config->before) : 0;
	if (err)
		return err;
	if (config->places < config->experts ||
	    living(config, 0, config->ranks) * config->slots < config->experts)
		return -ENOSPC;
	return 0;
}

/* Whether nodes are equals, as far as they live, and divide the groups. */
static bool two_levels(struct plan *plan)
{
	const struct accel_ep_plan_config *config = plan->config;

	if (!config->node_ranks)
		return false;
	for (uint32_t i = 0; i < config->ranks; i += config->node_ranks) {
		uint32_t alive = living(config, i, config->node_ranks);

		if (alive && plan->living && alive != plan->living)
			return false;
		if (!alive)
			continue;
		plan->living = alive;
		plan->nodes++;
	}
	plan->width = config->node_ranks;
	plan->groups = config->groups ? config->groups : config->experts;
	return plan->groups % plan->nodes == 0;
}

static void one_level(struct plan *plan)
{
	plan->width = plan->config->ranks;
	plan->groups = 1;
	plan->nodes = 1;
	plan->living = living(plan->config, 0, plan->config->ranks);
}

int accel_ep_plan(const struct accel_ep_plan_config *config, const uint64_t *loads,
		  uint32_t *first, struct accel_ep_place *places)
{
	struct plan plan = { .config = config, .loads = loads, .first = first, .places = places };
	int err;

	if (!config || !loads || !first || !places)
		return -EINVAL;
	err = check(config);
	if (err)
		return err;
	if (!two_levels(&plan))
		one_level(&plan);
	solve(&plan);
	for (uint32_t rank = 0; rank < config->ranks; rank++)
		give_slots(&plan, rank);
	return 0;
}

static uint32_t living_copies(const struct accel_ep_plan_config *config, const uint32_t *first,
			      const struct accel_ep_place *places)
{
	uint32_t sum = 0;

	for (uint32_t at = first[0]; at < first[1]; at++)
		sum += lives(config, places[at].rank);
	return sum;
}

int accel_ep_plan_balance(const struct accel_ep_plan_config *config, const uint64_t *loads,
			  const uint32_t *first, const struct accel_ep_place *places,
			  uint32_t *balance)
{
	load_t load[ACCEL_EP_MAX_RANKS] = { 0 }, total = 0, most = 0;
	int err;

	if (!config || !loads || !first || !places || !balance || check_shape(config))
		return -EINVAL;
	err = check_table(config, first, places);
	if (err)
		return err;
	for (uint32_t e = 0; e < config->experts; e++) {
		uint32_t copies = living_copies(config, &first[e], places);

		for (uint32_t at = first[e]; at < first[e + 1]; at++)
			if (lives(config, places[at].rank))
				load[places[at].rank] += ((load_t)loads[e] << SHARE_BITS) / copies;
	}
	for (uint32_t i = 0; i < config->ranks; i++) {
		total += load[i];
		most = load[i] > most ? load[i] : most;
	}
	most *= (load_t)living(config, 0, config->ranks) * UNIT;
	*balance = total ? (most + total - 1) / total : UNIT;
	return 0;
}
