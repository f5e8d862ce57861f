// SPDX-License-Identifier: MIT
/* A peer that lies, on the board or at the door: calls end, with whatever answer. */
#include <sys/un.h>

#include <sys/mman.h>

#include "collective/door.h"
#include "ep_group.h"
#include "local.h"

#define RANKS 3

/* The abstract name of a rank's door, as the kernel lists it. */
static socklen_t door_of(const char *group, uint32_t rank, struct sockaddr_un *addr)
{
	char line[512], end[ACCEL_EP_NAME_LEN + 16];
	FILE *file = fopen("/proc/net/unix", "r");
	socklen_t len = 0;

	must(file);
	snprintf(end, sizeof(end), "/%s/%u\n", group, rank);
	while (!len && fgets(line, sizeof(line), file)) {
		char *name = strstr(line, "@npool-ep/");

		if (!name || strlen(name) < strlen(end) ||
		    strcmp(name + strlen(name) - strlen(end), end))
			continue;
		len = strlen(name) - 1;
		memset(addr, 0, sizeof(*addr));
		addr->sun_family = AF_UNIX;
		memcpy(addr->sun_path + 1, name + 1, len - 1);
		len += offsetof(struct sockaddr_un, sun_path);
	}
	fclose(file);
	return len;
}

static int knock(const struct sockaddr_un *addr, socklen_t len)
{
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	must(sock >= 0 && !connect(sock, (const struct sockaddr *)addr, len));
	return sock;
}

static void *join_alone(void *arg)
{
	struct part part = { "door", 2, 0, 1 };
	struct accel_dev *dev = arg;
	struct accel_ep_group *group;

	must_ok(join(dev, &part, EVER, &group));
	return group;
}

TEST(door_bears_any_bytes)
{
	struct part part = { "door", 2, 1, 1 };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct sockaddr_un addr;
	uint8_t bytes[128];
	uint64_t seed = 3;
	pthread_t thread;
	socklen_t len;
	void *theirs;
	int silent;

	must(!pthread_create(&thread, NULL, join_alone, dev));
	ASSERT_TRUE(eventually((len = door_of("door", 0, &addr))));
	for (unsigned int i = 0; i < scaled(500); i++) {
		int sock = knock(&addr, len);

		for (unsigned int k = 0; k < sizeof(bytes); k++)
			bytes[k] = rnd(&seed);
		/* Sometimes of the right length, for a rank far off, or of a life that is not. */
		memset(bytes, 0, i % 3 ? 0 : 4);
		bytes[0] = i % 3 ? bytes[0] : 1 + i % 2;
		if (i % 7)
			send(sock, bytes, i % 3 ? i % sizeof(bytes) : 12, MSG_NOSIGNAL);
		else
			send_fd(sock, sock);
		close(sock);
	}
	silent = knock(&addr, len);
	ASSERT_EQ(0, join(dev, &part, EVER, &group));
	close(silent);
	pthread_join(thread, &theirs);
	EXPECT_EQ(2, info_of(accel_ep_rank(group, 1)).alive);
	accel_ep_leave(theirs);
	accel_ep_leave(group);
	accel_close(dev);
}

/* What a question of so many bytes gets: a descriptor, or -1. */
static int asked(const struct sockaddr_un *addr, socklen_t len, uint32_t ask, uint32_t rank,
		 uint32_t life, size_t size)
{
	struct ep_question question[2] = { { ask, rank, life } };
	int sock = knock(addr, len), fd;

	must(send(sock, question, size, MSG_NOSIGNAL) == (ssize_t)size);
	if (local_receive_fd(sock, &fd))
		fd = -1;
	close(sock);
	return fd;
}

static bool answered(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

TEST(door_gives_only_what_is_there)
{
	struct part part = { "gives", 1, 0, 1 };
	const size_t whole = sizeof(struct ep_question);
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct sockaddr_un addr;
	socklen_t len;
	uint32_t life;

	ASSERT_EQ(0, join(dev, &part, EVER, &group));
	ASSERT_TRUE((len = door_of("gives", 0, &addr)));
	life = group->members[0]->life;
	EXPECT_TRUE(answered(asked(&addr, len, EP_ASK_BOARD, 0, 0, whole)));
	EXPECT_TRUE(answered(asked(&addr, len, EP_ASK_BUFFER, 0, life, whole)));
	EXPECT_FALSE(answered(asked(&addr, len, EP_ASK_BUFFER, 0, life + 1, whole)));
	EXPECT_FALSE(answered(asked(&addr, len, EP_ASK_BUFFER, 1, life, whole)));
	EXPECT_FALSE(answered(asked(&addr, len, EP_ASK_BUFFER, UINT32_MAX, life, whole)));
	EXPECT_FALSE(answered(asked(&addr, len, 0, 0, life, whole)));
	EXPECT_FALSE(answered(asked(&addr, len, EP_ASK_BUFFER + 1, 0, life, whole)));
	EXPECT_FALSE(answered(asked(&addr, len, EP_ASK_BOARD, 0, 0, whole - 1)));
	EXPECT_FALSE(answered(asked(&addr, len, EP_ASK_BOARD, 0, 0, whole + 4)));
	accel_ep_leave(group);
	accel_close(dev);
}

/* The same words in memory that somebody could cut off under those who read them. */
TEST(board_that_can_shrink_is_refused)
{
	struct part part = { "seals", 1, 0, 1 };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct ep_board *board;
	struct sockaddr_un addr;
	int fd, other;
	socklen_t len;

	ASSERT_EQ(0, join(dev, &part, EVER, &group));
	ASSERT_TRUE((len = door_of("seals", 0, &addr)));
	fd = asked(&addr, len, EP_ASK_BOARD, 0, 0, sizeof(struct ep_question));
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, ftruncate(fd, 0));
	EXPECT_EQ(0, ep_board_map(fd, &group->board->config, &board));
	other = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ASSERT_EQ((ssize_t)sizeof(*board), write(other, board, sizeof(*board)));
	EXPECT_EQ(-EPROTO, ep_board_map(other, &group->board->config, &board));
	EXPECT_EQ(0, ftruncate(other, sizeof(*board) + 4096));
	EXPECT_EQ(0, fcntl(other, F_ADD_SEALS, fcntl(fd, F_GET_SEALS)));
	EXPECT_EQ(-EPROTO, ep_board_map(other, &group->board->config, &board));
	ep_board_unmap(board);
	close(other);
	close(fd);
	accel_ep_leave(group);
	accel_close(dev);
}

