/* SPDX-License-Identifier: MIT */
/* Names of classes and policies, and the lists of ports and of what was done by class. */
#ifndef QOS_INFO_H
#define QOS_INFO_H

#include <stdbool.h>

#include <accel/qos.h>
#include <json-c/json.h>

/** qos_class_name(), qos_policy_name() - "?" for what is not known here */
const char *qos_class_name(uint32_t class_id);
const char *qos_policy_name(uint32_t policy);

/** qos_policy_named() - false if none has that name */
bool qos_policy_named(const char *name, enum accel_policy *policy);

/**
 * qos_ports(), qos_classes() - all there are, the caller's to free()
 *
 * An exit status, after a message in the name of @command.
 */
int qos_ports(const char *command, struct accel_dev *dev, struct accel_port_info **ports,
	      uint32_t *count);
int qos_classes(const char *command, struct accel_dev *dev, struct accel_class_stats **stats,
		uint32_t *count);

/** qos_info() - likewise what holds for all ports */
int qos_info(const char *command, struct accel_dev *dev, struct accel_qos_info *info);

/** qos_histogram_json() - p50, p99 and p999 of a histogram of times */
struct json_object *qos_histogram_json(const uint64_t *buckets);

#endif
