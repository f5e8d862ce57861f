// SPDX-License-Identifier: MIT
/*
 * The KV cache as another process than the writer sees it: zero-copy get, match
 * of a whole chain, and copy-get of 1 MiB against memcached on a Unix socket.
 *
 * Keys are drawn at random from namespaces much larger than the processor's
 * caches, except where a row says hot.
 */
#include <accel/kv.h>

#include "memcached.h"

#define CHAIN 256
#define SMALL_CHAINS 80
#define SMALL_BYTES KIB(16)
#define BIG_CHAINS 2
#define BIG_BYTES MIB(1)
#define HOT_KEYS 4

#define GETS 400000
#define MATCHES 8000
#define COPY_TURNS 120
#define COPY_TURN 8

#define GET_MAX_NS 500
#define MATCH_MAX_NS 30000
#define MEMCACHED_RATIO 8

enum { SMALL, BIG, CHECKED, SPACES };

static const struct space {
	unsigned int chains;
	uint64_t bytes;
	uint32_t flags;
} space[SPACES] = {
	[SMALL] = { SMALL_CHAINS, SMALL_BYTES, 0 },
	[BIG] = { BIG_CHAINS, BIG_BYTES, 0 },
	[CHECKED] = { BIG_CHAINS, BIG_BYTES, ACCEL_KV_CHECKSUM },
};

struct reader {
	struct accel_dev *dev;
	struct accel_kv *kv[SPACES];
	struct accel_kv_key *key[SPACES];
	void *copy;
	uint64_t seed;
};

static unsigned int blocks(int which)
{
	return space[which].chains * CHAIN;
}

static struct accel_kv_key *make_keys(struct accel_kv *kv, int which)
{
	struct accel_kv_key *key = calloc(blocks(which), sizeof(*key));

	check(!key);
	for (unsigned int i = 0; i < blocks(which); i++)
		accel_kv_key_hash(kv, i % CHAIN ? &key[i - 1] : NULL, i, &key[i]);
	return key;
}

static void send_fd(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	check(sendmsg(sock, &msg, 0) != 1);
}

