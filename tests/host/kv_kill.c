// SPDX-License-Identifier: MIT
/*
 * Processes that use a namespace are killed, at random moments and after any
 * instruction of any call. The others must go on at once, no reader may see a
 * wrong byte, and once leases are over nothing may be lost.
 */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "kv/layout.h"
#include "kv_common.h"

#define KILLS 2000
#define POINTS 150	/* where a stepped call is killed */
#define WORKERS 4
#define BLOCK 1024
#define CAPACITY 48
#define CHAINS 12
#define DEPTH 8
#define LEASE_NS 30000000ull

/* What workers tell; survives them. */
struct tally {
	uint64_t reads, writes, stale, wrong, failed;
	int error;
};

static uint32_t draw(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (*seed >> 33) % below;
}

static void add(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void expect_one_of(struct tally *tally, int err, const int *allowed, int count)
{
	for (int i = 0; i < count; i++) {
		if (err == allowed[i])
			return;
	}
	add(&tally->failed);
	tally->error = err;
}

#define EXPECT_ERR(tally, err, ...) do { \
		const int allowed[] = { 0, ##__VA_ARGS__ }; \
		expect_one_of(tally, err, allowed, ARRAY_LEN(allowed)); \
	} while (0)

static void chain_of(uint32_t chain, struct accel_kv_key *keys)
{
	for (uint32_t i = 0; i < DEPTH; i++)
		keys[i] = key_of(1 + chain * DEPTH + i);
}

static void read_pin(struct accel_kv *kv, struct tally *tally, const struct accel_kv_key *key,
		     struct accel_kv_pin *pin, uint64_t bytes)
{
	bool right = holds(pin->data, key, bytes);
	int err = accel_kv_release(kv, pin);

	EXPECT_ERR(tally, err, -ESTALE);
	add(err ? &tally->stale : &tally->reads);
	if (!err && !right)
		add(&tally->wrong);
}

static void read_chain(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key keys[DEPTH];
	struct accel_kv_pin pins[DEPTH];
	size_t matched;

	chain_of(draw(seed, CHAINS), keys);
	EXPECT_ERR(tally, accel_kv_match(kv, keys, DEPTH, pins, &matched));
	for (size_t i = 0; i < matched; i++)
		read_pin(kv, tally, &keys[i], &pins[i], BLOCK);
}

static void read_copy(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key key = key_of(1 + draw(seed, CHAINS * DEPTH));
	char copy[BLOCK];
	int err = accel_kv_copy(kv, &key, copy);

	EXPECT_ERR(tally, err, -ENOENT, -ESTALE);
	if (!err && !holds(copy, &key, BLOCK))
		add(&tally->wrong);
}

static void write_chain(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key keys[DEPTH];
	struct accel_kv_slot slot;
	size_t matched;
	int err;

	chain_of(draw(seed, CHAINS), keys);
	EXPECT_ERR(tally, accel_kv_match(kv, keys, DEPTH, NULL, &matched));
	for (size_t i = matched; i < DEPTH; i++) {
		err = accel_kv_reserve(kv, &keys[i], i ? &keys[i - 1] : NULL, &slot);
		EXPECT_ERR(tally, err, -EEXIST, -ENOENT, -ENOSPC);
		if (err)
			return;
		fill(slot.data, &keys[i], BLOCK);
		if (!draw(seed, 8)) {
			accel_kv_abort(kv, &slot);
			return;
		}
		EXPECT_ERR(tally, accel_kv_publish(kv, &slot), -EEXIST);
		add(&tally->writes);
	}
}

static void forget(struct accel_kv *kv, struct tally *tally, uint64_t *seed)
{
	struct accel_kv_key key = key_of(1 + draw(seed, CHAINS * DEPTH));

	EXPECT_ERR(tally, accel_kv_remove(kv, &key), -ENOENT, -EBUSY);
}

static void work(int fd, struct tally *tally, uint64_t seed)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv;

	must_ok(accel_kv_open(dev, fd, &kv));
	for (;;) {
		uint32_t what = draw(&seed, 16);

		if (what < 7)
			write_chain(kv, tally, &seed);
		else if (what < 12)
			read_chain(kv, tally, &seed);
		else if (what < 14)
			read_copy(kv, tally, &seed);
		else if (what < 15)
			forget(kv, tally, &seed);
		else {
			accel_kv_close(kv);
			must_ok(accel_kv_open(dev, fd, &kv));
		}
	}
}

