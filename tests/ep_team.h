/* SPDX-License-Identifier: MIT */
/*
 * A team: few ranks of small shape, whose calls are made by one thread in turn, as
 * halves that began wait for nobody. So a test says who has come and who has not.
 * What arrives is held against the senders' tables, whatever those are.
 */
#ifndef TESTS_EP_TEAM_H
#define TESTS_EP_TEAM_H

#include "ep.h"

#define RANKS		3
#define EXPERTS		6
#define TOP_K		2
#define TOKENS		8
#define HIDDEN		32
#define SLOTS		4	/* twice what is needed, for two tables at a time */
#define NPU_BYTES	MIB(48)
#define GUEST		(RANKS - 1)
#define TURN_NS		10000000ll

static const struct accel_ep_config usual = {
	.ranks = RANKS, .experts = EXPERTS, .slots = SLOTS, .hidden = HIDDEN, .top_k = TOP_K,
	.max_tokens = TOKENS, .send = ACCEL_EP_BF16, .back = ACCEL_EP_FP32,
};

/* A rank, what it passes in and gets out. */
struct side {
	struct accel_ep *ep;
	float rows[TOKENS][HIDDEN], sums[TOKENS][HIDDEN], weights[TOKENS][TOP_K];
	float made[RANKS * TOKENS * TOP_K][HIDDEN];
	int32_t ids[TOKENS][TOP_K];
	uint8_t active[TOKENS], seen[TOKENS][TOP_K];
	uint32_t first[EXPERTS + 1];
	struct accel_ep_place places[RANKS * SLOTS];
	struct accel_ep_tokens tokens;
	struct accel_ep_recv recv;
	struct accel_ep_rows out, sum;
	bool gone, over;
	bool pull;		/* experts put out where owners read it */
};

/* Ranks that join by one call. */
struct joiner {
	struct accel_dev *dev;
	struct accel_ep_config config;
	uint32_t ranks[RANKS], npus[RANKS], count;
	struct accel_ep_group *group;
	pthread_t thread;
	int err;
};

struct team {
	struct accel_dev *dev;
	uint32_t npu;
	struct joiner host, guest;	/* the guest is the last rank, where it is for itself */
	struct side side[RANKS];
};

#define each_side(s, team) \
	for (struct side *s = (team)->side; s < (team)->side + RANKS; s++) \
		if (!s->gone)

static inline void team_setup(struct team *team)
{
	memset(team, 0, sizeof(*team));
	team->dev = dev_open();
	team->npu = npu_add(team->dev, NPU_BYTES, 0);
}

/* Whether all memory came back. */
static inline bool team_teardown(struct team *team)
{
	bool whole;

	accel_ep_leave(team->host.group);
	accel_ep_leave(team->guest.group);
	whole = eventually(npu_free(team->dev, team->npu) == NPU_BYTES);
	accel_npu_remove(team->dev, team->npu);
	accel_close(team->dev);
	return whole;
}

static inline int join_now(struct joiner *j, int64_t timeout_ns)
{
	char name[ACCEL_EP_NAME_LEN];

	snprintf(name, sizeof(name), "calls-%d", (int)getpid());
	return accel_ep_join(j->dev, name, &j->config, j->ranks, j->npus, j->count, timeout_ns,
			     &j->group);
}

static inline void *join_on(void *arg)
{
	struct joiner *j = arg;

	j->err = join_now(j, EP_WAIT_NS);
	return NULL;
}

static inline struct joiner joiner_of(const struct team *team,
				      const struct accel_ep_config *config, uint32_t first,
				      uint32_t count)
{
	struct joiner j = { .dev = team->dev, .config = *config, .count = count };

	for (uint32_t i = 0; i < count; i++) {
		j.ranks[i] = first + i;
		j.npus[i] = team->npu;
	}
	return j;
}

