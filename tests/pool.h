/* SPDX-License-Identifier: MIT */
/*
 * What the conformance programs share: the pool under test, NPUs of the test's
 * own, children, descriptors over sockets, touching memory that may be gone.
 *
 * The pool is NPOOL_TEST_URI. No program may ask which provider serves it. Each
 * test works on NPUs that it added itself, so that it can count every byte, and
 * fails if they are not whole again when it is done.
 */
#ifndef TESTS_POOL_H
#define TESTS_POOL_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <accel/accel.h>
#include <accel/buffer.h>
#include <accel/npu.h>
#include <accel/queue.h>

#include "harness.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define SEC_NS 1000000000ull
#define LONG_NS (300ll * 1000 * 1000 * 1000)
#define OWN_NPUS 4
#define OWN_BYTES MIB(4)
#define SLOW_NS (250ull * 1000 * 1000)	/* a slow NPU's start-up of one copy */
#define SLOW_OPS 240

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* For helpers and children, where the harness's macros do not reach. */
#define must(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "# %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, \
				errno); \
			_exit(KSFT_FAIL); \
		} \
	} while (0)

#define must_ok(call) \
	do { \
		long must_err = (call); \
		if (must_err) { \
			fprintf(stderr, "# %s:%d: %s is %ld\n", __FILE__, __LINE__, #call, \
				must_err); \
			_exit(KSFT_FAIL); \
		} \
	} while (0)

struct pool {
	struct accel_dev *dev;
	struct accel_pool_info info;
	uint32_t npu[OWN_NPUS];
};

static inline const char *pool_uri(void)
{
	static char uri[ACCEL_URI_MAX];
	const char *env = getenv("NPOOL_TEST_URI");

	if (env)
		return env;
	/* Every process of one test must come to the same name. */
	if (!uri[0])
		snprintf(uri, sizeof(uri), "soft:conf-%d?npus=4&size=64M", (int)getpid());
	return uri;
}