/* Nobody outlives the test. */
static pid_t fork_worker(void)
{
	pid_t parent = getpid(), pid = fork();

	must(pid >= 0);
	if (!pid) {
		must(!prctl(PR_SET_PDEATHSIG, SIGKILL));
		must(getppid() == parent);
	}
	return pid;
}

static pid_t start(int fd, struct tally *tally, uint64_t seed)
{
	pid_t pid = fork_worker();

	if (!pid) {
		work(fd, tally, seed);
		_exit(0);
	}
	return pid;
}

/* A worker ends by our hand only. */
static void end(pid_t pid)
{
	int status;

	must(!kill(pid, SIGKILL));
	must(waitpid(pid, &status, 0) == pid);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fprintf(stderr, "# a worker ended by itself: wait status %#x\n", status);
	must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int check_entry(const struct accel_kv_entry *entry, void *arg)
{
	struct accel_kv *kv = arg;
	struct accel_kv_pin pin;

	must_ok(accel_kv_get(kv, &entry->key, LONG_LEASE_NS, &pin));
	must(holds(pin.data, &entry->key, kv_block_bytes(kv)));
	must_ok(accel_kv_release(kv, &pin));
	return 0;
}

static bool settled(struct accel_kv *kv)
{
	struct accel_kv_audit audit = kv_sound(kv);

	return !audit.reserved && !audit.awaiting && !audit.pins;
}

/* Nobody else lives any more: all that the dead held comes back, and every block can be used. */
static void check_aftermath(struct accel_kv *kv)
{
	struct accel_kv_config config;

	accel_kv_config(kv, &config);
	must(eventually(kv_stats(kv).sessions == 1));
	must(eventually(settled(kv)));
	must_ok(accel_kv_iterate(kv, check_entry, kv));
	for (uint64_t i = 0; i < config.capacity; i++) {
		struct accel_kv_key key = key_of(1000000 + i);

		must_ok(kv_put(kv, &key, NULL));
	}
	must(kv_sound(kv).cached == config.capacity);
	must_ok(accel_kv_iterate(kv, check_entry, kv));
}

TEST(random_moments)
{
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct accel_dev *dev = dev_open();
	struct accel_kv *kv = kv_make(dev, BLOCK, CAPACITY, ACCEL_KV_CHECKSUM, LEASE_NS);
	unsigned int kills = scaled(KILLS);
	uint64_t seed = getpid(), put_errors = 0;
	pid_t workers[WORKERS];
	int fd;

	ASSERT_NE(MAP_FAILED, tally);
	ASSERT_EQ(0, accel_kv_export(kv, &fd));
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(fd, tally, seed + i);
	for (unsigned int i = 0; i < kills; i++) {
		struct timespec ts = { .tv_nsec = draw(&seed, 2000000) };
		struct accel_kv_key key = key_of(1 + draw(&seed, CHAINS * DEPTH));
		uint32_t victim = draw(&seed, WORKERS);
		int err;

		nanosleep(&ts, NULL);
		end(workers[victim]);
		/* The next call does not wait for anything, whatever the victim held. */
		err = kv_put(kv, &key, NULL);
		put_errors += err && err != -EEXIST && err != -ENOSPC;
		if (i % 64 == 0)
			kv_sound(kv);
		workers[victim] = start(fd, tally, seed + i);
	}
	for (int i = 0; i < WORKERS; i++)
		end(workers[i]);
	check_aftermath(kv);
	EXPECT_EQ(0, put_errors);
	EXPECT_EQ(0, tally->wrong);
	EXPECT_EQ(0, tally->failed) TH_LOG("error %d", tally->error);
	EXPECT_LT(0, tally->reads);
	EXPECT_LT(0, tally->writes);
	struct accel_kv_stats stats = kv_stats(kv);
	EXPECT_LT(0, stats.recovered);
	EXPECT_LT(0, stats.evicted);
	ksft_print_msg("%u kills: %lu blocks written, %lu read, %lu stale, %lu evicted, %lu expired, %lu recoveries\n",
		       kills, (unsigned long)tally->writes, (unsigned long)tally->reads,
		       (unsigned long)tally->stale, (unsigned long)stats.evicted,
		       (unsigned long)stats.expired, (unsigned long)stats.recovered);
	close(fd);
	accel_kv_close(kv);
	accel_close(dev);
}

/*
 * One call, stepped through instruction by instruction. The namespace has room
 * for SMALL blocks; a chain of four is there at the start, and two more where
 * the case wants it full.
 */
#define SMALL 6
#define SMALL_BLOCK 256
#define A(n) key_of(10 + (n))
#define NEW key_of(50)

struct stepped {
	bool full;
	/* In the child: up to the call, and the call. */
	void (*prepare)(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins);
	void (*call)(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins);
	int may_vanish;		/* of the chain A, the block from which on; 4 for none */
};

static void no_prepare(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	(void)kv;
	(void)slot;
	(void)pins;
}

static void do_reserve(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key key = NEW, parent = A(1);

	(void)pins;
	must_ok(accel_kv_reserve(kv, &key, &parent, slot));
	fill(slot->data, &key, SMALL_BLOCK);
}

static void do_publish(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	(void)pins;
	must_ok(accel_kv_publish(kv, slot));
}

static void do_abort(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	(void)pins;
	accel_kv_abort(kv, slot);
}

static void prepare_twin(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key key = NEW;

	do_reserve(kv, slot, pins);
	must_ok(kv_put(kv, &key, NULL));
}

static void do_publish_twin(struct accel_kv *kv, struct accel_kv_slot *slot,
			    struct accel_kv_pin *pins)
{
	(void)pins;
	must(accel_kv_publish(kv, slot) == -EEXIST);
}

static void do_get(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key key = A(3);

	(void)slot;
	must_ok(accel_kv_get(kv, &key, 0, pins));
}

static void do_match(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key keys[] = { A(0), A(1), A(2), A(3) };
	size_t matched;

	(void)slot;
	must_ok(accel_kv_match(kv, keys, 4, pins, &matched));
}

/* The lease may be over before it gets here. */
static void do_release(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	int err = accel_kv_release(kv, pins);

	(void)slot;
	must(!err || err == -ESTALE);
}

static void do_remove(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key key = A(3);

	(void)slot;
	(void)pins;
	must_ok(accel_kv_remove(kv, &key));
}

static void do_close(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	(void)slot;
	(void)pins;
	accel_kv_close(kv);
}

static void do_stats(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	(void)slot;
	(void)pins;
	kv_stats(kv);
}

static void child(int fd, const struct stepped *step)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv_slot slot;
	struct accel_kv_pin pins[4];
	struct accel_kv *kv;

	must_ok(accel_kv_open(dev, fd, &kv));
	step->prepare(kv, &slot, pins);
	must(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	raise(SIGSTOP);
	step->call(kv, &slot, pins);
	raise(SIGSTOP);
	_exit(0);
}

static pid_t start_stopped(int fd, const struct stepped *step)
{
	pid_t pid = fork_worker();
	int status;

	if (!pid)
		child(fd, step);
	must(waitpid(pid, &status, 0) == pid);
	must(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	return pid;
}

/* One instruction; false when the call is over. */
static bool step_on(pid_t pid)
{
	int status;

	must(!ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL));
	must(waitpid(pid, &status, 0) == pid);
	must(WIFSTOPPED(status));
	must(WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP);
	return WSTOPSIG(status) == SIGTRAP;
}

static struct accel_kv *small_make(struct accel_dev *dev, bool full, int *fd)
{
	struct accel_kv *kv = kv_make(dev, SMALL_BLOCK, SMALL, ACCEL_KV_CHECKSUM, LEASE_NS);

	for (int i = 0; i < 4 + 2 * full; i++) {
		struct accel_kv_key key = A(i), parent = A(i - 1);

		must_ok(kv_put(kv, &key, i && i < 4 ? &parent : NULL));
	}
	must_ok(accel_kv_export(kv, fd));
	return kv;
}

/* Before anyone has mended anything: what the dead did not touch is there, and whole. */
static void check_readable(struct accel_kv *kv, int until)
{
	for (int i = 0; i < until; i++) {
		struct accel_kv_key key = A(i);
		struct accel_kv_pin pin;

		must_ok(accel_kv_get(kv, &key, LONG_LEASE_NS, &pin));
		must(holds(pin.data, &key, SMALL_BLOCK));
		must_ok(accel_kv_release(kv, &pin));
	}
}

/* How many of these steps it lived. */
static unsigned int dies_after(struct accel_dev *dev, const struct stepped *step,
			       unsigned int steps)
{
	struct accel_kv *kv;
	unsigned int lived;
	pid_t pid;
	int fd;

	kv = small_make(dev, step->full, &fd);
	pid = start_stopped(fd, step);
	for (lived = 0; lived < steps && step_on(pid); lived++)
		;
	end(pid);
	check_readable(kv, step->may_vanish);
	check_aftermath(kv);
	close(fd);
	accel_kv_close(kv);
	return lived;
}

/* Points spread over a call of so many instructions, other ones each time. */
static unsigned int point(unsigned int i, unsigned int points, unsigned int length, uint64_t *seed)
{
	return ((uint64_t)i * length + draw(seed, length)) / points;
}

static void at_any(const char *name, const struct stepped *step)
{
	struct accel_dev *dev = dev_open();
	unsigned int points = scaled(POINTS), length = dies_after(dev, step, UINT32_MAX);
	uint64_t seed = getpid();

	for (unsigned int i = 0; i < points; i++)
		dies_after(dev, step, point(i, points, length, &seed));
	ksft_print_msg("%s: killed at %u of %u instructions\n", name, points, length);
	accel_close(dev);
}

#define STEPPED(name, ...) \
	TEST(name) \
	{ \
		const struct stepped step = { __VA_ARGS__ }; \
		at_any(#name, &step); \
	}

STEPPED(in_reserve, false, no_prepare, do_reserve, 4)
STEPPED(in_reserve_evicting, true, no_prepare, do_reserve, 3)
STEPPED(in_publish, false, do_reserve, do_publish, 4)
STEPPED(in_publish_of_a_duplicate, false, prepare_twin, do_publish_twin, 4)
STEPPED(in_abort, false, do_reserve, do_abort, 4)
STEPPED(in_get, false, no_prepare, do_get, 4)
STEPPED(in_match, false, no_prepare, do_match, 4)
STEPPED(in_release, false, do_get, do_release, 4)
STEPPED(in_remove, false, no_prepare, do_remove, 3)
STEPPED(in_remove_of_a_pinned, false, do_get, do_remove, 3)
STEPPED(in_close_with_a_reservation, false, do_reserve, do_close, 4)
STEPPED(in_stats, true, no_prepare, do_stats, 4)

static bool locked(const struct kv_header *head)
{
	return __atomic_load_n(&head->lock, __ATOMIC_ACQUIRE) & ((1 << KV_LOCK_OWNER_BITS) - 1);
}

static const struct kv_header *header_map(struct accel_dev *dev, int fd, uint64_t *bytes)
{
	struct accel_buffer *buffer;
	struct accel_buffer_info info;
	void *head;

	must_ok(accel_buffer_import(dev, fd, &buffer));
	must_ok(accel_buffer_info(buffer, &info, NULL, 0));
	must_ok(accel_buffer_map(buffer, 0, &head));
	accel_buffer_close(buffer);
	*bytes = info.size;
	return head;
}

/* One dies under the lock, the next while mending what that one left. */
static unsigned int mender_dies_after(struct accel_dev *dev, unsigned int under_lock,
				      unsigned int steps)
{
	const struct stepped first = { false, do_reserve, do_publish, 4 };
	const struct stepped second = { false, no_prepare, do_stats, 4 };
	const struct kv_header *head;
	struct accel_kv *kv;
	unsigned int lived;
	uint64_t bytes;
	pid_t one, two;
	int fd;

	kv = small_make(dev, false, &fd);
	head = header_map(dev, fd, &bytes);
	one = start_stopped(fd, &first);
	two = start_stopped(fd, &second);
	while (!locked(head))
		must(step_on(one));
	while (locked(head) && under_lock--)
		must(step_on(one));
	end(one);
	for (lived = 0; lived < steps && step_on(two); lived++)
		;
	end(two);
	accel_buffer_unmap(dev, (void *)head, bytes);
	check_readable(kv, 4);
	check_aftermath(kv);
	close(fd);
	accel_kv_close(kv);
	return lived;
}

TEST(in_recovery)
{
	struct accel_dev *dev = dev_open();
	unsigned int points = scaled(POINTS), length = mender_dies_after(dev, 100, UINT32_MAX);
	uint64_t seed = getpid();

	for (unsigned int i = 0; i < points; i++)
		mender_dies_after(dev, draw(&seed, 300), point(i, points, length, &seed));
	ksft_print_msg("killed at %u of %u instructions\n", points, length);
	accel_close(dev);
}

TEST_HARNESS_MAIN
