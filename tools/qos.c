// SPDX-License-Identifier: MIT
/* accelctl qos: shows and sets how copies share the NPUs' ports, and grants rights to reserve. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "qos_info.h"

#define SLACK_MIN	1000u
#define SLACK_MAX	100000000u

static const char *pool, *policy_name, *rate_text;
static uint64_t slack, client, rate;
static bool json;

static const struct opt show_table[] = {
	OPT_POOL(pool),
	OPT_JSON(json),
};

static const struct opts show_opts = {
	"qos show", "",
	"Show the policy, the slack that sizes windows, and each NPU's ports: bandwidth and\n"
	"overhead of a window as measured, most bytes in flight, what is in flight, reserved and\n"
	"promised to deadlines; and what each class has had so far.",
	show_table, ARRAY_SIZE(show_table), 0, 0,
};

static const struct opt set_table[] = {
	OPT_POOL(pool),
	{ "policy", 'P', OPT_TEXT, &policy_name, "NAME", "hybrid, or to compare fifo, strict, "
	  "strict-windows", 0, 0, 0 },
	{ "slack", 's', OPT_TIME, &slack, "TIME", "that windows may make the latency class wait",
	  SLACK_MIN, SLACK_MAX, 0 },
	OPT_JSON(json),
};

static const struct opts set_opts = {
	"qos set", "",
	"Set the policy or the slack of a pool. On drm: this needs root. A soft: pool ends with\n"
	"its last user, so there it makes sense beside a program that has it open.",
	set_table, ARRAY_SIZE(set_table), 0, 0,
};

static const struct opt reserve_table[] = {
	OPT_POOL(pool),
	{ "client", 'c', OPT_NUMBER, &client, "ID", "number of the open pool, as its program has it "
	  "from accel_client_id()", 1, UINT64_MAX, 0 },
	{ "rate", 'r', OPT_TEXT, &rate_text, "BYTES", "a second that it may reserve; 0 takes the "
	  "right back", 0, 0, 0 },
	OPT_JSON(json),
};

static const struct opts reserve_opts = {
	"qos reserve", "--client ID --rate BYTES",
	"Let a program without privilege reserve up to a rate for its control and latency\n"
	"queues. What it has reserved already stays. On drm: this needs root.",
	reserve_table, ARRAY_SIZE(reserve_table), 0, 0,
};

static int failed(const char *what, struct accel_dev *dev, int err)
{
	ctl_error("%s: pool %s: %s%s", what, accel_uri(dev), strerror(-err),
		  err == -EPERM ? "; this needs root" : "");
	return ctl_status(err);
}

/* What `show` shows, read at once. */
struct view {
	struct accel_qos_info info;
	struct accel_port_info *ports;
	struct accel_class_stats *classes;
	uint32_t port_count, class_count;
};

static int look(struct accel_dev *dev, struct view *view)
{
	int status;

	status = qos_info("qos show", dev, &view->info);
	if (status)
		return status;
	status = qos_ports("qos show", dev, &view->ports, &view->port_count);
	if (status)
		return status;
	status = qos_classes("qos show", dev, &view->classes, &view->class_count);
	if (status)
		free(view->ports);
	return status;
}

static struct json_object *ports_json(const struct view *view)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < view->port_count; i++) {
		const struct accel_port_info *port = &view->ports[i];
		struct json_object *object = json_object_new_object();

		ctl_json_u64(object, "npu", port->npu);
		ctl_json_string(object, "side", port->side ? "write" : "read");
		ctl_json_u64(object, "bandwidth", port->bandwidth);
		ctl_json_u64(object, "overhead_ns", port->overhead_ns);
		ctl_json_u64(object, "window", port->window);
		ctl_json_u64(object, "inflight", port->inflight);
		ctl_json_u64(object, "reserved", port->reserved);
		ctl_json_u64(object, "promised", port->promised);
		ctl_json_u64(object, "moved", port->moved);
		json_object_array_add(list, object);
	}
	return list;
}

static struct json_object *classes_json(const struct view *view)
{
	struct json_object *list = json_object_new_array();
	uint32_t i;

	for (i = 0; i < view->class_count; i++) {
		struct json_object *object = json_object_new_object();

		ctl_json_u64(object, "npu", view->classes[i].npu);
		ctl_json_string(object, "class", qos_class_name(view->classes[i].class_id));
		ctl_json_u64(object, "jobs", view->classes[i].jobs);
		ctl_json_u64(object, "bytes", view->classes[i].bytes);
		json_object_array_add(list, object);
	}
	return list;
}

static struct json_object *view_json(const char *uri, const struct view *view)
{
	struct json_object *object = json_object_new_object();

	ctl_json_string(object, "pool", uri);
	ctl_json_string(object, "policy", qos_policy_name(view->info.policy));
	ctl_json_u64(object, "slack_ns", view->info.slack_ns);
	json_object_object_add(object, "ports", ports_json(view));
	json_object_object_add(object, "classes", classes_json(view));
	return object;
}

static void print_ports(const struct view *view)
{
	char window[CTL_TEXT_LEN], inflight[CTL_TEXT_LEN], reserved[CTL_TEXT_LEN];
	char promised[CTL_TEXT_LEN], overhead[CTL_TEXT_LEN];
	uint32_t i;

	printf("\n%4s %-5s %10s %10s %11s %11s %13s %11s\n", "npu", "port", "GB/s", "overhead",
	       "window", "in flight", "reserved/s", "promised");
	for (i = 0; i < view->port_count; i++) {
		const struct accel_port_info *port = &view->ports[i];

		printf("%4u %-5s %10.2f %10s %11s %11s %13s %11s\n", port->npu,
		       port->side ? "write" : "read", port->bandwidth / 1e9,
		       ctl_nanos(port->overhead_ns, overhead), ctl_bytes(port->window, window),
		       ctl_bytes(port->inflight, inflight), ctl_bytes(port->reserved, reserved),
		       ctl_bytes(port->promised, promised));
	}
}

