// SPDX-License-Identifier: MIT
/* Soft pools come with their first user and go with the last, however it ends. */
#include "pool.h"
#include "provider/soft.h"

static const char *uri_of(const char *options)
{
	static char uri[ACCEL_URI_MAX];

	snprintf(uri, sizeof(uri), "soft:life-%d%s", (int)getppid(), options);
	return uri;
}

static struct accel_dev *open_at(const char *uri)
{
	struct accel_dev *dev;

	must_ok(accel_open(uri, &dev));
	return dev;
}

static struct accel_pool_info info_of(struct accel_dev *dev)
{
	struct accel_pool_info info;

	must_ok(accel_pool_info(dev, &info));
	return info;
}

/* Opens, takes memory, tells its number, waits for the end. */
static int user(int sock, const void *uri)
{
	struct accel_dev *dev = open_at(uri);
	struct accel_buffer *buffer;

	must_ok(accel_buffer_create(dev, KIB(64), NULL, &buffer));
	say(sock, accel_client_id(dev));
	hear(sock);
	return 0;
}

static bool socket_of(const char *name)
{
	char line[512];
	FILE *file = fopen("/proc/net/unix", "r");
	bool found = false;

	must(file);
	while (fgets(line, sizeof(line), file))
		found |= strstr(line, name) != NULL;
	fclose(file);
	return found;
}

TEST(pool_goes_with_its_last_user)
{
	char uri[ACCEL_URI_MAX], name[64];
	struct accel_dev *dev;

	snprintf(uri, sizeof(uri), "soft:last-%d?npus=2", (int)getpid());
	snprintf(name, sizeof(name), "/last-%d/", (int)getpid());
	dev = open_at(uri);
	EXPECT_EQ(2, info_of(dev).npu_count);
	EXPECT_TRUE(socket_of(name));
	accel_close(dev);
	EXPECT_FALSE(socket_of(name));
	uri[strlen(uri) - 1] = '3';
	dev = open_at(uri);
	EXPECT_EQ(3, info_of(dev).npu_count);
	EXPECT_EQ(1, accel_client_id(dev));
	accel_close(dev);
}

TEST(pool_goes_with_a_killed_user)
{
	char uri[ACCEL_URI_MAX], name[64];
	struct accel_dev *dev;
	struct child child;

	snprintf(uri, sizeof(uri), "soft:killed-%d?npus=2", (int)getpid());
	snprintf(name, sizeof(name), "/killed-%d/", (int)getpid());
	child = child_start(user, uri);
	EXPECT_EQ(1, hear(child.sock));
	EXPECT_TRUE(socket_of(name));
	child_kill(&child);
	EXPECT_FALSE(socket_of(name));
	uri[strlen(uri) - 1] = '3';
	dev = open_at(uri);
	EXPECT_EQ(3, info_of(dev).npu_count);
	accel_close(dev);
}

TEST(killed_user_leaves_its_memory)
{
	struct accel_dev *dev = open_at(uri_of("?npus=1&size=1M"));
	struct child child = child_start(user, uri_of(""));
	struct accel_buffer *buffer;

	hear(child.sock);
	EXPECT_EQ(MIB(1) - KIB(64), info_of(dev).bytes_free);
	EXPECT_EQ(-ENOSPC, accel_buffer_create(dev, MIB(1), NULL, &buffer));
	child_kill(&child);
	/* Without a query in between: the failing allocation itself must look. */
	ASSERT_EQ(0, accel_buffer_create(dev, MIB(1), NULL, &buffer));
	accel_buffer_close(buffer);
	EXPECT_EQ(MIB(1), info_of(dev).bytes_free);
	accel_close(dev);
}

#define CROWD 12

TEST(crowd_makes_one_pool)
{
	unsigned int round, i, k, rounds = scaled(20);
	struct child children[CROWD];
	uint64_t ids[CROWD];
	char uri[ACCEL_URI_MAX];

	for (round = 0; round < rounds; round++) {
		snprintf(uri, sizeof(uri), "soft:crowd-%d-%u", (int)getpid(), round);
		for (i = 0; i < CROWD; i++)
			children[i] = child_start(user, uri);
		for (i = 0; i < CROWD; i++)
			ids[i] = hear(children[i].sock);
		for (i = 0; i < CROWD; i++)
			for (k = 0; k < i; k++) {
				ASSERT_NE(ids[i], ids[k]);
			}
		for (i = 0; i < CROWD; i++)
			child_kill(&children[i]);
	}
}

