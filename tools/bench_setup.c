// SPDX-License-Identifier: MIT
/*
 * What the measurement runs on: two NPUs and a buffer on each, more NPUs for the
 * incast, more opens for the flood, the latency queue with its reservation.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <accel/npu.h>

#include "bench_qos.h"
#include "ctl.h"
#include "qos_info.h"

/* More than a cache holds where there is room for it; of the free memory this part. */
#define SPAN_MAX	(64ull << 20)
#define SPAN_PART	4
#define SOURCE_SPAN	(8ull << 20)
#define BULK_DEPTH	4
#define FLOOD_DEPTH	2
/* Queues that an open needs for itself. */
#define QUEUES_SPARE	(BENCH_BULK_QUEUES + 4)

int bench_failed(const struct bench *bench, const char *what, int err)
{
	const char *hint = "";

	if (err == -EPERM)
		hint = "; this needs root";
	else if (err == -EMFILE)
		hint = "; that are more queues or opens than there can be";
	ctl_error("bench qos: pool %s: %s: %s%s", accel_uri(bench->dev), what, strerror(-err),
		  hint);
	return ctl_status(err);
}

/* The first NPUs that are online: the first is read from, the second written to. */
static int choose_npus(struct bench *bench, uint64_t *room)
{
	struct accel_npu_info *npus;
	uint32_t count, i, found = 0;
	int status;

	status = ctl_npus(bench->dev, &npus, &count);
	if (status)
		return status;
	for (i = 0; i < count && found < 2; i++) {
		if (npus[i].state != ACCEL_NPU_ONLINE)
			continue;
		if (!found || npus[i].bytes_free < *room)
			*room = npus[i].bytes_free;
		bench->dst = npus[i].id;
		if (!found++)
			bench->src = npus[i].id;
	}
	free(npus);
	if (!found) {
		ctl_error("bench qos: pool %s has no NPU that is online", accel_uri(bench->dev));
		return CTL_DEVICE;
	}
	return CTL_OK;
}

static int make_buffer(struct accel_dev *dev, uint32_t npu, uint64_t bytes,
		       struct accel_buffer **buffer)
{
	struct accel_where where = {
		.placement = ACCEL_PLACE_NPU, .npu_count = 1, .npus = &npu,
	};

	return accel_buffer_create(dev, bytes, &where, buffer);
}

static int make_buffers(struct bench *bench)
{
	uint64_t room = 0;
	char text[CTL_TEXT_LEN];
	int status, err;

	status = choose_npus(bench, &room);
	if (status)
		return status;
	for (bench->span = SPAN_MAX; bench->span > room / SPAN_PART; bench->span /= 2)
		;
	if (bench->span < BENCH_BULK_COPY || bench->span < bench->size) {
		ctl_error("bench qos: pool %s: NPUs %u and %u need %s free each",
			  accel_uri(bench->dev), bench->src, bench->dst, ctl_bytes(SPAN_PART * BENCH_BULK_COPY, text));
		return CTL_NOROOM;
	}
	err = make_buffer(bench->dev, bench->src, bench->span, &bench->from);
	if (!err)
		err = make_buffer(bench->dev, bench->dst, bench->span, &bench->to);
	return err ? bench_failed(bench, "making buffers", err) : CTL_OK;
}

static int add_source(struct bench *bench, uint32_t npu)
{
	struct bench_source *source = &bench->sources[bench->source_count];
	int err;

	err = make_buffer(bench->dev, npu, SOURCE_SPAN, &source->buffer);
	if (err)
		return bench_failed(bench, "making a buffer for the incast", err);
	source->npu = npu;
	/* Weights 64, 128, 256 and again; the last one has to wait until nobody wants to copy. */
	source->qos.weight = ACCEL_WEIGHT << bench->source_count % 3;
	if (bench->source_count && bench->source_count == bench->incast - 1)
		source->qos = (struct accel_queue_qos){ .class_id = ACCEL_CLASS_SCRUB };
	bench->source_count++;
	return CTL_OK;
}

static int make_source(struct bench *bench)
{
	struct accel_npu_config config = { .bytes = 2 * SOURCE_SPAN };
	uint32_t npu;
	int err;

	snprintf(config.name, sizeof(config.name), "bench-%d-%u", (int)getpid(), bench->made_count);
	err = accel_npu_add(bench->dev, &config, &npu);
	if (err)
		return bench_failed(bench, "adding an NPU for the incast", err);
	bench->made[bench->made_count++] = npu;
	return add_source(bench, npu);
}

/* All other NPUs there are, then made ones. */
static int find_sources(struct bench *bench)
{
	struct accel_npu_info *npus;
	uint32_t count, i;
	int status;

	status = ctl_npus(bench->dev, &npus, &count);
	for (i = 0; !status && i < count && bench->source_count < bench->incast; i++)
		if (npus[i].state == ACCEL_NPU_ONLINE && npus[i].id != bench->dst &&
		    npus[i].bytes_free >= SOURCE_SPAN)
			status = add_source(bench, npus[i].id);
	if (!status)
		free(npus);
	while (!status && bench->source_count < bench->incast)
		status = make_source(bench);
	return status;
}

