/* SPDX-License-Identifier: MIT */
/*
 * Expert-parallel collectives: tokens go to the experts that a router chose for
 * them (dispatch), and what the experts made of them comes back (combine).
 *
 * A group is a number of ranks that found each other by name in a pool. Each
 * rank has a buffer on its NPU that all others store into: rows of tokens, then
 * one flag a peer. Room for rows is taken by fetch-and-add, so the buffer is as
 * large as the expected load times a factor and not as the worst case; what does
 * not fit follows in a further round of the same call.
 *
 * A call of the group is made by every rank: dispatch and combine in the same
 * order on the same lane. Two lanes are independent, so that one microbatch
 * computes while the other's rows travel, and each call has two halves; second
 * halves come in the same order at all ranks, whatever the lane, as they may need
 * each other's room.
 *
 * A process that dies ends the group's epoch for the others, which are told and go on
 * without it (accel_ep_shrink()). An NPU that leaves the pool takes the buffers on it
 * along: who stores there meets SIGBUS, as with any mapping of a lost buffer.
 *
 * Thread-safety: a rank's calls are made by one thread at a time; ranks of one
 * process may be used by different threads at once. A rank must not be waited
 * for by a thread that another rank of the same call needs to go on.
 */
#ifndef ACCEL_EP_H
#define ACCEL_EP_H

#include <accel/buffer.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Limits; beyond each a call says -EINVAL. */
#define ACCEL_EP_MAX_RANKS	384u
#define ACCEL_EP_MAX_EXPERTS	512u	/* routed and shared ones together */
#define ACCEL_EP_MAX_TOP_K	16u
#define ACCEL_EP_MAX_SHARED	4u
#define ACCEL_EP_MAX_TOKENS	4096u	/* of a rank in a call */
#define ACCEL_EP_MAX_HIDDEN	16384u
#define ACCEL_EP_HIDDEN_UNIT	32u	/* the hidden size is a multiple of it */
#define ACCEL_EP_MAX_SLOTS	512u	/* experts that a rank can host */
#define ACCEL_EP_LANES		2u
#define ACCEL_EP_NAME_LEN	64	/* bytes of a group's name, its terminating zero included */

/** ACCEL_EP_SKIP - an expert id that names none */
#define ACCEL_EP_SKIP (-1)

struct accel_ep_group;
struct accel_ep;

enum accel_ep_dtype {
	ACCEL_EP_BF16 = 0,
	ACCEL_EP_FP32 = 1,
	ACCEL_EP_INT8 = 2,	/* with a float scale a token: value = scale * integer */
};

enum accel_ep_replica {
	ACCEL_EP_ROUND_ROBIN = 0,	/* each rank in turn over an expert's replicas */
	ACCEL_EP_LEAST_LOAD = 1,	/* the replica on the rank that got fewest rows of this call */
};

enum accel_ep_sort {
	ACCEL_EP_SORT_RECEIVER = 0,	/* rows go at once, and are sorted where they arrive */
	ACCEL_EP_SORT_SENDER = 1,	/* rows go when their places are known, straight there */
};

/** struct accel_ep_config - shape of a group, the same at every rank; some have a default */
struct accel_ep_config {
	uint32_t ranks;		/* 1 to ACCEL_EP_MAX_RANKS */
	uint32_t experts;	/* routed ones, ids from 0; at least 1 */
	uint32_t shared;	/* ids after these: experts of every active token, of weight 1 */
	uint32_t slots;		/* experts a rank can host; 0: as many as to host each once */
	uint32_t hidden;	/* elements of a token */
	uint32_t top_k;		/* expert ids a token comes with, 1 to ACCEL_EP_MAX_TOP_K */
	uint32_t max_tokens;	/* of a rank in a call, at least 1 */
	uint32_t chunk_tokens;	/* for so many a rank a round has room; 0: 128, or max_tokens if less */
	uint32_t room_percent;	/* rows a round has room for, of those uniform routing makes; 0: 200 */
	uint32_t capacity;	/* rows of one rank and call that an expert takes; 0: all of them */
	uint32_t send;		/* ACCEL_EP_INT8 or _BF16: how tokens travel in dispatch */
	uint32_t back;		/* ACCEL_EP_BF16 or _FP32: how rows travel in combine */
	uint32_t replica;	/* enum accel_ep_replica */
	/*
	 * Ranks of a node, a divisor of @ranks: 0 to node_ranks - 1 are the first, and so on.
	 * A token goes once to each other node, to the rank with its sender's place there,
	 * which passes it on. 0: all ranks are one node, each is sent to directly.
	 */
	uint32_t node_ranks;
	/*
	 * Who sorts rows by expert, enum accel_ep_sort. Where the sender does, each row is stored
	 * once, in the second half, after one more exchange; so do large calls best. Rows
	 * that have no room there, of calls of more than chunk_tokens tokens, or to
	 * be indexed go as they do without. Of one node only.
	 */
	uint32_t sort;
};

