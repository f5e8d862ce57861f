// SPDX-License-Identifier: MIT
/* Groups of ranks: how they form, who may come in, and what is left when ranks go. */
#include "ep_group.h"

static struct accel_ep_config paper_shape(void)
{
	return (struct accel_ep_config) {
		.ranks = 320, .experts = 320, .hidden = 7168, .top_k = 8, .max_tokens = 96,
		.send = ACCEL_EP_INT8, .back = ACCEL_EP_BF16,
	};
}

TEST(defaults_are_what_the_header_says)
{
	struct accel_ep_config config = {
		.ranks = 8, .experts = 33, .shared = 1, .hidden = 64, .top_k = 2, .max_tokens = 500,
	};
	struct ep_shape shape;

	ASSERT_EQ(0, ep_shape(&config, &shape));
	EXPECT_EQ(5, shape.config.slots);
	EXPECT_EQ(128, shape.config.chunk_tokens);
	EXPECT_EQ(200, shape.config.room_percent);
	EXPECT_EQ(3, shape.all_k);
	/* 2 * 1024 * (1 - (7/8)^3) = 676 */
	EXPECT_EQ(676, shape.room);
	config.max_tokens = 16;
	ASSERT_EQ(0, ep_shape(&config, &shape));
	EXPECT_EQ(16, shape.config.chunk_tokens);
}

TEST(room_is_for_one_rank_at_least_and_all_at_most)
{
	struct accel_ep_config config = paper_shape();
	struct ep_shape shape;

	config.room_percent = 1;
	ASSERT_EQ(0, ep_shape(&config, &shape));
	EXPECT_EQ(96, shape.room);
	config.room_percent = UINT32_MAX;
	ASSERT_EQ(0, ep_shape(&config, &shape));
	EXPECT_EQ(320 * 96, shape.room);
	config.ranks = 1;
	config.room_percent = 0;
	ASSERT_EQ(0, ep_shape(&config, &shape));
	EXPECT_EQ(96, shape.room);
}

TEST(buffers_of_the_paper_fit)
{
	struct accel_ep_config config = paper_shape();
	struct ep_shape shape;
	uint64_t outputs;

	ASSERT_EQ(0, ep_shape(&config, &shape));
	/* Uniform routing gives a rank 96 * 8 rows to put out; twice that, for both lanes. */
	outputs = 2 * 2 * 96 * 8 * shape.payload;
	EXPECT_LE(shape.bytes + outputs, 160 * 1000 * 1000);
	EXPECT_EQ(0, shape.bytes % 4096);
	EXPECT_LE(shape.lane[1] + shape.backs + 96 * 8 * shape.back_row, shape.bytes);
	EXPECT_LE(shape.lane[0] + shape.backs + 96 * 8 * shape.back_row, shape.lane[1]);
	EXPECT_LE(shape.rows + shape.room * shape.row, shape.backs);
	EXPECT_LE(shape.slots + 320 * shape.slot_bytes, shape.rows);
}

TEST(beyond_the_limits_is_einval)
{
	static const struct {
		size_t offset;
		uint32_t good, bad;
	} limits[] = {
#define LIMIT(field, good, bad) { offsetof(struct accel_ep_config, field), good, bad }
		LIMIT(ranks, 384, 385), LIMIT(ranks, 1, 0),
		LIMIT(experts, 512, 513), LIMIT(experts, 1, 0),
		LIMIT(shared, 4, 5),
		LIMIT(slots, 512, 513),
		LIMIT(hidden, 16384, 16416), LIMIT(hidden, 32, 0), LIMIT(hidden, 96, 95),
		LIMIT(top_k, 16, 17), LIMIT(top_k, 1, 0),
		LIMIT(max_tokens, 4096, 4097), LIMIT(max_tokens, 1, 0),
		LIMIT(chunk_tokens, 1, 4097),
		LIMIT(send, ACCEL_EP_INT8, ACCEL_EP_FP32), LIMIT(back, ACCEL_EP_FP32, ACCEL_EP_INT8),
		LIMIT(replica, ACCEL_EP_LEAST_LOAD, 2),
	};
	struct ep_shape shape;

	for (unsigned int i = 0; i < ARRAY_LEN(limits); i++) {
		struct accel_ep_config config = {
			.ranks = 2, .experts = 8, .slots = 512, .hidden = 32, .top_k = 1,
			.max_tokens = 64,
		};
		uint32_t *field = (uint32_t *)((char *)&config + limits[i].offset);

		*field = limits[i].good;
		EXPECT_EQ(0, ep_shape(&config, &shape))
			TH_LOG("limit %u", i);
		*field = limits[i].bad;
		EXPECT_EQ(-EINVAL, ep_shape(&config, &shape))
			TH_LOG("limit %u", i);
	}
}

