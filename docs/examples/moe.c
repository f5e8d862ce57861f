// SPDX-License-Identifier: MIT
/*
 * A mixture-of-experts layer on four ranks, before and after its experts are placed by
 * the load they had, against the same layer without ranks or INT8: moe [URI]
 *
 * An expert is one matrix and a ReLU. A router picks two experts for each token; some
 * experts are in demand, and the first table has those on one rank.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/ep_plan.h>

#define RANKS 4
#define EXPERTS 16
#define EACH (EXPERTS / RANKS)	/* experts of a rank at first */
#define SLOTS (EACH + 2)	/* room for replicas */
#define TOP_K 2
#define TOKENS 96		/* of each rank */
#define HIDDEN 256
#define TIMEOUT 10000000000
#define BAR 10			/* rows that a character stands for */

struct expert {
	float weights[HIDDEN][HIDDEN];	/* of each output */
	int8_t integers[HIDDEN][HIDDEN];
	float scales[HIDDEN];
};

struct rank {
	struct accel_ep *ep;
	float in[TOKENS][HIDDEN], out[TOKENS][HIDDEN];
	int32_t chosen[TOKENS][TOP_K];
	float gates[TOKENS][TOP_K];
	uint32_t rows;			/* that its experts worked on, and what they made */
	float made[RANKS * TOKENS * TOP_K][HIDDEN];
};

struct table {
	uint32_t first[EXPERTS + 1];
	struct accel_ep_place places[RANKS * SLOTS];
};

static struct expert experts[EXPERTS];
static float router[EXPERTS][HIDDEN];
static struct rank ranks[RANKS];
static struct table table;

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

static float size_of(float x)
{
	return x < 0 ? -x : x;
}

/* Between -1 and 1. */
static float uniform(void)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return (int32_t)state / 2147483648.0f;
}

static float scale_of(const float *x)
{
	float largest = 0;

	for (int i = 0; i < HIDDEN; i++)
		if (size_of(x[i]) > largest)
			largest = size_of(x[i]);
	return largest / 127;
}

static void make_experts(void)
{
	for (int e = 0; e < EXPERTS; e++)
		for (int i = 0; i < HIDDEN; i++) {
			struct expert *expert = &experts[e];

			router[e][i] = uniform() / 16;
			for (int j = 0; j < HIDDEN; j++)
				expert->weights[i][j] = uniform() / 8;
			expert->scales[i] = scale_of(expert->weights[i]);
			for (int j = 0; j < HIDDEN; j++) {
				float x = expert->weights[i][j] / expert->scales[i];

				expert->integers[i][j] = x < 0 ? x - 0.5f : x + 0.5f;
			}
		}
}

/* The experts of most score, which is between 0 and 1; their gates add up to 1. */
static void route(struct rank *rank, int token)
{
	int32_t *chosen = rank->chosen[token];
	float scores[EXPERTS], *gates = rank->gates[token];

	chosen[0] = chosen[1] = ACCEL_EP_SKIP;
	for (int e = 0; e < EXPERTS; e++) {
		float x = e < EACH ? 0.5f : 0;	/* what makes these popular */

		for (int i = 0; i < HIDDEN; i++)
			x += router[e][i] * rank->in[token][i];
		scores[e] = 0.5f + 0.5f * x / (1 + size_of(x));
		if (chosen[0] < 0 || scores[e] > scores[chosen[0]]) {
			chosen[1] = chosen[0];
			chosen[0] = e;
		} else if (chosen[1] < 0 || scores[e] > scores[chosen[1]]) {
			chosen[1] = e;
		}
	}
	gates[0] = scores[chosen[0]] / (scores[chosen[0]] + scores[chosen[1]]);
	gates[1] = 1 - gates[0];
}

static void make_tokens(void)
{
	for (int r = 0; r < RANKS; r++)
		for (int t = 0; t < TOKENS; t++) {
			for (int i = 0; i < HIDDEN; i++)
				ranks[r].in[t][i] = uniform();
			route(&ranks[r], t);
		}
}

