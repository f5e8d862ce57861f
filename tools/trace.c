// SPDX-License-Identifier: MIT
/*
 * Traces in memory and in files. Whatever a file holds is checked here, and a
 * message names the line; what trace_read() returns is sound.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "trace.h"

static int grow(void **array, size_t *room, size_t needed, size_t size)
{
	size_t more = *room ? *room : 1024;
	void *moved;

	if (needed <= *room)
		return 0;
	while (more < needed)
		more *= 2;
	moved = realloc(*array, more * size);
	if (!moved)
		return -ENOMEM;
	*array = moved;
	*room = more;
	return 0;
}

int trace_add(struct trace *trace, const struct trace_request *request, const uint64_t *ids)
{
	struct trace_request *added;

	if (grow((void **)&trace->requests, &trace->requests_room, trace->count + 1,
		 sizeof(*trace->requests)) ||
	    grow((void **)&trace->ids, &trace->ids_room, trace->id_count + request->count,
		 sizeof(*trace->ids)))
		return -ENOMEM;
	added = &trace->requests[trace->count++];
	*added = *request;
	added->first = trace->id_count;
	memcpy(trace->ids + trace->id_count, ids, request->count * sizeof(*ids));
	trace->id_count += request->count;
	if (request->count > trace->longest)
		trace->longest = request->count;
	return 0;
}

void trace_free(struct trace *trace)
{
	free(trace->requests);
	free(trace->ids);
	*trace = (struct trace){ 0 };
}

/* A file being read. */
struct reader {
	const char *name;
	FILE *from;
	uint64_t line;		/* from 1 */
	char *text;		/* TRACE_LINE_MAX + 1 bytes */
	size_t length;
	uint64_t *ids;		/* TRACE_CHAIN_MAX of them */
	struct json_tokener *tokener;
};

