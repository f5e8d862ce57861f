// SPDX-License-Identifier: MIT
/*
 * The peer of accelctl bench ep: expert dispatch and combine over MPI, as well as
 * they can be written. Two ways of each: alltoallv packs, exchanges counts and
 * rows, and sorts what came by expert; window is a shared-memory window that
 * everybody stores into (dispatch) and reads from (combine) directly, at the
 * place where a row ends up.
 *
 * Run by mpirun; arguments: tokens hidden top_k experts seed.
 */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "../bench_ep.h"

#define NAP_NS		5000000		/* how often an idle rank looks for work */
#define TUNE_TURNS	6
#define WARM_TURNS	2

enum { OP_DISPATCH, OP_COMBINE };
enum { IMPL_ALLTOALLV, IMPL_WINDOW };
enum { ROUTE_EXPERT, ROUTE_RANK };

struct order {
	int32_t op, impl, route, turns;
};

static struct ep_load load;
static int rank;
static uint64_t row_bytes, back_bytes;	/* in dispatch, in combine */
static uint32_t most;			/* rows that a rank can send, or get from one */
static int32_t *ids[2];			/* by route: [tokens][top_k] */
static float *weights;			/* [tokens][top_k] */
static char *tokens;			/* [tokens] rows, quantised */
static char *sent, *came;		/* of alltoallv */
static float *sums;			/* [tokens][hidden] */
static char *output;			/* a row that an expert puts out */
static MPI_Win window;
static int32_t **counts;		/* [ranks], each [experts]: what that rank sends */
static char **packed;			/* [ranks], each where that rank's rows end up, by expert */
static char **outputs;			/* [ranks], what experts made of them, in this order */
static bool stream;			/* stores that bypass the cache are the faster ones here */

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void copy(char *to, const char *from, uint64_t bytes)
{
#if defined(__AVX512F__)
	if (stream) {
		for (uint64_t i = 0; i < bytes; i += EP_BENCH_LINE)
			_mm512_stream_si512((void *)(to + i), _mm512_loadu_si512(from + i));
		return;
	}
#elif defined(__AVX2__)
	if (stream) {
		for (uint64_t i = 0; i < bytes; i += 32)
			_mm256_stream_si256((void *)(to + i),
					    _mm256_loadu_si256((const void *)(from + i)));
		return;
	}
#endif
	memcpy(to, from, bytes);
}

static void copied(void)
{
#if defined(__AVX512F__) || defined(__AVX2__)
	_mm_sfence();
#endif
}

static uint32_t each_of(int route)
{
	return route == ROUTE_EXPERT ? load.experts / load.ranks : 1;
}

/* How many rows this rank has for each expert. */
static void count(int route, int32_t *to)
{
	const int32_t *id = ids[route];

	memset(to, 0, each_of(route) * load.ranks * sizeof(*to));
	for (uint32_t i = 0; i < load.tokens * load.top_k; i++)
		if (id[i] >= 0)
			to[id[i]]++;
}

/* acc = the weighted sum of the rows at @row, in their order. */
static void add_up(float *restrict acc, const uint16_t *const *row, const float *weight,
		   uint32_t n)
{
#if defined(__AVX512F__)
	for (uint32_t i = 0; i < load.hidden; i += 16) {
		__m512 sum = _mm512_setzero_ps();

		for (uint32_t k = 0; k < n; k++) {
			__m256i y = _mm256_loadu_si256((const void *)(row[k] + i));
			__m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(y), 16);

			sum = _mm512_fmadd_ps(_mm512_castsi512_ps(wide),
					      _mm512_set1_ps(weight[k]), sum);
		}
		_mm512_storeu_ps(acc + i, sum);
	}
#else
	for (uint32_t i = 0; i < load.hidden; i++) {
		float sum = 0;

		for (uint32_t k = 0; k < n; k++) {
			uint32_t bits = (uint32_t)row[k][i] << 16;
			float y;

			memcpy(&y, &bits, sizeof(y));
			sum += y * weight[k];
		}
		acc[i] = sum;
	}
#endif
}

/* Rows of all experts before @expert, in the order of hosts, from this rank. */
static void prefix(int route, const int32_t *n, uint32_t *start)
{
	uint32_t at = 0;

	for (uint32_t e = 0; e < each_of(route) * load.ranks; e++) {
		start[e] = at;
		at += n[e];
	}
}

/* Where the rows of source @s for expert @e (of host @r) begin in that host's packed rows. */
static uint32_t base(uint32_t r, uint32_t e, uint32_t s, uint32_t each)
{
	uint32_t at = 0;

	for (uint32_t other = r * each; other < e; other++)
		for (uint32_t i = 0; i < load.ranks; i++)
			at += counts[i][other];
	for (uint32_t i = 0; i < s; i++)
		at += counts[i][e];
	return at;
}

