/* SPDX-License-Identifier: MIT */
/*
 * A memcached of the benchmark's own on a Unix socket, and a client that is as
 * direct as its text protocol allows: one send and one receive for each GET,
 * straight into the caller's memory.
 */
#ifndef BENCH_MEMCACHED_H
#define BENCH_MEMCACHED_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bench.h"

#define MEMCACHED_MIB "1024"
#define MEMCACHED_ITEM "2m"
#define MEMCACHED_START_MS 5000

struct memcached {
	pid_t pid;
	int sock;
	char dir[64];
	struct sockaddr_un addr;
};

static inline void memcached_exec(const char *path)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* It refuses to run as root unless told so. */
	if (!geteuid())
		execlp("memcached", "memcached", "-s", path, "-m", MEMCACHED_MIB, "-I",
		       MEMCACHED_ITEM, "-u", "root", NULL);
	else
		execlp("memcached", "memcached", "-s", path, "-m", MEMCACHED_MIB, "-I",
		       MEMCACHED_ITEM, NULL);
	_exit(127);
}

static inline void memcached_stop(struct memcached *m)
{
	kill(m->pid, SIGKILL);
	waitpid(m->pid, NULL, 0);
	close(m->sock);
	unlink(m->addr.sun_path);
	rmdir(m->dir);
}

/* False, with a word on stderr, where there is no memcached. */
static inline bool memcached_start(struct memcached *m)
{
	const char *tmp = getenv("TMPDIR");
	int tries = MEMCACHED_START_MS;

	snprintf(m->dir, sizeof(m->dir), "%.40s/npool-bench.XXXXXX", tmp ? tmp : "/tmp");
	check(!mkdtemp(m->dir));
	m->addr.sun_family = AF_UNIX;
	snprintf(m->addr.sun_path, sizeof(m->addr.sun_path), "%s/s", m->dir);
	m->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	m->pid = fork();
	check(m->sock < 0 || m->pid < 0);
	if (!m->pid)
		memcached_exec(m->addr.sun_path);
	while (connect(m->sock, (struct sockaddr *)&m->addr, sizeof(m->addr))) {
		if (!--tries || waitpid(m->pid, NULL, WNOHANG)) {
			fprintf(stderr, "bench: memcached does not start; is it installed?\n");
			memcached_stop(m);
			return false;
		}
		usleep(1000);
	}
	return true;
}

static inline void memcached_set(struct memcached *m, unsigned int key, void *data, size_t size)
{
	char head[64], answer[8];
	struct iovec iov[3] = { { head, 0 }, { data, size }, { "\r\n", 2 } };
	size_t done = 0, total;

	iov[0].iov_len = snprintf(head, sizeof(head), "set k%u 0 0 %zu\r\n", key, size);
	total = iov[0].iov_len + size + 2;
	for (int i = 0; done < total; ) {
		ssize_t n = writev(m->sock, iov + i, 3 - i);

		check(n <= 0);
		done += n;
		for (; i < 3 && (size_t)n >= iov[i].iov_len; i++)
			n -= iov[i].iov_len;
		if (i < 3) {
			iov[i].iov_base = (char *)iov[i].iov_base + n;
			iov[i].iov_len -= n;
		}
	}
	check(recv(m->sock, answer, sizeof(answer), MSG_WAITALL) != sizeof(answer));
	check(memcmp(answer, "STORED\r\n", sizeof(answer)));
}

static inline void memcached_get(struct memcached *m, unsigned int key, void *data, size_t size)
{
	char ask[32], head[64], expect[64], tail[7];
	int asked = snprintf(ask, sizeof(ask), "get k%u\r\n", key);
	/* The answer's shape is known, so that nothing has to be copied out of a buffer. */
	int headed = snprintf(expect, sizeof(expect), "VALUE k%u 0 %zu\r\n", key, size);
	struct iovec iov[3] = { { head, headed }, { data, size }, { tail, sizeof(tail) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };

	check(send(m->sock, ask, asked, 0) != asked);
	check(recvmsg(m->sock, &msg, MSG_WAITALL) != (ssize_t)(headed + size + sizeof(tail)));
	check(memcmp(head, expect, headed) || memcmp(tail, "\r\nEND\r\n", sizeof(tail)));
}

#endif
