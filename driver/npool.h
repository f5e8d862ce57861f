/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * npool's objects, limits and locks.
 *
 * Locks, outermost first; each protects what its field's comment says:
 *   mmap_lock, dma_buf and GEM locks of the caller
 *     npool_device.member_lock
 *       npool_device.lock
 *         npool_device.bo_lock > the mapping's i_mmap_rwsem
 *         npool_mem.lock
 *     dma_resv of buffers (drm_exec), taken without member_lock
 *   npool_client.lock (spinlock)
 *   dma_fence.lock > npool_engine.lock > npool_device.qos_lock (spinlocks,
 *	interrupts off); an engine is woken under any of them
 * No user memory is touched under any of them. The engine's thread is on the
 * way to signal fences and takes npool_engine.lock and npool_device.qos_lock only.
 *
 * References: a handle, mapping, dma-buf and unfinished job each hold the buffer;
 * a buffer and a queue each use the NPUs that they need, which also holds the
 * backend's module; a job holds its queue; a fence holds this module.
 */
#ifndef NPOOL_H
#define NPOOL_H

#include <linux/idr.h>
#include <linux/iosys-map.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/npool_accel.h>

#include "compat.h"
#include "npool_hw.h"
#include "qos.h"

#define NPOOL_MAX_NPUS		512u	/* members listed at once */
#define NPOOL_MAX_OPS		1024u	/* operations of a submit */
#define NPOOL_MAX_SEGS		16384u	/* segments of a submit, over all operations */
#define NPOOL_MAX_SYNCS		64u	/* waits, and likewise signals, of a submit */
#define NPOOL_MAX_QUEUES	1024u	/* queues of an open file */
#define NPOOL_QUEUE_DEPTH	256u	/* unfinished submits of a queue */
#define NPOOL_MAX_STRIDE	4096u	/* bytes from item to item of an array */
#define NPOOL_MAX_FAILURES	64u	/* failures that a queue remembers */
#define NPOOL_WINDOW_NS		1000000u	/* after which a window takes no further piece */
#define NPOOL_WINDOW_SEGS	256u	/* most segments of a window */
#define NPOOL_END_BATCH		64u	/* submits ended between two windows */
#define NPOOL_MAX_PORTS		16u	/* of a submit with a deadline */
#define NPOOL_MAX_PROMISES	(QOS_DEMANDS / 2)	/* likewise of an open file */
#define NPOOL_SHARE		512u	/* parts of 1024 of a port's promises for an open file */
#define NPOOL_FAULT_AROUND	((unsigned long)SZ_2M)	/* aligned bytes that one page fault maps */
#define NPOOL_FAULT_BATCH	64u	/* pages inserted at once */
#define NPOOL_CLEAR_STEP	((u64)SZ_4M)	/* bytes zeroed between two looks at signals */
#define NPOOL_RESCAN_MS		500u	/* between looks at quarantined memory */
#define NPOOL_MIN_ALLOC		PAGE_SIZE

#define NPOOL_NO_NPU		U32_MAX

struct npool_fence;

/** npool_port() - index of a slot's port; @side 0 is read from, 1 written to */
static inline u32 npool_port(u32 slot, u32 side)
{
	return slot == QOS_NO_PORT ? QOS_NO_PORT : 2 * slot + side;
}

/**
 * struct npool_reserved - What reservations take of a port
 * @rate: bytes a second
 * @burst: their budgets
 */
struct npool_reserved {
	u64 rate;
	u64 burst;
};

/**
 * struct npool_device - A pool
 * @drm: the accel device
 * @ports: two for each slot
 * @npus: listed members by id
 * @next_npu: id of the next member, under @lock
 * @npu_count: entries of @npus, under @lock
 * @generation: counts joins and leaves
 * @bos: buffers with memory of the pool, by npool_bo.node
 * @clients: open files by their number
 * @next_client: last number given
 * @srcu: read side around a page fault, so that removal can wait for those that
 *	have not seen the buffer lost before it takes mappings away
 * @wq: frees ended jobs, removes NPUs that their engine found dead
 * @slots: of listed members, under @lock
 * @policy: an &enum drm_npool_policy, under @lock
 * @slack_ns: that ports were tuned to, under @lock
 * @any: what reservations that hold at whichever NPU come to at a port read
 *	from, written to, under @lock
 */
