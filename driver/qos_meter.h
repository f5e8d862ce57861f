/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a port knows of its speed, and what its other halves make of it: nobody
 * but qos_meter.c, qos_port.c and qos_demand.c needs this.
 */
#ifndef NPOOL_QOS_METER_H
#define NPOOL_QOS_METER_H

#include "qos.h"

#define QOS_NS_PER_S	1000000000ull
#define QOS_PAGE	4096ull

/** qos_port_size() - fit the port's window to its bandwidth, overhead and slack */
void qos_port_size(struct qos_port *port);
/** qos_port_most() - most bytes of its next window */
u64 qos_port_most(const struct qos_port *port, u32 rank);
/** qos_port_measure() - a window of @bytes took the time between */
void qos_port_measure(struct qos_port *port, u64 bytes, u64 since, u64 now);
/** qos_port_rerate() - what it can promise, as it is now; in qos_demand.c */
void qos_port_rerate(struct qos_port *port, u64 now);

#endif
