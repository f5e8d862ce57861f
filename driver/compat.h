/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Names that kernels after 6.12 have changed, and nothing else.
 */
#ifndef NPOOL_COMPAT_H
#define NPOOL_COMPAT_H

#include <linux/version.h>

/* drm_buddy moved out of DRM, and stable 6.12 followed; Kbuild looks which it is. */
#ifdef NPOOL_HAVE_GPU_BUDDY
#include <linux/gpu_buddy.h>
#define npool_buddy			gpu_buddy
#define npool_buddy_block		gpu_buddy_block
#define npool_buddy_init		gpu_buddy_init
#define npool_buddy_fini		gpu_buddy_fini
#define npool_buddy_alloc_blocks	gpu_buddy_alloc_blocks
#define npool_buddy_free_list		gpu_buddy_free_list
#define npool_buddy_block_offset	gpu_buddy_block_offset
#define npool_buddy_block_size		gpu_buddy_block_size
#else
#include <drm/drm_buddy.h>
#define npool_buddy			drm_buddy
#define npool_buddy_block		drm_buddy_block
#define npool_buddy_init		drm_buddy_init
#define npool_buddy_fini		drm_buddy_fini
#define npool_buddy_alloc_blocks	drm_buddy_alloc_blocks
#define npool_buddy_free_list		drm_buddy_free_list
#define npool_buddy_block_offset	drm_buddy_block_offset
#define npool_buddy_block_size		drm_buddy_block_size
#endif

/* drm_driver.date went in 6.14, symbol namespaces became strings in 6.13. */
#if KERNEL_VERSION(6, 14, 0) > LINUX_VERSION_CODE
#define NPOOL_DRIVER_DATE	.date = "20260101",
#else
#define NPOOL_DRIVER_DATE
#endif

#if KERNEL_VERSION(6, 13, 0) > LINUX_VERSION_CODE
#define NPOOL_IMPORT_NS(ns)	MODULE_IMPORT_NS(ns)
#else
#define NPOOL_IMPORT_NS(ns)	MODULE_IMPORT_NS(#ns)
#endif

#endif
