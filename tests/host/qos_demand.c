// SPDX-License-Identifier: MIT
/*
 * Promises: what is admitted against the definition, deadline by deadline; the
 * earliest time that is named against one a moment earlier; and whole sets of
 * transfers in a fluid model, served by earliest deadline while reservations
 * come at the worst of times: nobody who was admitted is late.
 */
#include "qos_world.h"

#define TRANSFERS 60000u
#define FLUID_EVENTS 300000u
#define LIVE 48u
#define RATE 50000000000ull
/* Rates are whole bytes in 2^20 ns: what that may round off, and what a fluid does. */
#define ROUND_SHIFT 20
#define ROUND_NS 64u
#define ROUND_BYTES 4096
#define PORT 1u

struct transfer {
	struct qos_demand demand;
	uint64_t deadline;
	bool live;
};

struct ledger {
	struct qos_port port[4];
	struct qos_ports ports;
	struct world dice;
	uint64_t now;
	struct transfer transfers[LIVE];
	uint64_t reserved, burst;
};

static uint64_t draw(struct ledger *ledger, uint64_t below)
{
	return world_draw(&ledger->dice, below);
}

static void ledger_init(struct ledger *ledger, uint64_t rate)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->ports = (struct qos_ports){ .port = ledger->port, .count = 4 };
	ledger->dice.random = qos_seed;
	/* Not far from where times would wrap in 32 or 63 bits. */
	ledger->now = 1 + draw(ledger, 1ull << (20 + draw(ledger, 40)));
	for (int i = 0; i < 4; i++)
		qos_port_init(&ledger->port[i], rate, QOS_SLACK, QOS_HYBRID);
}

static uint64_t promisable(const struct ledger *ledger)
{
	return ledger->port[PORT].rated * QOS_PROMISE / 1024;
}

/* Bytes that a port may have promised for a time from now. */
static int64_t room(const struct ledger *ledger, uint64_t deadline)
{
	double rate = (double)(promisable(ledger) - ledger->reserved) / 1e9;

	return (int64_t)(rate * (double)(deadline - ledger->now)) -
	       (int64_t)(ledger->burst + 2 * ledger->port[PORT].window);
}

/* What is rounded off up to then. */
static int64_t grain(const struct ledger *ledger, uint64_t deadline)
{
	return ROUND_BYTES + (int64_t)((deadline - ledger->now) >> ROUND_SHIFT);
}

static int64_t due(const struct ledger *ledger, uint64_t deadline)
{
	int64_t bytes = 0;

	for (uint32_t i = 0; i < LIVE; i++)
		if (ledger->transfers[i].live && ledger->transfers[i].deadline <= deadline)
			bytes += ledger->transfers[i].demand.bytes;
	return bytes;
}

/* How many bytes are to spare at the tightest deadline, were one more promised. */
static int64_t spare(const struct ledger *ledger, uint64_t bytes, uint64_t deadline)
{
	int64_t least = room(ledger, deadline) - due(ledger, deadline) - (int64_t)bytes;

	for (uint32_t i = 0; i < LIVE; i++) {
		uint64_t at = ledger->transfers[i].deadline;
		int64_t left;

		if (!ledger->transfers[i].live || at < deadline)
			continue;
		left = room(ledger, at) - due(ledger, at) - (int64_t)bytes;
		least = left < least ? left : least;
	}
	return least;
}

static uint32_t admit(struct ledger *ledger, struct transfer *transfer, uint64_t bytes,
		      uint64_t deadline, uint64_t *earliest)
{
	uint64_t held = 0;
	uint32_t reason;

	transfer->demand = (struct qos_demand){ .port = PORT, .bytes = bytes };
	transfer->deadline = deadline;
	reason = qos_admit(&ledger->ports, &transfer->demand, 1, &held, 1024, deadline,
			   ledger->now, earliest);
	transfer->live = reason == QOS_OK;
	sure(transfer->live == transfer->demand.held);
	return reason;
}

/* Makes room: the queue's turn came, or its transfer is done. */
static void drop(struct ledger *ledger, struct transfer *transfer)
{
	qos_demand_end(&ledger->ports, &transfer->demand);
	transfer->live = false;
}