struct npool_device {
	struct drm_device drm;
	/** @member_lock: serialises joining and leaving, held all through both */
	struct mutex member_lock;
	/** @lock: protects @npus, @generation, npool_npu.dead and using an NPU by id */
	struct mutex lock;
	/**
	 * @qos_lock: protects @ports, all visitors and demands, npool_client.promised
	 * and npool_client.promises
	 */
	spinlock_t qos_lock;
	struct qos_ports ports;
	struct xarray npus;
	u32 next_npu;
	u32 npu_count;
	u64 generation;
	/** @bo_lock: protects @bos, and npool_bo.lost of those in it */
	struct mutex bo_lock;
	struct list_head bos;
	struct xarray clients;
	atomic64_t next_client;
	struct srcu_struct srcu;
	struct workqueue_struct *wq;
	struct ida slots;
	u32 policy;
	u64 slack_ns;
	struct npool_reserved any[2];
};

/**
 * struct npool_client - An open file
 * @pool: its pool
 * @id: its number
 * @quota: most bytes it may have in buffers that it created, 0 for no limit
 * @used: bytes it has
 * @granted: rate that it may reserve without privilege
 * @reserved: rate that it has reserved
 * @queues: its queues by number
 * @busy_ns: time that engines worked for it
 * @promised: bytes promised to its submits by port, made with the first deadline
 * @promises: submits that have a promise
 */
struct npool_client {
	struct npool_device *pool;
	u64 id;
	/**
	 * @lock: protects @quota, @used, @granted, @reserved and npool_bo.handles of
	 * buffers it created
	 */
	spinlock_t lock;
	u64 quota;
	u64 used;
	u64 granted;
	u64 reserved;
	struct xarray queues;
	atomic64_t busy_ns;
	u64 *promised;
	u32 promises;
};

/**
 * struct npool_mem - An NPU's memory
 * @mm: what is free
 * @quarantine: freed blocks with a page that somebody else still holds
 * @rescan: looks whether they have let go
 */
struct npool_mem {
	/** @lock: protects all below */
	struct mutex lock;
	struct npool_buddy mm;
	struct list_head quarantine;
	struct delayed_work rescan;
};

/**
 * struct npool_engine - An NPU's copy engine
 * @queues: all queues, by npool_queue.node
 * @groups: of clients that have queues here, by npool_group.node
 * @ending: queues whose first job needs no room at ports but is to end
 * @rq: the other queues whose first job can go on
 * @dead: takes no more submits, all jobs end with -ENODEV
 * @stirred: something has become ready since the thread last asked for room
 * @due: when the thread is to ask anew though nothing has happened, 0 for never
 * @asked: whose asks the visitor's are; the thread's
 * @visitor: where it waits for room, and the window it was granted
 * @wait: where the thread sleeps
 * @thread: moves the data
 * @window: most bytes to ask for at once
 * @stats: written by the thread, but for jobs_submitted (@lock); read by anybody
 * @classes: by &enum drm_npool_class
 */
struct npool_engine {
	/** @lock: protects all below and the job lists of the engine's queues */
	spinlock_t lock;
	struct list_head queues;
	struct list_head groups;
	struct list_head ending;
	struct qos_rq rq;
	bool dead;
	bool stirred;
	u64 due;
	struct npool_queue *asked[QOS_ASKS];
	struct qos_visitor visitor;
	wait_queue_head_t wait;
	struct task_struct *thread;
	u64 window;
	struct drm_npool_npu_stats stats;
	struct drm_npool_class_stats classes[DRM_NPOOL_CLASSES];
};

