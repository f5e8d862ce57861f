// SPDX-License-Identifier: MIT
/*
 * Becoming a member of a pool, without a file. Who opens binds the abstract
 * name npool/UID/NAME/join meanwhile, so that one pool is made and no two, and
 * gets the control memfd from any member, or makes it where there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "soft_socket.h"

#define BACKLOG 128

/* Looks @timeout_ms for an answer; who went away is asked no more. */
static int hear(struct soft_asked *asked, int timeout_ms, int *fd)
{
	int err = -EAGAIN;

	if (poll(asked->members, asked->count, timeout_ms) <= 0)
		return -EAGAIN;
	for (uint32_t i = 0; err && i < asked->count;) {
		if (!asked->members[i].revents) {
			i++;
			continue;
		}
		err = local_receive_fd(asked->members[i].fd, fd);
		close(asked->members[i].fd);
		asked->members[i] = asked->members[--asked->count];
	}
	return err;
}

/* One round: -ENOENT nobody listens, -EAGAIN nobody answered yet; any other error ends it. */
static int ask_round(const char *pool, struct soft_asked *asked, int *fd)
{
	int answer = -ENOENT, err;

	for (uint32_t slot = 0; slot < SOFT_CLIENTS && asked->count < SOFT_CLIENTS; slot++) {
		struct pollfd *next = &asked->members[asked->count];

		err = soft_ask(pool, slot, SOFT_ASK_JOIN, &next->fd);
		if (err == -ECONNREFUSED)
			continue;
		answer = -EAGAIN;
		if (err == -EAGAIN || err == -EPIPE || err == -ECONNRESET)
			continue;
		if (err)
			return err;
		next->events = POLLIN;
		asked->count++;
		if (!hear(asked, SOFT_PATIENCE_MS, fd))
			return 0;
	}
	return answer;
}

/*
 * Asks the members one after the other, going on past one that is slow to
 * answer: it may be stopped. -ENOENT only where nobody listens.
 */
static int find_pool(const char *pool, int *fd)
{
	int64_t end = clock_deadline(SOFT_JOIN_MS * NSEC_PER_MSEC);
	struct soft_asked asked = { .count = 0 };
	int err;

	do {
		err = ask_round(pool, &asked, fd);
		while (err == -EAGAIN && asked.count && clock_now() < end)
			if (!hear(&asked, SOFT_PATIENCE_MS, fd))
				err = 0;
	} while (err == -EAGAIN && clock_now() < end);
	while (asked.count)
		close(asked.members[--asked.count].fd);
	return err == -EAGAIN ? -ETIMEDOUT : err;
}

static int take_join_lock(const char *pool, int *fd)
{
	int64_t end = clock_deadline(SOFT_JOIN_MS * NSEC_PER_MSEC);
	struct sockaddr_un addr;
	socklen_t len = soft_address(&addr, pool, "join");
	int err;

	for (;;) {
		err = local_bind(&addr, len, fd);
		if (err != -EADDRINUSE)
			return err;
		if (clock_now() >= end)
			return -EBUSY;
		usleep(SOFT_RETRY_US);
	}
}

/* Takes a client slot: its socket, then its byte's lock, then its place in the table. */
static int claim_slot(struct soft_dev *dev)
{
	struct sockaddr_un addr;
	int err;

	for (uint32_t slot = 0; slot < SOFT_CLIENTS; slot++) {
		struct flock lock = {
			.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1,
		};
		socklen_t len = soft_slot_address(&addr, dev->name, slot);

		err = local_bind(&addr, len, &dev->listen_fd);
		if (err == -EADDRINUSE)
			continue;
		if (err)
			return err;
		if (fcntl(dev->lock_fd, F_OFD_SETLK, &lock)) {
			close(dev->listen_fd);
			continue;
		}
		dev->slot = slot;
		return 0;
	}
	return -EUSERS;
}

/* The slot gets a number that none had: at the start, and when its device is closed. */
void soft_renumber(struct soft_dev *dev)
{
	soft_lock(dev);
	dev->base.client = dev->control->next_client++;
	atomic_store(&dev->control->clients[dev->slot].id, dev->base.client);
	soft_unlock(dev);
}

static void register_client(struct soft_dev *dev)
{
	soft_lock(dev);
	soft_reap_slot(dev, dev->slot);
	soft_reap(dev);
	soft_unlock(dev);
	soft_renumber(dev);
}

static int attach(struct soft_dev *dev, uint32_t npus, uint64_t bytes)
{
	char path[32];
	int err;

	err = find_pool(dev->name, &dev->control_fd);
	if (err == -ENOENT)
		err = soft_control_create(npus, bytes, &dev->control_fd);
	if (err)
		return err;
	err = soft_control_map(dev->control_fd, &dev->control);
	if (err)
		goto out_close;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dev->control_fd);
	dev->lock_fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->lock_fd < 0) {
		err = -errno;
		goto out_unmap;
	}
	err = claim_slot(dev);
	if (err)
		goto out_lock;
	return 0;

out_lock:
	close(dev->lock_fd);
out_unmap:
	munmap(dev->control, sizeof(*dev->control));
out_close:
	close(dev->control_fd);
	return err;
}

/* Finds or makes the pool and becomes a member; undone by soft_leave(). */
int soft_join(struct soft_dev *dev, uint32_t npus, uint64_t bytes)
{
	int err, join_fd;

	err = take_join_lock(dev->name, &join_fd);
	if (err)
		return err;
	err = attach(dev, npus, bytes);
	if (err)
		goto out;
	register_client(dev);
	if (listen(dev->listen_fd, BACKLOG)) {
		err = -errno;
		soft_leave(dev);
	}
out:
	close(join_fd);
	return err;
}

/* The slot's lock goes last: until then nobody takes this client for dead. */
void soft_leave(struct soft_dev *dev)
{
	soft_lock(dev);
	soft_reap_slot(dev, dev->slot);
	soft_unlock(dev);
	close(dev->listen_fd);
	munmap(dev->control, sizeof(*dev->control));
	close(dev->lock_fd);
	close(dev->control_fd);
}