int bench_setup(struct bench *bench, const char *uri)
{
	int status;

	status = ctl_open(uri, &bench->dev);
	if (status)
		return status;
	status = qos_info("bench qos", bench->dev, &bench->found);
	if (!status)
		status = make_buffers(bench);
	if (!status && bench->incast)
		status = find_sources(bench);
	return status;
}

int bench_reserve(struct bench *bench)
{
	struct accel_queue_qos qos = {
		.class_id = ACCEL_CLASS_LATENCY, .budget = 2 * bench->size,
		.src = bench->src, .dst = bench->dst,
	};
	int err;

	qos.period_ns = bench->interval;
	err = accel_queue_create_qos(bench->dev, bench->dst, &qos, &bench->queue);
	if (err == -EBUSY) {
		ctl_error("bench qos: pool %s: others have reserved too much of its ports",
			  accel_uri(bench->dev));
		return CTL_NOROOM;
	}
	return err ? bench_failed(bench, "making a queue with a reservation", err) : CTL_OK;
}

static void close_opens(struct bench *bench)
{
	while (bench->open_count) {
		struct bench_open *open = &bench->opens[--bench->open_count];

		accel_buffer_close(open->from);
		accel_buffer_close(open->to);
		accel_close(open->dev);
		*open = (struct bench_open){ 0 };
	}
}

void bench_teardown(struct bench *bench)
{
	uint32_t i;

	if (bench->queue)
		accel_queue_destroy(bench->queue);
	for (i = 0; i < bench->source_count; i++)
		accel_buffer_close(bench->sources[i].buffer);
	if (bench->to)
		accel_buffer_close(bench->to);
	if (bench->from)
		accel_buffer_close(bench->from);
	for (i = 0; i < bench->made_count; i++)
		accel_npu_remove(bench->dev, bench->made[i]);
	accel_close(bench->dev);
}

static int import(struct accel_buffer *buffer, struct accel_dev *dev, struct accel_buffer **copy)
{
	int fd, err;

	err = accel_buffer_export(buffer, &fd);
	if (err)
		return err;
	err = accel_buffer_import(dev, fd, copy);
	close(fd);
	return err;
}

/* Another open of the pool, with the same two buffers. */
static int another_open(struct bench *bench, struct bench_open **open)
{
	struct bench_open *new = &bench->opens[bench->open_count];
	int err;

	if (bench->open_count == BENCH_OPENS_MAX)
		return -EMFILE;
	err = accel_open(accel_uri(bench->dev), &new->dev);
	if (err)
		return err;
	err = import(bench->from, new->dev, &new->from);
	if (err)
		goto out_dev;
	err = import(bench->to, new->dev, &new->to);
	if (err)
		goto out_from;
	bench->open_count++;
	*open = new;
	return 0;

out_from:
	accel_buffer_close(new->from);
out_dev:
	accel_close(new->dev);
	*new = (struct bench_open){ 0 };
	return err;
}

static int load_bulk(struct bench *bench, struct load *load)
{
	struct load_group group = {
		.dst = bench->to, .src = bench->from, .span = bench->span,
		.copy = BENCH_BULK_COPY, .depth = BULK_DEPTH, .count = BENCH_BULK_QUEUES,
	};
	struct accel_queue_qos qos = { .class_id = ACCEL_CLASS_BULK };

	return load_add(load, bench->dev, bench->dst, &qos, &group);
}

static int load_flood(struct bench *bench, struct load *load)
{
	struct load_group group = {
		.dst = bench->to, .src = bench->from, .span = bench->span,
		.copy = BENCH_FLOOD_COPY, .depth = FLOOD_DEPTH,
	};
	struct accel_queue_qos qos = { .class_id = ACCEL_CLASS_BULK };
	struct accel_dev *dev = bench->dev;
	struct accel_pool_info info;
	uint64_t left = bench->flood, most;
	int err;

	err = accel_pool_info(dev, &info);
	most = info.max_queues - QUEUES_SPARE;
	while (!err && left) {
		struct bench_open *open;

		group.count = left < most ? left : most;
		err = load_add(load, dev, bench->dst, &qos, &group);
		left -= group.count;
		if (err || !left)
			break;
		err = another_open(bench, &open);
		if (err)
			break;
		dev = open->dev;
		group.dst = open->to;
		group.src = open->from;
	}
	return err;
}

static int load_incast(struct bench *bench, struct load *load)
{
	struct load_group group = {
		.dst = bench->to, .span = SOURCE_SPAN, .copy = BENCH_INCAST_COPY,
		.depth = BULK_DEPTH, .count = 1,
	};
	uint32_t i;
	int err = 0;

	for (i = 0; i < bench->source_count && !err; i++) {
		group.src = bench->sources[i].buffer;
		err = load_add(load, bench->dev, bench->sources[i].npu, &bench->sources[i].qos,
			       &group);
	}
	return err;
}

int bench_load(struct bench *bench, enum bench_mode mode, struct load *load)
{
	switch (mode) {
	case BENCH_ALONE:
		return 0;
	case BENCH_FLOOD:
		return load_flood(bench, load);
	case BENCH_INCAST:
		return load_incast(bench, load);
	default:
		return load_bulk(bench, load);
	}
}

int bench_unload(struct bench *bench, struct load *load)
{
	int err = load_end(load);

	close_opens(bench);
	return err;
}
