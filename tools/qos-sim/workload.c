// SPDX-License-Identifier: MIT
/*
 * What a port has to carry: bursts of a fixed size at a fixed rate, as a model
 * that is being served makes them, beside bulk copies and transfers with a
 * deadline that come at random and whose sizes are lognormal.
 */
#include <math.h>

#include "sim.h"

static double uniform(struct workload *load)
{
	u64 x = load->random += 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	x ^= x >> 31;
	/* Never 0, whose logarithm nobody wants. */
	return ((double)(x >> 11) + 0.5) / (double)(1ull << 53);
}

static double exponential(struct workload *load, double mean)
{
	return -log(uniform(load)) * mean;
}

static u64 lognormal(struct workload *load, double mean, double sigma)
{
	double normal = sqrt(-2 * log(uniform(load))) * cos(2 * M_PI * uniform(load));

	return (u64)(mean * exp(sigma * normal - sigma * sigma / 2)) + 1;
}

void workload_init(struct workload *load, double total, u64 seed)
{
	double rate = BANDWIDTH / 1e9;	/* bytes a ns */
	double bursts = (double)BURST_BYTES / (double)BURST_PERIOD / rate;

	*load = (struct workload){ .random = seed * 0x2545f4914f6cdd1dull };
	load->deadline_gap = DEADLINE_MEAN / (DEADLINE_LOAD * rate);
	load->bulk_gap = BULK_MEAN / ((total - bursts - DEADLINE_LOAD) * rate);
	load->latency = (u64)(uniform(load) * (double)BURST_PERIOD);
	load->bulk = (u64)exponential(load, load->bulk_gap);
	load->deadline = (u64)exponential(load, load->deadline_gap);
}

u64 workload_next(const struct workload *load)
{
	u64 next = load->latency < load->bulk ? load->latency : load->bulk;

	return next < load->deadline ? next : load->deadline;
}

struct job *workload_draw(struct workload *load, u32 *bulk_queue)
{
	struct job *job = allocated(calloc(1, sizeof(*job)));

	job->arrived = workload_next(load);
	if (job->arrived == load->latency) {
		job->class = QOS_LATENCY;
		job->bytes = BURST_BYTES;
		load->latency += BURST_PERIOD;
	} else if (job->arrived == load->bulk) {
		job->class = QOS_BULK;
		job->copy = true;
		job->bytes = lognormal(load, BULK_MEAN, BULK_SIGMA);
		*bulk_queue = (u32)(uniform(load) * BULK_QUEUES);
		load->bulk += (u64)exponential(load, load->bulk_gap) + 1;
	} else {
		double times = DEADLINE_TIGHT + uniform(load) * (DEADLINE_LOOSE - DEADLINE_TIGHT);

		job->class = QOS_DEADLINE;
		job->bytes = lognormal(load, DEADLINE_MEAN, DEADLINE_SIGMA);
		job->deadline = job->arrived +
				(u64)(times * (double)job->bytes * 1e9 / (double)BANDWIDTH);
		load->deadline += (u64)exponential(load, load->deadline_gap) + 1;
	}
	job->left = job->bytes;
	return job;
}