static void expire(struct ledger *ledger)
{
	for (uint32_t i = 0; i < LIVE; i++)
		if (ledger->transfers[i].live && ledger->transfers[i].deadline <= ledger->now)
			drop(ledger, &ledger->transfers[i]);
}

static void check_answer(struct ledger *ledger, struct transfer *transfer)
{
	uint64_t bytes = 1 + draw(ledger, 1ull << draw(ledger, 30));
	uint64_t deadline = ledger->now + 1 + draw(ledger, 1ull << draw(ledger, 36));
	uint64_t earliest, again;
	uint32_t reason = admit(ledger, transfer, bytes, deadline, &earliest);
	int64_t left;

	/* The one just admitted counts as due by now. */
	left = spare(ledger, reason ? bytes : 0, deadline);
	if (left > grain(ledger, ledger->now + QOS_HORIZON))
		sure(reason == QOS_OK);
	if (left < -grain(ledger, ledger->now + QOS_HORIZON))
		sure(reason != QOS_OK);
	if (!reason)
		return;
	sure(reason == QOS_LATE || reason == QOS_FULL_IN);
	sure(earliest > deadline || !earliest);
	if (!earliest || earliest > ledger->now + QOS_HORIZON)
		return;
	sure(admit(ledger, transfer, bytes, earliest - 1, &again) != QOS_OK);
	sure(again == earliest);
	sure(earliest < ledger->now + ROUND_NS || spare(ledger, bytes, earliest - ROUND_NS) <
	     grain(ledger, ledger->now + QOS_HORIZON));
	sure(admit(ledger, transfer, bytes, earliest, &again) == QOS_OK);
	sure(spare(ledger, 0, earliest) > -grain(ledger, ledger->now + QOS_HORIZON));
}

static void check_sums(struct ledger *ledger)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < LIVE; i++)
		bytes += ledger->transfers[i].live ? ledger->transfers[i].demand.bytes : 0;
	sure(ledger->port[PORT].promised == bytes);
	sure(ledger->port[PORT].reserved == ledger->reserved);
	sure(ledger->port[PORT].burst == ledger->burst);
	sure(!bytes || !qos_tree_empty(&ledger->port[PORT].demand));
}

/* As after a process died in the midst of it. */
static void restore(struct ledger *ledger)
{
	qos_port_reset(&ledger->port[PORT]);
	ledger->ports.dirty = 0;
	qos_reserve_restore(&ledger->ports, PORT, ledger->reserved, ledger->burst);
	for (uint32_t i = 0; i < LIVE; i++)
		qos_demand_restore(&ledger->ports, &ledger->transfers[i].demand,
				   ledger->transfers[i].deadline);
}

static void change_reservation(struct ledger *ledger)
{
	uint64_t rate = 1 + draw(ledger, RATE / 4), burst = 1 + draw(ledger, MIB(4));
	uint32_t reason;

	if (ledger->reserved && draw(ledger, 2)) {
		qos_unreserve(&ledger->ports, PORT, ledger->reserved, ledger->burst, ledger->now);
		ledger->reserved = 0;
		ledger->burst = 0;
		return;
	}
	reason = qos_reserve(&ledger->ports, PORT, rate, burst, ledger->now);
	if (ledger->reserved + rate > promisable(ledger))
		sure(reason == QOS_FULL_IN);
	if (reason)
		return;
	ledger->reserved += rate;
	ledger->burst += burst;
	for (uint32_t i = 0; i < LIVE; i++)
		if (ledger->transfers[i].live)
			sure(room(ledger, ledger->transfers[i].deadline) -
			     due(ledger, ledger->transfers[i].deadline) >
			     -grain(ledger, ledger->transfers[i].deadline));
}

TEST(admitted_by_the_definition)
{
	static struct ledger ledger;

	ledger_init(&ledger, RATE);
	for (uint32_t i = 0; i < scaled(TRANSFERS); i++) {
		struct transfer *transfer = &ledger.transfers[draw(&ledger, LIVE)];
		uint64_t dice = draw(&ledger, 100);

		ledger.now += draw(&ledger, 1ull << draw(&ledger, 30));
		expire(&ledger);
		if (dice < 5)
			change_reservation(&ledger);
		else if (dice < 6)
			restore(&ledger);
		else if (transfer->live && dice < 50)
			qos_demand_moved(&ledger.ports, &transfer->demand,
					 draw(&ledger, 2 * transfer->demand.bytes + 1));
		else if (transfer->live)
			drop(&ledger, transfer);
		else
			check_answer(&ledger, transfer);
		check_sums(&ledger);
	}
	for (uint32_t i = 0; i < LIVE; i++)
		drop(&ledger, &ledger.transfers[i]);
	sure(qos_tree_empty(&ledger.port[PORT].demand) && !ledger.port[PORT].promised);
}

