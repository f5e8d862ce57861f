// SPDX-License-Identifier: MIT
/*
 * Messages, exit statuses, formats, and opening a pool with words for what fails.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

static sigset_t held;

void ctl_error(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* In one write, so that the lines of several workers do not mix. */
	fprintf(stderr, "accelctl: %s\n", line);
}

int ctl_status(int err)
{
	switch (err) {
	case 0:
		return CTL_OK;
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
	case -EACCES:
	case -EPERM:
	case -EPROTO:
	case -EOPNOTSUPP:
		return CTL_DEVICE;
	case -ENOSPC:
	case -EDQUOT:
		return CTL_NOROOM;
	}
	return CTL_SYSTEM;
}

static const char *open_hint(int err)
{
	switch (err) {
	case -EINVAL:
		return "; an address is drm:/dev/accel/accelN or soft:NAME[?npus=N&size=S]";
	case -ENOENT:
	case -ENODEV:
	case -EACCES:
		return "; `accelctl doctor` tells what is missing";
	case -EPROTO:
		return "; the driver, or another user of the pool, is of another version";
	}
	return "";
}

int ctl_open(const char *uri, struct accel_dev **dev)
{
	int err = accel_open(uri, dev);

	if (err) {
		ctl_error("pool %s: %s%s", uri ? uri : "(default)", strerror(-err), open_hint(err));
		return err == -EINVAL ? CTL_USAGE : ctl_status(err);
	}
	if (!uri)
		fprintf(stderr, "accelctl: using pool %s\n", accel_uri(*dev));
	return CTL_OK;
}

int ctl_list(struct accel_dev *dev, ctl_get *get, size_t size, void **items, uint32_t *count)
{
	uint32_t room, there = 0;
	void *array = NULL;
	int err;

	/* The list can grow between the calls. */
	do {
		void *more = realloc(array, (there + 1) * size);

		if (!more) {
			err = -ENOMEM;
			break;
		}
		array = more;
		room = there + 1;
		there = room;
		err = get(dev, array, &there);
	} while (!err && there > room);
	if (err) {
		free(array);
		return err;
	}
	*items = array;
	*count = there;
	return 0;
}

static int get_npus(struct accel_dev *dev, void *items, uint32_t *count)
{
	return accel_npus(dev, items, count);
}

int ctl_npus(struct accel_dev *dev, struct accel_npu_info **npus, uint32_t *count)
{
	void *items;
	int err = ctl_list(dev, get_npus, sizeof(**npus), &items, count);

	if (err) {
		ctl_error("pool %s: listing its NPUs: %s", accel_uri(dev), strerror(-err));
		return ctl_status(err);
	}
	*npus = items;
	return CTL_OK;
}

static void show_subs(FILE *to, const char *command, const char *about,
		      const struct ctl_command *table, size_t count)
{
	size_t i;

	fprintf(to, "Usage: accelctl %s COMMAND [OPTION]...\n\n%s\n\nCommands:\n", command, about);
	for (i = 0; i < count; i++)
		fprintf(to, "  %-8s %s\n", table[i].name, table[i].about);
	fprintf(to, "\n`accelctl %s COMMAND --help` shows a command's options.\n", command);
}

int ctl_sub(const char *command, const char *about, const struct ctl_command *table, size_t count,
	    int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		show_subs(stderr, command, about, table, count);
		return CTL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		show_subs(stdout, command, about, table, count);
		return CTL_OK;
	}
	for (i = 0; i < count; i++)
		if (!strcmp(argv[1], table[i].name))
			return table[i].run(argc - 1, argv + 1);
	ctl_error("%s: no command '%s'; `accelctl %s --help` lists them", command, argv[1],
		  command);
	return CTL_USAGE;
}

static int put_json(struct json_object *value, int flags, int status)
{
	const char *text = json_object_to_json_string_ext(value, flags | JSON_C_TO_STRING_SPACED |
							  JSON_C_TO_STRING_NOSLASHESCAPE);

	if (!text || puts(text) == EOF || fflush(stdout)) {
		ctl_error("standard output: %s", strerror(errno));
		status = CTL_SYSTEM;
	}
	json_object_put(value);
	return status;
}

int ctl_json(struct json_object *value, int status)
{
	return put_json(value, JSON_C_TO_STRING_PRETTY, status);
}

int ctl_json_line(struct json_object *value, int status)
{
	return put_json(value, 0, status);
}

void ctl_json_u64(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void ctl_json_string(struct json_object *object, const char *key, const char *value)
{
	json_object_object_add(object, key, json_object_new_string(value));
}

const char *ctl_bytes(uint64_t bytes, char text[CTL_TEXT_LEN])
{
	static const char units[] = "KMGTPE";
	double value = bytes;
	int unit = -1;

	while (value >= 1024 && unit < (int)sizeof(units) - 2) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(text, CTL_TEXT_LEN, "%" PRIu64 " B", bytes);
	else if (value == (uint64_t)value)
		snprintf(text, CTL_TEXT_LEN, "%.0f %ciB", value, units[unit]);
	else
		snprintf(text, CTL_TEXT_LEN, "%.2f %ciB", value, units[unit]);
	return text;
}

const char *ctl_nanos(uint64_t ns, char text[CTL_TEXT_LEN])
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	double value = ns;
	int unit = 0;

	while (value >= 1000 && unit < 3) {
		value /= 1000;
		unit++;
	}
	snprintf(text, CTL_TEXT_LEN, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
	return text;
}

uint64_t ctl_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

void ctl_hold_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction was;
	size_t i;

	sigemptyset(&held);
	/* What nohup or a shell's & has it ignore stays ignored; blocked it would come. */
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!sigaction(numbers[i], NULL, &was) && was.sa_handler != SIG_IGN)
			sigaddset(&held, numbers[i]);
	sigprocmask(SIG_BLOCK, &held, NULL);
}

int ctl_sleep(uint64_t ns)
{
	uint64_t end = ctl_now() + ns, now;
	int number;

	do {
		struct timespec rest;

		now = ctl_now();
		rest.tv_sec = now < end ? (end - now) / 1000000000 : 0;
		rest.tv_nsec = now < end ? (end - now) % 1000000000 : 0;
		number = sigtimedwait(&held, NULL, &rest);
	} while (number < 0 && errno == EINTR && now < end);
	return number > 0 ? number : 0;
}

void ctl_die(int number)
{
	signal(number, SIG_DFL);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &held, NULL);
}
