/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: a submit is accepted, first moves data, has ended.
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
		    ),
		    TP_fast_assign(__entry->npu = job->queue->npu->id;
				   __entry->queue = job->queue->id;
				   __entry->client = job->queue->client->id;
				   __entry->seqno = job->seqno;
				   __entry->ops = job->op_count;
		    ),
		    TP_printk("npu=%u client=%llu queue=%u seqno=%llu ops=%u", __entry->npu,
			      __entry->client, __entry->queue, __entry->seqno, __entry->ops)
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
	    ),
	    TP_fast_assign(__entry->npu = job->queue->npu->id;
			   __entry->queue = job->queue->id;
			   __entry->client = job->queue->client->id;
			   __entry->seqno = job->seqno;
			   __entry->bytes = job->bytes;
			   __entry->error = job->failure.error;
	    ),
	    TP_printk("npu=%u client=%llu queue=%u seqno=%llu bytes=%llu error=%d",
		      __entry->npu, __entry->client, __entry->queue, __entry->seqno,
		      __entry->bytes, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
