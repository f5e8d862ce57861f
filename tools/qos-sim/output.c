// SPDX-License-Identifier: MIT
/* What came of it, for people and for programs. */
#include <stdio.h>

#include <json-c/json.h>

#include "sim.h"

#define IDEAL_NS (BURST_BYTES * NS_PER_S / BANDWIDTH)

static const char *time_text(char *buf, size_t size, u64 ns)
{
	if (ns < NS_PER_MS)
		snprintf(buf, size, "%.1f us", (double)ns / 1e3);
	else
		snprintf(buf, size, "%.2f ms", (double)ns / 1e6);
	return buf;
}

static double gbps(const struct stats *stats)
{
	return (double)stats->bulk_bytes / stats->seconds / 1e9;
}

void output_text(const struct options *options, struct result *results, size_t count)
{
	char text[4][24];
	size_t i;

	printf("A port of %.0f GB/s, %llu ns a window beside its bytes;\n"
	       "bursts of %.1f MB every %llu us (alone %s),\n"
	       "transfers of %.0f MB with a deadline (load %g), bulk of %.0f MB.\n"
	       "%u seeds from %llu, %g simulated seconds each.\n\n", BANDWIDTH / 1e9,
	       (unsigned long long)options->overhead, BURST_BYTES / 1e6, BURST_PERIOD / NS_PER_US,
	       time_text(text[0], sizeof(text[0]), IDEAL_NS), DEADLINE_MEAN / 1e6, DEADLINE_LOAD,
	       BULK_MEAN / 1e6, options->seeds, (unsigned long long)options->seed,
	       options->seconds);
	printf("%-15s %5s %10s %10s %6s %10s %11s %9s %9s %8s\n", "policy", "load", "burst p99",
	       "p99.9", "/alone", "bulk p99", "bulk", "admitted", "refused", "missed");
	for (i = 0; i < count; i++) {
		struct stats *stats = &results[i].stats;
		u64 tail = times_at(&stats->latency, 0.999);

		printf("%-15s %5.2f %10s %10s %6.2f %10s %6.1f GB/s %9llu %9llu %8llu\n",
		       results[i].policy, results[i].load,
		       time_text(text[0], sizeof(text[0]), times_at(&stats->latency, 0.99)),
		       time_text(text[1], sizeof(text[1]), tail), (double)tail / IDEAL_NS,
		       time_text(text[2], sizeof(text[2]), times_at(&stats->bulk, 0.99)),
		       gbps(stats), (unsigned long long)stats->admitted,
		       (unsigned long long)stats->refused, (unsigned long long)stats->missed);
	}
}

static void number(struct json_object *object, const char *name, u64 value)
{
	json_object_object_add(object, name, json_object_new_int64((int64_t)value));
}

static void decimal(struct json_object *object, const char *name, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.6g", value);
	json_object_object_add(object, name, json_object_new_double_s(value, text));
}

static struct json_object *to_json(struct result *result)
{
	struct json_object *object = json_object_new_object();
	struct stats *stats = &result->stats;

	json_object_object_add(object, "policy", json_object_new_string(result->policy));
	decimal(object, "load", result->load);
	number(object, "latency_p99_ns", times_at(&stats->latency, 0.99));
	number(object, "latency_p999_ns", times_at(&stats->latency, 0.999));
	number(object, "ideal_ns", IDEAL_NS);
	decimal(object, "bulk_gbps", gbps(stats));
	number(object, "deadline_admitted", stats->admitted);
	number(object, "deadline_missed", stats->missed);
	number(object, "deadline_refused", stats->refused);
	number(object, "latency_count", stats->latency.count);
	number(object, "bulk_count", stats->bulk.count);
	number(object, "bulk_p99_ns", times_at(&stats->bulk, 0.99));
	number(object, "window", stats->window);
	number(object, "bandwidth", stats->bandwidth);
	number(object, "overhead_ns", stats->overhead);
	return object;
}

void output_json(struct result *results, size_t count)
{
	struct json_object *list = json_object_new_array();
	size_t i;

	for (i = 0; i < count; i++)
		json_object_array_add(list, to_json(&results[i]));
	puts(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY));
	json_object_put(list);
}