static int recv_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd;

	check(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1);
	check(!CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void fill_space(struct accel_kv *kv, int which)
{
	struct accel_kv_key *key = make_keys(kv, which);
	struct accel_kv_slot slot;

	for (unsigned int i = 0; i < blocks(which); i++) {
		check(accel_kv_reserve(kv, &key[i], i % CHAIN ? &key[i - 1] : NULL, &slot));
		memset(slot.data, i, space[which].bytes);
		memcpy(slot.data, &key[i], sizeof(key[i]));
		check(accel_kv_publish(kv, &slot));
	}
	free(key);
}

/* The writer: fills all namespaces, hands them over, and stays until the reader is done. */
static void write_spaces(const char *uri, int sock)
{
	struct accel_kv *kv[SPACES];
	struct accel_dev *dev;
	char byte;

	check(accel_open(uri, &dev));
	for (int i = 0; i < SPACES; i++) {
		struct accel_kv_config config = {
			.block_bytes = space[i].bytes,
			.capacity = blocks(i),
			.flags = space[i].flags,
			.model = "bench",
		};
		int fd;

		check(accel_kv_create(dev, &config, NULL, &kv[i]));
		fill_space(kv[i], i);
		check(accel_kv_export(kv[i], &fd));
		send_fd(sock, fd);
		close(fd);
	}
	check(read(sock, &byte, 1) != 0);
	for (int i = 0; i < SPACES; i++)
		accel_kv_close(kv[i]);
	accel_close(dev);
}

static void check_block(struct accel_kv *kv, const struct accel_kv_key *key)
{
	struct accel_kv_pin pin;

	check(accel_kv_get(kv, key, 0, &pin));
	check(memcmp(pin.data, key, sizeof(*key)));
	check(accel_kv_release(kv, &pin));
}

static void open_spaces(struct reader *r, const char *uri, int sock)
{
	check(accel_open(uri, &r->dev));
	for (int i = 0; i < SPACES; i++) {
		int fd = recv_fd(sock);

		check(accel_kv_open(r->dev, fd, &r->kv[i]));
		close(fd);
		r->key[i] = make_keys(r->kv[i], i);
		for (unsigned int k = 0; k < blocks(i); k++)
			check_block(r->kv[i], &r->key[i][k]);
	}
	r->copy = aligned_alloc(KIB(4), BIG_BYTES);
	check(!r->copy);
	memset(r->copy, 0, BIG_BYTES);
}

static void bench_get(struct reader *r)
{
	struct samples get = { 0 }, both = { 0 }, touch = { 0 };
	struct accel_kv_pin pin;

	for (unsigned int i = 0; i < GETS; i++) {
		const struct accel_kv_key *key = &r->key[SMALL][rnd(&r->seed) % blocks(SMALL)];
		uint64_t start = now_ns(), got, seen;

		check(accel_kv_get(r->kv[SMALL], key, 0, &pin));
		got = now_ns();
		check(*(const volatile uint64_t *)pin.data != key->lo);
		seen = now_ns();
		check(accel_kv_release(r->kv[SMALL], &pin));
		sample(&get, got - start);
		sample(&touch, seen - start);
		sample(&both, now_ns() - start);
	}
	row_print(&(struct row){ .group = "kv", .what = "get, zero-copy", .ours = &get,
				 .max_ns = GET_MAX_NS });
	row_print(&(struct row){ .group = "kv", .what = "get, and read 8 bytes of it",
				 .ours = &touch });
	row_print(&(struct row){ .group = "kv", .what = "get, read, release", .ours = &both });
	samples_free(&get);
	samples_free(&touch);
	samples_free(&both);
}

static void bench_match(struct reader *r)
{
	static struct accel_kv_pin pins[CHAIN];
	struct samples plain = { 0 }, pinned = { 0 };
	size_t matched;

	for (unsigned int i = 0; i < MATCHES; i++) {
		const struct accel_kv_key *key =
			&r->key[SMALL][rnd(&r->seed) % SMALL_CHAINS * CHAIN];
		uint64_t start = now_ns(), mid;

		check(accel_kv_match(r->kv[SMALL], key, CHAIN, NULL, &matched));
		mid = now_ns();
		check(matched != CHAIN);
		sample(&plain, mid - start);

		key = &r->key[SMALL][rnd(&r->seed) % SMALL_CHAINS * CHAIN];
		start = now_ns();
		check(accel_kv_match(r->kv[SMALL], key, CHAIN, pins, &matched));
		sample(&pinned, now_ns() - start);
		check(matched != CHAIN);
		for (size_t k = 0; k < matched; k++)
			check(accel_kv_release(r->kv[SMALL], &pins[k]));
	}
	row_print(&(struct row){ .group = "kv", .what = "match of 256 blocks", .ours = &plain,
				 .max_ns = MATCH_MAX_NS });
	row_print(&(struct row){ .group = "kv", .what = "match of 256 blocks, pinned",
				 .ours = &pinned });
	samples_free(&plain);
	samples_free(&pinned);
}

static void turn_kv(struct reader *r, int which, unsigned int keys, struct samples *out)
{
	for (int i = 0; i < COPY_TURN; i++) {
		const struct accel_kv_key *key = &r->key[which][rnd(&r->seed) % keys];
		uint64_t start = now_ns();

		check(accel_kv_copy(r->kv[which], key, r->copy));
		sample(out, now_ns() - start);
		check(memcmp(r->copy, key, sizeof(*key)));
	}
}

static void turn_memcached(struct reader *r, struct memcached *m, unsigned int keys,
			   struct samples *out)
{
	for (int i = 0; i < COPY_TURN; i++) {
		unsigned int key = rnd(&r->seed) % keys;
		uint64_t start = now_ns();

		memcached_get(m, key, r->copy, BIG_BYTES);
		sample(out, now_ns() - start);
		check(memcmp(r->copy, &r->key[BIG][key], sizeof(r->key[BIG][key])));
	}
}

static void bench_copy(struct reader *r, struct memcached *m, unsigned int keys, const char *heat)
{
	struct samples plain = { 0 }, checked = { 0 }, theirs = { 0 };
	char name[2][64];

	for (int turn = 0; turn < COPY_TURNS; turn++) {
		turn_kv(r, BIG, keys, &plain);
		turn_kv(r, CHECKED, keys, &checked);
		turn_memcached(r, m, keys, &theirs);
	}
	snprintf(name[0], sizeof(name[0]), "copy-get 1 MiB, %s", heat);
	snprintf(name[1], sizeof(name[1]), "copy-get 1 MiB, %s, checksum", heat);
	row_print(&(struct row){ .group = "kv", .what = name[0], .peer_name = "memcached",
				 .ours = &plain, .peer = &theirs, .bytes = BIG_BYTES, .paired = true,
				 .min_ratio = MEMCACHED_RATIO });
	row_print(&(struct row){ .group = "kv", .what = name[1], .peer_name = "memcached",
				 .ours = &checked, .peer = &theirs, .bytes = BIG_BYTES,
				 .paired = true });
	samples_free(&plain);
	samples_free(&checked);
	samples_free(&theirs);
}

static int bench_against_memcached(struct reader *r)
{
	struct memcached m;

	if (!memcached_start(&m))
		return EXIT_SKIP;
	for (unsigned int i = 0; i < blocks(BIG); i++) {
		memset(r->copy, i, BIG_BYTES);
		memcpy(r->copy, &r->key[BIG][i], sizeof(r->key[BIG][i]));
		memcached_set(&m, i, r->copy, BIG_BYTES);
	}
	bench_copy(r, &m, blocks(BIG), "random of 512");
	bench_copy(r, &m, HOT_KEYS, "hot, of 4");
	memcached_stop(&m);
	return 0;
}

int main(int argc, char **argv)
{
	struct reader r = { .seed = 0x9e3779b97f4a7c15 };
	int pair[2], status;
	char uri[64];
	pid_t writer;

	bench_begin(argc, argv, "KV cache in a soft pool, read from another process");
	snprintf(uri, sizeof(uri), "soft:bench-kv-%d?npus=1&size=2G", (int)getpid());
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	fflush(stdout);
	writer = fork();
	check(writer < 0);
	if (!writer) {
		close(pair[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		write_spaces(uri, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	open_spaces(&r, uri, pair[0]);
	bench_get(&r);
	bench_match(&r);
	status = bench_against_memcached(&r);
	for (int i = 0; i < SPACES; i++) {
		accel_kv_close(r.kv[i]);
		free(r.key[i]);
	}
	free(r.copy);
	close(pair[0]);
	check(waitpid(writer, NULL, 0) != writer);
	accel_close(r.dev);
	return status;
}
