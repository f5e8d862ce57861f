// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The arbiter's one container: see qos_tree.h.
 */
#include "qos_tree.h"

static s64 link_to(const struct qos_tree *tree, const struct qos_node *node)
{
	return node ? (s64)((uintptr_t)node - (uintptr_t)tree) : 0;
}

/* The place where a node hangs. */
static s64 *hook(struct qos_tree *tree, const struct qos_node *node)
{
	struct qos_node *up = qos_tree_at(tree, node->up);

	if (!up)
		return &tree->root;
	return up->left == link_to(tree, node) ? &up->left : &up->right;
}

/* A node takes the place of its parent, which becomes its child. */
static void rotate_up(struct qos_tree *tree, struct qos_node *node, qos_sum_t *sum)
{
	struct qos_node *up = qos_tree_at(tree, node->up), *moved;
	bool left = up->left == link_to(tree, node);
	s64 *inner = left ? &node->right : &node->left;

	*hook(tree, up) = link_to(tree, node);
	node->up = up->up;
	up->up = link_to(tree, node);
	*(left ? &up->left : &up->right) = *inner;
	moved = qos_tree_at(tree, *inner);
	if (moved)
		moved->up = link_to(tree, up);
	*inner = link_to(tree, up);
	if (sum) {
		sum(tree, up);
		sum(tree, node);
	}
}

/* A step of Knuth's MMIX generator; its high bits are the good ones. */
static u64 draw(struct qos_tree *tree)
{
	tree->seed = tree->seed * 6364136223846793005ull + 1442695040888963407ull;
	return tree->seed >> 16;
}

void qos_tree_changed(const struct qos_tree *tree, struct qos_node *node, qos_sum_t *sum)
{
	for (; node; node = qos_tree_at(tree, node->up))
		sum(tree, node);
}

/* The first to be asked of those below a node, and itself. */
static struct qos_node *deepest(const struct qos_tree *tree, struct qos_node *node)
{
	while (node->left || node->right)
		node = qos_tree_at(tree, node->left ? node->left : node->right);
	return node;
}

void qos_tree_all_changed(const struct qos_tree *tree, qos_sum_t *sum)
{
	struct qos_node *node = qos_tree_at(tree, tree->root);

	node = node ? deepest(tree, node) : NULL;
	while (node) {
		struct qos_node *up = qos_tree_at(tree, node->up);

		sum(tree, node);
		if (up && up->right && up->right != link_to(tree, node))
			up = deepest(tree, qos_tree_at(tree, up->right));
		node = up;
	}
}

void qos_tree_add(struct qos_tree *tree, struct qos_node *node, u64 key, qos_sum_t *sum)
{
	struct qos_node *up = NULL, *next = qos_tree_at(tree, tree->root);
	s64 *place = &tree->root;

	while (next) {
		up = next;
		place = qos_before(key, up->key) ? &up->left : &up->right;
		next = qos_tree_at(tree, *place);
	}
	*node = (struct qos_node){ .up = link_to(tree, up), .key = key, .rank = draw(tree) };
	*place = link_to(tree, node);
	if (sum)
		qos_tree_changed(tree, node, sum);
	while (node->up && qos_tree_at(tree, node->up)->rank < node->rank)
		rotate_up(tree, node, sum);
}

void qos_tree_remove(struct qos_tree *tree, struct qos_node *node, qos_sum_t *sum)
{
	struct qos_node *left, *right, *up;

	for (;;) {
		left = qos_tree_at(tree, node->left);
		right = qos_tree_at(tree, node->right);
		if (!left || !right)
			break;
		rotate_up(tree, left->rank > right->rank ? left : right, sum);
	}
	left = left ? left : right;
	up = qos_tree_at(tree, node->up);
	*hook(tree, node) = link_to(tree, left);
	if (left)
		left->up = node->up;
	if (sum && up)
		qos_tree_changed(tree, up, sum);
}

struct qos_node *qos_tree_first(const struct qos_tree *tree)
{
	struct qos_node *node = qos_tree_at(tree, tree->root);

	while (node && node->left)
		node = qos_tree_at(tree, node->left);
	return node;
}

struct qos_node *qos_tree_after(const struct qos_tree *tree, u64 key)
{
	struct qos_node *node = qos_tree_at(tree, tree->root), *found = NULL;

	while (node) {
		bool after = qos_before(key, node->key);

		found = after ? node : found;
		node = qos_tree_at(tree, after ? node->left : node->right);
	}
	return found;
}

struct qos_node *qos_tree_next(const struct qos_tree *tree, const struct qos_node *node)
{
	struct qos_node *up, *next = qos_tree_at(tree, node->right);
	s64 from = link_to(tree, node);

	if (next) {
		while (next->left)
			next = qos_tree_at(tree, next->left);
		return next;
	}
	for (up = qos_tree_at(tree, node->up); up && up->right == from;
	     up = qos_tree_at(tree, up->up))
		from = link_to(tree, up);
	return up;
}
