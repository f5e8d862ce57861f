// SPDX-License-Identifier: MIT
/*
 * The control memfd: making and checking it, its lock, and its tables.
 *
 * Authoritative are the NPUs' sizes and states, and each entry's shape and
 * reference bits. Bytes used, by NPU and by client, follow from them and are
 * counted again whenever a process may have died in the middle of a change. So
 * a change may be cut off anywhere, as long as an entry's state is stored last
 * when it appears and first when it goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "soft.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static bool any(const uint64_t *bits)
{
	for (uint32_t i = 0; i < SOFT_CLIENTS / 64; i++)
		if (bits[i])
			return true;
	return false;
}

/*
 * Bytes of the first @size of a buffer that lie on its k-th NPU: whole rounds of
 * stripes, then what the last round leaves it.
 */
uint64_t soft_npu_part(const struct soft_entry *entry, uint32_t k, uint64_t size)
{
	uint64_t round, rest, before;

	if (!entry->stripe)
		return size;
	round = entry->stripe * entry->npu_count;
	rest = size % round;
	before = entry->stripe * k;
	rest = rest <= before ? 0 : rest - before;
	if (rest > entry->stripe)
		rest = entry->stripe;
	return size / round * entry->stripe + rest;
}

uint64_t soft_npu_share(const struct soft_entry *entry, uint32_t k)
{
	return soft_npu_part(entry, k, entry->size);
}

static struct soft_client *find_client(struct soft_control *control, uint64_t id)
{
	for (uint32_t i = 0; i < SOFT_CLIENTS; i++)
		if (id && atomic_load(&control->clients[i].id) == id)
			return &control->clients[i];
	return NULL;
}

/* An entry counts on its NPUs while anybody has it, on its creator while anybody has a handle. */
static void count_entry(struct soft_control *control, const struct soft_entry *entry)
{
	struct soft_client *creator = find_client(control, entry->creator);

	for (uint32_t k = 0; k < entry->npu_count && k < SOFT_NPUS; k++)
		control->npus[entry->npus[k] % SOFT_NPUS].used += soft_npu_share(entry, k);
	if (creator && any(entry->handles))
		creator->used += entry->size;
}

static void recount(struct soft_control *control)
{
	if (control->entries_high > SOFT_BUFFERS)
		control->entries_high = SOFT_BUFFERS;
	for (uint32_t i = 0; i < SOFT_NPUS; i++)
		control->npus[i].used = 0;
	for (uint32_t i = 0; i < SOFT_CLIENTS; i++)
		control->clients[i].used = 0;
	for (uint32_t i = 0; i < control->entries_high; i++)
		if (atomic_load(&control->entries[i].state) == SOFT_ENTRY_LIVE)
			count_entry(control, &control->entries[i]);
}

void soft_lock(struct soft_dev *dev)
{
	if (pthread_mutex_lock(&dev->control->lock) == EOWNERDEAD) {
		recount(dev->control);
		pthread_mutex_consistent(&dev->control->lock);
	}
}

void soft_unlock(struct soft_dev *dev)
{
	pthread_mutex_unlock(&dev->control->lock);
}

/*
 * Each client holds a lock on its slot's byte through a file description of its
 * own, which the kernel drops with the last process that has it.
 */
static bool slot_locked(const struct soft_dev *dev, uint32_t slot)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1 };

	if (slot == dev->slot)
		return true;
	return fcntl(dev->lock_fd, F_OFD_GETLK, &lock) || lock.l_type != F_UNLCK;
}

bool soft_alive(const struct soft_dev *dev, uint64_t id)
{
	for (uint32_t slot = 0; slot < SOFT_CLIENTS; slot++)
		if (atomic_load(&dev->control->clients[slot].id) == id)
			return slot_locked(dev, slot);
	return false;
}

