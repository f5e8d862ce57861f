/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A treap: a search tree by key that is a heap by a random number, so about
 * balanced whatever the keys. Links are relative to the tree, which may so lie
 * in memory that processes map at different places. Equal keys keep the order
 * in which they came. Keys may wrap: they are compared by their difference.
 */
#ifndef NPOOL_QOS_TREE_H
#define NPOOL_QOS_TREE_H

#include "qos_types.h"

/**
 * struct qos_node - in one tree at a time
 * @left: those before it, as bytes from the tree, 0 for none
 * @right: those after it
 * @up: what it hangs on
 * @key: its place
 * @rank: heap order
 */
struct qos_node {
	s64 left;
	s64 right;
	s64 up;
	u64 key;
	u64 rank;
};

/**
 * struct qos_tree - zeroed it is empty
 * @root: likewise
 * @seed: of the next random number
 */
struct qos_tree {
	s64 root;
	u64 seed;
};

/** typedef qos_sum_t - brings up to date what a node knows of itself and its children */
typedef void qos_sum_t(const struct qos_tree *tree, struct qos_node *node);

static inline struct qos_node *qos_tree_at(const struct qos_tree *tree, s64 link)
{
	return link ? (struct qos_node *)((uintptr_t)tree + (uintptr_t)link) : NULL;
}

static inline bool qos_tree_empty(const struct qos_tree *tree)
{
	return !tree->root;
}

static inline bool qos_before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/* Each takes a qos_sum_t, or NULL if the tree keeps no sums. */
void qos_tree_add(struct qos_tree *tree, struct qos_node *node, u64 key, qos_sum_t *sum);
void qos_tree_remove(struct qos_tree *tree, struct qos_node *node, qos_sum_t *sum);
/** qos_tree_changed() - what a node itself brings to the sums is another now */
void qos_tree_changed(const struct qos_tree *tree, struct qos_node *node, qos_sum_t *sum);
/** qos_tree_all_changed() - likewise what all nodes bring; each is asked after those below it */
void qos_tree_all_changed(const struct qos_tree *tree, qos_sum_t *sum);
struct qos_node *qos_tree_first(const struct qos_tree *tree);
/** qos_tree_after() - the first whose key comes after @key */
struct qos_node *qos_tree_after(const struct qos_tree *tree, u64 key);
struct qos_node *qos_tree_next(const struct qos_tree *tree, const struct qos_node *node);

#endif
