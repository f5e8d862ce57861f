// SPDX-License-Identifier: MIT
/*
 * The parent of a replay: forks the workers before it opens anything, makes the
 * namespace, sends it to them, and waits in one loop for whatever comes first:
 * their answers, their ends, or a signal. However it ends, no worker is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "replay.h"

#define TICK_MS 100		/* between two looks at the progress */

struct child {
	pid_t pid;		/* 0 once reaped */
	int socket;		/* -1 once it has answered */
};

struct run {
	struct replay *replay;
	struct child children[2 * REPLAY_WORKERS_MAX];
	size_t count;
	size_t ready;
	size_t alive;
	int signals;		/* signalfd */
	int signal;		/* that ended the replay, 0 if none */
	sigset_t old_mask;
	struct timespec start;
};

static const char *role_name(const struct run *run, size_t child)
{
	return child < run->replay->workers ? "prefill" : "decode";
}

static int system_failed(const char *what)
{
	ctl_error("replay: %s: %s", what, strerror(errno));
	return CTL_SYSTEM;
}

/* What a new process does: it must not outlive its parent, and Ctrl-C is the parent's to handle. */
static void be_worker(struct run *run, pid_t parent, size_t child, int socket)
{
	struct replay *replay = run->replay;
	enum replay_role role = child < replay->workers ? REPLAY_PREFILL : REPLAY_DECODE;
	size_t i;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(CTL_SYSTEM);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &run->old_mask, NULL);
	close(run->signals);
	/* The parent's ends towards the others: their end must be an end. */
	for (i = 0; i < child; i++)
		close(run->children[i].socket);
	_exit(replay_work(replay, role, child % replay->workers, socket));
}

static int start_workers(struct run *run)
{
	pid_t parent = getpid(), pid;
	size_t i;
	int pair[2];

	for (i = 0; i < 2 * run->replay->workers; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
			return system_failed("making a socket pair");
		pid = fork();
		if (!pid) {
			close(pair[0]);
			be_worker(run, parent, i, pair[1]);
		}
		close(pair[1]);
		if (pid < 0) {
			close(pair[0]);
			return system_failed("starting a worker");
		}
		run->children[i] = (struct child){ pid, pair[0] };
		run->count++;
		run->alive++;
	}
	/* Only prefill keeps this end open: when the last is done, decode is told by its end. */
	close(run->replay->handoff[1]);
	run->replay->handoff[1] = -1;
	return CTL_OK;
}

static void end_workers(struct run *run)
{
	size_t i;

	for (i = 0; i < run->count; i++) {
		if (run->children[i].socket >= 0)
			close(run->children[i].socket);
		if (!run->children[i].pid)
			continue;
		kill(run->children[i].pid, SIGKILL);
		waitpid(run->children[i].pid, NULL, 0);
	}
}

static int no_room(struct accel_dev *dev, const struct accel_kv_config *config, int err)
{
	char block[CTL_TEXT_LEN], all[CTL_TEXT_LEN], room[CTL_TEXT_LEN], most[CTL_TEXT_LEN];
	struct accel_pool_info info = { 0 };
	struct accel_npu_info *npus;
	uint64_t largest = 0;
	uint32_t count, i;

	accel_pool_info(dev, &info);
	if (!ctl_npus(dev, &npus, &count)) {
		for (i = 0; i < count; i++)
			if (npus[i].state == ACCEL_NPU_ONLINE && npus[i].bytes_free > largest)
				largest = npus[i].bytes_free;
		free(npus);
	}
	ctl_error("replay: %" PRIu64 " blocks of %s take %s and an index, but pool %s has %s free, "
		  "at most %s of it on one NPU%s; lower --capacity-blocks or --block-bytes, or take "
		  "a larger pool", config->capacity, ctl_bytes(config->block_bytes, block),
		  ctl_bytes(config->capacity * config->block_bytes, all), accel_uri(dev),
		  ctl_bytes(info.bytes_free, room), ctl_bytes(largest, most),
		  err == -EDQUOT ? ", and its quota is used up" : "");
	return CTL_NOROOM;
}

/* On one NPU if it fits, else over all that are online. */
static int create_namespace(struct accel_dev *dev, const struct accel_kv_config *config,
			    struct accel_kv **kv)
{
	struct accel_where where = { .placement = ACCEL_PLACE_INTERLEAVE };
	struct accel_pool_info info;
	struct accel_npu_info *npus;
	uint32_t *ids, count, i;
	int err;

	err = accel_kv_create(dev, config, NULL, kv);
	if (err != -ENOSPC || accel_pool_info(dev, &info) || ctl_npus(dev, &npus, &count))
		return err;
	ids = calloc(count + 1, sizeof(*ids));
	for (i = 0; ids && i < count; i++)
		if (npus[i].state == ACCEL_NPU_ONLINE)
			ids[where.npu_count++] = npus[i].id;
	free(npus);
	where.npus = ids;
	where.stripe = (config->block_bytes + info.min_alloc - 1) & ~(info.min_alloc - 1);
	if (where.npu_count >= 2)
		err = accel_kv_create(dev, config, &where, kv);
	free(ids);
	return err;
}

