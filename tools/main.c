// SPDX-License-Identifier: MIT
/*
 * accelctl: shows a pool and works on it. This file only finds the command.
 */
#include <stdio.h>
#include <string.h>

#include "ctl.h"

static const struct ctl_command commands[] = {
	{ "list",	cmd_list,	"list the pools of this machine and their NPUs" },
	{ "info",	cmd_info,	"show a pool, its limits and the quota" },
	{ "stat",	cmd_stat,	"show what the copy engines did" },
	{ "top",	cmd_top,	"show rates, again and again" },
	{ "qos",	cmd_qos,	"show and set how copies share the NPUs' ports" },
	{ "doctor",	cmd_doctor,	"tell what this machine lacks, and the command that mends it" },
	{ "npu",	cmd_npu,	"add and remove NPUs, have them act out faults" },
	{ "replay",	cmd_replay,	"replay a serving trace through a KV cache in the pool" },
	{ "trace",	cmd_trace,	"write a synthetic serving trace" },
	{ "bench",	cmd_bench,	"measure what the pool promises" },
};

#define COMMANDS ARRAY_SIZE(commands)

static void usage(FILE *to)
{
	size_t i;

	fprintf(to, "Usage: accelctl COMMAND [OPTION]...\n\nCommands:\n");
	for (i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].about);
	fprintf(to, "\n`accelctl COMMAND --help` shows a command's options. Without --pool a command "
		"takes\nthe driver's pool where it is loaded and allowed, else soft:default.\n"
		"Exit status: 0 well, 1 a check failed, 2 usage, 3 bad input file, 4 no such device\n"
		"or not allowed, 5 no room, 6 another error of the system.\n");
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		usage(stderr);
		return CTL_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return CTL_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("accelctl %s\n", accel_version());
		return CTL_OK;
	}
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	ctl_error("no command '%s'; `accelctl --help` lists them", argv[1]);
	return CTL_USAGE;
}
