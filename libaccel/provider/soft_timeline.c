// SPDX-License-Identifier: MIT
/*
 * Soft timelines: a memfd each, with the highest point submitted and a slot per
 * point that is not reached yet. A point is reached when it was submitted and
 * no slot holds a lower or equal one. No lock is taken, so that a process that
 * dies or means ill can hold nobody up: slots of the dead are cleared by
 * whoever waits, and a wrong value only makes this timeline's points wrong.
 *
 * A slot's life: claimed by its owner's client id, then published by its point,
 * then cleared, point first. Points of one timeline must grow, so submitters
 * follow each other and a slot's @prev is the point before it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "soft_queue.h"

#define MAGIC		0x656e696c656d6974ull
#define SLOTS		1024u
#define SEALS		(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct slot {
	_Atomic uint64_t owner;
	_Atomic uint64_t point;
	_Atomic uint64_t prev;
};

struct timeline_page {
	uint64_t magic;
	uint64_t nonce;
	_Atomic uint64_t submitted;
	_Atomic uint32_t events;	/* futex: grows when a point may have been reached */
	_Atomic uint32_t high;		/* slots at and above were never used */
	struct slot slots[SLOTS];
};

static struct soft_dev *dev_of(const struct soft_timeline *timeline)
{
	return (struct soft_dev *)timeline->base.dev;
}

static uint32_t slots_used(const struct timeline_page *page)
{
	uint32_t high = atomic_load(&page->high);

	return high < SLOTS ? high : SLOTS;
}

/* Points that do not grow order nothing: they leave @submitted as it is. */
static uint64_t raise_submitted(struct timeline_page *page, uint64_t point)
{
	uint64_t old = atomic_load(&page->submitted);

	while (old < point)
		if (atomic_compare_exchange_weak(&page->submitted, &old, point))
			break;
	return old;
}