static void print_classes(const struct view *view)
{
	uint64_t jobs[ACCEL_CLASSES] = { 0 }, bytes[ACCEL_CLASSES] = { 0 };
	char moved[CTL_TEXT_LEN];
	uint32_t i;

	for (i = 0; i < view->class_count; i++) {
		if (view->classes[i].class_id >= ACCEL_CLASSES)
			continue;
		jobs[view->classes[i].class_id] += view->classes[i].jobs;
		bytes[view->classes[i].class_id] += view->classes[i].bytes;
	}
	printf("\n%-8s %12s %12s\n", "class", "jobs", "moved");
	for (i = 0; i < ACCEL_CLASSES; i++)
		printf("%-8s %12" PRIu64 " %12s\n", qos_class_name(i), jobs[i],
		       ctl_bytes(bytes[i], moved));
}

static int parsed_open(const struct opts *opts, int argc, char **argv, struct accel_dev **dev)
{
	int status = opts_parse(opts, argc, argv, NULL);

	return status ? status : ctl_open(pool, dev);
}

static int show(int argc, char **argv)
{
	struct accel_dev *dev;
	struct view view;
	char text[CTL_TEXT_LEN];
	int status;

	status = parsed_open(&show_opts, argc, argv, &dev);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	status = look(dev, &view);
	if (status)
		goto out_dev;
	if (json) {
		status = ctl_json(view_json(accel_uri(dev), &view), CTL_OK);
	} else {
		printf("pool    %s\npolicy  %s\nslack   %s\n", accel_uri(dev),
		       qos_policy_name(view.info.policy), ctl_nanos(view.info.slack_ns, text));
		print_ports(&view);
		print_classes(&view);
	}
	free(view.ports);
	free(view.classes);
out_dev:
	accel_close(dev);
	return status;
}

static int report_set(struct accel_dev *dev)
{
	struct json_object *object;
	struct accel_qos_info info;
	char text[CTL_TEXT_LEN];
	int status = qos_info("qos set", dev, &info);

	if (status)
		return status;
	if (!json) {
		printf("%s: policy %s, slack %s\n", accel_uri(dev), qos_policy_name(info.policy),
		       ctl_nanos(info.slack_ns, text));
		return CTL_OK;
	}
	object = json_object_new_object();
	ctl_json_string(object, "pool", accel_uri(dev));
	ctl_json_string(object, "policy", qos_policy_name(info.policy));
	ctl_json_u64(object, "slack_ns", info.slack_ns);
	return ctl_json(object, CTL_OK);
}

static int set(int argc, char **argv)
{
	enum accel_policy policy = ACCEL_POLICY_HYBRID;
	struct accel_dev *dev;
	int status, err = 0;

	status = opts_parse(&set_opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	if (!policy_name && !slack) {
		ctl_error("qos set: needs --policy or --slack");
		return CTL_USAGE;
	}
	if (policy_name && !qos_policy_named(policy_name, &policy)) {
		ctl_error("--policy: '%s' is none of hybrid, fifo, strict and strict-windows",
			  policy_name);
		return CTL_USAGE;
	}
	status = ctl_open(pool, &dev);
	if (status)
		return status;
	if (policy_name)
		err = accel_qos_set_policy(dev, policy);
	if (!err && slack)
		err = accel_qos_set_slack(dev, slack);
	status = err ? failed("qos set", dev, err) : report_set(dev);
	accel_close(dev);
	return status;
}

static int report_reserve(const char *uri)
{
	struct json_object *object;
	char text[CTL_TEXT_LEN];

	if (!json) {
		if (rate)
			printf("%s: client %" PRIu64 " may reserve %s a second\n", uri, client,
			       ctl_bytes(rate, text));
		else
			printf("%s: client %" PRIu64 " may reserve nothing more\n", uri, client);
		return CTL_OK;
	}
	object = json_object_new_object();
	ctl_json_string(object, "pool", uri);
	ctl_json_u64(object, "client", client);
	ctl_json_u64(object, "rate", rate);
	return ctl_json(object, CTL_OK);
}

static int reserve(int argc, char **argv)
{
	struct accel_dev *dev;
	int status, err;

	status = opts_parse(&reserve_opts, argc, argv, NULL);
	if (status)
		return status == OPTS_DONE ? CTL_OK : status;
	if (!client || !rate_text) {
		ctl_error("qos reserve: needs --client and --rate");
		return CTL_USAGE;
	}
	status = opt_number("--rate", rate_text, true, 0, UINT64_MAX, &rate);
	if (status)
		return status;
	status = ctl_open(pool, &dev);
	if (status)
		return status;
	err = accel_qos_grant(dev, client, rate);
	if (err == -ENOENT) {
		ctl_error("qos reserve: pool %s: no client %" PRIu64, accel_uri(dev), client);
		status = CTL_DEVICE;
	} else if (err) {
		status = failed("qos reserve", dev, err);
	} else {
		status = report_reserve(accel_uri(dev));
	}
	accel_close(dev);
	return status;
}

int cmd_qos(int argc, char **argv)
{
	static const struct ctl_command commands[] = {
		{ "show", show, "show the policy, the ports and the classes" },
		{ "set", set, "set the policy or the slack" },
		{ "reserve", reserve, "let a client reserve up to a rate" },
	};

	return ctl_sub("qos", "Show and set how copies share the NPUs' ports.", commands,
		       ARRAY_SIZE(commands), argc, argv);
}
