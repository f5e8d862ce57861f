/* SPDX-License-Identifier: MIT */
/*
 * The soft provider: the pool in user space, over memory that the processes of
 * one user share.
 *
 * A pool is one control memfd and a memfd per buffer; neither has a name, so
 * all of it goes with the last process that holds it. Processes find each other
 * by abstract sockets (soft_join.c). The control memfd's tables say who has
 * what; whatever else it holds is derived and can be counted again.
 *
 * Lock order: soft_dev.lock, soft_engine.lock, soft_control.lock, soft_qos.lock. The
 * last two are robust: who gets one after its owner died counts everything again.
 */
#ifndef LIBACCEL_SOFT_H
#define LIBACCEL_SOFT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "provider.h"
#include "soft_qos.h"

#define SOFT_MAGIC		0x6c6f6f70746673ull
#define SOFT_ABI		2
#define SOFT_CLIENTS		256
#define SOFT_BUFFERS		16384
#define SOFT_POISONS		64
#define SOFT_MIN_ALLOC		4096ull
#define SOFT_MAX_OPS		1024u
#define SOFT_MAX_SEGS		16384u
#define SOFT_MAX_SYNCS		64u
#define SOFT_MAX_QUEUES		1024u
#define SOFT_QUEUE_DEPTH	256u
#define SOFT_FAILURES		64u
/* Bytes that a copy without a queue moves before it looks whether it is to fail. */
#define SOFT_CHUNK		(1ull << 20)
#define SOFT_NAME_MAX		64
/* How long to wait for another process, for joining and for its word that it has let go. */
#define SOFT_JOIN_MS		5000
#define SOFT_SYNC_MS		1000
/* How often to look whether a process died whose end nobody tells. */
#define SOFT_POLL_NS		5000000ll

enum soft_npu_state {
	SOFT_NPU_FREE = 0,
	SOFT_NPU_ONLINE,
	SOFT_NPU_DEAD,
};

/* A poisoned page: the page-th of a buffer's on this NPU, or one of the free ones. */
struct soft_poison {
	uint32_t buffer;
	uint32_t pad;
	uint64_t page;
};

#define SOFT_POISON_FREE UINT32_MAX

struct soft_counters {
	_Atomic uint64_t submitted, done, failed;
	_Atomic uint64_t copied, filled, cleared;
	_Atomic uint64_t busy_ns, queue_ns;
};

struct soft_npu {
	_Atomic uint32_t state;
	uint32_t id;
	uint64_t bytes;
	uint64_t used;			/* derived */
	uint64_t bandwidth;
	uint64_t latency_ns;
	char name[ACCEL_NAME_LEN];
	/* The modelled engine is one for all processes: until when it is taken. */
	_Atomic uint64_t busy_until;
	_Atomic uint32_t alloc_faults;
	_Atomic uint32_t copy_faults;
	_Atomic uint32_t poison_count;
	struct soft_poison poison[SOFT_POISONS];
	struct soft_counters counters;
};

struct soft_client {
	_Atomic uint64_t id;		/* 0: the slot is free */
	uint64_t quota;
	uint64_t used;			/* derived */
	_Atomic uint32_t lingering;	/* buffers it keeps for descriptors it gave away */
	uint64_t granted;		/* rate to reserve; here nobody needs it */
	uint16_t queues[SOFT_NPUS];
};

enum soft_entry_state {
	SOFT_ENTRY_FREE = 0,
	SOFT_ENTRY_LIVE,
	/* Its clients died; a descriptor on its way to somebody may yet bring it back. */
	SOFT_ENTRY_ORPHAN,
};

struct soft_entry {
	_Atomic uint32_t state;
	_Atomic uint32_t lost;
	uint64_t st_dev;
	uint64_t st_ino;
	uint64_t size;
	uint64_t stripe;
	uint64_t creator;
	uint64_t refs[SOFT_CLIENTS / 64];	/* a bit per client slot */
	uint64_t handles[SOFT_CLIENTS / 64];	/* of them, those with a handle, not only a mapping */
	uint32_t npu_count;
	uint16_t npus[SOFT_NPUS];		/* slots, in stripe order */
};

struct soft_control {
	uint64_t magic;
	uint32_t abi;
	uint32_t size;
	uint64_t nonce;			/* tells pools apart */
	pthread_mutex_t lock;
	_Atomic uint64_t generation;
	uint64_t next_client;
	uint32_t next_npu;
	uint32_t entries_high;		/* entries at and above were never used */
	struct soft_npu npus[SOFT_NPUS];
	struct soft_client clients[SOFT_CLIENTS];
	struct soft_entry entries[SOFT_BUFFERS];
	struct soft_qos qos;
};

struct soft_dev;

/* A user's mapping, kept so that it can be made to fault when its buffer is lost. */
struct soft_mapping {
	struct soft_mapping *next;
	struct soft_buffer *buffer;
	void *ptr;
	uint64_t size;
	bool lost;
};

/* A closed buffer whose descriptor was given away: watched until nobody has it. */
struct soft_linger {
	struct soft_linger *next;
	uint32_t index;
	int probe;
};

enum soft_mode {
	SOFT_SERVING = 0,
	SOFT_STOPPING,
	SOFT_LEFT_BEHIND,	/* closed; the service thread ends the device */
};

