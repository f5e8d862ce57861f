// SPDX-License-Identifier: MIT
/*
 * accelctl bench ep: expert dispatch and combine between processes, beside the
 * same over MPI where mpirun and ep-mpi are there. All sides are measured in
 * rounds, in turns, so that what disturbs the machine disturbs all of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accel/ep.h>
#include <accel/queue.h>

#include "bench_ep_memory.h"
#include "bench_ep_peer.h"
#include "ctl.h"

#define ROUNDS		5u
#define LIMIT_BYTES	(64ull << 20)
#define LIMIT_COPIES	8u

struct row {
	bool wanted;
	uint32_t turns;
	uint64_t bytes;		/* of a turn, all ranks together */
	uint64_t *ns;
};

struct bench {
	struct ep_bench *shared;
	struct row rows[EP_OPS][EP_ROUTES][EP_IMPLS];
	pid_t pids[EP_BENCH_RANKS_MAX];
	int orders[EP_BENCH_RANKS_MAX], answers[EP_BENCH_RANKS_MAX];
	struct ep_peer peer;
	double limit;		/* bytes a second that all CPUs can copy past the cache */
	struct json_object *list;
};

static const char *const ops[EP_OPS] = { "dispatch", "combine" };
static const char *const routes[EP_ROUTES] = { "expert", "rank" };
static const char *const impls[EP_IMPLS] = {
	"npool", "npool_noquant", "npool_packed", "npool_indexed", "npool_copied",
	"mpi_alltoallv", "mpi_window",
};

static const char *pool, *mpi;
static uint64_t ranks = 2, tokens = 128, hidden = 7168, top_k = 8, experts = 256, turns = 100;
static bool json, memory;

static const struct opt table[] = {
	OPT_POOL(pool),
	{ "ranks", 'r', OPT_NUMBER, &ranks, "N", "processes", 1, EP_BENCH_RANKS_MAX, 0 },
	{ "tokens", 't', OPT_NUMBER, &tokens, "N", "of a rank", 1, ACCEL_EP_MAX_TOKENS, 0 },
	{ "hidden", 'H', OPT_NUMBER, &hidden, "N", "elements of a token", ACCEL_EP_HIDDEN_UNIT,
	  ACCEL_EP_MAX_HIDDEN, ACCEL_EP_HIDDEN_UNIT },
	{ "top-k", 'k', OPT_NUMBER, &top_k, "N", "experts of a token", 1, EP_BENCH_TOP_K_MAX, 0 },
	{ "experts", 'e', OPT_NUMBER, &experts, "N", "in all; the ranks divide it", 1,
	  EP_BENCH_EXPERTS_MAX, 0 },
	{ "turns", 'n', OPT_NUMBER, &turns, "N", "to measure of each row", 5, EP_BENCH_TURNS_MAX, 0 },
	{ "mpi", 'm', OPT_TEXT, &mpi, "PROGRAM", "the peer, built with MPI; by default ep-mpi beside "
	  "accelctl", 0, 0, 0 },
	{ "memory", 'M', OPT_FLAG, &memory, NULL, "instead, tell the memory a rank takes, from 8 to "
	  "320 ranks", 0, 0, 0 },
	{ "json", 'j', OPT_FLAG, &json, NULL, "print a JSON list, an object a line", 0, 0, 0 },
};

static const struct opts opts = {
	"bench ep", "",
	"Measure expert dispatch and combine between processes: every rank sends its tokens to the\n"
	"experts of a random routing and gets them back. Route expert is sorted by expert;\n"
	"route rank has one expert a rank. Peers that need MPI are left out where it is not there.",
	table, ARRAY_SIZE(table), 0, 0,
};