/* What a port serves, to the byte, while bytes are owed fractions. */
static uint64_t served(uint64_t rate, uint64_t ns, uint64_t *rest)
{
	__uint128_t bytes = (__uint128_t)rate * ns + *rest;

	*rest = (uint64_t)(bytes % NS_PER_S);
	return (uint64_t)(bytes / NS_PER_S);
}

static void serve(struct ledger *ledger, uint64_t bytes)
{
	while (bytes) {
		struct transfer *first = NULL;
		uint64_t part;

		for (uint32_t i = 0; i < LIVE; i++) {
			struct transfer *transfer = &ledger->transfers[i];

			if (transfer->live && (!first || transfer->deadline < first->deadline))
				first = transfer;
		}
		if (!first)
			return;
		part = bytes < first->demand.bytes ? bytes : first->demand.bytes;
		qos_demand_moved(&ledger->ports, &first->demand, part);
		bytes -= part;
		if (!first->demand.bytes)
			drop(ledger, first);
	}
}

/*
 * Reservations save up a whole budget and then take it at once, again and
 * again; what they leave of the promises goes to the earliest deadline.
 */
TEST(no_admitted_transfer_is_late)
{
	static struct ledger ledger;
	uint64_t saved, rest = 0, refill = 0, admitted = 0, refused = 0;

	ledger_init(&ledger, RATE);
	ledger.reserved = RATE / 5;
	ledger.burst = MIB(6);
	saved = ledger.burst;
	sure(!qos_reserve(&ledger.ports, PORT, ledger.reserved, ledger.burst, ledger.now));
	for (uint32_t i = 0; i < scaled(FLUID_EVENTS); i++) {
		struct transfer *transfer = &ledger.transfers[draw(&ledger, LIVE)];
		uint64_t step = draw(&ledger, 1ull << draw(&ledger, 20));
		uint64_t bytes, taken = 0, earliest;

		for (uint32_t k = 0; k < LIVE; k++)
			if (ledger.transfers[k].live &&
			    ledger.transfers[k].deadline - ledger.now < step)
				step = ledger.transfers[k].deadline - ledger.now;
		ledger.now += step;
		bytes = served(promisable(&ledger), step, &rest);
		saved += served(ledger.reserved, step, &refill);
		saved = saved < ledger.burst ? saved : ledger.burst;
		if (draw(&ledger, 4) == 0)
			taken = saved < bytes ? saved : bytes;
		saved -= taken;
		serve(&ledger, bytes - taken);
		for (uint32_t k = 0; k < LIVE; k++) {
			struct transfer *late = &ledger.transfers[k];

			if (!late->live || late->deadline > ledger.now)
				continue;
			sure(late->demand.bytes <= ROUND_BYTES);
			drop(&ledger, late);
		}
		if (transfer->live)
			continue;
		bytes = 1 + draw(&ledger, MIB(8));
		/* So that about half are admitted, most of them only just. */
		if (admit(&ledger, transfer, bytes, ledger.now + 1 + draw(&ledger, 8 * NS_PER_MS),
			  &earliest) && draw(&ledger, 4) && earliest)
			admit(&ledger, transfer, bytes, earliest, &earliest);
		admitted += transfer->live;
		refused += !transfer->live;
	}
	/* The model is no test unless it is full. */
	sure(admitted > scaled(FLUID_EVENTS) / 100 && refused);
}

