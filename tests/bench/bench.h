/* SPDX-License-Identifier: MIT */
/*
 * What the benchmarks share: time, samples, and rows of results as a table or,
 * with --json, as one object a line that tests/bench/run makes a list of.
 *
 * All samples are nanoseconds of one operation. A row holds npool against a peer
 * measured in the same run, or against a limit.
 */
#ifndef BENCH_H
#define BENCH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* kselftest's word for a test that cannot run here. */
#define EXIT_SKIP 4

struct samples {
	double *ns, *sorted;
	size_t count, room;
};

/* One line of results; a zero means that there is none. */
struct row {
	const char *group, *what, *peer_name;
	struct samples *ours, *peer;
	uint64_t bytes;		/* that one operation moves */
	bool paired;		/* samples were taken in pairs: ratio is the median of theirs */
	bool cost;		/* ratio is ours over the peer's */
	double min_ratio;	/* target: peer's median over ours */
	double max_ns;		/* target: our median */
};

static bool bench_json;

/* Ends the benchmark when something that must not fail does. */
#define check(call) \
	do { \
		long check_err = (call); \
		if (check_err) { \
			fprintf(stderr, "bench: %s:%d: %s is %ld\n", __FILE__, __LINE__, #call, \
				check_err); \
			exit(1); \
		} \
	} while (0)

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void sample(struct samples *s, double ns)
{
	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 1024;
		s->ns = realloc(s->ns, s->room * sizeof(*s->ns));
		check(!s->ns);
	}
	s->ns[s->count++] = ns;
	free(s->sorted);
	s->sorted = NULL;
}

static inline void samples_free(struct samples *s)
{
	free(s->ns);
	free(s->sorted);
	*s = (struct samples){ 0 };
}

static inline int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline void samples_sort(struct samples *s)
{
	if (s->sorted || !s->count)
		return;
	s->sorted = malloc(s->count * sizeof(*s->sorted));
	check(!s->sorted);
	memcpy(s->sorted, s->ns, s->count * sizeof(*s->sorted));
	qsort(s->sorted, s->count, sizeof(*s->sorted), bench_compare);
}

static inline double quantile(struct samples *s, double q)
{
	if (!s || !s->count)
		return 0;
	samples_sort(s);
	return s->sorted[(size_t)(q * (s->count - 1) + 0.5)];
}

/* Mean of the middle half: for clocks that tick too slowly for a median to mean much. */
static inline double middle_mean(struct samples *s)
{
	size_t first = s->count / 4, last = s->count - first;
	double sum = 0;

	samples_sort(s);
	for (size_t i = first; i < last; i++)
		sum += s->sorted[i];
	return sum / (last - first);
}

static inline const char *time_text(char *buf, size_t size, double ns)
{
	if (!ns)
		snprintf(buf, size, "-");
	else if (ns < 10000)
		snprintf(buf, size, "%.0f ns", ns);
	else if (ns < 10e6)
		snprintf(buf, size, "%.1f us", ns / 1e3);
	else
		snprintf(buf, size, "%.1f ms", ns / 1e6);
	return buf;
}

static inline void row_json(const struct row *row, double ratio, const char *verdict)
{
	printf("{\"group\": \"%s\", \"what\": \"%s\", \"bytes\": %llu, ", row->group, row->what,
	       (unsigned long long)row->bytes);
	printf("\"p50_ns\": %.1f, \"p99_ns\": %.1f, ", quantile(row->ours, 0.5),
	       quantile(row->ours, 0.99));
	if (row->peer)
		printf("\"peer\": \"%s\", \"peer_p50_ns\": %.1f, \"peer_p99_ns\": %.1f, \"ratio\": %.3f, ",
		       row->peer_name, quantile(row->peer, 0.5), quantile(row->peer, 0.99), ratio);
	if (row->min_ratio)
		printf("\"min_ratio\": %g, ", row->min_ratio);
	if (row->max_ns)
		printf("\"max_ns\": %g, ", row->max_ns);
	printf("\"target\": \"%s\"}\n", verdict);
}

static inline void row_text(const struct row *row, double ratio, const char *verdict)
{
	char text[4][24], target[40] = "", factor[16] = "", rate[16] = "";
	double p50 = quantile(row->ours, 0.5);

	if (row->peer)
		snprintf(factor, sizeof(factor), "%.*f", ratio < 100 ? 2 : 0, ratio);
	if (row->bytes)
		snprintf(rate, sizeof(rate), "%.1f GB/s", row->bytes / p50);
	if (row->min_ratio)
		snprintf(target, sizeof(target), ">= %g ", row->min_ratio);
	if (row->max_ns)
		snprintf(target, sizeof(target), "< %s ",
			 time_text(text[0], sizeof(text[0]), row->max_ns));
	printf("%-38s %9s %9s %10s  %-12s %9s %9s %6s  %s%s\n", row->what,
	       time_text(text[0], sizeof(text[0]), p50),
	       time_text(text[1], sizeof(text[1]), quantile(row->ours, 0.99)), rate,
	       row->peer ? row->peer_name : "",
	       time_text(text[2], sizeof(text[2]), quantile(row->peer, 0.5)),
	       time_text(text[3], sizeof(text[3]), quantile(row->peer, 0.99)), factor, target,
	       verdict);
}

/* What disturbs this machine for a while disturbs both samples of a pair. */
static inline double ratio_of(const struct row *row)
{
	struct samples ratios = { 0 };
	double ratio;

	if (row->cost)
		return quantile(row->ours, 0.5) / quantile(row->peer, 0.5);
	if (!row->paired)
		return quantile(row->peer, 0.5) / quantile(row->ours, 0.5);
	for (size_t i = 0; i < row->ours->count; i++)
		sample(&ratios, row->peer->ns[i] / row->ours->ns[i]);
	ratio = quantile(&ratios, 0.5);
	samples_free(&ratios);
	return ratio;
}

static inline void row_print(const struct row *row)
{
	double ratio = ratio_of(row), ours = quantile(row->ours, 0.5);
	const char *verdict = "none";
	bool met = true;

	if (row->min_ratio)
		met = ratio >= row->min_ratio;
	if (row->max_ns)
		met = ours < row->max_ns;
	if (row->min_ratio || row->max_ns)
		verdict = met ? "met" : "missed";
	if (bench_json)
		row_json(row, ratio, verdict);
	else
		row_text(row, ratio, row->min_ratio || row->max_ns ? verdict : "");
	fflush(stdout);
}

/* Prints the head of a table and takes --json, the only option there is. */
static inline void bench_begin(int argc, char **argv, const char *title)
{
	bench_json = argc == 2 && !strcmp(argv[1], "--json");
	if (argc > 1 && !bench_json) {
		fprintf(stderr, "usage: %s [--json]\n", argv[0]);
		exit(2);
	}
	if (!bench_json)
		printf("\n%s\n%-38s %9s %9s %10s  %-12s %9s %9s %6s  %s\n", title, "", "p50", "p99",
		       "rate", "against", "p50", "p99", "ratio", "target");
}

#endif