/**
 * struct npool_npu - A member
 * @pool: its pool
 * @id: its number
 * @slot: of its ports, while it is listed
 * @ref: keeps this struct: the backend until it unregisters, the pool while listed
 * @users: keeps the memory: being alive, buffers and queues
 * @dead: has left
 * @ops: its backend
 * @hw: the backend's pointer
 * @bytes: size of its memory
 * @bandwidth: as the backend claims
 * @latency_ns: as the backend claims
 * @bytes_cleared: zeroed before it was handed out
 * @name: as the backend calls it
 * @mem: what of its memory is free
 * @engine: its copy engine
 * @death: removal that the engine asked for
 */
struct npool_npu {
	struct npool_device *pool;
	u32 id;
	u32 slot;
	struct kref ref;
	refcount_t users;
	bool dead;
	const struct npool_hw_ops *ops;
	void *hw;
	u64 bytes;
	u64 bandwidth;
	u64 latency_ns;
	atomic64_t bytes_cleared;
	char name[NPOOL_NAME_LEN];
	struct npool_mem mem;
	struct npool_engine engine;
	struct work_struct death;
};

/**
 * struct npool_extent - A contiguous piece of a part
 * @start: where in the part
 * @offset: where in the NPU's memory
 */
struct npool_extent {
	u64 start;
	u64 offset;
};

/**
 * struct npool_part - What a buffer has on one NPU
 * @npu: in use as long as the part is
 * @bytes: how much
 * @blocks: from the NPU's buddy
 * @extents: the same, ascending by start
 * @extent_count: how many
 */
struct npool_part {
	struct npool_npu *npu;
	u64 bytes;
	struct list_head blocks;
	struct npool_extent *extents;
	unsigned int extent_count;
};

/**
 * struct npool_bo - A buffer
 * @gem: the GEM object
 * @node: in npool_device.bos, if it has parts
 * @owner: the file that pays for it; compared only, cleared when that file's
 *	last handle goes
 * @handles: handles that @owner has
 * @lost: the dead NPU that it is lost with; set once, under npool_device.bo_lock
 * @stripe: bytes from part to part, 0 if there is one part
 * @part_count: NPUs it lies on, 0 if foreign
 * @parts: what it has on each
 * @dmabuf: another driver's memory, else NULL
 * @map: that memory mapped, made when first needed
 */
struct npool_bo {
	struct drm_gem_object gem;
	struct list_head node;
	struct npool_client *owner;
	unsigned int handles;
	struct npool_npu *lost;
	u64 stripe;
	unsigned int part_count;
	struct npool_part *parts;
	struct dma_buf *dmabuf;
	/** @map_lock: protects making @map */
	struct mutex map_lock;
	struct iosys_map map;
};

/**
 * struct npool_failure - What became of a submit that failed
 * @seqno: which
 * @error: negative errno
 * @op: operation that failed
 * @npu: NPU at fault
 */
struct npool_failure {
	u64 seqno;
	s32 error;
	u32 op;
	u32 npu;
};

/**
 * struct npool_group - A client's queues on one engine, protected by its lock
 * @node: in npool_engine.groups
 * @client: whose
 * @queues: how many
 * @group: what the arbiter keeps
 */
struct npool_group {
	struct list_head node;
	struct npool_client *client;
	unsigned int queues;
	struct qos_group group;
};

/**
 * struct npool_queue - Submits that run in order on one NPU's engine
 * @ref: the client until it destroys it, jobs, calls in progress
 * @npu: in use
 * @client: its file, which outlives its jobs
 * @id: its number in the file
 * @context: of its fences
 * @params: what it was made for
 * @side: where its reservation holds, read from, written to: an NPU that it
 *	uses, or NULL for whichever it is
 * @reserved: it has one
 * @node: in npool_engine.queues
 * @ending: in npool_engine.ending, or empty
 * @flow: in npool_engine.rq
 * @group: shared with the client's other queues on the engine
 * @jobs: unfinished, first to run first
 * @depth: length of @jobs
 * @cancelled: all jobs end with -ECANCELED
 * @last_seqno: of the last submit
 * @done_seqno: of the last submit that has ended
 * @failures: ring of the last failures
 * @failure_count: failures ever
 * @lost_first: first failure that dropped out of the ring, 0 if none
 * @lost_last: last such
 * @unfreed: jobs whose memory and buffers are not given back
 * @wait: woken when a job has ended, and when it is freed
 *
 * From @node on protected by npool_engine.lock, @done_seqno and @unfreed may be
 * read without.
 */
