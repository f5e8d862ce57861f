// SPDX-License-Identifier: MIT
/*
 * Conformance: experts' tokens arrive where they must and come back summed, bit
 * for bit, whatever the ranks, types and routes. Ranks are threads here.
 */
#include "../ep.h"

#define EP_NPUS		4
#define EP_NPU_BYTES	MIB(48)

FIXTURE(ep)
{
	struct accel_dev *dev;
	uint32_t npus[EP_NPUS];
};

FIXTURE_SETUP(ep)
{
	self->dev = dev_open();
	for (int i = 0; i < EP_NPUS; i++)
		self->npus[i] = npu_add(self->dev, EP_NPU_BYTES, 0);
}

static bool whole(struct accel_dev *dev, const uint32_t *npus)
{
	for (int i = 0; i < EP_NPUS; i++)
		if (npu_free(dev, npus[i]) != EP_NPU_BYTES)
			return false;
	return true;
}

FIXTURE_TEARDOWN(ep)
{
	bool all = eventually(whole(self->dev, self->npus));

	for (int i = 0; i < EP_NPUS; i++)
		accel_npu_remove(self->dev, self->npus[i]);
	accel_close(self->dev);
	if (_metadata->exit_code == KSFT_PASS)
		EXPECT_TRUE(all) TH_LOG("memory did not come back");
}

/* One rank's steps; two lanes take turns, or overlap. */
struct runner {
	pthread_t thread;
	const struct ep_case *c;
	struct accel_ep *ep;
	uint32_t steps;
	bool overlap;
	uint64_t wrong, sum;	/* sum: of all the bits that came back */
	uint64_t between;	/* rows that are to leave the node */
	int err;
};

static void add_bits(struct runner *r, const struct ep_work *w)
{
	const uint8_t *bytes = w->sums;
	uint64_t n = (uint64_t)w->count * w->c->config.hidden * ep_size(w->c->sum_dtype);

	for (uint64_t i = 0; i < n; i++)
		r->sum = ep_mix(r->sum, bytes[i]);
}

/* A token goes once to each other node that has experts of it. */
static void add_between(struct runner *r, const struct ep_work *w)
{
	const struct accel_ep_config *config = &w->c->config;
	uint32_t node_ranks = config->node_ranks ? config->node_ranks : config->ranks;

	for (uint32_t t = 0; t < w->count; t++) {
		uint32_t nodes[EP_K_MAX], count = 0, i;
		int32_t ids[EP_K_MAX];

		ep_ids(w->c, w->step, w->rank, t, ids);
		for (uint32_t k = 0; w->active[t] && k < config->top_k + config->shared; k++) {
			uint32_t node = ids[k] / (int32_t)w->slots / (int32_t)node_ranks;

			if (ids[k] < 0 || node == w->rank / node_ranks)
				continue;
			for (i = 0; i < count && nodes[i] != node; i++)
				;
			if (i == count)
				nodes[count++] = node;
		}
		r->between += count;
	}
}

/* Both lanes have rows under way before either is received, and again before either is summed. */
static int step_both(struct ep_work *w, uint64_t step)
{
	struct accel_ep_recv recv;
	int err = 0;

	for (uint32_t lane = 0; lane < 2 && !err; lane++) {
		struct accel_ep_tokens tokens = ep_tokens(&w[lane], step + lane);

		err = accel_ep_dispatch_begin(w[lane].ep, lane, &tokens, EP_WAIT_NS);
	}
	for (uint32_t lane = 0; lane < 2 && !err; lane++) {
		struct accel_ep_rows out;

		err = accel_ep_dispatch_finish(w[lane].ep, lane, w[lane].c->flags, EP_WAIT_NS,
					       &recv);
		if (err)
			break;
		ep_check_recv(&w[lane], &recv);
		out = ep_outputs(&w[lane]);
		err = accel_ep_combine_begin(w[lane].ep, lane, &out, EP_WAIT_NS);
	}
	for (uint32_t lane = 0; lane < 2 && !err; lane++) {
		struct accel_ep_rows sum = ep_sums(&w[lane]);

		err = accel_ep_combine_finish(w[lane].ep, lane, &sum, EP_WAIT_NS);
		if (!err)
			ep_check_sums(&w[lane]);
	}
	return err;
}

