/* SPDX-License-Identifier: MIT */
/*
 * Probes of a machine: each tells whether one thing is there, and in @detail, of
 * DOCTOR_DETAIL bytes, what it saw. They change nothing.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include <stdbool.h>

#define DOCTOR_DETAIL 128

bool probe_memory(char *detail);
bool probe_memfd(char *detail);
bool probe_soft(char *detail);
bool probe_simd(char *detail);
bool probe_memlock(char *detail);
bool probe_kernel(char *detail);
bool probe_modules(char *detail);
bool probe_headers(char *detail);
bool probe_built(char *detail);
bool probe_loaded(char *detail);
bool probe_sim(char *detail);
bool probe_device(char *detail);
bool probe_configfs(char *detail);
bool probe_compiler(char *detail);
bool probe_libraries(char *detail);
bool probe_qemu(char *detail);
bool probe_kvm(char *detail);
bool probe_rdma(char *detail);

#endif
