/* State of one log's opening, shared between recover.c and recover_parts.c. Private to seglog. */
#ifndef WEIR_SEGLOG_RECOVER_INT_H
#define WEIR_SEGLOG_RECOVER_INT_H

#include "seglog/seglog_int.h"

struct recovery {
    struct seglog *seglog;
    int64_t now_ms;
    struct err_info *info;
    int64_t *bases;
    uint32_t base_count;
    uint32_t base_cap;
    int64_t *snapshots;
    uint32_t snapshot_count;
    uint32_t snapshot_cap;
    bool out_of_memory;
    bool hole_told;
    bool fresh; /* no segment file yet */
    bool has_point;
    bool point_told; /* a checkpoint was read, usable or not: its log start holds */
    bool point_false; /* the files contradict it: it must not be met again */
    bool changed; /* something was cut or appended */
    bool suspect; /* a sync failed before: bytes behind the point are written again */
    struct checkpoint point;
    uint32_t walk_index;
    uint64_t walked;
    uint64_t cut;
};

/* The folder: made, or found and checked to belong to this very log; one of another log is moved
 * away. */
MUST_CHECK enum err recovery_folder(struct recovery *recovery, bool must_exist);
/* Takes a batch at the log's end into the account of its segment, epochs and producers. */
MUST_CHECK enum err recovery_note(struct recovery *recovery, struct segment *segment,
                                  const struct batch_header *header);
/* A segment wholly below the point: size, indexes, greatest time. */
MUST_CHECK enum err recovery_trust(struct recovery *recovery, uint32_t index);
/* The segment that holds the point, up to there. */
MUST_CHECK enum err recovery_trust_part(struct recovery *recovery, struct segment *segment,
                                        uint64_t pos);
/* Producer state made from the headers of all batches below upto. */
MUST_CHECK enum err recovery_producers_rebuild(struct recovery *recovery,
                                               struct record_offset upto);
/* Writes [from, to) of the file over itself, so that the next sync does write it. */
MUST_CHECK enum err recovery_rewrite(struct recovery *recovery, struct fs_file *file, uint64_t from,
                                     uint64_t to);
/* Journals. */
MUST_CHECK enum err recovery_replay(struct recovery *recovery);
/* Leftovers that nothing refers to. Best effort. */
void recovery_clean(struct recovery *recovery);

#endif