TEST(experts_need_slots)
{
	struct accel_ep_config config = {
		.ranks = 2, .experts = 8, .slots = 3, .hidden = 32, .top_k = 1, .max_tokens = 64,
	};
	struct ep_shape shape;

	EXPECT_EQ(-EINVAL, ep_shape(&config, &shape));
	config.experts = 509;
	config.shared = 4;
	config.slots = 512;
	EXPECT_EQ(-EINVAL, ep_shape(&config, &shape));
}

TEST(one_process_is_a_group)
{
	static const uint32_t sizes[] = { 1, 2, 8, 64, 384 };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;

	for (unsigned int i = 0; i < ARRAY_LEN(sizes); i++) {
		struct part part = { "all", sizes[i], 0, sizes[i] };

		ASSERT_EQ(0, join(dev, &part, EVER, &group));
		EXPECT_EQ(NULL, accel_ep_rank(group, sizes[i]));
		for (uint32_t rank = 0; rank < sizes[i]; rank++) {
			struct accel_ep_info info;

			ASSERT_NE(NULL, accel_ep_rank(group, rank));
			info = info_of(accel_ep_rank(group, rank));
			EXPECT_EQ(rank, info.rank);
			EXPECT_EQ(sizes[i], info.alive);
			EXPECT_EQ(1, info.epoch);
			EXPECT_EQ(0, info.joining);
		}
		accel_ep_leave(group);
	}
	accel_close(dev);
}

TEST(arguments_are_checked)
{
	struct accel_dev *dev = group_open();
	struct accel_ep_config config = group_shape(2);
	uint32_t ranks[] = { 0, 1 }, twice[] = { 1, 1 }, beyond[] = { 0, 2 }, npus[] = { 0, 1 };
	char longest[ACCEL_EP_NAME_LEN + 1];
	struct accel_ep_group *group;

#define JOIN(name, config, ranks, npus, count) \
	accel_ep_join(dev, name, config, ranks, npus, count, EVER, &group)
	memset(longest, 'n', sizeof(longest));
	longest[ACCEL_EP_NAME_LEN] = 0;
	EXPECT_EQ(-EINVAL, JOIN(longest, &config, ranks, npus, 2));
	EXPECT_EQ(-EINVAL, JOIN("", &config, ranks, npus, 2));
	EXPECT_EQ(-EINVAL, JOIN(NULL, &config, ranks, npus, 2));
	EXPECT_EQ(-EINVAL, JOIN("a", NULL, ranks, npus, 2));
	EXPECT_EQ(-EINVAL, JOIN("a", &config, NULL, npus, 2));
	EXPECT_EQ(-EINVAL, JOIN("a", &config, ranks, NULL, 2));
	EXPECT_EQ(-EINVAL, JOIN("a", &config, ranks, npus, 0));
	EXPECT_EQ(-EINVAL, JOIN("a", &config, twice, npus, 2));
	EXPECT_EQ(-EINVAL, JOIN("a", &config, beyond, npus, 2));
	npus[1] = 99;
	EXPECT_EQ(-ENOENT, JOIN("a", &config, ranks, npus, 2));
	npus[1] = 1;
	longest[ACCEL_EP_NAME_LEN - 1] = 0;
	ASSERT_EQ(0, JOIN(longest, &config, ranks, npus, 2));
	accel_ep_leave(group);
	accel_close(dev);
}

