// SPDX-License-Identifier: MIT
/*
 * A strict check that stdin is one JSON value and nothing else: json [KEY] exits
 * 1 if it is not, and prints the value at KEY, a path such as put_ns.p50 or
 * 0.npus.1.id. Strings are printed without their quotes.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char text[1 << 22];
static const char *at = text;
static const char *found, *found_end;

static void value(const char *path);

static void fail(void)
{
	fprintf(stderr, "json: not JSON at byte %td\n", at - text);
	exit(1);
}

static void blanks(void)
{
	at += strspn(at, " \t\r\n");
}

static void expect(const char *word)
{
	if (strncmp(at, word, strlen(word)))
		fail();
	at += strlen(word);
}

static void string(void)
{
	int i;

	expect("\"");
	while (*at != '"') {
		if ((unsigned char)*at < 0x20)
			fail();
		if (*at++ != '\\')
			continue;
		if (!*at || !strchr("\"\\/bfnrtu", *at))
			fail();
		if (*at++ == 'u')
			for (i = 0; i < 4; i++)
				if (!isxdigit((unsigned char)*at++))
					fail();
	}
	at++;
}

static void digits(void)
{
	if (!isdigit((unsigned char)*at))
		fail();
	while (isdigit((unsigned char)*at))
		at++;
}

static void number(void)
{
	if (*at == '-')
		at++;
	if (*at == '0')
		at++;
	else
		digits();
	if (*at == '.') {
		at++;
		digits();
	}
	if (*at == 'e' || *at == 'E') {
		at++;
		if (*at == '+' || *at == '-')
			at++;
		digits();
	}
}

/* What is left of @path below a member called @name; NULL if it does not lead there. */
static const char *below(const char *path, const char *name, size_t length)
{
	if (!path || strncmp(path, name, length) || (path[length] && path[length] != '.'))
		return NULL;
	return path + length + (path[length] == '.');
}

static void members(const char *path, char open, char close)
{
	char index[16];
	unsigned int i;

	at++;
	blanks();
	if (*at == close) {
		at++;
		return;
	}
	for (i = 0;; i++) {
		const char *name = index;
		size_t length = snprintf(index, sizeof(index), "%u", i);

		if (open == '{') {
			name = at + 1;
			string();
			length = at - 1 - name;
			blanks();
			expect(":");
		}
		value(below(path, name, length));
		if (*at == close)
			break;
		expect(",");
		blanks();
	}
	at++;
}

static void value(const char *path)
{
	const char *start;

	blanks();
	start = at;
	if (*at == '{')
		members(path, '{', '}');
	else if (*at == '[')
		members(path, '[', ']');
	else if (*at == '"')
		string();
	else if (*at == 't')
		expect("true");
	else if (*at == 'f')
		expect("false");
	else if (*at == 'n')
		expect("null");
	else
		number();
	if (path && !*path) {
		found = start;
		found_end = at;
	}
	blanks();
}

int main(int argc, char **argv)
{
	size_t length = fread(text, 1, sizeof(text) - 1, stdin);

	if (strlen(text) != length)
		fail();
	value(argc > 1 ? argv[1] : NULL);
	if (*at)
		fail();
	if (argc <= 1)
		return 0;
	if (!found)
		return 1;
	if (*found == '"') {
		found++;
		found_end--;
	}
	printf("%.*s\n", (int)(found_end - found), found);
	return 0;
}
