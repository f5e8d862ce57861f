// SPDX-License-Identifier: MIT
/* Two processes share a cached block: kv_share [URI] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <accel/kv.h>

#define BLOCK 65536

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

/* Runs as another process, with a descriptor of the namespace and nothing else. */
static int reader(const char *uri, int fd)
{
	const uint32_t tokens[] = { 1, 2, 3, 4 };
	struct accel_kv_key key;
	struct accel_kv_pin pin;
	struct accel_dev *dev;
	struct accel_kv *kv;
	int err;

	must(accel_open(uri, &dev), "accel_open");
	must(accel_kv_open(dev, fd, &kv), "accel_kv_open");
	accel_kv_key_tokens(kv, NULL, tokens, 4, &key);
	must(accel_kv_get(kv, &key, 0, &pin), "accel_kv_get");
	printf("%s\n", (const char *)pin.data);
	/* -ESTALE here would mean that what was printed may be another block's. */
	err = accel_kv_release(kv, &pin);
	accel_kv_close(kv);
	accel_close(dev);
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *uri = argc > 1 ? argv[1] : "soft:example";
	struct accel_kv_config config = { .block_bytes = BLOCK, .capacity = 16,
					  .model = "example" };
	const uint32_t tokens[] = { 1, 2, 3, 4 };
	struct accel_kv_slot slot;
	struct accel_kv_key key;
	int fd, status;
	struct accel_dev *dev;
	struct accel_kv *kv;
	pid_t child;

	must(accel_open(uri, &dev), "accel_open");
	must(accel_kv_create(dev, &config, NULL, &kv), "accel_kv_create");
	accel_kv_key_tokens(kv, NULL, tokens, 4, &key);
	must(accel_kv_reserve(kv, &key, NULL, &slot), "accel_kv_reserve");
	strcpy(slot.data, "a block that another process wrote");
	must(accel_kv_publish(kv, &slot), "accel_kv_publish");
	must(accel_kv_export(kv, &fd), "accel_kv_export");

	/* The child inherits the descriptor; it uses no object of its parent. */
	fflush(stdout);
	child = fork();
	if (!child)
		exit(reader(uri, fd));
	status = child < 0 || waitpid(child, &status, 0) != child || status;
	close(fd);
	accel_kv_close(kv);
	accel_close(dev);
	return status;
}
