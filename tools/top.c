// SPDX-License-Identifier: MIT
/*
 * accelctl top: what happened between two readings, as rates, again and again.
 * On a terminal the table is redrawn in place, on a screen of its own that is
 * given back however the command ends.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "qos_info.h"

#define INTERVAL_MIN	10000000u
#define INTERVAL_MAX	3600000000000ull

/* Of xterm and all that came after it: the other screen, no cursor; then back. */
#define SCREEN_ENTER	"\033[?1049h\033[?25l"
#define SCREEN_LEAVE	"\033[?25h\033[?1049l"
#define SCREEN_HOME	"\033[H"
#define SCREEN_REST	"\033[J"
#define LINE_REST	"\033[K"

static const char *pool;
static uint64_t interval = 1000000000, samples;
static bool json;

static const struct opt table[] = {
	OPT_POOL(pool),
	{ "interval", 'i', OPT_TIME, &interval, "TIME", "between two readings", INTERVAL_MIN,
	  INTERVAL_MAX, 0 },
	{ "count", 'c', OPT_NUMBER, &samples, "N", "end after N intervals", 1, UINT32_MAX, 0 },
	{ "json", 'j', OPT_FLAG, &json, NULL, "print one JSON object a line, one each interval", 0,
	  0, 0 },
};

static const struct opts opts = {
	"top", "",
	"Show what the NPUs move: the rates of their engines and ports, what is in flight at the\n"
	"ports and may be, and of each class that moved something its rate, submits a second, how\n"
	"long 99 % of those that started in the interval had queued at most, missed deadlines and\n"
	"demotions.",
	table, ARRAY_SIZE(table), 0, 0,
};

struct reading {
	uint64_t time;		/* ns */
	struct accel_qos_info info;
	struct accel_npu_info *npus;
	struct accel_port_info *ports;
	struct accel_class_stats *classes;
	uint32_t npu_count, port_count, class_count;
};

static void drop(struct reading *reading)
{
	free(reading->npus);
	free(reading->ports);
	free(reading->classes);
	*reading = (struct reading){ 0 };
}

static int take_reading(struct accel_dev *dev, struct reading *reading)
{
	int status;

	*reading = (struct reading){ 0 };
	status = qos_info("top", dev, &reading->info);
	if (!status)
		status = ctl_npus(dev, &reading->npus, &reading->npu_count);
	if (!status)
		status = qos_ports("top", dev, &reading->ports, &reading->port_count);
	if (!status)
		status = qos_classes("top", dev, &reading->classes, &reading->class_count);
	if (status)
		drop(reading);
	reading->time = ctl_now();
	return status;
}

/* What a class did in between; false if it did nothing. An NPU that has just joined began at 0. */
static bool difference(const struct reading *from, const struct accel_class_stats *now,
		       struct accel_class_stats *did)
{
	const struct accel_class_stats *was = NULL;
	uint32_t i;

	for (i = 0; i < from->class_count && !was; i++)
		if (from->classes[i].npu == now->npu && from->classes[i].class_id == now->class_id)
			was = &from->classes[i];
	*did = *now;
	if (was) {
		did->jobs -= was->jobs;
		did->bytes -= was->bytes;
		did->missed -= was->missed;
		did->demoted -= was->demoted;
		did->refused -= was->refused;
		for (i = 0; i < ACCEL_TIME_BUCKETS; i++) {
			did->queue_ns[i] -= was->queue_ns[i];
			did->service_ns[i] -= was->service_ns[i];
		}
	}
	return did->jobs || did->bytes || did->refused;
}

/* Bytes that an NPU's engine moved in between, for all classes. */
static uint64_t moved(const struct reading *from, const struct reading *to, uint32_t npu)
{
	struct accel_class_stats did;
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < to->class_count; i++)
		if (to->classes[i].npu == npu && difference(from, &to->classes[i], &did))
			bytes += did.bytes;
	return bytes;
}

static const struct accel_port_info *port_of(const struct reading *reading, uint32_t npu,
					     uint32_t side)
{
	static const struct accel_port_info none;
	uint32_t i;

	for (i = 0; i < reading->port_count; i++)
		if (reading->ports[i].npu == npu && reading->ports[i].side == side)
			return &reading->ports[i];
	return &none;
}

/* GB a second through a port. */
static double port_rate(const struct reading *from, const struct reading *to, uint32_t npu,
			uint32_t side)
{
	double ns = to->time - from->time;

	return (port_of(to, npu, side)->moved - port_of(from, npu, side)->moved) / ns;
}

static void add_rate(struct json_object *object, const char *key, double rate)
{
	json_object_object_add(object, key, json_object_new_double(rate));
}

static struct json_object *port_json(const struct reading *from, const struct reading *to,
				     uint32_t npu, uint32_t side)
{
	const struct accel_port_info *port = port_of(to, npu, side);
	struct json_object *object = json_object_new_object();

	add_rate(object, "gbps", port_rate(from, to, npu, side));
	ctl_json_u64(object, "inflight", port->inflight);
	ctl_json_u64(object, "window", port->window);
	return object;
}

static struct json_object *class_json(const struct accel_class_stats *did, double ns)
{
	struct json_object *object = json_object_new_object();

	ctl_json_u64(object, "npu", did->npu);
	ctl_json_string(object, "class", qos_class_name(did->class_id));
	add_rate(object, "gbps", did->bytes / ns);
	add_rate(object, "jobs_per_s", did->jobs * 1e9 / ns);
	ctl_json_u64(object, "queue_p99_ns", accel_time_percentile(did->queue_ns, 990));
	ctl_json_u64(object, "missed", did->missed);
	ctl_json_u64(object, "demoted", did->demoted);
	ctl_json_u64(object, "refused", did->refused);
	return object;
}

