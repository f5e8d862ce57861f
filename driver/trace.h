/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: a submit is accepted, first moves data, has moved a window, has
 * ended; or its deadline is refused.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM npool

#if !defined(NPOOL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define NPOOL_TRACE_H

#include <linux/tracepoint.h>

#include "npool.h"

DECLARE_EVENT_CLASS(npool_job,
		    TP_PROTO(const struct npool_job *job),
		    TP_ARGS(job),
		    TP_STRUCT__entry(__field(u32, npu)
				     __field(u32, queue)
				     __field(u64, client)
				     __field(u64, seqno)
				     __field(u32, ops)
				     __field(u32, class)
				     __field(u64, deadline)
		    ),
		    TP_fast_assign(__entry->npu = job->queue->npu->id;
				   __entry->queue = job->queue->id;
				   __entry->client = job->queue->client->id;
				   __entry->seqno = job->seqno;
				   __entry->ops = job->op_count;
				   __entry->class = job->class;
				   __entry->deadline = job->deadline;
		    ),
		    TP_printk("npu=%u client=%llu queue=%u seqno=%llu ops=%u class=%u deadline=%llu",
			      __entry->npu, __entry->client, __entry->queue, __entry->seqno,
			      __entry->ops, __entry->class, __entry->deadline)
);

DEFINE_EVENT(npool_job, npool_job_submit,
	     TP_PROTO(const struct npool_job *job),
	     TP_ARGS(job)
);

DEFINE_EVENT(npool_job, npool_job_start,
	     TP_PROTO(const struct npool_job *job),
	     TP_ARGS(job)
);

TRACE_EVENT(npool_job_done,
	    TP_PROTO(const struct npool_job *job),
	    TP_ARGS(job),
	    TP_STRUCT__entry(__field(u32, npu)
			     __field(u32, queue)
			     __field(u64, client)
			     __field(u64, seqno)
			     __field(u64, bytes)
			     __field(s32, error)
			     __field(u32, class)
			     __field(bool, missed)
			     __field(bool, demoted)
	    ),
	    TP_fast_assign(__entry->npu = job->queue->npu->id;
			   __entry->queue = job->queue->id;
			   __entry->client = job->queue->client->id;
			   __entry->seqno = job->seqno;
			   __entry->bytes = job->bytes;
			   __entry->error = job->failure.error;
			   __entry->class = job->class;
			   __entry->missed = npool_job_missed(job, ktime_get());
			   __entry->demoted = job->demoted;
	    ),
	    TP_printk("npu=%u client=%llu queue=%u seqno=%llu bytes=%llu error=%d class=%u missed=%d demoted=%d",
		      __entry->npu, __entry->client, __entry->queue, __entry->seqno,
		      __entry->bytes, __entry->error, __entry->class, __entry->missed,
		      __entry->demoted)
);

TRACE_EVENT(npool_window,
	    TP_PROTO(const struct npool_job *job, u64 bytes, u32 rank),
	    TP_ARGS(job, bytes, rank),
	    TP_STRUCT__entry(__field(u32, npu)
			     __field(u32, queue)
			     __field(u64, client)
			     __field(u64, seqno)
			     __field(u64, bytes)
			     __field(u32, rank)
	    ),
	    TP_fast_assign(__entry->npu = job->queue->npu->id;
			   __entry->queue = job->queue->id;
			   __entry->client = job->queue->client->id;
			   __entry->seqno = job->seqno;
			   __entry->bytes = bytes;
			   __entry->rank = rank;
	    ),
	    TP_printk("npu=%u client=%llu queue=%u seqno=%llu bytes=%llu rank=%u", __entry->npu,
		      __entry->client, __entry->queue, __entry->seqno, __entry->bytes,
		      __entry->rank)
);

TRACE_EVENT(npool_refused,
	    TP_PROTO(const struct npool_job *job),
	    TP_ARGS(job),
	    TP_STRUCT__entry(__field(u32, npu)
			     __field(u32, queue)
			     __field(u64, client)
			     __field(u32, reason)
			     __field(u64, deadline)
			     __field(u64, earliest)
	    ),
	    TP_fast_assign(__entry->npu = job->queue->npu->id;
			   __entry->queue = job->queue->id;
			   __entry->client = job->queue->client->id;
			   __entry->reason = job->reason;
			   __entry->deadline = job->deadline;
			   __entry->earliest = job->earliest;
	    ),
	    TP_printk("npu=%u client=%llu queue=%u reason=%u deadline=%llu earliest=%llu",
		      __entry->npu, __entry->client, __entry->queue, __entry->reason,
		      __entry->deadline, __entry->earliest)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
