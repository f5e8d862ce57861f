// SPDX-License-Identifier: MIT
/*
 * The driver's copy engine and its zeroing against memcpy() and memset() of the
 * same kernel (tests/bench/kmem), for user-mode Linux, where memory has the
 * machine's own speed but a system call costs tens of microseconds.
 *
 * So pieces are copied many to a submit. "Engine" is the time that the engine
 * says it moved data; "end to end" is from before the submit to after the wait.
 * Zeroing is what creating buffers costs beyond creating as many of one page.
 */
#include <fcntl.h>

#include <accel/npu.h>
#include <accel/queue.h>

#include "bench.h"

#define SPAN MIB(256)
#define HOT_BYTES MIB(64)
#define HOT_MIN_PIECES 4
#define PAGE KIB(4)
#define TURNS 15
#define TARGET 0.9
#define KMEM "/sys/kernel/debug/kmem_bench/run"

struct engine {
	struct accel_dev *dev;
	struct accel_buffer *to, *from;
	struct accel_queue *queue;
	uint32_t npu;
	int kmem;
};

static double kmem_run(struct engine *e, const char *what, uint64_t size, unsigned int count,
		       uint64_t span)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s %llu %u %llu", what, (unsigned long long)size,
			 count, (unsigned long long)span);

	check(pwrite(e->kmem, text, n, 0) != n);
	n = pread(e->kmem, text, sizeof(text) - 1, 0);
	check(n <= 0);
	text[n] = 0;
	return strtod(text, NULL);
}

static double busy_ns(struct engine *e)
{
	struct accel_npu_stats stats[16];
	uint32_t count = ARRAY_LEN(stats);

	check(accel_stats(e->dev, stats, &count));
	for (uint32_t i = 0; i < count && i < ARRAY_LEN(stats); i++)
		if (stats[i].id == e->npu)
			return stats[i].busy_ns;
	check(-EXIT_FAILURE);
	return 0;
}

/* Copies like kmem's: pieces one after the other through the span, from the start again. */
static double copy_run(struct engine *e, uint64_t size, unsigned int count, uint64_t span)
{
	struct accel_seg *segs = calloc(count, sizeof(*segs));
	struct accel_op op = { .type = ACCEL_OP_COPY, .seg_count = count, .dst = e->to,
			       .src = e->from, .segs = segs };
	struct accel_submit submit = { .ops = &op, .op_count = 1 };
	uint64_t offset = 0, seqno, start;

	check(!segs);
	for (unsigned int i = 0; i < count; i++, offset += size) {
		if (offset + size > span)
			offset = 0;
		segs[i] = (struct accel_seg){ offset, offset, size };
	}
	start = now_ns();
	check(accel_queue_submit(e->queue, &submit, &seqno));
	check(accel_queue_wait(e->queue, seqno, ACCEL_WAIT_FOREVER, NULL));
	free(segs);
	return now_ns() - start;
}

static void size_text(char *buf, size_t room, const char *what, uint64_t size, const char *how)
{
	if (size < MIB(1))
		snprintf(buf, room, "%s %u KiB %s", what, (unsigned int)(size >> 10), how);
	else
		snprintf(buf, room, "%s %u MiB %s", what, (unsigned int)(size >> 20), how);
}

