// SPDX-License-Identifier: MIT
/*
 * Options from tables: one place that parses, checks ranges, names what is wrong
 * and prints --help. Nothing of a command is known here.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

#define OPTS_MAX 24
#define HELP_INDEX OPTS_MAX		/* val of --help, beyond any table's index */
#define LONG_BASE 256			/* getopt's val of option i is LONG_BASE + i */

static int suffix_shift(char letter)
{
	switch (toupper((unsigned char)letter)) {
	case 'K':
		return 10;
	case 'M':
		return 20;
	case 'G':
		return 30;
	case 'T':
		return 40;
	}
	return -1;
}

int opt_number(const char *what, const char *text, bool size, uint64_t min, uint64_t max,
	       uint64_t *value)
{
	unsigned long long number;
	char *end;
	int shift = 0;

	/* strtoull() takes signs and blanks, and turns -1 into a huge number. */
	if (!isdigit((unsigned char)text[0])) {
		ctl_error("%s: '%s' is not a %s", what, text,
			  size ? "size (a number, with K, M, G or T after it if wanted)" :
				 "whole number");
		return CTL_USAGE;
	}
	errno = 0;
	number = strtoull(text, &end, 10);
	if (size && *end && !end[1] && suffix_shift(*end) >= 0)
		shift = suffix_shift(*end++);
	if (*end) {
		ctl_error("%s: '%s' has '%s' after the number", what, text, end);
		return CTL_USAGE;
	}
	if (errno == ERANGE || number > UINT64_MAX >> shift) {
		ctl_error("%s: '%s' is too large for a 64-bit number", what, text);
		return CTL_USAGE;
	}
	number <<= shift;
	if (number < min || number > max) {
		ctl_error("%s: '%s' is not between %" PRIu64 " and %" PRIu64, what, text, min, max);
		return CTL_USAGE;
	}
	*value = number;
	return CTL_OK;
}

/* As with sizes, no fractions: there is a smaller unit for them. */
static int parse_time(const char *what, const char *text, const struct opt *opt)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };
	char least[CTL_TEXT_LEN], most[CTL_TEXT_LEN], *end;
	unsigned long long number;
	size_t i;

	errno = 0;
	number = strtoull(text, &end, 10);
	for (i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].name))
			break;
	if (!isdigit((unsigned char)text[0]) || i == ARRAY_SIZE(units)) {
		ctl_error("%s: '%s' is not a time (a whole number with ns, us, ms or s after it)",
			  what, text);
		return CTL_USAGE;
	}
	if (errno == ERANGE || number < opt->min / units[i].ns || number > opt->max / units[i].ns ||
	    number * units[i].ns < opt->min) {
		ctl_error("%s: '%s' is not between %s and %s", what, text,
			  ctl_nanos(opt->min, least), ctl_nanos(opt->max, most));
		return CTL_USAGE;
	}
	*(uint64_t *)opt->value = number * units[i].ns;
	return CTL_OK;
}

static int set_value(const struct opt *opt, const char *text)
{
	char what[64];
	uint64_t number;
	int status;

	switch (opt->kind) {
	case OPT_FLAG:
		*(bool *)opt->value = true;
		return CTL_OK;
	case OPT_TEXT:
		if (!*text) {
			ctl_error("--%s: is empty", opt->name);
			return CTL_USAGE;
		}
		*(const char **)opt->value = text;
		return CTL_OK;
	case OPT_NUMBER:
	case OPT_SIZE:
	case OPT_TIME:
		break;
	}
	snprintf(what, sizeof(what), "--%s", opt->name);
	if (opt->kind == OPT_TIME)
		return parse_time(what, text, opt);
	status = opt_number(what, text, opt->kind == OPT_SIZE, opt->min, opt->max, &number);
	if (status)
		return status;
	if (opt->multiple && number % opt->multiple) {
		ctl_error("%s: '%s' is not a multiple of %" PRIu64, what, text, opt->multiple);
		return CTL_USAGE;
	}
	*(uint64_t *)opt->value = number;
	return CTL_OK;
}

