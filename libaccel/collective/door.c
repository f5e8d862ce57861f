// SPDX-License-Identifier: MIT
/*
 * Finding the others. Who joins binds npool-ep/UID/POOL/GROUP/join meanwhile, so
 * that one board is made and no two, and a seat is taken by one at a time.
 */
#include <stddef.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>
#include <xxhash.h>

#include "door.h"
#include "local.h"

#define BACKLOG 512

/* The pool is told by its address without what only its first user says. */
static socklen_t address(struct sockaddr_un *addr, const struct accel_ep_group *group,
			 const char *who)
{
	const char *uri = accel_uri(group->dev);
	int len;

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	len = snprintf(addr->sun_path + 1, sizeof(addr->sun_path) - 1, "npool-ep/%u/%016llx/%s/%s",
		       (unsigned int)geteuid(),
		       (unsigned long long)XXH64(uri, strcspn(uri, "?"), 0), group->name, who);
	return offsetof(struct sockaddr_un, sun_path) + 1 + len;
}

static socklen_t door_address(struct sockaddr_un *addr, const struct accel_ep_group *group,
			      uint32_t rank)
{
	char who[16];

	snprintf(who, sizeof(who), "%u", rank);
	return address(addr, group, who);
}

/* Who has it may be on its way out. */
static int bind_until(const struct sockaddr_un *addr, socklen_t len, int64_t deadline, int *fd)
{
	int err;

	while ((err = local_bind(addr, len, fd)) == -EADDRINUSE) {
		if (clock_now() >= deadline)
			return -ETIMEDOUT;
		usleep(EP_RETRY_US);
	}
	return err;
}

int ep_door_lock(const struct accel_ep_group *group, int64_t deadline, int *fd)
{
	struct sockaddr_un addr;
	socklen_t len = address(&addr, group, "join");

	return bind_until(&addr, len, deadline, fd);
}

int ep_door_open(struct accel_ep_group *group, uint32_t rank, int64_t deadline)
{
	struct sockaddr_un addr;
	socklen_t len = door_address(&addr, group, rank);
	int err;

	err = bind_until(&addr, len, deadline, &group->listen_fd);
	if (err)
		return err;
	if (listen(group->listen_fd, BACKLOG)) {
		err = -errno;
		close(group->listen_fd);
	}
	return err;
}

static int knock(const struct accel_ep_group *group, uint32_t door,
		 const struct ep_question *question, int sock)
{
	struct timeval patience = { .tv_usec = EP_PATIENCE_US };
	struct sockaddr_un addr;
	socklen_t len = door_address(&addr, group, door);

	if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	    connect(sock, (const struct sockaddr *)&addr, len))
		return -errno;
	if (!local_same_user(sock))
		return -ECONNREFUSED;
	if (send(sock, question, sizeof(*question), MSG_NOSIGNAL) != sizeof(*question))
		return -errno;
	return 0;
}

/* -ECONNREFUSED where there is nobody, -EAGAIN where nothing came in time or was given. */
static int ask(const struct accel_ep_group *group, uint32_t door,
	       const struct ep_question *question, int *fd)
{
	int err, sock;

	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	err = knock(group, door, question, sock);
	if (!err && local_receive_fd(sock, fd))
		err = -EAGAIN;
	close(sock);
	return err == -EPIPE || err == -ECONNRESET || err == -EINPROGRESS ? -EAGAIN : err;
}

int ep_door_buffer(const struct accel_ep_group *group, uint32_t door, uint32_t rank,
		   uint32_t life, int *fd)
{
	const struct ep_question question = { EP_ASK_BUFFER, rank, life };

	return ask(group, door, &question, fd);
}

/* One round: -ENOENT nobody is there, -EAGAIN nobody answered; any other error ends it. */
static int ask_round(const struct accel_ep_group *group, int *fd)
{
	const struct ep_question question = { .ask = EP_ASK_BOARD };
	int answer = -ENOENT, err;

	for (uint32_t rank = 0; rank < ACCEL_EP_MAX_RANKS; rank++) {
		err = ask(group, rank, &question, fd);
		if (err == -EAGAIN)
			answer = err;
		else if (err != -ECONNREFUSED)
			return err;
	}
	return answer;
}

int ep_door_board(const struct accel_ep_group *group, int64_t deadline, int *fd)
{
	int err;

	while ((err = ask_round(group, fd)) == -EAGAIN)
		if (clock_now() >= deadline)
			return -ETIMEDOUT;
	return err;
}
