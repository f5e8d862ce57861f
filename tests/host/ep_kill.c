// SPDX-License-Identifier: MIT
/*
 * Ranks are killed at random moments of dispatch and combine. The living must
 * be told, agree on who is left and go on; the dead comes back as a new process;
 * nobody may ever see a wrong value.
 */
#include <sys/mman.h>

#include "../ep.h"

#define KILLS		1000
#define RANKS		6
#define TURN_NS		3000000		/* between a rank's return and the next death, at most */

/* What the ranks tell, and the time of the last death. */
struct tally {
	uint64_t steps, wrong, shrinks, returned;
	uint64_t killed_at, slowest;
	uint64_t alive;		/* in the newest group */
	int error;
};

static struct ep_case shape = {
	.config = {
		.ranks = RANKS, .experts = 2 * RANKS, .hidden = 256, .top_k = 4, .max_tokens = 24,
		.send = ACCEL_EP_INT8, .back = ACCEL_EP_BF16,
	},
	.dtype = ACCEL_EP_BF16, .out_dtype = ACCEL_EP_BF16, .sum_dtype = ACCEL_EP_FP32,
	.route = EP_UNIFORM, .seed = 4,
};

#define get(word)	__atomic_load_n(&(word), __ATOMIC_SEQ_CST)
#define set(word, v)	__atomic_store_n(&(word), v, __ATOMIC_SEQ_CST)
#define add(word, n)	__atomic_fetch_add(&(word), n, __ATOMIC_SEQ_CST)

static void failed(struct tally *tally, const char *what, int err)
{
	fprintf(stderr, "# %d: %s: %d\n", (int)getpid(), what, err);
	set(tally->error, err);
	_exit(KSFT_FAIL);
}

/* How long after the last death the living were told. */
static void told(struct tally *tally)
{
	uint64_t took = now_ns() - get(tally->killed_at), slowest = get(tally->slowest);

	while (took > slowest && !__atomic_compare_exchange_n(&tally->slowest, &slowest, took, true,
							      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	add(tally->returned, 1);
}

/* Steps of one group: until somebody is gone or comes back. */
static void go_on(struct tally *tally, struct ep_work *work, uint8_t *alive)
{
	struct accel_ep_info info;
	struct ep_case c = shape;
	int err = 0;

	accel_ep_info(work->ep, &info);
	accel_ep_members(work->ep, alive);
	c.alive = alive;
	c.seed = info.epoch;
	work->c = &c;
	work->joining = 0;
	for (uint64_t step = 0; !err && !work->joining; step++) {
		err = ep_step(work, step % ACCEL_EP_LANES, step, EP_WAIT_NS);
		add(tally->steps, !err);
		add(tally->wrong, work->wrong);
		work->wrong = 0;
	}
	if (err && err != -EOWNERDEAD)
		failed(tally, "a step", err);
	if (err)
		told(tally);
}

static void live(struct tally *tally, uint32_t rank, const char *name)
{
	struct accel_dev *dev = dev_open();
	struct accel_npu_info npus[4];
	struct accel_ep_group *group;
	struct accel_ep_info info;
	uint32_t count = 4;
	uint8_t alive[RANKS];
	struct ep_work work;
	int err;

	must_ok(accel_npus(dev, npus, &count));
	err = accel_ep_join(dev, name, &shape.config, &rank, &npus[rank % count].id, 1,
			    EP_WAIT_NS, &group);
	if (err)
		failed(tally, "joining", err);
	ep_work_init(&work, &shape, accel_ep_rank(group, rank));
	for (;;) {
		accel_ep_info(work.ep, &info);
		set(tally->alive, info.alive);
		go_on(tally, &work, alive);
		err = accel_ep_shrink(work.ep, EP_WAIT_NS, alive);
		if (err)
			failed(tally, "agreeing", err);
		add(tally->shrinks, 1);
	}
}

static pid_t start(struct tally *tally, uint32_t rank, const char *name)
{
	pid_t pid = fork_worker();

	if (!pid)
		live(tally, rank, name);
	return pid;
}

static bool moved(struct tally *tally, uint64_t steps)
{
	return get(tally->error) || (get(tally->alive) == RANKS && get(tally->steps) >= steps);
}

static void kill_at_random(struct __test_metadata *_metadata, uint32_t node_ranks,
			   uint32_t chunk_tokens, uint32_t sort)
{
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int kills = scaled(KILLS), i;
	uint64_t seed = getpid();
	pid_t pids[RANKS];
	char name[32];

	ASSERT_NE(MAP_FAILED, tally);
	shape.config.node_ranks = node_ranks;
	shape.config.chunk_tokens = chunk_tokens;
	shape.config.sort = sort;
	snprintf(name, sizeof(name), "kill-%d", (int)getpid());
	for (uint32_t r = 0; r < RANKS; r++)
		pids[r] = start(tally, r, name);
	for (i = 0; i < kills && !get(tally->error); i++) {
		uint32_t victim = (seed = ep_mix(seed, i)) % RANKS;
		struct timespec ts = { .tv_nsec = ep_mix(seed, 1) % TURN_NS };
		uint64_t steps = get(tally->steps) + RANKS;

		/* All are back and at it. */
		if (!eventually(moved(tally, steps)) || get(tally->error))
			break;
		nanosleep(&ts, NULL);
		set(tally->alive, 0);
		set(tally->killed_at, now_ns());
		end_worker(pids[victim]);
		pids[victim] = start(tally, victim, name);
	}
	EXPECT_EQ(kills, i);
	EXPECT_EQ(0, tally->error);
	EXPECT_EQ(0, tally->wrong);
	EXPECT_LT(0, tally->returned);
	for (uint32_t r = 0; r < RANKS; r++)
		end_worker(pids[r]);
	ksft_print_msg("%u deaths: %lu steps, %lu calls told of them, the slowest after %lu us, "
		       "%lu agreements\n", i, (unsigned long)tally->steps,
		       (unsigned long)tally->returned, (unsigned long)tally->slowest / 1000,
		       (unsigned long)tally->shrinks);
}

TEST(random_moments)
{
	kill_at_random(_metadata, 0, 16, ACCEL_EP_SORT_RECEIVER);
}

TEST(random_moments_while_sorting)
{
	kill_at_random(_metadata, 0, 24, ACCEL_EP_SORT_SENDER);
}

/* Also those who pass on what others send, in the smallest of batches. */
TEST(random_moments_between_nodes)
{
	kill_at_random(_metadata, 2, 1, ACCEL_EP_SORT_RECEIVER);
}

TEST_HARNESS_MAIN
