// SPDX-License-Identifier: MIT
/*
 * The arbiter's tree against a sorted array: the same order whatever comes and
 * goes, first come first among equals, also where keys wrap; links that agree,
 * a heap, and a height that stays near the logarithm.
 */
#include "qos_world.h"

#define NODES 1000u
#define STEPS 400000u
#define CHECK_EVERY 500u
#define MANY 20000u
#define HEIGHT 60		/* a treap of MANY is higher once in 10^9 */

struct item {
	struct qos_node node;
	uint64_t value, sum;
	bool in;
};

static struct item *item_of(struct qos_node *node)
{
	return (struct item *)((char *)node - offsetof(struct item, node));
}

static void sum_up(const struct qos_tree *tree, struct qos_node *node)
{
	struct qos_node *left = qos_tree_at(tree, node->left);
	struct qos_node *right = qos_tree_at(tree, node->right);

	item_of(node)->sum = item_of(node)->value + (left ? item_of(left)->sum : 0) +
			     (right ? item_of(right)->sum : 0);
}

/* Links, heap and sums below a node; the height. */
static int check_below(const struct qos_tree *tree, struct qos_node *node, uint64_t *sum)
{
	int left = 0, right = 0;
	uint64_t below = 0;

	if (!node)
		return 0;
	for (int side = 0; side < 2; side++) {
		struct qos_node *child = qos_tree_at(tree, side ? node->right : node->left);

		if (!child)
			continue;
		sure(qos_tree_at(tree, child->up) == node);
		sure(child->rank <= node->rank);
		*(side ? &right : &left) = check_below(tree, child, &below);
	}
	sure(item_of(node)->sum == item_of(node)->value + below);
	*sum += item_of(node)->sum;
	return 1 + (left > right ? left : right);
}

static int check_tree(const struct qos_tree *tree)
{
	struct qos_node *root = qos_tree_at(tree, tree->root);
	uint64_t sum = 0;

	sure(!root || !root->up);
	return check_below(tree, root, &sum);
}

static void check_order(const struct qos_tree *tree, struct item **order, uint32_t count)
{
	struct qos_node *node = qos_tree_first(tree);

	for (uint32_t i = 0; i < count; i++, node = qos_tree_next(tree, node))
		sure(node == &order[i]->node);
	sure(!node);
}

static uint32_t insert(struct item **order, uint32_t count, struct item *item, uint64_t key)
{
	uint32_t at = count;

	/* Behind its equals. */
	while (at && (int64_t)(key - order[at - 1]->node.key) < 0)
		at--;
	memmove(&order[at + 1], &order[at], (count - at) * sizeof(*order));
	order[at] = item;
	return count + 1;
}

static uint32_t drop(struct item **order, uint32_t count, const struct item *item)
{
	uint32_t at = 0;

	while (order[at] != item)
		at++;
	memmove(&order[at], &order[at + 1], (count - at - 1) * sizeof(*order));
	return count - 1;
}

TEST(as_a_sorted_array)
{
	static struct item items[NODES], *order[NODES + 1];
	struct world world = { .random = qos_seed };
	struct qos_tree tree = { 0 };
	uint32_t count = 0;
	/* Near where keys wrap. */
	uint64_t base = UINT64_MAX - NODES / 2;

	for (uint32_t step = 0; step < scaled(STEPS); step++) {
		struct item *item = &items[world_draw(&world, NODES)];
		uint64_t key = base + world_draw(&world, NODES);

		if (item->in) {
			count = drop(order, count, item);
			qos_tree_remove(&tree, &item->node, sum_up);
		} else {
			count = insert(order, count, item, key);
			item->value = world_draw(&world, 1000);
			qos_tree_add(&tree, &item->node, key, sum_up);
		}
		item->in = !item->in;
		if (count && !world_draw(&world, 4)) {
			item = order[world_draw(&world, count)];
			item->value = world_draw(&world, 1000);
			qos_tree_changed(&tree, &item->node, sum_up);
		}
		sure(qos_tree_first(&tree) == (count ? &order[0]->node : NULL));
		if (step % CHECK_EVERY)
			continue;
		check_order(&tree, order, count);
		check_tree(&tree);
	}
	while (count) {
		qos_tree_remove(&tree, &order[--count]->node, sum_up);
		check_order(&tree, order, count);
	}
	sure(qos_tree_empty(&tree));
}

TEST(flat_whatever_the_keys)
{
	struct item *items = calloc(MANY, sizeof(*items));

	sure(items);
	for (int way = 0; way < 3; way++) {
		struct qos_tree tree = { 0 };

		for (uint32_t i = 0; i < MANY; i++)
			qos_tree_add(&tree, &items[i].node, way == 0 ? i : way == 1 ? MANY - i : 7,
				     sum_up);
		sure(check_tree(&tree) <= HEIGHT);
		/* As queues do: from the front to the back. */
		for (uint32_t i = 0; i < MANY; i++) {
			struct qos_node *first = qos_tree_first(&tree);

			qos_tree_remove(&tree, first, sum_up);
			qos_tree_add(&tree, first, MANY + i, sum_up);
		}
		sure(check_tree(&tree) <= HEIGHT);
	}
	free(items);
}

/* Links hold wherever the memory lies. */
TEST(moves_as_a_whole)
{
	static struct { struct qos_tree tree; struct item items[NODES]; } from, to;
	struct world world = { .random = qos_seed };
	struct qos_node *a, *b;
	uint32_t count = 0;

	for (uint32_t i = 0; i < NODES; i++)
		qos_tree_add(&from.tree, &from.items[i].node, world_draw(&world, NODES), sum_up);
	to = from;
	check_tree(&to.tree);
	for (a = qos_tree_first(&from.tree), b = qos_tree_first(&to.tree); a && b; count++) {
		sure(item_of(a) - from.items == item_of(b) - to.items);
		a = qos_tree_next(&from.tree, a);
		b = qos_tree_next(&to.tree, b);
	}
	sure(!a && !b && count == NODES);
}

TEST_HARNESS_MAIN