/**
 * accel_ep_buffer_bytes() - pool memory that each rank of such a group takes on its NPU
 *
 * Both lanes of what others store into and read from; packed output (accel_ep_recv.rows)
 * comes to it, as much as was received. -EINVAL as accel_ep_join().
 */
int accel_ep_buffer_bytes(const struct accel_ep_config *config, uint64_t *bytes);

/**
 * accel_ep_join() - become some ranks of a group
 * @name: of the group, in the pool; whoever is first makes it
 * @ranks: which, none twice
 * @npus: an NPU's id for each rank, where its buffer lies
 * @count: ranks here, each to be used by a thread of its own
 * @timeout_ns: for all ranks to join
 * @group: out, ended by accel_ep_leave()
 *
 * Returns when all ranks have joined. A rank that died comes back so to a group that
 * goes on: the call returns when the others have taken it in by accel_ep_shrink().
 * -EEXIST the rank is somebody's, -EPROTO the group has another shape, -ETIMEDOUT
 * not all came; else the errors of accel_buffer_create().
 */
int accel_ep_join(struct accel_dev *dev, const char *name, const struct accel_ep_config *config,
		  const uint32_t *ranks, const uint32_t *npus, uint32_t count, int64_t timeout_ns,
		  struct accel_ep_group **group);

/** accel_ep_leave() - end membership; to the others these ranks are gone as if they had died */
void accel_ep_leave(struct accel_ep_group *group);

/** accel_ep_rank() - handle of a rank that joined here, lives with the group; NULL for others */
struct accel_ep *accel_ep_rank(struct accel_ep_group *group, uint32_t rank);

/** struct accel_ep_info - a rank and its group; defaults are resolved */
struct accel_ep_info {
	struct accel_ep_config config;
	uint32_t rank;
	uint32_t alive;		/* ranks that take part */
	uint64_t epoch;		/* grows with accel_ep_shrink() */
	uint64_t buffer_bytes;	/* pool memory that others store into, both lanes */
	uint64_t output_bytes;	/* pool memory that holds what the last calls put out */
	uint32_t room_rows;	/* rows that a round has room for, a lane */
	uint32_t joining;	/* ranks that wait to be taken in */
};

void accel_ep_info(const struct accel_ep *ep, struct accel_ep_info *info);

/** accel_ep_members() - @alive: [ranks], 1 for who takes part in the group as it is now */
void accel_ep_members(const struct accel_ep *ep, uint8_t *alive);

/**
 * accel_ep_absent() - ranks that the last call of this rank that failed was waiting for
 * @ranks: room for *@count, or NULL
 * @count: in, room; out, ranks there are
 */
void accel_ep_absent(const struct accel_ep *ep, uint32_t *ranks, uint32_t *count);

/*
 * The table: which rank hosts which expert. A rank's table holds for its next
 * dispatch. Ranks may change tables at different calls: what a sender means is
 * the slot, so a slot's expert must stay until no rank's table names it
 * (accel_ep_recv.table_min tells).
 *
 * Before the first call the table is: expert e, routed and then shared, is on rank
 * e / slots, in slot e % slots.
 */

/** struct accel_ep_place - where an expert is hosted */
struct accel_ep_place {
	uint16_t rank;
	uint16_t slot;		/* below accel_ep_config.slots */
};

