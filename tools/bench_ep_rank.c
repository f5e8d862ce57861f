// SPDX-License-Identifier: MIT
/*
 * A rank of accelctl bench ep: a process that joins a group for each route and
 * makes the turns that it is told to, in step with the others.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accel/ep.h>

#include "bench_ep_rank.h"
#include "ctl.h"

#define PATIENCE_NS	20000000000ll
#define WARM_TURNS	3u
#define MEET_LOOKS	200u		/* before others may run */

struct rank {
	struct ep_bench *bench;
	const struct ep_load *load;
	uint32_t rank;
	struct accel_dev *dev;
	struct accel_ep_group *groups[EP_ROUTES][ACCEL_EP_SORT_SENDER + 1];
	struct accel_ep *ep;		/* of the route that is measured */
	int32_t *ids[EP_ROUTES];
	float *weights;
	uint16_t *bf16;
	int8_t *int8;
	float *scales;
	uint16_t *row;			/* what experts put out, ... */
	uint16_t *outputs;		/* ... elsewhere */
	float *sums;
};

static struct accel_ep_tokens tokens_of(const struct rank *r, const struct ep_order *order)
{
	bool ready = order->impl == EP_NPOOL_NOQUANT;

	return (struct accel_ep_tokens){
		.rows = ready ? (const void *)r->int8 : r->bf16,
		.stride = r->load->hidden * (ready ? 1ull : 2ull),
		.scales = ready ? r->scales : NULL,
		.dtype = ready ? ACCEL_EP_INT8 : ACCEL_EP_BF16,
		.experts = r->ids[order->route], .weights = r->weights,
		.count = r->load->tokens,
	};
}

/* Outputs lie where the experts put them: where the group can read them, or anywhere. */
static struct accel_ep_rows outputs_of(const struct rank *r, const struct ep_order *order,
				       const struct accel_ep_recv *recv)
{
	if (order->impl == EP_NPOOL && recv->out)
		return (struct accel_ep_rows){ recv->out, recv->out_stride, ACCEL_EP_BF16 };
	return (struct accel_ep_rows){ r->outputs, r->load->hidden * 2ull, ACCEL_EP_BF16 };
}

/* As MPI's barrier it polls: who had to wake up first would have that measured with the rest. */
static int meet(struct ep_bench *bench)
{
	uint32_t met = __atomic_load_n(&bench->met, __ATOMIC_ACQUIRE), looks = 0;

	if (__atomic_add_fetch(&bench->came, 1, __ATOMIC_ACQ_REL) == bench->load.ranks) {
		__atomic_store_n(&bench->came, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&bench->met, met + 1, __ATOMIC_RELEASE);
		return 0;
	}
	while (__atomic_load_n(&bench->met, __ATOMIC_ACQUIRE) == met) {
		if (__atomic_load_n(&bench->failed, __ATOMIC_RELAXED))
			return -ECANCELED;
		if (++looks > MEET_LOOKS)
			sched_yield();
	}
	return 0;
}

/* Only the half that is measured lies between the clocks. */
static int turn(struct rank *r, const struct ep_order *order, uint64_t *begin, uint64_t *end)
{
	struct accel_ep_tokens tokens = tokens_of(r, order);
	struct accel_ep_rows sum = { r->sums, r->load->hidden * 4ull, ACCEL_EP_FP32 };
	uint32_t flags = order->impl == EP_NPOOL_INDEXED ? ACCEL_EP_INDEXED : 0;
	struct accel_ep_recv recv;
	struct accel_ep_rows out;
	int err;

	err = meet(r->bench);
	if (err)
		return err;
	*begin = ctl_now();
	err = accel_ep_dispatch(r->ep, 0, &tokens, flags, PATIENCE_NS, &recv);
	*end = ctl_now();
	if (err || order->op == EP_DISPATCH)
		return err ? err : accel_ep_release(r->ep, 0);
	out = outputs_of(r, order, &recv);
	for (uint32_t i = 0; i < recv.total; i++)
		memcpy((char *)out.rows + i * out.stride, r->row, r->load->hidden * 2ull);
	err = meet(r->bench);
	if (err)
		return err;
	*begin = ctl_now();
	err = accel_ep_combine(r->ep, 0, &out, &sum, PATIENCE_NS);
	*end = ctl_now();
	return err;
}

/* Where it makes a difference, by the sender: calls are large. */
static uint32_t sort_of(const struct ep_order *order)
{
	bool sender = order->impl == EP_NPOOL || order->impl == EP_NPOOL_NOQUANT;

	return sender && order->op == EP_DISPATCH ? ACCEL_EP_SORT_SENDER : ACCEL_EP_SORT_RECEIVER;
}

static int turns(struct rank *r, const struct ep_order *order)
{
	struct ep_times *times = &r->bench->ranks[r->rank];
	struct accel_ep_stats from, to;
	uint64_t idle;
	int err = 0;

	r->ep = accel_ep_rank(r->groups[order->route][sort_of(order)], r->rank);
	for (uint32_t i = 0; i < WARM_TURNS && !err; i++)
		err = turn(r, order, &idle, &idle);
	accel_ep_stats(r->ep, &from, NULL);
	for (uint32_t i = 0; i < order->turns && !err; i++)
		err = turn(r, order, &times->begin[i], &times->end[i]);
	if (err)
		__atomic_store_n(&r->bench->failed, 1, __ATOMIC_RELAXED);
	accel_ep_stats(r->ep, &to, NULL);
	times->bytes = order->op == EP_DISPATCH ? to.bytes_sent - from.bytes_sent :
						  to.bytes_back - from.bytes_back;
	return err;
}