static void *run_rank(void *arg)
{
	struct runner *r = arg;
	struct accel_ep_stats stats;
	struct ep_work w[2];

	ep_work_init(&w[0], r->c, r->ep);
	ep_work_init(&w[1], r->c, r->ep);
	for (uint32_t step = 0; step < r->steps && !r->err; step++) {
		if (r->overlap)
			r->err = step_both(w, 2 * step);
		else
			r->err = ep_step(&w[0], step % ACCEL_EP_LANES, step, EP_WAIT_NS);
		add_bits(r, &w[0]);
		for (uint32_t i = 0; i <= r->overlap; i++)
			add_between(r, &w[i]);
	}
	accel_ep_stats(r->ep, &stats, NULL);
	r->wrong += !r->err && stats.rows_between != r->between;
	r->wrong += w[0].wrong + w[1].wrong;
	ep_work_end(&w[0]);
	ep_work_end(&w[1]);
	return NULL;
}

struct outcome {
	uint64_t wrong;
	uint64_t sum;		/* of rank 0 */
	int err;
};

static struct outcome run(struct accel_dev *dev, const uint32_t *npus, const struct ep_case *c,
			  uint32_t steps, bool overlap)
{
	uint32_t ranks[ACCEL_EP_MAX_RANKS], on[ACCEL_EP_MAX_RANKS], n = c->config.ranks;
	struct runner *r = calloc(n, sizeof(*r));
	struct accel_ep_group *group;
	struct outcome all = { 0 };
	char name[ACCEL_EP_NAME_LEN];

	for (uint32_t i = 0; i < n; i++) {
		ranks[i] = i;
		on[i] = npus[i % EP_NPUS];
	}
	snprintf(name, sizeof(name), "conf-%d", (int)getpid());
	all.err = accel_ep_join(dev, name, &c->config, ranks, on, n, EP_WAIT_NS, &group);
	if (all.err)
		goto out;
	for (uint32_t i = 0; i < n; i++) {
		pthread_attr_t attr;

		r[i] = (struct runner){ .c = c, .ep = accel_ep_rank(group, i), .steps = steps,
					.overlap = overlap };
		must(!pthread_attr_init(&attr) && !pthread_attr_setstacksize(&attr, KIB(256)));
		must(!pthread_create(&r[i].thread, &attr, run_rank, &r[i]));
	}
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(r[i].thread, NULL);
		all.wrong += r[i].wrong;
		all.err = all.err ? all.err : r[i].err;
	}
	all.sum = r[0].sum;
	accel_ep_leave(group);
out:
	free(r);
	return all;
}

#define EXPECT_RIGHT(c, steps, overlap) \
	do { \
		struct outcome o = run(self->dev, self->npus, c, steps, overlap); \
		EXPECT_EQ(0, o.err); \
		EXPECT_EQ(0, o.wrong); \
	} while (0)

/* Few experts, so that all that differs between two of these is how they are spread. */
static struct ep_case a_case(uint32_t ranks)
{
	return (struct ep_case){
		.config = {
			.ranks = ranks, .experts = 12, .hidden = 64, .top_k = 4, .max_tokens = 9,
			.send = ACCEL_EP_INT8, .back = ACCEL_EP_BF16,
		},
		.dtype = ACCEL_EP_BF16, .out_dtype = ACCEL_EP_BF16, .sum_dtype = ACCEL_EP_FP32,
		.seed = 7,
	};
}

TEST_F(ep, any_number_of_ranks)
{
	static const uint32_t counts[] = { 1, 2, 3, 8, 12 };
	uint32_t i;

	for (i = 0; i < ARRAY_LEN(counts); i++) {
		struct ep_case c = a_case(counts[i]);

		EXPECT_RIGHT(&c, scaled(40) + 1, false);
	}
}