struct npool_queue {
	struct kref ref;
	struct npool_npu *npu;
	struct npool_client *client;
	u32 id;
	u64 context;
	struct qos_params params;
	struct npool_npu *side[2];
	bool reserved;
	struct list_head node;
	struct list_head ending;
	struct qos_flow flow;
	struct npool_group *group;
	struct list_head jobs;
	unsigned int depth;
	bool cancelled;
	u64 last_seqno;
	u64 done_seqno;
	struct npool_failure failures[NPOOL_MAX_FAILURES];
	u64 failure_count;
	u64 lost_first;
	u64 lost_last;
	atomic_t unfreed;
	wait_queue_head_t wait;
};

/**
 * struct npool_op - A checked operation
 * @type: an &enum drm_npool_op_type
 * @dst: written to
 * @src: read from
 * @pattern: of a fill
 * @segs: its segments, in npool_job.segs
 * @seg_count: how many
 */
struct npool_op {
	u32 type;
	struct npool_bo *dst;
	struct npool_bo *src;
	u64 pattern;
	struct drm_npool_seg *segs;
	u32 seg_count;
};

/**
 * struct npool_bo_use - A buffer that a job touches
 * @bo: referenced
 * @write: it is written to
 * @access: CPU access to foreign memory has begun
 */
struct npool_bo_use {
	struct npool_bo *bo;
	bool write;
	bool access;
};

/**
 * struct npool_job_wait - A fence that a job waits for
 * @cb: in the fence
 * @fence: referenced
 * @job: which waits
 */
struct npool_job_wait {
	struct dma_fence_cb cb;
	struct dma_fence *fence;
	struct npool_job *job;
};

/**
 * struct npool_job - A submit
 * @ref: the submit call, and the engine until it has ended
 * @queue: referenced
 * @node: in npool_queue.jobs
 * @fence: signalled when it has ended
 * @seqno: its number, 0 before it is queued
 * @pending: fences not yet signalled, and one while it is being queued
 * @started: when it first moved data, 0 before
 * @ready: when it could have
 * @op: cursor: operation,
 * @seg: segment of it
 * @done: and bytes of that which are done
 * @bytes: moved so far
 * @class: an &enum drm_npool_class
 * @weight: where bulk shares
 * @deadline: as given, 0 for none
 * @earliest: with @reason, the earliest that would fit
 * @reason: why @deadline is not promised
 * @anyway: it runs without the promise
 * @exempt: the promises of its file have no limit
 * @promised: @demands are held
 * @demoted: it was served as bulk though its class is higher
 * @failure: why it failed
 * @ops: what to do
 * @segs: all segments
 * @uses: buffers, each once
 * @waits: fences
 * @demands: what it would have promised at ports
 * @op_count: length of @ops
 * @use_count: length of @uses
 * @wait_count: length of @waits
 * @demand_count: length of @demands
 * @free: gives all that back, where sleeping is allowed
 */
struct npool_job {
	refcount_t ref;
	struct npool_queue *queue;
	struct list_head node;
	struct npool_fence *fence;
	u64 seqno;
	atomic_t pending;
	ktime_t started;
	ktime_t ready;
	u32 op;
	u32 seg;
	u64 done;
	u64 bytes;
	u32 class;
	u32 weight;
	u64 deadline;
	u64 earliest;
	u32 reason;
	bool anyway;
	bool exempt;
	bool promised;
	bool demoted;
	struct npool_failure failure;
	struct npool_op *ops;
	struct drm_npool_seg *segs;
	struct npool_bo_use *uses;
	struct npool_job_wait *waits;
	struct qos_demand *demands;
	u32 op_count;
	u32 use_count;
	u32 wait_count;
	u32 demand_count;
	struct work_struct free;
};

