// SPDX-License-Identifier: MIT
/*
 * The clock and the engine: windows one after the other, arrivals in between.
 * Deadlines are asked for at the real port whatever the policy, so that all are
 * measured by the same promises.
 */
#include "sim.h"

/* An even port is read from, the odd one is the one that is written to. */
#define PORTS 2u
#define PORT 1u

struct engine {
	struct qos_port port[PORTS];
	struct qos_ports ports;
	const struct options *options;
	const struct scheduler *scheduler;
	void *state;
	struct workload load;
	struct stats *stats;
	u64 now;
	u64 from, until;	/* arrivals and bytes between them are measured */
	u64 waiting;		/* jobs that are not done */
};

const struct scheduler schedulers[] = {
	{ "fifo", QOS_FIFO, arbiter_create, arbiter_add, arbiter_next, arbiter_moved,
	  arbiter_destroy },
	{ "strict", QOS_STRICT, arbiter_create, arbiter_add, arbiter_next, arbiter_moved,
	  arbiter_destroy },
	{ "strict_windows", QOS_STRICT_WINDOWS, arbiter_create, arbiter_add, arbiter_next,
	  arbiter_moved, arbiter_destroy },
	{ "promotion", QOS_HYBRID, promotion_create, promotion_add, promotion_next,
	  promotion_moved, promotion_destroy },
	{ "hybrid", QOS_HYBRID, arbiter_create, arbiter_add, arbiter_next, arbiter_moved,
	  arbiter_destroy },
};

const u32 scheduler_count = sizeof(schedulers) / sizeof(schedulers[0]);

static void admit(struct engine *engine, struct job *job)
{
	u64 held = 0, earliest;

	job->demand = (struct qos_demand){ .port = PORT, .bytes = job->bytes };
	if (qos_admit(&engine->ports, &job->demand, 1, &held, 1024, job->deadline, job->arrived,
		      &earliest) == QOS_OK) {
		engine->stats->admitted += job->measured;
		return;
	}
	engine->stats->refused += job->measured;
	job->class = QOS_BULK;
	job->deadline = 0;
}

static void arrive(struct engine *engine)
{
	u32 bulk_queue = BULK_QUEUES;
	struct job *job = workload_draw(&engine->load, &bulk_queue);

	job->measured = job->arrived >= engine->from;
	if (job->class == QOS_DEADLINE)
		admit(engine, job);
	engine->waiting++;
	engine->scheduler->add(engine->state, job, bulk_queue, job->arrived);
}

static void arrivals(struct engine *engine, u64 until)
{
	if (until > engine->until)
		until = engine->until;
	while (workload_next(&engine->load) < until)
		arrive(engine);
}

static void finish(struct engine *engine, struct job *job)
{
	struct stats *stats = engine->stats;
	u64 ns = engine->now - job->arrived;

	if (job->measured && job->class == QOS_LATENCY)
		times_add(&stats->latency, ns);
	if (job->measured && job->copy)
		times_add(&stats->bulk, ns);
	if (job->measured && job->deadline && engine->now > job->deadline)
		stats->missed++;
	qos_demand_end(&engine->ports, &job->demand);
	engine->waiting--;
}

static void window(struct engine *engine, struct job *job, u64 bytes)
{
	u64 end = engine->now + engine->options->overhead + bytes * NS_PER_S / BANDWIDTH;

	arrivals(engine, end);
	engine->now = end;
	job->left -= bytes;
	if (job->copy && end >= engine->from && end < engine->until)
		engine->stats->bulk_bytes += bytes;
	qos_demand_moved(&engine->ports, &job->demand, bytes);
	if (!job->left)
		finish(engine, job);
	engine->scheduler->moved(engine->state, job, bytes, end);
	if (!job->left)
		free(job);
}

static void loop(struct engine *engine)
{
	for (;;) {
		struct job *job;
		u64 bytes;

		if (!engine->waiting) {
			engine->now = workload_next(&engine->load);
			if (engine->now >= engine->until)
				return;
		}
		arrivals(engine, engine->now + 1);
		job = engine->scheduler->next(engine->state, engine->now, &bytes);
		if (!job)
			abort();
		window(engine, job, bytes);
	}
}

void engine_run(const struct scheduler *scheduler, const struct options *options, double load,
		u64 seed, struct stats *stats)
{
	struct engine engine = {
		.options = options,
		.scheduler = scheduler,
		.stats = stats,
		.from = (u64)(options->seconds * WARM_UP * 1e9),
		.until = (u64)(options->seconds * (1 + WARM_UP) * 1e9),
	};
	const struct qos_params burst = { .budget = BURST_BYTES, .period = BURST_PERIOD };
	u32 i;

	engine.ports = (struct qos_ports){ .port = engine.port, .count = PORTS };
	for (i = 0; i < PORTS; i++)
		qos_port_init(&engine.port[i], BANDWIDTH, options->slack, scheduler->policy);
	if (qos_reserve(&engine.ports, PORT, qos_rate(&burst), burst.budget, 0) != QOS_OK)
		abort();
	workload_init(&engine.load, load, seed);
	engine.state = scheduler->create(scheduler, &engine.ports);
	loop(&engine);
	scheduler->destroy(engine.state);
	stats->seconds += options->seconds;
	stats->window = engine.port[PORT].window;
	stats->bandwidth = engine.port[PORT].bandwidth;
	stats->overhead = engine.port[PORT].overhead;
}
