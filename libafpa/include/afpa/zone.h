/* SPDX-License-Identifier: Apache-2.0
 *
 * A zone: one segment file on tmpfs, mapped shared by every process that names it.
 *
 * A server opens its zones once, before it forks, as the user it was started by; children inherit the mapping and attach to it
 * (cache.h).  afpactl opens zones that exist.  The segment outlives them all: closing a zone only unmaps it.
 */
#ifndef AFPA_ZONE_H
#define AFPA_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <afpa/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest zone name: letters, digits, '-', '_' and '.', not starting with '.'. */
#define AFPA_ZONE_NAME_MAX 32
#define AFPA_ZONE_DIR "/dev/shm"
#define AFPA_ZONE_PREFIX "afpa-"
/* Smallest zone that holds the tables and a few chunks. */
#define AFPA_ZONE_SIZE_MIN (1024 * 1024)

typedef struct afpa_zone afpa_zone_t;

typedef enum afpa_mlock { AFPA_MLOCK_TRY, AFPA_MLOCK_REQUIRE, AFPA_MLOCK_OFF } afpa_mlock_t;

typedef struct afpa_zone_options {
    const char *name;    /* required */
    const char *path;    /* NULL: AFPA_ZONE_DIR "/" AFPA_ZONE_PREFIX name */
    uint64_t size;       /* bytes for tables and payload; the owners' ledgers come on top, as processes attach */
    uint32_t chunk_size; /* bytes; 0: the default */
    afpa_mlock_t mlock;
    uid_t uid; /* who is to own a segment that is made; (uid_t)-1: the calling user */
    gid_t gid; /* and the group it, or one found of that user, is to have; (gid_t)-1: as it comes */
} afpa_zone_options_t;

/* Defaults: no name, no path, size 0, chunk of options.def, AFPA_MLOCK_TRY, uid and gid unset. */
void afpa_zone_options_init(afpa_zone_options_t *options);

/* Reads one "key=value" parameter of afpa_zone / AfpaZone (path=, chunk=, mlock=) into options.  `value` strings are not
 * copied: options->path points into `text`, which must be NUL-terminated and outlive options.
 * AFPA_OK; AFPA_INVALID: no such parameter, or not a value it takes. */
afpa_status_t afpa_zone_options_parse(afpa_zone_options_t *options, const char *text, afpa_error_t *error);

/* Whether two declarations of one configuration stand for the same file; that is a mistake, whatever their names. */
bool afpa_zone_options_same_file(const afpa_zone_options_t *a, const afpa_zone_options_t *b);

/* Checks options, and that the zone could be opened, without making or changing anything (a server's configuration test).  Whether
 * there is room for a new segment, and a limit to lock it, is not looked at.
 * AFPA_OK, AFPA_INVALID, AFPA_IN_USE as afpa_zone_open(). */
afpa_status_t afpa_zone_check(const afpa_zone_options_t *options, afpa_error_t *error);

/* Makes the segment, or attaches to the one that is there and is warm at once.  A segment that is damaged, or of another
 * layout version, or of another size with no living owner, or that belonged to a user who is neither root nor `uid`, is replaced
 * by an empty one, with a warning in the log.
 * May block (creation allocates and locks `size` bytes).  Call before forking.  A segment that is there and that nobody uses is
 * judged by a child process, with the rights of `uid` and `gid` where this one is root's; SIGCHLD is blocked in this thread meanwhile.
 * AFPA_OK        *zone is the caller's, to be given back with afpa_zone_close().
 * AFPA_INVALID   options are wrong, or the file cannot be made or mapped: not tmpfs, no room, no permission, mlock=require refused.
 * AFPA_IN_USE    the segment has another size or chunk and living owners, or other processes replace it over and over.
 * AFPA_NO_SPACE  out of memory.
 * Unless AFPA_OK, *zone is NULL and the error says why, as with every call here that takes one. */
afpa_status_t afpa_zone_open(const afpa_zone_options_t *options, afpa_zone_t **zone, afpa_error_t *error);

/* Attaches to a segment that exists, for a tool.  `name_or_path` with a '/' is a path.  With drop_rights and an effective
 * user 0, the whole process takes on the user and group of the segment's owner, for good, before the content is looked at:
 * the owner can write anything into it.
 * AFPA_OK         *zone is the caller's, to be given back with afpa_zone_close().
 * AFPA_NOT_FOUND  no such file.
 * AFPA_INVALID    not a segment, damaged, of another layout version, or not accessible.
 * AFPA_NO_SPACE   out of memory. */
afpa_status_t afpa_zone_attach(const char *name_or_path, bool drop_rights, afpa_zone_t **zone, afpa_error_t *error);

/* Unmaps.  *zone may be NULL; it is set to NULL.  No cache may be attached through it any more. */
void afpa_zone_close(afpa_zone_t **zone);

/* Removes the segment's file.  May block: waits for a process that is making or replacing it.
 * AFPA_OK         removed.
 * AFPA_IN_USE     it has living owners, or other processes replace it over and over.  With `force` owners do not matter: they go
 *                 on, on the memory they have mapped, and nobody new joins them.
 * AFPA_NOT_FOUND  no such file.
 * AFPA_INVALID    not a segment, or it may not be opened or removed. */
afpa_status_t afpa_zone_destroy(const char *name_or_path, bool force, afpa_error_t *error);

/* The name given at creation, the path, the bytes given as size, the chunk size; valid as long as the zone is open. */
const char *afpa_zone_name(const afpa_zone_t *zone);
const char *afpa_zone_path(const afpa_zone_t *zone);
uint64_t afpa_zone_size(const afpa_zone_t *zone);
uint32_t afpa_zone_chunk_size(const afpa_zone_t *zone);

/* The descriptor of the segment file, for sendfile(); owned by the zone, inherited over fork, close-on-exec. */
int afpa_zone_fd(const afpa_zone_t *zone);

/* Has all processes use or bypass the zone, at once.  Thread-safe. */
void afpa_zone_enable(afpa_zone_t *zone, bool on);
bool afpa_zone_enabled(const afpa_zone_t *zone);

/* Whether the payload was locked in memory when the zone was last opened. */
bool afpa_zone_pinned(const afpa_zone_t *zone);

#ifdef __cplusplus
}
#endif
#endif
