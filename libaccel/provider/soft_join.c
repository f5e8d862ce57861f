// SPDX-License-Identifier: MIT
/*
 * How the processes of a pool find each other, without a file.
 *
 * Client slot N listens on the abstract socket npool/UID/NAME/N and a service
 * thread there answers two questions: "join" is answered by the control memfd,
 * "sync" by a byte, after mappings of lost buffers have been made to fault and
 * descriptors that are closed by now have been noticed. Who opens binds
 * npool/UID/NAME/join meanwhile, so that one pool is made and no two. Both sides
 * check that the other is the same user. Abstract names belong to a network
 * namespace, and so does a pool's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "soft.h"

#define ASK_JOIN	'J'
#define ASK_SYNC	'S'
#define BACKLOG		128
/* How long one member may take to answer before the next is asked as well. */
#define PATIENCE_MS	50
#define REQUEST_MS	100
#define RETRY_US	2000
#define LINGER_POLL_MS	50

static socklen_t address(struct sockaddr_un *addr, const char *pool, const char *who)
{
	int len;

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	len = snprintf(addr->sun_path + 1, sizeof(addr->sun_path) - 1, "npool/%u/%s/%s",
		       (unsigned int)geteuid(), pool, who);
	return offsetof(struct sockaddr_un, sun_path) + 1 + len;
}

static socklen_t slot_address(struct sockaddr_un *addr, const char *pool, uint32_t slot)
{
	char who[16];

	snprintf(who, sizeof(who), "%u", slot);
	return address(addr, pool, who);
}

static int bind_to(const struct sockaddr_un *addr, socklen_t len, int *fd)
{
	int err, sock;

	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return -errno;
	if (bind(sock, (const struct sockaddr *)addr, len)) {
		err = -errno;
		close(sock);
		return err;
	}
	*fd = sock;
	return 0;
}

static bool same_user(int sock)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.uid == geteuid();
}

/* -ECONNREFUSED where nobody of this user listens, -EAGAIN where somebody is too busy. */
static int ask(const char *pool, uint32_t slot, char question, int *fd)
{
	struct sockaddr_un addr;
	socklen_t len = slot_address(&addr, pool, slot);
	int err, sock;

	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return -errno;
	if (connect(sock, (struct sockaddr *)&addr, len)) {
		err = -errno;
		goto out_close;
	}
	if (!same_user(sock)) {
		err = -ECONNREFUSED;
		goto out_close;
	}
	if (send(sock, &question, 1, MSG_NOSIGNAL) != 1) {
		err = -errno;
		goto out_close;
	}
	*fd = sock;
	return 0;

out_close:
	close(sock);
	return err;
}

static int send_control(int sock, int control_fd)
{
	char byte = ASK_JOIN;
	struct iovec iov = { &byte, 1 };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &control_fd, sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* -EPIPE where the member went away instead of answering. */
static int receive_control(int sock, int *fd)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1)
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS ||
	    cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPIPE;
	memcpy(fd, CMSG_DATA(cmsg), sizeof(int));
	return 0;
}

struct asked {
	struct pollfd members[SOFT_CLIENTS];
	uint32_t count;
};

/* Looks @timeout_ms for an answer; who went away is asked no more. */
static int hear(struct asked *asked, int timeout_ms, int *fd)
{
	int err = -EAGAIN;

	if (poll(asked->members, asked->count, timeout_ms) <= 0)
		return -EAGAIN;
	for (uint32_t i = 0; err && i < asked->count;) {
		if (!asked->members[i].revents) {
			i++;
			continue;
		}
		err = receive_control(asked->members[i].fd, fd);
		close(asked->members[i].fd);
		asked->members[i] = asked->members[--asked->count];
	}
	return err;
}

/* One round: -ENOENT nobody listens, -EAGAIN nobody answered yet; any other error ends it. */
static int ask_round(const char *pool, struct asked *asked, int *fd)
{
	int answer = -ENOENT, err;

	for (uint32_t slot = 0; slot < SOFT_CLIENTS && asked->count < SOFT_CLIENTS; slot++) {
		struct pollfd *next = &asked->members[asked->count];

		err = ask(pool, slot, ASK_JOIN, &next->fd);
		if (err == -ECONNREFUSED)
			continue;
		answer = -EAGAIN;
		if (err == -EAGAIN || err == -EPIPE || err == -ECONNRESET)
			continue;
		if (err)
			return err;
		next->events = POLLIN;
		asked->count++;
		if (!hear(asked, PATIENCE_MS, fd))
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
	struct asked asked = { .count = 0 };
	int err;

	do {
		err = ask_round(pool, &asked, fd);
		while (err == -EAGAIN && asked.count && clock_now() < end)
			if (!hear(&asked, PATIENCE_MS, fd))
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
	socklen_t len = address(&addr, pool, "join");
	int err;

	for (;;) {
		err = bind_to(&addr, len, fd);
		if (err != -EADDRINUSE)
			return err;
		if (clock_now() >= end)
			return -EBUSY;
		usleep(RETRY_US);
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
		socklen_t len = slot_address(&addr, dev->name, slot);

		err = bind_to(&addr, len, &dev->listen_fd);
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

static void answer(struct soft_dev *dev, int sock)
{
	struct timeval patience = { .tv_usec = REQUEST_MS * 1000 };
	char question;

	if (!same_user(sock) ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    recv(sock, &question, 1, 0) != 1)
		return;
	if (question == ASK_JOIN) {
		send_control(sock, dev->control_fd);
	} else if (question == ASK_SYNC) {
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
			usleep(RETRY_US);
			continue;
		}
		answer(dev, sock);
		close(sock);
	}
}

/* A thread that takes no signal away from the program's own. */
int soft_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int err;

	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	pthread_attr_setstacksize(&attr, SOFT_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

int soft_serve(struct soft_dev *dev)
{
	int err;

	dev->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dev->wake_fd < 0)
		return -errno;
	err = soft_thread(&dev->service, serve, dev);
	if (err)
		close(dev->wake_fd);
	return err;
}

/* Has the service thread look at what changed. It cannot fail: the count never gets far. */
bool soft_wake_service(int wake_fd)
{
	uint64_t one = 1;

	return write(wake_fd, &one, sizeof(one)) == sizeof(one);
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
	soft_wake_service(wake_fd);
	close(wake_fd);
	return true;
}

void soft_stop_serving(struct soft_dev *dev)
{
	atomic_store(&dev->mode, SOFT_STOPPING);
	if (soft_wake_service(dev->wake_fd))
		pthread_join(dev->service, NULL);
	close(dev->wake_fd);
}

/* Asks the other members to let go of what is gone; waits a bounded time for their word. */
void soft_sync_others(struct soft_dev *dev, bool lingering_only)
{
	int64_t end = clock_deadline(SOFT_SYNC_MS * NSEC_PER_MSEC);
	struct asked asked = { .count = 0 };

	for (uint32_t slot = 0; slot < SOFT_CLIENTS; slot++) {
		struct soft_client *client = &dev->control->clients[slot];
		struct pollfd *next = &asked.members[asked.count];

		if (slot == dev->slot || !atomic_load(&client->id) ||
		    (lingering_only && !atomic_load(&client->lingering)))
			continue;
		if (ask(dev->name, slot, ASK_SYNC, &next->fd))
			continue;
		next->events = POLLIN;
		asked.count++;
	}
	while (asked.count && clock_now() < end) {
		poll(asked.members, asked.count, PATIENCE_MS);
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
