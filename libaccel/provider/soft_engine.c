// SPDX-License-Identifier: MIT
/* Engines of the soft provider: one thread per NPU and device. */
#include "soft.h"
void soft_engine_wake(struct soft_dev *dev) { (void)dev; }
