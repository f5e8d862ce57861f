// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * How fast a port is, from how long windows of different sizes took: so many ns
 * each, and so many a byte. What a port can promise and how much may be in
 * flight there follow from it.
 *
 * The latter is what the latency class has to wait for: long enough that the
 * cost of a window is small beside its bytes, and else as short as the slack
 * asks.
 */
#include "qos_meter.h"

#define SCALE		1024u
/* Windows that the meter remembers, and that pass between fits. */
#define METER_DEPTH	128u
#define METER_STEP	16u
#define METER_MAX_NS	0x4000000ull
/* A window that took this many times longer than expected was interrupted. */
#define METER_OUTLIER	3u
/* Of so many windows one is of another size: smaller, for nobody is to wait longer for that. */
#define METER_PROBE	8u
/* Overheads that a window is to be worth. */
#define WORTH		8u

static u64 bytes_in(u64 rate, u64 ns)
{
	/* Both fit: rates are below 2^42, times below 2^36. */
	return rate / 1000 * (ns / 1000) / 1000 + rate / 1000 * (ns % 1000) / 1000000;
}

static u64 ns_for(u64 rate, u64 kib)
{
	return kib * (1024 * QOS_NS_PER_S) / rate;
}

void qos_port_size(struct qos_port *port)
{
	u64 window = bytes_in(port->bandwidth, port->slack / 2);
	u64 worth = bytes_in(port->bandwidth, WORTH * port->overhead);

	window = window > worth ? window : worth;
	window = qos_least(window, QOS_MAX_WINDOW);
	port->window = (window > QOS_MIN_WINDOW ? window : QOS_MIN_WINDOW) & ~(QOS_PAGE - 1);
}

u64 qos_port_most(const struct qos_port *port, u32 rank)
{
	if (rank < QOS_RANK_BULK || (port->meter.fresh + 1) % METER_PROBE)
		return port->window / 2;
	return port->window > QOS_MIN_WINDOW ? port->window / 8 : port->window;
}

/* All windows are of a size: bytes and what is beside them changed alike. */
static void rescale(struct qos_port *port)
{
	const struct qos_meter *m = &port->meter;
	u64 expected = m->n * port->overhead + ns_for(port->bandwidth, m->x);
	u64 ratio = qos_least(expected * SCALE / m->y + 1, 1u << 20);

	port->bandwidth = qos_least(port->bandwidth * ratio / SCALE, QOS_MAX_RATE);
	port->bandwidth += !port->bandwidth;
	port->overhead = port->overhead * SCALE / ratio;
}

/*
 * The least squares line through the windows' times over their sizes. Where
 * engines share CPUs the times are noisy: no line is believed that has bytes
 * move slower than they did, or more than twice as fast.
 */
static void fit(struct qos_port *port)
{
	const struct qos_meter *m = &port->meter;
	u64 spread = m->n * m->xx - m->x * m->x, rate = QOS_MAX_RATE, bare;
	u64 mean = qos_least(m->x * (1024 * QOS_NS_PER_S) / m->y, QOS_MAX_RATE / 2);

	if (spread > m->n * m->xx / 64) {
		if (m->n * m->xy > m->x * m->y)
			/* KiB a ns, times 2^20. */
			rate = (spread << 20) / (m->n * m->xy - m->x * m->y) * 976562;
		port->bandwidth = qos_least(rate > mean ? rate : mean, 2 * mean);
		bare = ns_for(port->bandwidth, m->x);
		port->overhead = m->y > bare ? (m->y - bare) / m->n : 0;
	} else {
		rescale(port);
	}
	qos_port_size(port);
}

void qos_port_measure(struct qos_port *port, u64 bytes, u64 since, u64 now)
{
	struct qos_meter *m = &port->meter;
	u64 x = (bytes + 512) / 1024, y, expected;

	x += !x;
	port->last = now;
	y = qos_before(since, now) ? now - since : 1;
	expected = port->overhead + ns_for(port->bandwidth, x);
	if (m->n)
		y = qos_least(y, METER_OUTLIER * expected + 1);
	y = qos_least(y, METER_MAX_NS);
	if (m->n == METER_DEPTH) {
		m->n /= 2;
		m->x /= 2;
		m->y /= 2;
		m->xx /= 2;
		m->xy /= 2;
	}
	m->n++;
	m->x += x;
	m->y += y;
	m->xx += x * x;
	m->xy += x * y;
	if (++m->fresh < METER_STEP)
		return;
	m->fresh = 0;
	fit(port);
}
