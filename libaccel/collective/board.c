// SPDX-License-Identifier: MIT
/*
 * The board: making it, sitting down and leaving, reading what was decided.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct ep_board *map(int fd)
{
	return mmap(NULL, sizeof(struct ep_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

void ep_board_unmap(struct ep_board *board)
{
	munmap(board, sizeof(*board));
}

int ep_board_create(const struct accel_ep_config *config, int *fd)
{
	struct ep_board *board;
	int err, new;

	new = memfd_create("npool-ep", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (new < 0)
		return -errno;
	if (ftruncate(new, sizeof(*board)) || fcntl(new, F_ADD_SEALS, SEALS)) {
		err = -errno;
		goto out_close;
	}
	board = map(new);
	if (board == MAP_FAILED) {
		err = -errno;
		goto out_close;
	}
	board->magic = EP_MAGIC;
	board->abi = EP_ABI;
	board->size = sizeof(*board);
	board->config = *config;
	ep_board_unmap(board);
	*fd = new;
	return 0;

out_close:
	close(new);
	return err;
}

int ep_board_map(int fd, const struct accel_ep_config *config, struct ep_board **board)
{
	struct ep_board *new;
	struct stat st;

	if (fstat(fd, &st) || fcntl(fd, F_GET_SEALS) != SEALS || st.st_size != sizeof(*new))
		return -EPROTO;
	new = map(fd);
	if (new == MAP_FAILED)
		return -errno;
	if (new->magic != EP_MAGIC || new->abi != EP_ABI || new->size != sizeof(*new) ||
	    memcmp(&new->config, config, sizeof(*config))) {
		ep_board_unmap(new);
		return -EPROTO;
	}
	*board = new;
	return 0;
}

/* Unless somebody else has it by now. */
void ep_board_clear(struct ep_board *board, uint32_t rank, uint32_t life)
{
	__atomic_compare_exchange_n(&board->seats[rank].life, &life, 0, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
}


/* Who cannot be asked about is not taken for dead. */
bool ep_board_ask(struct ep_board *board, struct accel_dev *dev, uint32_t rank)
{
	struct ep_seat *seat = &board->seats[rank];
	uint32_t life = ep_ld(&seat->life);
	uint64_t client = ep_ld(&seat->client);

	if (!life || client == accel_client_id(dev) || accel_client_alive(dev, client))
		return life;
	ep_board_clear(board, rank, life);
	return false;
}

static uint32_t new_life(struct ep_board *board)
{
	uint32_t life;

	do {
		life = __atomic_add_fetch(&board->lives, 1, __ATOMIC_ACQ_REL);
	} while (!life);
	return life;
}

static uint32_t sit_down(struct ep_board *board, struct accel_dev *dev, uint32_t rank,
			 uint32_t door)
{
	struct ep_seat *seat = &board->seats[rank];
	uint32_t life = new_life(board);

	ep_st(&seat->life, 0);
	ep_st(&seat->announced, 0);
	ep_st(&seat->adopted, 0);
	ep_st(&seat->door, door);
	ep_st(&seat->client, accel_client_id(dev));
	ep_st(&seat->life, life);
	return life;
}

void ep_board_take(struct ep_board *board, struct accel_dev *dev, const uint32_t *ranks,
		   uint32_t count, uint32_t door, uint32_t *lives)
{
	for (uint32_t i = 0; i < count; i++)
		lives[i] = sit_down(board, dev, ranks[i], door);
	/* Only now, so that the ranks of a process are taken in together. */
	ep_st(&board->seats[door].announced, EP_ANY);
	new_life(board);
}

int ep_board_members(const struct ep_board *board, uint64_t decision, struct ep_proposal *members)
{
	uint64_t epoch = ep_decision_epoch(decision);
	uint32_t rank = decision & ((1u << EP_RANK_BITS) - 1);
	const struct ep_proposal *proposal;

	memset(members, 0, sizeof(*members));
	if (!epoch)
		return 0;
	if (rank >= ACCEL_EP_MAX_RANKS)
		return -EBADMSG;
	proposal = &board->proposals[rank][epoch % 2];
	for (uint32_t i = 0; i < ACCEL_EP_MAX_RANKS; i++)
		members->life[i] = ep_ld(&proposal->life[i]);
	return 0;
}

void ep_board_revoke(struct ep_board *board, uint64_t epoch)
{
	uint64_t revoked = ep_ld(&board->revoked);

	while (revoked < epoch &&
	       !__atomic_compare_exchange_n(&board->revoked, &revoked, epoch, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}