static int failed(const char *what, int err)
{
	ctl_error("bench ep: %s: %s", what, strerror(-err));
	return ctl_status(err);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t part(const struct row *row, uint32_t per_cent)
{
	return row->ns[(uint64_t)(row->turns - 1) * per_cent / 100];
}

/* Ranks */

static int start_rank(struct bench *bench, uint32_t rank, const char *uri)
{
	int orders[2], answers[2];
	pid_t pid;

	if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The others' ends must not live on here: their end is how death is seen. */
		for (uint32_t i = 0; i < rank; i++) {
			close(bench->orders[i]);
			close(bench->answers[i]);
		}
		close(orders[1]);
		close(answers[0]);
		_exit(ep_bench_rank(bench->shared, rank, uri, orders[0], answers[1]));
	}
	close(orders[0]);
	close(answers[1]);
	bench->pids[rank] = pid;
	bench->orders[rank] = orders[1];
	bench->answers[rank] = answers[0];
	return 0;
}

static int hear_ranks(struct bench *bench)
{
	char byte;

	for (uint32_t r = 0; r < ranks; r++) {
		if (read(bench->answers[r], &byte, 1) != 1) {
			ctl_error("bench ep: rank %u ended", r);
			return CTL_FAILED;
		}
		if (bench->shared->ranks[r].error)
			return failed("a rank", bench->shared->ranks[r].error);
	}
	return CTL_OK;
}

static int start_ranks(struct bench *bench, const char *uri)
{
	int err = 0;

	for (uint32_t r = 0; r < ranks && !err; r++)
		err = start_rank(bench, r, uri);
	return err ? failed("starting ranks", err) : hear_ranks(bench);
}

/* Bytes of a row for each choice; in dispatch each carries its scale in a line of its own. */
static uint64_t choice_bytes(const struct ep_order *order)
{
	struct ep_load load = { ranks, tokens, hidden, top_k, experts, 1 };
	uint64_t rows = 0;

	for (uint32_t r = 0; r < ranks; r++)
		for (uint32_t t = 0; t < tokens; t++) {
			int32_t ids[EP_BENCH_TOP_K_MAX];

			if (order->route == EP_BY_EXPERT)
				ep_choose(&load, r, t, ids);
			else
				ep_choose_ranks(&load, r, t, ids);
			for (uint32_t k = 0; k < top_k; k++)
				rows += ids[k] >= 0;
		}
	return rows * (order->op == EP_DISPATCH ? hidden + EP_BENCH_LINE : hidden * 2);
}

static int turn_ours(struct bench *bench, struct row *row, const struct ep_order *order)
{
	const struct ep_times *times = bench->shared->ranks;
	int status;

	for (uint32_t r = 0; r < ranks; r++)
		if (write(bench->orders[r], order, sizeof(*order)) != sizeof(*order))
			return failed("telling a rank", -errno);
	status = hear_ranks(bench);
	if (status)
		return status;
	row->bytes = 0;
	for (uint32_t r = 0; r < ranks; r++)
		row->bytes += times[r].bytes / order->turns;
	/* What is read where it is was never stored. */
	if (!row->bytes)
		row->bytes = choice_bytes(order);
	for (uint32_t i = 0; i < order->turns; i++) {
		uint64_t begin = UINT64_MAX, end = 0;

		for (uint32_t r = 0; r < ranks; r++) {
			begin = times[r].begin[i] < begin ? times[r].begin[i] : begin;
			end = times[r].end[i] > end ? times[r].end[i] : end;
		}
		row->ns[row->turns++] = end - begin;
	}
	return CTL_OK;
}

/* The peer */

static int turn_peer(struct bench *bench, struct row *row, const struct ep_order *order)
{
	if (ep_peer_turns(&bench->peer, order, row->ns + row->turns)) {
		ctl_error("bench ep: the MPI peer ended");
		return CTL_SYSTEM;
	}
	row->turns += order->turns;
	row->bytes = choice_bytes(order);
	return CTL_OK;
}

/* The physical limit: all CPUs copying large blocks past the cache at once. */