/* Joins, tells the error or how many it sees, leaves when told. */
static int member(int sock, const void *arg)
{
	const struct part *part = arg;
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	int err;

	err = join(dev, part, EVER, &group);
	say(sock, err ? (uint64_t)err : info_of(accel_ep_rank(group, part->first)).alive);
	if (err)
		return 0;
	hear(sock);
	accel_ep_leave(group);
	accel_close(dev);
	return 0;
}

TEST(processes_find_each_other)
{
	struct part parts[] = { { "many", 7, 3, 4 }, { "many", 7, 0, 2 }, { "many", 7, 2, 1 } };
	struct child children[ARRAY_LEN(parts)];

	for (unsigned int i = 0; i < ARRAY_LEN(parts); i++)
		children[i] = child_start(member, &parts[i]);
	for (unsigned int i = 0; i < ARRAY_LEN(parts); i++)
		EXPECT_EQ(7, hear(children[i].sock));
	for (unsigned int i = 0; i < ARRAY_LEN(parts); i++) {
		say(children[i].sock, 0);
		EXPECT_EQ(0, child_end(&children[i]));
	}
}

#define CROWD 24

TEST(crowd_makes_one_group)
{
	unsigned int rounds = scaled(5);

	for (unsigned int round = 0; round < rounds; round++) {
		struct child children[CROWD];
		struct part parts[CROWD];

		for (uint32_t i = 0; i < CROWD; i++) {
			parts[i] = (struct part){ "crowd", CROWD, i, 1 };
			children[i] = child_start(member, &parts[i]);
		}
		for (uint32_t i = 0; i < CROWD; i++)
			ASSERT_EQ(CROWD, hear(children[i].sock));
		for (uint32_t i = 0; i < CROWD; i++)
			child_kill(&children[i]);
	}
}

TEST(who_does_not_fit_is_kept_out)
{
	struct part theirs = { "fit", 2, 0, 1 }, ours = { "fit", 2, 1, 1 }, other = { "fit", 3, 2, 1 };
	struct child child = child_start(member, &theirs);
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group, *second;

	ASSERT_EQ(0, join(dev, &ours, EVER, &group));
	EXPECT_EQ(2, hear(child.sock));
	EXPECT_EQ(-EPROTO, join(dev, &other, EVER, &second));
	EXPECT_EQ(-EEXIST, join(dev, &theirs, EVER, &second));
	EXPECT_EQ(-EEXIST, join(dev, &ours, EVER, &second));
	/* Not even for a moment did that disturb anybody. */
	EXPECT_EQ(0, ep_whole(accel_ep_rank(group, 1)));
	EXPECT_EQ(0, info_of(accel_ep_rank(group, 1)).joining);
	child_kill(&child);
	accel_ep_leave(group);
	accel_close(dev);
}

TEST(group_that_is_not_whole_times_out)
{
	struct part part = { "late", 2, 0, 1 }, all = { "late", 2, 0, 2 };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *group;
	struct accel_pool_info before, after;

	must_ok(accel_pool_info(dev, &before));
	EXPECT_EQ(-ETIMEDOUT, join(dev, &part, AT_ONCE, &group));
	EXPECT_EQ(-ETIMEDOUT, join(dev, &part, SOON, &group));
	must_ok(accel_pool_info(dev, &after));
	EXPECT_EQ(before.bytes_free, after.bytes_free);
	ASSERT_EQ(0, join(dev, &all, EVER, &group));
	accel_ep_leave(group);
	accel_close(dev);
}

TEST(names_tell_groups_apart)
{
	struct part one = { "one", 2, 0, 2 }, two = { "two", 1, 0, 1 };
	struct accel_dev *dev = group_open();
	struct accel_ep_group *first, *second;

	ASSERT_EQ(0, join(dev, &one, EVER, &first));
	ASSERT_EQ(0, join(dev, &two, EVER, &second));
	EXPECT_EQ(2, info_of(accel_ep_rank(first, 1)).alive);
	EXPECT_EQ(1, info_of(accel_ep_rank(second, 0)).alive);
	accel_ep_leave(first);
	EXPECT_EQ(0, ep_whole(accel_ep_rank(second, 0)));
	accel_ep_leave(second);
	accel_close(dev);
}

TEST_HARNESS_MAIN