/* All of it, or a word here and there, so that the rest makes sense. */
static void scribble_over(struct ep_board *board, uint64_t *seed, bool all)
{
	uint64_t *words = (uint64_t *)&board->lives;
	/* Beyond, proposals of ranks that are not. */
	size_t count = (uint64_t *)&board->proposals[RANKS] - words;

	if (all) {
		for (size_t i = 0; i < count; i++)
			ep_st(&words[i], rnd(seed) % 4 ? rnd(seed) : rnd(seed) % 4);
		return;
	}
	for (unsigned int i = 0; i < 8; i++) {
		size_t at = rnd(seed) % (offsetof(struct ep_board, seats[RANKS]) / 8);
		uint64_t value = rnd(seed) % 3 ? rnd(seed) % 8 : rnd(seed);

		ep_st(&words[at % count], value);
	}
	if (rnd(seed) % 2)
		ep_st(&board->decision, ep_decision(rnd(seed) % 5, rnd(seed) % (RANKS + 1)));
}

static void call_everything(struct accel_ep *ep, uint64_t *seed)
{
	uint32_t ranks[RANKS], count = RANKS;
	uint8_t alive[RANKS];
	bool joining;

	ep_joining(ep);
	info_of(ep);
	meet(ep, 1 + rnd(seed) % 3, 1000000, &joining);
	meet_begin(ep, 7);
	accel_ep_shrink(ep, rnd(seed) % 3 ? AT_ONCE : 1000000, alive);
	accel_ep_absent(ep, ranks, &count);
}

TEST(board_bears_any_words)
{
	struct part all = { "board", RANKS, 0, RANKS }, one = { "board", RANKS, 0, 1 };
	struct accel_dev *dev = group_open();
	unsigned int rounds = scaled(100);
	uint64_t seed = 5;

	for (unsigned int i = 0; i < rounds; i++) {
		struct accel_ep_group *group, *other;

		ASSERT_EQ(0, join(dev, &all, EVER, &group));
		for (unsigned int k = 0; k < 10; k++) {
			scribble_over(group->board, &seed, i % 2);
			call_everything(accel_ep_rank(group, rnd(&seed) % RANKS), &seed);
		}
		if (!join(dev, &one, rnd(&seed) % 2 ? AT_ONCE : 1000000, &other))
			accel_ep_leave(other);
		accel_ep_leave(group);
	}
	accel_close(dev);
}

struct scribbler {
	struct ep_board *board;
	uint32_t stop;
};

static void *scribble_on(void *arg)
{
	struct scribbler *scribbler = arg;
	uint64_t seed = 17;

	while (!ep_ld(&scribbler->stop))
		scribble_over(scribbler->board, &seed, false);
	return NULL;
}

TEST(board_bears_words_that_change)
{
	struct part all = { "changes", RANKS, 0, RANKS };
	struct accel_dev *dev = group_open();
	unsigned int rounds = scaled(50);
	uint64_t seed = 9;

	for (unsigned int i = 0; i < rounds; i++) {
		struct accel_ep_group *group;
		struct scribbler scribbler = { 0 };
		pthread_t thread;

		ASSERT_EQ(0, join(dev, &all, EVER, &group));
		scribbler.board = group->board;
		must(!pthread_create(&thread, NULL, scribble_on, &scribbler));
		for (unsigned int k = 0; k < 20; k++)
			call_everything(accel_ep_rank(group, k % RANKS), &seed);
		ep_st(&scribbler.stop, 1);
		pthread_join(thread, NULL);
		accel_ep_leave(group);
	}
	accel_close(dev);
}

TEST(board_of_another_abi_is_refused)
{
	struct part all = { "abi", 1, 0, 1 };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group, *other;

	ASSERT_EQ(0, join(dev, &all, EVER, &group));
	group->board->abi++;
	EXPECT_EQ(-EPROTO, join(dev, &all, EVER, &other));
	group->board->abi--;
	EXPECT_EQ(-EEXIST, join(dev, &all, EVER, &other));
	group->board->magic++;
	EXPECT_EQ(-EPROTO, join(dev, &all, EVER, &other));
	group->board->magic--;
	group->board->config.hidden++;
	EXPECT_EQ(-EPROTO, join(dev, &all, EVER, &other));
	accel_ep_leave(group);
	accel_close(dev);
}

TEST_HARNESS_MAIN
