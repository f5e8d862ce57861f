/* SPDX-License-Identifier: MIT */
/*
 * As much of io_uring as pins user memory for long: a ring, registered buffers,
 * and a write from one, by bare system calls.
 */
#ifndef TESTS_URING_H
#define TESTS_URING_H

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "pool.h"

struct uring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

/* 0, or a negative errno where the kernel has none or does not allow it. */
static inline int uring_open(struct uring *ring)
{
	struct io_uring_params params = { 0 };
	uint8_t *rings;

	ring->fd = syscall(__NR_io_uring_setup, 4, &params);
	if (ring->fd < 0)
		return -errno;
	must(params.features & IORING_FEAT_SINGLE_MMAP);
	rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			  IORING_OFF_SQES);
	must(rings != MAP_FAILED && ring->sqes != MAP_FAILED);
	ring->sq_tail = (void *)(rings + params.sq_off.tail);
	ring->sq_mask = (void *)(rings + params.sq_off.ring_mask);
	ring->sq_array = (void *)(rings + params.sq_off.array);
	ring->cq_head = (void *)(rings + params.cq_off.head);
	ring->cq_mask = (void *)(rings + params.cq_off.ring_mask);
	ring->cqes = (void *)(rings + params.cq_off.cqes);
	return 0;
}

static inline int uring_pin(struct uring *ring, void *p, size_t size)
{
	struct iovec iov = { p, size };

	return syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &iov, 1) ?
		-errno : 0;
}

static inline int uring_unpin(struct uring *ring)
{
	return syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0) ?
		-errno : 0;
}

/* Moves size bytes between the registered buffer, at p, and the start of a file. */
static inline int uring_move(struct uring *ring, int opcode, int fd, void *p, size_t size)
{
	unsigned int tail = *ring->sq_tail, index = tail & *ring->sq_mask;
	struct io_uring_cqe *cqe;

	ring->sqes[index] = (struct io_uring_sqe){ .opcode = opcode, .fd = fd, .addr = (uintptr_t)p,
						   .len = size };
	ring->sq_array[index] = index;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
	must(syscall(__NR_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	cqe = &ring->cqes[*ring->cq_head & *ring->cq_mask];
	__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
	return cqe->res;
}

#endif