static void bases(int route, uint32_t *start)
{
	uint32_t each = each_of(route);

	for (uint32_t r = 0; r < load.ranks; r++) {
		uint32_t at = 0;

		for (uint32_t e = r * each; e < (r + 1) * each; e++)
			for (uint32_t s = 0; s < load.ranks; s++) {
				if (s == (uint32_t)rank)
					start[e] = at;
				at += counts[s][e];
			}
	}
}

static void exchange(char *from, const int32_t *n, int route, uint64_t bytes, bool back)
{
	uint32_t each = each_of(route);
	int out[EP_BENCH_RANKS_MAX], in[EP_BENCH_RANKS_MAX];
	int out_at[EP_BENCH_RANKS_MAX], in_at[EP_BENCH_RANKS_MAX];
	int at = 0, to = 0;

	for (uint32_t r = 0; r < load.ranks; r++) {
		int mine = 0, theirs = 0;

		for (uint32_t i = 0; i < each; i++) {
			mine += n[r * each + i];
			theirs += counts[r][rank * each + i];
		}
		out[r] = (back ? theirs : mine) * bytes;
		in[r] = (back ? mine : theirs) * bytes;
		out_at[r] = at;
		in_at[r] = to;
		at += out[r];
		to += in[r];
	}
	MPI_Alltoallv(from, out, out_at, MPI_BYTE, came, in, in_at, MPI_BYTE, MPI_COMM_WORLD);
}

/* Runs of rows between the order of arrival, by source, and that of experts. */
static void sort_runs(int route, char *by_source, char *by_expert, uint64_t bytes, bool to_source)
{
	uint32_t each = each_of(route), at = 0;

	for (uint32_t s = 0; s < load.ranks; s++)
		for (uint32_t e = rank * each; e < (rank + 1) * each; e++) {
			char *sorted = by_expert + base(rank, e, s, each) * bytes;
			char *run = by_source + at * bytes;

			copy(to_source ? run : sorted, to_source ? sorted : run,
			     counts[s][e] * bytes);
			at += counts[s][e];
		}
	copied();
}

static void dispatch_alltoallv(int route)
{
	int32_t n[EP_BENCH_EXPERTS_MAX], got[EP_BENCH_EXPERTS_MAX];
	uint32_t start[EP_BENCH_EXPERTS_MAX], each = each_of(route);

	count(route, n);
	prefix(route, n, start);
	for (uint32_t t = 0; t < load.tokens; t++)
		for (uint32_t k = 0; k < load.top_k; k++) {
			int32_t id = ids[route][t * load.top_k + k];

			if (id >= 0)
				copy(sent + start[id]++ * row_bytes, tokens + t * row_bytes,
				     row_bytes);
		}
	copied();
	MPI_Alltoall(n, each, MPI_INT32_T, got, each, MPI_INT32_T, MPI_COMM_WORLD);
	for (uint32_t s = 0; s < load.ranks; s++)
		memcpy(counts[s] + rank * each, got + s * each, each * sizeof(*got));
	exchange(sent, n, route, row_bytes, false);
	sort_runs(route, came, packed[rank], row_bytes, false);
}

static void settle(void)
{
	copied();
	MPI_Win_sync(window);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Win_sync(window);
}

static void dispatch_window(int route)
{
	uint32_t start[EP_BENCH_EXPERTS_MAX], each = each_of(route);

	count(route, counts[rank]);
	settle();
	bases(route, start);
	for (uint32_t t = 0; t < load.tokens; t++)
		for (uint32_t k = 0; k < load.top_k; k++) {
			int32_t id = ids[route][t * load.top_k + k];

			if (id >= 0)
				copy(packed[id / each] + start[id]++ * row_bytes,
				     tokens + t * row_bytes, row_bytes);
		}
	settle();
}

static void sum_tokens(int route, char *const *rows, uint32_t *start, uint32_t each)
{
	for (uint32_t t = 0; t < load.tokens; t++) {
		const uint16_t *row[EP_BENCH_TOP_K_MAX];
		float weight[EP_BENCH_TOP_K_MAX];
		uint32_t n = 0;

		for (uint32_t k = 0; k < load.top_k; k++) {
			int32_t id = ids[route][t * load.top_k + k];

			if (id < 0)
				continue;
			weight[n] = weights[t * load.top_k + k];
			row[n++] = (const void *)(rows[id / each] + start[id]++ * back_bytes);
		}
		add_up(sums + (uint64_t)t * load.hidden, row, weight, n);
	}
}