static void tell(struct timeline_page *page)
{
	atomic_fetch_add(&page->events, 1);
	syscall(SYS_futex, &page->events, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

uint64_t soft_timeline_submitted(const struct soft_timeline *timeline)
{
	return atomic_load(&timeline->page->submitted);
}

/* @submitted is read first: a point up to it has its slot written already, or cleared again. */
uint64_t soft_timeline_reached(const struct soft_timeline *timeline)
{
	struct timeline_page *page = timeline->page;
	uint64_t submitted = atomic_load(&page->submitted);
	uint64_t reached = submitted, lowest = UINT64_MAX;

	for (uint32_t i = 0; i < slots_used(page); i++) {
		struct slot *slot = &page->slots[i];
		uint64_t point = atomic_load(&slot->point);

		if (!point || point > submitted || point >= lowest || !atomic_load(&slot->owner))
			continue;
		lowest = point;
		reached = atomic_load(&slot->prev);
	}
	return reached;
}

/* Clears slots whose owners died. Taking the slot over first keeps a second reaper out. */
void soft_timeline_reap(struct soft_timeline *timeline)
{
	struct timeline_page *page = timeline->page;
	struct soft_dev *dev = dev_of(timeline);
	bool found = false;

	for (uint32_t i = 0; i < slots_used(page); i++) {
		struct slot *slot = &page->slots[i];
		uint64_t owner = atomic_load(&slot->owner);

		if (!owner || soft_alive(dev, owner) ||
		    !atomic_compare_exchange_strong(&slot->owner, &owner, dev->base.client))
			continue;
		atomic_store(&slot->point, 0);
		atomic_store(&slot->owner, 0);
		found = true;
	}
	if (found)
		tell(page);
}

int soft_timeline_claim(struct soft_timeline *timeline, uint32_t *slot)
{
	struct timeline_page *page = timeline->page;
	uint32_t high;

	for (uint32_t i = 0; i < SLOTS; i++) {
		uint64_t owner = 0;

		if (!atomic_compare_exchange_strong(&page->slots[i].owner, &owner,
						    dev_of(timeline)->base.client))
			continue;
		atomic_store(&page->slots[i].point, 0);
		high = atomic_load(&page->high);
		while (high <= i)
			if (atomic_compare_exchange_weak(&page->high, &high, i + 1))
				break;
		*slot = i;
		return 0;
	}
	return -EBUSY;
}

void soft_timeline_publish(struct soft_timeline *timeline, uint32_t slot, uint64_t point)
{
	struct timeline_page *page = timeline->page;
	uint64_t submitted = atomic_load(&page->submitted);

	/* The slot first: who sees the point submitted must see it pending. */
	if (point > submitted) {
		atomic_store(&page->slots[slot].prev, submitted);
		atomic_store(&page->slots[slot].point, point);
	}
	raise_submitted(page, point);
}

/* Ends a published point, or gives a claimed slot back. */
void soft_timeline_end(struct soft_timeline *timeline, uint32_t slot)
{
	struct slot *own = &timeline->page->slots[slot];

	if (atomic_load(&own->owner) != dev_of(timeline)->base.client)
		return;
	atomic_store(&own->point, 0);
	atomic_store(&own->owner, 0);
	tell(timeline->page);
}

_Atomic uint32_t *soft_timeline_events(const struct soft_timeline *timeline)
{
	return &timeline->page->events;
}

void soft_timeline_get(struct soft_timeline *timeline)
{
	atomic_fetch_add(&timeline->refs, 1);
}

void soft_timeline_put(struct soft_timeline *timeline)
{
	if (atomic_fetch_sub(&timeline->refs, 1) != 1)
		return;
	munmap(timeline->page, sizeof(*timeline->page));
	close(timeline->fd);
	free(timeline);
}

/* Takes @fd over, also when it fails. */
static int wrap(struct soft_dev *dev, int fd, struct soft_timeline **timeline)
{
	struct soft_timeline *new;

	new = calloc(1, sizeof(*new));
	if (!new)
		goto out_close;
	new->page = mmap(NULL, sizeof(*new->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (new->page == MAP_FAILED)
		goto out_free;
	new->base.dev = &dev->base;
	new->fd = fd;
	atomic_init(&new->refs, 1);
	*timeline = new;
	return 0;

out_free:
	free(new);
out_close:
	close(fd);
	return -ENOMEM;
}

int soft_timeline_create(struct accel_dev *base, struct accel_timeline **timeline)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_timeline *new;
	int err, fd;

	fd = memfd_create("npool-timeline", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*new->page)) || fcntl(fd, F_ADD_SEALS, SEALS)) {
		err = -errno;
		close(fd);
		return err;
	}
	err = wrap(dev, fd, &new);
	if (err)
		return err;
	new->page->magic = MAGIC;
	new->page->nonce = dev->control->nonce;
	*timeline = &new->base;
	return 0;
}

void soft_timeline_close(struct accel_timeline *timeline)
{
	soft_timeline_put((struct soft_timeline *)timeline);
}

int soft_timeline_export(struct accel_timeline *base, int *fd)
{
	int new = fcntl(((struct soft_timeline *)base)->fd, F_DUPFD_CLOEXEC, 0);

	if (new < 0)
		return -errno;
	*fd = new;
	return 0;
}

/* A memfd that cannot shrink, of the kernel's own file system: reading it cannot fault. */
int soft_timeline_import(struct accel_dev *base, int fd, struct accel_timeline **timeline)
{
	struct soft_dev *dev = (struct soft_dev *)base;
	struct soft_timeline *new;
	struct stat st, control;
	int err, own;

	if (fstat(fd, &st) || fstat(dev->control_fd, &control))
		return -errno;
	if (st.st_dev != control.st_dev || fcntl(fd, F_GET_SEALS) != SEALS ||
	    st.st_size != sizeof(*new->page) || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return -EINVAL;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	err = wrap(dev, own, &new);
	if (err)
		return err;
	if (new->page->magic != MAGIC || new->page->nonce != dev->control->nonce) {
		soft_timeline_put(new);
		return -EINVAL;
	}
	*timeline = &new->base;
	return 0;
}

int soft_timeline_signal(struct accel_timeline *base, uint64_t value)
{
	struct soft_timeline *timeline = (struct soft_timeline *)base;

	if (raise_submitted(timeline->page, value) >= value)
		return -EINVAL;
	tell(timeline->page);
	return 0;
}

int soft_timeline_wait(struct accel_timeline *base, uint64_t value, int64_t deadline_ns)
{
	struct soft_timeline *timeline = (struct soft_timeline *)base;
	struct timeline_page *page = timeline->page;

	for (;;) {
		uint32_t events = atomic_load(&page->events);
		struct timespec patience;
		int64_t left;

		if (soft_timeline_reached(timeline) >= value)
			return 0;
		soft_timeline_reap(timeline);
		if (soft_timeline_reached(timeline) >= value)
			return 0;
		left = deadline_ns - clock_now();
		if (left <= 0)
			return -ETIME;
		patience = clock_timespec(left < SOFT_POLL_NS ? left : SOFT_POLL_NS);
		syscall(SYS_futex, &page->events, FUTEX_WAIT, events, &patience, NULL, 0);
	}
}

int soft_timeline_query(struct accel_timeline *base, uint64_t *value)
{
	struct soft_timeline *timeline = (struct soft_timeline *)base;

	soft_timeline_reap(timeline);
	*value = soft_timeline_reached(timeline);
	return 0;
}
