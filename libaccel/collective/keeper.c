// SPDX-License-Identifier: MIT
/*
 * A process's keeper: a thread that gives the board to those who come, and the
 * buffers of this process's ranks to those who are to store into them.
 */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "door.h"
#include "local.h"

static void give_buffer(const struct accel_ep_group *group, int sock, uint32_t rank, uint32_t life)
{
	const struct ep_member *member;
	int fd;

	if (rank >= group->shape.config.ranks)
		return;
	member = group->of_rank[rank];
	if (!member || member->life != life || accel_buffer_export(member->buffer, &fd))
		return;
	local_send_fd(sock, fd);
	close(fd);
}

/* Who asks for what is not there is not answered. */
static void answer(const struct accel_ep_group *group, int sock)
{
	struct timeval patience = { .tv_usec = EP_PATIENCE_US };
	struct ep_question question;

	if (!local_same_user(sock) ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    recv(sock, &question, sizeof(question), MSG_TRUNC) != sizeof(question))
		return;
	if (question.ask == EP_ASK_BOARD)
		local_send_fd(sock, group->board_fd);
	else if (question.ask == EP_ASK_BUFFER)
		give_buffer(group, sock, question.rank, question.life);
}

static void *keep(void *arg)
{
	const struct accel_ep_group *group = arg;
	struct pollfd fds[] = {
		{ .fd = group->wake_fd, .events = POLLIN },
		{ .fd = group->listen_fd, .events = POLLIN },
	};

	for (;;) {
		int sock;

		poll(fds, 2, -1);
		if (fds[0].revents)
			return NULL;
		if (!fds[1].revents)
			continue;
		sock = accept4(group->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (sock < 0) {
			/* Out of descriptors, likely: do not spin on it. */
			usleep(EP_RETRY_US);
			continue;
		}
		answer(group, sock);
		close(sock);
	}
}

int ep_keeper_start(struct accel_ep_group *group)
{
	int err;

	group->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (group->wake_fd < 0)
		return -errno;
	err = local_thread(&group->keeper, keep, group);
	if (err)
		close(group->wake_fd);
	return err;
}

void ep_keeper_stop(struct accel_ep_group *group)
{
	if (local_wake(group->wake_fd))
		pthread_join(group->keeper, NULL);
	close(group->wake_fd);
}