static void print_option(const struct opt *opt)
{
	char left[64], text[CTL_TEXT_LEN];
	const char *value;

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s", opt->letter ? '-' : ' ',
		 opt->letter ? opt->letter : ' ', opt->letter ? ", " : "  ", opt->name,
		 opt->arg ? " " : "", opt->arg ? opt->arg : "");
	printf("  %-26s %s", left, opt->about);
	switch (opt->kind) {
	case OPT_FLAG:
		break;
	case OPT_TEXT:
		value = *(const char **)opt->value;
		if (value)
			printf(" (%s)", value);
		break;
	case OPT_NUMBER:
		if (*(uint64_t *)opt->value)
			printf(" (%" PRIu64 ")", *(uint64_t *)opt->value);
		break;
	case OPT_SIZE:
		if (*(uint64_t *)opt->value)
			printf(" (%s)", ctl_bytes(*(uint64_t *)opt->value, text));
		break;
	case OPT_TIME:
		if (*(uint64_t *)opt->value)
			printf(" (%s)", ctl_nanos(*(uint64_t *)opt->value, text));
		break;
	}
	putchar('\n');
}

static void print_help(const struct opts *opts)
{
	size_t i;

	printf("Usage: accelctl %s [OPTION]...%s%s\n\n%s\n\nOptions:\n", opts->command,
	       *opts->operands ? " " : "", opts->operands, opts->about);
	for (i = 0; i < opts->count; i++)
		print_option(&opts->table[i]);
	printf("  -h, --help                 show this\n");
}

/* Fill getopt's tables from ours; -h and --help belong to every command. */
static void build_tables(const struct opts *opts, struct option *longs, char *shorts)
{
	size_t i;

	*shorts++ = ':';
	*shorts++ = 'h';
	for (i = 0; i < opts->count; i++) {
		const struct opt *opt = &opts->table[i];

		longs[i] = (struct option){
			opt->name, opt->kind == OPT_FLAG ? no_argument : required_argument, NULL,
			LONG_BASE + (int)i,
		};
		if (!opt->letter)
			continue;
		*shorts++ = opt->letter;
		if (opt->kind != OPT_FLAG)
			*shorts++ = ':';
	}
	*shorts = '\0';
	longs[i++] = (struct option){ "help", no_argument, NULL, LONG_BASE + HELP_INDEX };
	longs[i] = (struct option){ NULL, 0, NULL, 0 };
}

static const struct opt *find_opt(const struct opts *opts, int val)
{
	size_t i;

	if (val >= LONG_BASE)
		return &opts->table[val - LONG_BASE];
	for (i = 0; i < opts->count; i++)
		if (opts->table[i].letter == val)
			return &opts->table[i];
	return NULL;
}

static int complain(const struct opts *opts, int val, char **argv)
{
	ctl_error("%s: option '%s' %s; `accelctl %s --help` lists them", opts->command,
		  argv[optind - 1], val == ':' ? "needs a value" : "is not known or takes no value",
		  opts->command);
	return CTL_USAGE;
}

int opts_parse(const struct opts *opts, int argc, char **argv, int *first)
{
	struct option longs[OPTS_MAX + 2];
	char shorts[2 * OPTS_MAX + 3];
	int val, status, operands;

	build_tables(opts, longs, shorts);
	optind = 0;
	opterr = 0;
	while ((val = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (val == '?' || val == ':')
			return complain(opts, val, argv);
		if (val == 'h' || val == LONG_BASE + HELP_INDEX) {
			print_help(opts);
			return OPTS_DONE;
		}
		status = set_value(find_opt(opts, val), optarg);
		if (status)
			return status;
	}
	operands = argc - optind;
	if (operands < opts->min_operands || operands > opts->max_operands) {
		if (operands > opts->max_operands)
			ctl_error("%s: '%s' is one argument too many; `accelctl %s --help` tells more",
				  opts->command, argv[optind + opts->max_operands], opts->command);
		else
			ctl_error("%s: needs %s; `accelctl %s --help` tells more", opts->command,
				  opts->operands, opts->command);
		return CTL_USAGE;
	}
	if (first)
		*first = optind;
	return CTL_OK;
}