/**
 * accel_ep_set_table() - place the experts anew
 * @version: the caller's number for it, growing
 * @first: [experts + shared + 1], expert e has places @first[e] up to before @first[e + 1]
 * @places: its replicas; none may be left without one
 *
 * Copied. -EINVAL for what cannot be: the old table stays.
 */
int accel_ep_set_table(struct accel_ep *ep, uint64_t version, const uint32_t *first,
		       const struct accel_ep_place *places);

/** struct accel_ep_tokens - what a rank dispatches; all of it stays the caller's */
struct accel_ep_tokens {
	const void *rows;	/* @count rows of hidden elements */
	uint64_t stride;	/* bytes from row to row */
	const float *scales;	/* [count] if INT8, else NULL */
	const int32_t *experts;	/* [count][top_k] ids, or ACCEL_EP_SKIP; doubles count twice */
	const float *weights;	/* [count][top_k], or NULL: 1 */
	const uint8_t *active;	/* [count], 0: the token goes nowhere; or NULL: all are */
	uint32_t dtype;		/* enum accel_ep_dtype; INT8 travels only as INT8 */
	uint32_t count;
};

/** struct accel_ep_origin - whose row it is */
struct accel_ep_origin {
	uint16_t rank;
	uint16_t token;		/* its number there */
	uint16_t k;		/* which of its experts: column of @experts, shared ones after */
	uint16_t slot;		/* expert here */
};

/** ACCEL_EP_INDEXED - leave rows where they arrived, and tell where */
#define ACCEL_EP_INDEXED (1u << 0)

/**
 * struct accel_ep_recv - what arrived at a rank, by expert
 *
 * Rows are sorted by slot, then by origin's rank, then by its token, then by k. All of
 * it lies in the library's memory until the lane's next dispatch_begin, rows that are
 * indexed until combine_begin or release.
 */
struct accel_ep_recv {
	const void *rows;	/* [total], in a buffer on this rank's NPU; NULL if indexed */
	const void *const *at;	/* [total], where each lies, some at one place; or NULL */
	const float *scales;	/* [total] if INT8, else NULL; NaN: an element was not finite */
	const uint32_t *counts;	/* [slots], rows of each expert */
	const struct accel_ep_origin *origins;	/* [total] */
	/*
	 * Room for what the experts make, [total] rows of config.back, the caller's until it
	 * gives them to accel_ep_combine_begin(): owners read them where they are, so that
	 * nothing is copied. NULL where there is none.
	 */
	void *out;
	uint64_t out_stride;	/* bytes from row to row */
	struct accel_buffer *buffer;	/* that @rows lies in; NULL if indexed */
	uint64_t offset;	/* of @rows in it */
	uint64_t stride;	/* bytes from row to row, a multiple of 64 */
	uint64_t table_min;	/* oldest table that a rank used */
	uint32_t total;
	uint32_t arrived;	/* rows that were sent here, each for one or more experts */
	uint32_t dropped;	/* own choices of experts: beyond capacity, or hosted by nobody */
	uint32_t rounds;	/* that it took */
	uint32_t joining;	/* ranks wait for accel_ep_shrink(): the same at all ranks */
};

/**
 * accel_ep_dispatch_begin() - send tokens to their experts
 * @lane: below ACCEL_EP_LANES
 * @tokens: what it points to stays as it is until dispatch_finish returned 0
 * @timeout_ns: for ranks that still use what the lane's call before sent them
 *
 * Tokens travel once to a rank, whatever the number of its experts they go to, and once
 * to another node. What came to be passed on there waits for that rank's second half.
 * INT8: scale = max|x| / 127, integer = x * (1 / scale) rounded to nearest, ties to even.
 * -EINVAL for an expert id beyond the last or another impossible value, with nothing
 * sent; -EBUSY the lane's call before is not finished; else as dispatch_finish.
 */
int accel_ep_dispatch_begin(struct accel_ep *ep, uint32_t lane,
			    const struct accel_ep_tokens *tokens, int64_t timeout_ns);

/**
 * accel_ep_dispatch_finish() - receive what all ranks sent
 * @flags: ACCEL_EP_INDEXED
 *
 * Errors that all calls of the group have: -ETIMEDOUT some rank did not come, call again
 * to go on waiting; -EOWNERDEAD a rank is gone, and nothing goes on before
 * accel_ep_shrink(); -EBADMSG a rank sent what cannot be. accel_ep_absent() names them.
 */