static int join(struct rank *r, enum ep_route route, uint32_t sort, const uint32_t *npu)
{
	struct accel_ep_config config = {
		.ranks = r->load->ranks,
		.experts = route == EP_BY_EXPERT ? r->load->experts : r->load->ranks,
		.hidden = r->load->hidden, .top_k = r->load->top_k,
		.max_tokens = r->load->tokens, .chunk_tokens = r->load->tokens,
		.send = ACCEL_EP_INT8, .back = ACCEL_EP_BF16, .sort = sort,
	};
	char name[ACCEL_EP_NAME_LEN];

	snprintf(name, sizeof(name), "bench-%d-%d-%u", (int)r->bench->parent, (int)route, sort);
	return accel_ep_join(r->dev, name, &config, &r->rank, npu, 1, PATIENCE_NS,
			     &r->groups[route][sort]);
}

static int fill(struct rank *r)
{
	const struct ep_load *load = r->load;
	uint64_t elements = (uint64_t)load->tokens * load->hidden;
	uint64_t choices = (uint64_t)load->tokens * load->top_k;
	uint64_t most = choices * load->ranks * load->hidden;
	uint64_t state = load->seed + r->rank;

	r->ids[EP_BY_EXPERT] = malloc(choices * sizeof(int32_t));
	r->ids[EP_BY_RANK] = malloc(choices * sizeof(int32_t));
	r->weights = malloc(choices * sizeof(float));
	r->bf16 = malloc(elements * sizeof(uint16_t));
	r->int8 = malloc(elements);
	r->scales = malloc(load->tokens * sizeof(float));
	r->row = malloc(load->hidden * sizeof(uint16_t));
	r->outputs = malloc(most * sizeof(uint16_t));
	r->sums = malloc(elements * sizeof(float));
	if (!r->ids[0] || !r->ids[1] || !r->weights || !r->bf16 || !r->int8 || !r->scales ||
	    !r->row || !r->outputs ||
	    !r->sums)
		return -ENOMEM;
	for (uint32_t t = 0; t < load->tokens; t++) {
		int32_t id[EP_BENCH_TOP_K_MAX];

		ep_choose(load, r->rank, t, id);
		memcpy(r->ids[EP_BY_EXPERT] + t * load->top_k, id, load->top_k * sizeof(*id));
		ep_choose_ranks(load, r->rank, t, id);
		memcpy(r->ids[EP_BY_RANK] + t * load->top_k, id, load->top_k * sizeof(*id));
		r->scales[t] = 0.01f;
	}
	for (uint64_t i = 0; i < choices; i++)
		r->weights[i] = (float)(ep_random(&state) % 1000) / 1000;
	for (uint64_t i = 0; i < elements; i++) {
		/* From 0.5 up to 2, of either sign. */
		r->bf16[i] = 0x3f00 + ep_random(&state) % 0x100 + (ep_random(&state) & 0x8000);
		r->int8[i] = ep_random(&state);
	}
	for (uint32_t i = 0; i < load->hidden; i++)
		r->row[i] = 0x3f00 + i % 0x100;
	return 0;
}

/* Ranks take the pool's members in turn. */
static int choose_npu(const struct rank *r, uint32_t *npu)
{
	struct accel_npu_info *npus;
	uint32_t count, online = 0;
	int err;

	err = ctl_npus(r->dev, &npus, &count);
	if (err)
		return err;
	for (uint32_t i = 0; i < count; i++)
		if (npus[i].state == ACCEL_NPU_ONLINE)
			npus[online++].id = npus[i].id;
	if (online)
		*npu = npus[r->rank % online].id;
	free(npus);
	return online ? 0 : -ENODEV;
}

/* Reads orders until there are no more; the error goes where the parent looks. */
int ep_bench_rank(struct ep_bench *bench, uint32_t rank, const char *pool, int orders, int answers)
{
	struct rank r = { .bench = bench, .load = &bench->load, .rank = rank };
	struct ep_order order;
	uint32_t npu = 0;
	int err;

	err = fill(&r);
	if (!err)
		err = accel_open(pool, &r.dev);
	if (!err)
		err = choose_npu(&r, &npu);
	for (uint32_t i = 0; i < EP_ROUTES * 2 && !err; i++)
		err = join(&r, i / 2, i % 2, &npu);
	bench->ranks[rank].error = err;
	while (write(answers, "", 1) == 1 && !err &&
	       read(orders, &order, sizeof(order)) == sizeof(order)) {
		err = turns(&r, &order);
		bench->ranks[rank].error = err;
	}
	for (uint32_t i = 0; i < EP_ROUTES * 2; i++)
		accel_ep_leave(r.groups[i / 2][i % 2]);
	accel_close(r.dev);
	return err ? CTL_DEVICE : CTL_OK;
}
