// SPDX-License-Identifier: MIT
/* qos-sim: the arbiter and its competitors under the same traffic, in simulated time. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "sim.h"

#define SEEDS 5u
#define SECONDS 4.0
#define OVERHEAD 500ull
#define MAX_SEEDS 1000u
#define MAX_SECONDS 1000.0
#define MAX_OVERHEAD NS_PER_MS

static const double loads[] = { 0.6, 0.75, 0.85 };

#define LOADS (sizeof(loads) / sizeof(loads[0]))

static void usage(FILE *out)
{
	fprintf(out, "usage: qos-sim [--json] [--seeds N] [--seconds S] [--seed K]\n"
		"               [--overhead NS] [--slack NS]\n"
		"\n"
		"Simulates an NPU's port under each policy and load.\n"
		"\n"
		"  --json         print one list of objects\n"
		"  --seeds N      runs of each, merged (%u)\n"
		"  --seconds S    simulated in each run (%g)\n"
		"  --seed K       the first seed (1); the same seeds give the same result\n"
		"  --overhead NS  what a window takes beside its bytes (%llu)\n"
		"  --slack NS     what windows may make a burst wait (%llu)\n", SEEDS, SECONDS,
		OVERHEAD, (unsigned long long)QOS_SLACK);
}

static double number(const char *name, const char *text, double least, double most)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (!errno && end != text && !*end && value >= least && value <= most)
		return value;
	fprintf(stderr, "qos-sim: --%s is from %g to %g, not '%s'\n", name, least, most, text);
	exit(2);
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "seeds", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 't' },
		{ "seed", required_argument, NULL, 'k' },
		{ "overhead", required_argument, NULL, 'o' },
		{ "slack", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", known, NULL)) != -1)
		switch (c) {
		case 'j':
			options->json = true;
			break;
		case 'n':
			options->seeds = (u32)number("seeds", optarg, 1, MAX_SEEDS);
			break;
		case 't':
			options->seconds = number("seconds", optarg, 0.01, MAX_SECONDS);
			break;
		case 'k':
			options->seed = (u64)number("seed", optarg, 0, 1e15);
			break;
		case 'o':
			options->overhead = (u64)number("overhead", optarg, 0, MAX_OVERHEAD);
			break;
		case 's':
			options->slack = (u64)number("slack", optarg, QOS_MIN_SLACK, QOS_MAX_SLACK);
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	if (optind == argc)
		return;
	usage(stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	struct options options = {
		.seed = 1, .seeds = SEEDS, .seconds = SECONDS, .overhead = OVERHEAD,
		.slack = QOS_SLACK,
	};
	size_t count = scheduler_count * LOADS, i;
	struct result *results = allocated(calloc(count, sizeof(*results)));
	bool progress = isatty(STDERR_FILENO);
	u32 seed;

	parse(argc, argv, &options);
	for (i = 0; i < count; i++) {
		const struct scheduler *scheduler = &schedulers[i / LOADS];

		results[i].policy = scheduler->name;
		results[i].load = loads[i % LOADS];
		for (seed = 0; seed < options.seeds; seed++) {
			if (progress)
				fprintf(stderr, "\rqos-sim: %s at %.2f, %u of %u\033[K",
					scheduler->name, loads[i % LOADS], seed + 1,
					options.seeds);
			engine_run(scheduler, &options, loads[i % LOADS], options.seed + seed,
				   &results[i].stats);
		}
	}
	if (progress)
		fputs("\r\033[K", stderr);
	if (options.json)
		output_json(results, count);
	else
		output_text(&options, results, count);
	for (i = 0; i < count; i++)
		stats_free(&results[i].stats);
	free(results);
	return 0;
}