static int send_namespace(const struct run *run, const char *uri, int fd)
{
	struct replay_start start = { 0 };
	char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec part = { &start, sizeof(start) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	size_t i;

	snprintf(start.uri, sizeof(start.uri), "%s", uri);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	/* One that has died already is noticed by its SIGCHLD. */
	for (i = 0; i < run->count; i++)
		if (sendmsg(run->children[i].socket, &message, MSG_NOSIGNAL) < 0 &&
		    errno != EPIPE && errno != ECONNRESET)
			return system_failed("sending the namespace");
	return CTL_OK;
}

static int open_namespace(struct run *run, const char *uri, const struct accel_kv_config *config,
			  struct accel_dev **dev, struct accel_kv **kv)
{
	int status, err, fd;

	status = ctl_open(uri, dev);
	if (status)
		return status;
	err = create_namespace(*dev, config, kv);
	if (err == -ENOSPC || err == -EDQUOT) {
		status = no_room(*dev, config, err);
		goto close_dev;
	}
	if (err) {
		ctl_error("replay: making a namespace in pool %s: %s", accel_uri(*dev),
			  strerror(-err));
		status = err == -EINVAL ? CTL_USAGE : ctl_status(err);
		goto close_dev;
	}
	err = accel_kv_export(*kv, &fd);
	if (err) {
		ctl_error("replay: exporting the namespace: %s", strerror(-err));
		status = ctl_status(err);
		goto close_kv;
	}
	status = send_namespace(run, accel_uri(*dev), fd);
	close(fd);
	if (!status)
		return CTL_OK;
close_kv:
	accel_kv_close(*kv);
close_dev:
	accel_close(*dev);
	return status;
}

/* What a worker's end means for the replay. */
static int judge(const struct run *run, size_t child, int how)
{
	uint64_t number = child % run->replay->workers;

	if (WIFEXITED(how)) {
		switch (WEXITSTATUS(how)) {
		case CTL_OK:
		case CTL_DEVICE:
		case CTL_NOROOM:
		case CTL_SYSTEM:
			return WEXITSTATUS(how);
		}
		/* Not our doing: a sanitizer, or a library that gave up. */
		ctl_error("replay: %s worker %" PRIu64 " ended with status %d",
			  role_name(run, child), number, WEXITSTATUS(how));
		return CTL_SYSTEM;
	}
	ctl_error("replay: %s worker %" PRIu64 " (pid %d) was killed by signal %d (%s)%s",
		  role_name(run, child), number, run->children[child].pid, WTERMSIG(how),
		  strsignal(WTERMSIG(how)),
		  WTERMSIG(how) == SIGBUS ? ": an NPU that the cache lies on has left the pool" : "");
	return WTERMSIG(how) == SIGBUS ? CTL_DEVICE : CTL_SYSTEM;
}

static int reap(struct run *run)
{
	int how, status = CTL_OK, one;
	size_t i;

	for (i = 0; i < run->count; i++) {
		if (!run->children[i].pid || waitpid(run->children[i].pid, &how, WNOHANG) <= 0)
			continue;
		one = judge(run, i, how);
		run->children[i].pid = 0;
		run->alive--;
		if (!status)
			status = one;
	}
	return status;
}

static int take_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) != sizeof(info))
		return CTL_OK;
	if (info.ssi_signo == SIGCHLD)
		return reap(run);
	run->signal = info.ssi_signo;
	return CTL_SYSTEM;
}

/* With one worker of each role a single credit makes them take turns, request by request. */
static int give_credit(const struct run *run)
{
	uint64_t credits = run->replay->workers == 1 ? 1 : 2 * run->replay->workers;

	while (credits--)
		if (write(run->replay->credit[1], "", 1) != 1)
			return system_failed("starting the workers");
	return CTL_OK;
}

static int take_answer(struct run *run, struct child *child)
{
	char answer;

	/* An end instead of an answer: its SIGCHLD tells more. */
	if (read(child->socket, &answer, 1) == 1)
		run->ready++;
	close(child->socket);
	child->socket = -1;
	if (run->ready < run->count)
		return CTL_OK;
	clock_gettime(CLOCK_MONOTONIC, &run->start);
	return give_credit(run);
}

static int watch(struct run *run)
{
	struct pollfd polled[2 * REPLAY_WORKERS_MAX + 1];
	int status = CTL_OK;
	size_t i;

	while (run->alive && !status) {
		for (i = 0; i < run->count; i++)
			polled[i] = (struct pollfd){ run->children[i].socket, POLLIN, 0 };
		polled[i] = (struct pollfd){ run->signals, POLLIN, 0 };
		if (poll(polled, run->count + 1, TICK_MS) < 0 && errno != EINTR)
			return system_failed("poll");
		if (polled[run->count].revents)
			status = take_signal(run);
		for (i = 0; i < run->count && !status; i++)
			if (polled[i].revents)
				status = take_answer(run, &run->children[i]);
		replay_progress(run->replay, !run->alive || status);
	}
	return status;
}

static int open_signals(struct run *run)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, &run->old_mask);
	run->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return run->signals < 0 ? system_failed("signalfd") : CTL_OK;
}

int replay_run(struct replay *replay, const char *uri, const struct accel_kv_config *config,
	       struct accel_dev **dev, struct accel_kv **kv, double *seconds)
{
	struct run run = { .replay = replay };
	struct timespec end;
	int status;

	status = open_signals(&run);
	if (status)
		return status;
	status = start_workers(&run);
	if (!status)
		status = open_namespace(&run, uri, config, dev, kv);
	if (!status) {
		status = watch(&run);
		clock_gettime(CLOCK_MONOTONIC, &end);
		end_workers(&run);
		if (status) {
			accel_kv_close(*kv);
			accel_close(*dev);
		}
	} else {
		end_workers(&run);
	}
	close(run.signals);
	if (run.signal) {
		/* Die of it, so that a shell sees what happened. */
		signal(run.signal, SIG_DFL);
		raise(run.signal);
	}
	sigprocmask(SIG_SETMASK, &run.old_mask, NULL);
	if (!status)
		*seconds = end.tv_sec - run.start.tv_sec +
			   (end.tv_nsec - run.start.tv_nsec) / 1e9;
	return status;
}
