// SPDX-License-Identifier: MIT
/*
 * The sockets by which the members of a pool talk: client slot N listens on the
 * abstract name npool/UID/NAME/N, which is gone with its process. Both sides of a
 * connection check that the other is the same user. Abstract names belong to a
 * network namespace, and so does a pool's. Another user there can bind them first:
 * that keeps this user's pools from opening, and lets nobody in.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "soft_socket.h"

socklen_t soft_address(struct sockaddr_un *addr, const char *pool, const char *who)
{
	int len;

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	len = snprintf(addr->sun_path + 1, sizeof(addr->sun_path) - 1, "npool/%u/%s/%s",
		       (unsigned int)geteuid(), pool, who);
	return offsetof(struct sockaddr_un, sun_path) + 1 + len;
}

socklen_t soft_slot_address(struct sockaddr_un *addr, const char *pool, uint32_t slot)
{
	char who[16];

	snprintf(who, sizeof(who), "%u", slot);
	return soft_address(addr, pool, who);
}

/* -ECONNREFUSED where nobody of this user listens, -EAGAIN where somebody is too busy. */
int soft_ask(const char *pool, uint32_t slot, char question, int *fd)
{
	struct sockaddr_un addr;
	socklen_t len = soft_slot_address(&addr, pool, slot);
	int err, sock;

	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return -errno;
	if (connect(sock, (struct sockaddr *)&addr, len)) {
		err = -errno;
		goto out_close;
	}
	if (!local_same_user(sock)) {
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
