/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The few types that the arbiter needs, in the kernel and out of it. */
#ifndef NPOOL_QOS_TYPES_H
#define NPOOL_QOS_TYPES_H

#ifdef __KERNEL__
#include <linux/stddef.h>
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef unsigned int u32;
typedef unsigned long u64;
typedef long s64;
#endif

#endif