int accel_ep_dispatch_finish(struct accel_ep *ep, uint32_t lane, uint32_t flags,
			     int64_t timeout_ns, struct accel_ep_recv *recv);

/** accel_ep_dispatch() - both halves */
int accel_ep_dispatch(struct accel_ep *ep, uint32_t lane, const struct accel_ep_tokens *tokens,
		      uint32_t flags, int64_t timeout_ns, struct accel_ep_recv *recv);

/**
 * accel_ep_release() - end a dispatch that is not combined
 *
 * Its rows may be dispatched on, from this lane to the other, before: a chain of experts.
 * Every rank does the same.
 */
int accel_ep_release(struct accel_ep *ep, uint32_t lane);

/** struct accel_ep_rows - rows of a caller */
struct accel_ep_rows {
	void *rows;
	uint64_t stride;	/* bytes from row to row */
	uint32_t dtype;		/* ACCEL_EP_BF16 or _FP32 */
};

/**
 * accel_ep_combine_begin() - send experts' outputs back to the tokens' owners
 * @out: [recv.total], row i belongs to recv.origins[i]; only read, and stays as it is
 *	 until combine_finish returned 0, rows of recv.out until the lane's next
 *	 dispatch_finish
 */
int accel_ep_combine_begin(struct accel_ep *ep, uint32_t lane, const struct accel_ep_rows *out,
			   int64_t timeout_ns);

/**
 * accel_ep_combine_finish() - receive what the experts made of this rank's tokens
 * @sum: [tokens.count] rows: the sum over k of weight * output, zero where there is none
 *
 * Products and sums are rounded to FP32, in the order of k: the same bits for every
 * number of ranks and order of arrival. A BF16 result is rounded at the end.
 */
int accel_ep_combine_finish(struct accel_ep *ep, uint32_t lane, const struct accel_ep_rows *sum,
			    int64_t timeout_ns);

/** accel_ep_combine() - both halves */
int accel_ep_combine(struct accel_ep *ep, uint32_t lane, const struct accel_ep_rows *out,
		     const struct accel_ep_rows *sum, int64_t timeout_ns);

/**
 * accel_ep_shrink() - agree on who is left, and go on with them
 * @alive: out, [ranks], 1 for who takes part; may be NULL
 *
 * Called by every rank that lives; ranks keep their numbers. What was under way on
 * both lanes is dropped, and ranks that wait to join are taken in. Experts that only
 * ranks hosted that are gone have no host until the table changes: choices of them are
 * dropped and counted. -ETIMEDOUT names who lives and did not call; call again.
 */
int accel_ep_shrink(struct accel_ep *ep, int64_t timeout_ns, uint8_t *alive);

/** struct accel_ep_stats - what a rank has done since it joined */
struct accel_ep_stats {
	uint64_t dispatches;
	uint64_t combines;
	uint64_t tokens;	/* dispatched, active */
	uint64_t choices;	/* of experts, sent */
	uint64_t dropped;	/* choices */
	uint64_t rows_sent;	/* other ranks' that were passed on included */
	uint64_t rows_between;	/* of them, to other nodes */
	uint64_t rows_received;
	uint64_t bytes_sent;	/* in dispatch */
	uint64_t bytes_back;	/* in combine, sent */
	uint64_t extra_rounds;	/* rounds of dispatch beyond the first */
	uint64_t send_ns;	/* in dispatch_begin: route, quantise, store */
	uint64_t wait_ns;	/* in all calls: for other ranks */
	uint64_t pack_ns;	/* in dispatch_finish: to sort by expert */
	uint64_t back_ns;	/* in combine_begin: store */
	uint64_t sum_ns;	/* in combine_finish: weigh and add */
};

/**
 * accel_ep_stats() - counters of a rank, and the load it made
 * @loads: [experts + shared], choices of each expert by this rank's tokens; may be NULL
 *
 * By the thread that makes the rank's calls.
 */
void accel_ep_stats(const struct accel_ep *ep, struct accel_ep_stats *stats, uint64_t *loads);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
