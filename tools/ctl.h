/* SPDX-License-Identifier: MIT */
/*
 * What the commands of accelctl share: exit statuses, messages, options, pools.
 * A command is one file; it parses its options by a table, does its work by
 * libaccel, and prints either for people or, with -j, one JSON value.
 */
#ifndef CTL_H
#define CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <accel/accel.h>
#include <json-c/json.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/** enum ctl_exit - exit statuses, as accelctl(1) documents them */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,		/* a check failed: wrong bytes, a broken namespace, a lacking basic */
	CTL_USAGE = 2,
	CTL_INPUT = 3,		/* an input file is missing or malformed */
	CTL_DEVICE = 4,		/* no such pool or NPU, not allowed, or lost on the way */
	CTL_NOROOM = 5,		/* the pool or the quota is full */
	CTL_SYSTEM = 6,		/* anything else that the system refused */
};

struct ctl_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *about;
};

/* ctl.c */

/** ctl_error() - a message to stderr, with the program's name and a newline added */
void ctl_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** ctl_status() - the exit status for a negative errno of libaccel */
int ctl_status(int err);

/** ctl_open() - open a pool or say why not; NULL takes the default and says which it is */
int ctl_open(const char *uri, struct accel_dev **dev);

/** typedef ctl_get - lists up to *@count items, and tells in it how many there are */
typedef int ctl_get(struct accel_dev *dev, void *items, uint32_t *count);

/** ctl_list() - all items of @size bytes that @get lists, the caller's to free(); 0 or -errno */
int ctl_list(struct accel_dev *dev, ctl_get *get, size_t size, void **items, uint32_t *count);

/** ctl_npus() - all members, the caller's to free() */
int ctl_npus(struct accel_dev *dev, struct accel_npu_info **npus, uint32_t *count);

/**
 * ctl_sub() - run the subcommand that @argv[1] names
 * @command: whose subcommands @table has
 */
int ctl_sub(const char *command, const char *about, const struct ctl_command *table, size_t count,
	    int argc, char **argv);

/** ctl_json() - print a JSON value on stdout, drop it, and return the exit status @status */
int ctl_json(struct json_object *value, int status);

/** ctl_json_line() - likewise, in one line */
int ctl_json_line(struct json_object *value, int status);

/** ctl_json_u64() - add an unsigned number to an object */
void ctl_json_u64(struct json_object *object, const char *key, uint64_t value);

/** ctl_json_string() - add a string to an object */
void ctl_json_string(struct json_object *object, const char *key, const char *value);

/** ctl_now() - CLOCK_MONOTONIC in ns */
uint64_t ctl_now(void);

/**
 * ctl_hold_signals() - from now on ctl_sleep() tells of SIGINT, SIGTERM and SIGHUP
 *
 * For what must be put back before the end. To be called before there are threads.
 */
void ctl_hold_signals(void);

/** ctl_sleep() - sleep for @ns; 0, or at once the number of a signal that was held */
int ctl_sleep(uint64_t ns);

/** ctl_die() - die of a signal that was held, so that a shell sees what happened */
void ctl_die(int number);

#define CTL_TEXT_LEN 32

/** ctl_bytes() - 65536 as "64 KiB", into @text */
const char *ctl_bytes(uint64_t bytes, char text[CTL_TEXT_LEN]);

/** ctl_nanos() - 1500 as "1.50 us", into @text */
const char *ctl_nanos(uint64_t ns, char text[CTL_TEXT_LEN]);

/* opt.c */

enum opt_kind {
	OPT_FLAG,	/* bool */
	OPT_TEXT,	/* const char * */
	OPT_NUMBER,	/* uint64_t */
	OPT_SIZE,	/* uint64_t, K M G T understood */
	OPT_TIME,	/* uint64_t of ns; ns, us, ms or s is part of it */
};

/** struct opt - one option; its present value is the default that --help shows */
struct opt {
	const char *name;
	char letter;		/* 0 without a short form */
	enum opt_kind kind;
	void *value;
	const char *arg;	/* what --help calls the argument */
	const char *about;
	uint64_t min;		/* of numbers, sizes and times */
	uint64_t max;
	uint64_t multiple;	/* of it, 0 for any */
};

#define OPT_POOL(var)	{ "pool", 'p', OPT_TEXT, &(var), "URI", "pool to use: drm:/dev/accel/accelN " \
			  "or soft:NAME[?npus=N&size=S]", 0, 0, 0 }
#define OPT_JSON(var)	{ "json", 'j', OPT_FLAG, &(var), NULL, "print one JSON value", 0, 0, 0 }

/** struct opts - the options of a command */
struct opts {
	const char *command;
	const char *operands;	/* as --help shows them, "" for none */
	const char *about;	/* a sentence, and more lines where they are needed */
	const struct opt *table;
	size_t count;
	int min_operands;
	int max_operands;
};

#define OPTS_DONE (-1)		/* opts_parse(): --help was printed */

/**
 * opts_parse() - set the values of @opts from the command line
 * @first: out, index of the first operand in @argv
 *
 * 0, CTL_USAGE after a message, or OPTS_DONE.
 */
int opts_parse(const struct opts *opts, int argc, char **argv, int *first);

/** opt_number() - parse @text, named @what in messages; 0 or CTL_USAGE */
int opt_number(const char *what, const char *text, bool size, uint64_t min, uint64_t max,
	       uint64_t *value);

/* One file each */

int cmd_list(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_npu(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_qos(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_bench_qos(int argc, char **argv);
int cmd_bench_ep(int argc, char **argv);

#endif