static void combine_alltoallv(int route)
{
	int32_t n[EP_BENCH_EXPERTS_MAX];
	uint32_t start[EP_BENCH_EXPERTS_MAX];
	char *rows[EP_BENCH_RANKS_MAX];

	count(route, n);
	sort_runs(route, sent, outputs[rank], back_bytes, true);
	exchange(sent, n, route, back_bytes, true);
	prefix(route, n, start);
	for (uint32_t r = 0; r < load.ranks; r++)
		rows[r] = came;
	sum_tokens(route, rows, start, each_of(route));
}

/* The experts left their outputs in the window: nothing to store. */
static void combine_window(int route)
{
	uint32_t start[EP_BENCH_EXPERTS_MAX];

	settle();
	bases(route, start);
	sum_tokens(route, outputs, start, each_of(route));
	settle();
}

static void dispatch(const struct order *order)
{
	if (order->impl == IMPL_ALLTOALLV)
		dispatch_alltoallv(order->route);
	else
		dispatch_window(order->route);
}

/* Every expert writes its outputs, so that they lie in the cache as far as that reaches. */
static void put_out(const struct order *order)
{
	uint32_t each = each_of(order->route), rows = 0;

	for (uint32_t s = 0; s < load.ranks; s++)
		for (uint32_t e = rank * each; e < (rank + 1) * each; e++)
			rows += counts[s][e];
	for (uint32_t i = 0; i < rows; i++)
		memcpy(outputs[rank] + i * back_bytes, output, back_bytes);
}

/* Only the half that is measured lies between the clocks. */
static void turn(const struct order *order, uint64_t *begin, uint64_t *end)
{
	MPI_Barrier(MPI_COMM_WORLD);
	*begin = now();
	dispatch(order);
	*end = now();
	if (order->op == OP_DISPATCH)
		return;
	put_out(order);
	MPI_Barrier(MPI_COMM_WORLD);
	*begin = now();
	if (order->impl == IMPL_ALLTOALLV)
		combine_alltoallv(order->route);
	else
		combine_window(order->route);
	*end = now();
}

/* Times of the turns, from the first that began to the last that ended; at rank 0. */
static void measure(const struct order *order, uint64_t *ns)
{
	uint64_t *begin = ns + order->turns, *end = begin + order->turns;
	uint64_t *all = end + order->turns;

	for (uint32_t i = 0; i < WARM_TURNS; i++)
		turn(order, begin, end);
	for (int32_t i = 0; i < order->turns; i++)
		turn(order, &begin[i], &end[i]);
	MPI_Reduce(begin, all, order->turns, MPI_UINT64_T, MPI_MIN, 0, MPI_COMM_WORLD);
	MPI_Reduce(end, all + order->turns, order->turns, MPI_UINT64_T, MPI_MAX, 0,
		   MPI_COMM_WORLD);
	for (int32_t i = 0; i < order->turns; i++)
		ns[i] = all[order->turns + i] - all[i];
}

/* Whether to bypass the cache, for each kind of turn, is what was faster when tried. */
static void tune(const struct order *order, uint64_t *ns)
{
	struct order trial = *order;
	uint64_t sum[2] = { 0 };
	int faster;

	trial.turns = TUNE_TURNS;
	for (int way = 0; way < 2; way++) {
		stream = way;
		measure(&trial, ns);
		for (int32_t i = 0; i < trial.turns; i++)
			sum[way] += ns[i];
	}
	faster = sum[1] < sum[0];
	MPI_Bcast(&faster, 1, MPI_INT, 0, MPI_COMM_WORLD);
	stream = faster;
}

static bool pick(const char *word, const char *zero, const char *one, int32_t *to)
{
	*to = !strcmp(word, one);
	return *to || !strcmp(word, zero);
}

/* False at the end. */
static bool hear(struct order *order)
{
	char line[128], op[16], impl[16], route[16];

	memset(order, 0, sizeof(*order));
	if (!fgets(line, sizeof(line), stdin) || line[0] == '\n')
		return false;
	if (sscanf(line, "%15s %15s %15s %d", op, impl, route, &order->turns) != 4 ||
	    !pick(op, "dispatch", "combine", &order->op) ||
	    !pick(impl, "alltoallv", "window", &order->impl) ||
	    !pick(route, "expert", "rank", &order->route) || order->turns < 1 ||
	    order->turns > (int32_t)EP_BENCH_TURNS_MAX) {
		fprintf(stderr, "ep-mpi: cannot read '%s'\n", line);
		MPI_Abort(MPI_COMM_WORLD, 2);
	}
	return true;
}