static void *copier(void *arg)
{
	char *memory = aligned_alloc(4096, 2 * LIMIT_BYTES);
	uint64_t start;

	if (!memory)
		return NULL;
	memset(memory, 1, 2 * LIMIT_BYTES);
	pthread_barrier_wait(arg);
	start = ctl_now();
	for (uint32_t i = 0; i < LIMIT_COPIES; i++)
		accel_memcpy(memory + LIMIT_BYTES, memory, LIMIT_BYTES, 0);
	start = ctl_now() - start;
	free(memory);
	return (void *)(uintptr_t)start;
}

static double copy_limit(void)
{
	uint32_t cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[EP_BENCH_RANKS_MAX];
	pthread_barrier_t barrier;
	double sum = 0;

	cpus = cpus < ranks ? cpus : ranks;
	pthread_barrier_init(&barrier, NULL, cpus);
	for (uint32_t i = 0; i < cpus; i++)
		if (pthread_create(&threads[i], NULL, copier, &barrier))
			return 0;
	for (uint32_t i = 0; i < cpus; i++) {
		void *ns;

		pthread_join(threads[i], &ns);
		if (ns)
			sum += (double)LIMIT_COPIES * LIMIT_BYTES / (uintptr_t)ns;
	}
	pthread_barrier_destroy(&barrier);
	return sum * 1e9;
}

/* Rounds */

static int choose(struct bench *bench, struct row *row, const struct ep_order *order)
{
	static const bool has[EP_OPS][EP_IMPLS] = {
		[EP_DISPATCH] = { [EP_NPOOL] = 1, [EP_NPOOL_NOQUANT] = 1, [EP_NPOOL_PACKED] = 1,
				  [EP_NPOOL_INDEXED] = 1 },
		[EP_COMBINE] = { [EP_NPOOL] = 1, [EP_NPOOL_COPIED] = 1 },
	};

	row->wanted = order->impl >= EP_MPI_ALLTOALLV ? bench->peer.pid :
							has[order->op][order->impl];
	row->ns = calloc(turns, sizeof(*row->ns));
	return row->ns ? CTL_OK : failed("rows", -ENOMEM);
}

static int each_row(struct bench *bench, int (*act)(struct bench *, struct row *,
						    const struct ep_order *))
{
	int status = CTL_OK;

	for (int op = 0; op < EP_OPS; op++)
		for (int route = 0; route < EP_ROUTES; route++)
			for (int impl = 0; impl < EP_IMPLS && !status; impl++) {
				struct row *row = &bench->rows[op][route][impl];
				struct ep_order order = { op, impl, route, turns / ROUNDS };

				if (row->wanted || act == choose)
					status = act(bench, row, &order);
			}
	return status;
}

static int measure(struct bench *bench, struct row *row, const struct ep_order *order)
{
	return order->impl >= EP_MPI_ALLTOALLV ? turn_peer(bench, row, order) :
						 turn_ours(bench, row, order);
}

