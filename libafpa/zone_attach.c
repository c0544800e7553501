/* SPDX-License-Identifier: Apache-2.0
 *
 * Around the stages, zones in tools: attaching to one that servers have made, with the rights of its owner, and removing it.
 *
 * Who removes one holds the creation lock, as who makes or replaces one does, and never two of them at a time; so nobody removes
 * what another process has just put in the place of what was judged.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "owner.h"
#include "zone.h"

#define REPLACED_TRIES 100u

static void path_of(const char *name_or_path, char *path, size_t room)
{
    if (strchr(name_or_path, '/'))
        snprintf(path, room, "%s", name_or_path);
    else
        afpa__zone_path(name_or_path, path, room);
}

/* The groups that a server gives its workers. */
static int groups_take(uid_t uid, gid_t gid)
{
    const struct passwd *user = getpwuid(uid);

    return user ? initgroups(user->pw_name, gid) : setgroups(0, NULL);
}

static afpa_status_t become_owner(int fd, const char *path, afpa_error_t *error)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return afpa__fail(error, AFPA_INVALID, "%s: %s", path, strerror(errno));
    if (geteuid() != 0 || st.st_uid == 0)
        return AFPA_OK;
    if (groups_take(st.st_uid, st.st_gid) != 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) != 0 ||
        setresuid(st.st_uid, st.st_uid, st.st_uid) != 0)
        return afpa__fail(error, AFPA_INVALID, "%s: cannot take on the rights of its owner (user %d): %s", path, (int)st.st_uid,
                          strerror(errno));
    return AFPA_OK;
}

afpa_status_t afpa_zone_attach(const char *name_or_path, bool drop_rights, afpa_zone_t **out, afpa_error_t *error)
{
    afpa_zone_t *zone = calloc(1, sizeof(*zone));
    afpa_status_t status = AFPA_OK;
    afpa__layout_t layout;
    int fd;

    *out = NULL;
    if (!zone)
        return afpa__fail(error, AFPA_NO_SPACE, "%s: out of memory", name_or_path);
    path_of(name_or_path, zone->path, sizeof(zone->path));
    fd = open(zone->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        status = afpa__fail(error, errno == ENOENT ? AFPA_NOT_FOUND : AFPA_INVALID, "%s: %s", zone->path, strerror(errno));
    if (status == AFPA_OK && drop_rights)
        status = become_owner(fd, zone->path, error);
    if (status == AFPA_OK)
        status = afpa__segment_examine(fd, zone->path, &layout, error);
    if (status == AFPA_OK)
        status = afpa__segment_map(&zone->segment, &layout, fd, zone->path, error);
    if (status != AFPA_OK) {
        if (fd >= 0)
            close(fd);
        free(zone);
        return status;
    }
    snprintf(zone->name, sizeof(zone->name), "%.*s", AFPA_ZONE_NAME_MAX, zone->segment.header->name);
    *out = zone;
    return AFPA_OK;
}

/* ---- removing ---- */

/* `zeroes`: a file that has no beginning will do, which is how a creation is seen that is under way, or was interrupted. */
static bool is_segment(int fd, bool zeroes)
{
    uint64_t magic = 0;
    ssize_t got = pread(fd, &magic, sizeof(magic), 0);

    return got == 0 || (got > 0 && magic == 0 && zeroes) || (got == (ssize_t)sizeof(magic) && magic == AFPA_MAGIC);
}

/* Takes the creation lock.  What is no segment is not locked: somebody else may have locked it for reasons of his own.
 * AFPA_AGAIN: another file has taken its name meanwhile. */
static afpa_status_t lock_as_named(int fd, const char *path, afpa_error_t *error)
{
    afpa_status_t status;

    if (!is_segment(fd, true))
        return afpa__fail(error, AFPA_INVALID, "%s: is not an AFPA segment", path);
    status = afpa__owner_lock_named(fd, path);
    if (status == AFPA_INVALID)
        return afpa__fail(error, AFPA_INVALID, "%s: cannot be locked: %s", path, strerror(errno));
    return status;
}

static afpa_status_t open_locked(const char *path, int *fd, afpa_error_t *error)
{
    for (unsigned tries = 0; tries < REPLACED_TRIES; tries++) {
        afpa_status_t status;

        *fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (*fd < 0)
            return afpa__fail(error, errno == ENOENT ? AFPA_NOT_FOUND : AFPA_INVALID, "%s: %s", path, strerror(errno));
        status = lock_as_named(*fd, path, error);
        if (status == AFPA_OK)
            return AFPA_OK;
        close(*fd);
        if (status != AFPA_AGAIN)
            return status;
    }
    return afpa__fail(error, AFPA_IN_USE, "%s: is being replaced over and over", path);
}

/* The lock is held; it goes with the descriptor. */
static afpa_status_t remove_locked(int fd, const char *path, bool named, bool force, afpa_error_t *error)
{
    unsigned living = afpa__owners_living(fd);

    if (!is_segment(fd, named))
        return afpa__fail(error, AFPA_INVALID, "%s: is not an AFPA segment", path);
    if (living > 0 && !force)
        return afpa__fail(error, AFPA_IN_USE, "%s: is in use by %u processes", path, living);
    if (unlink(path) != 0)
        return afpa__fail(error, AFPA_INVALID, "%s: %s", path, strerror(errno));
    return AFPA_OK;
}

afpa_status_t afpa_zone_destroy(const char *name_or_path, bool force, afpa_error_t *error)
{
    char path[AFPA_PATH_MAX];
    afpa_status_t status;
    int fd;

    path_of(name_or_path, path, sizeof(path));
    status = open_locked(path, &fd, error);
    if (status != AFPA_OK)
        return status;
    status = remove_locked(fd, path, !strchr(name_or_path, '/'), force, error);
    close(fd);
    return status;
}