static int bad_line(const struct reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int bad_line(const struct reader *reader, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	ctl_error("%s:%" PRIu64 ": %s", reader->name, reader->line, what);
	return CTL_INPUT;
}

/* The next line, without its end; OPTS_DONE at the end of the file. */
static int next_line(struct reader *reader)
{
	int byte;

	reader->line++;
	reader->length = 0;
	while ((byte = getc_unlocked(reader->from)) != EOF && byte != '\n') {
		if (!byte)
			return bad_line(reader, "a zero byte: this is no text");
		if (reader->length == TRACE_LINE_MAX)
			return bad_line(reader, "longer than %u bytes", TRACE_LINE_MAX);
		reader->text[reader->length++] = byte;
	}
	reader->text[reader->length] = '\0';
	if (ferror(reader->from)) {
		ctl_error("%s: %s", reader->name, strerror(errno));
		return CTL_INPUT;
	}
	return byte == EOF && !reader->length ? OPTS_DONE : CTL_OK;
}

/* A whole number of at most @max; INT64_MAX also stands for what json-c could not hold. */
static int whole(const struct reader *reader, const char *what, struct json_object *value,
		 uint64_t max, uint64_t *number)
{
	int64_t got;

	if (!json_object_is_type(value, json_type_int))
		return bad_line(reader, "%s is not a whole number", what);
	got = json_object_get_int64(value);
	if (got < 0)
		return bad_line(reader, "%s is negative", what);
	if (got == INT64_MAX || (uint64_t)got > max)
		return bad_line(reader, "%s is above %" PRIu64, what, max);
	*number = got;
	return CTL_OK;
}

static int member(const struct reader *reader, struct json_object *object, const char *key,
		  uint64_t max, uint64_t *number)
{
	struct json_object *value;
	char what[64];

	snprintf(what, sizeof(what), "\"%s\"", key);
	if (!json_object_object_get_ex(object, key, &value))
		return bad_line(reader, "has no %s", what);
	return whole(reader, what, value, max, number);
}

static int chain(const struct reader *reader, struct json_object *object, uint32_t *count)
{
	struct json_object *list;
	size_t length, i;
	char what[64];
	int status;

	if (!json_object_object_get_ex(object, "hash_ids", &list))
		return bad_line(reader, "has no \"hash_ids\"");
	if (!json_object_is_type(list, json_type_array))
		return bad_line(reader, "\"hash_ids\" is not a list");
	length = json_object_array_length(list);
	if (length > TRACE_CHAIN_MAX)
		return bad_line(reader, "\"hash_ids\" has %zu items, more than %u", length,
				TRACE_CHAIN_MAX);
	for (i = 0; i < length; i++) {
		snprintf(what, sizeof(what), "\"hash_ids\"[%zu]", i);
		status = whole(reader, what, json_object_array_get_idx(list, i), INT64_MAX - 1,
			       &reader->ids[i]);
		if (status)
			return status;
	}
	*count = length;
	return CTL_OK;
}

static int take_object(const struct reader *reader, struct json_object *object,
		       struct trace *trace)
{
	struct trace_request request = { 0 };
	uint64_t input, output;
	int status;

	if (!json_object_is_type(object, json_type_object))
		return bad_line(reader, "is not a JSON object");
	status = member(reader, object, "timestamp", INT64_MAX - 1, &request.timestamp);
	if (!status)
		status = member(reader, object, "input_length", TRACE_TOKENS_MAX, &input);
	if (!status)
		status = member(reader, object, "output_length", TRACE_TOKENS_MAX, &output);
	if (!status)
		status = chain(reader, object, &request.count);
	if (status)
		return status;
	if (!request.count)
		return bad_line(reader, "\"hash_ids\" is empty");
	/* Other traces have other block sizes, but never a block without a token. */
	if (request.count > input)
		return bad_line(reader, "%u \"hash_ids\" for \"input_length\" %" PRIu64
				": more blocks than tokens", request.count, input);
	if (trace->id_count + request.count > TRACE_IDS_MAX)
		return bad_line(reader, "more than %llu hash ids in all", TRACE_IDS_MAX);
	if (trace->count && request.timestamp < trace->requests[trace->count - 1].timestamp)
		return bad_line(reader, "\"timestamp\" %" PRIu64 " is before the line before it",
				request.timestamp);
	request.input_length = input;
	request.output_length = output;
	if (trace_add(trace, &request, reader->ids)) {
		ctl_error("%s: %s", reader->name, strerror(ENOMEM));
		return CTL_SYSTEM;
	}
	return CTL_OK;
}

static int take_line(const struct reader *reader, struct trace *trace)
{
	struct json_object *object;
	enum json_tokener_error error;
	size_t end;
	int status;

	json_tokener_reset(reader->tokener);
	object = json_tokener_parse_ex(reader->tokener, reader->text, reader->length + 1);
	error = json_tokener_get_error(reader->tokener);
	end = json_tokener_get_parse_end(reader->tokener);
	if (error != json_tokener_success) {
		status = bad_line(reader, "column %zu: %s", end + 1,
				  error == json_tokener_continue ? "the JSON object does not end" :
				  json_tokener_error_desc(error));
	} else {
		status = take_object(reader, object, trace);
	}
	json_object_put(object);
	return status;
}

static int read_lines(struct reader *reader, uint64_t max_requests, struct trace *trace)
{
	int status;

	while (trace->count < max_requests) {
		status = next_line(reader);
		if (status == OPTS_DONE)
			break;
		if (status)
			return status;
		if (strspn(reader->text, " \t\r") == reader->length)
			continue;
		if (trace->count == TRACE_REQUESTS_MAX)
			return bad_line(reader, "more than %u requests", TRACE_REQUESTS_MAX);
		status = take_line(reader, trace);
		if (status)
			return status;
	}
	if (trace->count)
		return CTL_OK;
	ctl_error("%s: holds no request", reader->name);
	return CTL_INPUT;
}

int trace_read(const char *path, uint64_t max_requests, struct trace *trace)
{
	bool standard = !strcmp(path, "-");
	struct reader reader = {
		.name = standard ? "stdin" : path,
		.from = standard ? stdin : fopen(path, "re"),
	};
	int status;

	if (!reader.from) {
		ctl_error("%s: %s", path, strerror(errno));
		return CTL_INPUT;
	}
	reader.text = malloc(TRACE_LINE_MAX + 1);
	reader.ids = malloc(TRACE_CHAIN_MAX * sizeof(*reader.ids));
	reader.tokener = json_tokener_new();
	if (reader.text && reader.ids && reader.tokener) {
		json_tokener_set_flags(reader.tokener, JSON_TOKENER_STRICT);
		status = read_lines(&reader, max_requests, trace);
	} else {
		ctl_error("%s: %s", reader.name, strerror(ENOMEM));
		status = CTL_SYSTEM;
	}
	if (reader.tokener)
		json_tokener_free(reader.tokener);
	free(reader.ids);
	free(reader.text);
	if (!standard)
		fclose(reader.from);
	if (status)
		trace_free(trace);
	return status;
}

int trace_write(const struct trace *trace, FILE *to)
{
	size_t i;
	uint32_t j;

	for (i = 0; i < trace->count; i++) {
		const struct trace_request *request = &trace->requests[i];

		fprintf(to, "{\"timestamp\": %" PRIu64 ", \"input_length\": %u, "
			"\"output_length\": %u, \"hash_ids\": [", request->timestamp,
			request->input_length, request->output_length);
		for (j = 0; j < request->count; j++)
			fprintf(to, "%s%" PRIu64, j ? ", " : "", trace->ids[request->first + j]);
		if (fputs("]}\n", to) == EOF)
			return -errno;
	}
	return fflush(to) ? -errno : 0;
}