static void bench_copy(struct engine *e, uint64_t size, uint64_t span, const char *heat)
{
	unsigned int count = (span == size ? HOT_BYTES : span) / size;
	struct samples engine = { 0 }, whole = { 0 }, kmem = { 0 };
	char name[2][64], how[32];

	if (count < HOT_MIN_PIECES)
		count = HOT_MIN_PIECES;
	for (int turn = 0; turn <= TURNS; turn++) {
		double before = busy_ns(e), ns = copy_run(e, size, count, span);
		double moved = busy_ns(e) - before;
		double theirs = kmem_run(e, "copy", size, count, span);

		if (!turn)
			continue;
		sample(&engine, moved / count);
		sample(&whole, ns / count);
		sample(&kmem, theirs / count);
	}
	size_text(name[0], sizeof(name[0]), "copy", size, heat);
	row_print(&(struct row){ .group = "driver", .what = name[0], .peer_name = "memcpy",
				 .ours = &engine, .peer = &kmem, .bytes = size,
				 .min_ratio = TARGET });
	snprintf(how, sizeof(how), "%s, end to end", heat);
	size_text(name[1], sizeof(name[1]), "copy", size, how);
	row_print(&(struct row){ .group = "driver", .what = name[1], .peer_name = "memcpy",
				 .ours = &whole, .peer = &kmem, .bytes = size });
	free(engine.ns);
	free(whole.ns);
	free(kmem.ns);
}

static double create_run(struct engine *e, uint64_t size, unsigned int count)
{
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &e->npu, 0 };
	struct accel_buffer **buffer = calloc(count, sizeof(*buffer));
	uint64_t start;
	double ns;

	check(!buffer);
	start = now_ns();
	for (unsigned int i = 0; i < count; i++)
		check(accel_buffer_create(e->dev, size, &where, &buffer[i]));
	ns = now_ns() - start;
	for (unsigned int i = 0; i < count; i++)
		accel_buffer_close(buffer[i]);
	free(buffer);
	return ns;
}

static void bench_zero(struct engine *e, uint64_t size)
{
	struct samples zero = { 0 }, whole = { 0 }, kmem = { 0 };
	unsigned int count = SPAN / size;
	char name[2][64];

	for (int turn = 0; turn <= TURNS; turn++) {
		double page = create_run(e, PAGE, count), all = create_run(e, size, count);
		double theirs = kmem_run(e, "zero", size, count, SPAN);

		if (!turn)
			continue;
		/* The page that was taken off had to be zeroed too. */
		sample(&zero, (all - page) / count * size / (size - PAGE));
		sample(&whole, all / count);
		sample(&kmem, theirs / count);
	}
	size_text(name[0], sizeof(name[0]), "zero", size, "");
	row_print(&(struct row){ .group = "driver", .what = name[0], .peer_name = "memset",
				 .ours = &zero, .peer = &kmem, .bytes = size,
				 .min_ratio = TARGET });
	size_text(name[1], sizeof(name[1]), "create", size, "whole call");
	row_print(&(struct row){ .group = "driver", .what = name[1], .peer_name = "memset",
				 .ours = &whole, .peer = &kmem, .bytes = size });
	free(zero.ns);
	free(whole.ns);
	free(kmem.ns);
}

static void engine_open(struct engine *e, const char *uri)
{
	struct accel_npu_info npu;
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &e->npu, 0 };
	uint32_t count = 1;

	e->kmem = open(KMEM, O_RDWR | O_CLOEXEC);
	if (e->kmem < 0) {
		fprintf(stderr, "bench: no %s; tests/bench/uml runs this\n", KMEM);
		exit(EXIT_SKIP);
	}
	check(accel_open(uri, &e->dev));
	check(accel_npus(e->dev, &npu, &count));
	check(!count);
	e->npu = npu.id;
	check(accel_buffer_create(e->dev, SPAN, &where, &e->to));
	check(accel_buffer_create(e->dev, SPAN, &where, &e->from));
	check(accel_queue_create(e->dev, e->npu, &e->queue));
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = { KIB(64), MIB(1), MIB(64) };
	struct engine e;

	bench_begin(argc, argv, "The driver, in user-mode Linux");
	engine_open(&e, "drm:/dev/accel/accel0");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		bench_copy(&e, sizes[i], SPAN, "cold");
		bench_copy(&e, sizes[i], sizes[i], "hot");
	}
	accel_queue_destroy(e.queue);
	accel_buffer_close(e.to);
	accel_buffer_close(e.from);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		bench_zero(&e, sizes[i]);
	accel_close(e.dev);
	close(e.kmem);
	return 0;
}
