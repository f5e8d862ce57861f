// SPDX-License-Identifier: MIT
/* accelctl trace: writes a generated trace, as replay would make it, to a file. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl.h"
#include "trace.h"

static const char *path;
static uint64_t requests = TRACE_HOUR_REQUESTS, seed = 1;
static bool json;

static const struct opt table[] = {
	{ "output", 'o', OPT_TEXT, &path, "FILE", "write the trace there and not to stdout", 0, 0,
	  0 },
	{ "requests", 'n', OPT_NUMBER, &requests, "N", "requests of it, 12031 an hour", 1,
	  TRACE_REQUESTS_MAX, 0 },
	{ "seed", 's', OPT_NUMBER, &seed, "S", "another seed, another trace", 0, UINT64_MAX, 0 },
	{ "json", 'j', OPT_FLAG, &json, NULL, "print what was written as one JSON value; with -o",
	  0, 0, 0 },
};

static const struct opts opts = {
	"trace", "",
	"Write synthetic chat with the statistics of the Mooncake conversation trace, as\n"
	"JSON lines. The same seed gives the same trace everywhere.",
	table, ARRAY_SIZE(table), 0, 0,
};

static int show(const struct trace *trace)
{
	struct json_object *object;

	if (!json) {
		fprintf(stderr, "accelctl: %s: %zu requests, %zu block references\n", path,
			trace->count, trace->id_count);
		return CTL_OK;
	}
	object = json_object_new_object();
	ctl_json_string(object, "trace", path);
	ctl_json_u64(object, "requests", trace->count);
	ctl_json_u64(object, "block_refs", trace->id_count);
	ctl_json_u64(object, "seed", seed);
	return ctl_json(object, CTL_OK);
}

/* Half a trace is worse than none; but what was no file before stays. */
static void drop(FILE *half)
{
	struct stat stat;

	if (!fstat(fileno(half), &stat) && S_ISREG(stat.st_mode))
		unlink(path);
}

static int save(const struct trace *trace)
{
	FILE *to = path ? fopen(path, "we") : stdout;
	int err;

	if (!to) {
		ctl_error("%s: %s", path, strerror(errno));
		return CTL_SYSTEM;
	}
	err = trace_write(trace, to);
	if (path && err)
		drop(to);
	if (path && fclose(to) && !err)
		err = -errno;
	if (err) {
		ctl_error("%s: %s", path ? path : "standard output", strerror(-err));
		return CTL_SYSTEM;
	}
	return path ? show(trace) : CTL_OK;
}

int cmd_trace(int argc, char **argv)
{
	struct trace trace = { 0 };
	int status;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	if (json && !path) {
		ctl_error("trace: --json needs --output, for the trace itself takes stdout");
		return CTL_USAGE;
	}
	if (trace_generate(requests, seed, &trace)) {
		ctl_error("trace: %s", strerror(ENOMEM));
		return CTL_SYSTEM;
	}
	status = save(&trace);
	trace_free(&trace);
	return status;
}
