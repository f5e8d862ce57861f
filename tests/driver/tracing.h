/* SPDX-License-Identifier: MIT */
/* The kernel's trace of what the driver does meanwhile, as text. */
#ifndef TESTS_DRIVER_TRACING_H
#define TESTS_DRIVER_TRACING_H

#include "npool.h"

#define TRACING "/sys/kernel/tracing/"

static inline void tracing_set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	must(fd >= 0);
	must(write(fd, value, strlen(value)) == (ssize_t)strlen(value));
	close(fd);
}

static inline bool tracing_there(void)
{
	if (access(TRACING "trace", F_OK))
		system("mount -t tracefs tracefs " TRACING " 2>/dev/null");
	return !access(TRACING "trace", F_OK);
}

static inline void tracing_start(void)
{
	tracing_set(TRACING "trace", "");
	tracing_set(TRACING "events/npool/enable", "1");
}

/* What there was since tracing_start(). */
static inline const char *tracing_end(void)
{
	static char text[1 << 16];
	ssize_t n, all = 0;
	int fd;

	tracing_set(TRACING "events/npool/enable", "0");
	fd = open(TRACING "trace", O_RDONLY);
	must(fd >= 0);
	while ((n = read(fd, text + all, sizeof(text) - 1 - all)) > 0)
		all += n;
	close(fd);
	text[all] = 0;
	return text;
}

#endif
