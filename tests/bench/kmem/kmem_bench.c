// SPDX-License-Identifier: GPL-2.0-only
/*
 * What memcpy() and memset() cost in this kernel: the measure that npool's copy
 * engine and its zeroing are held against. Built and loaded by the benchmark in
 * user-mode Linux only.
 *
 * Write "copy|zero SIZE COUNT SPAN STRIDE" to debugfs kmem_bench/run: COUNT
 * pieces of SIZE bytes within SPAN bytes, each STRIDE after the other, modulo
 * SPAN, from where the command before stopped. Read it for the nanoseconds that
 * took.
 */
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* The longest contiguous memory that the page allocator gives, 4 MiB here. */
#define CHUNK_ORDER MAX_PAGE_ORDER
#define CHUNK_BYTES (PAGE_SIZE << CHUNK_ORDER)
#define COMMAND_MAX 64

struct area {
	unsigned int count;
	void *chunks[];
};

static unsigned int span_mib = 256;
module_param(span_mib, uint, 0444);
MODULE_PARM_DESC(span_mib, "MiB of the source and of the destination");

static struct dentry *dir;
static struct area *from, *to;
static size_t next;
static u64 took_ns;
static DEFINE_MUTEX(run_lock);	/* protects next, took_ns and the areas' content */

static void area_free(struct area *area)
{
	if (!area)
		return;
	while (area->count)
		free_pages((unsigned long)area->chunks[--area->count], CHUNK_ORDER);
	kfree(area);
}

static struct area *area_alloc(unsigned int count)
{
	struct area *area = kzalloc(struct_size(area, chunks, count), GFP_KERNEL);

	if (!area)
		return NULL;
	while (area->count < count) {
		void *chunk = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, CHUNK_ORDER);

		if (!chunk) {
			area_free(area);
			return NULL;
		}
		area->chunks[area->count++] = chunk;
	}
	return area;
}

static void *at(struct area *area, size_t offset)
{
	return area->chunks[offset / CHUNK_BYTES] + offset % CHUNK_BYTES;
}

static void piece(bool copy, size_t offset, size_t size)
{
	size_t step;

	for (; size; offset += step, size -= step) {
		step = min_t(size_t, size, CHUNK_BYTES - offset % CHUNK_BYTES);
		if (copy)
			memcpy(at(to, offset), at(from, offset), step);
		else
			memset(at(to, offset), 0, step);
	}
}

static u64 run(bool copy, size_t size, unsigned int count, size_t span, size_t stride)
{
	u64 start;

	start = ktime_get_ns();
	while (count--) {
		if (next + size > span)
			next = 0;
		piece(copy, next, size);
		next = (next + stride) % span;
	}
	return ktime_get_ns() - start;
}

static ssize_t run_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	char command[COMMAND_MAX], what[8];
	unsigned int count;
	size_t size, span, stride;

	if (len >= sizeof(command))
		return -EINVAL;
	if (copy_from_user(command, buf, len))
		return -EFAULT;
	command[len] = 0;
	if (sscanf(command, "%7s %zu %u %zu %zu", what, &size, &count, &span, &stride) != 5)
		return -EINVAL;
	if (!size || size > span || span > (size_t)span_mib << 20)
		return -EINVAL;
	if (strcmp(what, "copy") && strcmp(what, "zero"))
		return -EINVAL;
	mutex_lock(&run_lock);
	took_ns = run(what[0] == 'c', size, count, span, stride);
	mutex_unlock(&run_lock);
	return len;
}

static ssize_t run_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	char text[24];
	int n;

	mutex_lock(&run_lock);
	n = scnprintf(text, sizeof(text), "%llu\n", took_ns);
	mutex_unlock(&run_lock);
	return simple_read_from_buffer(buf, len, pos, text, n);
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = run_read,
	.write = run_write,
};

static int __init kmem_bench_init(void)
{
	unsigned int chunks = ((size_t)span_mib << 20) / CHUNK_BYTES;

	from = area_alloc(chunks);
	to = area_alloc(chunks);
	if (!from || !to) {
		area_free(from);
		area_free(to);
		return -ENOMEM;
	}
	dir = debugfs_create_dir("kmem_bench", NULL);
	debugfs_create_file("run", 0600, dir, NULL, &run_fops);
	return 0;
}

static void __exit kmem_bench_exit(void)
{
	debugfs_remove(dir);
	area_free(from);
	area_free(to);
}

module_init(kmem_bench_init);
module_exit(kmem_bench_exit);
MODULE_DESCRIPTION("memcpy and memset, timed");
MODULE_LICENSE("GPL");
