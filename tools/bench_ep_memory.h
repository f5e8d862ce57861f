/* SPDX-License-Identifier: MIT */
/* What a group's buffers take, without making them. */
#ifndef BENCH_EP_MEMORY_H
#define BENCH_EP_MEMORY_H

#include <stdbool.h>

#include "bench_ep.h"

/** ep_memory() - show it for growing numbers of ranks; the exit status */
int ep_memory(const struct ep_load *load, bool json);

#endif