/* Version @v of the table: which slots it uses and who has them depends on it. */
static inline int place(struct side *s, uint64_t v)
{
	for (uint32_t e = 0; e < EXPERTS; e++) {
		s->first[e + 1] = e + 1;
		s->places[e].rank = (e + v / 2) % RANKS;
		s->places[e].slot = v % 2 * (SLOTS / 2) + e / RANKS;
	}
	return accel_ep_set_table(s->ep, v, s->first, s->places);
}

static inline void start(struct team *team, const struct accel_ep_config *config, bool guest)
{
	team->host = joiner_of(team, config, 0, guest ? GUEST : RANKS);
	team->guest = joiner_of(team, config, GUEST, 1);
	must(!pthread_create(&team->host.thread, NULL, join_on, &team->host));
	if (guest)
		join_on(&team->guest);
	pthread_join(team->host.thread, NULL);
	must_ok(team->host.err);
	must_ok(team->guest.err);
	for (uint32_t r = 0; r < RANKS; r++) {
		struct joiner *j = guest && r == GUEST ? &team->guest : &team->host;

		team->side[r].ep = accel_ep_rank(j->group, r);
		must(team->side[r].ep);
		must_ok(place(&team->side[r], 0));
	}
}

/* Elements and weights are small enough that nothing here is ever rounded. */
static inline void fill(struct team *team, uint32_t step)
{
	each_side(s, team) {
		uint32_t rank = s - team->side;

		for (uint32_t t = 0; t < TOKENS; t++) {
			uint64_t state = ep_mix(step * RANKS + rank, t);

			for (uint32_t i = 0; i < HIDDEN; i++)
				s->rows[t][i] = 64 * (step % 3) + 16 * rank + 2 * t + i;
			for (uint32_t k = 0; k < TOP_K; k++) {
				s->ids[t][k] = (state >> 8 * k & 0xff) % (EXPERTS + 1) - 1;
				s->weights[t][k] = (state >> 32 >> 4 * k) % 16 / 4.0f - 1;
			}
			s->active[t] = state >> 60 != 0;
		}
		s->tokens = (struct accel_ep_tokens){
			.rows = s->rows, .stride = sizeof(s->rows[0]), .experts = s->ids[0],
			.weights = s->weights[0], .active = s->active, .dtype = ACCEL_EP_FP32,
			.count = TOKENS - rank,
		};
		memset(s->sums, 0x7f, sizeof(s->sums));
		s->out = (struct accel_ep_rows){ s->made, sizeof(s->made[0]), ACCEL_EP_FP32 };
		s->sum = (struct accel_ep_rows){ s->sums, sizeof(s->sums[0]), ACCEL_EP_FP32 };
	}
}

static inline bool chosen(const struct side *s, uint32_t t, uint32_t k)
{
	return s->active[t] && s->ids[t][k] != ACCEL_EP_SKIP;
}

/* One row of @at: whether it is that token, where its sender's table has the expert. */
static inline bool row_right(struct team *team, struct side *at, uint32_t i)
{
	const struct accel_ep_origin *o = &at->recv.origins[i];
	const uint16_t *row = at->recv.at ? at->recv.at[i] :
			      (const void *)((const char *)at->recv.rows + i * at->recv.stride);
	struct side *from = &team->side[o->rank];
	bool right = false;
	int32_t expert;

	if (o->rank >= RANKS || from->gone || o->token >= from->tokens.count || o->k >= TOP_K ||
	    !chosen(from, o->token, o->k) || from->seen[o->token][o->k]++)
		return false;
	expert = from->ids[o->token][o->k];
	for (uint32_t p = from->first[expert]; p < from->first[expert + 1]; p++)
		right |= from->places[p].rank == at - team->side && from->places[p].slot == o->slot;
	for (uint32_t n = 0; n < HIDDEN; n++) {
		right &= ep_from_bf16(row[n]) == from->rows[o->token][n];
		((float *)((char *)at->out.rows + i * at->out.stride))[n] =
			(expert + 1) * from->rows[o->token][n];
	}
	return right;
}

