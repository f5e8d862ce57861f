/* SPDX-License-Identifier: MIT */
/*
 * libaccel: memory of many accelerators as one pool.
 *
 * A pool is opened by its address:
 *   drm:/dev/accel/accel0       the kernel driver
 *   soft:NAME[?npus=N&size=S]   the same contract in user space, over shared
 *                               memory that the processes of one user find by
 *                               NAME; npus and size (bytes an NPU, K M G T
 *                               understood) count only for the process that
 *                               is first
 *
 * Every call that can fail returns 0 or a negative errno, and writes its
 * outputs only on success. -ENODEV means that an NPU, or the pool, is gone;
 * other errors are named at each call. Nothing is printed, nothing aborts, and
 * there is no global state. All calls may be made from any thread at once, but
 * an object must not be closed while another call uses it. After fork() a child
 * must not use the parent's objects; it opens its own.
 */
#ifndef ACCEL_ACCEL_H
#define ACCEL_ACCEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/** ACCEL_NAME_LEN - bytes of a name, its terminating zero included */
#define ACCEL_NAME_LEN 32

/** ACCEL_URI_MAX - bytes of a pool's address, its terminating zero included */
#define ACCEL_URI_MAX 256

struct accel_dev;

/**
 * accel_open() - open a pool
 * @uri: its address; NULL takes the driver where it is loaded and allowed, and
 *       soft:default where not
 * @dev: out, closed by accel_close()
 *
 * -EINVAL for an address that cannot be, -ENOENT or -ENODEV where there is no
 * such device, -EACCES where it is not allowed, -EPROTO where the driver or the
 * pool's other processes speak an ABI that this library does not.
 */
int accel_open(const char *uri, struct accel_dev **dev);

/**
 * accel_close() - close a pool
 * @dev: may be NULL
 *
 * Its buffers, queues and timelines must be closed before. Mappings live on
 * until accel_buffer_unmap().
 */
void accel_close(struct accel_dev *dev);

/** accel_uri() - the address that was opened, NULL resolved; lives as long as @dev */
const char *accel_uri(const struct accel_dev *dev);

/** accel_version() - the library's version as a string, "MAJOR.MINOR.PATCH" */
const char *accel_version(void);

/** struct accel_pool_info - a pool and its limits */
struct accel_pool_info {
	uint64_t generation;	/* grows by one whenever an NPU joins or leaves */
	uint64_t bytes_total;	/* memory of all NPUs that are online */
	uint64_t bytes_free;	/* of it, what can be allocated now */
	uint64_t min_alloc;	/* granularity of sizes and stripes, a power of two */
	uint32_t npu_count;	/* as listed by accel_npus() */
	uint32_t max_npus;	/* members a pool can have at once */
	uint32_t max_ops;	/* operations in one submit */
	uint32_t max_segs;	/* segments in one submit, over all its operations */
	uint32_t max_syncs;	/* waits, and likewise signals, in one submit */
	uint32_t max_queues;	/* queues of one accel_open() */
	uint32_t queue_depth;	/* unfinished submits of one queue */
};

int accel_pool_info(struct accel_dev *dev, struct accel_pool_info *info);

enum accel_npu_state {
	ACCEL_NPU_ONLINE = 0,
	ACCEL_NPU_DEAD = 1,	/* removed or failed; listed until nothing refers to it */
};

/** struct accel_npu_info - one member of a pool */
struct accel_npu_info {
	uint32_t id;		/* from 0, never reused while the pool lives */
	uint32_t state;		/* enum accel_npu_state */
	uint64_t bytes_total;
	uint64_t bytes_free;
	uint64_t bandwidth;	/* bytes a second its backend claims, 0 if unknown */
	uint64_t latency_ns;	/* start-up of a copy its backend claims, 0 if unknown */
	char backend[ACCEL_NAME_LEN];
	char name[ACCEL_NAME_LEN];
};

/** struct accel_npu_stats - what an NPU's copy engine has done since it joined */
struct accel_npu_stats {
	uint32_t id;
	uint64_t jobs_submitted;
	uint64_t jobs_done;
	uint64_t jobs_failed;
	uint64_t bytes_copied;
	uint64_t bytes_filled;
	uint64_t bytes_cleared;	/* zeroed before they were handed out */
	uint64_t busy_ns;	/* time spent moving data */
	uint64_t queue_ns;	/* sum over finished submits, from ready to started */
};

/**
 * accel_npus() - list the members by id
 * @npus: room for *@count, or NULL
 * @count: in, room at @npus; out, members there are, which may be more
 */
int accel_npus(struct accel_dev *dev, struct accel_npu_info *npus, uint32_t *count);

/** accel_stats() - what the members' engines did; as accel_npus() */
int accel_stats(struct accel_dev *dev, struct accel_npu_stats *stats, uint32_t *count);

/**
 * accel_client_id() - number of this accel_open() in its pool
 *
 * Never zero and never reused while the pool lives. Put it into shared memory to let others
 * learn, by accel_client_alive(), that its owner has died.
 */
uint64_t accel_client_id(const struct accel_dev *dev);

/**
 * accel_client_alive() - whether some accel_open() of the same pool still is
 *
 * 1 while it is open, 0 once it is closed or all processes that held it have
 * ended, however they ended; they make no store to the pool's memory after.
 */
int accel_client_alive(struct accel_dev *dev, uint64_t id);

/** struct accel_quota - limit and use of the buffers that one accel_open() created */
struct accel_quota {
	uint64_t limit;		/* bytes, 0 for none */
	uint64_t used;		/* bytes */
};

int accel_quota(struct accel_dev *dev, struct accel_quota *quota);

/**
 * accel_set_quota() - limit what this accel_open() may create
 *
 * -EPERM to raise a limit without privilege; lowering it is free, and what is
 * above a lowered limit stays.
 */
int accel_set_quota(struct accel_dev *dev, uint64_t bytes);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