/* Opens, allocates, shares with itself, closes, for ever. */
static int churn(int sock, const void *uri)
{
	uint64_t seed = getpid();

	say(sock, 1);
	for (;;) {
		struct accel_buffer *a, *b;
		struct accel_dev *dev;
		int fd, err;

		err = accel_open(uri, &dev);
		if (err)
			return -err;
		for (int i = 0; i < 20; i++) {
			if (accel_buffer_create(dev, KIB(4) << rnd(&seed) % 4, NULL, &a))
				continue;
			must_ok(accel_buffer_export(a, &fd));
			must_ok(accel_buffer_import(dev, fd, &b));
			accel_buffer_close(a);
			accel_buffer_close(b);
			close(fd);
		}
		accel_close(dev);
	}
}

TEST(killed_anywhere_leaves_the_pool_whole)
{
	struct accel_dev *dev = open_at(uri_of("?npus=2&size=1M"));
	unsigned int i, kills = scaled(300);
	uint64_t seed = 7, whole = info_of(dev).bytes_total;
	struct child child;

	for (i = 0; i < kills; i++) {
		child = child_start(churn, uri_of(""));
		hear(child.sock);
		usleep(rnd(&seed) % 4000);
		child_kill(&child);
		if (i % 16 == 0) {
			ASSERT_EQ(whole, info_of(dev).bytes_free)
				TH_LOG("kill %u", i);
		}
	}
	EXPECT_EQ(whole, info_of(dev).bytes_free);
	accel_close(dev);
}

/* Dies with the control lock, in the middle of a change of what is derived. */
static int die_locked(int sock, const void *uri)
{
	struct soft_dev *dev = (struct soft_dev *)open_at(uri);
	struct accel_buffer *buffer;

	must_ok(accel_buffer_create(&dev->base, KIB(128), NULL, &buffer));
	say(sock, 1);
	soft_lock(dev);
	dev->control->npus[0].used = 12345;
	dev->control->npus[1].used = 1ull << 60;
	dev->control->entries_high = UINT32_MAX;
	kill(getpid(), SIGKILL);
	return 0;
}

TEST(death_with_the_lock_is_mended)
{
	struct accel_dev *dev = open_at(uri_of("?npus=2&size=1M"));
	struct accel_buffer *buffer, *again;
	struct child child;

	ASSERT_EQ(0, accel_buffer_create(dev, KIB(64), NULL, &buffer));
	child = child_start(die_locked, uri_of(""));
	hear(child.sock);
	EXPECT_EQ(-SIGKILL, child_end(&child));
	EXPECT_EQ(MIB(2) - KIB(64), info_of(dev).bytes_free);
	ASSERT_EQ(0, accel_buffer_create(dev, KIB(64), NULL, &again));
	EXPECT_EQ(MIB(2) - KIB(128), info_of(dev).bytes_free);
	accel_buffer_close(again);
	accel_buffer_close(buffer);
	EXPECT_EQ(MIB(2), info_of(dev).bytes_free);
	accel_close(dev);
}

TEST(stopped_member_does_not_keep_others_out)
{
	struct child first = child_start(user, uri_of("")), second;
	struct accel_dev *dev;

	EXPECT_EQ(1, hear(first.sock));
	second = child_start(user, uri_of(""));
	EXPECT_EQ(2, hear(second.sock));
	kill(first.pid, SIGSTOP);
	must(waitpid(first.pid, NULL, WUNTRACED) == first.pid);
	dev = open_at(uri_of(""));
	EXPECT_EQ(3, accel_client_id(dev));
	EXPECT_EQ(1, accel_client_alive(dev, 1));
	accel_close(dev);
	child_kill(&second);
	/* It alone is left: there must be no second pool beside its. */
	EXPECT_NE(0, accel_open(uri_of(""), &dev));
	kill(first.pid, SIGCONT);
	dev = open_at(uri_of(""));
	EXPECT_LT(3, accel_client_id(dev));
	EXPECT_EQ(1, accel_client_alive(dev, 1));
	accel_close(dev);
	child_kill(&first);
}

TEST(slots_run_out_and_come_back)
{
	static struct accel_dev *devs[SOFT_CLIENTS];
	struct accel_dev *one_more;
	unsigned int i;

	for (i = 0; i < SOFT_CLIENTS; i++)
		devs[i] = open_at(uri_of("?npus=1&size=4K"));
	EXPECT_EQ(-EUSERS, accel_open(uri_of(""), &one_more));
	accel_close(devs[17]);
	devs[17] = open_at(uri_of(""));
	for (i = 0; i < SOFT_CLIENTS; i++)
		accel_close(devs[i]);
}

TEST_HARNESS_MAIN