/* Both ports, or none; and the reason names the side. */
TEST(both_ports_or_none)
{
	static struct ledger ledger;
	struct qos_demand full = { .port = 3, .bytes = RATE / 2 }, pair[2];
	uint64_t held[2] = { 0, 0 }, earliest;

	ledger_init(&ledger, RATE);
	sure(!qos_admit(&ledger.ports, &full, 1, held, 1024, ledger.now + NS_PER_S, ledger.now,
			&earliest));
	pair[0] = (struct qos_demand){ .port = 0, .bytes = RATE / 2 };
	pair[1] = (struct qos_demand){ .port = 3, .bytes = RATE / 2 };
	sure(qos_admit(&ledger.ports, pair, 2, held, 1024, ledger.now + NS_PER_S, ledger.now,
		       &earliest) == QOS_FULL_IN);
	sure(!pair[0].held && !pair[1].held && !ledger.port[0].promised);
	/* In whatever order they are named. */
	pair[0].port = 3;
	pair[1].port = 0;
	sure(qos_admit(&ledger.ports, pair, 2, held, 1024, ledger.now + NS_PER_S, ledger.now,
		       &earliest) == QOS_FULL_IN);
	sure(!pair[0].held && !pair[1].held && !ledger.port[0].promised);
	sure(qos_admit(&ledger.ports, pair, 2, held, 1024, earliest - 1, ledger.now, &earliest));
	sure(!qos_admit(&ledger.ports, pair, 2, held, 1024, earliest, ledger.now, &earliest));
	sure(pair[0].held && pair[1].held);
	/* One client's part, however empty the port is. */
	pair[0] = (struct qos_demand){ .port = 1, .bytes = RATE / 2 };
	sure(qos_admit(&ledger.ports, pair, 1, held, 512, ledger.now + NS_PER_S, ledger.now,
		       &earliest) == QOS_SHARE);
	sure(!qos_admit(&ledger.ports, pair, 1, held, 512, earliest, ledger.now, &earliest));
}

/* Who does not come to his turn before his deadline keeps nobody out after it. */
TEST(late_promises_lapse)
{
	static struct ledger ledger;
	struct transfer late, next;
	uint64_t earliest;

	ledger_init(&ledger, RATE);
	sure(!admit(&ledger, &late, RATE / 2, ledger.now + NS_PER_S, &earliest));
	ledger.now += 2 * NS_PER_S;
	sure(!admit(&ledger, &next, RATE / 2, ledger.now + NS_PER_S, &earliest));
	sure(!late.demand.held && ledger.port[PORT].promised == RATE / 2);
	qos_demand_moved(&ledger.ports, &late.demand, RATE / 4);
	qos_demand_end(&ledger.ports, &late.demand);
	sure(ledger.port[PORT].promised == RATE / 2);
	qos_demand_end(&ledger.ports, &next.demand);
	sure(!ledger.port[PORT].promised && qos_tree_empty(&ledger.port[PORT].demand));
}

/* Absurd sizes and times are refused, and hurt nobody. */
TEST(absurd)
{
	static const uint64_t times[] = { 0, 1, QOS_HORIZON + 1, 1ull << 40, 1ull << 62, 1ull << 63,
					  UINT64_MAX };
	static const uint64_t sizes[] = { 1ull << 44, 1ull << 50, 1ull << 62, 1ull << 63,
					  UINT64_MAX };
	static struct ledger ledger;
	struct transfer transfer;
	uint64_t earliest;

	ledger_init(&ledger, RATE);
	ledger.reserved = promisable(&ledger);
	sure(!qos_reserve(&ledger.ports, PORT, ledger.reserved, MIB(1), ledger.now));
	for (int turn = 0; turn < 2; turn++) {
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			sure(admit(&ledger, &transfer, sizes[i], ledger.now + QOS_HORIZON,
				   &earliest) == QOS_LATE);
			sure(!earliest);
		}
		for (size_t i = 0; i < ARRAY_LEN(times); i++) {
			uint32_t reason = admit(&ledger, &transfer, 1, times[i], &earliest);

			sure(times[i] > ledger.now ? reason == QOS_FAR || reason == QOS_LATE ||
						     times[i] <= ledger.now + QOS_HORIZON :
			     reason == QOS_LATE);
			drop(&ledger, &transfer);
		}
		/* A port all of which is reserved, and then a free one. */
		qos_unreserve(&ledger.ports, PORT, ledger.reserved, MIB(1), ledger.now);
		ledger.reserved = 0;
		if (!turn)
			sure(!qos_reserve(&ledger.ports, PORT, 0, 0, ledger.now));
	}
	sure(!admit(&ledger, &transfer, MIB(1), ledger.now + NS_PER_S, &earliest));
}

TEST_HARNESS_MAIN