/* All in integers but for the scales. */
static void apply(const struct expert *expert, const int8_t *x, float scale, float *y)
{
	for (int i = 0; i < HIDDEN; i++) {
		int32_t sum = 0;

		for (int j = 0; j < HIDDEN; j++)
			sum += expert->integers[i][j] * x[j];
		y[i] = sum > 0 ? sum * (expert->scales[i] * scale) : 0;
	}
}

/* Which expert lies in each slot of a rank. */
static void find_slots(uint32_t rank, const struct expert **slots)
{
	for (uint32_t e = 0; e < EXPERTS; e++)
		for (uint32_t at = table.first[e]; at < table.first[e + 1]; at++)
			if (table.places[at].rank == rank)
				slots[table.places[at].slot] = &experts[e];
}

static void *run_rank(void *arg)
{
	struct rank *rank = arg;
	struct accel_ep_tokens tokens = {
		.rows = rank->in, .stride = sizeof(rank->in[0]), .dtype = ACCEL_EP_FP32,
		.experts = rank->chosen[0], .weights = rank->gates[0], .count = TOKENS,
	};
	struct accel_ep_rows to = {
		.rows = rank->out, .stride = sizeof(rank->out[0]), .dtype = ACCEL_EP_FP32,
	};
	struct accel_ep_rows back = {
		.rows = rank->made, .stride = sizeof(rank->made[0]), .dtype = ACCEL_EP_FP32,
	};
	const struct expert *slots[SLOTS];
	struct accel_ep_recv recv;

	find_slots(rank - ranks, slots);
	must(accel_ep_dispatch(rank->ep, 0, &tokens, 0, TIMEOUT, &recv), "accel_ep_dispatch");
	rank->rows = recv.total;
	for (uint32_t row = 0; row < recv.total; row++)
		apply(slots[recv.origins[row].slot], (const int8_t *)recv.rows + row * recv.stride,
		      recv.scales[row], rank->made[row]);
	must(accel_ep_combine(rank->ep, 0, &back, &to, TIMEOUT), "accel_ep_combine");
	return NULL;
}

static void run_layer(uint64_t version)
{
	pthread_t threads[RANKS];

	for (int r = 0; r < RANKS; r++) {
		must(accel_ep_set_table(ranks[r].ep, version, table.first, table.places),
		     "accel_ep_set_table");
		must(-pthread_create(&threads[r], NULL, run_rank, &ranks[r]), "a thread");
	}
	for (int r = 0; r < RANKS; r++)
		pthread_join(threads[r], NULL);
}

/*
 * Adds what an expert makes of a token, in FP32, and how far INT8 may be from it: each
 * factor by half its scale, then what BF16 and FP32 round.
 */
static void add_reference(const struct expert *expert, float gate, const float *x, double *sum,
			  double *off)
{
	double half = scale_of(x) / 2, size = 0;

	for (int j = 0; j < HIDDEN; j++)
		size += size_of(x[j]) + half;
	for (int i = 0; i < HIDDEN; i++) {
		double y = 0, weight = 0, by, all = 0;

		for (int j = 0; j < HIDDEN; j++) {
			y += (double)expert->weights[i][j] * x[j];
			weight += size_of(expert->weights[i][j]);
			all += size_of(expert->weights[i][j] * x[j]);
		}
		by = half * weight + expert->scales[i] / 2 * size;
		y = y > 0 ? y : 0;
		sum[i] += gate * y;
		off[i] += gate * (by + (y + by) / 512 + all / 100000);
	}
}

