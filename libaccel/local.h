/* SPDX-License-Identifier: MIT */
/*
 * What the soft provider and the collectives serve others with: sockets between
 * processes of one user, descriptors sent along them, and threads of our own.
 */
#ifndef LIBACCEL_LOCAL_H
#define LIBACCEL_LOCAL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A socket of packets that does not block. */
int local_bind(const struct sockaddr_un *addr, socklen_t len, int *fd);
bool local_same_user(int sock);
int local_send_fd(int sock, int fd);
/* -EPIPE where the other went away instead of answering, or sent no descriptor. */
int local_receive_fd(int sock, int *fd);

/* With a small stack; takes no signal away from the program's own threads. */
int local_thread(pthread_t *thread, void *(*run)(void *), void *arg);
/* Has who polls eventfd @wake_fd look at what changed. It cannot fail: the count stays low. */
bool local_wake(int wake_fd);

#endif
