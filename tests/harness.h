/* SPDX-License-Identifier: MIT */
/*
 * The kernel's test harness, from its source package, made to pass -Wextra: its
 * macros leave parameters unused, compare an int literal with what is seen, keep
 * locals over setjmp() that do not change after it.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wsign-compare"
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wclobbered"
#endif

#include "kselftest_harness.h"

/* A KASAN kernel in an emulator is slow; nothing here asserts on time. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 600

#endif