static int rounds(struct bench *bench)
{
	int status = CTL_OK;

	for (uint32_t i = 0; i < ROUNDS && !status; i++) {
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%3u %%", i * 100 / ROUNDS);
		status = each_row(bench, measure);
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	return status;
}

/* Showing */

static int add_json(struct bench *bench, struct row *row, const struct ep_order *order)
{
	struct json_object *object = json_object_new_object();

	ctl_json_string(object, "op", ops[order->op]);
	ctl_json_string(object, "impl", impls[order->impl]);
	ctl_json_u64(object, "ranks", ranks);
	ctl_json_string(object, "route", routes[order->route]);
	ctl_json_u64(object, "tokens", tokens);
	ctl_json_u64(object, "hidden", hidden);
	ctl_json_u64(object, "top_k", top_k);
	json_object_object_add(object, "median_us", json_object_new_double(part(row, 50) / 1e3));
	json_object_object_add(object, "p99_us", json_object_new_double(part(row, 99) / 1e3));
	ctl_json_u64(object, "bytes", row->bytes);
	json_object_array_add(bench->list, object);
	return CTL_OK;
}

static void against(const struct row *row, const struct row *peer)
{
	if (peer->wanted)
		printf("  %6.2f", (double)part(peer, 50) / part(row, 50));
	else
		printf("  %6s", "-");
}

static int print_row(struct bench *bench, struct row *row, const struct ep_order *order)
{
	const struct row *all = bench->rows[order->op][order->route];
	char median[CTL_TEXT_LEN], p99[CTL_TEXT_LEN], bytes[CTL_TEXT_LEN];

	printf("%-9s %-7s %-14s %10s %10s %10s  %5.0f %%", ops[order->op], routes[order->route],
	       impls[order->impl], ctl_nanos(part(row, 50), median), ctl_nanos(part(row, 99), p99),
	       ctl_bytes(row->bytes, bytes),
	       100.0 * row->bytes / (part(row, 50) / 1e9) / bench->limit);
	against(row, &all[EP_MPI_WINDOW]);
	against(row, &all[EP_MPI_ALLTOALLV]);
	putchar('\n');
	return CTL_OK;
}

static int sort(struct bench *bench, struct row *row, const struct ep_order *order)
{
	(void)bench;
	(void)order;
	qsort(row->ns, row->turns, sizeof(*row->ns), by_value);
	return CTL_OK;
}

static int show(struct bench *bench)
{
	char limit[CTL_TEXT_LEN];

	each_row(bench, sort);
	if (json) {
		bench->list = json_object_new_array();
		each_row(bench, add_json);
		return ctl_json(bench->list, CTL_OK);
	}
	printf("%" PRIu64 " ranks, %" PRIu64 " tokens each, hidden %" PRIu64 ", top-%" PRIu64
	       " of %" PRIu64 " experts; copying past the cache: %s/s\n"
	       "op        route   impl               median        p99      moved  of it"
	       "   window  alltoallv (times slower)\n", ranks, tokens, hidden, top_k, experts,
	       ctl_bytes(bench->limit, limit));
	each_row(bench, print_row);
	return CTL_OK;
}

static void end(struct bench *bench)
{
	for (uint32_t r = 0; r < ranks && bench->pids[r]; r++) {
		close(bench->orders[r]);
		close(bench->answers[r]);
	}
	for (uint32_t r = 0; r < ranks && bench->pids[r]; r++)
		waitpid(bench->pids[r], NULL, 0);
	ep_peer_end(&bench->peer);
	munmap(bench->shared, sizeof(*bench->shared));
}

static int run(struct bench *bench, const char *uri)
{
	int status;

	/* Children first: who forks must have no threads, and this process has some later. */
	status = start_ranks(bench, uri);
	if (status)
		return status;
	ep_peer_start(&bench->peer, &bench->shared->load, mpi);
	bench->limit = copy_limit();
	status = each_row(bench, choose);
	if (!status)
		status = rounds(bench);
	return status ? status : show(bench);
}

int cmd_bench_ep(int argc, char **argv)
{
	static struct bench bench;
	char uri[ACCEL_URI_MAX];
	struct accel_dev *dev;
	int status;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	if (memory)
		return ep_memory(&(struct ep_load){ 0, tokens, hidden, top_k, experts, 0 }, json);
	if (experts % ranks || top_k > experts) {
		ctl_error("bench ep: %" PRIu64 " ranks, %" PRIu64 " experts, top-%" PRIu64
			  ": ranks must divide experts, and top-k be no more than these",
			  ranks, experts, top_k);
		return CTL_USAGE;
	}
	signal(SIGPIPE, SIG_IGN);
	bench.shared = mmap(NULL, sizeof(*bench.shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bench.shared == MAP_FAILED)
		return failed("memory", -errno);
	bench.shared->parent = getpid();
	bench.shared->load = (struct ep_load){ ranks, tokens, hidden, top_k, experts, 1 };
	status = ctl_open(pool, &dev);
	if (status)
		return status;
	strcpy(uri, accel_uri(dev));
	accel_close(dev);
	status = run(&bench, uri);
	end(&bench);
	return status;
}
