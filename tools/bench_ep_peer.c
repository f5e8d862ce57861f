// SPDX-License-Identifier: MIT
/* accelctl bench ep's peer: ep-mpi under mpirun, told what to do by a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_ep_peer.h"

extern char **environ;

static void find_peer(char path[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 8);
	char *slash;

	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, "ep-mpi");
}

static int start(struct ep_peer *peer, const struct ep_load *load, const char *program)
{
	const uint64_t values[6] = {
		load->ranks, load->tokens, load->hidden, load->top_k, load->experts, load->seed,
	};
	char numbers[6][24];
	char *argv[20] = { "mpirun", "--oversubscribe", "--bind-to", "none" };
	posix_spawn_file_actions_t actions;
	int to[2], from[2], n = 4, err;

	if (!geteuid())
		argv[n++] = "--allow-run-as-root";
	argv[n++] = "-n";
	for (int i = 0; i < 6; i++)
		snprintf(numbers[i], sizeof(*numbers), "%" PRIu64, values[i]);
	argv[n++] = numbers[0];
	argv[n++] = (char *)program;
	for (int i = 1; i < 6; i++)
		argv[n++] = numbers[i];
	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, to[0], 0);
	posix_spawn_file_actions_adddup2(&actions, from[1], 1);
	err = posix_spawnp(&peer->pid, "mpirun", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(to[0]);
	close(from[1]);
	peer->orders = fdopen(to[1], "w");
	peer->answers = fdopen(from[0], "r");
	if (err)
		peer->pid = 0;
	return -err;
}

void ep_peer_start(struct ep_peer *peer, const struct ep_load *load, const char *program)
{
	char path[PATH_MAX];
	int err;

	if (!program) {
		find_peer(path);
		program = path;
	}
	err = access(program, X_OK) ? -errno : start(peer, load, program);
	if (err)
		fprintf(stderr, "accelctl: bench ep: without the MPI peer, %s: %s\n", program,
			strerror(-err));
}

int ep_peer_turns(struct ep_peer *peer, const struct ep_order *order, uint64_t *ns)
{
	fprintf(peer->orders, "%s %s %s %u\n", order->op == EP_DISPATCH ? "dispatch" : "combine",
		order->impl == EP_MPI_WINDOW ? "window" : "alltoallv",
		order->route == EP_BY_EXPERT ? "expert" : "rank", order->turns);
	fflush(peer->orders);
	for (uint32_t i = 0; i < order->turns; i++)
		if (fscanf(peer->answers, "%" SCNu64, &ns[i]) != 1)
			return -EPIPE;
	return 0;
}

void ep_peer_end(struct ep_peer *peer)
{
	if (!peer->pid)
		return;
	fclose(peer->orders);
	fclose(peer->answers);
	waitpid(peer->pid, NULL, 0);
}