struct soft_dev {
	struct accel_dev base;
	struct soft_control *control;
	int control_fd;
	int lock_fd;			/* own description of the control memfd: holds byte [slot] */
	int void_fd;			/* an empty file: its mappings raise SIGBUS */
	uint32_t slot;
	char name[SOFT_NAME_MAX + 1];

	int listen_fd;
	int wake_fd;			/* has the service thread look at @mode and @lingering */
	pthread_t service;
	_Atomic uint32_t mode;		/* enum soft_mode */

	pthread_mutex_t lock;		/* what follows */
	struct soft_mapping *mappings;
	struct soft_linger *lingering;
	struct soft_engine *engines[SOFT_NPUS];
	uint32_t queue_count;
	uint32_t held[SOFT_BUFFERS];	/* references by this device, under the control lock */
	uint32_t handles[SOFT_BUFFERS];	/* likewise, of them handles */
};

struct soft_buffer {
	struct accel_buffer base;
	_Atomic uint32_t refs;		/* handle, mappings, jobs */
	uint32_t index;
	int fd;
	char *map;			/* the engine's; stays whole when the buffer is lost */
	struct soft_entry *entry;
	_Atomic bool exposed;		/* a descriptor is or was in other hands */
};

struct soft_engine;

/* soft.c */
void soft_free(struct soft_dev *dev);
uint32_t soft_members(const struct soft_control *control, const struct soft_npu **sorted);

/* soft_pool.c: the tables */
void soft_lock(struct soft_dev *dev);
void soft_unlock(struct soft_dev *dev);
int soft_control_create(uint32_t npus, uint64_t bytes, int *fd);
int soft_control_map(int fd, struct soft_control **control);
void soft_reap(struct soft_dev *dev);
void soft_reap_slot(struct soft_dev *dev, uint32_t slot);
bool soft_alive(const struct soft_dev *dev, uint64_t id);
struct soft_npu *soft_npu_find(struct soft_dev *dev, uint32_t id);
int soft_npu_online(struct soft_dev *dev, uint32_t id, struct soft_npu **npu);
uint64_t soft_npu_part(const struct soft_entry *entry, uint32_t k, uint64_t size);
uint64_t soft_npu_share(const struct soft_entry *entry, uint32_t k);
uint64_t soft_npu_free(const struct soft_npu *npu);
void soft_npu_collect(struct soft_dev *dev);
void soft_entry_charge(struct soft_dev *dev, uint32_t index);
void soft_entry_drop(struct soft_dev *dev, uint32_t index);
void soft_entry_handle(struct soft_dev *dev, uint32_t index, bool have);
int soft_entry_find_free(struct soft_dev *dev, uint32_t *index);

/* soft_place.c: where a new buffer goes */
int soft_place(struct soft_dev *dev, uint64_t size, const struct accel_where *where,
	       struct soft_entry *entry);

/* soft_join.c: finding the others */
int soft_join(struct soft_dev *dev, uint32_t npus, uint64_t bytes);
void soft_leave(struct soft_dev *dev);
void soft_renumber(struct soft_dev *dev);

/* soft_service.c: being found, and noticing */
int soft_serve(struct soft_dev *dev);
bool soft_stay_behind(struct soft_dev *dev);
void soft_stop_serving(struct soft_dev *dev);
void soft_sync_others(struct soft_dev *dev, bool lingering_only);

/* soft_buffer.c */
int soft_buffer_create(struct accel_dev *dev, uint64_t size, const struct accel_where *where,
		       struct accel_buffer **buffer);
void soft_buffer_close(struct accel_buffer *buffer);
int soft_buffer_info(struct accel_buffer *buffer, struct accel_buffer_info *info, uint32_t *npus,
		     uint32_t room);
int soft_buffer_export(struct accel_buffer *buffer, int *fd);
int soft_buffer_import(struct accel_dev *dev, int fd, struct accel_buffer **buffer);
void soft_buffer_get(struct soft_buffer *buffer);
void soft_buffer_put(struct soft_buffer *buffer);
void soft_settle(struct soft_dev *dev);
void soft_settle_own(struct soft_dev *dev);

/* soft_map.c */
int soft_buffer_map(struct accel_buffer *buffer, uint32_t flags, void **ptr);
int soft_buffer_unmap(struct accel_dev *dev, void *ptr, uint64_t size);
void soft_map_lost(struct soft_dev *dev);
void soft_map_linger(struct soft_dev *dev);

/* soft_engine.c */
void soft_engine_wake(struct soft_dev *dev);

/* soft_npu.c */
int soft_npu_add(struct accel_dev *dev, const struct accel_npu_config *config, uint32_t *id);
int soft_npu_remove(struct accel_dev *dev, uint32_t id);
int soft_npu_inject(struct accel_dev *dev, uint32_t id, enum accel_fault fault, uint64_t arg);
bool soft_npu_take_fault(_Atomic uint32_t *count);
void soft_poison_alloc(struct soft_dev *dev, uint32_t index);
void soft_poison_free(struct soft_dev *dev, uint32_t index);
bool soft_poisoned(struct soft_buffer *buffer, uint64_t offset, uint64_t size, uint32_t *npu);

#endif