/* MPI polls while it waits; an idle rank is not to take the others' time. */
static bool next(struct order *order)
{
	struct timespec nap = { 0, NAP_NS };
	MPI_Request request;
	int done = 0;
	bool more = rank || hear(order);

	(void)more;
	MPI_Ibcast(order, sizeof(*order), MPI_BYTE, 0, MPI_COMM_WORLD, &request);
	for (;;) {
		MPI_Test(&request, &done, MPI_STATUS_IGNORE);
		if (done)
			return order->turns;
		nanosleep(&nap, NULL);
	}
}

static void *allot(uint64_t bytes)
{
	void *memory = aligned_alloc(4096, (bytes + 4095) & ~4095ull);

	if (!memory) {
		fprintf(stderr, "ep-mpi: out of memory\n");
		MPI_Abort(MPI_COMM_WORLD, 1);
	}
	memset(memory, 1, bytes);
	return memory;
}

static void make_window(void)
{
	uint64_t head = (load.experts * sizeof(int32_t) + 4095) & ~4095ull;
	uint64_t rows = (uint64_t)most * load.ranks;
	uint64_t bytes = rows * (row_bytes + back_bytes);
	MPI_Info info;
	char *own;

	/* Each rank's part in pages of its own, so that rows are whole lines. */
	MPI_Info_create(&info);
	MPI_Info_set(info, "alloc_shared_noncontig", "true");
	MPI_Win_allocate_shared(head + bytes + 4096, 1, info, MPI_COMM_WORLD, &own, &window);
	MPI_Info_free(&info);
	MPI_Win_lock_all(MPI_MODE_NOCHECK, window);
	memset(own, 0, head + bytes);
	counts = allot(load.ranks * sizeof(*counts));
	packed = allot(load.ranks * sizeof(*packed));
	outputs = allot(load.ranks * sizeof(*outputs));
	for (uint32_t r = 0; r < load.ranks; r++) {
		MPI_Aint size;
		char *at;
		int unit;

		MPI_Win_shared_query(window, r, &size, &unit, &at);
		at += -(uintptr_t)at % EP_BENCH_LINE;
		counts[r] = (int32_t *)at;
		packed[r] = at + head;
		outputs[r] = packed[r] + rows * row_bytes;
	}
}

static void make_tokens(void)
{
	uint64_t state = load.seed + rank;

	tokens = allot(load.tokens * row_bytes);
	output = allot(back_bytes);
	sums = allot((uint64_t)load.tokens * load.hidden * sizeof(*sums));
	weights = allot((uint64_t)load.tokens * load.top_k * sizeof(*weights));
	for (uint32_t i = 0; i < load.tokens * load.top_k; i++)
		weights[i] = (float)(ep_random(&state) % 1000) / 1000;
	for (int route = 0; route < 2; route++) {
		ids[route] = allot((uint64_t)(load.tokens + 1) * load.top_k * sizeof(*ids[0]));
		for (uint32_t t = 0; t < load.tokens; t++) {
			int32_t id[EP_BENCH_TOP_K_MAX];

			if (route == ROUTE_EXPERT)
				ep_choose(&load, rank, t, id);
			else
				ep_choose_ranks(&load, rank, t, id);
			memcpy(ids[route] + t * load.top_k, id, load.top_k * sizeof(*id));
		}
	}
}

int main(int argc, char **argv)
{
	struct order order = { 0 };
	uint64_t *ns;
	int size;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	if (argc != 6)
		MPI_Abort(MPI_COMM_WORLD, 2);
	load = (struct ep_load){
		.ranks = size, .tokens = atoi(argv[1]), .hidden = atoi(argv[2]),
		.top_k = atoi(argv[3]), .experts = atoi(argv[4]), .seed = strtoull(argv[5], 0, 10),
	};
	row_bytes = load.hidden + EP_BENCH_LINE;
	back_bytes = load.hidden * 2ull;
	most = load.tokens * load.top_k;
	make_window();
	make_tokens();
	sent = allot((uint64_t)most * load.ranks * back_bytes);
	came = allot((uint64_t)most * load.ranks * back_bytes);
	ns = allot(5ull * EP_BENCH_TURNS_MAX * sizeof(*ns));
	while (next(&order)) {
		tune(&order, ns);
		measure(&order, ns);
		for (int32_t i = 0; !rank && i < order.turns; i++)
			printf("%llu%c", (unsigned long long)ns[i],
			       i + 1 < order.turns ? ' ' : '\n');
		fflush(stdout);
	}
	MPI_Win_unlock_all(window);
	MPI_Win_free(&window);
	MPI_Finalize();
	return 0;
}