static void clear_client(struct soft_dev *dev, uint32_t slot)
{
	struct soft_control *control = dev->control;
	uint64_t mask = ~(1ull << slot % 64);

	soft_qos_drop(dev, atomic_load(&control->clients[slot].id));
	for (uint32_t i = 0; i < control->entries_high; i++) {
		struct soft_entry *entry = &control->entries[i];

		if (atomic_load(&entry->state) != SOFT_ENTRY_LIVE)
			continue;
		entry->handles[slot / 64] &= mask;
		entry->refs[slot / 64] &= mask;
		if (any(entry->refs))
			continue;
		atomic_store(&entry->state, atomic_load(&entry->lost) ? SOFT_ENTRY_FREE :
				 SOFT_ENTRY_ORPHAN);
		soft_poison_free(dev, i);
	}
	memset(control->clients[slot].queues, 0, sizeof(control->clients[slot].queues));
	control->clients[slot].quota = 0;
	control->clients[slot].granted = 0;
	atomic_store(&control->clients[slot].lingering, 0);
	atomic_store(&control->clients[slot].id, 0);
}

/* Takes back what clients held that have died. Control lock held. */
void soft_reap(struct soft_dev *dev)
{
	bool found = false;

	for (uint32_t slot = 0; slot < SOFT_CLIENTS; slot++) {
		if (!atomic_load(&dev->control->clients[slot].id) || slot_locked(dev, slot))
			continue;
		clear_client(dev, slot);
		found = true;
	}
	if (found)
		recount(dev->control);
}

/* Takes back all that a slot's client had. Control lock held. */
void soft_reap_slot(struct soft_dev *dev, uint32_t slot)
{
	clear_client(dev, slot);
	recount(dev->control);
}

struct soft_npu *soft_npu_find(struct soft_dev *dev, uint32_t id)
{
	for (uint32_t i = 0; i < SOFT_NPUS; i++) {
		struct soft_npu *npu = &dev->control->npus[i];

		if (atomic_load(&npu->state) != SOFT_NPU_FREE && npu->id == id)
			return npu;
	}
	return NULL;
}

/* -ENOENT, or -ENODEV where it is dead. Control lock held. */
int soft_npu_online(struct soft_dev *dev, uint32_t id, struct soft_npu **npu)
{
	struct soft_npu *found = soft_npu_find(dev, id);

	if (!found)
		return -ENOENT;
	if (atomic_load(&found->state) != SOFT_NPU_ONLINE)
		return -ENODEV;
	*npu = found;
	return 0;
}

/* Bytes that can be allocated; none where an orphan came back to no room. Control lock held. */
uint64_t soft_npu_free(const struct soft_npu *npu)
{
	return npu->used < npu->bytes ? npu->bytes - npu->used : 0;
}

/* Forgets dead NPUs that nothing refers to any more. Control lock held. */
void soft_npu_collect(struct soft_dev *dev)
{
	struct soft_control *control = dev->control;
	bool referred[SOFT_NPUS] = { false };

	for (uint32_t i = 0; i < control->entries_high; i++) {
		const struct soft_entry *entry = &control->entries[i];

		if (atomic_load(&entry->state) != SOFT_ENTRY_LIVE)
			continue;
		for (uint32_t k = 0; k < entry->npu_count && k < SOFT_NPUS; k++)
			referred[entry->npus[k] % SOFT_NPUS] = true;
	}
	for (uint32_t i = 0; i < SOFT_CLIENTS; i++)
		for (uint32_t k = 0; atomic_load(&control->clients[i].id) && k < SOFT_NPUS; k++)
			referred[k] |= control->clients[i].queues[k] != 0;
	for (uint32_t k = 0; k < SOFT_NPUS; k++)
		if (atomic_load(&control->npus[k].state) == SOFT_NPU_DEAD && !referred[k])
			atomic_store(&control->npus[k].state, SOFT_NPU_FREE);
}

/* Accounts for an entry that has just become live. Control lock held. */
void soft_entry_charge(struct soft_dev *dev, uint32_t index)
{
	count_entry(dev->control, &dev->control->entries[index]);
	soft_poison_alloc(dev, index);
}

