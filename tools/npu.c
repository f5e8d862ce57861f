// SPDX-License-Identifier: MIT
/* accelctl npu: adds and removes members of a pool, and has them act out faults. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <accel/npu.h>

#include "ctl.h"

static const char *pool;
static uint64_t bytes = 256ull << 20, bandwidth, latency_ns;
static bool json;

static const struct opt table[] = {
	OPT_POOL(pool),
	{ "size", 's', OPT_SIZE, &bytes, "BYTES", "memory of an added NPU", 1, UINT64_MAX, 0 },
	{ "bandwidth", 'b', OPT_SIZE, &bandwidth, "BYTES", "a second, of its copy engine; no limit "
	  "without", 0, UINT64_MAX, 0 },
	{ "latency-ns", 'l', OPT_NUMBER, &latency_ns, "NS", "start-up of its copies", 0, UINT64_MAX,
	  0 },
	OPT_JSON(json),
};

static const struct opts opts = {
	"npu", "add NAME | remove ID | inject ID FAULT [ARG]",
	"Change the members of a pool. On drm: this needs root. A soft: pool ends with its last\n"
	"user, so there it makes sense beside a program that has it open. FAULT is one of\n"
	"  alloc N   the next N allocations on it fail\n"
	"  copy N    the next N copies or fills by its engine fail\n"
	"  poison B  the page at byte B of its memory fails copies\n"
	"  die       it dies",
	table, ARRAY_SIZE(table), 2, 4,
};

static const struct {
	const char *name;
	enum accel_fault fault;
	bool has_arg;
} faults[] = {
	{ "alloc", ACCEL_FAULT_ALLOC, true },
	{ "copy", ACCEL_FAULT_COPY, true },
	{ "poison", ACCEL_FAULT_POISON, true },
	{ "die", ACCEL_FAULT_DIE, false },
};

/* What was asked for, complete before the pool is opened. */
struct request {
	enum { ADD, REMOVE, INJECT } action;
	struct accel_npu_config config;
	uint64_t id;
	enum accel_fault fault;
	uint64_t arg;
};

static int parse_fault(int count, char **words, struct request *request)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (strcmp(words[0], faults[i].name))
			continue;
		request->fault = faults[i].fault;
		if ((count == 2) != faults[i].has_arg) {
			ctl_error("npu inject: %s takes %s argument", words[0],
				  faults[i].has_arg ? "an" : "no");
			return CTL_USAGE;
		}
		return count == 2 ? opt_number("npu inject: ARG", words[1], true, 0, UINT64_MAX,
					       &request->arg) : CTL_OK;
	}
	ctl_error("npu inject: no fault '%s'; there are alloc, copy, poison and die", words[0]);
	return CTL_USAGE;
}

static int parse(int count, char **words, struct request *request)
{
	size_t length = strlen(words[1]);
	int status;

	if (!strcmp(words[0], "add") && count == 2) {
		if (!length || length >= sizeof(request->config.name)) {
			ctl_error("npu add: NAME: '%s' has not between 1 and %zu letters", words[1],
				  sizeof(request->config.name) - 1);
			return CTL_USAGE;
		}
		request->action = ADD;
		request->config.bytes = bytes;
		request->config.bandwidth = bandwidth;
		request->config.latency_ns = latency_ns;
		memcpy(request->config.name, words[1], length + 1);
		return CTL_OK;
	}
	if (strcmp(words[0], "remove") || count != 2) {
		if (strcmp(words[0], "inject") || count < 3) {
			ctl_error("npu: needs %s", opts.operands);
			return CTL_USAGE;
		}
	}
	status = opt_number("npu: ID", words[1], false, 0, UINT32_MAX, &request->id);
	if (status)
		return status;
	request->action = count == 2 ? REMOVE : INJECT;
	return count == 2 ? CTL_OK : parse_fault(count - 2, words + 2, request);
}

static int act(struct accel_dev *dev, struct request *request)
{
	uint32_t id;
	int err;

	switch (request->action) {
	case ADD:
		err = accel_npu_add(dev, &request->config, &id);
		if (!err)
			request->id = id;
		return err;
	case REMOVE:
		return accel_npu_remove(dev, request->id);
	case INJECT:
		break;
	}
	return accel_npu_inject(dev, request->id, request->fault, request->arg);
}

static int report(const char *uri, const char *action, const struct request *request)
{
	struct json_object *object;

	if (!json) {
		printf("%s: %s NPU %" PRIu64 "\n", uri, action, request->id);
		return CTL_OK;
	}
	object = json_object_new_object();
	ctl_json_string(object, "pool", uri);
	ctl_json_string(object, "action", action);
	ctl_json_u64(object, "npu", request->id);
	return ctl_json(object, CTL_OK);
}

int cmd_npu(int argc, char **argv)
{
	struct request request = { 0 };
	struct accel_dev *dev;
	int status, first, err;

	status = opts_parse(&opts, argc, argv, &first);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	status = parse(argc - first, argv + first, &request);
	if (status)
		return status;
	status = ctl_open(pool, &dev);
	if (status)
		return status;
	err = act(dev, &request);
	if (err) {
		ctl_error("npu %s %s: pool %s: %s", argv[first], argv[first + 1], accel_uri(dev),
			  strerror(-err));
		status = ctl_status(err);
	} else {
		status = report(accel_uri(dev), argv[first], &request);
	}
	accel_close(dev);
	return status;
}
