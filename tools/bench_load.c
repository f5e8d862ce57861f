// SPDX-License-Identifier: MIT
/*
 * Load: queues that always have copies waiting. A thread goes round the queues
 * of its group and puts a copy behind each one that has ended; they are deep
 * enough not to run dry while it waits for another.
 */
#include <errno.h>
#include <stdlib.h>

#include "bench_qos.h"

#define LOOK_NS 20000000	/* between two looks whether to stop */

static int submit(struct load_group *group, struct load_queue *queue)
{
	struct accel_seg seg = { queue->offset, queue->offset, group->copy };
	struct accel_op op = {
		.type = ACCEL_OP_COPY, .seg_count = 1, .dst = group->dst, .src = group->src,
		.segs = &seg,
	};
	struct accel_submit submit = { .ops = &op, .op_count = 1 };

	queue->offset += group->copy;
	if (queue->offset + group->copy > group->span)
		queue->offset = 0;
	return accel_queue_submit(queue->queue, &submit, &queue->last);
}

/* Waits for the oldest copy of a queue; -ETIME when the load is to stop. */
static int wait_oldest(struct load_group *group, const struct load_queue *queue)
{
	int err;

	do {
		if (atomic_load(&group->load->stop))
			return -ETIME;
		err = accel_queue_wait(queue->queue, queue->last - group->depth + 1, LOOK_NS, NULL);
	} while (err == -ETIME);
	return err;
}

static void *keep_full(void *arg)
{
	struct load_group *group = arg;
	uint32_t i;
	int err = 0;

	while (!err)
		for (i = 0; i < group->count && !err; i++) {
			err = wait_oldest(group, &group->queues[i]);
			if (!err)
				err = submit(group, &group->queues[i]);
		}
	group->error = err == -ETIME ? 0 : err;
	return NULL;
}

static void destroy_queues(struct load_group *group)
{
	uint32_t i;

	for (i = 0; i < group->count; i++)
		accel_queue_destroy(group->queues[i].queue);
	free(group->queues);
}

int load_add(struct load *load, struct accel_dev *dev, uint32_t npu,
	     const struct accel_queue_qos *qos, const struct load_group *template)
{
	struct load_group *groups, *group;
	uint64_t places = template->span / template->copy;
	uint32_t wanted = template->count;
	int err = 0;

	groups = realloc(load->groups, (load->count + 1) * sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	load->groups = groups;
	group = &groups[load->count];
	*group = *template;
	group->queues = calloc(wanted, sizeof(*group->queues));
	if (!group->queues)
		return -ENOMEM;
	for (group->count = 0; group->count < wanted; group->count++) {
		struct load_queue *queue = &group->queues[group->count];

		queue->offset = group->count % places * group->copy;
		err = accel_queue_create_qos(dev, npu, qos, &queue->queue);
		if (err)
			break;
	}
	if (err) {
		destroy_queues(group);
		return err;
	}
	load->count++;
	return 0;
}

static int start_group(struct load *load, struct load_group *group)
{
	uint32_t i, deep;
	int err;

	group->load = load;
	for (deep = 0; deep < group->depth; deep++)
		for (i = 0; i < group->count; i++) {
			err = submit(group, &group->queues[i]);
			if (err)
				return err;
		}
	err = -pthread_create(&group->thread, NULL, keep_full, group);
	group->running = !err;
	return err;
}

int load_start(struct load *load)
{
	uint32_t i;
	int err = 0;

	atomic_store(&load->stop, false);
	for (i = 0; i < load->count && !err; i++)
		err = start_group(load, &load->groups[i]);
	return err;
}

int load_end(struct load *load)
{
	uint32_t i;
	int err = 0;

	atomic_store(&load->stop, true);
	for (i = 0; i < load->count; i++) {
		struct load_group *group = &load->groups[i];

		if (group->running)
			pthread_join(group->thread, NULL);
		if (!err)
			err = group->error;
	}
	for (i = 0; i < load->count; i++)
		destroy_queues(&load->groups[i]);
	free(load->groups);
	*load = (struct load){ 0 };
	return err;
}