/**
 * struct npool_span - What lies ahead in a job between the same two ports
 * @port: read from, written to
 * @bytes: how much
 */
struct npool_span {
	u32 port[2];
	u64 bytes;
};

/**
 * struct npool_place - Where a byte of a buffer is
 * @npu: whose memory, NULL if foreign
 * @offset: in that memory
 * @page: page of @addr, NULL if foreign
 * @addr: where the kernel sees it
 */
struct npool_place {
	struct npool_npu *npu;
	u64 offset;
	struct page *page;
	void *addr;
};

static inline struct npool_device *to_npool(struct drm_device *drm)
{
	return container_of(drm, struct npool_device, drm);
}

static inline struct npool_bo *to_npool_bo(struct drm_gem_object *gem)
{
	return container_of(gem, struct npool_bo, gem);
}

/** npool_queue_first() - the first job of a queue that has one */
static inline struct npool_job *npool_queue_first(const struct npool_queue *queue)
{
	return list_first_entry(&queue->jobs, struct npool_job, node);
}

/* ioctl.c */
extern const struct drm_ioctl_desc npool_ioctls[];
extern const int npool_ioctl_count;
long npool_ioctl(struct file *filp, unsigned int cmd, unsigned long arg);
#ifdef CONFIG_COMPAT
long npool_compat_ioctl(struct file *filp, unsigned int cmd, unsigned long arg);
#else
#define npool_compat_ioctl NULL
#endif
int npool_array_check(u32 count, u32 stride, size_t item, u32 max);
int npool_array_copy(void *to, u64 user, u32 count, u32 stride, size_t item);

/* client.c */
int npool_client_open(struct drm_device *drm, struct drm_file *file);
void npool_client_close(struct drm_device *drm, struct drm_file *file);
int npool_client_charge(struct npool_client *client, u64 bytes);
void npool_client_uncharge(struct npool_client *client, u64 bytes);
void npool_client_fdinfo(struct drm_printer *p, struct drm_file *file);
int npool_set_quota_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* query.c */
int npool_query_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* npu.c */
struct npool_npu *npool_npu_use(struct npool_device *pool, u32 id);
void npool_npu_unuse(struct npool_npu *npu);
int npool_npu_best(struct npool_device *pool, const u32 *ids, u32 count, struct xarray *tried,
		   u32 *best);
void npool_npu_died(struct npool_npu *npu);
int npool_npu_ctl_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* mem.c */
int npool_mem_init(struct npool_npu *npu);
void npool_mem_fini(struct npool_npu *npu);
u64 npool_mem_free_bytes(struct npool_npu *npu);
int npool_mem_alloc(struct npool_npu *npu, u64 bytes, struct list_head *blocks);
void npool_mem_free(struct npool_npu *npu, struct list_head *blocks);

/* bo.c */
struct npool_bo *npool_bo_new(struct npool_device *pool, u64 bytes, unsigned int part_count,
			      struct dma_buf *dmabuf);
int npool_bo_fill_part(struct npool_bo *bo, unsigned int index, struct npool_npu *npu, u64 bytes);
int npool_bo_publish(struct npool_bo *bo);
struct npool_bo *npool_bo_find(struct drm_file *file, u32 handle);
bool npool_bo_lost(const struct npool_bo *bo);
void npool_bo_lose(struct npool_device *pool, struct npool_npu *npu);
void npool_bo_zap(struct npool_device *pool, const struct npool_npu *npu);
u32 npool_bo_slot(const struct npool_bo *bo, u64 offset, u64 *bytes);
int npool_bo_place(struct npool_bo *bo, u64 offset, u64 *bytes, struct npool_place *place);
struct page **npool_bo_pages(struct npool_bo *bo, unsigned int *count);
void npool_bo_put(struct npool_bo *bo);