static struct json_object *to_json(const char *uri, const struct reading *from,
				   const struct reading *to)
{
	struct json_object *object = json_object_new_object();
	struct json_object *npus = json_object_new_array(), *classes = json_object_new_array();
	struct accel_class_stats did;
	uint64_t ns = to->time - from->time;
	uint32_t i;

	for (i = 0; i < to->npu_count; i++) {
		struct json_object *npu = json_object_new_object();
		uint32_t id = to->npus[i].id;

		ctl_json_u64(npu, "npu", id);
		add_rate(npu, "gbps", (double)moved(from, to, id) / ns);
		json_object_object_add(npu, "read", port_json(from, to, id, 0));
		json_object_object_add(npu, "write", port_json(from, to, id, 1));
		json_object_array_add(npus, npu);
	}
	for (i = 0; i < to->class_count; i++)
		if (difference(from, &to->classes[i], &did))
			json_object_array_add(classes, class_json(&did, ns));
	ctl_json_string(object, "pool", uri);
	ctl_json_string(object, "policy", qos_policy_name(to->info.policy));
	ctl_json_u64(object, "interval_ns", ns);
	json_object_object_add(object, "npus", npus);
	json_object_object_add(object, "classes", classes);
	return object;
}

static void print_npus(const struct reading *from, const struct reading *to, const char *end)
{
	char text[4][CTL_TEXT_LEN];
	double ns = to->time - from->time;
	uint32_t i;

	printf("%4s %8s %9s %11s %11s %10s %11s %11s%s\n", "npu", "GB/s", "read GB/s", "in flight",
	       "at most", "write GB/s", "in flight", "at most", end);
	for (i = 0; i < to->npu_count; i++) {
		uint32_t id = to->npus[i].id;
		const struct accel_port_info *read = port_of(to, id, 0);
		const struct accel_port_info *write = port_of(to, id, 1);

		printf("%4u %8.2f %9.2f %11s %11s %10.2f %11s %11s%s\n", id,
		       moved(from, to, id) / ns, port_rate(from, to, id, 0),
		       ctl_bytes(read->inflight, text[0]),
		       ctl_bytes(read->window, text[1]), port_rate(from, to, id, 1),
		       ctl_bytes(write->inflight, text[2]),
		       ctl_bytes(write->window, text[3]), end);
	}
}

static void print_classes(const struct reading *from, const struct reading *to, const char *end)
{
	struct accel_class_stats did;
	char text[CTL_TEXT_LEN];
	double ns = to->time - from->time;
	uint32_t i;

	printf("%4s %-8s %8s %10s %11s %8s %8s %8s%s\n", "npu", "class", "GB/s", "jobs/s",
	       "queue p99", "missed", "demoted", "refused", end);
	for (i = 0; i < to->class_count; i++) {
		if (!difference(from, &to->classes[i], &did))
			continue;
		printf("%4u %-8s %8.2f %10.1f %11s %8" PRIu64 " %8" PRIu64 " %8" PRIu64 "%s\n",
		       did.npu, qos_class_name(did.class_id), did.bytes / ns, did.jobs * 1e9 / ns,
		       ctl_nanos(accel_time_percentile(did.queue_ns, 990), text), did.missed,
		       did.demoted, did.refused, end);
	}
}

static int print(const char *uri, const struct reading *from, const struct reading *to,
		 bool screen)
{
	const char *end = screen ? LINE_REST : "";
	char text[2][CTL_TEXT_LEN];

	if (json)
		return ctl_json_line(to_json(uri, from, to), CTL_OK);
	printf("%s%s  policy %s, slack %s, in %s%s\n%s\n", screen ? SCREEN_HOME : "", uri,
	       qos_policy_name(to->info.policy), ctl_nanos(to->info.slack_ns, text[0]),
	       ctl_nanos(to->time - from->time, text[1]), end, end);
	print_npus(from, to, end);
	printf("%s\n", end);
	print_classes(from, to, end);
	printf("%s", screen ? SCREEN_REST : "\n");
	if (fflush(stdout)) {
		ctl_error("standard output: %s", strerror(errno));
		return CTL_SYSTEM;
	}
	return CTL_OK;
}

/* The next reading is due an interval after the last one, however long that took to show. */
static int wait_interval(uint64_t last)
{
	uint64_t now = ctl_now();

	return ctl_sleep(now - last < interval ? interval - (now - last) : 0);
}

static int watch(struct accel_dev *dev, bool screen, int *ended_by)
{
	struct reading from, to;
	uint64_t shown;
	int status;

	status = take_reading(dev, &from);
	for (shown = 0; !status && (!samples || shown < samples); shown++) {
		*ended_by = wait_interval(from.time);
		if (*ended_by)
			break;
		status = take_reading(dev, &to);
		if (status)
			break;
		status = print(accel_uri(dev), &from, &to, screen);
		drop(&from);
		from = to;
	}
	drop(&from);
	return status;
}

int cmd_top(int argc, char **argv)
{
	struct accel_dev *dev;
	int status, ended_by = 0;
	bool screen;

	status = opts_parse(&opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	ctl_hold_signals();
	status = ctl_open(pool, &dev);
	if (status)
		return status;
	screen = !json && isatty(STDOUT_FILENO);
	if (screen)
		fputs(SCREEN_ENTER, stdout);
	status = watch(dev, screen, &ended_by);
	if (screen) {
		fputs(SCREEN_LEAVE, stdout);
		fflush(stdout);
	}
	accel_close(dev);
	if (ended_by)
		ctl_die(ended_by);
	return status;
}
