// SPDX-License-Identifier: MIT
/*
 * Moving bytes as an NPU's engine does: the data itself, faults acted out, and
 * the time that the modelled engine would take.
 */
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "memcpy.h"
#include "soft_queue.h"

static bool in_range(const struct soft_buffer *buffer, uint64_t offset, uint64_t size)
{
	return offset <= buffer->base.size && size <= buffer->base.size - offset;
}

static bool overlaps(const struct accel_seg *seg)
{
	return seg->dst_offset < seg->src_offset + seg->size &&
	       seg->src_offset < seg->dst_offset + seg->size;
}

/* Two handles can be one buffer: the entry tells. */
int soft_move_check(const struct soft_op *op)
{
	for (uint32_t i = 0; i < op->seg_count; i++) {
		const struct accel_seg *seg = &op->segs[i];

		if (!seg->size || !in_range(op->dst, seg->dst_offset, seg->size))
			return -EINVAL;
		if (!op->src && seg->src_offset)
			return -EINVAL;
		if (op->src && !in_range(op->src, seg->src_offset, seg->size))
			return -EINVAL;
		if (op->src && op->src->entry == op->dst->entry && overlaps(seg))
			return -EINVAL;
	}
	return 0;
}

/* Whether the buffer is lost, and to which NPU. */
bool soft_move_lost(struct soft_buffer *buffer, uint32_t *fault)
{
	struct soft_dev *dev = (struct soft_dev *)buffer->base.dev;
	const struct soft_entry *entry = buffer->entry;

	if (!atomic_load(&entry->lost))
		return false;
	soft_lock(dev);
	for (uint32_t k = 0; k < entry->npu_count && k < SOFT_NPUS; k++) {
		const struct soft_npu *npu = &dev->control->npus[entry->npus[k] % SOFT_NPUS];

		*fault = npu->id;
		if (atomic_load(&npu->state) == SOFT_NPU_DEAD)
			break;
	}
	soft_unlock(dev);
	return true;
}

/* A copy or fill is about to start: is it one that is to fail? */
int soft_move_begin(struct soft_npu *npu)
{
	return soft_npu_take_fault(&npu->copy_faults) ? -EIO : 0;
}

/* @phase: place of the first byte in the pattern. */
static void fill(char *dst, uint64_t size, uint64_t pattern, unsigned int phase)
{
	char bytes[8], word[8];
	uint64_t i;

	for (i = 0; i < 8; i++)
		bytes[i] = pattern >> 8 * i;
	for (i = 0; i < 8; i++)
		word[i] = bytes[(phase + i) % 8];
	for (i = 0; i + 8 <= size; i += 8)
		memcpy(dst + i, word, 8);
	memcpy(dst + i, word, size - i);
}

int soft_move(struct soft_npu *npu, const struct soft_op *op, const struct accel_seg *seg,
	      uint64_t offset, uint64_t size, bool stream, uint32_t *fault)
{
	uint64_t to = seg->dst_offset + offset, from = seg->src_offset + offset;

	if (soft_move_lost(op->dst, fault) || (op->src && soft_move_lost(op->src, fault)))
		return -ENODEV;
	if (soft_poisoned(op->dst, to, size, fault) ||
	    (op->src && soft_poisoned(op->src, from, size, fault)))
		return -EIO;
	if (!op->src) {
		fill(op->dst->map + to, size, op->pattern, offset % 8);
		atomic_fetch_add(&npu->counters.filled, size);
		return 0;
	}
	/* Counted first: after streamed stores a locked add would wait for them to drain. */
	atomic_fetch_add(&npu->counters.copied, size);
	if (stream)
		copy_stream(op->dst->map + to, op->src->map + from, size);
	else
		copy_cached(op->dst->map + to, op->src->map + from, size);
	return 0;
}

/*
 * Takes the modelled engine for a piece of work and returns when it will be
 * done, 0 for at once. The engine is one, whichever process uses it.
 */
int64_t soft_model(struct soft_npu *npu, uint64_t bytes, uint64_t latency_ns)
{
	uint64_t busy = atomic_load(&npu->busy_until), ns = latency_ns, now, end;

	if (npu->bandwidth)
		ns += (unsigned __int128)bytes * NSEC_PER_SEC / npu->bandwidth;
	if (!ns)
		return 0;
	now = clock_now();
	do {
		end = (busy > now ? busy : now) + ns;
	} while (!atomic_compare_exchange_weak(&npu->busy_until, &busy, end));
	return end;
}
