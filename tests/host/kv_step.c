// SPDX-License-Identifier: MIT
/*
 * A process is stepped through each call of the KV cache and killed after any
 * of its instructions. What it did not touch must be readable at once, the next
 * writer must mend the rest, and once leases are over nothing may be lost.
 */
#include <sys/ptrace.h>

#include "kv/layout.h"
#include "kv_death.h"

#define POINTS 100		/* where a call is killed */
#define MEETINGS 300		/* where it meets another */

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

/* In the child: the pool that it opened. */
static struct accel_dev *stepped_dev;

static void no_prepare(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
}

static void do_reserve(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key key = NEW, parent = A(1);

	must_ok(accel_kv_reserve(kv, &key, &parent, slot));
	fill(slot->data, &key, SMALL_BLOCK);
}

static void do_publish(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	must_ok(accel_kv_publish(kv, slot));
}

static void do_abort(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
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
	must(accel_kv_publish(kv, slot) == -EEXIST);
}

static void do_get(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key key = A(3);

	must_ok(accel_kv_get(kv, &key, 0, pins));
}

static void do_match(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key keys[] = { A(0), A(1), A(2), A(3) };
	size_t matched;

	must_ok(accel_kv_match(kv, keys, 4, pins, &matched));
}

/* The lease may be over before it gets here. */
static void do_release(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	int err = accel_kv_release(kv, pins);

	must(!err || err == -ESTALE);
}

static void do_remove(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	struct accel_kv_key key = A(3);

	must_ok(accel_kv_remove(kv, &key));
}

static void do_close(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	accel_kv_close(kv);
}

static void do_open(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	kv_again(stepped_dev, kv);
}

static void do_stats(struct accel_kv *kv, struct accel_kv_slot *slot, struct accel_kv_pin *pins)
{
	kv_stats(kv);
}

static void child(int fd, const struct stepped *step)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv_slot slot;
	struct accel_kv_pin pins[4];
	struct accel_kv *kv;

	stepped_dev = dev;
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
	struct accel_kv *kv = kv_make(dev, SMALL_BLOCK, SMALL, ACCEL_KV_CHECKSUM, DEATH_LEASE_NS);

	for (int i = 0; i < 4 + 2 * full; i++) {
		struct accel_kv_key key = A(i), parent = A(i - 1);

		must_ok(kv_put(kv, &key, i && i < 4 ? &parent : NULL));
	}
	must_ok(accel_kv_export(kv, fd));
	return kv;
}

/*
 * Before anyone has mended anything: what the dead did not touch is there, and
 * whole. By short leases: what the dead have pinned too stays until they end.
 */
static void check_readable(struct accel_kv *kv, int until)
{
	for (int i = 0; i < until; i++) {
		struct accel_kv_key key = A(i);
		struct accel_kv_pin pin;
		bool right;
		int err;

		must_ok(accel_kv_get(kv, &key, 0, &pin));
		right = holds(pin.data, &key, SMALL_BLOCK);
		err = accel_kv_release(kv, &pin);
		must(right || err == -ESTALE);
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
	end_worker(pid);
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
STEPPED(in_open, true, no_prepare, do_open, 4)
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
	end_worker(one);
	for (lived = 0; lived < steps && step_on(two); lived++)
		;
	end_worker(two);
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

/* A get, stopped anywhere while another process gives the block away to another key. */
static void reader(int fd)
{
	struct accel_dev *dev = dev_open();
	struct accel_kv_key key = A(3);
	struct accel_kv_pin pin;
	struct accel_kv *kv;
	bool right;
	int err;

	must_ok(accel_kv_open(dev, fd, &kv));
	must(!ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	raise(SIGSTOP);
	err = accel_kv_get(kv, &key, LONG_LEASE_NS, &pin);
	raise(SIGSTOP);
	right = err || holds(pin.data, &key, SMALL_BLOCK);
	must(err == -ENOENT || (right && !err));
	if (!err)
		must_ok(accel_kv_release(kv, &pin));
	_exit(0);
}

static void run_on(pid_t pid, bool to_end)
{
	int status;

	must(!ptrace(PTRACE_CONT, pid, NULL, NULL));
	must(waitpid(pid, &status, 0) == pid);
	if (to_end)
		must(WIFEXITED(status) && !WEXITSTATUS(status));
	else
		must(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
}

static unsigned int replaced_after(struct accel_dev *dev, unsigned int steps)
{
	struct accel_kv_key old = A(3), new = NEW;
	struct accel_kv *kv;
	unsigned int lived;
	int status, fd;
	pid_t pid;

	kv = small_make(dev, true, &fd);
	pid = fork_worker();
	if (!pid)
		reader(fd);
	must(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	for (lived = 0; lived < steps && step_on(pid); lived++)
		;
	must_ok(accel_kv_remove(kv, &old));
	must_ok(kv_put(kv, &new, NULL));
	if (lived == steps)
		run_on(pid, false);
	run_on(pid, true);
	check_aftermath(kv);
	close(fd);
	accel_kv_close(kv);
	return lived;
}

/* An eviction, stopped anywhere while another process pins the block. */
static unsigned int pinned_after(struct accel_dev *dev, unsigned int steps)
{
	const struct stepped step = { true, no_prepare, do_reserve, 3 };
	struct accel_kv_key key = A(3);
	struct accel_kv_pin pin;
	struct accel_kv *kv;
	unsigned int lived;
	pid_t pid;
	int err, fd;

	kv = small_make(dev, true, &fd);
	pid = start_stopped(fd, &step);
	for (lived = 0; lived < steps && step_on(pid); lived++)
		;
	err = accel_kv_get(kv, &key, LONG_LEASE_NS, &pin);
	if (lived == steps)
		run_on(pid, false);
	run_on(pid, true);
	must(!err || err == -ENOENT);
	must(err || holds(pin.data, &key, SMALL_BLOCK));
	if (!err)
		must_ok(accel_kv_release(kv, &pin));
	check_aftermath(kv);
	close(fd);
	accel_kv_close(kv);
	return lived;
}

static void at_each(unsigned int (*meet)(struct accel_dev *dev, unsigned int steps))
{
	struct accel_dev *dev = dev_open();
	unsigned int length = meet(dev, UINT32_MAX), points = scaled(MEETINGS);
	uint64_t seed = getpid();

	for (unsigned int i = 0; i < points; i++)
		meet(dev, point(i, points, length, &seed));
	ksft_print_msg("met at %u of %u instructions\n", points, length);
	accel_close(dev);
}

TEST(get_of_a_block_replaced)
{
	at_each(replaced_after);
}

TEST(eviction_of_a_block_got)
{
	at_each(pinned_after);
}

TEST_HARNESS_MAIN
