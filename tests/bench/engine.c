// SPDX-License-Identifier: MIT
/*
 * The driver's copy engine and its zeroing against memcpy() and memset() of the
 * same kernel (tests/bench/kmem), for user-mode Linux, where memory has the
 * machine's own speed but a system call costs tens of microseconds.
 *
 * So pieces are copied many to a submit. What counts is the time that the engine
 * says it moved data; "end to end" is from before the submit to after the wait.
 * Zeroing is what creating a buffer costs beyond creating one of a page, each
 * with the caches as full of something else as the other.
 */
#include <fcntl.h>

#include <accel/npu.h>
#include <accel/queue.h>

#include "bench.h"

#define SPAN MIB(256)
/* Copied in one turn: source and destination are more than a cache holds. */
#define TURN MIB(64)
#define TURNS 61
#define PAGE KIB(4)
#define CREATES 512
#define ROUNDS 21
#define ZERO_STRIDE 37
#define TARGET 0.9
#define KMEM "/sys/kernel/debug/kmem_bench/run"

struct engine {
	struct accel_dev *dev;
	struct accel_buffer *to, *from;
	struct accel_queue *queue;
	uint64_t next;		/* as kmem's: where the next copy starts */
	uint32_t npu;
	int kmem;
};

static double kmem_run(struct engine *e, const char *what, uint64_t size, unsigned int count,
		       uint64_t span, uint64_t stride)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "%s %llu %u %llu %llu", what,
			 (unsigned long long)size, count, (unsigned long long)span,
			 (unsigned long long)stride);

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
	uint64_t seqno, start;

	check(!segs);
	for (unsigned int i = 0; i < count; i++, e->next += size) {
		if (e->next + size > span)
			e->next = 0;
		segs[i] = (struct accel_seg){ e->next, e->next, size };
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
		snprintf(buf, room, "%s %u KiB%s", what, (unsigned int)(size >> 10), how);
	else
		snprintf(buf, room, "%s %u MiB%s", what, (unsigned int)(size >> 20), how);
}

static void bench_copy(struct engine *e, uint64_t size, uint64_t span, const char *heat)
{
	struct samples engine = { 0 }, whole = { 0 }, kmem = { 0 };
	unsigned int count = TURN / size;
	char name[2][64], how[32];

	for (int turn = 0; turn <= TURNS; turn++) {
		double before = busy_ns(e), ns = copy_run(e, size, count, span);
		double moved = busy_ns(e) - before;
		double theirs = kmem_run(e, "copy", size, count, span, size);

		if (!turn)
			continue;
		sample(&engine, moved / count);
		sample(&whole, ns / count);
		sample(&kmem, theirs / count);
	}
	size_text(name[0], sizeof(name[0]), "copy", size, heat);
	row_print(&(struct row){ .group = "driver", .what = name[0], .peer_name = "memcpy",
				 .ours = &engine, .peer = &kmem, .bytes = size, .paired = true,
				 .min_ratio = TARGET });
	snprintf(how, sizeof(how), "%s, end to end", heat);
	size_text(name[1], sizeof(name[1]), "copy", size, how);
	row_print(&(struct row){ .group = "driver", .what = name[1], .peer_name = "memcpy",
				 .ours = &whole, .peer = &kmem, .bytes = size, .paired = true });
	samples_free(&engine);
	samples_free(&whole);
	samples_free(&kmem);
}

static double create_run(struct engine *e, uint64_t size, struct accel_buffer **buffer)
{
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &e->npu, 0 };
	uint64_t start = now_ns();

	check(accel_buffer_create(e->dev, size, &where, buffer));
	return now_ns() - start;
}

/*
 * All buffers of a round stay until its end, so that each is zeroed in memory
 * that no cache has.
 */
static void zero_round(struct engine *e, uint64_t size, struct samples *page, struct samples *all,
		       struct samples *kmem)
{
	unsigned int count = SPAN / size < CREATES ? SPAN / size : CREATES;
	struct accel_buffer **buffer = calloc(2 * count, sizeof(*buffer));
	/* Buffers made one after the other are no neighbours: neither may memset's pieces be. */
	uint64_t stride = ZERO_STRIDE * size % SPAN;

	check(!buffer);
	for (unsigned int i = 0; i < count; i++) {
		sample(kmem, kmem_run(e, "zero", size, 1, SPAN, stride));
		sample(page, create_run(e, PAGE, &buffer[2 * i]));
		kmem_run(e, "zero", size, 1, SPAN, stride);
		sample(all, create_run(e, size, &buffer[2 * i + 1]));
	}
	for (unsigned int i = 0; i < 2 * count; i++)
		accel_buffer_close(buffer[i]);
	free(buffer);
}

static void bench_zero(struct engine *e, uint64_t size)
{
	struct samples zero = { 0 }, whole = { 0 }, kmem = { 0 };
	char name[2][64];

	for (int round = 0; round <= ROUNDS; round++) {
		struct samples page = { 0 }, all = { 0 }, theirs = { 0 };
		double whole_ns, zero_ns;

		zero_round(e, size, &page, &all, &theirs);
		whole_ns = middle_mean(&all);
		/* The page that is taken off had to be zeroed too. */
		zero_ns = (whole_ns - middle_mean(&page)) * size / (size - PAGE);
		if (round) {
			sample(&zero, zero_ns);
			sample(&whole, whole_ns);
			sample(&kmem, middle_mean(&theirs));
		}
		samples_free(&page);
		samples_free(&all);
		samples_free(&theirs);
	}
	size_text(name[0], sizeof(name[0]), "zero", size, "");
	row_print(&(struct row){ .group = "driver", .what = name[0], .peer_name = "memset",
				 .ours = &zero, .peer = &kmem, .bytes = size, .paired = true,
				 .min_ratio = TARGET });
	size_text(name[1], sizeof(name[1]), "create", size, ", whole call");
	row_print(&(struct row){ .group = "driver", .what = name[1], .peer_name = "memset",
				 .ours = &whole, .peer = &kmem, .bytes = size, .paired = true });
	samples_free(&zero);
	samples_free(&whole);
	samples_free(&kmem);
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
	/* What was never touched has no memory behind it yet, and that takes long to get. */
	check(accel_buffer_create(e->dev, npu.bytes_free, &where, &e->to));
	accel_buffer_close(e->to);
	check(accel_buffer_create(e->dev, SPAN, &where, &e->to));
	check(accel_buffer_create(e->dev, SPAN, &where, &e->from));
	check(accel_queue_create(e->dev, e->npu, &e->queue));
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = { KIB(64), MIB(1), MIB(64) };
	struct engine e = { 0 };

	bench_begin(argc, argv, "The driver, in user-mode Linux");
	engine_open(&e, "drm:/dev/accel/accel0");
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		bench_copy(&e, sizes[i], SPAN, ", cold");
		bench_copy(&e, sizes[i], sizes[i], ", hot");
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