static bool right(void)
{
	double worst = 0, allowed = 0;
	bool well = true;

	for (int n = 0; n < RANKS * TOKENS; n++) {
		const struct rank *rank = &ranks[n / TOKENS];
		double sum[HIDDEN] = { 0 }, off[HIDDEN] = { 0 };
		int t = n % TOKENS;

		for (int k = 0; k < TOP_K; k++)
			add_reference(&experts[rank->chosen[t][k]], rank->gates[t][k], rank->in[t],
				      sum, off);
		for (int i = 0; i < HIDDEN; i++) {
			double is = sum[i] - rank->out[t][i];

			is = is < 0 ? -is : is;
			well = well && is <= off[i];
			worst = is > worst ? is : worst;
			allowed = off[i] > allowed ? off[i] : allowed;
		}
	}
	printf("  off by %.3f at most, where %.3f is allowed\n", worst, allowed);
	return well;
}

static uint32_t show(const char *when)
{
	static const char bar[] = "################################################################";
	uint32_t busiest = 0;

	printf("%s\n", when);
	for (int r = 0; r < RANKS; r++) {
		printf("  rank %d %.*s %u\n", r, (int)(ranks[r].rows / BAR), bar, ranks[r].rows);
		if (ranks[r].rows > busiest)
			busiest = ranks[r].rows;
	}
	return busiest;
}

static void place_in_order(void)
{
	for (uint32_t e = 0; e <= EXPERTS; e++)
		table.first[e] = e;
	for (uint32_t e = 0; e < EXPERTS; e++)
		table.places[e] = (struct accel_ep_place){ e / EACH, e % EACH };
}

static void place_by_load(void)
{
	struct accel_ep_plan_config config = {
		.experts = EXPERTS, .ranks = RANKS, .slots = SLOTS, .places = RANKS * SLOTS,
	};
	uint64_t loads[EXPERTS] = { 0 }, of_rank[EXPERTS];
	struct accel_ep_stats stats;

	for (int r = 0; r < RANKS; r++) {
		accel_ep_stats(ranks[r].ep, &stats, of_rank);
		for (int e = 0; e < EXPERTS; e++)
			loads[e] += of_rank[e];
	}
	must(accel_ep_plan(&config, loads, table.first, table.places), "accel_ep_plan");
}

static struct accel_ep_group *join(struct accel_dev *dev)
{
	struct accel_ep_config config = {
		.ranks = RANKS, .experts = EXPERTS, .slots = SLOTS, .hidden = HIDDEN,
		.top_k = TOP_K, .max_tokens = TOKENS, .send = ACCEL_EP_INT8, .back = ACCEL_EP_BF16,
	};
	uint32_t numbers[RANKS], places[RANKS], count = RANKS;
	struct accel_npu_info npus[RANKS];
	struct accel_ep_group *group;

	must(accel_npus(dev, npus, &count), "accel_npus");
	for (uint32_t r = 0; r < RANKS; r++) {
		numbers[r] = r;
		places[r] = npus[r % (count < RANKS ? count : RANKS)].id;
	}
	must(accel_ep_join(dev, "moe", &config, numbers, places, RANKS, TIMEOUT, &group),
	     "accel_ep_join");
	for (uint32_t r = 0; r < RANKS; r++)
		ranks[r].ep = accel_ep_rank(group, r);
	return group;
}

int main(int argc, char **argv)
{
	static float before[RANKS][TOKENS][HIDDEN];
	struct accel_ep_group *group;
	struct accel_dev *dev;
	uint32_t busiest;
	bool well;

	must(accel_open(argc > 1 ? argv[1] : "soft:example", &dev), "accel_open");
	make_experts();
	make_tokens();
	group = join(dev);

	place_in_order();
	run_layer(1);
	busiest = show("rows of each rank, its experts in order:");
	well = right();
	for (int r = 0; r < RANKS; r++)
		memcpy(before[r], ranks[r].out, sizeof(before[r]));

	place_by_load();
	run_layer(2);
	well = show("and with replicas, placed by load:") < busiest && well;
	well = right() && well;
	/* Where an expert lies makes no difference, to the last bit. */
	for (int r = 0; r < RANKS; r++)
		well = well && !memcmp(before[r], ranks[r].out, sizeof(before[r]));

	accel_ep_leave(group);
	accel_close(dev);
	return well ? 0 : 1;
}
