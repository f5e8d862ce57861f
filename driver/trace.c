// SPDX-License-Identifier: GPL-2.0-only
/* Where the tracepoints live. */
#ifndef __CHECKER__
#define CREATE_TRACE_POINTS
#include "trace.h"
#endif