/* Each choice arrived once or was dropped, in order, and is counted. */
static inline int received_wrong(struct team *team)
{
	int wrong = 0;

	each_side(s, team)
		memset(s->seen, 0, sizeof(s->seen));
	each_side(s, team) {
		uint32_t counts[SLOTS] = { 0 };

		for (uint32_t i = 0; i < s->recv.total; i++) {
			const struct accel_ep_origin *o = &s->recv.origins[i];

			wrong += !row_right(team, s, i) || o->slot >= SLOTS;
			counts[o->slot % SLOTS]++;
			wrong += i && o->slot < o[-1].slot;
		}
		wrong += memcmp(counts, s->recv.counts, sizeof(counts)) != 0;
	}
	each_side(s, team) {
		uint32_t lost = 0;

		for (uint32_t t = 0; t < s->tokens.count; t++)
			for (uint32_t k = 0; k < TOP_K; k++)
				lost += chosen(s, t, k) && !s->seen[t][k];
		wrong += lost != s->recv.dropped;
	}
	return wrong;
}

static inline int sums_wrong(struct team *team)
{
	int wrong = 0;

	each_side(s, team)
		for (uint32_t t = 0; t < s->tokens.count; t++)
			for (uint32_t i = 0; i < HIDDEN; i++) {
				float sum = 0;

				for (uint32_t k = 0; k < TOP_K; k++)
					if (s->seen[t][k])
						sum += s->weights[t][k] * (s->ids[t][k] + 1) *
						       s->rows[t][i];
				wrong += s->sums[t][i] != sum;
			}
	return wrong;
}

/* Each rank in turn, for as long as some call does not end; who calls alone runs out of time. */
#define in_turn(s, team, call) \
	({ \
		int turns_left = 1000, turn_late, turn_err = 0; \
		do { \
			turn_late = 0; \
			each_side(s, team) { \
				int err = s->over ? 0 : (call); \
				s->over = !err; \
				turn_late |= err == -ETIMEDOUT; \
				turn_err = err && err != -ETIMEDOUT ? err : turn_err; \
			} \
		} while (turn_late && !turn_err && --turns_left); \
		each_side(s, team) \
			s->over = false; \
		turn_late && !turn_err ? -ETIMEDOUT : turn_err; \
	})

/* An error, or how much was not what it must be. */
static inline int dispatch(struct team *team, uint32_t lane, uint32_t flags)
{
	int err;

	each_side(s, team)
		if ((err = accel_ep_dispatch_begin(s->ep, lane, &s->tokens, 0)))
			return err;
	err = in_turn(s, team, accel_ep_dispatch_finish(s->ep, lane, flags, 0, &s->recv));
	if (err)
		return err;
	each_side(s, team)
		if (s->pull && s->recv.out)
			s->out = (struct accel_ep_rows){
				s->recv.out, s->recv.out_stride, ACCEL_EP_FP32,
			};
	return received_wrong(team);
}

static inline int combine(struct team *team, uint32_t lane)
{
	int err;

	each_side(s, team)
		if ((err = accel_ep_combine_begin(s->ep, lane, &s->out, 0)))
			return err;
	err = in_turn(s, team, accel_ep_combine_finish(s->ep, lane, &s->sum, 0));
	return err ? err : sums_wrong(team);
}

static inline int go(struct team *team, uint32_t step)
{
	int ret;

	fill(team, step);
	ret = dispatch(team, step % ACCEL_EP_LANES, step % 5 ? 0 : ACCEL_EP_INDEXED);
	return ret ? ret : combine(team, step % ACCEL_EP_LANES);
}

/* Whether those that the rank's last call waited for are @bits. */
static inline bool absent_are(const struct side *s, uint32_t bits)
{
	uint32_t ranks[RANKS], count = RANKS;

	accel_ep_absent(s->ep, ranks, &count);
	for (uint32_t i = 0; i < count; i++)
		bits ^= 1u << ranks[i];
	return !bits;
}

/* Who joins does so in a thread of its own, at its own pace. */
static inline int shrink(struct team *team, uint8_t *alive)
{
	return in_turn(s, team, accel_ep_shrink(s->ep, TURN_NS, alive));
}

#endif