TEST_F(ep, many_ranks)
{
	static const uint32_t counts[] = { 64, 320, 384 };
	uint32_t i;

	for (i = 0; i < ARRAY_LEN(counts); i++) {
		struct ep_case c = a_case(counts[i]);

		c.config.experts = counts[i];
		c.config.max_tokens = 3;
		c.config.hidden = 32;
		EXPECT_RIGHT(&c, 2, false);
		c.config.node_ranks = counts[i] / 8;
		EXPECT_RIGHT(&c, 1, false);
	}
}

TEST_F(ep, nodes)
{
	static const struct {
		uint32_t ranks, node_ranks;
	} shapes[] = { { 1, 1 }, { 2, 1 }, { 2, 2 }, { 4, 2 }, { 6, 3 }, { 6, 2 }, { 12, 4 } };
	uint32_t i, route;

	for (i = 0; i < ARRAY_LEN(shapes); i++)
		for (route = EP_UNIFORM; route <= EP_EMPTY; route++) {
			struct ep_case c = a_case(shapes[i].ranks);

			c.config.node_ranks = shapes[i].node_ranks;
			c.route = route;
			c.config.send = route % 2 ? ACCEL_EP_BF16 : ACCEL_EP_INT8;
			EXPECT_RIGHT(&c, scaled(20) + 2, i % 2);
		}
}

/* Rows go between nodes in many batches, each within the nodes in many rounds. */
TEST_F(ep, nodes_with_little_room)
{
	uint32_t chunk, flags, route;

	for (chunk = 1; chunk <= 7; chunk += 3)
		for (flags = 0; flags <= ACCEL_EP_INDEXED; flags++)
			for (route = EP_UNIFORM; route <= EP_EMPTY; route++) {
				struct ep_case c = a_case(6);

				c.route = route;
				c.flags = flags;
				c.config.node_ranks = 2;
				c.config.shared = chunk / 4;
				c.config.max_tokens = 50;
				c.config.chunk_tokens = chunk;
				c.config.room_percent = 1;
				EXPECT_RIGHT(&c, scaled(10) + 2, chunk == 4);
			}
}

/* Whether there is room for all or not, and whoever has too many tokens for it. */
TEST_F(ep, sorted_by_the_sender)
{
	uint32_t percent, route, flags;

	for (percent = 1; percent <= 401; percent += 100)
		for (route = EP_UNIFORM; route <= EP_EMPTY; route++)
			for (flags = 0; flags <= ACCEL_EP_INDEXED; flags++) {
				struct ep_case c = a_case(4);

				c.route = route;
				c.flags = flags;
				c.dtype = route % 2 ? ACCEL_EP_FP32 : ACCEL_EP_BF16;
				c.config.send = percent % 200 == 1 ? ACCEL_EP_INT8 : ACCEL_EP_BF16;
				c.config.sort = ACCEL_EP_SORT_SENDER;
				c.config.max_tokens = 20;
				c.config.chunk_tokens = 14;
				c.config.room_percent = percent;
				EXPECT_RIGHT(&c, scaled(10) + 2, route % 2);
			}
}

/* Rank 0 has the same tokens whatever the number of ranks: so it has the same sums. */
TEST_F(ep, sums_do_not_depend_on_ranks)
{
	struct ep_case c = a_case(1);
	struct outcome one, more;
	uint32_t ranks;

	c.config.back = ACCEL_EP_FP32;
	c.out_dtype = ACCEL_EP_FP32;
	one = run(self->dev, self->npus, &c, 3, false);
	EXPECT_EQ(0, one.err);
	for (ranks = 2; ranks <= 6; ranks++) {
		c.config.ranks = ranks;
		more = run(self->dev, self->npus, &c, 3, false);
		EXPECT_EQ(0, more.err);
		EXPECT_EQ(one.sum, more.sum);
		c.config.node_ranks = ranks % 2 ? 1 : 2;
		more = run(self->dev, self->npus, &c, 3, false);
		EXPECT_EQ(0, more.err);
		EXPECT_EQ(one.sum, more.sum);
		c.config.node_ranks = 0;
	}
}