static __attribute__((constructor)) void pool_fix_uri(void)
{
	pool_uri();
	setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Loops of n, scaled to how fast the place is where the suite runs. */
static inline unsigned int scaled(unsigned int n)
{
	const char *env = getenv("NPOOL_TEST_SCALE");
	unsigned int percent = env ? strtoul(env, NULL, 10) : 100;

	return n * percent / 100 ? n * percent / 100 : 1;
}

static inline struct accel_dev *dev_open(void)
{
	struct accel_dev *dev;

	must_ok(accel_open(pool_uri(), &dev));
	return dev;
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * SEC_NS + ts.tv_nsec;
}

static inline void nap(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	nanosleep(&ts, NULL);
}

/* True as soon as cond is; what another process's death brings may take a moment. */
#define eventually(cond) \
	({ \
		int tries_left = 6000; \
		while (!(cond) && --tries_left) \
			nap(10); \
		tries_left > 0; \
	})

/* All that a call of the library lists, to be freed, with room for what comes meanwhile. */
#define listed(call, dev, items, count) \
	do { \
		uint32_t listed_room; \
		*(count) = 0; \
		must_ok(call(dev, NULL, count)); \
		listed_room = *(count) += 80; \
		*(items) = calloc(listed_room, sizeof(**(items))); \
		must_ok(call(dev, *(items), count)); \
		*(count) = *(count) < listed_room ? *(count) : listed_room; \
	} while (0)

static inline bool npu_find(struct accel_dev *dev, uint32_t id, struct accel_npu_info *out)
{
	struct accel_npu_info *npus;
	bool found = false;
	uint32_t count, i;

	listed(accel_npus, dev, &npus, &count);
	for (i = 0; i < count; i++)
		if (npus[i].id == id) {
			*out = npus[i];
			found = true;
		}
	free(npus);
	return found;
}

static inline uint64_t npu_free(struct accel_dev *dev, uint32_t id)
{
	struct accel_npu_info info = { .bytes_free = 0 };

	npu_find(dev, id, &info);
	return info.bytes_free;
}

static inline struct accel_npu_stats npu_stats(struct accel_dev *dev, uint32_t id)
{
	struct accel_npu_stats *stats, found = { .id = UINT32_MAX };
	uint32_t count, i;

	listed(accel_stats, dev, &stats, &count);
	for (i = 0; i < count; i++)
		if (stats[i].id == id)
			found = stats[i];
	free(stats);
	return found;
}

static inline void npu_config(struct accel_npu_config *config, uint64_t bytes, uint64_t latency_ns)
{
	static unsigned int count;

	memset(config, 0, sizeof(*config));
	config->bytes = bytes;
	config->latency_ns = latency_ns;
	snprintf(config->name, sizeof(config->name), "t%d-%u", (int)getpid(), count++);
}

static inline uint32_t npu_add(struct accel_dev *dev, uint64_t bytes, uint64_t latency_ns)
{
	struct accel_npu_config config;
	uint32_t id;

	npu_config(&config, bytes, latency_ns);
	must_ok(accel_npu_add(dev, &config, &id));
	return id;
}

/* One that claims a bandwidth, and takes as long as that says. */
static inline uint32_t npu_add_rate(struct accel_dev *dev, uint64_t bytes, uint64_t bandwidth)
{
	struct accel_npu_config config;
	uint32_t id;

	npu_config(&config, bytes, 0);
	config.bandwidth = bandwidth;
	must_ok(accel_npu_add(dev, &config, &id));
	return id;
}

static inline void pool_setup(struct pool *pool)
{
	int i;

	pool->dev = dev_open();
	for (i = 0; i < OWN_NPUS; i++)
		pool->npu[i] = npu_add(pool->dev, OWN_BYTES, 0);
	must_ok(accel_pool_info(pool->dev, &pool->info));
}

/* Whether an own NPU, unless the test took it out, has all its memory back. */
static inline bool pool_whole(struct pool *pool)
{
	struct accel_npu_info info;
	int i;

	for (i = 0; i < OWN_NPUS; i++) {
		if (!npu_find(pool->dev, pool->npu[i], &info) || info.state != ACCEL_NPU_ONLINE)
			continue;
		if (info.bytes_free != info.bytes_total)
			return false;
	}
	return true;
}

static inline bool pool_teardown(struct pool *pool)
{
	bool whole = eventually(pool_whole(pool));
	int i;

	for (i = 0; i < OWN_NPUS; i++)
		accel_npu_remove(pool->dev, pool->npu[i]);
	accel_close(pool->dev);
	return whole;
}

#define POOL_FIXTURE(name) \
	FIXTURE(name) \
	{ \
		struct pool p; \
	}; \
	FIXTURE_SETUP(name) \
	{ \
		pool_setup(&self->p); \
	} \
	FIXTURE_TEARDOWN(name) \
	{ \
		bool whole = pool_teardown(&self->p); \
		if (_metadata->exit_code == KSFT_PASS) \
			EXPECT_TRUE(whole) \
				TH_LOG("memory did not come back"); \
	}

/* --- buffers and submits in one line -------------------------------------------------- */

static inline struct accel_buffer *buffer_on(struct accel_dev *dev, uint32_t npu, uint64_t size)
{
	struct accel_where where = { ACCEL_PLACE_NPU, 1, &npu, 0 };
	struct accel_buffer *buffer;

	must_ok(accel_buffer_create(dev, size, &where, &buffer));
	return buffer;
}

static inline uint8_t *buffer_map(struct accel_buffer *buffer)
{
	void *ptr;

	must_ok(accel_buffer_map(buffer, 0, &ptr));
	return ptr;
}

static inline struct accel_queue *queue_on(struct accel_dev *dev, uint32_t npu)
{
	struct accel_queue *queue;

	must_ok(accel_queue_create(dev, npu, &queue));
	return queue;
}

static inline struct accel_timeline *timeline_new(struct accel_dev *dev)
{
	struct accel_timeline *timeline;

	must_ok(accel_timeline_create(dev, &timeline));
	return timeline;
}

static inline int submit_ops(struct accel_queue *queue, const struct accel_op *ops, uint32_t count,
			     uint64_t *seqno)
{
	struct accel_submit submit = { .ops = ops, .op_count = count };

	return accel_queue_submit(queue, &submit, seqno);
}

/* Submits and waits; the error of either. */
static inline int run_ops(struct accel_queue *queue, const struct accel_op *ops, uint32_t count)
{
	uint64_t seqno;
	int err = submit_ops(queue, ops, count, &seqno);

	return err ? err : accel_queue_wait(queue, seqno, LONG_NS, NULL);
}

static inline int run_fill(struct accel_queue *queue, struct accel_buffer *dst, uint64_t offset,
			   uint64_t size, uint64_t pattern)
{
	struct accel_seg seg = { offset, 0, size };
	struct accel_op op = { ACCEL_OP_FILL, 1, dst, NULL, pattern, &seg };

	return run_ops(queue, &op, 1);
}

static inline int run_copy(struct accel_queue *queue, struct accel_buffer *dst, uint64_t to,
			   struct accel_buffer *src, uint64_t from, uint64_t size)
{
	struct accel_seg seg = { to, from, size };
	struct accel_op op = { ACCEL_OP_COPY, 1, dst, src, 0, &seg };

	return run_ops(queue, &op, 1);
}

/*
 * A submit, on a buffer of 64 KiB or more, that outlasts any test on an NPU made
 * with SLOW_NS: it is ended by destroying the queue, by a removal or by a death,
 * between two of its copies.
 */
static inline int submit_slow(struct accel_queue *queue, struct accel_buffer *dst,
			      const struct accel_point *signal, uint64_t *seqno)
{
	struct accel_seg seg = { KIB(62), KIB(63), 64 };
	struct accel_op *ops = calloc(SLOW_OPS, sizeof(*ops));
	struct accel_submit submit = { .ops = ops, .op_count = SLOW_OPS };
	int err, i;

	for (i = 0; i < SLOW_OPS; i++)
		ops[i] = (struct accel_op){ ACCEL_OP_COPY, 1, dst, dst, 0, &seg };
	submit.signals = signal;
	submit.signal_count = signal ? 1 : 0;
	err = accel_queue_submit(queue, &submit, seqno);
	free(ops);
	return err;
}

static inline bool all_bytes(const uint8_t *p, uint64_t size, uint8_t value)
{
	return !size || (p[0] == value && !memcmp(p, p + 1, size - 1));
}

/* How many are in a histogram, an array of buckets. */
#define samples(buckets) \
	({ \
		uint64_t samples_sum = 0; \
		unsigned int samples_i; \
		for (samples_i = 0; samples_i < ARRAY_LEN(buckets); samples_i++) \
			samples_sum += (buckets)[samples_i]; \
		samples_sum; \
	})

static inline uint32_t rnd(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

static inline void scribble(uint8_t *p, uint64_t size, uint64_t seed)
{
	uint64_t i;

	for (i = 0; i < size; i += 4) {
		uint32_t word = rnd(&seed);

		memcpy(p + i, &word, size - i < 4 ? size - i : 4);
	}
}

/* --- memory that may be gone --------------------------------------------------------- */

static sigjmp_buf touch_env;

static inline void touch_handler(int sig)
{
	siglongjmp(touch_env, sig);
}

/* The signal that a load or, with write, a store at p raises, or 0. */
static inline int touch(volatile uint8_t *p, bool write)
{
	struct sigaction act = { .sa_handler = touch_handler }, bus, segv;
	int sig;

	sigaction(SIGBUS, &act, &bus);
	sigaction(SIGSEGV, &act, &segv);
	sig = sigsetjmp(touch_env, 1);
	if (!sig) {
		uint8_t value = *p;

		if (write)
			*p = value;
	}
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return sig;
}

/* --- children ------------------------------------------------------------------------ */

struct child {
	pid_t pid;
	int sock;
};

/* Whether a thread of this process other than the caller is doing anything. */
static inline bool others_run(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	bool run = false;

	must(tasks);
	while (!run && (task = readdir(tasks))) {
		char path[64], stat[256] = "", *name_end;
		FILE *file;

		if (atoi(task->d_name) <= 0 || atoi(task->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atoi(task->d_name));
		file = fopen(path, "re");
		if (!file)
			continue;
		name_end = fgets(stat, sizeof(stat), file) ? strrchr(stat, ')') : NULL;
		run = name_end && name_end[2] != 'S';
		fclose(file);
	}
	closedir(tasks);
	return run;
}

/*
 * ASan's allocator does not survive a fork while another thread, such as one of
 * the library's own, is inside it: wait a while for all others to sleep.
 */
static inline void quiesce(void)
{
#ifdef __SANITIZE_ADDRESS__
	for (int tries = 0; tries < 200 && others_run(); tries++)
		nap(1);
#endif
}

/* Runs fn in a child, with a socket to the caller; the child exits with what fn returns. */
static inline struct child child_start(int (*fn)(int sock, const void *arg), const void *arg)
{
	struct child child;
	int pair[2];

	must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	fflush(stdout);
	quiesce();
	child.pid = fork();
	must(child.pid >= 0);
	if (!child.pid) {
		close(pair[0]);
		_exit(fn(pair[1], arg));
	}
	close(pair[1]);
	child.sock = pair[0];
	return child;
}

/* The exit status, or minus the signal that ended it. */
static inline int child_end(struct child *child)
{
	int status;

	must(waitpid(child->pid, &status, 0) == child->pid);
	close(child->sock);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline void child_kill(struct child *child)
{
	kill(child->pid, SIGKILL);
	must(child_end(child) == -SIGKILL);
}

/* A process that does as it likes until it is killed. Nobody outlives the test. */
static inline pid_t fork_worker(void)
{
	pid_t parent = getpid(), pid;

	quiesce();
	pid = fork();
	must(pid >= 0);
	if (!pid) {
		must(!prctl(PR_SET_PDEATHSIG, SIGKILL));
		must(getppid() == parent);
	}
	return pid;
}

/* It ends by our hand only. */
static inline void end_worker(pid_t pid)
{
	int status;

	must(!kill(pid, SIGKILL));
	must(waitpid(pid, &status, 0) == pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fprintf(stderr, "# a worker ended by itself: wait status %#x\n", status);
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static inline void say(int sock, uint64_t value)
{
	must(write(sock, &value, sizeof(value)) == sizeof(value));
}

static inline uint64_t hear(int sock)
{
	uint64_t value = 0;

	must(recv(sock, &value, sizeof(value), MSG_WAITALL) == sizeof(value));
	return value;
}

static inline void send_fd(int sock, int fd)
{
	char byte = 'f', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	must(sendmsg(sock, &msg, 0) == 1);
}

static inline int recv_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd;

	must(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1);
	must(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

#endif
