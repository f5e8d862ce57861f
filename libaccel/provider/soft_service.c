// SPDX-License-Identifier: MIT
/*
 * A member's service thread: it answers the other members, and watches what
 * mappings and descriptors outlive their buffers here.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "soft_socket.h"

#define REQUEST_MS	100
#define LINGER_POLL_MS	50

static void answer(struct soft_dev *dev, int sock)
{
	struct timeval patience = { .tv_usec = REQUEST_MS * 1000 };
	char question;

	if (!local_same_user(sock) ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    recv(sock, &question, 1, 0) != 1)
		return;
	if (question == SOFT_ASK_JOIN) {
		local_send_fd(sock, dev->control_fd);
	} else if (question == SOFT_ASK_SYNC) {
		soft_map_lost(dev);
		soft_engine_wake(dev);
		soft_settle_own(dev);
		send(sock, &question, 1, MSG_NOSIGNAL);
	}
}

/* True when the thread is done; a device that was left behind is gone then. */
static bool done_serving(struct soft_dev *dev)
{
	uint32_t mode = atomic_load(&dev->mode);

	soft_map_lost(dev);
	soft_settle_own(dev);
	if (mode == SOFT_LEFT_BEHIND &&
	    !atomic_load(&dev->control->clients[dev->slot].lingering)) {
		close(dev->wake_fd);
		soft_free(dev);
		return true;
	}
	return mode == SOFT_STOPPING;
}

static void *serve(void *arg)
{
	struct soft_dev *dev = arg;
	struct pollfd fds[] = {
		{ .fd = dev->wake_fd, .events = POLLIN },
		{ .fd = dev->listen_fd, .events = POLLIN },
	};
	const struct soft_client *client = &dev->control->clients[dev->slot];
	uint64_t ignored;

	for (;;) {
		int sock;

		poll(fds, 2, atomic_load(&client->lingering) ? LINGER_POLL_MS : -1);
		if (fds[0].revents && read(dev->wake_fd, &ignored, sizeof(ignored)) < 0)
			continue;
		if (done_serving(dev))
			return NULL;
		if (!fds[1].revents)
			continue;
		sock = accept4(dev->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0) {
			/* Out of descriptors, likely: do not spin on it. */
			usleep(SOFT_RETRY_US);
			continue;
		}
		answer(dev, sock);
		close(sock);
	}
}

int soft_serve(struct soft_dev *dev)
{
	int err;

	dev->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dev->wake_fd < 0)
		return -errno;
	err = local_thread(&dev->service, serve, dev);
	if (err)
		close(dev->wake_fd);
	return err;
}

/* True if there is something left to watch; @dev is then the service thread's. */
bool soft_stay_behind(struct soft_dev *dev)
{
	int wake_fd;

	if (!atomic_load(&dev->control->clients[dev->slot].lingering))
		return false;
	/* The thread may close its own, and @dev be gone, before it is woken. */
	wake_fd = fcntl(dev->wake_fd, F_DUPFD_CLOEXEC, 0);
	if (wake_fd < 0)
		return false;
	pthread_detach(dev->service);
	atomic_store(&dev->mode, SOFT_LEFT_BEHIND);
	local_wake(wake_fd);
	close(wake_fd);
	return true;
}

void soft_stop_serving(struct soft_dev *dev)
{
	atomic_store(&dev->mode, SOFT_STOPPING);
	if (local_wake(dev->wake_fd))
		pthread_join(dev->service, NULL);
	close(dev->wake_fd);
}

/* Asks the other members to let go of what is gone; waits a bounded time for their word. */
void soft_sync_others(struct soft_dev *dev, bool lingering_only)
{
	int64_t end = clock_deadline(SOFT_SYNC_MS * NSEC_PER_MSEC);
	struct soft_asked asked = { .count = 0 };

	for (uint32_t slot = 0; slot < SOFT_CLIENTS; slot++) {
		struct soft_client *client = &dev->control->clients[slot];
		struct pollfd *next = &asked.members[asked.count];

		if (slot == dev->slot || !atomic_load(&client->id) ||
		    (lingering_only && !atomic_load(&client->lingering)))
			continue;
		if (soft_ask(dev->name, slot, SOFT_ASK_SYNC, &next->fd))
			continue;
		next->events = POLLIN;
		asked.count++;
	}
	while (asked.count && clock_now() < end) {
		poll(asked.members, asked.count, SOFT_PATIENCE_MS);
		for (uint32_t i = 0; i < asked.count;) {
			if (!asked.members[i].revents) {
				i++;
				continue;
			}
			close(asked.members[i].fd);
			asked.members[i] = asked.members[--asked.count];
		}
	}
	while (asked.count)
		close(asked.members[--asked.count].fd);
}