/* Gives up this client's reference. Control lock held. */
void soft_entry_drop(struct soft_dev *dev, uint32_t index)
{
	struct soft_entry *entry = &dev->control->entries[index];

	entry->refs[dev->slot / 64] &= ~(1ull << dev->slot % 64);
	if (any(entry->refs))
		return;
	atomic_store(&entry->state, SOFT_ENTRY_FREE);
	soft_poison_free(dev, index);
	for (uint32_t k = 0; k < entry->npu_count && k < SOFT_NPUS; k++)
		dev->control->npus[entry->npus[k] % SOFT_NPUS].used -= soft_npu_share(entry, k);
}

/* Counts a handle of this client in or out, Control lock held. */
void soft_entry_handle(struct soft_dev *dev, uint32_t index, bool have)
{
	struct soft_entry *entry = &dev->control->entries[index];
	struct soft_client *creator = find_client(dev->control, entry->creator);
	uint64_t bit = 1ull << dev->slot % 64;
	bool before = any(entry->handles);

	if (have)
		entry->handles[dev->slot / 64] |= bit;
	else
		entry->handles[dev->slot / 64] &= ~bit;
	if (!creator || before == any(entry->handles))
		return;
	creator->used += have ? entry->size : -entry->size;
}

/* An entry for a new buffer; orphans go only when nothing else is left. Control lock held. */
int soft_entry_find_free(struct soft_dev *dev, uint32_t *index)
{
	struct soft_control *control = dev->control;

	for (uint32_t i = 0; i < control->entries_high; i++)
		if (atomic_load(&control->entries[i].state) == SOFT_ENTRY_FREE) {
			*index = i;
			return 0;
		}
	if (control->entries_high < SOFT_BUFFERS) {
		*index = control->entries_high++;
		return 0;
	}
	for (uint32_t i = 0; i < SOFT_BUFFERS; i++)
		if (atomic_load(&control->entries[i].state) == SOFT_ENTRY_ORPHAN) {
			*index = i;
			return 0;
		}
	return -ENOSPC;
}

static int init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;
	int err;

	err = pthread_mutexattr_init(&attr);
	if (err)
		return -err;
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	err = pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
	return -err;
}

static int init_control(struct soft_control *control, uint32_t npus, uint64_t bytes)
{
	int err = init_lock(&control->lock);

	if (!err)
		err = init_lock(&control->qos.lock);
	if (err)
		return err;
	if (getrandom(&control->nonce, sizeof(control->nonce), 0) != sizeof(control->nonce))
		return -EIO;
	control->magic = SOFT_MAGIC;
	control->abi = SOFT_ABI;
	control->size = sizeof(*control);
	control->next_client = 1;
	control->next_npu = npus;
	atomic_store(&control->generation, npus);
	for (uint32_t i = 0; i < npus; i++) {
		struct soft_npu *npu = &control->npus[i];

		npu->id = i;
		npu->bytes = bytes;
		snprintf(npu->name, sizeof(npu->name), "npu%u", i);
		atomic_store(&npu->state, SOFT_NPU_ONLINE);
	}
	soft_qos_init(control, npus);
	return 0;
}

/* -EPROTO where @fd is no control memfd of this library's ABI. */
int soft_control_map(int fd, struct soft_control **control)
{
	struct soft_control *map;
	struct stat st;

	if (fstat(fd, &st) || fcntl(fd, F_GET_SEALS) != SEALS || st.st_size != sizeof(*map))
		return -EPROTO;
	map = mmap(NULL, sizeof(*map), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	if (map->magic != SOFT_MAGIC || map->abi != SOFT_ABI || map->size != sizeof(*map)) {
		munmap(map, sizeof(*map));
		return -EPROTO;
	}
	*control = map;
	return 0;
}

int soft_control_create(uint32_t npus, uint64_t bytes, int *fd)
{
	struct soft_control *control;
	int err, new;

	new = memfd_create("npool-control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (new < 0)
		return -errno;
	if (ftruncate(new, sizeof(*control)) || fcntl(new, F_ADD_SEALS, SEALS)) {
		err = -errno;
		goto out_close;
	}
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, new, 0);
	if (control == MAP_FAILED) {
		err = -errno;
		goto out_close;
	}
	err = init_control(control, npus, bytes);
	munmap(control, sizeof(*control));
	if (err)
		goto out_close;
	*fd = new;
	return 0;

out_close:
	close(new);
	return err;
}
