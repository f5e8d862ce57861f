// SPDX-License-Identifier: MIT
/* Conformance: all calls from all threads at once, and from several processes. */
#include "pool.h"

#define THREADS 6
#define BLOCK KIB(16)

POOL_FIXTURE(threads)

struct hammer {
	struct pool *pool;
	struct accel_queue *shared;
	struct accel_timeline *timeline;
	uint64_t seed;
	unsigned int rounds, bad;
};

#define count_bad(h, cond) \
	do { \
		if (!(cond) && !(h)->bad++) \
			fprintf(stderr, "# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
	} while (0)

/* One life of a buffer: made, written by three ways, shared, read back, closed. */
static void one_round(struct hammer *h, struct accel_queue *queue, uint8_t mark)
{
	uint32_t *npus = h->pool->npu, first = rnd(&h->seed) % OWN_NPUS;
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &npus[first], 0 };
	struct accel_buffer *a, *b, *import;
	struct accel_buffer_info info;
	struct accel_dev *dev = h->pool->dev;
	uint64_t pattern = mark * 0x0101010101010101ull;
	uint8_t *p;
	int fd;

	if (rnd(&h->seed) & 1)
		where = (struct accel_where){ ACCEL_PLACE_INTERLEAVE, OWN_NPUS, npus, KIB(4) };
	must_ok(accel_buffer_create(dev, BLOCK, &where, &a));
	must_ok(accel_buffer_create(dev, BLOCK, NULL, &b));
	p = buffer_map(b);
	count_bad(h, all_bytes(p, BLOCK, 0));
	count_bad(h, !run_fill(queue, a, 0, BLOCK, pattern));
	count_bad(h, !run_copy(h->shared, b, 0, a, 0, BLOCK - 1));
	count_bad(h, all_bytes(p, BLOCK - 1, mark) && !p[BLOCK - 1]);
	must_ok(accel_buffer_export(a, &fd));
	accel_buffer_close(a);
	must_ok(accel_buffer_import(dev, fd, &import));
	close(fd);
	count_bad(h, !accel_buffer_info(import, &info, NULL, 0) && info.size == BLOCK);
	count_bad(h, !accel_copy(b, BLOCK / 2, import, 0, BLOCK / 2, 0) && p[BLOCK - 1] == mark);
	accel_buffer_close(import);
	accel_buffer_close(b);
	count_bad(h, !accel_buffer_unmap(dev, p, BLOCK));
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;
	struct accel_pool_info info;
	unsigned int i;

	for (i = 0; i < h->rounds; i++) {
		struct accel_queue *queue = queue_on(h->pool->dev, h->pool->npu[i % OWN_NPUS]);
		struct accel_timeline *t = timeline_new(h->pool->dev);
		struct accel_point point = { t, 1 };
		struct accel_submit submit = { .signals = &point, .signal_count = 1 };

		one_round(h, queue, 1 + rnd(&h->seed) % 255);
		count_bad(h, !accel_queue_submit(queue, &submit, NULL));
		count_bad(h, !accel_timeline_wait(t, 1, LONG_NS));
		count_bad(h, !accel_pool_info(h->pool->dev, &info));
		count_bad(h, accel_client_alive(h->pool->dev, accel_client_id(h->pool->dev)) == 1);
		accel_timeline_close(t);
		accel_queue_destroy(queue);
	}
	return NULL;
}

static unsigned int hammer_all(struct pool *pool, unsigned int rounds)
{
	struct accel_queue *shared = queue_on(pool->dev, pool->npu[0]);
	struct hammer hammers[THREADS];
	pthread_t threads[THREADS];
	unsigned int i, bad = 0;

	for (i = 0; i < THREADS; i++) {
		hammers[i] = (struct hammer){ .pool = pool, .shared = shared, .rounds = rounds,
					      .seed = getpid() * 100 + i };
		must_ok(pthread_create(&threads[i], NULL, hammer, &hammers[i]));
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		bad += hammers[i].bad;
	}
	accel_queue_destroy(shared);
	return bad;
}

TEST_F(threads, hammer_one_device)
{
	EXPECT_EQ(0, hammer_all(&self->p, scaled(100)));
}

#ifndef __SANITIZE_THREAD__	/* which gives up where a process with threads forks */
static int hammer_as_process(int sock, const void *arg)
{
	struct pool pool = *(const struct pool *)arg;
	unsigned int bad;

	hear(sock);
	pool.dev = dev_open();
	bad = hammer_all(&pool, scaled(30));
	accel_close(pool.dev);
	return !!bad;
}

TEST_F(threads, hammer_from_three_processes)
{
	struct child children[3];
	int i;

	for (i = 0; i < 3; i++)
		children[i] = child_start(hammer_as_process, &self->p);
	for (i = 0; i < 3; i++)
		say(children[i].sock, 1);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, child_end(&children[i]));
}

/* Processes are killed in the midst of everything; the others never notice. */
TEST_F(threads, hammer_beside_dying_processes)
{
	unsigned int round, i;

	for (round = 0; round < scaled(10); round++) {
		struct child children[2];

		for (i = 0; i < 2; i++) {
			children[i] = child_start(hammer_as_process, &self->p);
			say(children[i].sock, 1);
		}
		nap(rand() % 30);
		EXPECT_EQ(0, hammer_all(&self->p, scaled(3)));
		for (i = 0; i < 2; i++) {
			kill(children[i].pid, SIGKILL);
			child_end(&children[i]);
		}
	}
	EXPECT_TRUE(eventually(pool_whole(&self->p)));
}
#endif

/* Many threads submit to one queue: numbers have no gap and none comes twice. */
static void *submit_many(void *arg)
{
	struct hammer *h = arg;
	uint64_t last = 0, seqno;
	unsigned int i;
	int err;

	for (i = 0; i < h->rounds; i++) {
		while ((err = submit_ops(h->shared, NULL, 0, &seqno)) == -EBUSY)
			nap(1);
		count_bad(h, !err && seqno > last);
		last = seqno;
		count_bad(h, !accel_queue_wait(h->shared, seqno, LONG_NS, NULL));
	}
	return NULL;
}

TEST_F(threads, submit_to_one_queue)
{
	struct accel_queue *shared = queue_on(self->p.dev, self->p.npu[0]);
	struct hammer hammers[THREADS];
	pthread_t threads[THREADS];
	unsigned int i, n = scaled(500);
	uint64_t seqno;

	for (i = 0; i < THREADS; i++) {
		hammers[i] = (struct hammer){ .shared = shared, .rounds = n };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, submit_many, &hammers[i]));
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, hammers[i].bad);
	}
	ASSERT_EQ(0, submit_ops(shared, NULL, 0, &seqno));
	EXPECT_EQ(n * THREADS + 1, seqno);
	accel_queue_destroy(shared);
}

TEST_HARNESS_MAIN