/* create.c */
int npool_bo_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int npool_bo_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* mmap.c */
extern const struct vm_operations_struct npool_vm_ops;
int npool_bo_mmap(struct drm_gem_object *gem, struct vm_area_struct *vma);

/* prime.c */
struct dma_buf *npool_bo_export(struct drm_gem_object *gem, int flags);
int npool_bo_vmap(struct drm_gem_object *gem, struct iosys_map *map);
void npool_bo_vunmap(struct drm_gem_object *gem, struct iosys_map *map);
struct drm_gem_object *npool_prime_import(struct drm_device *drm, struct dma_buf *dmabuf);
int npool_foreign_begin(struct npool_bo *bo, bool write);
void npool_foreign_end(struct npool_bo *bo, bool write);
void npool_foreign_fini(struct npool_bo *bo);

/* queue.c */
struct npool_queue *npool_queue_find(struct npool_client *client, u32 id);
void npool_queue_put(struct npool_queue *queue);
void npool_queues_cancel(struct npool_client *client);
int npool_queue_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int npool_queue_destroy_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int npool_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* submit.c */
int npool_submit_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* parse.c */
int npool_parse_ops(struct npool_job *job, const struct drm_npool_submit *args,
		    struct drm_file *file);
struct drm_npool_sync *npool_parse_syncs(u64 user, u32 count, u32 stride);
int npool_parse_waits(struct npool_job *job, const struct drm_npool_submit *args,
		      struct drm_file *file);

/* job.c */
struct npool_job *npool_job_new(struct npool_queue *queue);
void npool_job_put(struct npool_job *job);
void npool_job_retire(struct npool_job *job);
void npool_job_fail(struct npool_job *job, int error, u32 npu);
bool npool_job_missed(const struct npool_job *job, ktime_t now);
struct npool_span npool_job_ahead(const struct npool_job *job, u64 most);
struct qos_head npool_job_head(const struct npool_job *job);
bool npool_job_just_ends(const struct npool_job *job);
bool npool_job_step(struct npool_job *job, const struct npool_span *span);

/* turn.c */
u64 npool_turns(struct npool_engine *engine);

/* engine.c */
void npool_engine_update(struct npool_queue *queue);
int npool_engine_start(struct npool_npu *npu);
void npool_engine_stop(struct npool_npu *npu);
int npool_engine_attach(struct npool_queue *queue, struct npool_group *group);
void npool_engine_cancel(struct npool_queue *queue);
void npool_engine_detach(struct npool_queue *queue);
struct dma_fence *npool_engine_push(struct npool_job *job);
void npool_engine_arm(struct npool_job *job);
void npool_engine_disarm(struct npool_job *job);
void npool_engine_set_policy(struct npool_engine *engine, u32 policy);

/* ports.c */
int npool_ports_init(struct npool_device *pool);
void npool_ports_fini(struct npool_device *pool);
int npool_ports_join(struct npool_npu *npu);
void npool_ports_leave(struct npool_npu *npu);
void npool_ports_settle(struct npool_device *pool);
int npool_qos_ctl_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* reserve.c */
int npool_reserve(struct npool_queue *queue, const struct drm_npool_queue_create *args);
void npool_unreserve(struct npool_queue *queue);
bool npool_covered(const struct npool_queue *queue, const struct npool_span *span);

/* promise.c */
int npool_promise_prepare(struct npool_job *job);
bool npool_promise_admit(struct npool_job *job, const struct npool_job *before);
void npool_promise_moved(struct npool_job *job, const struct npool_span *span, u64 bytes);
void npool_promise_end(struct npool_job *job);

/* fence.c */
struct npool_fence *npool_fence_new(void);
void npool_fence_init(struct npool_fence *fence, const struct npool_job *job);
struct dma_fence *npool_fence_base(struct npool_fence *fence);
void npool_fence_drop(struct npool_fence *fence);

/* main.c */
extern struct npool_device *npool_pool;

#endif
