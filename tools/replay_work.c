// SPDX-License-Identifier: MIT
/*
 * The workers of a replay. Prefill keeps a request's chain pinned until it has
 * stored what it can, so that nothing it builds on is evicted under it. Times
 * are of the library's calls alone; content is made and checked outside them.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "content.h"
#include "ctl.h"
#include "replay.h"

#define NO_ROOM 1		/* store(): nothing can be evicted, or the prefix is gone */
#define LOST 2			/* store(): stored, and evicted before it could be pinned */
#define WRONG_SHOWN 3		/* messages about wrong blocks a worker prints */

struct worker {
	const struct replay *replay;
	struct replay_count *count;
	const char *role;
	uint64_t number;
	struct accel_dev *dev;
	struct accel_kv *kv;
	size_t block_bytes;
	struct accel_kv_key *keys;	/* room for the trace's longest chain */
	struct accel_kv_pin *pins;
	bool *wrong;			/* of the pinned, read and found wrong */
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* The parent reads some counters while we count. */
static void count_up(uint64_t *counter, uint64_t by)
{
	__atomic_store_n(counter, *counter + by, __ATOMIC_RELAXED);
}

static int failed(const struct worker *worker, const char *what, int err)
{
	ctl_error("replay: %s worker %" PRIu64 ": %s: %s", worker->role, worker->number, what,
		  strerror(-err));
	return err;
}

/* Whether a pinned block's bytes are right; counted as wrong only once its pin is known good. */
static bool right(struct worker *worker, const struct accel_kv_key *key,
		  const struct accel_kv_pin *pin)
{
	if (!content_right(pin->data, worker->block_bytes, key))
		return false;
	return !worker->replay->verify || !accel_kv_verify(worker->kv, pin);
}

static int end_read(struct worker *worker, uint64_t request, uint32_t block, bool wrong)
{
	struct replay_count *count = worker->count;
	int err = accel_kv_release(worker->kv, &worker->pins[block]);

	if (err == -ESTALE) {
		count_up(&count->stale, 1);
		return 0;
	}
	if (err)
		return failed(worker, "release", err);
	count_up(&count->bytes_got, worker->block_bytes);
	if (!wrong)
		return 0;
	count_up(&count->wrong, 1);
	if (count->wrong <= WRONG_SHOWN)
		ctl_error("replay: %s worker %" PRIu64 ": request %" PRIu64 ", block %u: wrong "
			  "bytes", worker->role, worker->number, request, block);
	return 0;
}

static void derive_keys(struct worker *worker, const struct trace_request *request)
{
	const uint64_t *ids = worker->replay->trace->ids + request->first;
	uint32_t i;

	for (i = 0; i < request->count; i++)
		accel_kv_key_hash(worker->kv, i ? &worker->keys[i - 1] : NULL, ids[i],
				  &worker->keys[i]);
}

/* Store block @i of the chain and pin it: 0, NO_ROOM, LOST or -errno. */
static int store(struct worker *worker, uint32_t i)
{
	const struct accel_kv_key *key = &worker->keys[i];
	struct replay_count *count = worker->count;
	uint64_t start, reserved, written, end;
	struct accel_kv_slot slot;
	int err;

	start = now_ns();
	err = accel_kv_reserve(worker->kv, key, i ? key - 1 : NULL, &slot);
	reserved = now_ns();
	if (err == -ENOSPC || err == -ENOENT)
		return NO_ROOM;
	if (!err) {
		content_fill(slot.data, worker->block_bytes, key);
		written = now_ns();
		err = accel_kv_publish(worker->kv, &slot);
		end = now_ns();
		if (err && err != -EEXIST)
			return failed(worker, "publish", err);
		hist_add(&count->put, end - written + reserved - start);
	} else if (err != -EEXIST) {
		return failed(worker, "reserve", err);
	}
	if (err) {
		count_up(&count->duplicates, 1);
	} else {
		count_up(&count->published, 1);
		count_up(&count->bytes_put, worker->block_bytes);
	}
	err = accel_kv_get(worker->kv, key, 0, &worker->pins[i]);
	/* In a small cache another worker may have evicted it already. */
	if (err == -ENOENT)
		return LOST;
	return err ? failed(worker, "get", err) : 0;
}

static int prefill(struct worker *worker, uint64_t index)
{
	const struct trace_request *request = &worker->replay->trace->requests[index];
	struct replay_count *count = worker->count;
	uint64_t start;
	size_t matched;
	uint32_t pinned, i;
	int err, end;

	derive_keys(worker, request);
	start = now_ns();
	err = accel_kv_match(worker->kv, worker->keys, request->count, worker->pins, &matched);
	if (err)
		return failed(worker, "match", err);
	hist_add(&count->match, now_ns() - start);
	count_up(&count->block_refs, request->count);
	count_up(&count->block_hits, matched);
	for (i = 0; i < matched; i++)
		worker->wrong[i] = !right(worker, &worker->keys[i], &worker->pins[i]);
	for (pinned = matched; pinned < request->count; pinned++) {
		err = store(worker, pinned);
		if (err)
			break;
	}
	if (err > 0) {
		count_up(&count->unstored, request->count - pinned - (err == LOST));
		err = 0;
	}
	for (i = 0; i < pinned; i++) {
		if (i < matched) {
			end = end_read(worker, index, i, worker->wrong[i]);
		} else {
			end = accel_kv_release(worker->kv, &worker->pins[i]);
			if (end == -ESTALE)
				end = 0;
		}
		if (end && !err)
			err = failed(worker, "release", end);
	}
	return err;
}

static int decode(struct worker *worker, uint64_t index)
{
	const struct trace_request *request = &worker->replay->trace->requests[index];
	struct replay_count *count = worker->count;
	uint64_t start;
	uint32_t i;
	int err;

	derive_keys(worker, request);
	count_up(&count->decode_refs, request->count);
	for (i = 0; i < request->count; i++) {
		start = now_ns();
		err = accel_kv_get(worker->kv, &worker->keys[i], 0, &worker->pins[i]);
		if (err == -ENOENT) {
			count_up(&count->decode_misses, 1);
			continue;
		}
		if (err)
			return failed(worker, "get", err);
		hist_add(&count->get, now_ns() - start);
		err = end_read(worker, index, i,
			       !right(worker, &worker->keys[i], &worker->pins[i]));
		if (err)
			return err;
	}
	return 0;
}

/* Read or write a whole item of a pipe; 0 at its end, as read() and write() tell. */
static ssize_t transfer(int fd, void *item, size_t size, bool out)
{
	ssize_t done;

	do {
		done = out ? write(fd, item, size) : read(fd, item, size);
	} while (done < 0 && errno == EINTR);
	return done;
}

static int prefill_all(struct worker *worker)
{
	const struct replay *replay = worker->replay;
	uint64_t index;
	char credit;
	int err;

	for (;;) {
		index = __atomic_fetch_add(&replay->shared->next, 1, __ATOMIC_RELAXED);
		if (index >= replay->trace->count)
			return 0;
		if (transfer(replay->credit[0], &credit, 1, false) != 1)
			return failed(worker, "waiting for decode", -EPIPE);
		err = prefill(worker, index);
		if (err)
			return err;
		count_up(&worker->count->requests, 1);
		/* Small writes to a pipe are whole or not at all, and so are their reads. */
		if (transfer(replay->handoff[1], &index, sizeof(index), true) != sizeof(index))
			return failed(worker, "handing over to decode", -errno);
	}
}

static int decode_all(struct worker *worker)
{
	const struct replay *replay = worker->replay;
	uint64_t index;
	ssize_t got;
	int err;

	for (;;) {
		got = transfer(replay->handoff[0], &index, sizeof(index), false);
		if (!got)
			return 0;
		if (got != sizeof(index))
			return failed(worker, "taking over from prefill", got < 0 ? -errno : -EPIPE);
		err = decode(worker, index);
		if (err)
			return err;
		count_up(&worker->count->requests, 1);
		if (transfer(replay->credit[1], "", 1, true) != 1)
			return failed(worker, "telling prefill", -errno);
	}
}

/* Wait for the pool's address and the namespace; 1 if the parent gave up instead. */
static int receive(int socket, struct replay_start *start, int *fd)
{
	char control[CMSG_SPACE(sizeof(*fd))];
	struct iovec part = { start, sizeof(*start) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (!got)
		return 1;
	if (got != sizeof(*start) || !header || header->cmsg_type != SCM_RIGHTS)
		return got < 0 ? -errno : -EPROTO;
	memcpy(fd, CMSG_DATA(header), sizeof(*fd));
	return 0;
}

static int join(struct worker *worker, int socket)
{
	struct accel_kv_config config;
	struct replay_start start;
	int fd = -1, err;

	err = receive(socket, &start, &fd);
	if (err)
		return err < 0 ? failed(worker, "starting", err) : err;
	err = accel_open(start.uri, &worker->dev);
	if (err) {
		failed(worker, start.uri, err);
	} else {
		err = accel_kv_open(worker->dev, fd, &worker->kv);
		if (err)
			failed(worker, "opening the namespace", err);
	}
	close(fd);
	if (err)
		return err;
	accel_kv_config(worker->kv, &config);
	worker->block_bytes = config.block_bytes;
	if (write(socket, "", 1) != 1)
		return failed(worker, "starting", -errno);
	return 0;
}

int replay_work(const struct replay *replay, enum replay_role role, uint64_t number, int socket)
{
	struct worker worker = {
		.replay = replay,
		.count = &replay->shared->counts[role * REPLAY_WORKERS_MAX + number],
		.role = role == REPLAY_PREFILL ? "prefill" : "decode",
		.number = number,
	};
	size_t room = replay->trace->longest;
	int err;

	/* Each end of the pipes is open only where it is used, so that an end means an end. */
	close(role == REPLAY_PREFILL ? replay->handoff[0] : replay->handoff[1]);
	worker.keys = calloc(room, sizeof(*worker.keys));
	worker.pins = calloc(room, sizeof(*worker.pins));
	worker.wrong = calloc(room, sizeof(*worker.wrong));
	if (worker.keys && worker.pins && worker.wrong)
		err = join(&worker, socket);
	else
		err = failed(&worker, "starting", -ENOMEM);
	if (!err)
		err = role == REPLAY_PREFILL ? prefill_all(&worker) : decode_all(&worker);
	if (worker.kv)
		accel_kv_close(worker.kv);
	accel_close(worker.dev);
	free(worker.wrong);
	free(worker.pins);
	free(worker.keys);
	return err > 0 ? CTL_OK : ctl_status(err);
}
