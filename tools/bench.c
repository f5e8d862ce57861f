// SPDX-License-Identifier: MIT
/* accelctl bench: measurements of what a pool promises, one a file. */
#include "ctl.h"

int cmd_bench(int argc, char **argv)
{
	static const struct ctl_command commands[] = {
		{ "qos", cmd_bench_qos, "what a latency-class copy waits beside bulk" },
		{ "ep", cmd_bench_ep, "expert dispatch and combine, beside MPI" },
	};

	return ctl_sub("bench", "Measure what the pool promises.", commands, ARRAY_SIZE(commands),
		       argc, argv);
}
