/* SPDX-License-Identifier: MIT */
/*
 * Questions between the members of a pool, one byte each: "join" is answered by
 * the control memfd, "sync" by a byte once the member has made mappings of lost
 * buffers fault and noticed which descriptors are closed by now.
 */
#ifndef LIBACCEL_SOFT_SOCKET_H
#define LIBACCEL_SOFT_SOCKET_H

#include <poll.h>

#include "local.h"
#include "soft.h"

#define SOFT_ASK_JOIN		'J'
#define SOFT_ASK_SYNC		'S'
/* How long one member may take to answer before the next is asked as well. */
#define SOFT_PATIENCE_MS	50
#define SOFT_RETRY_US		2000

/* Members whose answers are awaited. */
struct soft_asked {
	struct pollfd members[SOFT_CLIENTS];
	uint32_t count;
};

socklen_t soft_address(struct sockaddr_un *addr, const char *pool, const char *who);
socklen_t soft_slot_address(struct sockaddr_un *addr, const char *pool, uint32_t slot);
int soft_ask(const char *pool, uint32_t slot, char question, int *fd);

#endif