TEST_F(ep, every_type)
{
	uint32_t dtype, send, back, out, sum;

	for (dtype = 0; dtype < 2; dtype++)
		for (send = ACCEL_EP_BF16; send <= ACCEL_EP_INT8; send += 2)
			for (back = 0; back < 2; back++)
				for (out = 0; out < 2; out++)
					for (sum = 0; sum < 2; sum++) {
						struct ep_case c = a_case(3);

						c.dtype = dtype;
						c.config.send = send;
						c.config.back = back;
						c.out_dtype = out;
						c.sum_dtype = sum;
						EXPECT_RIGHT(&c, 3, false);
					}
}

TEST_F(ep, every_route)
{
	uint32_t route;

	for (route = EP_UNIFORM; route <= EP_EMPTY; route++) {
		struct ep_case c = a_case(4);

		c.route = route;
		c.config.top_k = ACCEL_EP_MAX_TOP_K;
		EXPECT_RIGHT(&c, scaled(20) + 2, false);
	}
}

TEST_F(ep, shared_experts)
{
	struct ep_case c = a_case(3);

	c.config.shared = 2;
	EXPECT_RIGHT(&c, scaled(20) + 2, false);
}

/* Room for far fewer rows than come: the rest follows. */
TEST_F(ep, more_than_there_is_room_for)
{
	struct ep_case c = a_case(4);

	c.route = EP_HOT;
	c.config.max_tokens = 50;
	c.config.chunk_tokens = 2;
	c.config.room_percent = 1;
	EXPECT_RIGHT(&c, scaled(20) + 2, false);
	c.flags = ACCEL_EP_INDEXED;
	EXPECT_RIGHT(&c, scaled(20) + 2, false);
}

TEST_F(ep, rows_where_they_arrived)
{
	struct ep_case c = a_case(3);

	c.flags = ACCEL_EP_INDEXED;
	EXPECT_RIGHT(&c, scaled(20) + 2, false);
}

TEST_F(ep, lanes_overlap)
{
	struct ep_case c = a_case(3);

	EXPECT_RIGHT(&c, scaled(40) + 2, true);
}

TEST_F(ep, thousands_of_generations)
{
	struct ep_case c = a_case(2);

	c.config.hidden = 32;
	c.config.max_tokens = 2;
	EXPECT_RIGHT(&c, scaled(5000), false);
}

TEST_F(ep, wide_tokens)
{
	struct ep_case c = a_case(2);

	c.config.hidden = ACCEL_EP_MAX_HIDDEN;
	c.config.max_tokens = 5;
	EXPECT_RIGHT(&c, 2, false);
}

TEST_F(ep, limits)
{
	static const struct accel_ep_config good = {
		.ranks = 1, .experts = 4, .hidden = 64, .top_k = 2, .max_tokens = 4,
	};
	uint32_t rank = 0, wrong = 0, i;
	struct accel_ep_group *group;

	for (i = 0; i < 14; i++) {
		struct accel_ep_config bad = good;
		uint32_t *fields[] = {
			&bad.ranks, &bad.experts, &bad.hidden, &bad.top_k, &bad.max_tokens,
			&bad.ranks, &bad.experts, &bad.hidden, &bad.top_k, &bad.max_tokens,
			&bad.hidden, &bad.send, &bad.node_ranks, &bad.node_ranks,
		};
		static const uint32_t values[] = {
			0, 0, 0, 0, 0, ACCEL_EP_MAX_RANKS + 1, ACCEL_EP_MAX_EXPERTS + 1,
			ACCEL_EP_MAX_HIDDEN + 32, ACCEL_EP_MAX_TOP_K + 1, ACCEL_EP_MAX_TOKENS + 1,
			33, ACCEL_EP_FP32, 2, UINT32_MAX,
		};

		*fields[i] = values[i];
		wrong += accel_ep_join(self->dev, "limits", &bad, &rank, &self->npus[0], 1, 0,
				       &group) != -EINVAL;
	}
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, accel_ep_join(self->dev, "limits", &good, &rank, &self->npus[0], 1,
				   EP_WAIT_NS, &group));
	accel_ep_leave(group);
}

TEST_HARNESS_MAIN
